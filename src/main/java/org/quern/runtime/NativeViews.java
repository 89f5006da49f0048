package org.quern.runtime;

import java.lang.foreign.MemorySegment;

/**
 * Exact-typed views of native memory, the cure for profile pollution. The segment accessors of the
 * JDK share one type profile per process: once any code has used a heap or mapped segment with the
 * Vector API, loops over native segments run several times slower. A view that is rebuilt from its
 * address inside the compiled kernel has one known type, whatever the profile says.
 */
public final class NativeViews {
  private static final boolean ENABLED = NativeViews.class.getModule().isNativeAccessEnabled();

  private NativeViews() {}

  /**
   * True where this module may rebuild views: the JVM runs with {@code
   * --enable-native-access=org.quern}, or {@code ALL-UNNAMED} on the class path.
   */
  public static boolean enabled() {
    return ENABLED;
  }

  /**
   * A view of the same memory whose type the compiler knows; the segment itself where native access
   * is not enabled. To be called at the entry of a kernel, once per segment, and to be used in that
   * kernel only.
   *
   * <p>The view is checked for liveness and thread here and never again: closing the arena no
   * longer makes its accesses fail. Whoever calls the kernel keeps the owner of the memory open, and
   * reachable with {@link java.lang.ref.Reference#reachabilityFence} until the kernel has returned.
   *
   * @throws IllegalArgumentException where the segment is on the heap
   * @throws IllegalStateException where its arena is closed
   * @throws WrongThreadException where its arena is confined to another thread
   */
  public static MemorySegment exact(MemorySegment segment) {
    if (!segment.isNative()) {
      throw new IllegalArgumentException("segment: expected native memory, got a heap segment");
    }
    if (!segment.scope().isAlive()) {
      throw new IllegalStateException("segment: expected live memory, got one whose arena is closed");
    }
    if (!segment.isAccessibleBy(Thread.currentThread())) {
      throw new WrongThreadException(
          "segment: expected memory open to this thread, got one of a confined arena; use"
              + " Arena.ofShared where several threads work");
    }
    if (!ENABLED) {
      return segment;
    }
    MemorySegment view =
        MemorySegment.ofAddress(segment.address()).reinterpret(segment.byteSize());
    return segment.isReadOnly() ? view.asReadOnly() : view;
  }
}

package org.quern.runtime;

import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Exact-typed views of native memory, the cure for profile pollution. The segment accessors of the
 * JDK share one type profile per process: once any code has used a heap or mapped segment with the
 * Vector API, loops over native segments run several times slower. A view that is cut from a
 * constant segment inside the compiled kernel has one known type, whatever the profile says.
 */
public final class NativeViews {
  private static final boolean ENABLED = NativeViews.class.getModule().isNativeAccessEnabled();

  /** The whole address space, or nothing where native access is not enabled. */
  private static final MemorySegment SPACE =
      ENABLED ? MemorySegment.NULL.reinterpret(Long.MAX_VALUE) : MemorySegment.NULL;

  private static final MemorySegment READ_ONLY_SPACE = SPACE.asReadOnly();

  /** Some milliseconds: enough for the first compiler, whose code counts calls, to take over. */
  private static final int TRAINING_CALLS = 20_000;

  private NativeViews() {}

  /**
   * True where this module may make such views: the JVM runs with {@code
   * --enable-native-access=org.quern}, or {@code ALL-UNNAMED} on the class path.
   */
  public static boolean enabled() {
    return ENABLED;
  }

  /**
   * A view of the same memory whose type the compiler knows; the segment itself where native access
   * is not enabled. To be called at the entry of a kernel, once per segment, and to be used in that
   * kernel only. Allocates nothing once compiled.
   *
   * <p>The view is checked for liveness and thread here and never again: closing the arena no
   * longer makes its accesses fail. Whoever calls the kernel keeps the owner of the memory open,
   * and reachable with {@link java.lang.ref.Reference#reachabilityFence} until the kernel has
   * returned.
   *
   * @param segment native memory; a read-only one gives a read-only view
   * @return the view, with the address and the size of {@code segment}
   * @throws IllegalArgumentException where the segment is on the heap
   * @throws IllegalStateException where its arena is closed
   * @throws WrongThreadException where its arena is confined to another thread
   */
  public static MemorySegment exact(MemorySegment segment) {
    if (!ENABLED) {
      check(segment);
      return segment;
    }
    return space(segment).asSlice(segment.address(), segment.byteSize());
  }

  /**
   * The segment in which a kernel addresses {@code segment} by the offsets that {@link #at} gives:
   * the whole address space, a constant that costs no object and no register, or the segment itself
   * where native access is not enabled. For loops over many streams of memory.
   */
  public static MemorySegment base(MemorySegment segment) {
    return ENABLED ? SPACE : segment;
  }

  /**
   * The offset within {@link #base} of {@code bytes} bytes at {@code offset} of {@code segment},
   * which are checked here and never again.
   *
   * @throws IllegalArgumentException where the segment is on the heap
   * @throws IllegalStateException where its arena is closed
   * @throws WrongThreadException where its arena is confined to another thread
   * @throws IndexOutOfBoundsException where the bytes are not within the segment
   */
  public static long at(MemorySegment segment, long offset, long bytes) {
    check(segment);
    Objects.checkFromIndexSize(offset, bytes, segment.byteSize());
    return ENABLED ? segment.address() + offset : offset;
  }

  /**
   * Gives {@link #exact} and the methods of the JDK behind it a call profile. A long loop makes C2
   * compile a kernel after a handful of calls, and what has no profile by then is not inlined: the
   * view would be allocated by a call, and of unknown type again, for the rest of the process.
   */
  static void train() {
    MemorySegment segment = SPACE.asSlice(0, ENABLED ? 64 : 0);
    for (int i = 0; i < TRAINING_CALLS; i++) {
      exact(segment);
    }
  }

  private static MemorySegment space(MemorySegment segment) {
    check(segment);
    return segment.isReadOnly() ? READ_ONLY_SPACE : SPACE;
  }

  private static void check(MemorySegment segment) {
    if (!segment.isNative()) {
      throw new IllegalArgumentException("segment: expected native memory, got a heap segment");
    }
    if (!segment.scope().isAlive()) {
      throw new IllegalStateException(
          "segment: expected live memory, got one whose arena is closed");
    }
    if (!segment.isAccessibleBy(Thread.currentThread())) {
      throw new WrongThreadException(
          "segment: expected memory open to this thread, got one of a confined arena; use"
              + " Arena.ofShared where several threads work");
    }
  }
}

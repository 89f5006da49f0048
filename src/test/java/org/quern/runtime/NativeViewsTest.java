package org.quern.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

class NativeViewsTest {
  @Test
  void theViewCoversTheSameBytes() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment segment = arena.allocate(64).asSlice(4, 40);
      MemorySegment view = NativeViews.exact(segment);
      assertEquals(segment.address(), view.address());
      assertEquals(40, view.byteSize());
      view.set(ValueLayout.JAVA_INT, 36, 7);
      assertEquals(7, segment.get(ValueLayout.JAVA_INT, 36));
      assertThrows(IndexOutOfBoundsException.class, () -> view.get(ValueLayout.JAVA_INT, 40));
    }
  }

  @Test
  void aReadOnlySegmentStaysReadOnly() {
    try (Arena arena = Arena.ofConfined()) {
      assertTrue(NativeViews.exact(arena.allocate(8).asReadOnly()).isReadOnly());
    }
  }

  @Test
  void heapMemoryIsRefused() {
    assertThrows(
        IllegalArgumentException.class,
        () -> NativeViews.exact(MemorySegment.ofArray(new float[4])));
  }

  @Test
  void closedMemoryIsRefused() {
    MemorySegment closed;
    try (Arena arena = Arena.ofConfined()) {
      closed = arena.allocate(8);
    }
    assertThrows(IllegalStateException.class, () -> NativeViews.exact(closed));
  }

  @Test
  void confinedMemoryOfAnotherThreadIsRefused() throws Exception {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment segment = arena.allocate(8);
      AtomicReference<Throwable> thrown = new AtomicReference<>();
      Thread other =
          new Thread(() -> {
            try {
              NativeViews.exact(segment);
            } catch (Throwable e) {
              thrown.set(e);
            }
          });
      other.start();
      other.join();
      assertEquals(WrongThreadException.class, thrown.get().getClass());
    }
  }
}

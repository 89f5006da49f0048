package org.quern.jmh;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;

/**
 * Other code in the same JVM that uses the Vector API on heap and on native segments. The segment
 * accessors of the JDK share one type profile per process; after this it knows several types of
 * segment, and accessors that rely on it become slow.
 */
final class Pollution {
  private static final int BYTES = 4096;
  private static final int CALLS = 20_000;
  private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

  private Pollution() {}

  /** Runs long enough for the profile to be taken; returns a value that depends on all of it. */
  static float run() {
    float sum = 0;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment[] kinds = {
        MemorySegment.ofArray(new float[BYTES / Float.BYTES]),
        MemorySegment.ofArray(new byte[BYTES]),
        arena.allocate(BYTES, 64)
      };
      for (int call = 0; call < CALLS; call++) {
        MemorySegment segment = kinds[call % kinds.length];
        sum += floats(segment) + integers(segment) + scalars(segment);
      }
    }
    return sum;
  }

  private static float floats(MemorySegment segment) {
    var species = FloatVector.SPECIES_PREFERRED;
    VectorMask<Float> mask = species.indexInRange(0, species.length() - 1);
    FloatVector sum = FloatVector.zero(species);
    for (int i = 0; i < BYTES; i += species.vectorByteSize()) {
      sum = sum.add(FloatVector.fromMemorySegment(species, segment, i, LE));
      sum = sum.add(FloatVector.fromMemorySegment(species, segment, i, LE, mask));
      sum.mul(0.5f).intoMemorySegment(segment, i, LE);
      sum.intoMemorySegment(segment, i, LE, mask);
    }
    return sum.lane(0);
  }

  private static long integers(MemorySegment segment) {
    var ints = IntVector.SPECIES_PREFERRED;
    var shorts = ShortVector.SPECIES_PREFERRED;
    var longs = LongVector.SPECIES_PREFERRED;
    IntVector sum = IntVector.zero(ints);
    for (int i = 0; i < BYTES; i += ints.vectorByteSize()) {
      IntVector value = IntVector.fromMemorySegment(ints, segment, i, LE);
      sum = sum.add(value);
      value.and(0x3fffffff).intoMemorySegment(segment, i, LE);
      ShortVector half = ShortVector.fromMemorySegment(shorts, segment, i, LE);
      half.intoMemorySegment(segment, i, LE);
      LongVector wide = LongVector.fromMemorySegment(longs, segment, i, LE);
      wide.intoMemorySegment(segment, i, LE);
    }
    return sum.lane(0);
  }

  private static float scalars(MemorySegment segment) {
    float sum = 0;
    for (int i = 0; i < BYTES; i += Long.BYTES) {
      sum += segment.get(ValueLayout.JAVA_FLOAT_UNALIGNED, i);
      sum += segment.get(ValueLayout.JAVA_SHORT_UNALIGNED, i);
      segment.set(ValueLayout.JAVA_LONG_UNALIGNED, i, Float.floatToRawIntBits(sum) & 0xffffL);
    }
    return sum;
  }
}

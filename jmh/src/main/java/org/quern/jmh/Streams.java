package org.quern.jmh;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;

/**
 * The least work on streams of memory, for the ceilings of bandwidth. Integer operations, because
 * they cost the same for all bits. Sizes are multiples of four vectors.
 */
final class Streams {
  private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
  private static final int STEP = I.vectorByteSize();
  private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

  private Streams() {}

  /** Reads every byte; returns the exclusive or of all, so that no read can be left out. */
  static int read(MemorySegment segment) {
    MemorySegment a = NativeViews.exact(segment);
    IntVector x0 = IntVector.zero(I);
    IntVector x1 = x0;
    IntVector x2 = x0;
    IntVector x3 = x0;
    int bytes = Math.toIntExact(a.byteSize());
    for (int i = 0; i <= bytes - 4 * STEP; i += 4 * STEP) {
      x0 = x0.lanewise(VectorOperators.XOR, IntVector.fromMemorySegment(I, a, i, LE));
      x1 = x1.lanewise(VectorOperators.XOR, IntVector.fromMemorySegment(I, a, i + STEP, LE));
      x2 = x2.lanewise(VectorOperators.XOR, IntVector.fromMemorySegment(I, a, i + 2 * STEP, LE));
      x3 = x3.lanewise(VectorOperators.XOR, IntVector.fromMemorySegment(I, a, i + 3 * STEP, LE));
    }
    IntVector x = x0.lanewise(VectorOperators.XOR, x1);
    IntVector y = x2.lanewise(VectorOperators.XOR, x3);
    return x.lanewise(VectorOperators.XOR, y).reduceLanes(VectorOperators.XOR);
  }

  /** W = W xor G: reads both, writes W; the traffic of a score of W and G applied in place. */
  static void update(MemorySegment weights, MemorySegment gradients) {
    MemorySegment w = NativeViews.exact(weights);
    MemorySegment g = NativeViews.exact(gradients);
    int bytes = Math.toIntExact(w.byteSize());
    for (int i = 0; i <= bytes - 2 * STEP; i += 2 * STEP) {
      IntVector w0 = IntVector.fromMemorySegment(I, w, i, LE);
      IntVector w1 = IntVector.fromMemorySegment(I, w, i + STEP, LE);
      IntVector g0 = IntVector.fromMemorySegment(I, g, i, LE);
      IntVector g1 = IntVector.fromMemorySegment(I, g, i + STEP, LE);
      w0.lanewise(VectorOperators.XOR, g0).intoMemorySegment(w, i, LE);
      w1.lanewise(VectorOperators.XOR, g1).intoMemorySegment(w, i + STEP, LE);
    }
  }

  /** W = not W: reads and writes W; the traffic of a score of W alone applied in place. */
  static void invert(MemorySegment weights) {
    MemorySegment w = NativeViews.exact(weights);
    int bytes = Math.toIntExact(w.byteSize());
    for (int i = 0; i <= bytes - 2 * STEP; i += 2 * STEP) {
      IntVector w0 = IntVector.fromMemorySegment(I, w, i, LE);
      IntVector w1 = IntVector.fromMemorySegment(I, w, i + STEP, LE);
      w0.not().intoMemorySegment(w, i, LE);
      w1.not().intoMemorySegment(w, i + STEP, LE);
    }
  }
}

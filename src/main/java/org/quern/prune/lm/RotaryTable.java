package org.quern.prune.lm;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.tensor.Tensor;

/**
 * Cosines and sines of the rotary angles: position times frequency, F32 [positions, head size / 2].
 *
 * @param cosines of the angles
 * @param sines of the angles
 */
record RotaryTable(MemorySegment cosines, MemorySegment sines) {
  /** The table of the positions from 0 on. */
  static RotaryTable of(Arena arena, DecoderShape shape, int positions) {
    int half = shape.headSize() / 2;
    long bytes = (long) positions * half * Float.BYTES;
    MemorySegment cosines = arena.allocate(bytes, Tensor.ALIGNMENT);
    MemorySegment sines = arena.allocate(bytes, Tensor.ALIGNMENT);
    for (int i = 0; i < half; i++) {
      double frequency =
          shape.rotaryScaling().scaled(Math.pow(shape.ropeTheta(), -2.0 * i / shape.headSize()));
      for (int position = 0; position < positions; position++) {
        long at = (long) position * half + i;
        cosines.setAtIndex(JAVA_FLOAT, at, (float) Math.cos(position * frequency));
        sines.setAtIndex(JAVA_FLOAT, at, (float) Math.sin(position * frequency));
      }
    }
    return new RotaryTable(cosines, sines);
  }
}

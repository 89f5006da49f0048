package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/** The kernels of a tile that are written for one shape, and what they refer to. */
interface VectorTile {
  /** Vectors of F32 tiles. */
  VectorSpecies<Float> F32 = FloatVector.SPECIES_PREFERRED;

  /** Vectors of F64 tiles. */
  VectorSpecies<Double> F64 = DoubleVector.SPECIES_PREFERRED;

  /** Order of bytes. */
  ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;

  /** Kernel that takes an operand to amplitudes, plus the role of the operand. */
  int TO_AMPLITUDES = 0;

  /** Kernel that multiplies amplitudes, plus the role of the result. */
  int MULTIPLY = 3;

  /** Kernel that takes amplitudes to coefficients, plus the role of the operand. */
  int TO_COEFFICIENTS = 6;

  /**
   * Runs a kernel.
   *
   * @param x memory of the operand, of which a kernel that multiplies takes none
   * @param at offset of the operand in its base
   * @param step bytes between its components
   * @param grid memory of amplitudes
   * @param grid0 offset of the amplitudes of role 0
   * @param grid1 offset of the amplitudes of role 1
   * @param grid2 offset of the amplitudes of role 2
   * @param table factors, a {@code float[]} or {@code double[]}
   */
  void run(
      int kernel,
      MemorySegment x,
      long at,
      long step,
      MemorySegment grid,
      long grid0,
      long grid1,
      long grid2,
      Object table);
}

package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;
import org.quern.tensor.DType;

/** The kernels of a tile that are written for one shape, and what they refer to. */
interface VectorTile {
  /** Vectors of F32 tiles. */
  VectorSpecies<Float> F32 = FloatVector.SPECIES_PREFERRED;

  /** Vectors of F64 tiles. */
  VectorSpecies<Double> F64 = DoubleVector.SPECIES_PREFERRED;

  /** Order of bytes. */
  ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;

  /** Channels in a vector. */
  static int channels(DType type) {
    return type == DType.F32 ? F32.length() : F64.length();
  }

  /**
   * Runs a kernel on three parts of memory, each a base that {@link
   * org.quern.runtime.NativeViews#base} gives for a segment, an offset in it, and a step in bytes.
   *
   * @param kernel number of the kernel
   * @param spin turns of an empty loop; see {@link VectorClass}
   * @param table factors, a {@code float[]} or {@code double[]}
   */
  void run(
      int kernel,
      int spin,
      MemorySegment a,
      long aAt,
      long aStep,
      MemorySegment b,
      long bAt,
      long bStep,
      MemorySegment c,
      long cAt,
      long cStep,
      Object table);
}

package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.runtime.Device;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The arguments of a score over a matrix: flat memory, types and strides. One object per {@link
 * PruneWorkspace}, filled anew and checked for every call, so that a call allocates nothing.
 */
final class Operands {
  /** How errors name the layer. */
  String name = "weights";

  /** The score. */
  Method method = Method.MAGNITUDE;

  /** True to round |W| |G| to F16 before it is added. */
  boolean halfProducts;

  /** Weights, rows x n. */
  MemorySegment w = MemorySegment.NULL;

  /** F32, F16 or BF16. */
  DType wType = DType.F32;

  /** Bytes from row to row of w. */
  long wStride;

  /** Gradient statistic of the shape of w; {@link MemorySegment#NULL} where the method has none. */
  MemorySegment g = MemorySegment.NULL;

  /** F32, F16 or BF16. */
  DType gType = DType.F32;

  /** Bytes from row to row of g. */
  long gStride;

  /** F32 column norms, n of them; {@link MemorySegment#NULL} where the method has none. */
  MemorySegment c = MemorySegment.NULL;

  /** Rows. */
  long rows;

  /**
   * Number of the first row in the matrix that errors refer to: 0, unless these are rows of a
   * larger one.
   */
  long firstRow;

  /** Columns. */
  int n;

  /** True to zero the pruned weights in w, false to leave w alone. */
  boolean inPlace;

  /** True to rank weights that are zero before all others: S = max(S, 2^-149) where W is not 0. */
  boolean zerosFirst;

  /** alpha of {@link Method#WANDA_PLUS_PLUS}. */
  float gradientScale;

  /**
   * The sum of |W| over every column, F32, of {@link Method#RIA}; 1 where it is 0, and in the room
   * behind the last column.
   */
  MemorySegment columnSums = MemorySegment.NULL;

  /** The smallest |G| of {@link Method#PRUNER_ZERO}, 0 where all are equal. */
  float leastGradient;

  /** The largest |G| less {@link #leastGradient}, of {@link Method#PRUNER_ZERO}. */
  float gradientRange;

  /**
   * Takes the arguments of a call after checking them.
   *
   * @throws IllegalArgumentException where a shape, type, device or column norm is not as {@link
   *     Pruner#prune(String, Tensor, Statistics, PruneWorkspace)} describes
   */
  void bind(
      String name,
      Method method,
      Compat compat,
      Tensor weights,
      Statistics statistics,
      boolean inPlace) {
    check(name, method, weights, statistics);
    this.name = name;
    this.method = method;
    this.inPlace = inPlace;
    rows = weights.dim(0);
    firstRow = 0;
    zerosFirst = false;
    n = (int) weights.dim(1);
    w = weights.memory();
    wType = weights.type();
    wStride = weights.rowStride() * weights.type().bytes();
    g = MemorySegment.NULL;
    gType = DType.F32;
    gStride = 0;
    c = MemorySegment.NULL;
    Tensor gradients = statistics.gradients();
    if (method.usesGradients() && gradients != null) {
      g = gradients.memory();
      gType = gradients.type();
      gStride = gradients.rowStride() * gradients.type().bytes();
    }
    Tensor norms = statistics.columnNorms();
    if (method.usesActivations() && norms != null) {
      c = norms.memory();
      checkNorms();
    }
    halfProducts =
        compat == Compat.OFFICIAL
            && method == Method.GBLM
            && wType == DType.F16
            && gType == DType.F16;
  }

  /**
   * True where S = |W| c + |W| |G| with an absent factor taken as 0 or 1, and no more to it: what
   * the passes over the operands compute by themselves.
   */
  boolean isSumOfProducts() {
    return switch (method) {
      case MAGNITUDE, WANDA, GRADIENT, GBLM -> !halfProducts && !zerosFirst;
      case RIA, PRUNER_ZERO, WANDA_PLUS_PLUS -> false;
    };
  }

  private void checkNorms() {
    for (int j = 0; j < n; j++) {
      float norm = c.get(JAVA_FLOAT, (long) j * Float.BYTES);
      if (!(norm >= 0 && norm < Float.POSITIVE_INFINITY)) {
        throw new IllegalArgumentException(
            name
                + ": expected column norms that are finite and not negative, got "
                + norm
                + " at column "
                + j);
      }
    }
  }

  /** True where the method uses gradients and all of them are zero. */
  boolean hasOnlyZeroGradients() {
    if (!method.usesGradients()) {
      return false;
    }
    for (long row = 0; row < rows; row++) {
      for (int j = 0; j < n; j++) {
        if (ScalarPruneKernels.load(g, row * gStride, gType, j) != 0) {
          return false;
        }
      }
    }
    return rows > 0 && n > 0;
  }

  /**
   * Throws where some operand is not finite.
   *
   * @throws IllegalArgumentException naming the first weight or gradient that is not finite
   */
  void requireFinite() {
    for (long row = 0; row < rows; row++) {
      findNotFinite(row);
    }
  }

  /**
   * Throws where the kernels stopped at a row.
   *
   * @param row what a kernel returned
   * @throws IllegalArgumentException naming the first weight or gradient of the row that is not
   *     finite
   */
  void requireFinite(long row) {
    if (row == PruneKernels.ALL_FINITE) {
      return;
    }
    findNotFinite(row);
    throw new AssertionError(name + ": row " + row + " was reported as not finite but is");
  }

  private void findNotFinite(long row) {
    for (int j = 0; j < n; j++) {
      requireFinite("weights", ScalarPruneKernels.load(w, row * wStride, wType, j), row, j);
      if (method.usesGradients()) {
        requireFinite("gradients", ScalarPruneKernels.load(g, row * gStride, gType, j), row, j);
      }
    }
  }

  private void requireFinite(String argument, float value, long row, int column) {
    if (!Float.isFinite(value)) {
      throw new IllegalArgumentException(
          name
              + ": expected finite "
              + argument
              + ", got "
              + value
              + " at row "
              + (firstRow + row)
              + ", column "
              + column);
    }
  }

  private static void check(String name, Method method, Tensor weights, Statistics statistics) {
    checkTensor(name, "weights", weights);
    if (weights.rank() != 2) {
      throw new IllegalArgumentException(
          name + ": expected weights of shape [rows, columns], got " + weights);
    }
    if (weights.dim(1) > Integer.MAX_VALUE / 64) {
      throw new IllegalArgumentException(
          name
              + ": expected at most "
              + Integer.MAX_VALUE / 64
              + " columns, got "
              + weights.dim(1));
    }
    if (method.usesGradients()) {
      Tensor gradients = statistics.gradients();
      if (gradients == null) {
        throw new IllegalArgumentException(
            name + ": the method " + method + " needs gradients, got none");
      }
      checkTensor(name, "gradients", gradients);
      if (gradients.rank() != 2
          || gradients.dim(0) != weights.dim(0)
          || gradients.dim(1) != weights.dim(1)) {
        throw new IllegalArgumentException(
            name
                + ": expected gradients of shape "
                + Arrays.toString(weights.shape())
                + ", got "
                + Arrays.toString(gradients.shape()));
      }
    }
    if (method.usesActivations()) {
      Tensor norms = statistics.columnNorms();
      if (norms == null) {
        throw new IllegalArgumentException(
            name + ": the method " + method + " needs column norms, got none");
      }
      checkTensor(name, "column norms", norms);
      if (norms.type() != DType.F32 || norms.rank() != 1 || norms.dim(0) != weights.dim(1)) {
        throw new IllegalArgumentException(
            name + ": expected column norms F32[" + weights.dim(1) + "], got " + norms);
      }
    }
  }

  private static void checkTensor(String name, String argument, Tensor tensor) {
    if (!tensor.device().equals(Device.CPU)) {
      throw new IllegalArgumentException(
          name + ": expected " + argument + " on the cpu, got " + tensor.device());
    }
    switch (tensor.type()) {
      case F32, F16, BF16 -> {}
      default ->
          throw new IllegalArgumentException(
              name + ": expected " + argument + " of type F32, F16 or BF16, got " + tensor.type());
    }
  }
}

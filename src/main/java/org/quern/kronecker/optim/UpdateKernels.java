package org.quern.kronecker.optim;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.Tier;

/**
 * Updates of a run of n parameters by the same run of rows of P, element by element; x stands for
 * {@code nu g}. All arrays are F32 in native memory at byte offsets and do not overlap. Every
 * update but {@link #lambDirection} leaves g zero. Sources: {@link Sgd}, {@link Adam}, {@link
 * Lamb}.
 */
interface UpdateKernels {
  /** Bytes of work memory of the methods that sum: three vectors of up to 2048 bits. */
  long LANES_BYTES = 3 * 256;

  /** The kernels of a tier. */
  static UpdateKernels of(Tier tier) {
    return tier == Tier.VECTOR ? VectorUpdateKernels.INSTANCE : ScalarUpdateKernels.INSTANCE;
  }

  /** {@code w <- w - rate (x + decay w)}. Reads w, g, writes w, g: 16 bytes per parameter. */
  void descend(Coefficients c, MemorySegment w, long wAt, MemorySegment g, long gAt, int n);

  /**
   * {@code d = x + decay w}, {@code m <- beta1 m + d}, {@code w <- w - rate m}, or {@code w - rate
   * (d + beta1 m)} where {@code nesterov}. 24 bytes per parameter.
   */
  void momentum(
      Coefficients c,
      MemorySegment w,
      long wAt,
      MemorySegment g,
      long gAt,
      MemorySegment m,
      long mAt,
      int n);

  /**
   * {@code d = x + decay w}, {@code m <- beta1 m + rest1 d}, {@code v <- beta2 v + rest2 d^2},
   * {@code w <- keep w - rate m / (correction sqrt(v) + epsilon)}. 32 bytes per parameter.
   */
  void adam(
      Coefficients c,
      MemorySegment w,
      long wAt,
      MemorySegment g,
      long gAt,
      MemorySegment m,
      long mAt,
      MemorySegment v,
      long vAt,
      int n);

  /**
   * The moments of {@link #adam} of x alone, and {@code u = m / (sqrt(v) + epsilon) + decay w},
   * written over g.
   *
   * @param lanes work memory, {@link #LANES_BYTES}
   * @param norms {@code ||w||^2} is added to the first element, {@code ||u||^2} to the second
   */
  void lambDirection(
      Coefficients c,
      MemorySegment w,
      long wAt,
      MemorySegment g,
      long gAt,
      MemorySegment m,
      long mAt,
      MemorySegment v,
      long vAt,
      int n,
      MemorySegment lanes,
      double[] norms);

  /** {@code g <- a g + b h}; h is not read where b is 0. */
  void mix(float a, MemorySegment g, long gAt, float b, MemorySegment h, long hAt, int n);

  /**
   * Sums of products.
   *
   * @param lanes work memory, {@link #LANES_BYTES}
   * @param sums {@code g.h} is added to the first element, {@code g.g} to the second, {@code h.h}
   *     to the third
   */
  void dots(
      MemorySegment g,
      long gAt,
      MemorySegment h,
      long hAt,
      int n,
      MemorySegment lanes,
      double[] sums);

  /**
   * {@code sum <- sum + g}; returns the sum of the elements of g.
   *
   * @param lanes work memory, {@link #LANES_BYTES}
   */
  double addRow(
      MemorySegment g, long gAt, MemorySegment sum, long sumAt, int n, MemorySegment lanes);
}

package org.quern.kronecker.optim;

import org.quern.tensor.Tensor;

/**
 * The exchange between data-parallel workers: one flat vector per refresh, which holds for every
 * layer the weights of its vectors and the weighted vectors themselves.
 */
@FunctionalInterface
public interface VectorMean {
  /**
   * Replaces every element by its sum over all workers, or by its mean: the weights are in the
   * vector, too, and a common factor cancels. Every worker calls it once per refresh with a vector
   * of the same length, and gets the same bits back.
   *
   * @param flat F64, contiguous; changed in place
   */
  void reduce(Tensor flat);
}

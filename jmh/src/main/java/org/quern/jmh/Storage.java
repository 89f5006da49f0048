package org.quern.jmh;

import org.quern.tensor.DType;

/** Element types of weights and gradients, of one size so that a floor of plain bytes fits both. */
public enum Storage {
  /** Both F32. */
  F32(DType.F32, DType.F32),
  /** Weights BF16, gradients F16. */
  HALVES(DType.BF16, DType.F16);

  final DType weights;
  final DType gradients;

  Storage(DType weights, DType gradients) {
    this.weights = weights;
    this.gradients = gradients;
  }
}

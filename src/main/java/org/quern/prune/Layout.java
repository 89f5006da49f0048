package org.quern.prune;

/**
 * How a checkpoint stores the matrix of a linear layer. It cannot be told from the file: the wrong
 * declaration prunes along the wrong axis.
 */
public enum Layout {
  /**
   * Rows are outputs, columns inputs, as in PyTorch's {@code Linear}: LLaMA, OPT and most others.
   */
  OUT_IN,
  /** Rows are inputs, columns outputs, as in the {@code Conv1D} of GPT-2. */
  IN_OUT
}

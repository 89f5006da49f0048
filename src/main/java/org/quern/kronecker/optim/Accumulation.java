package org.quern.kronecker.optim;

/**
 * How the vectors of several micro-batches become one. With rows r, mean inputs a and output
 * gradients g (sums over the rows of a micro-batch, the gradient of the bias) of micro-batches q:
 */
public enum Accumulation {
  /**
   * {@code a = sum r_q a_q / sum r_q}, {@code g = sum g_q}: the caller divides the loss by the
   * number of micro-batches, so that gradients, and with them g, add up to those of the whole
   * batch.
   */
  SUM,
  /**
   * {@code g = sum r_q g_q / sum r_q}: every micro-batch has the mean loss of its own rows, and
   * gradients are averaged with the rows as weights, as over workers.
   */
  MEAN,
  /**
   * {@code a = sum a_q / k}, {@code g = sum g_q / k}: as released, where k is divided out of g
   * twice, by the caller and by the optimizer. For reproduction only.
   */
  RELEASED
}

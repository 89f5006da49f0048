package org.quern.prune;

/** Which arithmetic decides where exact selection and the published programs differ. */
public enum Compat {
  /** Binary32 scores and exactly k weights pruned per group, lowest column first among equals. */
  EXACT,
  /**
   * The released GBLM-Pruner, bit for bit: in {@link Method#GBLM} the product |W| |G| of two F16
   * operands is rounded to F16 before it is added, and an unstructured pattern over {@link
   * Group#MATRIX} prunes every weight up to the score at sorted index k, so at least k + 1 of them
   * and all ties.
   */
  OFFICIAL
}

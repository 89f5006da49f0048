package org.quern.gaunt;

/** The order of coefficients in memory, for a batch of B rows, C channels and degrees 0 to L. */
public enum Layout {
  /**
   * Channels fastest: a tensor [B, (L+1)<sup>2</sup>, C], component l*l + l + m. The layout that
   * the kernels work on.
   */
  IR_MUL,
  /**
   * The flat order of e3nn: a tensor [B, (L+1)<sup>2</sup> C], each row the concatenation over l of
   * blocks [C, 2l+1]. Costs a transposition of every tile.
   */
  MUL_IR
}

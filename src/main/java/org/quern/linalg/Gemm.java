package org.quern.linalg;

/** Dense matrix products. */
public final class Gemm {
  private Gemm() {}
}

package org.quern.prune.lm;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * exp of a vector of floats. {@code exp(x) = 2^n exp(r)}, n the integer nearest to {@code x / ln 2}
 * and {@code |r| <= ln 2 / 2}, exp(r) by the polynomial of Cephes' {@code expf} (Moshier). Relative
 * error below 2^-22 between -87 and 88; beyond, the value is that at the bound, so that what should
 * be 0 or infinite is of the order of 1e-38 or 1e38. A NaN stays one.
 */
final class VectorExponential {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;

  private static final float LOWEST = -87;
  private static final float HIGHEST = 88;

  /** 1.5 * 2^23: a float of this size has no fraction, its last bits are an integer. */
  private static final float SHIFT = 0x1.8p23f;

  private static final float LOG2_E = 1.442695f;

  // ln 2 in two parts, the first so short that its product with an exponent is exact.
  private static final float LN2_HIGH = 0x1.63p-1f;
  private static final float LN2_LOW = -2.1219444e-4f;

  private VectorExponential() {}

  // Methods of at most 35 bytes of bytecode, which the compiler always inlines.

  static FloatVector exp(FloatVector x) {
    FloatVector inside = x.max(LOWEST).min(HIGHEST);
    FloatVector shifted = step(inside, LOG2_E, SHIFT);
    return scale(ofRest(rest(inside, shifted.sub(SHIFT))), shifted);
  }

  /** a x + b. */
  private static FloatVector step(FloatVector x, float a, float b) {
    return x.fma(FloatVector.broadcast(SPECIES, a), FloatVector.broadcast(SPECIES, b));
  }

  /** x - n ln 2. */
  private static FloatVector rest(FloatVector x, FloatVector n) {
    FloatVector high = n.fma(FloatVector.broadcast(SPECIES, -LN2_HIGH), x);
    return n.fma(FloatVector.broadcast(SPECIES, -LN2_LOW), high);
  }

  /** exp(r) = 1 + r + r^2 p(r). */
  private static FloatVector ofRest(FloatVector r) {
    return upper(r, lower(r)).fma(r.mul(r), r.add(1));
  }

  private static FloatVector lower(FloatVector r) {
    FloatVector p = step(r, 1.9875691e-4f, 0.0013981999f);
    return horner(horner(p, r, 0.008333452f), r, 0.041665796f);
  }

  private static FloatVector upper(FloatVector r, FloatVector p) {
    return horner(horner(p, r, 0.16666666f), r, 0.5f);
  }

  private static FloatVector horner(FloatVector p, FloatVector r, float c) {
    return p.fma(r, FloatVector.broadcast(SPECIES, c));
  }

  /** y 2^n, by adding n to the exponent; n stands in the last bits of n + SHIFT. */
  private static FloatVector scale(FloatVector y, FloatVector shifted) {
    return y.reinterpretAsInts()
        .add(shifted.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23))
        .reinterpretAsFloats();
  }
}

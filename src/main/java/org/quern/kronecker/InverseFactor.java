package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * One inverse Kronecker factor: a symmetric d x d matrix J that starts at the identity and takes
 * one vector at a time ({@link UpdateRule}). Works on F32 tensors of host memory; serves one call
 * at a time.
 */
public abstract class InverseFactor {
  /** Tiers that this family implements. */
  static final Set<Tier> TIERS = Set.of(Tier.SCALAR, Tier.VECTOR);

  /** What an update did. */
  public enum Outcome {
    /** J has changed by the rule. */
    APPLIED,
    /** The vector held a NaN or an infinity; J is as before. */
    SKIPPED,
    /** The rule had no finite result; J is the identity again. */
    RESET
  }

  /** The identity of dimension {@code d} on the best tier. */
  public static InverseFactor create(
      Arena arena, int d, Storage storage, UpdateRule rule, double gamma) {
    return create(arena, d, storage, rule, gamma, null);
  }

  /**
   * The identity of dimension {@code d}.
   *
   * @param arena gives the memory
   * @param d dimension, at least 1
   * @param storage how J is kept
   * @param rule what a vector does to J; {@link Storage.LowRank} demands {@link UpdateRule#CODE}
   * @param gamma momentum, in (0, 1]
   * @param tier the tier to use, or null for the best
   * @throws IllegalArgumentException where an argument is out of its range, or the storage cannot
   *     keep the rule
   * @throws IllegalStateException where the tier cannot run here
   */
  public static InverseFactor create(
      Arena arena, int d, Storage storage, UpdateRule rule, double gamma, @Nullable Tier tier) {
    return new SymmetricFactor(arena, d, storage, rule, gamma);
  }

  /** Bytes that a factor of dimension {@code d} takes, work memory included. */
  public static long bytes(int d, Storage storage) {
    return 4L * d * d;
  }

  /** The dimension d. */
  public abstract int dimension();

  /** How J is kept. */
  public abstract Storage storage();

  /** Columns in use of a {@link Storage.LowRank} factor; d for the others. */
  public abstract int rank();

  /**
   * Takes one vector.
   *
   * @param v d floats; vectors of any finite length are taken, the quadratic form does not overflow
   * @return what happened; nothing is thrown for values
   */
  public abstract Outcome update(Tensor v);

  /** {@code s = v.y} of the last update that was applied; NaN before. */
  public abstract double quadraticForm();

  /** {@code w = J v}; v and w are d floats and do not overlap. */
  public abstract void multiply(Tensor v, Tensor w);

  /** Makes J the identity. */
  public abstract void reset();

  /** {@code J <- zeta J + (1-zeta) I}, zeta in [0, 1]. */
  public abstract void blend(double zeta);

  /** Greatest absolute value of an element of J. */
  public abstract double maxAbs();

  /** Greatest sum of absolute values of a row of J. */
  public abstract double infinityNorm();

  /** Writes J into {@code out}, d x d of F32 or F64. */
  public abstract void toDense(Tensor out);

  /** Makes J the symmetric matrix in {@code j}, d x d of F32 or F64. */
  public abstract void fromDense(Tensor j);

  /** Writes the diagonal of J into {@code out}, d of F32 or F64. */
  public abstract void diagonal(Tensor out);

  /**
   * Copies of everything that later calls depend on, by short names, in memory of {@code arena}: a
   * factor that was created alike and takes them by {@link #restore} goes on bit for bit as this
   * one.
   */
  public abstract Map<String, Tensor> state(Arena arena);

  /**
   * Takes what {@link #state} gave.
   *
   * @throws IllegalArgumentException where a tensor is missing or of another shape; the factor is
   *     then as before
   */
  public abstract void restore(Map<String, Tensor> state);
}

package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Device;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * One inverse Kronecker factor: a symmetric d x d matrix J that starts at the identity and takes
 * one vector at a time ({@link UpdateRule}). Works on F32 tensors of host memory; serves one call
 * at a time.
 */
public abstract class InverseFactor {
  /** Tiers that this family implements. */
  static final Set<Tier> TIERS = Set.of(Tier.SCALAR, Tier.VECTOR);

  /** For the factors of this package. */
  InverseFactor() {}

  /** What an update did. */
  public enum Outcome {
    /** J has changed by the rule. */
    APPLIED,
    /** The vector held a NaN or an infinity; J is as before. */
    SKIPPED,
    /** The rule had no finite result; J is the identity again. */
    RESET
  }

  /** The identity of dimension {@code d} on the best tier and one thread. */
  public static InverseFactor create(
      Arena arena, int d, Storage storage, UpdateRule rule, double gamma) {
    return create(arena, d, storage, rule, gamma, null);
  }

  /** As {@link #create(Arena, int, Storage, UpdateRule, double, int, Tier)}, on one thread. */
  public static InverseFactor create(
      Arena arena, int d, Storage storage, UpdateRule rule, double gamma, @Nullable Tier tier) {
    return create(arena, d, storage, rule, gamma, 1, tier);
  }

  /**
   * The identity of dimension {@code d}.
   *
   * @param arena gives the memory, {@link #bytes} of it; open to all threads where there are more
   *     than one
   * @param d dimension, at least 1
   * @param storage how J is kept
   * @param rule what a vector does to J; {@link Storage.LowRank} demands {@link UpdateRule#CODE}
   * @param gamma momentum, in (0, 1]; with {@link UpdateRule#CODE} also 0, which forgets J at every
   *     update
   * @param threads greatest number of threads, at least 1; changes no result
   * @param tier the tier to use, or null for the best
   * @throws IllegalArgumentException where an argument is out of its range, or the storage cannot
   *     keep the rule
   * @throws IllegalStateException where the tier cannot run here
   */
  public static InverseFactor create(
      Arena arena,
      int d,
      Storage storage,
      UpdateRule rule,
      double gamma,
      int threads,
      @Nullable Tier tier) {
    if (d < 1) {
      throw new IllegalArgumentException("d: expected at least 1, got " + d);
    }
    if (!(gamma > 0 && gamma <= 1) && !(gamma == 0 && rule == UpdateRule.CODE)) {
      throw new IllegalArgumentException("gamma: expected one in (0, 1], got " + gamma);
    }
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    if (storage instanceof Storage.LowRank lowRank) {
      if (rule != UpdateRule.CODE) {
        throw new IllegalArgumentException(
            "rule: expected CODE, which alone keeps I - J of low rank, got " + rule);
      }
      return new LowRankFactor(arena, d, lowRank, gamma, tier);
    }
    return new SymmetricFactor(arena, d, storage, rule, gamma, threads, tier);
  }

  /** Bytes that a factor of dimension {@code d} takes, work memory included. */
  public static long bytes(int d, Storage storage) {
    if (d < 1) {
      throw new IllegalArgumentException("d: expected at least 1, got " + d);
    }
    return storage instanceof Storage.LowRank lowRank
        ? LowRankFactor.bytesOf(d, lowRank)
        : SymmetricFactor.bytesOf(d, storage);
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

  /** Writes the diagonal of J into {@code out}, d floats. */
  public abstract void diagonal(Tensor out);

  /** Makes J the symmetric matrix in {@code j}, d x d of F32 or F64. */
  public abstract void fromDense(Tensor j);

  /**
   * All that determines the factor, bit by bit: one that {@link #restore restores} it and goes on
   * equals one that never stopped.
   *
   * @param arena gives the memory of the tensors, which are copies
   * @return tensors by name, in a fixed order
   */
  public abstract Map<String, Tensor> state(Arena arena);

  /**
   * Takes over the state of a factor of the same dimension, storage, rule and momentum.
   *
   * @param state what {@link #state} gave, possibly written to a file and read in between
   * @throws IllegalArgumentException where a tensor is missing, of another type or of another
   *     shape; the factor is then as before
   */
  public abstract void restore(Map<String, Tensor> state);

  /**
   * A tensor of a state.
   *
   * @param shape the shape expected; an extent of -1 stands for any
   * @throws IllegalArgumentException where it is missing or another one, naming it
   */
  static Tensor stateTensor(Map<String, Tensor> state, String name, DType type, long... shape) {
    Tensor tensor = state.get(name);
    if (tensor == null || !fits(tensor, type, shape)) {
      throw new IllegalArgumentException(
          "state: expected "
              + name
              + " "
              + type
              + Arrays.toString(shape)
              + ", contiguous, on the CPU, got "
              + tensor);
    }
    return tensor;
  }

  private static boolean fits(Tensor tensor, DType type, long[] shape) {
    if (tensor.type() != type
        || tensor.rank() != shape.length
        || !tensor.isContiguous()
        || !tensor.device().equals(Device.CPU)) {
      return false;
    }
    for (int i = 0; i < shape.length; i++) {
      if (shape[i] != -1 && tensor.dim(i) != shape[i]) {
        return false;
      }
    }
    return true;
  }
}

package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.lang.ref.Reference;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Device;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * {@code P = L G R} for the gradient G = [dW | db] of one layer, and the scalar that restores its
 * length. Two steps, so that a back end can use P row by row while it is in the cache: {@link
 * #prepare} reads G and computes all that the rows need, {@link #apply} writes rows of P over those
 * of G; {@link #precondition} does both. Allocates nothing per call once warm, unless a factor of
 * low rank has grown; results are the same bits for any number of threads. Serves one call at a
 * time.
 *
 * <p>Two factors of low rank cost {@code 8 k o i} flops and two passes over G ({@link
 * Storage.LowRank}); any other pair {@code 2 o i (o + i)} flops, and memory for twice G. A factor
 * that keeps I - J leaves the part of G that it does not touch as it is, and with {@code L = R = I}
 * P equals G exactly.
 */
public final class Preconditioner {
  /** What the last {@link #prepare} found. */
  public enum Outcome {
    /** P can be applied. */
    APPLIED,
    /** G holds a NaN or an infinity: {@link #apply} leaves it as it is. */
    NOT_FINITE,
    /**
     * P vanishes, or overflows, or is so short that nu does, although G does not: {@link #apply}
     * leaves G as it is.
     */
    VANISHED
  }

  private final Arena arena;
  private final InverseFactor left;
  private final InverseFactor right;
  private final int o;
  private final int i;
  private final boolean bias;
  private final Rescale rescale;
  private final int threads;
  private final @Nullable Tier tier;
  private final @Nullable LowRankProduct lowRank;
  private @Nullable DenseProduct dense;
  private boolean applyDense;
  private Outcome outcome = Outcome.APPLIED;

  private Preconditioner(
      Arena arena,
      InverseFactor left,
      InverseFactor right,
      boolean bias,
      Rescale rescale,
      int threads,
      @Nullable Tier tier) {
    this.arena = arena;
    this.left = left;
    this.right = right;
    this.o = left.dimension();
    this.i = right.dimension();
    this.bias = bias;
    this.rescale = rescale;
    this.threads = threads;
    this.tier = tier;
    if (left instanceof LowRankFactor l && right instanceof LowRankFactor r) {
      lowRank = new LowRankProduct(arena, l, r, bias, threads, tier);
    } else {
      lowRank = null;
      dense = new DenseProduct(arena, left, right, bias, threads, tier);
    }
  }

  /**
   * A preconditioner of two factors, which go on changing by their updates.
   *
   * @param arena gives the work memory, also of later growth; open to all threads where there are
   *     more than one
   * @param left L, of dimension d_out
   * @param right R, of dimension d_in, or d_in + 1 with a bias
   * @param bias whether the last column of G is the gradient of a bias
   * @param rescale how the length is restored
   * @param threads greatest number of threads, at least 1
   * @param tier the tier to use, or null for the best
   * @throws IllegalArgumentException where {@code threads < 1}
   * @throws IllegalStateException where the tier cannot run here
   */
  public static Preconditioner create(
      Arena arena,
      InverseFactor left,
      InverseFactor right,
      boolean bias,
      Rescale rescale,
      int threads,
      @Nullable Tier tier) {
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    return new Preconditioner(arena, left, right, bias, rescale, threads, tier);
  }

  /**
   * Computes what the rows of P need. G is only read.
   *
   * @param dw d_out x d_in floats
   * @param db d_out floats, or null without a bias
   * @return nu, by which P is to be multiplied; 1 where {@link #apply} leaves G as it is, and where
   *     G is zero
   * @throws IllegalArgumentException where a type, a device or a shape does not fit
   */
  public double prepare(Tensor dw, @Nullable Tensor db) {
    check(dw, db);
    try {
      LowRankProduct product = lowRank;
      if (product == null) {
        DenseProduct full = dense();
        full.prepare(dw, db);
        return decide(full);
      }
      product.prepare(dw, db);
      applyDense = false;
      return decide(product.gSquareW(), product.gSquareB(), product.pSquareW(), product.pSquareB());
    } finally {
      Reference.reachabilityFence(dw);
      Reference.reachabilityFence(db);
      Reference.reachabilityFence(this);
    }
  }

  /**
   * {@link #prepare} where {@code G = Y'A} for few rows, as {@code P = (Y L)'(A R)}: {@code 2 N
   * (o^2 + i^2) + 2 N o i} flops with full factors, fewer where N is less than about two thirds of
   * the dimensions. The first call takes memory from the arena, and a later one with more rows.
   *
   * @param y N x d_out, the gradients at the outputs
   * @param a N x d_in, or d_in + 1 with a last column of ones with a bias: the inputs
   * @param dw G without the bias, d_out x d_in floats
   * @param db d_out floats, or null without a bias
   * @return nu, as {@link #prepare} does
   * @throws IllegalArgumentException where a type, a device or a shape does not fit
   */
  public double prepareFactored(Tensor y, Tensor a, Tensor dw, @Nullable Tensor db) {
    check(dw, db);
    checkMatrix("y", y, y.rank() == 2 ? y.dim(0) : -1, o);
    checkMatrix("a", a, y.dim(0), i);
    try {
      DenseProduct full = dense();
      full.prepareFactored(y, a, dw, db);
      return decide(full);
    } finally {
      Reference.reachabilityFence(dw);
      Reference.reachabilityFence(db);
      Reference.reachabilityFence(this);
      Reference.reachabilityFence(y);
      Reference.reachabilityFence(a);
    }
  }

  private DenseProduct dense() {
    DenseProduct product = dense;
    if (product == null) {
      product = new DenseProduct(arena, left, right, bias, threads, tier);
      dense = product;
    }
    return product;
  }

  private double decide(DenseProduct product) {
    applyDense = true;
    return decide(product.gSquareW(), product.gSquareB(), product.pSquareW(), product.pSquareB());
  }

  private double decide(double gW, double gB, double pW, double pB) {
    if (!Double.isFinite(gW + gB)) {
      outcome = Outcome.NOT_FINITE;
      return 1;
    }
    double before = length(gW, gB);
    double after = length(pW, pB);
    boolean usable = after >= Float.MIN_NORMAL && before / after <= Float.MAX_VALUE;
    boolean vanished = before > 0 && !(usable && Double.isFinite(after));
    outcome = vanished ? Outcome.VANISHED : Outcome.APPLIED;
    return vanished || before == 0 || rescale == Rescale.NONE ? 1 : before / after;
  }

  private double length(double squareW, double squareB) {
    return rescale == Rescale.SUM_OF_NORMS
        ? Math.sqrt(squareW) + Math.sqrt(squareB)
        : Math.sqrt(squareW + squareB);
  }

  /**
   * Writes rows of P, not yet multiplied by nu, over the same rows of the tensors that were given
   * to {@link #prepare}.
   *
   * @param dw d_out x d_in floats
   * @param db d_out floats, or null without a bias
   * @param from first row
   * @param to row after the last
   * @throws IllegalArgumentException where a type, a device or a shape does not fit
   * @throws IndexOutOfBoundsException where the rows are not within G
   */
  public void apply(Tensor dw, @Nullable Tensor db, int from, int to) {
    apply(dw, db, from, to, 1);
  }

  private void apply(Tensor dw, @Nullable Tensor db, int from, int to, double factor) {
    check(dw, db);
    Objects.checkFromToIndex(from, to, o);
    if (outcome != Outcome.APPLIED) {
      return;
    }
    try {
      if (applyDense) {
        dense().apply(dw, db, from, to, factor);
      } else if (lowRank != null) {
        lowRank.apply(dw, db, from, to, factor);
      }
    } finally {
      Reference.reachabilityFence(dw);
      Reference.reachabilityFence(db);
      Reference.reachabilityFence(this);
    }
  }

  /**
   * Replaces G by nu P, or leaves it as {@link #outcome} says.
   *
   * @param dw d_out x d_in floats
   * @param db d_out floats, or null without a bias
   * @return nu
   * @throws IllegalArgumentException where a type, a device or a shape does not fit
   */
  public double precondition(Tensor dw, @Nullable Tensor db) {
    double nu = prepare(dw, db);
    apply(dw, db, 0, o, nu);
    return nu;
  }

  /** What the last {@link #prepare} found. */
  public Outcome outcome() {
    return outcome;
  }

  private void check(Tensor dw, @Nullable Tensor db) {
    checkMatrix("dw", dw, o, bias ? i - 1 : i);
    if (bias != (db != null)) {
      throw new IllegalArgumentException(
          "db: expected " + (bias ? "the gradient of the bias" : "none") + ", got " + db);
    }
    if (db != null) {
      SymmetricMatrix.checkVector("db", db, o);
    }
  }

  private static void checkMatrix(String name, Tensor x, long rows, long columns) {
    boolean fits = x.rank() == 2 && x.dim(0) == rows && x.dim(1) == columns;
    if (!fits || x.type() != DType.F32 || x.device().kind() != Device.Kind.CPU) {
      throw new IllegalArgumentException(
          name + ": expected F32[" + rows + ", " + columns + "] on the cpu, got " + x);
    }
  }
}

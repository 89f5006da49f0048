package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A factor that keeps every element of a symmetric matrix S, which is J, or K = I - J where the
 * storage says so, as
 *
 * <pre>{@code
 * S = p M + c I + sum over t of weight_t y_t y_t'
 * }</pre>
 *
 * with a stored matrix M and up to k terms that wait. A term waits until k of them do and the next
 * vector arrives: then one pass over M writes them all and multiplies. With k = 1 an update costs
 * one pass that reads and writes half the matrix, and between updates M needs no pass at all.
 */
final class SymmetricFactor extends InverseFactor {
  private static final int V = 0;
  private static final int W = 1;
  private static final int PENDING = 2;

  /** Vectors with elements from 2^-SAFE to 2^SAFE are not scaled. */
  private static final int SAFE = 30;

  private static final int INFINITY = 0x7f800000;

  private final int d;
  private final Storage storage;
  private final UpdateRule rule;
  private final double gamma;
  private final boolean deviation;
  private final int lazy;
  private final SymmetricMatrix stored;
  private final SymmetricSweep sweep;

  /** Between its inverse and this, p stays outside of M. */
  private final double range;

  private double p = 1;
  private double c;
  private int pending;
  private final double[] weights;
  private double quadraticForm = Double.NaN;

  SymmetricFactor(
      Arena arena,
      int d,
      Storage storage,
      UpdateRule rule,
      double gamma,
      int threads,
      @Nullable Tier tier) {
    this.d = d;
    this.storage = storage;
    this.rule = rule;
    this.gamma = gamma;
    this.deviation = storage instanceof Storage.Deviation;
    this.lazy = lazy(storage);
    this.weights = new double[lazy];
    this.range = type(storage) == DType.F16 ? 0x1p4 : 0x1p20;
    SymmetricMatrix.Layout layout = layout(storage);
    DType type = type(storage);
    long[] shape =
        layout == SymmetricMatrix.Layout.FULL
            ? new long[] {d, d}
            : new long[] {SymmetricMatrix.elements(d, layout)};
    Tensor memory = Tensor.allocate(arena, type, shape);
    this.stored =
        new SymmetricMatrix(arena, d, layout, memory, lazy, PENDING + lazy, threads, tier);
    this.sweep = stored.sweep();
    reset();
  }

  private static int lazy(Storage storage) {
    return switch (storage) {
      case Storage.Dense dense -> dense.lazy();
      case Storage.SymmetricTiles tiles -> tiles.lazy();
      case Storage.Deviation deviation -> deviation.lazy();
      case Storage.LowRank lowRank -> 1;
    };
  }

  private static SymmetricMatrix.Layout layout(Storage storage) {
    return storage instanceof Storage.Dense
        ? SymmetricMatrix.Layout.FULL
        : SymmetricMatrix.Layout.TILES;
  }

  private static DType type(Storage storage) {
    return storage instanceof Storage.Deviation deviation ? deviation.type() : DType.F32;
  }

  /** Bytes of a factor of this storage, work memory included. */
  static long bytesOf(int d, Storage storage) {
    return SymmetricMatrix.elements(d, layout(storage)) * type(storage).bytes()
        + SymmetricSweep.workBytes(d, lazy(storage), PENDING + lazy(storage));
  }

  // The structure, for products that exploit it.

  /** True where S = I - J, false where S = J. */
  boolean deviation() {
    return deviation;
  }

  /** M. */
  SymmetricMatrix stored() {
    return stored;
  }

  /** Factor of M. */
  double pendingScale() {
    return p;
  }

  /** Factor of I. */
  double pendingIdentity() {
    return c;
  }

  /** Number of terms that wait. */
  int pendingTerms() {
    return pending;
  }

  /** Weight of a term, numbered from 0, the oldest. */
  double pendingWeight(int t) {
    return weights[t];
  }

  /** Copies the vector of a term, d floats. */
  void copyPendingVector(int t, MemorySegment out, long offset) {
    MemorySegment.copy(sweep.work, sweep.vector(PENDING + t), out, offset, (long) d * Float.BYTES);
  }

  @Override
  public int dimension() {
    return d;
  }

  @Override
  public Storage storage() {
    return storage;
  }

  @Override
  public int rank() {
    return d;
  }

  @Override
  public Outcome update(Tensor v) {
    SymmetricMatrix.checkVector("v", v, d);
    SymmetricKernels kernels = sweep.kernels;
    sweep.load(V, v);
    int magnitude = kernels.magnitude(sweep.work, sweep.at(V), sweep.padded);
    if (magnitude >= INFINITY) {
      return Outcome.SKIPPED;
    }
    // A power of two changes no digit: v = 2^e x, y = 2^e z, s = 4^e x.z.
    int e = Math.getExponent(Float.intBitsToFloat(magnitude));
    if (magnitude == 0 || Math.abs(e) <= SAFE) {
      e = 0;
    }
    if (e != 0) {
      // In two steps, for 2^-e alone may not be a float.
      float half = (float) Math.scalb(1.0, -e / 2);
      float rest = (float) Math.scalb(1.0, -e - -e / 2);
      kernels.scale(sweep.work, half, sweep.at(V), sweep.at(V), sweep.padded);
      kernels.scale(sweep.work, rest, sweep.at(V), sweep.at(V), sweep.padded);
    }
    if (pending == lazy) {
      write();
    } else {
      sweep.multiply(V, W);
    }
    addPending();
    // w is S v: J v, or v - J v.
    int y = PENDING + pending;
    double alpha = rule.alpha(gamma);
    double beta = rule.beta(gamma);
    kernels.combine(
        sweep.work,
        (float) (deviation ? -alpha : alpha),
        sweep.at(W),
        (float) (deviation ? alpha + beta : beta),
        sweep.at(V),
        sweep.at(y),
        sweep.padded);
    double unit = Math.scalb(1.0, 2 * e);
    double s = sweep.dot(sweep.at(V), sweep.at(y)) * unit;
    if (s < 0 && -s <= rounding(y) * unit) {
      s = 0;
    }
    double q = rule.q(gamma, s);
    // The denominators of all rules are positive at s = 0; a sign that changes has passed zero.
    if (!Double.isFinite(s) || !Double.isFinite(q * unit) || q * rule.q(gamma, 0) < 0) {
      reset();
      return Outcome.RESET;
    }
    quadraticForm = s;
    scale(rule.p(gamma));
    c += deviation ? 1 - rule.p(gamma) - rule.c(gamma) : rule.c(gamma);
    weights[pending] = (deviation ? -q : q) * unit;
    pending++;
    return Outcome.APPLIED;
  }

  /** What rounding can take from v.y where it is zero. */
  private double rounding(int y) {
    double vv = sweep.dot(sweep.at(V), sweep.at(V));
    double yy = sweep.dot(sweep.at(y), sweep.at(y));
    return 0x1p-20 * Math.sqrt(vv * yy);
  }

  /** Makes the terms those of the sweep, their weights multiplied by a. */
  private void terms(double a) {
    for (int t = 0; t < pending; t++) {
      sweep.term(t, a * weights[t], PENDING + t);
    }
  }

  /**
   * Writes what waits into M, and multiplies V. The factor p stays outside as long as M / p is in
   * range: a pass that only adds takes three operations per element instead of four, and does not
   * round what it does not change.
   */
  private void write() {
    boolean inside = p > 1 / range && p < range;
    double a = inside ? 1 / p : 1;
    terms(a);
    sweep.updateAndMultiply(inside ? 1 : p, a * c, pending, V, W);
    p = inside ? p : 1;
    c = 0;
    pending = 0;
  }

  /** {@code W = p W + c V + the terms times V}. */
  private void addPending() {
    SymmetricKernels kernels = sweep.kernels;
    long v = sweep.at(V);
    long w = sweep.at(W);
    if (p != 1 || c != 0) {
      kernels.combine(sweep.work, (float) p, w, (float) c, v, w, sweep.padded);
    }
    for (int t = 0; t < pending; t++) {
      long y = sweep.at(PENDING + t);
      double product = sweep.dot(y, v);
      kernels.combine(sweep.work, (float) (weights[t] * product), y, 1, w, w, sweep.padded);
    }
  }

  /** S times a. */
  private void scale(double a) {
    p *= a;
    c *= a;
    for (int t = 0; t < pending; t++) {
      weights[t] *= a;
    }
  }

  private void clear() {
    p = 1;
    c = 0;
    pending = 0;
  }

  @Override
  public double quadraticForm() {
    return quadraticForm;
  }

  @Override
  public void multiply(Tensor v, Tensor w) {
    SymmetricMatrix.checkVector("v", v, d);
    SymmetricMatrix.checkVector("w", w, d);
    sweep.load(V, v);
    sweep.multiply(V, W);
    addPending();
    if (deviation) {
      sweep.kernels.combine(sweep.work, 1, sweep.at(V), -1, sweep.at(W), sweep.at(W), sweep.padded);
    }
    sweep.unload(W, w);
  }

  @Override
  public void reset() {
    clear();
    stored.setIdentity(deviation ? 0 : 1);
  }

  @Override
  public void blend(double zeta) {
    if (!(zeta >= 0 && zeta <= 1)) {
      throw new IllegalArgumentException("zeta: expected one in [0, 1], got " + zeta);
    }
    scale(zeta);
    if (!deviation) {
      c += 1 - zeta;
    }
  }

  // J = a (p M + c I + terms) + b I.

  private double a() {
    return deviation ? -1 : 1;
  }

  private double b() {
    return deviation ? 1 : 0;
  }

  @Override
  public double maxAbs() {
    terms(a());
    return stored.maxAbs(a() * p, a() * c + b(), pending);
  }

  @Override
  public double infinityNorm() {
    terms(a());
    return stored.infinityNorm(a() * p, a() * c + b(), pending);
  }

  @Override
  public void toDense(Tensor out) {
    SymmetricMatrix.checkDense("out", out, d);
    terms(a());
    stored.toDense(out, a() * p, a() * c + b(), pending);
  }

  @Override
  public void diagonal(Tensor out) {
    SymmetricMatrix.checkVector("out", out, d);
    terms(a());
    stored.diagonal(out, a() * p, a() * c + b(), pending);
  }

  @Override
  public void fromDense(Tensor j) {
    SymmetricMatrix.checkDense("j", j, d);
    clear();
    stored.fromDense(j, a(), b());
  }

  @Override
  public Map<String, Tensor> state(Arena arena) {
    Tensor vectors = Tensor.allocate(arena, DType.F32, pending, d);
    double[] scalars = new double[3 + pending];
    scalars[0] = p;
    scalars[1] = c;
    scalars[2] = quadraticForm;
    for (int t = 0; t < pending; t++) {
      long row = (long) d * Float.BYTES;
      copyPendingVector(t, vectors.memory(), t * row);
      scalars[3 + t] = weights[t];
    }
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("matrix", stored.memory().to(stored.memory().type(), arena));
    state.put("vectors", vectors);
    state.put("scalars", Tensor.copyOf(arena, scalars, scalars.length));
    return state;
  }

  @Override
  public void restore(Map<String, Tensor> state) {
    Tensor held = stored.memory();
    Tensor matrix = stateTensor(state, "matrix", held.type(), held.shape());
    Tensor scalars = stateTensor(state, "scalars", DType.F64, -1);
    int terms = Math.toIntExact(scalars.size()) - 3;
    if (terms < 0 || terms > lazy) {
      throw new IllegalArgumentException(
          "scalars: expected 3 to " + (3 + lazy) + " numbers, got " + scalars.size());
    }
    Tensor vectors = stateTensor(state, "vectors", DType.F32, terms, d);
    stored.memory().memory().copyFrom(matrix.memory());
    p = scalars.getDouble(0);
    c = scalars.getDouble(1);
    quadraticForm = scalars.getDouble(2);
    pending = terms;
    for (int t = 0; t < terms; t++) {
      long row = (long) d * Float.BYTES;
      MemorySegment.copy(vectors.memory(), t * row, sweep.work, sweep.vector(PENDING + t), row);
      weights[t] = scalars.getDouble(3 + t);
    }
  }
}

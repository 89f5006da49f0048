package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.SymmetricEigen;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A factor {@code J = I - K}, {@code K = U diag(c) U'} with few columns, under {@link
 * UpdateRule#CODE}. An update costs 4 d k flops and reads U twice:
 *
 * <pre>{@code
 * z = U'v,  u = v - gamma U (c z),  s = v.u,  c <- gamma c,  append (u, 1 / (1 + s))
 * }</pre>
 *
 * Terms whose weight {@code c |u|^2} is below the rounding of J leave. When the columns are full,
 * the eigenvalues of K are found from the k x k matrix {@code U'U} in double precision, and the
 * greatest are kept, at most two thirds as many as there may be columns. Where that would drop an
 * eigenvalue above the tolerance, the number of columns grows by half instead, up to one and a half
 * times d; with as many, nothing is ever dropped. Growing takes memory from the arena that the
 * factor was made in, which keeps what was there before, too; nothing else is allocated once the
 * columns have been full.
 */
public final class LowRankFactor extends InverseFactor {
  private static final int PANEL = LowRankKernels.PANEL;
  private static final int GROUP = LowRankKernels.GROUP;
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;

  /**
   * Eigenvalues of K below this are lost in the rounding of J, even with all that follow them at
   * gamma = 0.95.
   */
  private static final double NEGLIGIBLE = 0x1p-28;

  /** Part of an inner product that rounding may turn negative. */
  private static final double ROUNDING = 0x1p-20;

  /** An eigenvalue of J above one by more than this is not the work of rounding. */
  private static final double EXCESS = 1e-4;

  /** Vectors are scaled to a greatest magnitude of 1, as far as floats go. */
  private static final int MAX_EXPONENT = 120;

  private static final int INFINITY = 0x7f800000;

  private final Arena arena;
  private final int d;
  private final int panels;
  private final Storage.LowRank storage;
  private final double gamma;
  private final LowRankKernels kernels;

  /** The vector, then u. */
  private final MemorySegment vectors;

  private final MemorySegment work;

  private int capacity;
  private MemorySegment u;
  private MemorySegment mixing;
  private MemorySegment weights;
  private double[] c;
  private double[] lengths;
  private double[] z;
  private final double[] products = new double[16];
  private @Nullable SymmetricEigen eigen;
  private double[] gram;
  private double[] eigenvalues;

  /** Columns up to the last in use. */
  private int extent;

  private double quadraticForm = Double.NaN;
  private double dropped;
  private long version;

  LowRankFactor(Arena arena, int d, Storage.LowRank storage, double gamma, @Nullable Tier tier) {
    this.arena = arena;
    this.d = d;
    this.panels = panels(d);
    this.storage = storage;
    this.gamma = gamma;
    this.kernels =
        Capabilities.get().choose(TIERS, tier) == Tier.VECTOR
            ? VectorLowRankKernels.INSTANCE
            : ScalarLowRankKernels.INSTANCE;
    this.vectors = arena.allocate(2 * columnBytes(), Tensor.ALIGNMENT);
    this.work = arena.allocate(WORK_BYTES, Tensor.ALIGNMENT);
    this.capacity = initialCapacity(d, storage);
    this.u = MemorySegment.NULL;
    this.mixing = MemorySegment.NULL;
    this.weights = MemorySegment.NULL;
    this.c = new double[0];
    this.lengths = new double[0];
    this.z = new double[0];
    this.gram = new double[0];
    this.eigenvalues = new double[0];
    allocate();
  }

  private static final long WORK_BYTES =
      Math.max(LowRankKernels.PROJECT_BYTES, LowRankKernels.DOTS_BYTES);

  /** Panels of a column: an even number, as products take them in pairs. */
  static int panels(int d) {
    return 2 * Math.ceilDiv(d, 2 * PANEL);
  }

  /** Groups that hold the columns, and the one more that is there before they become fewer. */
  private static int groups(int capacity) {
    return Math.ceilDiv(capacity + 1, GROUP);
  }

  private static int initialCapacity(int d, Storage.LowRank storage) {
    int columns = Math.min(storage.columns(), greatestCapacity(d));
    // With d columns all eigenvalues can be kept; half as many again keep them for a while.
    return columns >= d ? greatestCapacity(d) : columns;
  }

  private static int greatestCapacity(int d) {
    return Math.toIntExact(Math.ceilDiv(3L * d, 2));
  }

  /** Bytes of a factor at first, work memory included. */
  static long bytesOf(int d, Storage.LowRank storage) {
    int groups = groups(initialCapacity(d, storage));
    return panels(d) * (2 * LowRankKernels.COLUMN_BYTES + groups * LowRankKernels.PANEL_BYTES)
        + WORK_BYTES
        + mixingBytes(groups)
        + (long) Float.BYTES * GROUP * groups;
  }

  /** The matrix T of {@link LowRankKernels#recombine}, and its work memory. */
  private static long mixingBytes(int groups) {
    return groups * ((long) Float.BYTES * GROUP * GROUP * groups + LowRankKernels.RECOMBINE_BYTES);
  }

  private long columnBytes() {
    return panels * LowRankKernels.COLUMN_BYTES;
  }

  private long groupBytes() {
    return panels * LowRankKernels.PANEL_BYTES;
  }

  /** Memory for {@link #capacity} columns, with those that are there. */
  private void allocate() {
    int groups = groups(capacity);
    MemorySegment before = u;
    u = arena.allocate(groups * groupBytes(), Tensor.ALIGNMENT);
    MemorySegment.copy(before, 0, u, 0, Math.ceilDiv(extent, GROUP) * groupBytes());
    mixing = arena.allocate(mixingBytes(groups), Tensor.ALIGNMENT);
    weights = arena.allocate((long) Float.BYTES * GROUP * groups, Tensor.ALIGNMENT);
    int columns = GROUP * groups;
    c = Arrays.copyOf(c, columns);
    lengths = Arrays.copyOf(lengths, columns);
    z = new double[columns];
    eigen = null;
  }

  private void grow(int least) {
    while (capacity < least) {
      capacity = Math.min(greatestCapacity(d), capacity + Math.ceilDiv(capacity, 2));
    }
    allocate();
  }

  /** Where a column starts in the first panel of its group. */
  private long columnAt(int j) {
    return j / GROUP * groupBytes() + j % GROUP * LowRankKernels.COLUMN_BYTES;
  }

  // The structure, for products that exploit it.

  /** Changes with every change of J. */
  long version() {
    return version;
  }

  /** U, as {@link LowRankKernels} has it. */
  MemorySegment columns() {
    return u;
  }

  /** Panels of a column. */
  int panels() {
    return panels;
  }

  /** Columns up to the last in use; those between that are not have the weight 0. */
  int extent() {
    return extent;
  }

  /** The weight c of a column. */
  double weight(int j) {
    return c[j];
  }

  /** Writes d floats of a column. */
  void copyColumn(int j, MemorySegment out, long at) {
    for (int p = 0; p * PANEL < d; p++) {
      long from = columnAt(j) + p * LowRankKernels.PANEL_BYTES;
      long to = at + p * LowRankKernels.COLUMN_BYTES;
      kernels.scale(Math.min(PANEL, d - p * PANEL), 1, u, from, out, to);
    }
  }

  /** Columns that fit before some are dropped or more are taken. */
  public int capacity() {
    return capacity;
  }

  /** The greatest eigenvalue of K that was dropped since K was zero; 0 where none was. */
  public double dropped() {
    return dropped;
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
    int rank = 0;
    for (int j = 0; j < extent; j++) {
      rank += c[j] != 0 ? 1 : 0;
    }
    return rank;
  }

  @Override
  public Outcome update(Tensor v) {
    SymmetricMatrix.checkVector("v", v, d);
    try {
      int bits = kernels.magnitude(d, v.memory(), 0);
      if (bits >= INFINITY) {
        return Outcome.SKIPPED;
      }
      version++;
      if (bits == 0) {
        scaleWeights(gamma);
        quadraticForm = 0;
        return Outcome.APPLIED;
      }
      return update(
          v, Math.clamp(Math.getExponent(Float.intBitsToFloat(bits)), -MAX_EXPONENT, MAX_EXPONENT));
    } finally {
      Reference.reachabilityFence(v);
      Reference.reachabilityFence(this);
    }
  }

  /** Takes v = 2^exponent x as x, u as 2^exponent times its column, and the difference into c. */
  private Outcome update(Tensor v, int exponent) {
    long x = 0;
    long y = columnBytes();
    kernels.scale(d, Math.scalb(1f, -exponent), v.memory(), 0, vectors, x);
    subtractK(gamma, x, y);
    double unit = Math.scalb(1.0, -2 * exponent);
    double s = kernels.dot(PANEL * panels, vectors, x, vectors, y);
    double yy = kernels.dot(PANEL * panels, vectors, y, vectors, y);
    if (s < 0
        && s * s
            <= ROUNDING * ROUNDING * yy * kernels.dot(PANEL * panels, vectors, x, vectors, x)) {
      s = 0;
    }
    double denominator = unit + s;
    if (!(denominator > 0)) {
      reset();
      return Outcome.RESET;
    }
    quadraticForm = s / unit;
    scaleWeights(gamma);
    if (yy / denominator > NEGLIGIBLE) {
      append(y, 1 / denominator, yy);
    }
    return Outcome.APPLIED;
  }

  /** {@code y = x - factor K x} for padded columns of {@link #vectors}. */
  private void subtractK(double factor, long x, long y) {
    int groups = Math.ceilDiv(extent, GROUP);
    MemorySegment.copy(vectors, x, vectors, y, columnBytes());
    kernels.project(panels, groups, u, 0, vectors, x, work, 0, z);
    for (int j = 0; j < GROUP * groups; j++) {
      weights.set(FLOAT, (long) Float.BYTES * j, (float) (factor * c[j] * z[j]));
    }
    kernels.subtract(panels, groups, u, 0, weights, 0, vectors, y);
  }

  /** {@code c <- a c} without the terms that are then negligible. */
  private void scaleWeights(double a) {
    int last = 0;
    for (int j = 0; j < extent; j++) {
      c[j] *= a;
      if (c[j] * lengths[j] <= NEGLIGIBLE) {
        c[j] = 0;
      } else {
        last = j + 1;
      }
    }
    extent = last;
  }

  private void append(long at, double weight, double length) {
    int j = 0;
    while (j < extent && c[j] != 0) {
      j++;
    }
    kernels.putColumn(panels, vectors, at, u, columnAt(j));
    if (j == extent) {
      // What an earlier use of the group has left would be multiplied by weights of zero.
      extent++;
    }
    c[j] = weight;
    lengths[j] = length;
    if (extent > capacity) {
      makeRoom();
    }
  }

  /** Drops what may be dropped, or grows. */
  private void makeRoom() {
    boolean greatest = capacity == greatestCapacity(d);
    if (storage.tolerance() == 0 && !greatest) {
      grow(capacity + 1);
      return;
    }
    decompose();
    int keep = Math.max(1, capacity * 2 / 3);
    if (!greatest && eigenvalues[keep] > storage.tolerance()) {
      grow(capacity + 1);
      return;
    }
    recompress(keep);
  }

  /** Eigenvalues and eigenvectors of {@code diag(c)^1/2 U'U diag(c)^1/2}. */
  private void decompose() {
    int n = extent;
    SymmetricEigen solver = eigen;
    if (solver == null) {
      solver = new SymmetricEigen(c.length);
      eigen = solver;
      gram = new double[c.length * c.length];
      eigenvalues = new double[c.length];
    }
    for (int i = 0; i < n; i += 4) {
      for (int j = 0; j <= i; j += 4) {
        kernels.dots(
            panels,
            PANEL,
            u,
            columnAt(i),
            columnAt(j),
            LowRankKernels.COLUMN_BYTES,
            LowRankKernels.PANEL_BYTES,
            work,
            0,
            products);
        for (int row = i; row < Math.min(n, i + 4); row++) {
          for (int column = j; column < Math.min(n, j + 4); column++) {
            double product = products[4 * (row - i) + column - j];
            gram[row * n + column] = Math.sqrt(c[row] * c[column]) * product;
          }
        }
      }
    }
    solver.decompose(n, gram, eigenvalues);
  }

  /** Makes the columns unit eigenvectors of K, at most {@code keep} of them. */
  private void recompress(int keep) {
    int n = extent;
    int groups = Math.ceilDiv(n, GROUP);
    int kept = 0;
    while (kept < keep && eigenvalues[kept] > NEGLIGIBLE) {
      kept++;
    }
    if (kept == keep) {
      dropped = Math.max(dropped, eigenvalues[kept]);
    }
    int outGroups = Math.ceilDiv(kept, GROUP);
    for (int j = 0; j < GROUP * groups; j++) {
      for (int m = 0; m < GROUP * outGroups; m++) {
        double t = j < n && m < kept ? gram[m * n + j] * Math.sqrt(c[j] / eigenvalues[m]) : 0;
        long at = (long) m / GROUP * groups * GROUP * GROUP + (long) GROUP * j + m % GROUP;
        mixing.set(FLOAT, Float.BYTES * at, (float) t);
      }
    }
    long workAt = (long) Float.BYTES * GROUP * GROUP * groups * outGroups;
    kernels.recombine(panels, groups, outGroups, u, 0, mixing, 0, mixing, workAt);
    for (int j = 0; j < n; j++) {
      c[j] = j < kept ? eigenvalues[j] : 0;
      lengths[j] = 1;
    }
    extent = kept;
  }

  @Override
  public double quadraticForm() {
    return quadraticForm;
  }

  @Override
  public void multiply(Tensor v, Tensor w) {
    SymmetricMatrix.checkVector("v", v, d);
    SymmetricMatrix.checkVector("w", w, d);
    try {
      kernels.scale(d, 1, v.memory(), 0, vectors, 0);
      subtractK(1, 0, columnBytes());
      kernels.scale(d, 1, vectors, columnBytes(), w.memory(), 0);
    } finally {
      Reference.reachabilityFence(v);
      Reference.reachabilityFence(w);
      Reference.reachabilityFence(this);
    }
  }

  @Override
  public void reset() {
    Arrays.fill(c, 0);
    extent = 0;
    dropped = 0;
    version++;
  }

  @Override
  public void blend(double zeta) {
    if (!(zeta >= 0 && zeta <= 1)) {
      throw new IllegalArgumentException("zeta: expected one in [0, 1], got " + zeta);
    }
    scaleWeights(zeta);
    version++;
  }

  /** Leaves the elements of row r of J in {@link #vectors}, in single precision. */
  private void row(int r) {
    int groups = Math.ceilDiv(extent, GROUP);
    vectors.asSlice(0, columnBytes()).fill((byte) 0);
    vectors.set(FLOAT, (long) Float.BYTES * r, 1);
    long panel = r / PANEL * LowRankKernels.PANEL_BYTES + (long) r % PANEL * Float.BYTES;
    for (int j = 0; j < GROUP * groups; j++) {
      float x = u.get(FLOAT, columnAt(j) + panel);
      weights.set(FLOAT, (long) Float.BYTES * j, (float) (c[j] * x));
    }
    kernels.subtract(panels, groups, u, 0, weights, 0, vectors, 0);
  }

  @Override
  public double maxAbs() {
    double max = 0;
    for (int r = 0; r < d; r++) {
      row(r);
      max = Math.max(max, Float.intBitsToFloat(kernels.magnitude(d, vectors, 0)));
    }
    return max;
  }

  @Override
  public double infinityNorm() {
    double max = 0;
    for (int r = 0; r < d; r++) {
      row(r);
      double sum = 0;
      for (int j = 0; j < d; j++) {
        sum += Math.abs(vectors.get(FLOAT, (long) Float.BYTES * j));
      }
      max = Math.max(max, sum);
    }
    return max;
  }

  @Override
  public void toDense(Tensor out) {
    SymmetricMatrix.checkDense("out", out, d);
    for (int r = 0; r < d; r++) {
      row(r);
      for (int j = 0; j <= r; j++) {
        float x = vectors.get(FLOAT, (long) Float.BYTES * j);
        out.setDouble(x, r, j);
        out.setDouble(x, j, r);
      }
    }
  }

  @Override
  public void diagonal(Tensor out) {
    SymmetricMatrix.checkVector("out", out, d);
    for (int r = 0; r < d; r++) {
      long panel = r / PANEL * LowRankKernels.PANEL_BYTES + (long) r % PANEL * Float.BYTES;
      double sum = 1;
      for (int j = 0; j < extent; j++) {
        double x = u.get(FLOAT, columnAt(j) + panel);
        sum -= c[j] * x * x;
      }
      out.memory().set(FLOAT, (long) Float.BYTES * r, (float) sum);
    }
  }

  /**
   * Makes J the matrix in {@code j} but for eigenvalues of I - J that may be dropped or are within
   * the rounding of single-precision elements; O(d^3), by {@link SymmetricEigen}. The number of
   * columns grows where the tolerance demands it.
   *
   * @throws IllegalArgumentException where {@code j} has an eigenvalue above 1, which no update
   *     brings about, or holds a NaN or an infinity; J is then as before
   */
  @Override
  public void fromDense(Tensor j) {
    SymmetricMatrix.checkDense("j", j, d);
    double[] k = j.toDoubleArray();
    for (int r = 0; r < d; r++) {
      for (int s = 0; s < d; s++) {
        k[r * d + s] = (r == s ? 1 : 0) - k[r * d + s];
      }
    }
    double[] values = new double[d];
    new SymmetricEigen(d).decompose(d, k, values);
    if (values[d - 1] < -EXCESS) {
      throw new IllegalArgumentException(
          "j: expected eigenvalues of at most 1, got " + (1 - values[d - 1]));
    }
    // What elements rounded to single precision bring about.
    double noise = 0x1p-23 * Math.sqrt(d);
    int needed = 0;
    int kept = 0;
    for (double value : values) {
      needed += value > Math.max(noise, storage.tolerance()) ? 1 : 0;
      kept += value > noise ? 1 : 0;
    }
    reset();
    int least = Math.min(greatestCapacity(d), Math.ceilDiv(3 * needed, 2));
    if (least > capacity) {
      grow(least);
    }
    kept = Math.min(kept, Math.max(1, capacity * 2 / 3));
    for (int m = 0; m < kept; m++) {
      for (int r = 0; r < d; r++) {
        vectors.set(FLOAT, (long) Float.BYTES * r, (float) k[m * d + r]);
      }
      kernels.putColumn(panels, vectors, 0, u, columnAt(m));
      c[m] = values[m];
      lengths[m] = 1;
    }
    extent = kept;
    dropped = kept < d ? Math.max(0, values[kept]) : 0;
  }

  @Override
  public Map<String, Tensor> state(Arena arena) {
    int groups = Math.ceilDiv(extent, GROUP);
    Tensor columns = Tensor.allocate(arena, DType.F32, groups, panels, GROUP, PANEL);
    MemorySegment.copy(u, 0, columns.memory(), 0, groups * groupBytes());
    double[] scalars = {capacity, quadraticForm, dropped};
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("columns", columns);
    state.put("weights", Tensor.copyOf(arena, Arrays.copyOf(c, extent), extent));
    state.put("lengths", Tensor.copyOf(arena, Arrays.copyOf(lengths, extent), extent));
    state.put("scalars", Tensor.copyOf(arena, scalars, scalars.length));
    return state;
  }

  @Override
  public void restore(Map<String, Tensor> state) {
    Tensor scalars = stateTensor(state, "scalars", DType.F64, 3);
    Tensor held = stateTensor(state, "weights", DType.F64, -1);
    int columns = Math.toIntExact(held.size());
    Tensor squares = stateTensor(state, "lengths", DType.F64, columns);
    int groups = Math.ceilDiv(columns, GROUP);
    Tensor matrix = stateTensor(state, "columns", DType.F32, groups, panels, GROUP, PANEL);
    double size = scalars.getDouble(0);
    if (!(size >= Math.max(1, columns) && size <= greatestCapacity(d) && size == Math.rint(size))) {
      throw new IllegalArgumentException(
          "scalars: expected " + columns + " to " + greatestCapacity(d) + " columns, got " + size);
    }
    reset();
    if (capacity < size) {
      capacity = (int) size;
      allocate();
    }
    capacity = (int) size;
    MemorySegment.copy(matrix.memory(), 0, u, 0, groups * groupBytes());
    System.arraycopy(held.toDoubleArray(), 0, c, 0, columns);
    System.arraycopy(squares.toDoubleArray(), 0, lengths, 0, columns);
    extent = columns;
    quadraticForm = scalars.getDouble(1);
    dropped = scalars.getDouble(2);
  }
}

package org.quern.kronecker.optim;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.quern.kronecker.InverseFactor;
import org.quern.kronecker.Preconditioner;
import org.quern.kronecker.Storage;
import org.quern.runtime.Device;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * One layer, or one array of parameters, of a {@link Mkor}. At every step of the run, after the
 * backward pass:
 *
 * <ol>
 *   <li>where {@link Mkor#isRefresh}, it is told what it has seen: {@link #observe}, or {@link
 *       #accumulateInput} and {@link #accumulateOutput} once per micro-batch and use of the layer;
 *   <li>its gradient is used: {@link #step}, or {@link #bind} once and {@link Mkor#step(double)},
 *       or {@link #precondition} where the caller has an optimizer of its own. The first such call
 *       of a step refreshes the factors of all layers.
 * </ol>
 *
 * <p>W is d_out x d_in, or any shape whose first extent is d_out and that has d_out d_in elements
 * without gaps, such as that of a convolution. The mean input a has d_in elements and with a bias
 * one more, which is 1; the output gradient g has d_out.
 */
public final class MkorLayer {
  private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;

  /** Bytes of the rows of G that go through a sweep together: they stay in the caches. */
  private static final int BLOCK_BYTES = 1 << 16;

  /** Rows go through a sweep by multiples of this, as the products take them. */
  private static final int ROW_GROUP = 8;

  /** Rows whose sum is kept in float. */
  private static final int SUM_ROWS = 32;

  private final Mkor mkor;
  private final Settings settings;
  private final UpdateKernels kernels;
  private final String name;
  private final long[] shape;
  private final long rows;
  private final int columns;
  private final boolean bias;
  private final boolean preconditioned;
  private final @Nullable Storage leftStorage;
  private final @Nullable Storage rightStorage;
  private final int blockRows;
  private final FactorCounters counters = new FactorCounters();
  private final Observation observation;
  private final double[] sums = new double[3];

  private double rateFactor = 1;
  private double weightDecay;
  private boolean decayBias;

  private @Nullable Factors factors;
  private @Nullable ParameterUpdate weightUpdate;
  private @Nullable ParameterUpdate biasUpdate;
  private MemorySegment kept = MemorySegment.NULL;
  private MemorySegment lanes = MemorySegment.NULL;
  private @Nullable Tensor sumRows;
  private double[] columnSums = {};
  private long count;

  private @Nullable Tensor givenWeight;
  private @Nullable Tensor givenGradient;
  private @Nullable Tensor givenBias;
  private @Nullable Tensor givenBiasGradient;
  private @Nullable Tensor w;
  private @Nullable Tensor dw;
  private @Nullable Binding binding;

  /** Step at which the gradient last gave the vectors. */
  private long meansStep = -1;

  private double nu = Double.NaN;
  private double cosine = Double.NaN;

  /** Scalar of the last preconditioning that the update still has to apply. */
  private double pending = 1;

  /** P.G of the last preconditioning, P as the back end gets it. */
  private double dot;

  /** What {@link #bind} was given. */
  private record Binding(Tensor w, @Nullable Tensor b, Tensor dw, @Nullable Tensor db) {}

  MkorLayer(Mkor mkor, Settings settings, String name, boolean layer, boolean bias, long... shape) {
    this.mkor = mkor;
    this.settings = settings;
    this.kernels = UpdateKernels.of(settings.tier());
    this.name = name;
    this.shape = shape;
    this.bias = bias;
    long length = shape.length == 0 ? 1 : shape[shape.length - 1];
    this.columns = Math.toIntExact(length);
    long product = 1;
    for (int i = 0; i < shape.length - 1; i++) {
      product = Math.multiplyExact(product, shape[i]);
    }
    this.rows = product;
    this.preconditioned = layer && settings.isPreconditioned(name);
    this.leftStorage = preconditioned ? settings.storage().apply(outputs()) : null;
    this.rightStorage = preconditioned ? settings.storage().apply(inputs()) : null;
    int inBlock = BLOCK_BYTES / (Float.BYTES * Math.max(1, columns));
    inBlock = Math.max(ROW_GROUP, inBlock / ROW_GROUP * ROW_GROUP);
    this.blockRows =
        (int) Math.max(1, Math.min(Math.min(inBlock, rows), (1 << 28) / Math.max(1, columns)));
    this.observation =
        new Observation(
            settings.accumulation(),
            settings.microBatches(),
            preconditioned ? inputs() : 0,
            preconditioned ? outputs() : 0);
    this.weightDecay = settings.backEnd().weightDecay();
    this.decayBias = settings.decayBias();
  }

  /** The name that it was added with. */
  public String name() {
    return name;
  }

  /** d_out. */
  public int outputs() {
    return Math.toIntExact(rows);
  }

  /** d_in, or d_in + 1 with a bias: the length of the mean input. */
  public int inputs() {
    return bias ? columns + 1 : columns;
  }

  /** Whether it has a bias. */
  public boolean hasBias() {
    return bias;
  }

  /** Whether its gradient is preconditioned; false where it is excluded, or after the switch. */
  public boolean isPreconditioned() {
    return preconditioned && !mkor.isFirstOrder();
  }

  /** Factor of the learning rate for this layer, at least 0; 1 by default. */
  public MkorLayer learningRate(double factor) {
    Ranges.notNegative("learningRate", factor);
    rateFactor = factor;
    return this;
  }

  /** Weight decay of this layer, at least 0; that of the back end by default. */
  public MkorLayer weightDecay(double decay) {
    Ranges.notNegative("weightDecay", decay);
    weightDecay = decay;
    return this;
  }

  /** Whether weight decay applies to the bias of this layer. */
  public MkorLayer decayBias(boolean decayBias) {
    this.decayBias = decayBias;
    return this;
  }

  /**
   * Writes the factor L; the identity before the first refresh.
   *
   * @param out d_out x d_out, F32 or F64
   * @throws IllegalStateException where the layer is not preconditioned
   */
  public void leftFactor(Tensor out) {
    requireFactors().left.toDense(out);
  }

  /**
   * Writes the factor R; the identity before the first refresh.
   *
   * @param out square of {@link #inputs()}, F32 or F64
   * @throws IllegalStateException where the layer is not preconditioned
   */
  public void rightFactor(Tensor out) {
    requireFactors().right.toDense(out);
  }

  private Factors requireFactors() {
    if (isPreconditioned()) {
      mkor.allocate(this);
    }
    if (factors == null) {
      throw new IllegalStateException(where() + "expected one that is preconditioned");
    }
    return factors;
  }

  // What a layer has seen.

  /**
   * Takes the finished vectors of this step, as they go into the update; ignored at steps without a
   * refresh and by layers that are not preconditioned.
   *
   * @param a mean input, d_in elements, with a bias one more, which is 1
   * @param g output gradient, d_out elements: the gradient of a bias
   * @throws IllegalStateException where this step's vectors are there already
   */
  public void observe(Tensor a, Tensor g) {
    checkVector("a", a, inputs());
    checkVector("g", g, outputs());
    if (takesVectors()) {
      if (observation.hasInput() || observation.hasOutput()) {
        throw new IllegalStateException(
            where() + "expected the vectors of a step once; accumulate those of micro-batches");
      }
      observation.finished(a, g, 1 / mkor.vectorScale());
    }
  }

  /**
   * Adds the mean input of a micro-batch, or of one of several uses of the layer.
   *
   * @param a mean over the rows, d_in elements, with a bias one more, which is 1
   * @param count rows that it is the mean of, at least 1
   */
  public void accumulateInput(Tensor a, long count) {
    checkVector("a", a, inputs());
    Ranges.atLeast("rows", count, 1);
    if (takesVectors()) {
      requireUnfinished();
      observation.addInput(a, (double) count);
    }
  }

  /**
   * Adds the output gradient of a micro-batch, or of one of several uses of the layer.
   *
   * @param g sum over the rows, d_out elements: the gradient of a bias
   * @param count rows that it is the sum of, at least 1
   */
  public void accumulateOutput(Tensor g, long count) {
    checkVector("g", g, outputs());
    Ranges.atLeast("rows", count, 1);
    if (takesVectors()) {
      requireUnfinished();
      observation.addOutput(g, (double) count, 1 / mkor.vectorScale());
    }
  }

  /** {@link #accumulateInput} and {@link #accumulateOutput}. */
  public void accumulate(Tensor a, Tensor g, long count) {
    accumulateInput(a, count);
    accumulateOutput(g, count);
  }

  private boolean takesVectors() {
    if (!isPreconditioned() || settings.gradientMeans() || !mkor.isRefresh()) {
      return false;
    }
    if (mkor.isRefreshed()) {
      throw new IllegalStateException(
          where() + "expected before the first use of a gradient in this step, got after it");
    }
    mkor.begin();
    return true;
  }

  private void requireUnfinished() {
    if (observation.isFinished()) {
      throw new IllegalStateException(
          where() + "expected no more vectors after those that were observed as finished");
    }
  }

  private String where() {
    return "layer " + name + ", step " + mkor.stepNumber() + ": ";
  }

  private void checkVector(String argument, Tensor vector, int length) {
    if (vector.type() != DType.F32
        || vector.rank() != 1
        || vector.dim(0) != length
        || vector.device().kind() != Device.Kind.CPU) {
      throw mismatch(argument, "F32[" + length + "] on cpu", vector);
    }
  }

  private IllegalArgumentException mismatch(String argument, String expected, Object got) {
    return new IllegalArgumentException(
        "layer " + name + ": " + argument + ": expected " + expected + ", got " + got);
  }

  // What Mkor does with all layers.

  /** Throws where only one of the two vectors of this step has come. */
  void requireInSync() {
    if (observation.hasInput() != observation.hasOutput()) {
      throw new IllegalStateException(
          where()
              + (observation.hasInput() ? "a was given without g" : "g was given without a")
              + ": the vectors of a refresh belong to one step");
    }
  }

  Observation observation() {
    return observation;
  }

  @Nullable Factors factors() {
    return factors;
  }

  FactorCounters counters() {
    return counters;
  }

  boolean wantsFactors() {
    return preconditioned;
  }

  /** Turns to what {@link #bind} was given; false where that is nothing. */
  boolean connectBound() {
    Binding given = binding;
    if (given == null) {
      return false;
    }
    connect(given.w(), given.b(), given.dw(), given.db());
    return true;
  }

  /** Counts a step in which the gradient should have given the vectors and was not used. */
  void countUnseenMeans() {
    if (isPreconditioned() && meansStep != mkor.stepNumber()) {
      counters.unseen++;
    }
  }

  long count() {
    return count;
  }

  void count(long updates) {
    count = updates;
  }

  double nu() {
    return nu;
  }

  double cosine() {
    return cosine;
  }

  double dot() {
    return dot;
  }

  double rateFactor() {
    return rateFactor;
  }

  Storage leftStorage() {
    return Objects.requireNonNull(leftStorage);
  }

  Storage rightStorage() {
    return Objects.requireNonNull(rightStorage);
  }

  @Nullable ParameterUpdate weightUpdate() {
    return weightUpdate;
  }

  @Nullable ParameterUpdate biasUpdate() {
    return biasUpdate;
  }

  /** Everything that a checkpoint must find the same, on one line. */
  String description() {
    return (preconditioned ? "factors " + leftStorage + " and " + rightStorage : "first order")
        + " of "
        + Arrays.toString(shape)
        + (bias ? " and a bias" : "")
        + ", learning rate x "
        + rateFactor
        + ", weight decay "
        + weightDecay
        + (decayBias ? "" : " without the bias");
  }

  LayerMemory memory() {
    long parameters = Math.multiplyExact(rows, columns) + (bias ? rows : 0);
    return new LayerMemory(
        name,
        leftStorage,
        leftStorage == null ? 0 : InverseFactor.bytes(outputs(), leftStorage),
        rightStorage,
        rightStorage == null ? 0 : InverseFactor.bytes(inputs(), rightStorage),
        Math.multiplyExact(4L * settings.backEnd().moments(), parameters));
  }

  /** Allocates what is not there yet. */
  void allocate(Arena arena, @Nullable Arena factorArena) {
    if (weightUpdate == null) {
      weightUpdate = new ParameterUpdate(arena, settings.backEnd(), kernels, shape);
      if (bias) {
        biasUpdate = new ParameterUpdate(arena, settings.backEnd(), kernels, rows);
      }
    }
    if (factorArena != null && preconditioned && factors == null) {
      factors = new Factors(factorArena, settings, this, counters);
      lanes = factorArena.allocate(UpdateKernels.LANES_BYTES, Tensor.ALIGNMENT);
      if (settings.keepsGradient()) {
        kept = factorArena.allocate(4L * blockRows * (columns + 1), Tensor.ALIGNMENT);
      }
      if (settings.gradientMeans()) {
        sumRows = Tensor.allocate(factorArena, DType.F32, columns);
        columnSums = new double[columns];
      }
    }
  }

  void dropFactors() {
    factors = null;
    kept = MemorySegment.NULL;
    lanes = MemorySegment.NULL;
    sumRows = null;
    observation.clear();
  }

  // The use of a gradient.

  /**
   * Ties the layer to its parameters and gradients, so that {@link Mkor#step(double)} steps it,
   * too.
   *
   * @param w weights, F32; changed by each step
   * @param b d_out floats, or null without a bias
   * @param dw gradient of the shape of w; zeroed by each step
   * @param db gradient of b, or null without a bias
   * @throws IllegalArgumentException where a tensor does not fit the layer
   */
  public void bind(Tensor w, @Nullable Tensor b, Tensor dw, @Nullable Tensor db) {
    connect(w, b, dw, db);
    binding = new Binding(w, b, dw, db);
  }

  /**
   * One step of this layer, in one sweep over gradient, parameters and moments: preconditions a
   * block of rows, updates its parameters with it, and zeroes it.
   *
   * @param w weights, F32; changed
   * @param b d_out floats, or null without a bias
   * @param dw gradient of the shape of w; zero afterwards
   * @param db gradient of b, or null without a bias; zero afterwards
   * @param lr learning rate, at least 0
   * @throws IllegalArgumentException where a tensor does not fit the layer
   * @throws IllegalStateException where {@link MkorBuilder#klClip} needs all layers at once
   */
  public void step(Tensor w, @Nullable Tensor b, Tensor dw, @Nullable Tensor db, double lr) {
    Ranges.notNegative("lr", lr);
    requireNoKlClip();
    connect(w, b, dw, db);
    mkor.refresh();
    stepConnected(lr);
  }

  /**
   * Preconditions a gradient in place, with the scalar applied, for an optimizer of the caller.
   *
   * @param dw gradient of the shape of the weights, F32; becomes nu P
   * @param db gradient of the bias, or null without one
   * @return nu; 1 where the gradient was left as it is
   */
  public double precondition(Tensor dw, @Nullable Tensor db) {
    return preconditionGiven(dw, db, true);
  }

  /**
   * Preconditions a gradient in place and leaves the scalar to the caller.
   *
   * @param dw gradient of the shape of the weights, F32; becomes P
   * @param db gradient of the bias, or null without one
   * @return nu, by which P is still to be multiplied; 1 where the gradient was left as it is
   * @throws IllegalStateException with {@link MkorBuilder#damping}, which has no scalar to leave
   */
  public double preconditionUnscaled(Tensor dw, @Nullable Tensor db) {
    if (settings.damping() > 0) {
      throw new IllegalStateException("damping: expected 0 where nu is left to the caller");
    }
    return preconditionGiven(dw, db, false);
  }

  private double preconditionGiven(Tensor gradient, @Nullable Tensor biasGradient, boolean scaled) {
    requireNoKlClip();
    connect(gradient, biasGradient, gradient, biasGradient);
    mkor.refresh();
    preconditionConnected(scaled);
    return factors == null ? 1 : nu;
  }

  private void requireNoKlClip() {
    if (settings.klClip() > 0) {
      throw new IllegalStateException(
          "klClip: expected step(lr) of all layers, which share its sum, got one layer alone");
    }
  }

  private void connect(Tensor weight, @Nullable Tensor b, Tensor gradient, @Nullable Tensor db) {
    if (weight == givenWeight
        && gradient == givenGradient
        && b == givenBias
        && db == givenBiasGradient) {
      return;
    }
    Tensor newGradient = matrix("dw", gradient);
    Tensor newWeight = matrix("w", weight);
    checkBias("db", db);
    checkBias("b", b);
    w = newWeight;
    dw = newGradient;
    givenWeight = weight;
    givenGradient = gradient;
    givenBias = b;
    givenBiasGradient = db;
  }

  private Tensor matrix(String argument, Tensor tensor) {
    boolean fits =
        preconditioned || shape.length == 2
            ? tensor.size() == rows * columns && tensor.rank() >= 1 && tensor.dim(0) == shape[0]
            : Arrays.equals(tensor.shape(), shape);
    boolean sameRows = tensor.rowLength() == columns;
    boolean apart = fits && !sameRows && !tensor.isContiguous();
    if (!fits || apart || tensor.type() != DType.F32 || tensor.device().kind() != Device.Kind.CPU) {
      throw mismatch(
          argument,
          "F32" + Arrays.toString(shape) + (apart ? " without gaps" : "") + " on cpu",
          tensor);
    }
    return tensor.rank() == 2 && sameRows
        ? tensor
        : Tensor.of(
            tensor.memory(),
            DType.F32,
            sameRows ? tensor.rowStride() : columns,
            new long[] {rows, columns});
  }

  private void checkBias(String argument, @Nullable Tensor tensor) {
    if (bias && tensor == null) {
      throw mismatch(argument, "F32[" + rows + "]", "null");
    }
    if (!bias && tensor != null) {
      throw mismatch(argument, "null without a bias", tensor);
    }
    if (tensor != null) {
      checkVector(argument, tensor, outputs());
    }
  }

  // Kernels work on addresses; this layer, kept reachable, keeps the tensors that it was given.

  void stepConnected(double lr) {
    try {
      mkor.begin();
      beginPrecondition(false);
      beginUpdate(lr, 1);
      for (long row = 0; row < rows; row += blockRows) {
        int n = (int) Math.min(blockRows, rows - row);
        preconditionRows(row, n);
        updateRows(row, n);
      }
      endPrecondition();
      finishUpdate();
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  void preconditionConnected(boolean scaled) {
    try {
      mkor.begin();
      beginPrecondition(scaled);
      if (factors != null) {
        for (long row = 0; row < rows; row += blockRows) {
          preconditionRows(row, (int) Math.min(blockRows, rows - row));
        }
        endPrecondition();
      }
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  /** Updates with the gradient as {@link #preconditionConnected} left it. */
  void updateConnected(double lr, double factor) {
    try {
      beginUpdate(lr, factor);
      for (long row = 0; row < rows; row += blockRows) {
        updateRows(row, (int) Math.min(blockRows, rows - row));
      }
      finishUpdate();
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  // Preconditioning: P, or a P + b G.

  private float onP = 1;
  private float onG;

  private void beginPrecondition(boolean scaled) {
    mkor.allocate(this);
    pending = 1;
    dot = 0;
    Factors f = factors;
    if (f == null) {
      return;
    }
    Tensor gradient = Objects.requireNonNull(dw);
    if (settings.gradientMeans() && mkor.isRefresh() && meansStep != mkor.stepNumber()) {
      meansStep = mkor.stepNumber();
      refreshByMeans(f, gradient);
    }
    nu = f.prepare(gradient, givenBiasGradient);
    boolean mixed = scaled || settings.damping() > 0;
    onP = mixed ? (float) ((1 - settings.damping()) * nu) : 1;
    onG = (float) settings.damping();
    pending = mixed ? 1 : nu;
    Arrays.fill(sums, 0);
  }

  private void preconditionRows(long row, int n) {
    Factors f = factors;
    if (f == null) {
      return;
    }
    Tensor gradient = Objects.requireNonNull(dw);
    boolean keeps = settings.keepsGradient();
    int runs = gradient.isContiguous() ? 1 : n;
    int length = n / runs * columns;
    long biasKept = 4L * blockRows * columns;
    if (keeps) {
      for (int i = 0; i < runs; i++) {
        MemorySegment.copy(
            gradient.memory(), at(gradient, row + i), kept, 4L * i * columns, 4L * length);
      }
      if (givenBiasGradient != null) {
        MemorySegment.copy(givenBiasGradient.memory(), 4 * row, kept, biasKept, 4L * n);
      }
    }
    f.preconditioner.apply(gradient, givenBiasGradient, (int) row, (int) row + n);
    for (int i = 0; i < runs; i++) {
      finishRun(gradient.memory(), at(gradient, row + i), 4L * i * columns, length);
    }
    if (givenBiasGradient != null) {
      finishRun(givenBiasGradient.memory(), 4 * row, biasKept, n);
    }
  }

  private void finishRun(MemorySegment g, long gAt, long keptAt, int n) {
    if (settings.keepsGradient()) {
      kernels.dots(g, gAt, kept, keptAt, n, lanes, sums);
    }
    if (onP != 1 || onG != 0) {
      kernels.mix(onP, g, gAt, onG, kept, keptAt, n);
    }
  }

  private void endPrecondition() {
    Factors f = factors;
    if (f != null && settings.keepsGradient()) {
      cosine = sums[0] / Math.sqrt(sums[1] * sums[2]);
      boolean applied = f.preconditioner.outcome() == Preconditioner.Outcome.APPLIED;
      double scale = mkor.gradientScale();
      double onBoth = pending * onP * sums[0] + onG * sums[2];
      dot = applied ? onBoth / (scale * scale) : 0;
    }
  }

  /** Bytes to a row. */
  private static long at(Tensor matrix, long row) {
    return Float.BYTES * row * matrix.rowStride();
  }

  /** The refresh of the mode in which the gradient itself gives the vectors. */
  private void refreshByMeans(Factors f, Tensor gradient) {
    double scale = 1 / mkor.gradientScale();
    MemorySegment sum = Objects.requireNonNull(sumRows).memory();
    MemorySegment a = f.a.memory();
    Arrays.fill(columnSums, 0);
    double biasSum = 0;
    for (int row = 0; row < rows; row++) {
      if (row % SUM_ROWS == 0) {
        flush(sum);
      }
      double total = kernels.addRow(gradient.memory(), at(gradient, row), sum, 0, columns, lanes);
      if (givenBiasGradient != null) {
        float last = givenBiasGradient.memory().get(F32, 4L * row);
        biasSum += last;
        total += last;
      }
      f.g.memory().set(F32, 4L * row, (float) (scale * total / inputs()));
    }
    flush(sum);
    for (int i = 0; i < columns; i++) {
      a.set(F32, 4L * i, (float) (scale * columnSums[i] / rows));
    }
    if (bias) {
      a.set(F32, 4L * columns, (float) (scale * biasSum / rows));
    }
    f.arrived();
    f.updateRight();
    f.updateLeft();
    f.stabilize();
  }

  private void flush(MemorySegment sum) {
    for (int i = 0; i < columns; i++) {
      columnSums[i] += sum.get(F32, 4L * i);
    }
    sum.fill((byte) 0);
  }

  // The back end.

  private void beginUpdate(double lr, double factor) {
    count++;
    double scalar = pending * factor / mkor.gradientScale();
    Objects.requireNonNull(weightUpdate).begin(rateFactor * lr, scalar, weightDecay, count);
    if (biasUpdate != null) {
      biasUpdate.begin(rateFactor * lr, scalar, decayBias ? weightDecay : 0, count);
    }
  }

  private void updateRows(long row, int n) {
    ParameterUpdate update = Objects.requireNonNull(weightUpdate);
    updateRuns(update, row, n, false);
    if (biasUpdate != null && givenBias != null && givenBiasGradient != null) {
      biasUpdate.run(givenBias.memory(), 4 * row, givenBiasGradient.memory(), 4 * row, row, n);
    }
  }

  private void finishUpdate() {
    ParameterUpdate update = Objects.requireNonNull(weightUpdate);
    if (update.needsFinish()) {
      for (long row = 0; row < rows; row += blockRows) {
        updateRuns(update, row, (int) Math.min(blockRows, rows - row), true);
      }
    }
    if (biasUpdate != null
        && givenBias != null
        && givenBiasGradient != null
        && biasUpdate.needsFinish()) {
      biasUpdate.finish(givenBias.memory(), 0, givenBiasGradient.memory(), 0, outputs());
    }
  }

  /** One sweep, the first or the second, over rows that are one run where they have no gaps. */
  private void updateRuns(ParameterUpdate update, long row, int n, boolean finish) {
    Tensor weight = Objects.requireNonNull(w);
    Tensor gradient = Objects.requireNonNull(dw);
    int runs = weight.isContiguous() && gradient.isContiguous() ? 1 : n;
    int length = n / runs * columns;
    for (long r = row; r < row + runs; r++) {
      long wAt = at(weight, r);
      long gAt = at(gradient, r);
      if (finish) {
        update.finish(weight.memory(), wAt, gradient.memory(), gAt, length);
      } else {
        update.run(weight.memory(), wAt, gradient.memory(), gAt, r * columns, length);
      }
    }
  }

  LayerStats stats(Arena arena) {
    double[] left = {Double.NaN, Double.NaN};
    double[] right = {Double.NaN, Double.NaN};
    Factors f = factors;
    if (f != null) {
      range(f.left, arena, left);
      range(f.right, arena, right);
    }
    return new LayerStats(
        name,
        isPreconditioned(),
        f == null ? Double.NaN : f.left.quadraticForm(),
        f == null ? Double.NaN : f.right.quadraticForm(),
        left[0],
        left[1],
        right[0],
        right[1],
        f == null ? 0 : f.left.rank(),
        f == null ? 0 : f.right.rank(),
        counters.updates,
        counters.skipped,
        counters.resets,
        counters.stabilized,
        counters.unseen,
        counters.notFinite,
        counters.vanished,
        nu,
        cosine);
  }

  private static void range(InverseFactor factor, Arena arena, double[] range) {
    Tensor diagonal = Tensor.allocate(arena, DType.F32, factor.dimension());
    factor.diagonal(diagonal);
    range[0] = Double.POSITIVE_INFINITY;
    range[1] = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < factor.dimension(); i++) {
      double value = diagonal.memory().get(F32, 4L * i);
      range[0] = Math.min(range[0], value);
      range[1] = Math.max(range[1], value);
    }
  }
}

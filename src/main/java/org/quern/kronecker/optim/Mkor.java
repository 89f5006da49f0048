package org.quern.kronecker.optim;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.quern.kronecker.Storage;
import org.quern.kronecker.UpdateRule;
import org.quern.runtime.Parallel;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The optimizer of Mozaffari et al. (arXiv 2306.01685): every layer has two inverse factors, which
 * take one vector each on refresh steps, and hands {@code nu L [dW | db] R} to a first-order back
 * end.
 *
 * <pre>{@code
 * try (Mkor mkor = Mkor.builder().backEnd(new Sgd(0.9)).build()) {
 *   MkorLayer layer = mkor.layer("fc1", out, in, true);
 *   for (...) {
 *     // forward and backward pass
 *     if (mkor.isRefresh()) {
 *       layer.observe(a, g);
 *     }
 *     layer.step(w, b, dw, db, lr);
 *     mkor.step();
 *   }
 * }
 * }</pre>
 *
 * <p>A step allocates nothing on the heap once every layer has been used, with one thread. All
 * methods of an optimizer and its layers are for one thread at a time.
 */
public final class Mkor implements AutoCloseable {
  private final Settings settings;
  private final Arena arena = Arena.ofShared();
  private @Nullable Arena factorArena = Arena.ofShared();
  private MkorLayer[] layers = {};
  private @Nullable Tensor flat;

  private long step;
  private boolean begun;
  private boolean refreshed;
  private double vectorScale = 1;
  private double gradientScale = 1;
  private double rate;
  private double factor = 1;

  // Kept, so that a step makes no objects.
  private final Parallel.RangeBody updateRights = (from, to, worker) -> updateFactors(from, false);
  private final Parallel.RangeBody updateLefts = (from, to, worker) -> updateFactors(from, true);
  private final Parallel.RangeBody stepLayers = (from, to, worker) -> stepLayer(from);
  private final Parallel.RangeBody precondition = (from, to, worker) -> preconditionLayer(from);
  private final Parallel.RangeBody update = (from, to, worker) -> updateLayer(from);

  Mkor(Settings settings) {
    this.settings = settings;
  }

  /** Settings as released, to be changed. */
  public static MkorBuilder builder() {
    return new MkorBuilder();
  }

  /**
   * Adds a layer. Nothing is allocated before its first use.
   *
   * @param name a new one; {@link MkorBuilder#include} and {@link MkorBuilder#exclude} match it
   * @param outputs d_out, at least 1
   * @param inputs d_in, at least 1; of a convolution channels times kernel height times width
   * @param bias whether it has a bias
   * @throws IllegalArgumentException where the name is taken, a size is below 1, or the factors
   *     exceed {@link MkorBuilder#denseBudget} or cannot keep the rule
   */
  public MkorLayer layer(String name, int outputs, int inputs, boolean bias) {
    checkName(name);
    Ranges.atLeast("outputs", outputs, 1);
    Ranges.atLeast("inputs", inputs, 1);
    MkorLayer layer = new MkorLayer(this, settings, name, true, bias, outputs, inputs);
    if (layer.wantsFactors()) {
      checkStorage(name, layer.leftStorage());
      checkStorage(name, layer.rightStorage());
      checkBudget(layer);
    }
    return add(layer);
  }

  /**
   * Adds an array of parameters of any shape that goes through the back end alone, such as an
   * embedding or the gain of a norm. Nothing is allocated before its first use.
   *
   * @param name a new one
   * @param shape extents, each at least 1
   */
  public MkorLayer parameter(String name, long... shape) {
    checkName(name);
    for (long extent : shape) {
      Ranges.atLeast("shape", extent, 1);
    }
    return add(new MkorLayer(this, settings, name, false, false, shape.clone()));
  }

  private MkorLayer add(MkorLayer layer) {
    MkorLayer[] more = Arrays.copyOf(layers, layers.length + 1);
    more[layers.length] = layer;
    layers = more;
    return layer;
  }

  private void checkName(String name) {
    for (MkorLayer layer : layers) {
      if (layer.name().equals(name)) {
        throw new IllegalArgumentException("name: expected a new one, got '" + name + "'");
      }
    }
  }

  private void checkStorage(String name, Storage storage) {
    if (storage instanceof Storage.LowRank && settings.rule() != UpdateRule.CODE) {
      throw new IllegalArgumentException(
          "layer "
              + name
              + ": storage: expected one that keeps every element for rule "
              + settings.rule()
              + ", got "
              + storage);
    }
  }

  private void checkBudget(MkorLayer added) {
    long bytes = denseBytes(added);
    for (MkorLayer layer : layers) {
      bytes += denseBytes(layer);
    }
    if (bytes > settings.denseBudget()) {
      throw new IllegalArgumentException(
          "layer "
              + added.name()
              + ": expected dense factors of at most "
              + settings.denseBudget()
              + " bytes in all (denseBudget), got "
              + bytes
              + ", of which "
              + denseBytes(added)
              + " for this layer of "
              + added.outputs()
              + " x "
              + added.inputs()
              + "; use Storage.lowRank, or exclude the layer to leave it first order");
    }
  }

  private static long denseBytes(MkorLayer layer) {
    LayerMemory memory = layer.memory();
    return dense(memory.left(), memory.leftBytes()) + dense(memory.right(), memory.rightBytes());
  }

  private static long dense(@Nullable Storage storage, long bytes) {
    return storage instanceof Storage.LowRank ? 0 : bytes;
  }

  /** What the layers added so far take, whether it has been allocated or not. */
  public List<LayerMemory> memory() {
    return Arrays.stream(layers).map(MkorLayer::memory).toList();
  }

  /** The layers in the order in which they were added. */
  public List<MkorLayer> layers() {
    return List.of(layers);
  }

  /** Number of the current step, from 0. */
  public long stepNumber() {
    return step;
  }

  /** Whether layers take vectors at the current step. */
  public boolean isRefresh() {
    return !isFirstOrder() && settings.schedule().isRefresh(step);
  }

  /** Whether the run goes on with the back end alone. */
  public boolean isFirstOrder() {
    return factorArena == null;
  }

  /** The bound that whoever computes the vectors applies to the elements of their rows. */
  public double clip() {
    return settings.clip();
  }

  /**
   * Tells that the loss was multiplied by {@code scale}, and output gradients and gradients with
   * it.
   */
  public void lossScale(double scale) {
    lossScale(scale, scale);
  }

  /**
   * Tells by what the loss was multiplied, where gradients have been unscaled before the step and
   * output gradients have not, or the reverse. Holds until it is changed. A power of two changes no
   * bit of the result. {@link MkorLayer#precondition} leaves the scale of a gradient as it is.
   *
   * @param vectors scale that output gradients g still have, above 0
   * @param gradients scale that gradients dW and db still have, above 0
   */
  public void lossScale(double vectors, double gradients) {
    Ranges.positive("lossScale of vectors", vectors);
    Ranges.positive("lossScale of gradients", gradients);
    vectorScale = vectors;
    gradientScale = gradients;
  }

  double vectorScale() {
    return vectorScale;
  }

  double gradientScale() {
    return gradientScale;
  }

  /** Marks that the current step has work done that a checkpoint could not hold. */
  void begin() {
    begun = true;
  }

  boolean isRefreshed() {
    return refreshed;
  }

  void allocate(MkorLayer layer) {
    layer.allocate(arena, factorArena);
  }

  /**
   * Refreshes all factors where the current step is one to do so and it has not been done:
   * exchanges the vectors with other workers, updates every R, then every L, then lets the
   * stabiliser look at them. The first use of a gradient in a step does the same; an earlier call
   * may overlap with the rest of the step.
   *
   * @throws IllegalStateException where a layer was given only one of its two vectors
   * @throws ArithmeticException in strict mode, where a vector is not finite; no factor has changed
   */
  public void refresh() {
    if (refreshed || settings.gradientMeans() || !isRefresh()) {
      return;
    }
    begin();
    try {
      for (MkorLayer layer : layers) {
        allocate(layer);
        layer.requireInSync();
      }
      VectorMean mean = settings.mean();
      if (mean != null) {
        exchange(mean);
      }
      for (MkorLayer layer : layers) {
        Factors factors = layer.factors();
        if (factors != null) {
          layer.requireInSync();
          factors.take(layer.observation().hasInput() ? layer.observation() : null);
        }
      }
    } catch (RuntimeException e) {
      for (MkorLayer layer : layers) {
        Factors factors = layer.factors();
        if (factors != null) {
          factors.abandon();
        }
        layer.observation().clear();
      }
      throw e;
    }
    Parallel.forRanges(layers.length, 1, settings.threads(), updateRights);
    Parallel.forRanges(layers.length, 1, settings.threads(), updateLefts);
    for (MkorLayer layer : layers) {
      Factors factors = layer.factors();
      if (factors != null) {
        factors.stabilize();
      }
      layer.observation().clear();
    }
    refreshed = true;
  }

  private void updateFactors(long index, boolean left) {
    Factors factors = layers[(int) index].factors();
    if (factors == null) {
      return;
    }
    if (left) {
      factors.updateLeft();
    } else {
      factors.updateRight();
    }
  }

  private void exchange(VectorMean mean) {
    long length = 0;
    for (MkorLayer layer : layers) {
      length += layer.wantsFactors() ? layer.observation().length() : 0;
    }
    Tensor vector = flat;
    if (vector == null || vector.size() != length) {
      vector = Tensor.allocate(arena, DType.F64, length);
      flat = vector;
    }
    long at = 0;
    for (MkorLayer layer : layers) {
      if (layer.wantsFactors()) {
        layer.observation().pack(vector.memory(), at);
        at += Double.BYTES * (long) layer.observation().length();
      }
    }
    mean.reduce(vector);
    at = 0;
    for (MkorLayer layer : layers) {
      if (layer.wantsFactors()) {
        layer.observation().unpack(vector.memory(), at);
        at += Double.BYTES * (long) layer.observation().length();
      }
    }
  }

  /**
   * Steps every layer that is bound ({@link MkorLayer#bind}) and ends the step.
   *
   * @param lr learning rate, at least 0; layers may have factors of their own
   */
  public void step(double lr) {
    Ranges.notNegative("lr", lr);
    refresh();
    rate = lr;
    int threads = settings.threads();
    if (settings.klClip() > 0) {
      Parallel.forRanges(layers.length, 1, threads, precondition);
      factor = klFactor(lr);
      Parallel.forRanges(layers.length, 1, threads, update);
    } else {
      Parallel.forRanges(layers.length, 1, threads, stepLayers);
    }
    step();
  }

  private void stepLayer(long index) {
    MkorLayer layer = layers[(int) index];
    if (layer.connectBound()) {
      layer.stepConnected(rate);
    }
  }

  private void preconditionLayer(long index) {
    MkorLayer layer = layers[(int) index];
    if (layer.connectBound()) {
      layer.preconditionConnected(false);
    }
  }

  private void updateLayer(long index) {
    MkorLayer layer = layers[(int) index];
    if (layer.connectBound()) {
      layer.updateConnected(rate, layer.factors() == null ? 1 : factor);
    }
  }

  private double klFactor(double lr) {
    double sum = 0;
    for (MkorLayer layer : layers) {
      double layerRate = lr * layer.rateFactor();
      sum += layer.factors() == null ? 0 : layerRate * layerRate * layer.dot();
    }
    return sum > 0 ? Math.min(1, Math.sqrt(settings.klClip() / sum)) : 1;
  }

  /**
   * Ends the step. Where it was one to refresh and no gradient was used, the factors are refreshed
   * first.
   */
  public void step() {
    refresh();
    if (settings.gradientMeans() && isRefresh()) {
      for (MkorLayer layer : layers) {
        layer.countUnseenMeans();
      }
    }
    step++;
    refreshed = false;
    begun = false;
  }

  /**
   * Tells the switch policy the loss of the current step; without a policy nothing happens.
   *
   * @return whether the run goes on with the back end alone
   */
  public boolean observeLoss(double loss) {
    SwitchPolicy policy = settings.switchPolicy();
    if (policy != null
        && !isFirstOrder()
        && policy.observe(step, loss) == SwitchPolicy.Decision.FIRST_ORDER) {
      switchToFirstOrder();
    }
    return isFirstOrder();
  }

  /** Frees all factors; the run goes on with the back end alone, whose moments stay. */
  public void switchToFirstOrder() {
    Arena factors = factorArena;
    if (factors != null) {
      factorArena = null;
      for (MkorLayer layer : layers) {
        layer.dropFactors();
      }
      factors.close();
    }
  }

  /** What every layer looks like; allocates, and reads the diagonals of all factors. */
  public List<LayerStats> stats() {
    List<LayerStats> stats = new ArrayList<>();
    try (Arena scratch = Arena.ofConfined()) {
      for (MkorLayer layer : layers) {
        stats.add(layer.stats(scratch));
      }
    }
    return stats;
  }

  /**
   * Writes everything that later steps depend on to a safetensors file: factors, moments, counters
   * and the settings.
   *
   * @throws IllegalStateException in the middle of a step
   */
  public void save(Path file) throws IOException {
    requireBetweenSteps();
    new MkorCheckpoint(this, settings).save(file);
  }

  /**
   * Takes what {@link #save} wrote: an optimizer with the same settings and layers goes on bit for
   * bit as the one that was saved, on the same tier.
   *
   * @throws org.quern.io.FormatException where the file is not of this version, or its settings or
   *     layers differ; nothing has changed then
   * @throws IllegalStateException in the middle of a step
   */
  public void load(Path file) throws IOException {
    requireBetweenSteps();
    new MkorCheckpoint(this, settings).load(file);
  }

  private void requireBetweenSteps() {
    if (begun) {
      throw new IllegalStateException(
          "step " + step + ": expected to be between two steps, got the middle of one");
    }
  }

  /** Continues at a step. */
  void stepNumber(long number) {
    step = number;
  }

  /** Frees all memory; the layers cannot be used any more. */
  @Override
  public void close() {
    Arena factors = factorArena;
    if (factors != null && factors.scope().isAlive()) {
      factors.close();
    }
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }
}

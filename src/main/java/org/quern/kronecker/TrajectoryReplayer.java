package org.quern.kronecker;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.io.FormatException;
import org.quern.kronecker.optim.Adam;
import org.quern.kronecker.optim.BackEnd;
import org.quern.kronecker.optim.Lamb;
import org.quern.kronecker.optim.Mkor;
import org.quern.kronecker.optim.MkorBuilder;
import org.quern.kronecker.optim.MkorLayer;
import org.quern.kronecker.optim.Sgd;
import org.quern.kronecker.optim.Stabilizer;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Replays recorded runs of the released optimizer: the vectors from inputs and output gradients,
 * the factors, the preconditioned gradients, and the parameters at the end. A run in the mode
 * without activations takes its vectors from the gradients.
 */
final class TrajectoryReplayer {
  /** Relative to the largest entry: of vectors, factors, gradients, and parameters at the end. */
  private record Tolerances(double vectors, double factors, double gradients, double parameters) {
    static final Tolerances SINGLE = new Tolerances(5e-6, 2e-6, 1e-5, 1e-4);

    /** Of a run whose program rounded its factors to F16 in an order of its own. */
    static final Tolerances HALF = new Tolerances(5e-3, 5e-3, 5e-3, 5e-3);
  }

  private static final Set<String> BACK_END =
      Set.of("lr", "momentum", "weight_decay", "nesterov", "betas", "eps");

  private final GoldenCase golden;
  private final Tier tier;
  private final Tally tally;
  private final boolean gradientMeans;
  private final Tolerances tolerances;
  private final List<Layer> layers;
  private final int steps;
  private final GoldenCase backEnd;
  private final double rate;
  private final double weightDecay;
  private final Accounting accounting;

  TrajectoryReplayer(GoldenCase golden, Tier tier, Tally tally) throws IOException {
    this.golden = golden;
    this.tier = tier;
    this.tally = tally;
    this.gradientMeans = golden.kind().equals("gradmean_trajectory");
    this.tolerances = golden.flag("half", false) ? Tolerances.HALF : Tolerances.SINGLE;
    this.layers = gradientMeans ? Layer.chain(golden) : Layer.list(golden);
    for (Layer layer : layers) {
      // Before anything is allocated for it.
      golden.requireShape("s0." + layer.key + "dw", layer.shape);
    }
    this.steps = golden.count("steps");
    if (steps < 1) {
      throw golden.error("steps", "at least 1", steps);
    }
    this.backEnd = golden.part("backend_args");
    this.rate = backEnd.number("lr");
    this.weightDecay = backEnd.number("weight_decay", 0);
    this.accounting =
        new Accounting(
            golden.has("accum") ? golden.count("accum") : 1,
            golden.number("grad_scale", 1),
            golden.number("clip", Double.POSITIVE_INFINITY),
            true);
  }

  /** A layer of the run. */
  private static final class Layer {
    /** Names its tensors within those of a step. */
    final String key;

    final int out;

    /** Inputs; of a convolution the entries of a patch. */
    final int in;

    final boolean bias;
    final boolean firstOrder;

    /** Of the weights. */
    final long[] shape;

    /** Null unless it is a convolution. */
    final @Nullable Window vertical;

    final @Nullable Window horizontal;

    Layer(
        String key,
        int out,
        int in,
        boolean bias,
        boolean firstOrder,
        long[] shape,
        @Nullable Window vertical,
        @Nullable Window horizontal) {
      this.key = key;
      this.out = out;
      this.in = in;
      this.bias = bias;
      this.firstOrder = firstOrder;
      this.shape = shape;
      this.vertical = vertical;
      this.horizontal = horizontal;
    }

    /** Layers of which each takes what the one before gives. */
    static List<Layer> chain(GoldenCase golden) throws FormatException {
      int[] dims = golden.counts("dims");
      if (dims.length < 2) {
        throw golden.error("dims", "two or more", dims.length);
      }
      Layer[] layers = new Layer[dims.length - 1];
      for (int l = 0; l < layers.length; l++) {
        boolean bias = golden.anyTensor("s\\d+\\.l" + l + "\\.(db|pb|b)");
        long[] shape = {dims[l + 1], dims[l]};
        layers[l] = new Layer("l" + l + ".", dims[l + 1], dims[l], bias, false, shape, null, null);
      }
      return List.of(layers);
    }

    /** Layers as the case describes them. */
    static List<Layer> list(GoldenCase golden) throws FormatException {
      Layer[] layers = new Layer[golden.list("layers").size()];
      int l = 0;
      for (JsonElement each : golden.list("layers")) {
        layers[l] = layer(golden.part("layers", each), "l" + l + ".");
        l++;
      }
      return List.of(layers);
    }

    private static Layer layer(GoldenCase described, String key) throws FormatException {
      boolean bias = described.flag("bias", false);
      int out = described.count("d_out");
      int in = described.count("d_in_aug") - (bias ? 1 : 0);
      boolean firstOrder = described.flag("first_order", false);
      switch (described.text("type")) {
        case "linear" -> {
          return new Layer(key, out, in, bias, firstOrder, new long[] {out, in}, null, null);
        }
        case "conv" -> {
          Window vertical = window(described, 0);
          Window horizontal = window(described, 1);
          int patch = vertical.kernel() * horizontal.kernel();
          if (in % patch != 0) {
            throw described.error("d_in_aug", "a multiple of the kernel's size", in);
          }
          long[] shape = {out, in / patch, vertical.kernel(), horizontal.kernel()};
          return new Layer(key, out, in, bias, firstOrder, shape, vertical, horizontal);
        }
        default -> throw described.error("type", "linear or conv", described.text("type"));
      }
    }

    private static Window window(GoldenCase described, int dimension) throws FormatException {
      return new Window(
          entry(described, "k", dimension),
          entry(described, "stride", dimension),
          entry(described, "pad", dimension),
          entry(described, "dil", dimension));
    }

    private static int entry(GoldenCase described, String key, int dimension)
        throws FormatException {
      int[] both = described.counts(key);
      if (both.length != 2) {
        throw described.error(key, "two numbers", described.list(key));
      }
      return both[dimension];
    }

    int augmented() {
      return in + (bias ? 1 : 0);
    }
  }

  void run() throws IOException {
    int largest = 1;
    for (Layer layer : layers) {
      largest = Math.max(largest, Math.max(layer.out, layer.augmented()));
    }
    boolean first = true;
    for (GoldenStorage storage : GoldenStorage.of(UpdateRule.CODE, largest)) {
      try (Mkor mkor = builder().storage(storage.storage()).build();
          Arena arena = Arena.ofShared()) {
        new Run(mkor, storage, arena).run(first);
      }
      first = false;
    }
  }

  private MkorBuilder builder() throws FormatException {
    for (String key : backEnd.keys()) {
      if (!BACK_END.contains(key)) {
        throw golden.error("backend_args", "some of " + BACK_END, key);
      }
    }
    MkorBuilder builder =
        Mkor.builder()
            .gamma(golden.number("gamma"))
            .refreshEvery(golden.count("inv_freq"))
            .warmup(golden.count("warmup_steps"))
            .stabilizer(
                new Stabilizer(
                    Stabilizer.Norm.MAX_ABS,
                    Stabilizer.Mode.RESET,
                    golden.number("threshold", 2),
                    1))
            // The rows have been clamped.
            .clip(Double.POSITIVE_INFINITY)
            .gradientMeans(gradientMeans)
            .backEnd(backEnd())
            .tier(tier);
    for (Layer layer : layers) {
      if (layer.firstOrder) {
        builder.exclude("^" + layer.key + "$");
      }
    }
    return builder;
  }

  private BackEnd backEnd() throws FormatException {
    double[] betas = {0.9, 0.999};
    if (backEnd.has("betas")) {
      JsonArray both = backEnd.list("betas");
      if (both.size() != 2) {
        throw backEnd.error("betas", "two numbers", both);
      }
      for (int i = 0; i < 2; i++) {
        betas[i] = backEnd.number("betas", both.get(i));
      }
    }
    String name = golden.text("backend");
    return switch (name) {
      case "sgd" ->
          new Sgd(backEnd.number("momentum", 0), weightDecay, backEnd.flag("nesterov", false));
      case "adam" -> new Adam(betas[0], betas[1], backEnd.number("eps", 1e-8), weightDecay, false);
      case "adamw" -> new Adam(betas[0], betas[1], backEnd.number("eps", 1e-8), weightDecay, true);
      case "lamb" -> new Lamb(betas[0], betas[1], backEnd.number("eps", 1e-6), weightDecay, 10);
      default -> throw golden.error("backend", "sgd, adam, adamw or lamb", name);
    };
  }

  /** The run with one storage. */
  private final class Run {
    private final Mkor mkor;
    private final GoldenStorage storage;
    private final Arena arena;
    private final Tensor[] weights = new Tensor[layers.size()];
    private final @Nullable Tensor[] biases = new Tensor[layers.size()];
    private final String label;

    Run(Mkor mkor, GoldenStorage storage, Arena arena) {
      this.mkor = mkor;
      this.storage = storage;
      this.arena = arena;
      this.label = ", " + storage.label();
    }

    void run(boolean compareVectors) throws IOException {
      for (int l = 0; l < layers.size(); l++) {
        Layer layer = layers.get(l);
        mkor.layer(layer.key, layer.out, layer.in, layer.bias);
        weights[l] = start(layer, "w", layer.shape);
        biases[l] = layer.bias ? start(layer, "b", layer.out) : null;
      }
      for (int step = 0; step < steps; step++) {
        try (Arena each = Arena.ofShared()) {
          String prefix = "s" + step + ".";
          if (mkor.isRefresh() && !gradientMeans) {
            for (int l = 0; l < layers.size(); l++) {
              observe(l, prefix, each, compareVectors);
            }
          }
          for (int l = 0; l < layers.size(); l++) {
            step(l, prefix, each, step == steps - 1);
          }
        }
        mkor.step();
      }
    }

    /** Recorded, or what a first step of plain descent to the recorded parameters starts from. */
    private Tensor start(Layer layer, String name, long... shape) throws IOException {
      String initial = "init." + layer.key + name;
      if (!gradientMeans || golden.anyTensor("init\\..*")) {
        return golden.floats(arena, initial, shape);
      }
      Tensor start = golden.floats(arena, "s0." + layer.key + name, shape);
      Tensor moved = golden.load(arena, "s0." + layer.key + "p" + name, shape);
      double[] from = start.toDoubleArray();
      double[] by = moved.toDoubleArray();
      for (int i = 0; i < from.length; i++) {
        from[i] = (from[i] + rate * by[i]) / (1 - rate * weightDecay);
      }
      return Tensor.copyOf(arena, from, shape).to(DType.F32, arena);
    }

    private void observe(int l, String prefix, Arena each, boolean compare) throws IOException {
      Layer layer = layers.get(l);
      String key = prefix + layer.key;
      ColumnMeans inputs = ColumnMeans.create(each, layer.in, 1, tier);
      ColumnMeans gradients = ColumnMeans.create(each, layer.out, 1, tier);
      for (int q = 0; q < accounting.microBatches(); q++) {
        add(layer, key + "m" + q + ".", inputs, gradients, each);
      }
      Tensor a = Tensor.allocate(each, DType.F32, layer.augmented());
      Tensor g = Tensor.allocate(each, DType.F32, layer.out);
      inputs.mean(a);
      gradients.sum(g, accounting.gradientScale());
      mkor.layers().get(l).observe(a, g);
      if (compare && !layer.firstOrder) {
        Tensor wantA = golden.load(each, key + "a", layer.augmented());
        Tensor wantG = golden.load(each, key + "g", layer.out);
        tally.relative("a", a, wantA, tolerances.vectors);
        tally.relative("g", g, wantG, tolerances.vectors);
      }
    }

    private void add(Layer layer, String key, ColumnMeans inputs, ColumnMeans gradients, Arena each)
        throws IOException {
      long[] x = golden.shape(key + "x");
      long[] dy = golden.shape(key + "dy");
      double limit = accounting.inputLimit();
      Window vertical = layer.vertical;
      Window horizontal = layer.horizontal;
      if (vertical != null && horizontal != null) {
        int channels = (int) layer.shape[1];
        Tensor image = golden.floats(each, key + "x", -1, channels, -1, -1);
        Tensor planes = golden.floats(each, key + "dy", x[0], layer.out, -1, -1);
        PatchMeans.create(each, channels, 1, vertical, horizontal, 1, tier)
            .add(image, limit, inputs);
        PatchMeans.create(each, layer.out, 1, Window.point(), Window.point(), 1, tier)
            .add(planes, accounting.gradientLimit(x[0]), gradients);
        return;
      }
      Tensor rows = golden.floats(each, key + "x", any(x.length, layer.in));
      inputs.add(rows, limit);
      long[] shape = rows.shape();
      shape[shape.length - 1] = layer.out;
      Tensor dyRows = golden.floats(each, key + "dy", dy.length == 0 ? dy : shape);
      gradients.add(dyRows, accounting.gradientLimit(dyRows.rows()));
    }

    /** Any shape of that many dimensions, at least two, and that last extent. */
    private static long[] any(int rank, long last) {
      long[] shape = new long[Math.max(2, rank)];
      Arrays.fill(shape, -1);
      shape[shape.length - 1] = last;
      return shape;
    }

    private void step(int l, String prefix, Arena each, boolean last) throws IOException {
      Layer layer = layers.get(l);
      MkorLayer stepped = mkor.layers().get(l);
      String key = prefix + layer.key;
      Tensor dw = golden.floats(each, key + "dw", layer.shape);
      Tensor db = layer.bias ? golden.floats(each, key + "db", layer.out) : null;
      Tensor pw = dw.to(DType.F32, each);
      Tensor pb = db == null ? null : db.to(DType.F32, each);
      double nu = stepped.precondition(pw, pb);
      if (layer.firstOrder) {
        tally.relative("pw of first order" + label, pw, load(each, key, "pw", layer.shape), 0);
        if (pb != null) {
          tally.relative("pb of first order" + label, pb, load(each, key, "pb", layer.out), 0);
        }
      } else {
        compare(layer, key, dw, db, pw, pb, nu, each);
      }
      Tensor bias = biases[l];
      stepped.step(weights[l], bias, dw, db, rate);
      if (last) {
        double tolerance = storage.parameterTolerance(tolerances.parameters);
        tally.relative("w" + label, weights[l], load(each, key, "w", layer.shape), tolerance);
        if (bias != null) {
          tally.relative("b" + label, bias, load(each, key, "b", layer.out), tolerance);
        }
      }
    }

    private Tensor load(Arena each, String key, String name, long... shape) throws IOException {
      return golden.load(each, key + name, shape);
    }

    /** Compares L, R and what they make of the gradient. */
    private void compare(
        Layer layer,
        String key,
        Tensor dw,
        @Nullable Tensor db,
        Tensor pw,
        @Nullable Tensor pb,
        double nu,
        Arena each)
        throws IOException {
      Tensor l = golden.load(each, key + "L", layer.out, layer.out);
      Tensor r = golden.load(each, key + "R", layer.augmented(), layer.augmented());
      double gamma = golden.number("gamma");
      double tolerance = tolerances.factors;
      int updates = (int) mkor.stepNumber() + 1;
      MkorLayer stepped = mkor.layers().get(layers.indexOf(layer));
      Tensor left = Tensor.allocate(each, DType.F32, l.shape());
      Tensor right = Tensor.allocate(each, DType.F32, r.shape());
      stepped.leftFactor(left);
      stepped.rightFactor(right);
      storage.compareFactor(tally, "L", left, l, gamma, updates, tolerance);
      storage.compareFactor(tally, "R", right, r, gamma, updates, tolerance);
      double leftBound = storage.bound(l, gamma, updates, tolerance);
      double rightBound = storage.bound(r, gamma, updates, tolerance);
      Tensor gradient = join(layer, dw, db, each);
      double[] want = golden.load(each, key + "pw", layer.shape).toDoubleArray();
      storage.comparePreconditioned(
          tally,
          "pw",
          pw.toDoubleArray(),
          want,
          l,
          leftBound,
          gradient,
          r,
          rightBound,
          nu,
          tolerances.gradients);
      if (pb != null) {
        want = golden.load(each, key + "pb", layer.out).toDoubleArray();
        storage.comparePreconditioned(
            tally,
            "pb",
            pb.toDoubleArray(),
            want,
            l,
            leftBound,
            gradient,
            r,
            rightBound,
            nu,
            tolerances.gradients);
      }
    }

    /** [dW | db]. */
    private static Tensor join(Layer layer, Tensor dw, @Nullable Tensor db, Arena each) {
      int columns = layer.augmented();
      double[] joined = new double[layer.out * columns];
      double[] matrix = dw.toDoubleArray();
      for (int r = 0; r < layer.out; r++) {
        System.arraycopy(matrix, r * layer.in, joined, r * columns, layer.in);
        if (db != null) {
          joined[r * columns + layer.in] = db.getDouble(r);
        }
      }
      return Tensor.copyOf(each, joined, layer.out, columns);
    }
  }
}

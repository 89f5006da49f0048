package org.quern.kronecker;

import java.io.IOException;
import java.lang.foreign.Arena;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Replays a recorded run of preconditioning by one vector on each side. */
final class EvaReplayer {
  private static final double TOLERANCE = 1e-5;

  private final GoldenCase golden;
  private final Tier tier;
  private final Tally tally;

  EvaReplayer(GoldenCase golden, Tier tier, Tally tally) {
    this.golden = golden;
    this.tier = tier;
    this.tally = tally;
  }

  /** One layer, with what it has at the step at hand. */
  private record Layer(EvaLayer eva, int out, int in, boolean bias) {}

  void run() throws IOException {
    double klClip = golden.number("kl_clip");
    Eva.Builder builder =
        Eva.builder()
            .damping(golden.number("damping"))
            .decay(golden.number("factor_decay"), true)
            .tier(tier);
    Eva eva = (klClip > 0 ? builder.klClip(klClip) : builder.keepNorm()).build();
    int[] dims = golden.counts("dims");
    if (dims.length < 2) {
      throw golden.error("dims", "two or more", dims.length);
    }
    Layer[] layers = new Layer[dims.length - 1];
    for (int l = 0; l < layers.length; l++) {
      boolean bias = golden.anyTensor("s\\d+\\.l" + l + "\\.(db|pb|b)");
      golden.requireShape("s0.l" + l + ".dw", dims[l + 1], dims[l]);
      layers[l] =
          new Layer(eva.layer("l" + l, dims[l + 1], dims[l], bias), dims[l + 1], dims[l], bias);
    }
    int steps = golden.count("steps");
    if (steps < 1) {
      throw golden.error("steps", "at least 1", steps);
    }
    double rate = golden.number("lr");
    for (int step = 0; step < steps; step++) {
      try (Arena each = Arena.ofConfined()) {
        step(eva, layers, "s" + step + ".l", rate, each);
      }
    }
  }

  private void step(Eva eva, Layer[] layers, String prefix, double rate, Arena each)
      throws IOException {
    Tensor[] dw = new Tensor[layers.length];
    @Nullable Tensor[] db = new Tensor[layers.length];
    for (int l = 0; l < layers.length; l++) {
      Layer layer = layers[l];
      String key = prefix + l + ".";
      observe(layer, key, each);
      dw[l] = golden.floats(each, key + "dw", layer.out, layer.in);
      db[l] = layer.bias ? golden.floats(each, key + "db", layer.out) : null;
      layer.eva.prepare(dw[l], db[l]);
    }
    double nu = eva.scale(rate);
    for (int l = 0; l < layers.length; l++) {
      Layer layer = layers[l];
      String key = prefix + l + ".";
      layer.eva.apply(dw[l], db[l], nu);
      tally.relative("pw", dw[l], golden.load(each, key + "pw", layer.out, layer.in), TOLERANCE);
      Tensor bias = db[l];
      if (bias != null) {
        tally.relative("pb", bias, golden.load(each, key + "pb", layer.out), TOLERANCE);
      }
    }
  }

  private void observe(Layer layer, String key, Arena each) throws IOException {
    Tensor x = golden.load(each, key + "x", -1, layer.in);
    ColumnMeans inputs = ColumnMeans.create(each, layer.in, 1, tier);
    inputs.add(x.to(DType.F32, each));
    Tensor a = Tensor.allocate(each, DType.F32, layer.in + (layer.bias ? 1 : 0));
    inputs.mean(a);
    Tensor dy = golden.load(each, key + "dy", x.dim(0), layer.out);
    ColumnMeans gradients = ColumnMeans.create(each, layer.out, 1, tier);
    gradients.add(dy.to(DType.F32, each));
    Tensor g = Tensor.allocate(each, DType.F32, layer.out);
    gradients.mean(g);
    layer.eva.observe(a, g);
  }
}

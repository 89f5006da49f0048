package org.quern.gaunt;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Replays recorded products of two operands. */
final class ProductReplayer {
  private final GoldenTensors file;

  ProductReplayer(GoldenTensors file) {
    this.file = file;
  }

  /** The degrees of the operands, from their last dimensions. */
  private int[] degrees() throws IOException {
    file.requireRank(3, "x1", "x2", "out", "out_w", "g", "gx1", "gx2");
    file.requireRank(2, "w1", "w2", "w3", "gw1", "gw2", "gw3");
    return new int[] {file.degree("x1"), file.degree("x2"), file.degree("out")};
  }

  /** The algorithms that apply to degrees. */
  static List<Algorithm> algorithms(int... d) {
    int highest = Math.max(d[0], Math.max(d[1], d[2]));
    boolean points = d[0] + d[1] + d[2] - highest <= FeketePoints.MAX_DEGREE;
    return Arrays.stream(Algorithm.values())
        .filter(algorithm -> points || algorithm != Algorithm.POINTS)
        .toList();
  }

  /** One recorded product on every algorithm that applies, in both element types. */
  void product() throws IOException {
    int[] d = degrees();
    for (DType type : LayerReplayer.TYPES) {
      for (Algorithm algorithm : algorithms(d)) {
        GauntProduct product = builder(d, type, algorithm).build();
        plain(product, "out");
        if (file.has("out_w") && file.has("w1") && file.has("w2") && file.has("w3")) {
          weighted(product);
        }
        for (Normalization normalization : Normalization.values()) {
          String key = "out_" + normalization.name().toLowerCase(Locale.ROOT);
          if (file.has(key)) {
            file.requireRank(3, key);
            plain(builder(d, type, algorithm).normalization(normalization).build(), key);
          }
        }
      }
    }
  }

  private GauntProduct.Builder builder(int[] d, DType type, Algorithm algorithm) {
    return GauntProduct.builder(d[0], d[1], d[2]).type(type).tier(file.tier()).algorithm(algorithm);
  }

  private void plain(GauntProduct product, String key) throws IOException {
    DType type = product.type();
    Tensor out = file.likeChannelsLast(key, type);
    product.multiply(file.channelsLast("x1", type), file.channelsLast("x2", type), out);
    file.compareChannelsLast(key, product.algorithm().toString(), out);
  }

  private void weighted(GauntProduct product) throws IOException {
    DType type = product.type();
    Tensor x1 = file.channelsLast("x1", type);
    Tensor x2 = file.channelsLast("x2", type);
    ProductWeights weights =
        new ProductWeights(
            file.transposed("w1", type), file.transposed("w2", type), file.transposed("w3", type));
    String how = product.algorithm().toString();
    try (GauntWorkspace workspace = new GauntWorkspace()) {
      Tensor out = file.likeChannelsLast("out_w", type);
      product.multiply(x1, x2, weights, out, workspace);
      file.compareChannelsLast("out_w", how, out);
      if (!file.has("g")) {
        return;
      }
      Tensor gx1 = file.likeChannelsLast("x1", type);
      Tensor gx2 = file.likeChannelsLast("x2", type);
      List<Tensor> gw = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        Tensor w = file.transposed("w" + (i + 1), type);
        w.fill(0);
        gw.add(w);
      }
      product.gradients(
          x1,
          x2,
          weights,
          file.channelsLast("g", type),
          new ProductGradients(gx1, gx2, gw.get(0), gw.get(1), gw.get(2)),
          workspace);
      file.compareChannelsLast("gx1", how, gx1);
      file.compareChannelsLast("gx2", how, gx2);
      for (int i = 0; i < 3; i++) {
        file.compare("gw" + (i + 1), how, GoldenTensors.transposed(gw.get(i), file.arena()));
      }
    }
  }

  /** A recorded cross product. */
  void cross() throws IOException {
    int[] d = degrees();
    for (DType type : LayerReplayer.TYPES) {
      CrossProduct product =
          CrossProduct.builder(d[0], d[1], d[2]).type(type).tier(file.tier()).build();
      Tensor x1 = file.channelsLast("x1", type);
      Tensor x2 = file.channelsLast("x2", type);
      try (GauntWorkspace workspace = new GauntWorkspace()) {
        Tensor out = file.likeChannelsLast("out", type);
        product.multiply(x1, x2, ProductWeights.NONE, out, workspace);
        file.compareChannelsLast("out", "cross", out);
        if (file.has("g")) {
          Tensor gx1 = file.likeChannelsLast("x1", type);
          Tensor gx2 = file.likeChannelsLast("x2", type);
          product.gradients(
              x1,
              x2,
              ProductWeights.NONE,
              file.channelsLast("g", type),
              ProductGradients.ofInputs(gx1, gx2),
              workspace);
          file.compareChannelsLast("gx1", "cross", gx1);
          file.compareChannelsLast("gx2", "cross", gx2);
        }
      }
    }
  }

  /** A product recorded in binary32, beside the exact one. */
  void official() throws IOException {
    file.requireRank(3, "x1", "x2", "out_exact", "out_official");
    int degree3 = file.degree("out_exact");
    int[] d = {file.degree("x1"), file.degree("x2"), degree3};
    for (DType type : LayerReplayer.TYPES) {
      for (Algorithm algorithm : algorithms(d)) {
        GauntProduct product = builder(d, type, algorithm).build();
        Tensor out = file.likeChannelsLast("out_exact", type);
        product.multiply(file.channelsLast("x1", type), file.channelsLast("x2", type), out);
        file.compareChannelsLast("out_exact", algorithm.toString(), out);
        file.compareFrobenius("out_official", algorithm.toString(), out);
      }
    }
  }

  /** A product that e3nn recorded, in its flat layout. */
  void flat(int[] d) throws IOException {
    for (DType type : LayerReplayer.TYPES) {
      for (Algorithm algorithm : algorithms(d)) {
        Tensor out = file.like("out", type);
        builder(d, type, algorithm)
            .layout(Layout.MUL_IR)
            .build()
            .multiply(file.plain("x1", type), file.plain("x2", type), out);
        file.compare("out", algorithm + " " + Layout.MUL_IR, out);
      }
    }
  }
}

package org.quern.gaunt;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.List;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Replays recorded convolutions and many-body products. */
final class LayerReplayer {
  /** Element types that everything is replayed in. */
  static final List<DType> TYPES = List.of(DType.F64, DType.F32);

  /** Powers cost digits in binary32. */
  private static final double POWER_TOLERANCE_F32 = 1e-5;

  private final GoldenTensors file;

  LayerReplayer(GoldenTensors file) {
    this.file = file;
  }

  void convolution() throws IOException {
    file.requireRank(1, "src", "dst");
    file.requireRank(2, "h", "a", "gh", "ga");
    file.requireRank(3, "x", "out", "g", "gx");
    file.requireShape("r", -1, 3);
    for (DType type : TYPES) {
      Tensor x = file.channelsLast("x", type);
      Tensor h = file.plain("h", type);
      Tensor a = file.has("a") ? file.plain("a", type) : null;
      ConvolutionInputs in = new ConvolutionInputs(x, file.plain("r", type), h, a);
      Edges edges = Edges.of(Math.toIntExact(x.dim(0)), file.ints("src"), file.ints("dst"));
      Tensor out = file.likeChannelsLast("out", type);
      for (GauntConvolution.Form form : GauntConvolution.Form.values()) {
        GauntConvolution convolution =
            GauntConvolution.builder(
                    file.degree("x"), Math.toIntExact(h.dim(1)) - 1, file.degree("out"))
                .channels(Math.toIntExact(x.dim(2)))
                .type(type)
                .form(form)
                .tier(file.tier())
                .build();
        try (LayerWorkspace workspace = new LayerWorkspace()) {
          convolution.forward(edges, in, out, workspace);
          file.compareChannelsLast("out", form.toString(), out);
          if (file.has("g")) {
            gradients(convolution, edges, in, form.toString(), workspace);
          }
        }
      }
    }
  }

  private void gradients(
      GauntConvolution convolution,
      Edges edges,
      ConvolutionInputs in,
      String how,
      LayerWorkspace workspace)
      throws IOException {
    DType type = in.x().type();
    Tensor gx = file.likeChannelsLast("x", type);
    Tensor gr = file.like("r", type);
    Tensor gh = file.like("h", type);
    Tensor ga = in.a() == null ? null : file.like("a", type);
    convolution.backward(
        edges,
        in,
        file.channelsLast("g", type),
        new ConvolutionGradients(gx, gr, gh, ga),
        workspace);
    file.compareChannelsLast("gx", how, gx);
    file.compare("gr", how, gr);
    file.compare("gh", how, gh);
    if (ga != null) {
      file.compare("ga", how, ga);
    }
  }

  void manyBody() throws IOException {
    file.requireRank(1, "species");
    file.requireRank(3, "x", "out", "g", "gx");
    file.requireRank(4, "W", "gW");
    int[] species = file.ints("species");
    boolean official = file.has("out_official");
    for (DType type : TYPES) {
      Tensor x = file.channelsLast("x", type);
      Tensor w = file.plain("W", type);
      int degreeOut = Math.toIntExact(w.dim(3)) - 1;
      int channels = Math.toIntExact(x.dim(2));
      ManyBodyProduct product =
          ManyBodyProduct.builder(file.degree("x"), Math.toIntExact(w.dim(0)), degreeOut)
              .channels(channels)
              .species(Math.toIntExact(w.dim(1)))
              .type(type)
              .tier(file.tier())
              .build();
      int components = (degreeOut + 1) * (degreeOut + 1);
      Tensor out = Tensor.allocate(file.arena(), type, x.dim(0), components, channels);
      double tolerance = type == DType.F64 ? GoldenTensors.tolerance(type) : POWER_TOLERANCE_F32;
      try (LayerWorkspace workspace = new LayerWorkspace()) {
        product.forward(x, species, w, out, workspace);
        if (official) {
          Tensor flat = byDegree(out, file.arena());
          file.compare("out_exact", "powers", flat, tolerance);
          file.compare("out_official", "powers", flat, POWER_TOLERANCE_F32);
        }
        if (file.has("out")) {
          file.compare("out", "powers", GoldenTensors.exchanged(out, file.arena()), tolerance);
        }
        if (file.has("g")) {
          Tensor gx = file.likeChannelsLast("x", type);
          Tensor gw = file.like("W", type);
          product.backward(x, species, w, file.channelsLast("g", type), gx, gw, workspace);
          file.compare("gx", "powers", GoldenTensors.exchanged(gx, file.arena()), tolerance);
          file.compare("gW", "powers", gw, tolerance);
        }
      }
    }
  }

  /** e3nn's flat order: by row the degrees, in each [channels, 2l+1]. */
  static Tensor byDegree(Tensor tensor, Arena arena) {
    long components = tensor.dim(1);
    long channels = tensor.dim(2);
    Tensor flat = Tensor.allocate(arena, tensor.type(), tensor.dim(0), components * channels);
    for (long b = 0; b < tensor.dim(0); b++) {
      for (long i = 0; i < components; i++) {
        int l = degreeOf(i);
        for (long c = 0; c < channels; c++) {
          long at = (long) l * l * channels + c * (2L * l + 1) + i - (long) l * l;
          flat.setDouble(tensor.getDouble(b, i, c), b, at);
        }
      }
    }
    return flat;
  }

  /** Degree of a component. */
  static int degreeOf(long component) {
    return (int) Math.sqrt((double) component);
  }
}

package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** A recorded run of the released optimizer. */
final class Trajectory {
  private static final Path GOLDEN = Path.of("..", "shared", "golden", "mkor");

  final JsonObject description;
  final int layers;
  final int steps;
  private final Map<String, Tensor> tensors = new HashMap<>();

  Trajectory(String name, Arena arena) throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(GOLDEN.resolve(name + ".safetensors"))) {
      description = JsonParser.parseString(file.metadata().get("case")).getAsJsonObject();
      for (SafetensorsEntry entry : file.entries()) {
        Tensor tensor = file.load(entry.name(), arena);
        tensors.put(
            entry.name(), tensor.type() == DType.F16 ? tensor.to(DType.F32, arena) : tensor);
      }
    }
    JsonArray list = description.getAsJsonArray("layers");
    layers = list != null ? list.size() : description.getAsJsonArray("dims").size() - 1;
    steps = description.get("steps").getAsInt();
  }

  static boolean present() {
    return Files.isDirectory(GOLDEN);
  }

  @Nullable Tensor find(String name) {
    return tensors.get(name);
  }

  Tensor get(String name) {
    Tensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException(name + ": not in the file");
    }
    return tensor;
  }

  /** A tensor of a layer at a step. */
  @Nullable Tensor find(int step, int layer, String name) {
    return tensors.get("s" + step + ".l" + layer + "." + name);
  }

  Tensor get(int step, int layer, String name) {
    return get("s" + step + ".l" + layer + "." + name);
  }

  boolean hasBias(int layer) {
    return find(0, layer, "db") != null;
  }

  boolean isFirstOrder(int layer) {
    JsonArray list = description.getAsJsonArray("layers");
    return list != null && list.get(layer).getAsJsonObject().get("first_order").getAsBoolean();
  }

  /** The settings of the run. */
  MkorBuilder builder() {
    JsonObject arguments = description.getAsJsonObject("backend_args");
    double decay = arguments.has("weight_decay") ? arguments.get("weight_decay").getAsDouble() : 0;
    double momentum = arguments.has("momentum") ? arguments.get("momentum").getAsDouble() : 0;
    MkorBuilder builder =
        Mkor.builder()
            .gamma(description.get("gamma").getAsDouble())
            .refreshEvery(description.get("inv_freq").getAsLong())
            .warmup(description.get("warmup_steps").getAsLong())
            .backEnd(
                switch (description.get("backend").getAsString()) {
                  case "sgd" -> new Sgd(momentum, decay, false);
                  case "adam" -> new Adam(decay);
                  case "lamb" -> new Lamb(decay);
                  case String other -> throw new IllegalArgumentException(other);
                });
    if (description.has("clip")) {
      builder.clip(description.get("clip").getAsDouble());
    }
    for (int i = 0; i < layers; i++) {
      if (isFirstOrder(i)) {
        builder.exclude("^l" + i + "$");
      }
    }
    return builder;
  }

  double learningRate() {
    return description.getAsJsonObject("backend_args").get("lr").getAsDouble();
  }

  /** The layers of the run, named l0, l1 and so on. */
  void addLayers(Mkor mkor) {
    for (int i = 0; i < layers; i++) {
      Tensor dw = get(0, i, "dw");
      int out = (int) dw.dim(0);
      mkor.layer("l" + i, out, (int) (dw.size() / out), hasBias(i));
    }
  }

  /** Greatest difference, relative to the greatest magnitude of {@code want}. */
  static double difference(Tensor want, Tensor got) {
    double[] x = want.toDoubleArray();
    double[] y = got.toDoubleArray();
    assertEquals(x.length, y.length);
    double max = 0;
    double difference = 0;
    for (int i = 0; i < x.length; i++) {
      max = Math.max(max, Math.abs(x[i]));
      double distance = Math.abs(x[i] - y[i]);
      difference =
          Double.isNaN(distance) ? Double.POSITIVE_INFINITY : Math.max(difference, distance);
    }
    return max == 0 ? difference : difference / max;
  }
}

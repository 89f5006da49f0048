package org.quern.kronecker.optim;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsWriter;
import org.quern.kronecker.InverseFactor;
import org.quern.tensor.Tensor;

/**
 * The state of an optimizer as a safetensors file, version 1. Metadata: the version, every setting
 * on which results depend, and a line for each layer. Tensors, with LAYER for its name: {@code run}
 * (I64: step, first order), {@code policy} (F64), and {@code LAYER/counters} (I64), {@code
 * LAYER/left.KEY}, {@code LAYER/right.KEY} as {@link InverseFactor#state} names them, {@code
 * LAYER/weight.N}, {@code LAYER/bias.N} for the moments.
 */
final class MkorCheckpoint {
  private static final String VERSION = "1";
  private static final String VERSION_KEY = "mkor.version";
  private static final String LAYER_KEY = "layer.";
  private static final String RUN = "run";
  private static final String POLICY = "policy";

  private final Mkor mkor;
  private final Settings settings;

  MkorCheckpoint(Mkor mkor, Settings settings) {
    this.mkor = mkor;
    this.settings = settings;
  }

  private Map<String, String> metadata() {
    Map<String, String> metadata = new LinkedHashMap<>();
    metadata.put(VERSION_KEY, VERSION);
    metadata.put("rule", settings.rule().name());
    metadata.put("gamma", Double.toString(settings.gamma()));
    metadata.put(
        "schedule",
        settings.schedule() instanceof RefreshSchedule.Periodic periodic
            ? periodic.toString()
            : "custom");
    metadata.put("rescale", settings.rescale().name());
    metadata.put("clip", Float.toString(settings.clip()));
    metadata.put("applyFirst", Boolean.toString(settings.applyFirst()));
    metadata.put("stabilizer", settings.stabilizer().toString());
    metadata.put("damping", Double.toString(settings.damping()));
    metadata.put("klClip", Double.toString(settings.klClip()));
    metadata.put("backEnd", settings.backEnd().toString());
    metadata.put("accumulation", settings.accumulation() + " of " + settings.microBatches());
    metadata.put("gradientMeans", Boolean.toString(settings.gradientMeans()));
    SwitchPolicy policy = settings.switchPolicy();
    metadata.put("switchPolicy", policy == null ? "none" : policy.getClass().getName());
    for (MkorLayer layer : mkor.layers()) {
      metadata.put(LAYER_KEY + layer.name(), layer.description());
    }
    return metadata;
  }

  void save(Path file) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      long[] run = {mkor.stepNumber(), mkor.isFirstOrder() ? 1 : 0};
      tensors.put(RUN, Tensor.copyOf(arena, run, run.length));
      SwitchPolicy policy = settings.switchPolicy();
      if (policy != null) {
        double[] state = policy.state();
        tensors.put(POLICY, Tensor.copyOf(arena, state, state.length));
      }
      for (MkorLayer layer : mkor.layers()) {
        mkor.allocate(layer);
        long[] counters = counters(layer);
        tensors.put(layer.name() + "/counters", Tensor.copyOf(arena, counters, counters.length));
        Factors factors = layer.factors();
        if (factors != null) {
          String prefix = layer.name() + "/";
          factors
              .left
              .state(arena)
              .forEach((key, tensor) -> tensors.put(prefix + "left." + key, tensor));
          factors
              .right
              .state(arena)
              .forEach((key, tensor) -> tensors.put(prefix + "right." + key, tensor));
        }
        moments(layer, tensors::put);
      }
      SafetensorsWriter.write(file, tensors, metadata());
    }
  }

  private static long[] counters(MkorLayer layer) {
    long[] counters = layer.counters().toArray();
    long[] all = Arrays.copyOf(counters, counters.length + 2);
    Factors factors = layer.factors();
    all[counters.length] = factors == null || factors.fresh ? 1 : 0;
    all[counters.length + 1] = layer.count();
    return all;
  }

  private static void moments(MkorLayer layer, BiConsumer<String, Tensor> consumer) {
    moments(layer.name() + "/weight.", layer.weightUpdate(), consumer);
    moments(layer.name() + "/bias.", layer.biasUpdate(), consumer);
  }

  private static void moments(
      String prefix, @Nullable ParameterUpdate update, BiConsumer<String, Tensor> consumer) {
    List<Tensor> tensors = update == null ? List.of() : update.moments();
    for (int i = 0; i < tensors.size(); i++) {
      consumer.accept(prefix + i, tensors.get(i));
    }
  }

  void load(Path path) throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(path);
        Arena arena = Arena.ofConfined()) {
      checkMetadata(path, file.metadata());
      Map<String, Tensor> tensors = new HashMap<>();
      for (SafetensorsEntry entry : file.entries()) {
        tensors.put(entry.name(), file.load(entry.name(), arena));
      }
      Tensor run = get(path, tensors, RUN, 2);
      boolean firstOrder = run.getLong(1) != 0;
      if (mkor.isFirstOrder() && !firstOrder) {
        throw new FormatException(
            path.toString(), "expected a run without factors, as this one is, got one with them");
      }
      for (MkorLayer layer : mkor.layers()) {
        check(path, tensors, layer, firstOrder);
      }
      if (firstOrder) {
        mkor.switchToFirstOrder();
      }
      SwitchPolicy policy = settings.switchPolicy();
      if (policy != null) {
        policy.restore(get(path, tensors, POLICY, policy.state().length).toDoubleArray());
      }
      for (MkorLayer layer : mkor.layers()) {
        restore(path, tensors, layer);
      }
      mkor.stepNumber(run.getLong(0));
    }
  }

  private void checkMetadata(Path path, Map<String, String> saved) throws FormatException {
    String version = saved.get(VERSION_KEY);
    if (!VERSION.equals(version)) {
      throw new FormatException(
          path.toString(),
          VERSION_KEY
              + ": expected "
              + VERSION
              + ", got "
              + (version == null ? "none: not the state of an optimizer" : version));
    }
    Map<String, String> expected = metadata();
    for (Map.Entry<String, String> entry : expected.entrySet()) {
      String value = saved.get(entry.getKey());
      if (!entry.getValue().equals(value)) {
        throw new FormatException(
            path.toString(), entry.getKey() + ": expected " + entry.getValue() + ", got " + value);
      }
    }
    for (String key : saved.keySet()) {
      if (!expected.containsKey(key)) {
        throw new FormatException(path.toString(), key + ": expected none, got " + saved.get(key));
      }
    }
  }

  /** Checks all that {@link #restore} takes but the factors, which check themselves. */
  private void check(Path path, Map<String, Tensor> tensors, MkorLayer layer, boolean firstOrder)
      throws FormatException {
    mkor.allocate(layer);
    get(path, tensors, layer.name() + "/counters", counters(layer).length);
    Map<String, Tensor> moments = new LinkedHashMap<>();
    moments(layer, moments::put);
    for (Map.Entry<String, Tensor> moment : moments.entrySet()) {
      Tensor saved = get(path, tensors, moment.getKey(), moment.getValue().size());
      if (saved.type() != moment.getValue().type()) {
        throw new FormatException(
            path.toString(),
            moment.getKey() + ": expected " + moment.getValue() + ", got " + saved);
      }
    }
    if (!firstOrder && layer.factors() != null && part(tensors, layer, "left.").isEmpty()) {
      throw new FormatException(
          path.toString(), "layer " + layer.name() + ": expected factors, found none");
    }
  }

  private static void restore(Path path, Map<String, Tensor> tensors, MkorLayer layer)
      throws FormatException {
    Tensor all = get(path, tensors, layer.name() + "/counters", counters(layer).length);
    long[] counters = new long[(int) all.size()];
    for (int i = 0; i < counters.length; i++) {
      counters[i] = all.getLong(i);
    }
    layer.counters().set(counters);
    layer.count(counters[counters.length - 1]);
    Factors factors = layer.factors();
    if (factors != null) {
      factors.fresh = counters[counters.length - 2] != 0;
      try {
        factors.left.restore(part(tensors, layer, "left."));
        factors.right.restore(part(tensors, layer, "right."));
      } catch (IllegalArgumentException e) {
        throw new FormatException(path.toString(), "layer " + layer.name() + ": " + e.getMessage());
      }
    }
    moments(
        layer,
        (key, tensor) -> {
          Tensor saved = tensors.get(key);
          if (saved != null) {
            tensor.memory().copyFrom(saved.memory().asSlice(0, tensor.memory().byteSize()));
          }
        });
  }

  private static Map<String, Tensor> part(
      Map<String, Tensor> tensors, MkorLayer layer, String side) {
    String prefix = layer.name() + "/" + side;
    Map<String, Tensor> part = new HashMap<>();
    tensors.forEach((key, tensor) -> {
      if (key.startsWith(prefix)) {
        part.put(key.substring(prefix.length()), tensor);
      }
    });
    return part;
  }

  private static Tensor get(Path path, Map<String, Tensor> tensors, String name, long size)
      throws FormatException {
    Tensor tensor = tensors.get(name);
    if (tensor == null || tensor.size() != size) {
      throw new FormatException(
          path.toString(),
          name
              + ": expected "
              + size
              + " elements, "
              + (tensor == null ? "found no tensor" : "got " + tensor));
    }
    return tensor;
  }
}

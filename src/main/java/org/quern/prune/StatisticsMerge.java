package org.quern.prune;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsHeader;
import org.quern.io.SafetensorsWriter;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Joins statistics files. With N_p samples in part p and N in all, a mean of squares becomes {@code
 * sum N_p / N v_p}, an official l1 {@code sum v_p} and l2 {@code sqrt(sum v_p^2)}, and those per
 * mean {@code sum N_p / N v_p} and {@code sqrt(sum N_p / N v_p^2)}.
 */
final class StatisticsMerge {
  /** Elements joined at a time. */
  private static final int CHUNK = 1 << 18;

  private StatisticsMerge() {}

  /** An open file and where its samples come from. */
  private record Part(SafetensorsFile file, StatisticsOrigin origin) {
    @Override
    public String toString() {
      return file.path().toString();
    }
  }

  /** How values of parts are joined. */
  private enum Join {
    SUM,
    ROOT_OF_SQUARES,
    MEAN,
    ROOT_OF_MEAN_SQUARES;

    static Join of(String key, @Nullable GradientScale scale) {
      if (key.endsWith(CalibrationFiles.SCALER_ROW)) {
        return MEAN;
      }
      boolean perMean = scale != null && scale.perMean();
      if (key.endsWith("." + GradientNorm.L1.key())) {
        return perMean ? MEAN : SUM;
      }
      if (key.endsWith("." + GradientNorm.L2.key())) {
        return perMean ? ROOT_OF_MEAN_SQUARES : ROOT_OF_SQUARES;
      }
      throw new IllegalArgumentException(
          "parts: expected statistics MODULE"
              + CalibrationFiles.SCALER_ROW
              + ", MODULE.grad_l1 or MODULE.grad_l2, got '"
              + key
              + "'");
    }

    boolean ofSquares() {
      return this == ROOT_OF_SQUARES || this == ROOT_OF_MEAN_SQUARES;
    }

    boolean weighted() {
      return this == MEAN || this == ROOT_OF_MEAN_SQUARES;
    }
  }

  static void run(List<Path> paths, Path destination) throws IOException {
    if (paths.isEmpty()) {
      throw new IllegalArgumentException("parts: expected files, got none");
    }
    List<Part> parts = new ArrayList<>();
    try {
      for (Path path : paths) {
        SafetensorsFile file = SafetensorsFile.open(path);
        try {
          parts.add(new Part(file, StatisticsOrigin.of(file)));
        } catch (IOException | RuntimeException e) {
          file.close();
          throw e;
        }
      }
      Map<String, List<Part>> holders = holders(parts);
      StatisticsOrigin origin = origin(parts, holders);
      SafetensorsHeader.Builder header = SafetensorsHeader.builder().metadata(origin.metadata());
      for (Map.Entry<String, List<Part>> each : holders.entrySet()) {
        header.add(
            each.getKey(),
            type(each.getKey(), each.getValue()),
            shape(each.getValue(), each.getKey()));
      }
      try (SafetensorsWriter writer = SafetensorsWriter.create(destination, header.build())) {
        for (Map.Entry<String, List<Part>> each : holders.entrySet()) {
          join(each.getKey(), each.getValue(), origin, writer);
        }
        writer.commit();
      }
    } finally {
      for (Part part : parts) {
        part.file.close();
      }
    }
  }

  /** The parts that have each statistic, by their samples. */
  private static Map<String, List<Part>> holders(List<Part> parts) {
    Map<String, List<Part>> holders = new LinkedHashMap<>();
    parts.stream()
        .sorted(Comparator.comparingLong(part -> part.origin.firstSample()))
        .forEach(part -> {
          for (SafetensorsEntry entry : part.file.entries()) {
            holders.computeIfAbsent(entry.name(), key -> new ArrayList<>()).add(part);
          }
        });
    if (holders.isEmpty()) {
      throw new IllegalArgumentException("parts: expected statistics in them, got none");
    }
    return holders;
  }

  /** The origin of the joined statistics, which every one of them must agree on. */
  private static StatisticsOrigin origin(List<Part> parts, Map<String, List<Part>> holders) {
    StatisticsOrigin first = parts.getFirst().origin;
    GradientScale scale = null;
    for (Part part : parts) {
      if (!part.origin.source().equals(first.source())) {
        throw new IllegalArgumentException(
            part
                + ": expected the source '"
                + first.source()
                + "', got '"
                + part.origin.source()
                + "'");
      }
      if (scale != null && part.origin.scale() != null && !scale.equals(part.origin.scale())) {
        throw new IllegalArgumentException(
            part + ": expected the scale " + scale + ", got " + part.origin.scale());
      }
      scale = scale == null ? part.origin.scale() : scale;
    }
    StatisticsOrigin common = null;
    for (Map.Entry<String, List<Part>> each : holders.entrySet()) {
      StatisticsOrigin joined = samples(each.getKey(), each.getValue(), first.source(), scale);
      if (common != null && !common.equals(joined)) {
        throw new IllegalArgumentException(
            "parts: expected "
                + each.getKey()
                + " of the samples and tokens of "
                + holders.keySet().iterator().next()
                + ", "
                + describe(common)
                + ", got "
                + describe(joined));
      }
      common = joined;
    }
    return Objects.requireNonNull(common);
  }

  private static String describe(StatisticsOrigin origin) {
    return "samples "
        + origin.firstSample()
        + " to "
        + (origin.firstSample() + origin.samples() - 1)
        + " with "
        + origin.tokens()
        + " tokens";
  }

  private static StatisticsOrigin samples(
      String key, List<Part> parts, String source, @Nullable GradientScale scale) {
    long from = parts.getFirst().origin.firstSample();
    long next = from;
    long tokens = 0;
    for (Part part : parts) {
      if (part.origin.firstSample() != next) {
        throw new IllegalArgumentException(
            part
                + ": "
                + key
                + ": expected samples from "
                + next
                + " on, got them from "
                + part.origin.firstSample()
                + " on");
      }
      next += part.origin.samples();
      tokens += part.origin.tokens();
    }
    return new StatisticsOrigin(source, from, next - from, tokens, scale);
  }

  private static DType type(String key, List<Part> parts) throws IOException {
    DType type =
        new CalibrationFiles.Source(parts.getFirst().file, parts.getFirst().file.entry(key)).type();
    for (Part part : parts) {
      if (part.file.entry(key).type().type() != type) {
        throw new IllegalArgumentException(
            part + ": " + key + ": expected " + type + ", got " + part.file.entry(key).type());
      }
    }
    return type;
  }

  private static long[] shape(List<Part> parts, String key) throws IOException {
    long[] shape = parts.getFirst().file.entry(key).shape();
    for (Part part : parts) {
      if (!Arrays.equals(part.file.entry(key).shape(), shape)) {
        throw new IllegalArgumentException(
            part
                + ": "
                + key
                + ": expected shape "
                + Arrays.toString(shape)
                + ", got "
                + Arrays.toString(part.file.entry(key).shape()));
      }
    }
    return shape;
  }

  private static void join(
      String key, List<Part> parts, StatisticsOrigin origin, SafetensorsWriter writer)
      throws IOException {
    SafetensorsEntry entry = parts.getFirst().file.entry(key);
    DType type = Objects.requireNonNull(entry.type().type());
    Join join = Join.of(key, origin.scale());
    long size = entry.bytes() / type.bytes();
    for (long from = 0; from < size; from += CHUNK) {
      int n = (int) Math.min(CHUNK, size - from);
      try (Arena arena = Arena.ofConfined()) {
        double[] joined = new double[n];
        for (Part part : parts) {
          double weight = join.weighted() ? (double) part.origin.samples() / origin.samples() : 1;
          Tensor read = Tensor.allocate(arena, type, n);
          part.file.read(
              key, from * type.bytes(), read.memory().asSlice(0, (long) n * type.bytes()));
          float[] values = read.toFloatArray();
          for (int i = 0; i < n; i++) {
            double value = values[i];
            joined[i] += weight * (join.ofSquares() ? value * value : value);
          }
        }
        float[] rounded = new float[n];
        for (int i = 0; i < n; i++) {
          rounded[i] = (float) (join.ofSquares() ? Math.sqrt(joined[i]) : joined[i]);
        }
        Tensor values = Tensor.copyOf(arena, rounded, n).to(type, arena);
        requireFinite(key, values, from);
        MemorySegment bytes = values.memory().asSlice(0, (long) n * type.bytes());
        writer.write(key, from * type.bytes(), bytes);
      }
    }
  }

  private static void requireFinite(String key, Tensor values, long from) {
    float[] floats = values.toFloatArray();
    for (int i = 0; i < floats.length; i++) {
      if (!Float.isFinite(floats[i])) {
        throw new IllegalArgumentException(
            key
                + ": expected joined values within "
                + values.type()
                + ", got one beyond it at element "
                + (from + i)
                + "; write the parts as F32 or BF16");
      }
    }
  }
}

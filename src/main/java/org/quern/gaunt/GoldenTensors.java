package org.quern.gaunt;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.family.Replay;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsFile;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** One file of recorded tensors, brought to the layout of the kernels, and comparison with it. */
final class GoldenTensors {
  private static final double TOLERANCE_F64 = 1e-12;
  private static final double TOLERANCE_F32 = 2e-6;

  /** What binary32 costs the other program, and as much again for ours. */
  private static final double OFFICIAL_TOLERANCE = 6e-7;

  private static final String UNIT = "error / largest";

  private final Replay replay;
  private final String name;
  private final SafetensorsFile file;
  private final Arena arena;

  GoldenTensors(Replay replay, String name, SafetensorsFile file, Arena arena) {
    this.replay = replay;
    this.name = name;
    this.file = file;
    this.arena = arena;
  }

  void claim() {
    replay.claim(name);
  }

  Tier tier() {
    return replay.tier();
  }

  Arena arena() {
    return arena;
  }

  Set<String> keys() {
    return GauntReplayer.keys(file);
  }

  Map<String, String> metadata() {
    return file.metadata();
  }

  boolean has(String key) {
    return keys().contains(key);
  }

  /** A tensor as it is stored, in an element type. */
  Tensor plain(String key, DType type) throws IOException {
    return file.load(key, arena).to(type, arena);
  }

  /** Whole numbers. */
  int[] ints(String key) throws IOException {
    Tensor tensor = file.load(key, arena);
    int[] values = new int[Math.toIntExact(tensor.size())];
    for (int i = 0; i < values.length; i++) {
      values[i] = Math.toIntExact(tensor.getLong(i));
    }
    return values;
  }

  /** A tensor [items, channels, components] as [items, components, channels]. */
  Tensor channelsLast(String key, DType type) throws IOException {
    return exchanged(plain(key, type), arena);
  }

  /** The tensor with its last two dimensions of three exchanged. */
  static Tensor exchanged(Tensor tensor, Arena arena) {
    Tensor result =
        Tensor.allocate(arena, tensor.type(), tensor.dim(0), tensor.dim(2), tensor.dim(1));
    for (long b = 0; b < tensor.dim(0); b++) {
      for (long i = 0; i < tensor.dim(1); i++) {
        for (long j = 0; j < tensor.dim(2); j++) {
          result.setDouble(tensor.getDouble(b, i, j), b, j, i);
        }
      }
    }
    return result;
  }

  /** A matrix with its dimensions exchanged. */
  Tensor transposed(String key, DType type) throws IOException {
    return transposed(plain(key, type), arena);
  }

  /** The matrix with its dimensions exchanged. */
  static Tensor transposed(Tensor tensor, Arena arena) {
    Tensor result = Tensor.allocate(arena, tensor.type(), tensor.dim(1), tensor.dim(0));
    for (long i = 0; i < tensor.dim(0); i++) {
      for (long j = 0; j < tensor.dim(1); j++) {
        result.setDouble(tensor.getDouble(i, j), j, i);
      }
    }
    return result;
  }

  /** Some rows of a recorded matrix. */
  Tensor rows(String key, DType type, int[] rows) throws IOException {
    Tensor all = plain(key, type);
    Tensor result = Tensor.allocate(arena, type, rows.length, all.dim(1));
    for (int row = 0; row < rows.length; row++) {
      for (long j = 0; j < all.dim(1); j++) {
        result.setDouble(all.getDouble(rows[row], j), row, j);
      }
    }
    return result;
  }

  /** Records the distance of a result from some items of a recorded tensor. */
  void compareRows(String key, String how, Tensor got, int[] rows) throws IOException {
    double[] all = file.load(key, arena).toDoubleArray();
    int item = Math.toIntExact(got.size() / Math.max(1, got.dim(0)));
    double[] expected = new double[rows.length * item];
    for (int row = 0; row < rows.length; row++) {
      System.arraycopy(all, rows[row] * item, expected, row * item, item);
    }
    record(
        key + ": " + how + ", " + got.type(),
        distance(got.toDoubleArray(), expected),
        tolerance(got.type()),
        UNIT);
  }

  /** Checks the shape of a tensor where the file has it; an extent of -1 stands for any. */
  void requireShape(String key, long... shape) throws IOException {
    if (has(key)) {
      file.requireShape(key, shape);
    }
  }

  /** Checks the number of dimensions of those of the tensors that the file has. */
  void requireRank(int rank, String... keys) throws IOException {
    long[] any = new long[rank];
    Arrays.fill(any, -1);
    for (String key : keys) {
      requireShape(key, any);
    }
  }

  /** The highest degree of a tensor whose last dimension are components. */
  int degree(String key) throws IOException {
    return degree(key, file.entry(key).shape().length - 1);
  }

  /** The highest degree of a tensor, one of whose dimensions are components. */
  int degree(String key, int dimension) throws IOException {
    long[] shape = file.entry(key).shape();
    long components = dimension < 0 ? 1 : shape[dimension];
    int degree = (int) Math.round(Math.sqrt((double) components)) - 1;
    if ((degree + 1L) * (degree + 1) != components) {
      throw error("tensor \"" + key + "\": expected (L + 1)^2 components, got " + components);
    }
    return degree;
  }

  /** An error that names the file. */
  FormatException error(@Nullable String message) {
    return new FormatException(file.path().toString(), String.valueOf(message));
  }

  /** Zeros of the shape that the channels-last form of a recorded tensor has. */
  Tensor likeChannelsLast(String key, DType type) throws IOException {
    long[] shape = file.entry(key).shape();
    return Tensor.allocate(arena, type, shape[0], shape[2], shape[1]);
  }

  /** Zeros of the shape of a recorded tensor. */
  Tensor like(String key, DType type) throws IOException {
    return Tensor.allocate(arena, type, file.entry(key).shape());
  }

  /** Records the distance of a result, channels last, from a recorded tensor. */
  void compareChannelsLast(String key, String how, Tensor got) throws IOException {
    compare(key, how, exchanged(got, arena), tolerance(got.type()));
  }

  /** Records the distance of a result from a recorded tensor. */
  void compare(String key, String how, Tensor got) throws IOException {
    compare(key, how, got, tolerance(got.type()));
  }

  /** Records the distance of a result from a recorded tensor. */
  void compare(String key, String how, Tensor got, double tolerance) throws IOException {
    double[] expected = file.load(key, arena).toDoubleArray();
    record(
        key + ": " + how + ", " + got.type(),
        distance(got.toDoubleArray(), expected),
        tolerance,
        UNIT);
  }

  /**
   * Records the distance, in the root mean square, of a result, channels last, from a tensor that
   * another program computed in binary32.
   */
  void compareFrobenius(String key, String how, Tensor got) throws IOException {
    double[] values = exchanged(got, arena).toDoubleArray();
    double[] expected = file.load(key, arena).toDoubleArray();
    double error = values.length == expected.length ? 0 : Double.NaN;
    double size = 0;
    for (int i = 0; i < expected.length && !Double.isNaN(error); i++) {
      error += (values[i] - expected[i]) * (values[i] - expected[i]);
      size += expected[i] * expected[i];
    }
    record(
        key + ": " + how + ", " + got.type(),
        Math.sqrt(error / size),
        OFFICIAL_TOLERANCE,
        "relative error");
  }

  /** Records an outcome of another kind. */
  void record(String what, double worst, double tolerance, String unit) {
    replay.record(name, what, worst, tolerance, unit);
  }

  /** The tolerance of a product in an element type. */
  static double tolerance(DType type) {
    return type == DType.F64 ? TOLERANCE_F64 : TOLERANCE_F32;
  }

  /** Largest distance over the largest expected value; NaN where there is nothing to compare. */
  static double distance(double[] got, double[] expected) {
    if (got.length != expected.length || got.length == 0) {
      return Double.NaN;
    }
    double worst = 0;
    double largest = 0;
    for (int i = 0; i < got.length; i++) {
      // The maximum of a NaN and anything is NaN.
      worst = Math.max(worst, Math.abs(got[i] - expected[i]));
      largest = Math.max(largest, Math.abs(expected[i]));
    }
    return worst == 0 ? 0 : worst / largest;
  }
}

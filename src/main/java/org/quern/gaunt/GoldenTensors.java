package org.quern.gaunt;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.Map;
import java.util.Set;
import org.quern.family.Replay;
import org.quern.io.SafetensorsFile;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** One file of recorded tensors, brought to the layout of the kernels, and comparison with it. */
final class GoldenTensors {
  private static final double TOLERANCE_F64 = 1e-12;
  private static final double TOLERANCE_F32 = 2e-6;
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
    replay.record(
        name,
        key + ": " + how + ", " + got.type(),
        distance(got.toDoubleArray(), expected),
        tolerance,
        UNIT);
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

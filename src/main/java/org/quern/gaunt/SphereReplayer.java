package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Replays recorded harmonics and Fourier series. */
final class SphereReplayer {
  /** Outside of these lengths binary32 has no vector with the recorded direction. */
  private static final double SHORTEST = 1e-30;

  private static final double LONGEST = 1e30;

  private final GoldenTensors file;

  SphereReplayer(GoldenTensors file) {
    this.file = file;
  }

  /** Harmonics and their gradients. */
  void harmonics() throws IOException {
    file.requireShape("xyz", -1, 3);
    file.requireRank(2, "Y");
    file.requireShape("grad_xyz", -1, 3);
    file.requireShape("grad", -1, -1, 3);
    for (DType type : LayerReplayer.TYPES) {
      int[] rows = rows(file.plain("xyz", DType.F64), type);
      SphericalHarmonics harmonics = SphericalHarmonics.builder(file.degree("Y")).build();
      Tensor out = Tensor.allocate(file.arena(), type, rows.length, harmonics.components());
      harmonics.values(file.rows("xyz", type, rows), out);
      file.compareRows("Y", "values", out, rows);
      if (file.has("grad_xyz") && file.has("grad")) {
        gradients(type);
      }
    }
  }

  private void gradients(DType type) throws IOException {
    int[] rows = rows(file.plain("grad_xyz", DType.F64), type);
    SphericalHarmonics harmonics = SphericalHarmonics.builder(file.degree("grad", 1)).build();
    Tensor out = Tensor.allocate(file.arena(), type, rows.length, harmonics.components(), 3);
    harmonics.jacobian(file.rows("grad_xyz", type, rows), out);
    file.compareRows("grad", "jacobian", out, rows);
  }

  /** The vectors whose length a type can hold. */
  private static int[] rows(Tensor xyz, DType type) {
    List<Integer> rows = new ArrayList<>();
    for (int row = 0; row < xyz.dim(0); row++) {
      double largest = 0;
      for (int axis = 0; axis < 3; axis++) {
        largest = Math.max(largest, Math.abs(xyz.getDouble(row, axis)));
      }
      if (type == DType.F64 || (largest >= SHORTEST && largest <= LONGEST)) {
        rows.add(row);
      }
    }
    return rows.stream().mapToInt(Integer::intValue).toArray();
  }

  /** The tables and the steps of the route by Fourier series. */
  void fourier() throws IOException {
    file.requireRank(1, "x1", "x2", "out");
    file.requireShape("sh2f", -1, -1, -1, 2, 2);
    file.requireShape("f2sh", -1, -1, -1, 2, 2);
    for (String key : List.of("F1", "F2", "F12")) {
      file.requireShape(key, -1, -1, 2);
    }
    Tensor x1 = file.plain("x1", DType.F64);
    Tensor x2 = file.plain("x2", DType.F64);
    int degree1 = file.degree("x1");
    int degree2 = file.degree("x2");
    int degree3 = file.degree("out");
    tables("sh2f", true);
    tables("f2sh", false);
    double[][] ones = {ones(degree1), ones(degree2), ones(degree3)};
    FourierProduct product =
        new FourierProduct(
            new TrilinearForm(new int[] {degree1, degree2, degree3}, ones), DType.F64);
    MemorySegment scratch = file.arena().allocate(product.scratchBytes(), Tensor.ALIGNMENT);
    for (String key : List.of("F1", "F2", "F12")) {
      if (file.has(key)) {
        spectrum(product, key, x1, x2, scratch);
      }
    }
    Tensor out = file.like("out", DType.F64);
    Tensor first = tile(x1);
    Tensor second = tile(x2);
    Tensor third = tile(out);
    long step = third.rowStride() * Double.BYTES;
    product.contract(
        2, first.memory(), 0, step, second.memory(), 0, step, third.memory(), 0, step, scratch);
    for (long i = 0; i < out.size(); i++) {
      out.setDouble(third.getDouble(i, 0), i);
    }
    file.compare("out", Algorithm.FOURIER.toString(), out);
  }

  private static double[] ones(int degree) {
    double[] ones = new double[degree + 1];
    java.util.Arrays.fill(ones, 1);
    return ones;
  }

  /** Coefficients as the first channel of a tile. */
  private Tensor tile(Tensor x) {
    Tensor tile = Tensor.allocate(file.arena(), DType.F64, x.size(), SampleKernels.LANES);
    for (long i = 0; i < x.size(); i++) {
      tile.setDouble(x.getDouble(i), i, 0);
    }
    return tile;
  }

  /** A table [l, m, u, slot, part], m and u from minus the highest. */
  private void tables(String key, boolean series) throws IOException {
    if (!file.has(key)) {
      return;
    }
    Tensor table = file.like(key, DType.F64);
    int degree = Math.toIntExact(table.dim(0)) - 1;
    int orders = Math.toIntExact(table.dim(1)) / 2;
    int frequencies = Math.toIntExact(table.dim(2)) / 2;
    FourierTables tables = new FourierTables(degree, frequencies);
    for (int l = 0; l <= degree; l++) {
      for (int m = -Math.min(l, orders); m <= Math.min(l, orders); m++) {
        for (int u = -frequencies; u <= frequencies; u++) {
          for (int slot = 0; slot < 2; slot++) {
            double[] pair = series ? tables.series(l, m, u, slot) : tables.integral(l, m, u, slot);
            for (int part = 0; part < 2; part++) {
              table.setDouble(
                  pair[part], offset(table, l, m + orders, u + frequencies, slot, part));
            }
          }
        }
      }
    }
    file.compare(key, "tables", table);
  }

  private static long[] offset(Tensor table, int... index) {
    long[] place = new long[table.rank()];
    java.util.Arrays.setAll(place, i -> index[i]);
    return place;
  }

  /** A spectrum [u, v, part]. */
  private void spectrum(
      FourierProduct product, String key, Tensor x1, Tensor x2, MemorySegment scratch)
      throws IOException {
    Tensor table = file.like(key, DType.F64);
    int bound = Math.toIntExact(table.dim(0)) / 2;
    long step = Double.BYTES;
    int length =
        switch (key) {
          case "F1" -> product.spectrum(2, 0, x1.memory(), 0, step, scratch);
          case "F2" -> product.spectrum(2, 1, x2.memory(), 0, step, scratch);
          default -> product.spectrum(2, x1.memory(), 0, step, x2.memory(), 0, step, scratch);
        };
    for (int u = -bound; u <= bound; u++) {
      for (int v = -bound; v <= bound; v++) {
        long number = 2 * FourierProduct.place(u, v, length);
        for (int part = 0; part < 2; part++) {
          double value = scratch.getAtIndex(JAVA_DOUBLE, number + part);
          table.setDouble(value, (long) u + bound, (long) v + bound, part);
        }
      }
    }
    file.compare(key, "spectrum", table);
  }
}

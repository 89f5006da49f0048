package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.quern.family.Chart;
import org.quern.family.TourContext;
import org.quern.family.TourReport;
import org.quern.family.TourRow;
import org.quern.random.Philox;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Multiplies functions on the sphere: shows two and their product, checks that values multiply, and
 * shows for every degree that turning the inputs turns the product.
 */
final class SphereTour {
  private static final int DEGREE = 6;
  private static final int ROWS = 128;
  private static final int CHANNELS = 64;

  /** Rows that the straightforward way multiplies; its time is scaled. */
  private static final int SAMPLE_ROWS = 8;

  /** Calls until the compiler has had its time, or the time is up. */
  private static final int REPEATS = 40;

  private static final double MOST_SECONDS = 2.5;
  private static final int PLAIN_REPEATS = 7;
  private static final int DIRECTIONS = 200;
  private static final int HIGHEST = 10;
  private static final int PICTURE_HEIGHT = 48;
  private static final long SEED = 20240116;
  private static final double TOLERANCE_F32 = 5e-6;
  private static final double TOLERANCE_F64 = 1e-13;

  private final TourContext context;
  private final List<TourRow> rows = new ArrayList<>();
  private final List<Chart> charts = new ArrayList<>();

  SphereTour(TourContext context) {
    this.context = context;
  }

  TourReport run() {
    try (Arena arena = Arena.ofShared()) {
      context.progress().report("multiplying functions on the sphere", 0, 2);
      multiply(arena);
      context.progress().report("turning functions on the sphere", 1, 2);
      turn(arena);
      context.progress().report("turning functions on the sphere", 2, 2);
    }
    return new TourReport(rows, charts);
  }

  private static int n(int degree) {
    return (degree + 1) * (degree + 1);
  }

  /** Random coefficients that fall with the degree, so that the pictures are smooth. */
  private static Tensor random(Arena arena, DType type, long stream, int degree, long... shape) {
    Philox random = new Philox(SEED, stream);
    Tensor x = Tensor.allocate(arena, type, shape[0], n(degree), shape[1]);
    for (long b = 0; b < shape[0]; b++) {
      for (int i = 0; i < n(degree); i++) {
        for (long c = 0; c < shape[1]; c++) {
          x.setDouble(random.nextGaussian() / (1 + Math.floor(Math.sqrt(i))), b, i, c);
        }
      }
    }
    return x;
  }

  private void multiply(Arena arena) {
    Tensor x = random(arena, DType.F32, 1, DEGREE, ROWS, CHANNELS);
    Tensor y = random(arena, DType.F32, 2, DEGREE, ROWS, CHANNELS);
    Tensor out = Tensor.allocate(arena, DType.F32, ROWS, n(2 * DEGREE), CHANNELS);
    GauntProduct product =
        GauntProduct.builder(DEGREE, DEGREE, 2 * DEGREE).tier(context.tier()).build();
    double seconds = Double.POSITIVE_INFINITY;
    try (GauntWorkspace workspace = new GauntWorkspace()) {
      long first = System.nanoTime();
      for (int i = 0; i < REPEATS && (System.nanoTime() - first) * 1e-9 < MOST_SECONDS; i++) {
        long start = System.nanoTime();
        product.multiply(x, y, ProductWeights.NONE, out, workspace);
        seconds = Math.min(seconds, (System.nanoTime() - start) * 1e-9);
      }
    }
    double plain = plainSeconds(x, y) * ROWS / SAMPLE_ROWS;
    double error = pointwise(arena, x, y, out);
    rows.add(
        new TourRow(
            GauntFamily.NAME,
            String.format(
                Locale.ROOT,
                "%d products (%d, %d -> %d), F32, %s, 1 thread",
                ROWS * CHANNELS,
                DEGREE,
                DEGREE,
                2 * DEGREE,
                product.algorithm()),
            context.tier(),
            seconds,
            plain / seconds,
            "plain Java: sum over the coefficients, " + SAMPLE_ROWS + " rows, scaled",
            String.format(
                Locale.ROOT,
                "values multiply to %.1e; %.0f ns per product",
                error,
                seconds * 1e9 / (ROWS * CHANNELS)),
            error <= TOLERANCE_F32));
    charts.add(picture(arena, "A function on the sphere, degree " + DEGREE, x, DEGREE));
    charts.add(picture(arena, "Another one", y, DEGREE));
    charts.add(picture(arena, "Their product, degree " + 2 * DEGREE, out, 2 * DEGREE));
  }

  private static double plainSeconds(Tensor x, Tensor y) {
    Couplings couplings = GauntCoefficients.table(DEGREE, DEGREE, 2 * DEGREE);
    float[][] first = matrix(x);
    float[][] second = matrix(y);
    double seconds = Double.POSITIVE_INFINITY;
    for (int repeat = 0; repeat < PLAIN_REPEATS; repeat++) {
      long start = System.nanoTime();
      for (int b = 0; b < SAMPLE_ROWS; b++) {
        float[][] out = new float[n(2 * DEGREE)][CHANNELS];
        for (int e = 0; e < couplings.size(); e++) {
          float[] to = out[couplings.out(e)];
          float[] f = first[b * n(DEGREE) + couplings.first(e)];
          float[] g = second[b * n(DEGREE) + couplings.second(e)];
          float value = (float) couplings.value(e);
          for (int c = 0; c < CHANNELS; c++) {
            to[c] += value * f[c] * g[c];
          }
        }
      }
      seconds = Math.min(seconds, (System.nanoTime() - start) * 1e-9);
    }
    return seconds;
  }

  private static float[][] matrix(Tensor x) {
    float[][] rows = new float[SAMPLE_ROWS * n(DEGREE)][];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = x.row(i).toFloatArray();
    }
    return rows;
  }

  /** Largest error of a value of the product at a random direction, over the largest value. */
  private static double pointwise(Arena arena, Tensor x, Tensor y, Tensor out) {
    Philox random = new Philox(SEED, 3);
    Tensor directions = Tensor.allocate(arena, DType.F64, DIRECTIONS, 3);
    for (int i = 0; i < DIRECTIONS; i++) {
      for (int axis = 0; axis < 3; axis++) {
        directions.setDouble(random.nextGaussian(), i, axis);
      }
    }
    Tensor harmonics = harmonics(arena, directions, 2 * DEGREE);
    double worst = 0;
    double largest = 0;
    for (int i = 0; i < DIRECTIONS; i++) {
      long b = random.nextInt(ROWS);
      long c = random.nextInt(CHANNELS);
      double expected =
          value(harmonics, i, x, b, c, n(DEGREE)) * value(harmonics, i, y, b, c, n(DEGREE));
      double got = value(harmonics, i, out, b, c, n(2 * DEGREE));
      worst = Math.max(worst, Math.abs(got - expected));
      largest = Math.max(largest, Math.abs(expected));
    }
    return worst / largest;
  }

  private static Tensor harmonics(Arena arena, Tensor directions, int degree) {
    Tensor values = Tensor.allocate(arena, DType.F64, directions.dim(0), n(degree));
    SphericalHarmonics.builder(degree).build().values(directions, values);
    return values;
  }

  private static double value(
      Tensor harmonics, long direction, Tensor x, long b, long c, int components) {
    double sum = 0;
    for (int i = 0; i < components; i++) {
      sum += harmonics.getDouble(direction, i) * x.getDouble(b, i, c);
    }
    return sum;
  }

  /** The function of the first row and channel as a map, poles on top and bottom. */
  private static Chart picture(Arena arena, String title, Tensor x, int degree) {
    int height = PICTURE_HEIGHT;
    int width = 2 * height;
    Tensor directions = Tensor.allocate(arena, DType.F64, (long) height * width, 3);
    for (int row = 0; row < height; row++) {
      double theta = Math.PI * (row + 0.5) / height;
      for (int column = 0; column < width; column++) {
        double alpha = 2 * Math.PI * (column + 0.5) / width;
        long at = (long) row * width + column;
        directions.setDouble(Math.sin(theta) * Math.sin(alpha), at, 0);
        directions.setDouble(Math.cos(theta), at, 1);
        directions.setDouble(Math.sin(theta) * Math.cos(alpha), at, 2);
      }
    }
    Tensor harmonics = harmonics(arena, directions, degree);
    List<Chart.Series> series = new ArrayList<>();
    for (int row = 0; row < height; row++) {
      List<Double> values = new ArrayList<>();
      for (int column = 0; column < width; column++) {
        values.add(value(harmonics, (long) row * width + column, x, 0, 0, n(degree)));
      }
      series.add(new Chart.Series("", List.of(), values));
    }
    return new Chart(
        title,
        Chart.Kind.FIELD,
        "azimuth, a full turn",
        "polar angle, half a turn",
        false,
        List.of(),
        series);
  }

  private void turn(Arena arena) {
    List<Double> degrees = new ArrayList<>();
    List<Double> single = new ArrayList<>();
    List<Double> full = new ArrayList<>();
    Philox random = new Philox(SEED, 4);
    long start = System.nanoTime();
    for (int degree = 1; degree <= HIGHEST; degree++) {
      double[] rotation =
          WignerD.rotation(
              2 * Math.PI * random.nextDouble(),
              Math.acos(2 * random.nextDouble() - 1),
              2 * Math.PI * random.nextDouble());
      degrees.add((double) degree);
      single.add(turnError(arena, DType.F32, degree, rotation));
      full.add(turnError(arena, DType.F64, degree, rotation));
    }
    double seconds = (System.nanoTime() - start) * 1e-9;
    double worstSingle = single.stream().mapToDouble(Double::doubleValue).max().orElse(0);
    double worstFull = full.stream().mapToDouble(Double::doubleValue).max().orElse(0);
    rows.add(
        new TourRow(
            GauntFamily.NAME,
            "random rotations, products of degrees 1 to " + HIGHEST,
            context.tier(),
            seconds,
            Double.NaN,
            "",
            String.format(
                Locale.ROOT,
                "rotated before and after agree to %.1e (F32), %.1e (F64)",
                worstSingle,
                worstFull),
            worstSingle <= TOLERANCE_F32 && worstFull <= TOLERANCE_F64));
    charts.add(
        new Chart(
            "Equivariance error of a product (L, L -> 2L) under a random rotation",
            Chart.Kind.LINES,
            "degree L",
            "relative error",
            true,
            List.of(),
            List.of(
                new Chart.Series("F32", degrees, single), new Chart.Series("F64", degrees, full))));
  }

  /** Distance of the product of turned functions from the turned product, both by norm. */
  private double turnError(Arena arena, DType type, int degree, double[] rotation) {
    Tensor x = random(arena, type, 5, degree, 1, 16);
    Tensor y = random(arena, type, 6, degree, 1, 16);
    GauntProduct product =
        GauntProduct.builder(degree, degree, 2 * degree).type(type).tier(context.tier()).build();
    Tensor out = Tensor.allocate(arena, type, 1, n(2 * degree), 16);
    Tensor outOfTurned = Tensor.allocate(arena, type, 1, n(2 * degree), 16);
    Tensor turnedOut = Tensor.allocate(arena, type, 1, n(2 * degree), 16);
    Tensor turnedX = Tensor.allocate(arena, type, x.shape());
    Tensor turnedY = Tensor.allocate(arena, type, y.shape());
    WignerD turn = WignerD.of(rotation, 2 * degree);
    WignerD turnInputs = WignerD.of(rotation, degree);
    product.multiply(x, y, out);
    turn.rotate(out, turnedOut);
    turnInputs.rotate(x, turnedX);
    turnInputs.rotate(y, turnedY);
    product.multiply(turnedX, turnedY, outOfTurned);
    double error = 0;
    double size = 0;
    double[] a = turnedOut.toDoubleArray();
    double[] b = outOfTurned.toDoubleArray();
    for (int i = 0; i < a.length; i++) {
      error += (a[i] - b[i]) * (a[i] - b[i]);
      size += a[i] * a[i];
    }
    return Math.sqrt(error / size);
  }
}

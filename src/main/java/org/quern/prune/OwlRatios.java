package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Outlier weighed layerwise sparsity: ratios by layer that spare layers with many outliers. D of a
 * layer is the percentage of its scores above M times their mean; with z = (D - min D) / (max D -
 * min D) * 2 lambda, the layer keeps the share z - mean z + 1 - ratio of its weights, so that the
 * layers keep 1 - ratio on average.
 *
 * <p>Source: Yin et al., "Outlier Weighed Layerwise Sparsity (OWL)", arXiv 2310.05175, and its
 * program, in which a layer is a decoder block with all of its matrices and S the score of {@link
 * Method#WANDA}.
 *
 * @param multiple M, above 0
 * @param lambda half the widest distance between two layers' shares, in [0, 1)
 */
public record OwlRatios(double multiple, double lambda) {
  /** M = 5 and lambda = 0.08, as published for LLaMA-7B at 70 %. */
  public static final OwlRatios PUBLISHED = new OwlRatios(5, 0.08);

  /** Checks both settings. */
  public OwlRatios {
    if (!(multiple > 0 && multiple < Double.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException(
          "owl: expected a finite multiple M above 0, got " + multiple);
    }
    if (!(lambda >= 0 && lambda < 1)) {
      throw new IllegalArgumentException("owl: expected lambda in [0, 1), got " + lambda);
    }
  }

  /**
   * Reads settings such as {@code M=5,lambda=0.08}; one that is absent is the published one.
   *
   * @throws IllegalArgumentException where the text has another form or a value is out of range
   */
  public static OwlRatios parse(String text) {
    double multiple = PUBLISHED.multiple;
    double lambda = PUBLISHED.lambda;
    for (String setting : text.isBlank() ? new String[0] : text.split(",", -1)) {
      String[] parts = setting.strip().split("=", 2);
      try {
        switch (parts[0]) {
          case "M" -> multiple = Double.parseDouble(parts[1]);
          case "lambda" -> lambda = Double.parseDouble(parts[1]);
          default -> throw new NumberFormatException();
        }
      } catch (NumberFormatException | ArrayIndexOutOfBoundsException other) {
        throw new IllegalArgumentException(
            "owl: expected settings such as M=5,lambda=0.08, got '" + text + "'", other);
      }
    }
    return new OwlRatios(multiple, lambda);
  }

  /**
   * D, the percentage of the scores above M times their mean.
   *
   * @param scores the scores of all matrices of a layer, F32, as of {@link Pruner#scores}
   * @throws IllegalArgumentException where a tensor is of another type, or there is no score
   */
  public double outliers(List<Tensor> scores) {
    double sum = 0;
    long count = 0;
    for (Tensor each : scores) {
      if (each.type() != DType.F32) {
        throw new IllegalArgumentException("scores: expected F32, got " + each);
      }
      for (long row = 0; row < each.rows(); row++) {
        sum += sum(row(each, row), (int) each.rowLength());
      }
      count += each.size();
    }
    double bound = bound(sum, count);
    long above = 0;
    for (Tensor each : scores) {
      for (long row = 0; row < each.rows(); row++) {
        above += above(row(each, row), (int) each.rowLength(), bound);
      }
    }
    return percent(above, count);
  }

  private static MemorySegment row(Tensor scores, long row) {
    return scores.memory().asSlice(row * scores.rowStride() * Float.BYTES);
  }

  /** The sum of a row of scores, from the first to the last. */
  static double sum(MemorySegment scores, int n) {
    double sum = 0;
    for (int j = 0; j < n; j++) {
      sum += scores.get(JAVA_FLOAT, (long) j * Float.BYTES);
    }
    return sum;
  }

  /** How many of a row of scores are above a bound. */
  static long above(MemorySegment scores, int n, double bound) {
    long count = 0;
    for (int j = 0; j < n; j++) {
      count += scores.get(JAVA_FLOAT, (long) j * Float.BYTES) > bound ? 1 : 0;
    }
    return count;
  }

  /** M times the mean. */
  double bound(double sum, long count) {
    if (count == 0) {
      throw new IllegalArgumentException("scores: expected at least one, got none");
    }
    return multiple * (sum / count);
  }

  /** A share of scores as D. */
  static double percent(long above, long count) {
    return 100.0 * above / count;
  }

  /**
   * The share to prune of every layer.
   *
   * @param outliers D by layer
   * @param ratio share to prune on average, in [0, 1)
   * @return one ratio in [0, 1) for each layer; all equal where all D are
   * @throws IllegalArgumentException where D or ratio is out of its range, or a layer would have to
   *     keep more than all or none of its weights; the message names the layer
   */
  public double[] ratios(double[] outliers, double ratio) {
    if (!(ratio >= 0 && ratio < 1)) {
      throw new IllegalArgumentException("ratio: expected a share in [0, 1), got " + ratio);
    }
    for (int i = 0; i < outliers.length; i++) {
      if (!(outliers[i] >= 0 && outliers[i] <= 100)) {
        throw new IllegalArgumentException(
            "outliers: expected percentages, got " + outliers[i] + " for layer " + i);
      }
    }
    double least = Arrays.stream(outliers).min().orElse(0);
    double range = Arrays.stream(outliers).max().orElse(0) - least;
    double[] shares =
        Arrays.stream(outliers)
            .map(d -> range == 0 ? 0 : (d - least) / range * 2 * lambda)
            .toArray();
    double mean = Arrays.stream(shares).average().orElse(0);
    double[] ratios = new double[shares.length];
    for (int i = 0; i < ratios.length; i++) {
      double kept = shares[i] - mean + (1 - ratio);
      if (!(kept > 0 && kept <= 1)) {
        throw new IllegalArgumentException(
            "owl: expected a share to keep in (0, 1], got "
                + kept
                + " for layer "
                + i
                + " with lambda "
                + lambda
                + " at the ratio "
                + ratio
                + "; take a smaller lambda");
      }
      ratios[i] = 1 - kept;
    }
    return ratios;
  }
}

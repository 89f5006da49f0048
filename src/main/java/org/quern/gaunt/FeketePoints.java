package org.quern.gaunt;

import java.lang.foreign.Arena;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Approximate Fekete points of the sphere: n(L) directions at which the values of a function of
 * degree L determine its n(L) coefficients, as well conditioned as a search finds. A product of
 * functions whose degrees sum to L at most is exact on them, with the least number of points.
 *
 * <p>They are chosen among a spiral of candidates, so that the determinant of the matrix of all
 * Y[i](point) is large: first greedily, by Gram-Schmidt elimination with pivoting (Sommariva and
 * Vianello, "Computing approximate Fekete points by QR factorizations of Vandermonde matrices",
 * Computers and Mathematics with Applications 57, 2009), then by exchanging points for candidates
 * as long as this enlarges it. The same points on every JVM. Immutable.
 */
public final class FeketePoints {
  /** Highest degree. */
  public static final int MAX_DEGREE = 24;

  /** Candidates per point. */
  private static final int CANDIDATES = 12;

  /** An exchange has to enlarge the determinant by this factor. */
  private static final double WORTHWHILE = 1.001;

  private final int degree;
  private final int size;
  private final double[] directions;

  /** Y of the points, size x size, a row per point. */
  private final double[] values;

  /** The inverse: a row per component. */
  private final double[] inverse;

  private FeketePoints(int degree) {
    this.degree = degree;
    size = (degree + 1) * (degree + 1);
    double[] spiral = spiral(CANDIDATES * size);
    double[] candidates = harmonics(degree, spiral);
    int[] chosen = exchange(candidates, greedy(candidates));
    directions = new double[3 * size];
    values = new double[size * size];
    for (int p = 0; p < size; p++) {
      System.arraycopy(spiral, 3 * chosen[p], directions, 3 * p, 3);
      System.arraycopy(candidates, size * chosen[p], values, size * p, size);
    }
    inverse = invert(values, size);
  }

  /**
   * The points of a degree; takes some milliseconds at degree 8 and some seconds at degree {@link
   * #MAX_DEGREE}.
   *
   * @param degree L, 0 to {@link #MAX_DEGREE}
   * @throws IllegalArgumentException where the degree is out of this range
   */
  public static FeketePoints of(int degree) {
    if (degree < 0 || degree > MAX_DEGREE) {
      throw new IllegalArgumentException("degree: expected 0 to " + MAX_DEGREE + ", got " + degree);
    }
    return new FeketePoints(degree);
  }

  /** L. */
  public int degree() {
    return degree;
  }

  /** Number of points, n(L). */
  public int size() {
    return size;
  }

  /** The unit vectors of the points: a copy, x, y, z of the first, then of the next. */
  public double[] directions() {
    return directions.clone();
  }

  /** Y of the points, a row of n(L) orthonormal components per point: a copy. */
  public double[] values() {
    return values.clone();
  }

  /** The inverse of {@link #values}, from values at the points to coefficients: a copy. */
  public double[] inverse() {
    return inverse.clone();
  }

  /** Directions spread evenly along a spiral from pole to pole, by the golden angle. */
  private static double[] spiral(int count) {
    double[] directions = new double[3 * count];
    double golden = Math.PI * (3 - Math.sqrt(5));
    for (int p = 0; p < count; p++) {
      double y = 1 - (2.0 * p + 1) / count;
      double across = Math.sqrt((1 - y) * (1 + y));
      directions[3 * p] = across * StrictMath.sin(golden * p);
      directions[3 * p + 1] = y;
      directions[3 * p + 2] = across * StrictMath.cos(golden * p);
    }
    return directions;
  }

  private static double[] harmonics(int degree, double[] directions) {
    int count = directions.length / 3;
    try (Arena arena = Arena.ofConfined()) {
      Tensor out = Tensor.allocate(arena, DType.F64, count, (degree + 1L) * (degree + 1));
      SphericalHarmonics.builder(degree)
          .tier(Tier.SCALAR)
          .build()
          .values(Tensor.copyOf(arena, directions, count, 3), out);
      return out.toDoubleArray();
    }
  }

  /** Takes the candidate farthest from the span of those taken, until there are enough. */
  private int[] greedy(double[] candidates) {
    double[] rest = candidates.clone();
    int count = CANDIDATES * size;
    int[] chosen = new int[size];
    double[] direction = new double[size];
    for (int step = 0; step < size; step++) {
      int best = 0;
      double largest = -1;
      for (int c = 0; c < count; c++) {
        double norm = dot(rest, size * c, rest, size * c, size);
        if (norm > largest) {
          largest = norm;
          best = c;
        }
      }
      chosen[step] = best;
      double length = Math.sqrt(largest);
      for (int i = 0; i < size; i++) {
        direction[i] = rest[size * best + i] / length;
      }
      for (int c = 0; c < count; c++) {
        double along = dot(direction, 0, rest, size * c, size);
        for (int i = 0; i < size; i++) {
          rest[size * c + i] -= along * direction[i];
        }
      }
    }
    return chosen;
  }

  /**
   * Exchanges a point for a candidate as long as the determinant grows: by the value at the
   * candidate of the function that is 1 at the point and 0 at all others.
   */
  private int[] exchange(double[] candidates, int[] chosen) {
    int count = CANDIDATES * size;
    double[] matrix = new double[size * size];
    for (int p = 0; p < size; p++) {
      System.arraycopy(candidates, size * chosen[p], matrix, size * p, size);
    }
    double[] cardinal = new double[count * size];
    double[] inverted = invert(matrix, size);
    for (int c = 0; c < count; c++) {
      for (int i = 0; i < size; i++) {
        double value = candidates[size * c + i];
        for (int p = 0; p < size; p++) {
          cardinal[size * c + p] += value * inverted[size * i + p];
        }
      }
    }
    double[] row = new double[size];
    for (int swaps = 0; swaps < 4 * size; swaps++) {
      int best = 0;
      for (int at = 1; at < cardinal.length; at++) {
        best = Math.abs(cardinal[at]) > Math.abs(cardinal[best]) ? at : best;
      }
      if (Math.abs(cardinal[best]) < WORTHWHILE) {
        break;
      }
      int candidate = best / size;
      int point = best % size;
      chosen[point] = candidate;
      double pivot = cardinal[best];
      System.arraycopy(cardinal, size * candidate, row, 0, size);
      row[point] -= 1;
      for (int c = 0; c < count; c++) {
        double factor = cardinal[size * c + point] / pivot;
        for (int p = 0; p < size; p++) {
          cardinal[size * c + p] -= factor * row[p];
        }
      }
    }
    return chosen;
  }

  /** Four sums, so that they do not wait for one another. */
  private static double dot(double[] a, int aAt, double[] b, int bAt, int n) {
    double s0 = 0;
    double s1 = 0;
    double s2 = 0;
    double s3 = 0;
    int i = 0;
    for (; i <= n - 4; i += 4) {
      s0 += a[aAt + i] * b[bAt + i];
      s1 += a[aAt + i + 1] * b[bAt + i + 1];
      s2 += a[aAt + i + 2] * b[bAt + i + 2];
      s3 += a[aAt + i + 3] * b[bAt + i + 3];
    }
    for (; i < n; i++) {
      s0 += a[aAt + i] * b[bAt + i];
    }
    return (s0 + s1) + (s2 + s3);
  }

  /** The inverse of a matrix of n rows, by Gauss-Jordan elimination with partial pivoting. */
  private static double[] invert(double[] matrix, int n) {
    double[] left = matrix.clone();
    double[] right = new double[n * n];
    for (int i = 0; i < n; i++) {
      right[n * i + i] = 1;
    }
    for (int step = 0; step < n; step++) {
      int pivot = step;
      for (int r = step + 1; r < n; r++) {
        pivot = Math.abs(left[n * r + step]) > Math.abs(left[n * pivot + step]) ? r : pivot;
      }
      swapRows(left, n, step, pivot);
      swapRows(right, n, step, pivot);
      double scale = 1 / left[n * step + step];
      for (int i = 0; i < n; i++) {
        left[n * step + i] *= scale;
        right[n * step + i] *= scale;
      }
      for (int r = 0; r < n; r++) {
        double factor = left[n * r + step];
        if (r != step && factor != 0) {
          for (int i = 0; i < n; i++) {
            left[n * r + i] -= factor * left[n * step + i];
            right[n * r + i] -= factor * right[n * step + i];
          }
        }
      }
    }
    return right;
  }

  private static void swapRows(double[] matrix, int n, int a, int b) {
    for (int i = 0; a != b && i < n; i++) {
      double kept = matrix[n * a + i];
      matrix[n * a + i] = matrix[n * b + i];
      matrix[n * b + i] = kept;
    }
  }
}

package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The matrices D(R) by which the real spherical harmonics of degrees 0 to L answer to a rotation or
 * a rotation with inversion: D(R) Y(v) = Y(R v). Orthogonal, and the same for every {@link
 * Normalization}. Immutable.
 *
 * <p>By recurrence over the degree. The gradient of a solid harmonic r<sup>l</sup>Y(l,m) is a
 * combination of solid harmonics of degree l-1, dR(l,m)/dx[a] = sum over m' of A(m; m', a)
 * R(l-1,m') with at most five entries per row (Varshalovich, Moskalev, Khersonskii, "Quantum Theory
 * of Angular Momentum", section 5.8), and A is an isometry up to the factor l(2l+1), so that with
 * its transpose A'
 *
 * <pre>D(l) = A (D(l-1) x R) A' / (l (2l+1))</pre>
 *
 * <p>Errors of a degree pass on to the next without growth, and add up to some units in the last
 * place of 1 at degree {@link #MAX_DEGREE}.
 */
public final class WignerD {
  /** Highest degree. */
  public static final int MAX_DEGREE = 64;

  /** A matrix as far as this from an orthogonal one is no rotation. */
  private static final double SLACK = 1e-6;

  private static final int X = 0;
  private static final int Y = 1;
  private static final int Z = 2;

  private final double[][] blocks;
  private final boolean improper;

  private WignerD(double[] rotation, int degree) {
    improper = determinant(rotation) < 0;
    blocks = new double[degree + 1][];
    blocks[0] = new double[] {1};
    for (int l = 1; l <= degree; l++) {
      blocks[l] = next(l, blocks[l - 1], rotation);
    }
  }

  /**
   * The matrices of a rotation, or of a rotation with inversion.
   *
   * @param rotation R, 3 x 3, row after row, acting on columns (x, y, z); an orthogonal matrix
   * @param degree L, 0 to {@link #MAX_DEGREE}
   * @throws IllegalArgumentException where the matrix is not orthogonal to 1e-6, or the degree out
   *     of its range
   */
  public static WignerD of(double[] rotation, int degree) {
    if (degree < 0 || degree > MAX_DEGREE) {
      throw new IllegalArgumentException("degree: expected 0 to " + MAX_DEGREE + ", got " + degree);
    }
    if (rotation.length != 9) {
      throw new IllegalArgumentException("rotation: expected 9 numbers, got " + rotation.length);
    }
    double deviation = 0;
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) {
        double product = i == j ? -1 : 0;
        for (int k = 0; k < 3; k++) {
          product += rotation[3 * i + k] * rotation[3 * j + k];
        }
        deviation = Math.max(deviation, Math.abs(product));
      }
    }
    if (!(deviation <= SLACK)) {
      throw new IllegalArgumentException(
          "rotation: expected an orthogonal matrix, got "
              + Arrays.toString(rotation)
              + ", whose product with its transpose differs from the identity by "
              + deviation);
    }
    return new WignerD(rotation, degree);
  }

  /**
   * The matrices of {@link #rotation}.
   *
   * @param alpha angle about y, applied last
   * @param beta angle about x
   * @param gamma angle about y, applied first
   * @param degree L, 0 to {@link #MAX_DEGREE}
   * @throws IllegalArgumentException where an angle is not finite, or the degree out of its range
   */
  public static WignerD ofAngles(double alpha, double beta, double gamma, int degree) {
    return of(rotation(alpha, beta, gamma), degree);
  }

  /** The rotation matrix Ry(alpha) Rx(beta) Ry(gamma) of Euler angles as in e3nn, row after row. */
  public static double[] rotation(double alpha, double beta, double gamma) {
    double ca = Math.cos(alpha);
    double sa = Math.sin(alpha);
    double cb = Math.cos(beta);
    double sb = Math.sin(beta);
    double cg = Math.cos(gamma);
    double sg = Math.sin(gamma);
    return new double[] {
      ca * cg - sa * cb * sg,
      sa * sb,
      ca * sg + sa * cb * cg,
      sb * sg,
      cb,
      -sb * cg,
      -sa * cg - ca * cb * sg,
      ca * sb,
      ca * cb * cg - sa * sg
    };
  }

  /** L. */
  public int degree() {
    return blocks.length - 1;
  }

  /** True for a rotation with inversion. */
  public boolean isImproper() {
    return improper;
  }

  /** The element of the orders m (row) and n (column) of degree l. */
  public double get(int l, int m, int n) {
    return blocks[l][(m + l) * (2 * l + 1) + n + l];
  }

  /** The matrix of degree l, (2l+1) x (2l+1), row after row, in the order of m: a copy. */
  public double[] block(int l) {
    return blocks[l].clone();
  }

  /**
   * The matrix of an irrep: that of its degree, with the opposite sign for a pseudo-tensor under
   * inversion.
   */
  public double[] block(Irrep irrep) {
    double[] block = block(irrep.degree());
    double sign = sign(irrep);
    for (int i = 0; i < block.length; i++) {
      block[i] *= sign;
    }
    return block;
  }

  private double sign(Irrep irrep) {
    return improper && !irrep.isNatural() ? -1 : 1;
  }

  /**
   * Rotates functions on the sphere, given by their coefficients: out[b,i,c] = sum over j of D[i,j]
   * x[b,j,c], so that the function at R v is what it was at v.
   *
   * @param x [B, n(L), C], F32 or F64
   * @param out of the shape and type of x, and not the same memory
   * @throws IllegalArgumentException where a shape or type is not as described
   */
  public void rotate(Tensor x, Tensor out) {
    rotate(x, out, Capabilities.get().choose(GauntProduct.TIERS, null));
  }

  void rotate(Tensor x, Tensor out, Tier tier) {
    int components = (degree() + 1) * (degree() + 1);
    if (x.rank() != 3 || x.dim(1) != components) {
      throw new IllegalArgumentException(
          "x: expected [B, " + components + ", C] for degree " + degree() + ", got " + x);
    }
    checkPair(x, out);
    if (tier == Tier.VECTOR && x.dim(2) >= SampleKernels.LANES) {
      mix(x, out);
      return;
    }
    MemorySegment from = x.hostMemory();
    MemorySegment to = out.hostMemory();
    long fromStride = x.rowStride() * x.type().bytes();
    long toStride = out.rowStride() * out.type().bytes();
    double[] sums = new double[Math.toIntExact(x.dim(2))];
    for (long b = 0; b < x.dim(0); b++) {
      for (int l = 0; l <= degree(); l++) {
        long center = b * components + (long) l * (l + 1);
        for (int m = -l; m <= l; m++) {
          Arrays.fill(sums, 0);
          for (int n = -l; n <= l; n++) {
            double factor = get(l, m, n);
            for (int c = 0; c < sums.length; c++) {
              sums[c] += factor * Reals.load(from, x.type(), (center + n) * fromStride, c);
            }
          }
          for (int c = 0; c < sums.length; c++) {
            Reals.store(to, x.type(), (center + m) * toStride, c, sums[c]);
          }
        }
      }
    }
  }

  /** Blocks of channels at a time; the last overlaps the one before. */
  private void mix(Tensor x, Tensor out) {
    SampleKernels kernels = GauntConvolution.kernels(Tier.VECTOR, x.type());
    long fromStep = x.rowStride() * x.type().bytes();
    long toStep = out.rowStride() * out.type().bytes();
    long last = x.dim(2) - SampleKernels.LANES;
    try (Arena arena = Arena.ofConfined()) {
      for (int l = 0; l <= degree(); l++) {
        int size = 2 * l + 1;
        double[][] rows = new double[size][];
        for (int m = 0; m < size; m++) {
          rows[m] = Arrays.copyOfRange(blocks[l], m * size, (m + 1) * size);
        }
        MemorySegment table = TileTable.of(arena, x.type(), rows).memory();
        for (long b = 0; b < x.dim(0); b++) {
          long row = b * x.dim(1) + (long) l * l;
          for (long c = 0; c - SampleKernels.LANES < last; c += SampleKernels.LANES) {
            long channel = Math.min(c, last) * x.type().bytes();
            kernels.mix(
                table,
                0,
                size,
                size,
                x.hostMemory(),
                row * fromStep + channel,
                fromStep,
                out.hostMemory(),
                row * toStep + channel,
                toStep,
                false);
          }
        }
      }
    }
  }

  /**
   * Rotates rows of features.
   *
   * @param irreps what a row consists of, degrees up to L
   * @param x [B, irreps.dimension()], F32 or F64
   * @param out of the shape and type of x, and not the same memory
   * @throws IllegalArgumentException where a shape, type or degree is not as described
   */
  public void rotate(Irreps irreps, Tensor x, Tensor out) {
    if (irreps.maxDegree() > degree()) {
      throw new IllegalArgumentException(
          "irreps: expected degrees up to " + degree() + ", got " + irreps);
    }
    if (x.rank() != 2 || x.dim(1) != irreps.dimension()) {
      throw new IllegalArgumentException(
          "x: expected [B, " + irreps.dimension() + "] for " + irreps + ", got " + x);
    }
    checkPair(x, out);
    MemorySegment from = x.hostMemory();
    MemorySegment to = out.hostMemory();
    for (long b = 0; b < x.dim(0); b++) {
      long read = b * x.rowStride() * x.type().bytes();
      long write = b * out.rowStride() * out.type().bytes();
      int at = 0;
      for (Irreps.Block block : irreps.blocks()) {
        int l = block.irrep().degree();
        double sign = sign(block.irrep());
        for (int copy = 0; copy < block.multiplicity(); copy++) {
          int center = at + l;
          for (int m = -l; m <= l; m++) {
            double sum = 0;
            for (int n = -l; n <= l; n++) {
              sum += get(l, m, n) * Reals.load(from, x.type(), read, center + n);
            }
            Reals.store(to, x.type(), write, center + m, sign * sum);
          }
          at += 2 * l + 1;
        }
      }
    }
  }

  private static void checkPair(Tensor x, Tensor out) {
    if (x.type() != DType.F32 && x.type() != DType.F64) {
      throw new IllegalArgumentException("x: expected F32 or F64, got " + x);
    }
    if (out.type() != x.type() || !Arrays.equals(out.shape(), x.shape())) {
      throw new IllegalArgumentException(
          "out: expected " + x.type() + Arrays.toString(x.shape()) + ", got " + out);
    }
  }

  private static double determinant(double[] r) {
    return r[0] * (r[4] * r[8] - r[5] * r[7])
        - r[1] * (r[3] * r[8] - r[5] * r[6])
        + r[2] * (r[3] * r[7] - r[4] * r[6]);
  }

  /** D of degree l from that of degree l-1. */
  private static double[] next(int l, double[] below, double[] rotation) {
    int size = 2 * l + 1;
    GradientRow[] rows = new GradientRow[size];
    for (int m = -l; m <= l; m++) {
      rows[m + l] = new GradientRow(l, m);
    }
    double[] block = new double[size * size];
    for (int i = 0; i < size; i++) {
      for (int j = 0; j < size; j++) {
        block[i * size + j] =
            rows[i].sandwich(rows[j], below, 2 * l - 1, rotation) / (l * (2.0 * l + 1));
      }
    }
    return block;
  }

  /** A row of A: the gradient of the solid harmonic of degree l and order m. */
  private static final class GradientRow {
    /** Rows or columns of the matrix of degree l-1. */
    private final int[] source = new int[5];

    private final int[] axis = new int[5];
    private final double[] factor = new double[5];
    private int entries;

    GradientRow(int l, int m) {
      int order = Math.abs(m);
      double ratio = (2.0 * l + 1) / (2 * l - 1);
      double across = Math.sqrt(ratio * (l - order) * (l - order - 1)) / 2;
      double inward = Math.sqrt(ratio * (l + order) * (l + order - 1)) / 2;
      add(l, m, Y, Math.sqrt(ratio * (l * l - m * m)));
      if (m == 0) {
        add(l, 1, Z, -Math.sqrt(2) * across);
        add(l, -1, X, -Math.sqrt(2) * across);
        return;
      }
      // Re and Im of (z+ix)^m: the z axis keeps their kind, the x axis exchanges them.
      int same = m > 0 ? 1 : -1;
      add(l, same * (order + 1), Z, -across);
      add(l, -same * (order + 1), X, -same * across);
      if (order > 1) {
        add(l, same * (order - 1), Z, inward);
        add(l, -same * (order - 1), X, -same * inward);
      } else {
        // Order 0 has no sine.
        add(l, 0, m > 0 ? Z : X, Math.sqrt(2) * inward);
      }
    }

    private void add(int l, int order, int axis, double factor) {
      if (Math.abs(order) <= l - 1) {
        source[entries] = order + l - 1;
        this.axis[entries] = axis;
        this.factor[entries] = factor;
        entries++;
      }
    }

    /** This row times (D x R) times the other row. */
    double sandwich(GradientRow other, double[] below, int size, double[] rotation) {
      double sum = 0;
      for (int i = 0; i < entries; i++) {
        double inner = 0;
        for (int j = 0; j < other.entries; j++) {
          inner +=
              other.factor[j]
                  * below[source[i] * size + other.source[j]]
                  * rotation[3 * axis[i] + other.axis[j]];
        }
        sum += factor[i] * inner;
      }
      return sum;
    }
  }
}

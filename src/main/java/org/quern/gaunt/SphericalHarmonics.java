package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Real spherical harmonics Y of the directions of many vectors, for all degrees 0 to L, with
 * derivatives by the vectors. Immutable, and safe to share between threads.
 *
 * <pre>{@code
 * SphericalHarmonics harmonics = SphericalHarmonics.builder(4).build();
 * harmonics.values(vectors, out); // [N, 3] -> [N, 25]
 * }</pre>
 *
 * <p>With the polar axis y, cos(theta) = y/|v| and alpha = atan2(x, z): Y(l,0) = Pb(l,0)(theta),
 * Y(l,m) = sqrt2 Pb(l,m) cos(m alpha), Y(l,-m) = sqrt2 Pb(l,m) sin(m alpha) for m &gt; 0, where Pb
 * are the associated Legendre functions, normalized, without the Condon-Shortley phase: the
 * convention and the component order of e3nn, on to degree {@link #MAX_DEGREE}. Component l*l+l+m
 * holds Y(l,m), times the factor of the {@link Normalization}.
 *
 * <p>All tensors of a call are F32 or all F64, in host memory, and contiguous rows may have a
 * stride. Arithmetic is binary64 for both, so that F32 results are rounded once. Vectors need not
 * have length 1: any finite length from the smallest subnormal number on is good, also at the
 * poles. The result is the same for any number of threads.
 *
 * <p>Every method throws {@link IllegalArgumentException} where a shape, type or device is not as
 * described, and where a vector is not finite, or zero and {@link ZeroVectors#ERROR} is set, naming
 * its row; results may have been written in part then. The output may not overlap an input.
 */
public final class SphericalHarmonics {
  /** Highest degree. */
  public static final int MAX_DEGREE = 32;

  /** The tiers that are implemented. */
  static final Set<Tier> TIERS = Collections.unmodifiableSet(EnumSet.of(Tier.SCALAR, Tier.VECTOR));

  /** Components per chunk of vectors that a thread claims. */
  private static final int GRAIN = 1 << 18;

  private final SphereTables tables;
  private final Normalization normalization;
  private final ZeroVectors zeroVectors;
  private final Tier tier;
  private final int threads;
  private final SphericalHarmonicsKernels kernels;

  private SphericalHarmonics(Builder builder) {
    tables = new SphereTables(builder.degree, builder.normalization);
    normalization = builder.normalization;
    zeroVectors = builder.zeroVectors;
    tier = Capabilities.get().choose(TIERS, builder.tier);
    threads = builder.threads;
    kernels = kernels(tier);
  }

  private static SphericalHarmonicsKernels kernels(Tier tier) {
    return switch (tier) {
      case SCALAR -> ScalarSphericalHarmonicsKernels.INSTANCE;
      case VECTOR -> VectorSphericalHarmonicsKernels.INSTANCE;
      default ->
          throw new IllegalArgumentException("tier: expected one of " + TIERS + ", got " + tier);
    };
  }

  /**
   * A builder with the orthonormal basis, an error for zero vectors, the best tier and one thread.
   *
   * @param degree L, 0 to {@link #MAX_DEGREE}
   * @throws IllegalArgumentException where the degree is out of this range
   */
  public static Builder builder(int degree) {
    return new Builder(degree);
  }

  /** L. */
  public int degree() {
    return tables.degree;
  }

  /** n(L) = (L+1)<sup>2</sup>, the components per vector. */
  public int components() {
    return tables.components;
  }

  /** The length of the basis. */
  public Normalization normalization() {
    return normalization;
  }

  /** What happens to zero vectors. */
  public ZeroVectors zeroVectors() {
    return zeroVectors;
  }

  /** The tier that runs. */
  public Tier tier() {
    return tier;
  }

  /** {@link #values(Tensor, Tensor, SphereWorkspace)} with scratch memory of its own. */
  public void values(Tensor vectors, Tensor out) {
    try (SphereWorkspace workspace = new SphereWorkspace()) {
      values(vectors, out, workspace);
    }
  }

  /**
   * Y of the direction of every vector.
   *
   * @param vectors v, [N, 3] in the order x, y, z
   * @param out [N, n(L)]
   * @param workspace scratch memory
   */
  public void values(Tensor vectors, Tensor out, SphereWorkspace workspace) {
    bind(vectors, vectors, out, workspace, tables.components, 0);
    run(Operation.VALUES, vectors, vectors, out, workspace);
  }

  /** {@link #jacobian(Tensor, Tensor, SphereWorkspace)} with scratch memory of its own. */
  public void jacobian(Tensor vectors, Tensor out) {
    try (SphereWorkspace workspace = new SphereWorkspace()) {
      jacobian(vectors, out, workspace);
    }
  }

  /**
   * The derivatives of every component by the vector: out[p,i,a] = dY[i]/dv[a] at vector p. They
   * are tangential and fall with the length, since Y depends on the direction alone.
   *
   * @param vectors v, [N, 3]
   * @param out [N, n(L), 3], contiguous
   * @param workspace scratch memory
   */
  public void jacobian(Tensor vectors, Tensor out, SphereWorkspace workspace) {
    bind(vectors, vectors, out, workspace, tables.components, 3);
    run(Operation.JACOBIAN, vectors, vectors, out, workspace);
  }

  /** {@link #pullback(Tensor, Tensor, Tensor, SphereWorkspace)} with scratch memory of its own. */
  public void pullback(Tensor vectors, Tensor gradients, Tensor out) {
    try (SphereWorkspace workspace = new SphereWorkspace()) {
      pullback(vectors, gradients, out, workspace);
    }
  }

  /**
   * Reverse differentiation: out[p,a] = sum over i of gradients[p,i] dY[i]/dv[a].
   *
   * @param vectors v, [N, 3]
   * @param gradients of some scalar by the values, [N, n(L)]
   * @param out gradients of that scalar by the vectors, [N, 3]
   * @param workspace scratch memory
   */
  public void pullback(Tensor vectors, Tensor gradients, Tensor out, SphereWorkspace workspace) {
    check("gradients", gradients, vectors, tables.components, 0);
    bind(vectors, gradients, out, workspace, 3, 0);
    run(Operation.PULLBACK, vectors, gradients, out, workspace);
  }

  /**
   * {@link #pushforward(Tensor, Tensor, Tensor, SphereWorkspace)} with scratch memory of its own.
   */
  public void pushforward(Tensor vectors, Tensor directions, Tensor out) {
    try (SphereWorkspace workspace = new SphereWorkspace()) {
      pushforward(vectors, directions, out, workspace);
    }
  }

  /**
   * Forward differentiation: out[p,i] = sum over a of dY[i]/dv[a] directions[p,a]; also the
   * gradient of {@link #pullback} by its gradients.
   *
   * @param vectors v, [N, 3]
   * @param directions how the vectors change, [N, 3]
   * @param out how the values change, [N, n(L)]
   * @param workspace scratch memory
   */
  public void pushforward(
      Tensor vectors, Tensor directions, Tensor out, SphereWorkspace workspace) {
    check("directions", directions, vectors, 3, 0);
    bind(vectors, directions, out, workspace, tables.components, 0);
    run(Operation.PUSHFORWARD, vectors, directions, out, workspace);
  }

  /** What to compute. */
  private enum Operation {
    VALUES,
    JACOBIAN,
    PULLBACK,
    PUSHFORWARD
  }

  private void bind(
      Tensor vectors, Tensor other, Tensor out, SphereWorkspace workspace, int columns, int axes) {
    if (vectors.type() != DType.F32 && vectors.type() != DType.F64) {
      throw new IllegalArgumentException("vectors: expected F32 or F64, got " + vectors);
    }
    if (vectors.rank() != 2 || vectors.dim(1) != 3) {
      throw new IllegalArgumentException("vectors: expected a shape [N, 3], got " + vectors);
    }
    check("out", out, vectors, columns, axes);
    if (axes > 0 && !out.isContiguous()) {
      throw new IllegalArgumentException("out: expected a contiguous tensor, got " + out);
    }
    SphereOperands o = workspace.operands;
    o.type = vectors.type();
    o.zeroAllowed = zeroVectors == ZeroVectors.CONSTANT;
    int bytes = o.type.bytes();
    o.vectors = vectors.hostMemory();
    o.vectorStride = vectors.rowStride() * bytes;
    o.other = other.hostMemory();
    o.otherStride = other.rowStride() * bytes;
    o.out = out.hostMemory();
    o.outStride = out.rowStride() * bytes * (axes > 0 ? columns : 1);
    workspace.reserve(threads, kernels.scratchBytes(tables));
  }

  /** Checks for a shape [N, columns], or [N, columns, axes] where there are axes. */
  private static void check(String name, Tensor tensor, Tensor vectors, int columns, int axes) {
    boolean fits =
        tensor.type() == vectors.type()
            && tensor.rank() == (axes > 0 ? 3 : 2)
            && tensor.dim(0) == vectors.dim(0)
            && tensor.dim(1) == columns
            && (axes == 0 || tensor.dim(2) == axes);
    if (!fits) {
      throw new IllegalArgumentException(
          name
              + ": expected "
              + vectors.type()
              + "["
              + vectors.dim(0)
              + ", "
              + columns
              + (axes > 0 ? ", " + axes : "")
              + "], got "
              + tensor);
    }
  }

  private void run(
      Operation operation, Tensor vectors, Tensor other, Tensor out, SphereWorkspace workspace) {
    long n = vectors.dim(0);
    try {
      if (threads == 1) {
        run(operation, 0, n, workspace, 0);
      } else {
        Parallel.forRanges(
            n,
            Math.ceilDiv(GRAIN, tables.components),
            threads,
            (from, to, worker) -> run(operation, from, to, workspace, worker));
      }
    } finally {
      // Views in the kernels do not keep the owners of the memory.
      Reference.reachabilityFence(vectors);
      Reference.reachabilityFence(other);
      Reference.reachabilityFence(out);
      Reference.reachabilityFence(workspace);
    }
  }

  private void run(Operation operation, long from, long to, SphereWorkspace workspace, int worker) {
    SphereOperands o = workspace.operands;
    MemorySegment scratch = workspace.scratch(worker);
    long bad =
        switch (operation) {
          case VALUES -> kernels.values(tables, o, from, to, scratch);
          case JACOBIAN -> kernels.jacobian(tables, o, from, to, scratch);
          case PULLBACK -> kernels.pullback(tables, o, from, to, scratch);
          case PUSHFORWARD -> kernels.pushforward(tables, o, from, to, scratch);
        };
    if (bad != SphericalHarmonicsKernels.ALL_GOOD) {
      throw badVector(o, bad);
    }
  }

  private static IllegalArgumentException badVector(SphereOperands o, long row) {
    double[] v = new double[3];
    for (int axis = 0; axis < 3; axis++) {
      v[axis] = ScalarSphericalHarmonicsKernels.loadVector(o, row, axis);
    }
    boolean zero = v[0] == 0 && v[1] == 0 && v[2] == 0;
    return new IllegalArgumentException(
        zero
            ? "vectors: expected a length above 0, which has a direction, got a zero vector in row "
                + row
            : "vectors: expected finite components, got " + Arrays.toString(v) + " in row " + row);
  }

  /** Collects the settings of {@link SphericalHarmonics}. */
  public static final class Builder {
    private final int degree;
    private Normalization normalization = Normalization.INTEGRAL;
    private ZeroVectors zeroVectors = ZeroVectors.ERROR;
    private @Nullable Tier tier;
    private int threads = 1;

    private Builder(int degree) {
      if (degree < 0 || degree > MAX_DEGREE) {
        throw new IllegalArgumentException(
            "degree: expected 0 to " + MAX_DEGREE + ", got " + degree);
      }
      this.degree = degree;
    }

    /** The length of the basis; orthonormal by default. */
    public Builder normalization(Normalization normalization) {
      this.normalization = normalization;
      return this;
    }

    /** What happens to zero vectors; an error by default. */
    public Builder zeroVectors(ZeroVectors zeroVectors) {
      this.zeroVectors = zeroVectors;
      return this;
    }

    /** Demands a tier; the best that can run by default. */
    public Builder tier(@Nullable Tier tier) {
      this.tier = tier;
      return this;
    }

    /**
     * Threads that may work at a time, at least 1; 1 by default. The result does not depend on it.
     */
    public Builder threads(int threads) {
      if (threads < 1) {
        throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
      }
      this.threads = threads;
      return this;
    }

    /**
     * The harmonics.
     *
     * @throws IllegalStateException where the demanded tier cannot run here
     */
    public SphericalHarmonics build() {
      return new SphericalHarmonics(this);
    }
  }
}

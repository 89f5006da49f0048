package org.quern.linalg;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;
import java.util.EnumSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Device;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Single-precision matrix products on native memory, row-major with explicit row strides.
 *
 * <p>Where no tier is demanded and OpenBLAS is on the path (see {@link #library}), it computes: it
 * is up to 1.3 times as fast as the vector tier. Where a tier is demanded, Quern's own kernels
 * compute.
 *
 * <p>An instance holds the packing memory of its threads; on one thread the vector tier allocates
 * nothing per call. It serves one call at a time; its memory lives as long as the arena that it was
 * created in. Results of Quern's own kernels are the same bits for any number of threads: work is
 * split over elements of C, never over the sum. With more than one thread, the arena and all
 * matrices must be open to each of them, as those of {@link Arena#ofShared} are.
 *
 * <p>C must not overlap A or B; blocks of one matrix that share no element do not overlap. NaN and
 * infinity propagate as in the formula, also where {@code alpha = 0}; C is not read where {@code
 * beta = 0}.
 */
public final class Gemm {
  /**
   * Below this many multiply-adds per thread, handing work to a second thread costs more than it
   * saves.
   */
  private static final long WORK_PER_THREAD = 1 << 20;

  /** Rows and columns in which C is split among threads: whole tiles of every kernel. */
  private static final int GRAIN = 96;

  private final GemmKernels kernels;
  private final Tier tier;
  private final int threads;
  private final MemorySegment workspace;
  private final long workspaceStride;

  private Gemm(Arena arena, int threads, Tier tier, @Nullable MethodHandle library) {
    this.tier = tier;
    this.threads = threads;
    GemmKernels own = tier == Tier.VECTOR ? new VectorGemmKernels() : new ScalarGemmKernels();
    this.kernels = library == null ? own : new OpenBlasGemmKernels(library, own);
    this.workspaceStride = (kernels.workspaceBytes() + 63) / 64 * 64;
    this.workspace = arena.allocate(Math.max(1, threads * workspaceStride), Tensor.ALIGNMENT);
  }

  /** The fastest products of this machine; see {@link #create(Arena, int, Tier)}. */
  public static Gemm create(Arena arena, int threads) {
    return create(arena, threads, null);
  }

  /**
   * What computes where no tier is demanded, in one line: OpenBLAS and its version, or why not. It
   * takes {@code org.bytedeco:openblas} and its natives on the path and native access; {@code
   * -Dquern.openblas=false} switches it off. Loading it sets OpenBLAS to one thread for the
   * process.
   */
  public static String library() {
    OpenBlas found = OpenBlas.get();
    return found.product() == null ? "own kernels; OpenBLAS " + found.status() : found.status();
  }

  /**
   * Products on one tier.
   *
   * @param arena gives the packing memory, about 600 KB per thread
   * @param threads greatest number of threads of a product, at least 1; with more than 1 a product
   *     that is split may throw WrongThreadException on memory of a confined arena
   * @param tier the tier to use, or null for the best, and for OpenBLAS where it is there and
   *     {@link Capabilities#TIER_PROPERTY} demands no tier
   * @throws IllegalArgumentException where {@code threads < 1}
   * @throws IllegalStateException where the tier cannot run here
   */
  public static Gemm create(Arena arena, int threads, @Nullable Tier tier) {
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    Set<Tier> offered = EnumSet.of(Tier.SCALAR, Tier.VECTOR);
    Capabilities capabilities = Capabilities.get();
    boolean free = tier == null && capabilities.forced() == null;
    return new Gemm(
        arena, threads, capabilities.choose(offered, tier), free ? OpenBlas.get().product() : null);
  }

  /** The tier that computes whatever OpenBLAS does not. */
  public Tier tier() {
    return tier;
  }

  /** Greatest number of threads of a product. */
  public int threads() {
    return threads;
  }

  /**
   * {@code C = alpha * op(A) * op(B) + beta * C}, where op(X) is X or its transpose; 2 m n k flops.
   *
   * @param transposeA true when A is stored k x m
   * @param transposeB true when B is stored n x k
   * @param m rows of op(A) and C
   * @param n columns of op(B) and C
   * @param k columns of op(A), rows of op(B)
   * @param alpha factor of the product
   * @param a A, floats in native memory
   * @param lda floats between the rows of A as stored, at least the length of a row
   * @param b B, floats in native memory
   * @param ldb floats between the rows of B as stored, at least the length of a row
   * @param beta factor of C; with 0 the old content of C is not read
   * @param c C, floats in native memory
   * @param ldc floats between the rows of C, at least n
   * @throws IllegalArgumentException where an extent is negative, a stride shorter than a row,
   *     memory is on the heap, misaligned or too small, or C overlaps A or B
   */
  public void multiply(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      float alpha,
      MemorySegment a,
      long lda,
      MemorySegment b,
      long ldb,
      float beta,
      MemorySegment c,
      long ldc) {
    int rowsA = transposeA ? k : m;
    int columnsA = transposeA ? m : k;
    int rowsB = transposeB ? n : k;
    int columnsB = transposeB ? k : n;
    Matrices.checkExtent("m", m);
    Matrices.checkExtent("n", n);
    Matrices.checkExtent("k", k);
    Matrices.check("a", a, rowsA, columnsA, lda);
    Matrices.check("b", b, rowsB, columnsB, ldb);
    Matrices.check("c", c, m, n, ldc);
    Matrices.checkApart("c", c, m, n, ldc, "a", a, rowsA, columnsA, lda);
    Matrices.checkApart("c", c, m, n, ldc, "b", b, rowsB, columnsB, ldb);
    long full = GemmKernels.FULL;
    run(transposeA, transposeB, m, n, k, alpha, a, 0, lda, b, 0, ldb, beta, c, 0, ldc, full);
  }

  /**
   * {@code C = alpha * op(A) * op(B) + beta * C} on F32 tensors of rank 2 on the CPU.
   *
   * @param transposeA true to take the transpose of {@code a}
   * @param transposeB true to take the transpose of {@code b}
   * @param alpha factor of the product
   * @param a left factor
   * @param b right factor
   * @param beta factor of {@code c}; with 0 its old content is not read
   * @param c the result
   * @throws IllegalArgumentException where a type, a device or a shape does not fit, or {@code c}
   *     overlaps a factor
   */
  public void multiply(
      boolean transposeA,
      boolean transposeB,
      float alpha,
      Tensor a,
      Tensor b,
      float beta,
      Tensor c) {
    checkMatrix("a", a);
    checkMatrix("b", b);
    checkMatrix("c", c);
    int m = Math.toIntExact(a.dim(transposeA ? 1 : 0));
    int k = Math.toIntExact(a.dim(transposeA ? 0 : 1));
    int n = Math.toIntExact(b.dim(transposeB ? 0 : 1));
    if (b.dim(transposeB ? 1 : 0) != k) {
      throw new IllegalArgumentException(
          "b: expected "
              + k
              + (transposeB ? " columns" : " rows")
              + " to meet a "
              + a
              + ", got "
              + b);
    }
    if (c.dim(0) != m || c.dim(1) != n) {
      throw new IllegalArgumentException("c: expected " + m + " x " + n + ", got " + c);
    }
    multiply(
        transposeA,
        transposeB,
        m,
        n,
        k,
        alpha,
        a.memory(),
        a.rowStride(),
        b.memory(),
        b.rowStride(),
        beta,
        c.memory(),
        c.rowStride());
  }

  /**
   * The lower triangle of {@code C = alpha * X^T * X + beta * C}, diagonal included; m n (n + 1)
   * flops. Elements above the diagonal are neither read nor written.
   *
   * @param m rows of X
   * @param n columns of X, rows and columns of C
   * @param alpha factor of the product
   * @param x X, floats in native memory
   * @param ldx floats between the rows of X, at least n
   * @param beta factor of C; with 0 the old content of its lower triangle is not read
   * @param c C, floats in native memory
   * @param ldc floats between the rows of C, at least n
   * @throws IllegalArgumentException as {@link #multiply(boolean, boolean, int, int, int, float,
   *     MemorySegment, long, MemorySegment, long, float, MemorySegment, long) multiply} does
   */
  public void gram(
      int m, int n, float alpha, MemorySegment x, long ldx, float beta, MemorySegment c, long ldc) {
    Matrices.checkExtent("m", m);
    Matrices.checkExtent("n", n);
    Matrices.check("x", x, m, n, ldx);
    Matrices.check("c", c, n, n, ldc);
    Matrices.checkApart("c", c, n, n, ldc, "x", x, m, n, ldx);
    run(true, false, n, n, m, alpha, x, 0, ldx, x, 0, ldx, beta, c, 0, ldc, 0);
  }

  /**
   * The product of checked matrices, which start at offsets in bytes of their segments, split among
   * the threads over stripes of C.
   *
   * @param diagonal {@link GemmKernels#FULL}, or 0 for the lower triangle
   */
  void run(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      float alpha,
      MemorySegment a,
      long aOffset,
      long lda,
      MemorySegment b,
      long bOffset,
      long ldb,
      float beta,
      MemorySegment c,
      long cOffset,
      long ldc,
      long diagonal) {
    long work = (long) m * n * k / (diagonal == 0 ? 2 : 1);
    boolean byRows = diagonal == 0 || m >= n;
    int extent = byRows ? m : n;
    int parts = (int) Math.min(Math.min(threads, work / WORK_PER_THREAD), extent / GRAIN);
    try {
      if (parts <= 1) {
        kernels.multiply(
            transposeA,
            transposeB,
            m,
            n,
            k,
            alpha,
            a,
            aOffset,
            lda,
            b,
            bOffset,
            ldb,
            beta,
            c,
            cOffset,
            ldc,
            diagonal,
            workspace,
            0);
        return;
      }
      Parallel.forRanges(
          parts,
          1,
          parts,
          (index, end, worker) -> {
            int part = (int) index;
            int from = boundary(extent, part, parts, diagonal == 0);
            int to = boundary(extent, part + 1, parts, diagonal == 0);
            if (byRows) {
              kernels.multiply(
                  transposeA,
                  transposeB,
                  to - from,
                  diagonal == 0 ? to : n,
                  k,
                  alpha,
                  a,
                  aOffset + Float.BYTES * (from * (transposeA ? 1 : lda)),
                  lda,
                  b,
                  bOffset,
                  ldb,
                  beta,
                  c,
                  cOffset + Float.BYTES * (from * ldc),
                  ldc,
                  diagonal == 0 ? from : diagonal,
                  workspace,
                  part * workspaceStride);
            } else {
              kernels.multiply(
                  transposeA,
                  transposeB,
                  m,
                  to - from,
                  k,
                  alpha,
                  a,
                  aOffset,
                  lda,
                  b,
                  bOffset + Float.BYTES * (from * (transposeB ? ldb : 1)),
                  ldb,
                  beta,
                  c,
                  cOffset + (long) Float.BYTES * from,
                  ldc,
                  diagonal,
                  workspace,
                  part * workspaceStride);
            }
          });
    } finally {
      Reference.reachabilityFence(a);
      Reference.reachabilityFence(b);
      Reference.reachabilityFence(c);
      Reference.reachabilityFence(workspace);
    }
  }

  /** Where a part begins: equal stripes, or stripes of equal area below the diagonal. */
  private static int boundary(int extent, int part, int parts, boolean triangle) {
    double share = (double) part / parts;
    double at = extent * (triangle ? Math.sqrt(share) : share);
    return part == parts ? extent : (int) Math.round(at / GRAIN) * GRAIN;
  }

  private static void checkMatrix(String name, Tensor tensor) {
    if (tensor.type() != DType.F32 || tensor.rank() != 2 || !tensor.device().equals(Device.CPU)) {
      throw new IllegalArgumentException(
          name + ": expected an F32 matrix on the CPU, got " + tensor);
    }
  }
}

package org.quern.jmh;

import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.quern.linalg.Gemm;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/** Products C = A B of square F32 matrices. */
public class GemmBenchmark extends VectorBenchmark {
  /** Three matrices. */
  @State(Scope.Benchmark)
  public static class Matrices {
    @Param({"64", "128", "256", "512", "1024"})
    int size;

    @Param("VECTOR")
    Tier tier;

    @Param("1")
    int threads;

    /** The product that is measured. */
    Gemm gemm;

    /** Left factor. */
    Tensor a;

    /** Right factor. */
    Tensor b;

    /** Result. */
    Tensor c;

    private Arena arena;

    /** Makes the matrices and checks a diagonal of the product. */
    @Setup
    public void prepare() {
      arena = Arena.ofShared();
      gemm = Gemm.create(arena, threads, tier);
      float[] left = new float[size * size];
      float[] right = new float[size * size];
      SplittableRandom random = new SplittableRandom(size);
      for (int i = 0; i < left.length; i++) {
        left[i] = random.nextFloat() - 0.5f;
        right[i] = random.nextFloat() - 0.5f;
      }
      a = Tensor.copyOf(arena, left, size, size);
      b = Tensor.copyOf(arena, right, size, size);
      c = Tensor.copyOf(arena, new float[size * size], size, size);
      gemm.multiply(false, false, 1, a, b, 0, c);
      for (int i = 0; i < size; i++) {
        double sum = 0;
        double bound = 0;
        for (int j = 0; j < size; j++) {
          double product = (double) left[i * size + j] * right[j * size + i];
          sum += product;
          bound += Math.abs(product);
        }
        // Rounding error of a sum of n products, in any order: n units of 2^-24 of the sum of
        // moduli.
        if (!(Math.abs(c.getDouble(i, i) - sum) <= size * 0x1p-24 * bound)) {
          throw new IllegalStateException(
              tier
                  + ": expected "
                  + sum
                  + " at row and column "
                  + i
                  + ", got "
                  + c.getDouble(i, i));
        }
      }
    }

    /** Frees the matrices. */
    @TearDown
    public void free() {
      arena.close();
    }
  }

  /** One product. */
  @Benchmark
  public void multiply(Matrices matrices) {
    matrices.gemm.multiply(false, false, 1, matrices.a, matrices.b, 0, matrices.c);
  }

  /** Flops of one product. */
  static long flops(int size) {
    return 2L * size * size * size;
  }
}

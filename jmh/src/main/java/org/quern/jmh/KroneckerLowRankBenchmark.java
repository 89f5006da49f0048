package org.quern.jmh;

import java.lang.foreign.Arena;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.quern.kronecker.InverseFactor;
import org.quern.kronecker.Storage;
import org.quern.kronecker.UpdateRule;
import org.quern.random.Philox;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** An update of a factor of low rank. */
public class KroneckerLowRankBenchmark extends VectorBenchmark {
  private static final int VECTORS = 64;

  /** What becomes of old terms. */
  public enum Columns {
    /** They vanish after 32 updates, so that there are 32 always: the update alone. */
    STEADY(48, 0.545),
    /** 33 become 21 by their eigenvalues: every twelfth update. */
    RECOMPRESSED(32, 0.95);

    final int count;
    final double gamma;

    Columns(int count, double gamma) {
      this.count = count;
      this.gamma = gamma;
    }
  }

  /** A factor in its steady state, and vectors in turn. */
  @State(Scope.Benchmark)
  public static class Factor {
    @Param({"768", "1024", "4096"})
    int d;

    @Param Columns columns;

    private Arena arena;
    private InverseFactor factor;
    private Tensor[] vectors;
    private int next;

    /** Draws the vectors and takes each of them. */
    @Setup(Level.Trial)
    public void prepare() {
      arena = Arena.ofConfined();
      Storage storage = Storage.lowRank(columns.count, Double.POSITIVE_INFINITY);
      factor = InverseFactor.create(arena, d, storage, UpdateRule.CODE, columns.gamma);
      vectors = new Tensor[VECTORS];
      for (int t = 0; t < VECTORS; t++) {
        vectors[t] = Tensor.allocate(arena, DType.F32, d);
        new Philox(1, t).fillNormal(vectors[t].memory());
        factor.update(vectors[t]);
      }
      boolean expected =
          columns == Columns.STEADY
              ? factor.rank() > 30 && factor.rank() <= 32
              : factor.rank() > 20 && factor.rank() <= 32;
      if (!expected) {
        throw new IllegalStateException("expected about 32 columns, got " + factor.rank());
      }
    }

    Tensor next() {
      next = (next + 1) % VECTORS;
      return vectors[next];
    }

    /** Frees the memory. */
    @TearDown(Level.Trial)
    public void free() {
      arena.close();
    }
  }

  /** One update. */
  @Benchmark
  public InverseFactor.Outcome update(Factor factor) {
    return factor.factor.update(factor.next());
  }
}

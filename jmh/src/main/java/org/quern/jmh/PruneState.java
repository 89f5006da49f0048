package org.quern.jmh;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.quern.prune.Method;
import org.quern.prune.Pattern;
import org.quern.prune.PruneWorkspace;
import org.quern.prune.Pruner;
import org.quern.prune.Statistics;
import org.quern.runtime.Tier;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A layer in as many copies as it takes to exceed the last-level cache, used in turn. Pruning is in
 * place, and pruned weights are another input than fresh ones: so before every call, outside the
 * measured time, the copy that was used last is restored and the next one takes its turn. The copy
 * that is measured has not been touched since its own last turn.
 */
@State(Scope.Benchmark)
public class PruneState {
  @Param({"0.5", "2:4", "4:8"})
  String pattern;

  @Param("GBLM")
  Method method;

  @Param("F32")
  Storage storage;

  @Param("GAUSSIAN")
  RowKind rows;

  @Param("VECTOR")
  Tier tier;

  @Param("1")
  int threads;

  /** The pruner that is measured. */
  Pruner pruner;

  /** Its scratch memory. */
  PruneWorkspace workspace;

  /** Weights of this turn, not pruned. */
  Tensor weights;

  /** Statistics of this turn. */
  Statistics statistics;

  private Arena arena;
  private Tensor master;
  private Tensor[] weightsInTurn;
  private Statistics[] statisticsInTurn;
  private int turn;

  /** Makes the copies and checks the result of the measured tier. */
  @Setup
  public void prepare() {
    pruner = pruner(tier, threads);
    workspace = new PruneWorkspace();
    arena = Arena.ofShared();
    int width = width();
    master = Tensor.allocate(arena, storage.weights, height(), width);
    Tensor gradients = Tensor.allocate(arena, storage.gradients, height(), width);
    fill(master, gradients);
    float[] norms = new float[width];
    rows.fillNorms(norms, new SplittableRandom(1));
    weightsInTurn = new Tensor[copies(2 * master.memory().byteSize())];
    statisticsInTurn = new Statistics[weightsInTurn.length];
    for (int i = 0; i < weightsInTurn.length; i++) {
      weightsInTurn[i] = copy(master);
      statisticsInTurn[i] = new Statistics(copy(gradients), Tensor.copyOf(arena, norms, width));
    }
    requireResultOfScalarTier();
  }

  /** Restores the copy used last and passes on to the next. */
  @Setup(Level.Invocation)
  public void next() {
    restore(turn);
    turn = turn + 1 < weightsInTurn.length ? turn + 1 : 0;
    weights = weightsInTurn[turn];
    statistics = statisticsInTurn[turn];
  }

  /** Frees all copies. */
  @TearDown
  public void free() {
    workspace.close();
    arena.close();
  }

  /** Rows of the layer. */
  int height() {
    return 4096;
  }

  /** Columns of the layer. */
  int width() {
    return 4096;
  }

  /** Copies of so many bytes; at least two, so that the one restored is never the one measured. */
  int copies(long bytes) {
    return (int) Math.max(2, Math.ceilDiv(Caches.detect().beyond(), bytes));
  }

  private Pruner pruner(Tier tier, int threads) {
    Pattern parsed = Pattern.parse(pattern);
    return Pruner.builder().method(method).pattern(parsed).tier(tier).threads(threads).build();
  }

  private void fill(Tensor weights, Tensor gradients) {
    int width = (int) weights.rowLength();
    float[] w = new float[width];
    float[] g = new float[width];
    try (Arena row = Arena.ofConfined()) {
      MemorySegment floats = row.allocate((long) width * Float.BYTES, Tensor.ALIGNMENT);
      for (long i = 0; i < weights.rows(); i++) {
        rows.fill(w, g, new SplittableRandom(i));
        store(w, floats, weights, i);
        store(g, floats, gradients, i);
      }
    }
  }

  private static void store(float[] values, MemorySegment floats, Tensor tensor, long row) {
    MemorySegment.copy(MemorySegment.ofArray(values), 0, floats, 0, floats.byteSize());
    DType type = tensor.type();
    long offset = row * tensor.rowStride() * type.bytes();
    Conversions.fromFloat(floats, 0, tensor.memory(), offset, type, values.length);
  }

  private Tensor copy(Tensor tensor) {
    Tensor copy = Tensor.allocate(arena, tensor.type(), tensor.shape());
    copy.memory().copyFrom(tensor.memory());
    return copy;
  }

  private void restore(int i) {
    weightsInTurn[i].memory().copyFrom(master.memory());
  }

  /** Compares the first and the last rows; the scalar tier is too slow for all. */
  private void requireResultOfScalarTier() {
    Tensor pruned = weightsInTurn[0];
    pruner.prune("layer", pruned, statisticsInTurn[0], workspace);
    long height = pruned.rows();
    long some = Math.min(8, height);
    requireResultOfScalarTier(pruned, 0, some);
    requireResultOfScalarTier(pruned, height - some, height);
    restore(0);
  }

  private void requireResultOfScalarTier(Tensor pruned, long from, long to) {
    Tensor expected = copy(master.rows(from, to));
    Statistics all = statisticsInTurn[0];
    Statistics some = new Statistics(all.gradients().rows(from, to), all.columnNorms());
    pruner(Tier.SCALAR, 1).prune(expected, some);
    if (pruned.rows(from, to).memory().mismatch(expected.memory()) >= 0) {
      throw new IllegalStateException(
          tier
              + " and SCALAR differ in rows "
              + from
              + " to "
              + to
              + " of "
              + rows
              + ", "
              + pattern);
    }
  }
}

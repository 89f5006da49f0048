package org.quern.prune.lm;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.quern.prune.sparse.DenseLinear;
import org.quern.prune.sparse.Linear;
import org.quern.prune.sparse.SparseLinear;
import org.quern.prune.sparse.SparseMatrix;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * Loads the linear layers of a model in the type that they are stored in, dense, or without their
 * zeros where that pays. Holds their memory until it is closed.
 */
final class LinearLoader implements AutoCloseable {
  /** A packed layer takes at most this share of the bytes of a dense one, or it stays dense. */
  private static final double WORTHWHILE = 0.75;

  private final LanguageModel model;
  private final boolean sparse;
  private final int threads;
  private final @Nullable Tier tier;
  private final List<Arena> arenas = new ArrayList<>();
  private long bytes;
  private int packed;

  /**
   * A loader.
   *
   * @param sparse whether layers may be packed
   */
  LinearLoader(LanguageModel model, boolean sparse, int threads, @Nullable Tier tier) {
    this.model = model;
    this.sparse = sparse;
    this.threads = threads;
    this.tier = tier;
  }

  /** A layer of a block, by its name within it. */
  Linear load(int block, String name) throws IOException {
    Arena dense = open();
    Tensor weights = model.storedWeights(dense, block, name);
    if (sparse) {
      Arena arena = open();
      SparseMatrix matrix = SparseMatrix.pack(weights, arena);
      if (matrix.bytes() <= WORTHWHILE * weights.size() * weights.type().bytes()) {
        close(dense);
        packed++;
        Tensor bias = model.loadBias(arena, block, name);
        return counted(SparseLinear.create(arena, matrix, bias, threads, tier));
      }
      close(arena);
    }
    Tensor bias = model.loadBias(dense, block, name);
    return counted(DenseLinear.create(dense, weights, bias, threads, tier));
  }

  /** The output layer, which is not pruned and stays dense. */
  Linear loadHead() throws IOException {
    Arena arena = open();
    return counted(DenseLinear.create(arena, model.storedHead(arena), null, threads, tier));
  }

  private Linear counted(Linear linear) {
    bytes += linear.bytes();
    return linear;
  }

  /** Bytes of weights of all layers loaded. */
  long bytes() {
    return bytes;
  }

  /** How many of the layers loaded are packed. */
  int packed() {
    return packed;
  }

  private Arena open() {
    Arena arena = Arena.ofShared();
    arenas.add(arena);
    return arena;
  }

  private void close(Arena arena) {
    arenas.remove(arena);
    arena.close();
  }

  @Override
  public void close() {
    arenas.forEach(Arena::close);
    arenas.clear();
  }
}

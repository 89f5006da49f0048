package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Several workers against one (property 13). */
class DataParallelTest {
  private static final int OUT = 9;
  private static final int IN = 14;
  private static final int STEPS = 5;
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  private final Arena arena = Arena.ofShared();

  @AfterEach
  void close() {
    arena.close();
  }

  /** What one worker sees of one layer at one step: a mean loss of its own rows. */
  private record Shard(Tensor a, Tensor g, int rows) {}

  private final List<List<Shard>> shards = new ArrayList<>();
  private final List<Tensor> gradients = new ArrayList<>();

  private void draw(int workers, boolean equal) {
    Samples samples = new Samples(arena, 5 + workers);
    for (int t = 0; t < STEPS; t++) {
      List<Shard> step = new ArrayList<>();
      for (int r = 0; r < workers; r++) {
        step.add(
            new Shard(samples.input(1, IN + 1), samples.normal(1, OUT), equal ? 8 : 3 + 2 * r));
      }
      shards.add(step);
      gradients.add(samples.normal(1, OUT, IN));
    }
  }

  private static MkorBuilder builder() {
    return Mkor.builder().refreshEvery(1).applyFirst(true).backEnd(new Adam());
  }

  private interface Feed {
    void observe(MkorLayer layer, List<Shard> shards);
  }

  /** Weights after all steps, and the two factors behind them. */
  private float[] run(MkorBuilder builder, Feed feed) {
    try (Mkor mkor = builder.build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
      Tensor w = Tensor.allocate(arena, DType.F32, OUT, IN);
      Tensor b = Tensor.allocate(arena, DType.F32, OUT);
      for (int t = 0; t < STEPS; t++) {
        feed.observe(layer, shards.get(t));
        Tensor dw = gradients.get(t).to(DType.F32, arena);
        Tensor db = Tensor.allocate(arena, DType.F32, OUT);
        layer.step(w, b, dw, db, 0.1);
        mkor.step();
      }
      List<Float> all = new ArrayList<>();
      for (float[] part : List.of(w.toFloatArray(), Samples.left(layer), Samples.right(layer))) {
        for (float value : part) {
          all.add(value);
        }
      }
      float[] result = new float[all.size()];
      for (int i = 0; i < result.length; i++) {
        result[i] = all.get(i);
      }
      return result;
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 5})
  void defect1WorkersEqualOneWorkerBitForBitInTheOrderOfTheirRanks(int workers) throws Exception {
    draw(workers, false);
    float[] one =
        run(
            builder().microBatches(workers, Accumulation.MEAN),
            (layer, all) -> all.forEach(shard -> layer.accumulate(shard.a, shard.g, shard.rows)));
    InProcessMean mean = new InProcessMean(workers, PATIENCE);
    try (ExecutorService threads = Executors.newFixedThreadPool(workers)) {
      List<Future<float[]>> results = new ArrayList<>();
      for (int r = 0; r < workers; r++) {
        int rank = r;
        results.add(
            threads.submit(() ->
                run(
                    builder().vectorMean(mean.worker(rank)),
                    (layer, all) -> {
                      Shard shard = all.get(rank);
                      layer.accumulate(shard.a, shard.g, shard.rows);
                    })));
      }
      for (Future<float[]> result : results) {
        assertArrayEquals(one, result.get());
      }
    }
  }

  /** The mean of the vectors, as the released program has it divided twice. */
  @Test
  void defect1TheMeanIsNotDividedByTheNumberOfWorkersAgain() throws Exception {
    int workers = 4;
    draw(workers, true);
    float[] concatenated =
        run(
            builder(),
            (layer, all) -> {
              Tensor a = Tensor.allocate(arena, DType.F32, IN + 1);
              Tensor g = Tensor.allocate(arena, DType.F32, OUT);
              for (Shard shard : all) {
                add(a, shard.a, workers);
                add(g, shard.g, workers);
              }
              layer.observe(a, g);
            });
    InProcessMean mean = new InProcessMean(workers, PATIENCE);
    try (ExecutorService threads = Executors.newFixedThreadPool(workers)) {
      List<Future<float[]>> results = new ArrayList<>();
      for (int r = 0; r < workers; r++) {
        int rank = r;
        // A mean and a sum give the same: every second worker's exchange divides.
        VectorMean exchange =
            flat -> {
              mean.worker(rank).reduce(flat);
              if (rank % 2 == 0) {
                for (int i = 0; i < flat.size(); i++) {
                  flat.setDouble(flat.getDouble(i) / workers, i);
                }
              }
            };
        results.add(
            threads.submit(() ->
                run(
                    builder().vectorMean(exchange),
                    (layer, all) -> layer.observe(all.get(rank).a, all.get(rank).g))));
      }
      for (Future<float[]> result : results) {
        assertArrayEquals(concatenated, result.get(), 1e-5f);
      }
    }
  }

  private static void add(Tensor sum, Tensor vector, int workers) {
    for (int i = 0; i < sum.size(); i++) {
      sum.setDouble(sum.getDouble(i) + vector.getDouble(i) / workers, i);
    }
  }

  @Test
  void aLayerThatSomeWorkersHaveNotSeenTakesTheMeanOfTheOthers() throws Exception {
    draw(2, true);
    float[] one = run(builder(), (layer, all) -> layer.observe(all.get(1).a, all.get(1).g));
    InProcessMean mean = new InProcessMean(2, PATIENCE);
    try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
      Future<float[]> blind =
          threads.submit(() -> run(builder().vectorMean(mean.worker(0)), (layer, all) -> {}));
      Future<float[]> seeing =
          threads.submit(() ->
              run(
                  builder().vectorMean(mean.worker(1)),
                  (layer, all) -> layer.observe(all.get(1).a, all.get(1).g)));
      assertArrayEquals(one, blind.get());
      assertArrayEquals(one, seeing.get());
    }
  }

  @Test
  void aWorkerThatWaitsInVainFails() throws Exception {
    InProcessMean mean = new InProcessMean(2, Duration.ofMillis(20));
    Tensor flat = Tensor.allocate(arena, DType.F64, 3);
    IllegalStateException error =
        assertThrows(IllegalStateException.class, () -> mean.worker(1).reduce(flat));
    assertTrue(error.getMessage().startsWith("worker 1: expected all 2 workers"));
  }

  @Test
  void vectorsOfDifferentLengthsFailInAllWorkers() throws Exception {
    InProcessMean mean = new InProcessMean(2, PATIENCE);
    try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
      List<Future<?>> results = new ArrayList<>();
      for (int r = 0; r < 2; r++) {
        int rank = r;
        Tensor flat = Tensor.allocate(arena, DType.F64, 3 + r);
        results.add(threads.submit(() -> mean.worker(rank).reduce(flat)));
      }
      for (Future<?> result : results) {
        assertEquals(
            IllegalStateException.class,
            assertThrows(ExecutionException.class, result::get).getCause().getClass());
      }
    }
  }
}

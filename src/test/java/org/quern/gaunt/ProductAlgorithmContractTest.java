package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/** Every algorithm on every tier of this machine, a tile at a time, against the formula. */
class ProductAlgorithmContractTest {
  private static final int[][] SHAPES = {
    {0, 0, 0},
    {0, 1, 1},
    {1, 0, 1},
    {1, 1, 0},
    {1, 1, 1},
    {1, 1, 2},
    {0, 3, 3},
    {2, 2, 2},
    {2, 2, 4},
    {2, 4, 3},
    {2, 4, 2},
    {4, 2, 2},
    {3, 3, 3},
    {3, 3, 6},
    {3, 1, 3},
    {4, 4, 4},
    {4, 4, 8},
    {5, 4, 7},
    {5, 5, 10},
    {6, 6, 6},
    {3, 6, 5},
    {8, 4, 4},
    {6, 6, 12},
    {7, 7, 7},
    {3, 9, 8}
  };

  /** An algorithm on a tier; without one the cross product. */
  private record Kind(@Nullable Algorithm algorithm, Tier tier) {
    ProductAlgorithm of(TrilinearForm form, DType type) {
      return algorithm == null
          ? new CrossHybrid(form, type, tier)
          : GauntProduct.algorithm(algorithm, form, type, tier);
    }

    Couplings couplings(TrilinearForm form) {
      return Couplings.of(algorithm == null, form.degree(0), form.degree(1), form.degree(2));
    }
  }

  static Stream<Kind> kinds() {
    return Capabilities.get().available().stream()
        .filter(GauntProduct.TIERS::contains)
        .flatMap(tier ->
            Stream.concat(Stream.of((Algorithm) null), Stream.of(Algorithm.values()))
                .map(algorithm -> new Kind(algorithm, tier)));
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void agreesWithTheFormulaForEveryTarget(Kind kind) {
    for (int seed = 0; seed < SHAPES.length; seed++) {
      check(kind, SHAPES[seed], DType.F64, 1e-13, seed);
      check(kind, SHAPES[seed], DType.F32, 5e-7, seed);
    }
  }

  private static void check(Kind kind, int[] degrees, DType type, double tolerance, int seed) {
    SplittableRandom random = new SplittableRandom(seed);
    double[][] scales = new double[3][];
    for (int i = 0; i < 3; i++) {
      scales[i] = random.doubles(degrees[i] + 1, 0.5, 2).toArray();
    }
    TrilinearForm form = new TrilinearForm(degrees, scales);
    ProductAlgorithm algorithm = kind.of(form, type);
    try (Arena arena = Arena.ofConfined()) {
      Tile[] tiles = new Tile[3];
      Tile[] results = new Tile[3];
      for (int i = 0; i < 3; i++) {
        tiles[i] = new Tile(arena, form.components(i), algorithm.channels(), type, random);
        results[i] = new Tile(arena, form.components(i), algorithm.channels(), type, random);
      }
      MemorySegment scratch = arena.allocate(Math.max(1, algorithm.scratchBytes()), 64);
      for (int target = 0; target < 3; target++) {
        results[target].contract(algorithm, target, tiles, scratch);
      }
      String what = kind + " " + Arrays.toString(degrees) + " " + type;
      compare(what, kind.couplings(form), form, tiles, results, tolerance);
      for (int i = 0; i < 2; i++) {
        results[i].fill(Double.NaN);
      }
      algorithm.gradients(
          tiles[0].memory,
          tiles[0].at,
          tiles[0].step,
          tiles[1].memory,
          tiles[1].at,
          tiles[1].step,
          tiles[2].memory,
          tiles[2].at,
          tiles[2].step,
          results[0].memory,
          results[0].at,
          results[0].step,
          results[1].memory,
          results[1].at,
          results[1].step,
          scratch);
      compare(what + " gradients", kind.couplings(form), form, tiles, results, tolerance);
    }
  }

  /** The relative error in the Frobenius norm, and that nothing is written between the rows. */
  private static void compare(
      String what,
      Couplings couplings,
      TrilinearForm form,
      Tile[] tiles,
      Tile[] results,
      double tolerance) {
    int channels = tiles[0].channels;
    double[][][] expected = new double[3][][];
    for (int i = 0; i < 3; i++) {
      expected[i] = new double[form.components(i)][channels];
    }
    for (int e = 0; e < couplings.size(); e++) {
      int i = couplings.first(e);
      int j = couplings.second(e);
      int k = couplings.out(e);
      double value =
          couplings.value(e)
              * form.scale(0, (int) Math.sqrt(i))
              * form.scale(1, (int) Math.sqrt(j))
              * form.scale(2, (int) Math.sqrt(k));
      for (int c = 0; c < channels; c++) {
        expected[0][i][c] += value * tiles[1].get(j, c) * tiles[2].get(k, c);
        expected[1][j][c] += value * tiles[0].get(i, c) * tiles[2].get(k, c);
        expected[2][k][c] += value * tiles[0].get(i, c) * tiles[1].get(j, c);
      }
    }
    for (int target = 0; target < 3; target++) {
      double error = 0;
      double size = 0;
      for (int i = 0; i < form.components(target); i++) {
        for (int c = 0; c < channels; c++) {
          error += Math.pow(results[target].get(i, c) - expected[target][i][c], 2);
          size += Math.pow(expected[target][i][c], 2);
        }
      }
      // Where no path meets the target there is nothing to be relative to.
      double relative = Math.sqrt(error / (size > 0 ? size : 1));
      assertTrue(
          relative <= tolerance, what + " by operand " + target + " has the error " + relative);
      results[target].checkGaps(what);
    }
  }

  /** Rows of channels at a stride, not aligned to a vector. */
  private static final class Tile {
    private static final double GUARD = 1234.5;

    final MemorySegment memory;
    final int channels;
    final long at;
    final long step;
    private final DType type;
    private final int rows;

    Tile(Arena arena, int rows, int channels, DType type, SplittableRandom random) {
      this.rows = rows;
      this.channels = channels;
      this.type = type;
      at = (long) random.nextInt(3) * type.bytes();
      step = (long) (channels + random.nextInt(3)) * type.bytes();
      memory = arena.allocate(at + rows * step, 64);
      for (long byteAt = 0; byteAt < memory.byteSize(); byteAt += type.bytes()) {
        Cells.set(memory, type, byteAt, GUARD);
      }
      for (int i = 0; i < rows; i++) {
        for (int c = 0; c < channels; c++) {
          Cells.set(memory, type, at(i, c), random.nextDouble(-1, 1));
        }
      }
    }

    private long at(int i, int c) {
      return at + i * step + (long) c * type.bytes();
    }

    double get(int i, int c) {
      return Cells.get(memory, type, at(i, c));
    }

    void fill(double value) {
      for (int i = 0; i < rows; i++) {
        for (int c = 0; c < channels; c++) {
          Cells.set(memory, type, at(i, c), value);
        }
      }
    }

    void contract(ProductAlgorithm algorithm, int target, Tile[] tiles, MemorySegment scratch) {
      Tile x = tiles[target == 0 ? 1 : 0];
      Tile y = tiles[target == 2 ? 1 : 2];
      fill(Double.NaN);
      algorithm.contract(
          target, x.memory, x.at, x.step, y.memory, y.at, y.step, memory, at, step, scratch);
    }

    void checkGaps(String what) {
      for (long byteAt = 0; byteAt < at; byteAt += type.bytes()) {
        assertEquals(GUARD, Cells.get(memory, type, byteAt), what + " wrote before the tile");
      }
      for (int i = 0; i < rows; i++) {
        for (long byteAt = at(i, channels);
            byteAt < Math.min(at(i, 0) + step, memory.byteSize());
            byteAt += type.bytes()) {
          assertEquals(GUARD, Cells.get(memory, type, byteAt), what + " wrote between rows");
        }
      }
    }
  }
}

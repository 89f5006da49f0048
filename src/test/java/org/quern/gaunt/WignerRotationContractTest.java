package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Rotations of coefficients on every tier of this machine, for channels around a tile's. */
class WignerRotationContractTest {
  static Stream<Tier> tiers() {
    return GauntProduct.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void rotatesEveryChannel(Tier tier) {
    int degree = 5;
    int components = (degree + 1) * (degree + 1);
    for (int seed = 0; seed < 20; seed++) {
      SplittableRandom random = new SplittableRandom(seed);
      int channels = new int[] {1, 15, 16, 17, 31, 32, 67}[seed % 7];
      DType type = seed % 2 == 0 ? DType.F32 : DType.F64;
      int rows = random.nextInt(3);
      WignerD d =
          WignerD.ofAngles(
              random.nextDouble(6), random.nextDouble(3), random.nextDouble(6), degree);
      try (Arena arena = Arena.ofConfined()) {
        Tensor x = strided(arena, type, random.nextInt(3), rows, components, channels);
        Tensor out = strided(arena, type, random.nextInt(3), rows, components, channels);
        for (int b = 0; b < rows; b++) {
          for (int i = 0; i < components; i++) {
            for (int c = 0; c < channels; c++) {
              x.setDouble(random.nextDouble(-1, 1), b, i, c);
            }
          }
        }
        out.fill(Double.NaN);
        d.rotate(x, out, tier);
        for (int b = 0; b < rows; b++) {
          for (int l = 0; l <= degree; l++) {
            for (int m = -l; m <= l; m++) {
              for (int c = 0; c < channels; c++) {
                double expected = 0;
                for (int n = -l; n <= l; n++) {
                  expected += d.get(l, m, n) * x.getDouble(b, l * l + l + n, c);
                }
                assertEquals(
                    expected,
                    out.getDouble(b, l * l + l + m, c),
                    type == DType.F32 ? 1e-6 : 1e-14,
                    tier + " seed " + seed + " degree " + l);
              }
            }
          }
        }
      }
    }
  }

  private static Tensor strided(Arena arena, DType type, int gap, long... shape) {
    long row = shape[2] + gap;
    long bytes = Math.max(1, row * shape[0] * shape[1]) * type.bytes() + 64;
    MemorySegment memory = arena.allocate(bytes, 64);
    return Tensor.of(memory.asSlice(type.bytes()), type, row, shape);
  }
}

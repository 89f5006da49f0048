package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.quern.io.SafetensorsFile;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class WignerDTest {
  /** The recorded cases, beside the project where it is developed. */
  private static final Path GOLDEN = Path.of("..", "shared", "golden", "gaunt");

  private static double[] randomRotation(Random random, boolean improper) {
    double[] r =
        WignerD.rotation(
            2 * Math.PI * random.nextDouble(),
            Math.acos(2 * random.nextDouble() - 1),
            2 * Math.PI * random.nextDouble());
    return improper ? Arrays.stream(r).map(a -> -a).toArray() : r;
  }

  private static double[] times(double[] a, double[] b, int n) {
    double[] product = new double[n * n];
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < n; j++) {
        for (int k = 0; k < n; k++) {
          product[i * n + j] += a[i * n + k] * b[k * n + j];
        }
      }
    }
    return product;
  }

  private static double[] apply(double[] r, double x, double y, double z) {
    return new double[] {
      r[0] * x + r[1] * y + r[2] * z, r[3] * x + r[4] * y + r[5] * z, r[6] * x + r[7] * y + r[8] * z
    };
  }

  private static double[] harmonics(int degree, double[] v) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor out = Tensor.allocate(arena, DType.F64, 1, (degree + 1L) * (degree + 1));
      SphericalHarmonics.builder(degree).build().values(Tensor.copyOf(arena, v, 1, 3), out);
      return out.toDoubleArray();
    }
  }

  @Test
  void rotatesSphericalHarmonicsToDegree32() {
    for (int seed = 0; seed < 12; seed++) {
      Random random = new Random(seed);
      double[] r = randomRotation(random, seed % 3 == 0);
      WignerD d = WignerD.of(r, 32);
      assertEquals(seed % 3 == 0, d.isImproper());
      double[] v = {random.nextGaussian(), random.nextGaussian(), random.nextGaussian()};
      double[] before = harmonics(32, v);
      double[] after = harmonics(32, apply(r, v[0], v[1], v[2]));
      for (int l = 0; l <= 32; l++) {
        for (int m = -l; m <= l; m++) {
          double sum = 0;
          for (int n = -l; n <= l; n++) {
            sum += d.get(l, m, n) * before[l * l + l + n];
          }
          // R v is rounded, and Y has slopes of (l + 1) sqrt((2 l + 1) / 4 pi).
          double tolerance = 5e-16 * Math.pow(l + 2, 1.5);
          assertEquals(after[l * l + l + m], sum, tolerance, "seed " + seed + " degree " + l);
        }
      }
    }
  }

  @Test
  void blocksAreOrthogonalAndComposeAsRotationsDo() {
    for (int seed = 0; seed < 4; seed++) {
      Random random = new Random(100 + seed);
      double[] first = randomRotation(random, seed % 2 == 0);
      double[] second = randomRotation(random, seed % 3 == 0);
      WignerD d1 = WignerD.of(first, 32);
      WignerD d2 = WignerD.of(second, 32);
      WignerD both = WignerD.of(times(first, second, 3), 32);
      for (int l = 0; l <= 32; l += l < 8 ? 1 : 4) {
        int size = 2 * l + 1;
        double[] block = d1.block(l);
        double[] transposed = new double[size * size];
        double[] identity = new double[size * size];
        for (int i = 0; i < size; i++) {
          identity[i * size + i] = 1;
          for (int j = 0; j < size; j++) {
            transposed[j * size + i] = block[i * size + j];
          }
        }
        String what = "seed " + seed + " degree " + l;
        assertArrayEquals(identity, times(block, transposed, size), 1e-15 * (2 + l), what);
        assertArrayEquals(both.block(l), times(block, d2.block(l), size), 2e-15 * (2 + l), what);
      }
    }
  }

  @Test
  void degreeOneIsTheMatrixAndInversionIsParity() {
    double[] r = randomRotation(new Random(3), true);
    assertArrayEquals(r, WignerD.of(r, 1).block(1), 1e-15);
    WignerD inversion = WignerD.of(new double[] {-1, 0, 0, 0, -1, 0, 0, 0, -1}, 8);
    for (int l = 0; l <= 8; l++) {
      for (Parity parity : Parity.values()) {
        double[] block = inversion.block(new Irrep(l, parity));
        for (int i = 0; i < block.length; i++) {
          assertEquals(i % (2 * l + 2) == 0 ? parity.sign() : 0, block[i], 1e-14);
        }
      }
    }
  }

  @Test
  void anglesTurnAboutYAndX() {
    assertArrayEquals(
        new double[] {1, 0, 0}, apply(WignerD.rotation(Math.PI / 2, 0, 0), 0, 0, 1), 1e-15);
    assertArrayEquals(
        new double[] {0, 0, 1}, apply(WignerD.rotation(0, Math.PI / 2, 0), 0, 1, 0), 1e-15);
    // A point of polar angle beta and azimuth alpha.
    double[] pole = apply(WignerD.rotation(0.4, 1.1, 2.5), 0, 1, 0);
    assertArrayEquals(
        new double[] {Math.sin(1.1) * Math.sin(0.4), Math.cos(1.1), Math.sin(1.1) * Math.cos(0.4)},
        pole,
        1e-15);
    double[] about = times(WignerD.rotation(0.4, 0, 0), WignerD.rotation(0, 1.1, 2.5), 3);
    assertArrayEquals(about, WignerD.rotation(0.4, 1.1, 2.5), 1e-15);
    assertArrayEquals(
        WignerD.of(about, 3).block(3), WignerD.ofAngles(0.4, 1.1, 2.5, 3).block(3), 1e-15);
  }

  @Test
  void recordedRotationsAreReproduced() throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    try (Arena arena = Arena.ofConfined();
        SafetensorsFile golden =
            SafetensorsFile.open(GOLDEN.resolve("rotation_3_3_6.safetensors"))) {
      double[] rotations = golden.load("R", arena).toDoubleArray();
      for (int q = 0; q < 3; q++) {
        WignerD d = WignerD.of(Arrays.copyOfRange(rotations, 9 * q, 9 * q + 9), 6);
        assertEquals(q == 2, d.isImproper());
        for (String name : new String[] {"D1", "D3"}) {
          Tensor expected = golden.load(name, arena);
          int n = (int) expected.dim(1);
          for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
              int l = (int) Math.sqrt(i);
              boolean inside = (int) Math.sqrt(j) == l;
              double value = inside ? d.get(l, i - l * l - l, j - l * l - l) : 0;
              assertEquals(expected.getDouble(q, i, j), value, 1e-13, name + " " + i + " " + j);
            }
          }
        }
        // Rows of two functions of degree 3, as one-channel coefficients and as features.
        for (String name : new String[] {"x1", "x2"}) {
          double[] x = golden.load(name, arena).toDoubleArray();
          Tensor rotated = golden.load(name + "_rot", arena);
          Tensor out = Tensor.allocate(arena, DType.F64, 2, 16, 1);
          WignerD d3 = WignerD.of(Arrays.copyOfRange(rotations, 9 * q, 9 * q + 9), 3);
          d3.rotate(Tensor.copyOf(arena, x, 2, 16, 1), out);
          Tensor flat = Tensor.allocate(arena, DType.F64, 2, 16);
          d3.rotate(Irreps.natural(1, 3), Tensor.copyOf(arena, x, 2, 16), flat);
          for (int b = 0; b < 2; b++) {
            for (int i = 0; i < 16; i++) {
              assertEquals(rotated.getDouble(q, b, i), out.getDouble(b, i, 0), 1e-13);
              assertEquals(rotated.getDouble(q, b, i), flat.getDouble(b, i), 1e-13);
            }
          }
        }
      }
    }
  }

  @Test
  void rotatesFeaturesByBlocks() {
    Irreps irreps = Irreps.parse("2x0o+1x2o+2x1o+0x3e+1x1e");
    Random random = new Random(5);
    WignerD d = WignerD.of(randomRotation(random, true), 2);
    double[] x = random.doubles(3 * 16L, -1, 1).toArray();
    try (Arena arena = Arena.ofConfined()) {
      Tensor out = Tensor.allocate(arena, DType.F64, 3, 16);
      d.rotate(irreps, Tensor.copyOf(arena, x, 3, 16), out);
      for (int b = 0; b < 3; b++) {
        assertEquals(-x[16 * b], out.getDouble(b, 0));
        assertEquals(-x[16 * b + 1], out.getDouble(b, 1));
        assertBlock(d.block(Irrep.parse("2o")), x, 16 * b + 2, out, b, 2);
        assertBlock(d.block(Irrep.parse("1o")), x, 16 * b + 7, out, b, 7);
        assertBlock(d.block(Irrep.parse("1o")), x, 16 * b + 10, out, b, 10);
        assertBlock(d.block(Irrep.parse("1e")), x, 16 * b + 13, out, b, 13);
      }
    }
    assertFalse(Arrays.equals(d.block(Irrep.parse("1o")), d.block(Irrep.parse("1e"))));
  }

  private static void assertBlock(double[] block, double[] x, int from, Tensor out, int b, int at) {
    int size = (int) Math.sqrt(block.length);
    for (int i = 0; i < size; i++) {
      double sum = 0;
      for (int j = 0; j < size; j++) {
        sum += block[i * size + j] * x[from + j];
      }
      assertEquals(sum, out.getDouble(b, at + i), 1e-15);
    }
  }

  @Test
  void wrongArgumentsAreNamed() {
    double[] identity = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    for (int degree : new int[] {-1, 65}) {
      assertMessage("degree: expected 0 to 64, got " + degree, () -> WignerD.of(identity, degree));
    }
    assertMessage("rotation: expected 9 numbers, got 8", () -> WignerD.of(new double[8], 1));
    double[] stretched = {1, 0, 0, 0, 1.5, 0, 0, 0, 1};
    assertMessage(
        "rotation: expected an orthogonal matrix, got "
            + Arrays.toString(stretched)
            + ", whose product with its transpose differs from the identity by 1.25",
        () -> WignerD.of(stretched, 1));
    double[] broken = identity.clone();
    broken[4] = Double.NaN;
    assertThrows(IllegalArgumentException.class, () -> WignerD.of(broken, 1));
    assertThrows(
        IllegalArgumentException.class, () -> WignerD.ofAngles(Double.POSITIVE_INFINITY, 0, 0, 1));
    WignerD d = WignerD.of(identity, 1);
    try (Arena arena = Arena.ofConfined()) {
      Tensor x = Tensor.allocate(arena, DType.F32, 2, 4, 3);
      Tensor flat = Tensor.allocate(arena, DType.F32, 2, 4);
      Tensor wrong = Tensor.allocate(arena, DType.F64, 2, 4, 3);
      Tensor whole = Tensor.allocate(arena, DType.I32, 2, 4, 3);
      assertMessage("x: expected [B, 4, C] for degree 1, got " + flat, () -> d.rotate(flat, flat));
      assertMessage("out: expected F32[2, 4, 3], got " + wrong, () -> d.rotate(x, wrong));
      assertMessage("x: expected F32 or F64, got " + whole, () -> d.rotate(whole, whole));
      assertMessage(
          "x: expected [B, 5] for 2x0e+1x1o, got " + flat,
          () -> d.rotate(Irreps.parse("2x0e+1o"), flat, flat));
      assertMessage(
          "irreps: expected degrees up to 1, got 1x2e",
          () -> d.rotate(Irreps.parse("2e"), flat, flat));
    }
    assertTrue(d.degree() == 1 && !d.isImproper());
  }

  private static void assertMessage(String message, Runnable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call::run).getMessage());
  }
}

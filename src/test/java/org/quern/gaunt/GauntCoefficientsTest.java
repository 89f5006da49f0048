package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.MathContext;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.io.Csv;
import org.quern.io.SafetensorsFile;

class GauntCoefficientsTest {
  /** The recorded cases, beside the project where it is developed. */
  private static final Path GOLDEN = Path.of("..", "shared", "golden", "gaunt");

  /** The recorded values were not rounded once: some are that far from the exact root. */
  private static final int RECORDED_ULPS = 3;

  private static final BigDecimal PI =
      new BigDecimal("3.14159265358979323846264338327950288419716939937510582097494");

  /** The double next to an exact coefficient, by decimal arithmetic. */
  private static double rounded(SignedRoot exact) {
    MathContext digits = new MathContext(50);
    return exact.sign()
        * new BigDecimal(exact.numerator())
            .divide(new BigDecimal(exact.denominator()), digits)
            .divide(PI.multiply(BigDecimal.valueOf(4)), digits)
            .sqrt(digits)
            .doubleValue();
  }

  @ParameterizedTest
  @ValueSource(strings = {"gaunt_2_2_4.csv", "gaunt_3_3_6.csv"})
  void recordedFractionsAreReproduced(String file) throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    Csv golden = Csv.read(GOLDEN.resolve(file));
    int degree = file.charAt(6) - '0';
    Couplings table = GauntCoefficients.table(degree, degree, 2 * degree);
    assertEquals(golden.size(), table.size());
    for (int n = 0; n < golden.size(); n++) {
      String row = "row " + n;
      int l1 = (int) golden.number(n, "l1");
      int m1 = (int) golden.number(n, "m1");
      int l2 = (int) golden.number(n, "l2");
      int m2 = (int) golden.number(n, "m2");
      int l3 = (int) golden.number(n, "l3");
      int m3 = (int) golden.number(n, "m3");
      double value = golden.number(n, "value");
      SignedRoot exact = GauntCoefficients.exact(l1, m1, l2, m2, l3, m3);
      assertEquals((int) golden.number(n, "sign"), exact.sign(), row);
      assertEquals(
          new BigInteger(golden.text(n, "four_pi_times_square_num")), exact.numerator(), row);
      assertEquals(
          new BigInteger(golden.text(n, "four_pi_times_square_den")), exact.denominator(), row);
      assertEquals(rounded(exact), exact.value(), row);
      assertEquals(value, exact.value(), RECORDED_ULPS * Math.ulp(value), row);
      assertEquals(exact.value(), GauntCoefficients.value(l1, m1, l2, m2, l3, m3), row);
      assertEquals(l1 * l1 + l1 + m1, table.first(n), row);
      assertEquals(l2 * l2 + l2 + m2, table.second(n), row);
      assertEquals(l3 * l3 + l3 + m3, table.out(n), row);
      assertEquals(exact.value(), table.value(n), row);
    }
  }

  @Test
  void theRecordedTableIsReproduced() throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    try (Arena arena = Arena.ofConfined();
        SafetensorsFile golden = SafetensorsFile.open(GOLDEN.resolve("gaunt_6_6_12.safetensors"))) {
      double[] value = golden.load("value", arena).toDoubleArray();
      double[] i = golden.load("i", arena).toDoubleArray();
      double[] j = golden.load("j", arena).toDoubleArray();
      double[] k = golden.load("k", arena).toDoubleArray();
      Couplings table = GauntCoefficients.table(6, 6, 12);
      assertEquals(value.length, table.size());
      for (int n = 0; n < value.length; n++) {
        assertEquals(i[n], table.first(n));
        assertEquals(j[n], table.second(n));
        assertEquals(k[n], table.out(n));
        assertEquals(value[n], table.value(n), RECORDED_ULPS * Math.ulp(value[n]));
      }
    }
  }

  @Test
  void recordedPathConstantsAreReproduced() throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    Csv golden = Csv.read(GOLDEN.resolve("path_constants.csv"));
    for (int n = 0; n < golden.size(); n++) {
      double expected = golden.number(n, "constant");
      double constant =
          GauntCoefficients.pathConstant(
              (int) golden.number(n, "l1"),
              (int) golden.number(n, "l2"),
              (int) golden.number(n, "l3"));
      assertEquals(expected, constant, 4 * Math.ulp(expected), "row " + n);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "2,2,4,162",
    "3,3,6,708",
    "4,4,8,2229",
    "5,5,10,5605",
    "6,6,12,12322",
    "8,8,16,44287",
    "10,10,20,122442",
    "4,4,4,1158",
    "6,6,6,6460",
    "8,8,8,23621",
    "10,10,10,65913"
  })
  void tablesHaveTheKnownNumberOfEntries(int degree1, int degree2, int degree3, int size) {
    assertEquals(size, GauntCoefficients.table(degree1, degree2, degree3).size());
  }
}

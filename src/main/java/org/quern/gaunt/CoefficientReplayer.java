package org.quern.gaunt;

import java.io.IOException;
import java.math.BigInteger;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.quern.family.Replay;
import org.quern.io.Csv;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Replays recorded coefficients. */
final class CoefficientReplayer {
  static final Set<String> COEFFICIENTS = Set.of("l1", "m1", "l2", "m2", "l3", "m3", "value");
  static final Set<String> CONSTANTS = Set.of("l1", "l2", "l3", "parity", "constant");

  /** Recorded decimals were computed in binary64 and are up to 3 units off the exact values. */
  private static final double RECORDED_ULPS = 4;

  private static final String ULPS = "units in the last place";

  private final Replay replay;

  CoefficientReplayer(Replay replay) {
    this.replay = replay;
  }

  /** Every non-zero coefficient, by component. */
  void tensors(GoldenTensors file) throws IOException {
    int[] i = file.ints("i");
    int[] j = file.ints("j");
    int[] k = file.ints("k");
    file.requireShape("j", i.length);
    file.requireShape("k", i.length);
    file.requireShape("value", i.length);
    Tensor value = file.plain("value", DType.F64);
    double worst = 0;
    int highest1 = 0;
    int highest2 = 0;
    int highest3 = 0;
    for (int entry = 0; entry < i.length; entry++) {
      int l1 = LayerReplayer.degreeOf(i[entry]);
      int l2 = LayerReplayer.degreeOf(j[entry]);
      int l3 = LayerReplayer.degreeOf(k[entry]);
      highest1 = Math.max(highest1, l1);
      highest2 = Math.max(highest2, l2);
      highest3 = Math.max(highest3, l3);
      double got =
          GauntCoefficients.value(
              l1,
              i[entry] - l1 * l1 - l1,
              l2,
              j[entry] - l2 * l2 - l2,
              l3,
              k[entry] - l3 * l3 - l3);
      worst = Math.max(worst, ulps(got, value.getDouble(entry)));
    }
    file.record("value", worst, RECORDED_ULPS, ULPS);
    int count = GauntCoefficients.table(highest1, highest2, highest3).size();
    file.record("number of non-zero values", Math.abs(count - i.length), 0, "values");
  }

  void coefficients(String name, Csv csv) throws IOException {
    boolean exact = csv.header().contains("four_pi_times_square_num");
    double worst = 0;
    double unequal = 0;
    int[] highest = new int[3];
    for (int row = 0; row < csv.size(); row++) {
      int[] d = new int[6];
      int at = 0;
      for (String column : List.of("l1", "m1", "l2", "m2", "l3", "m3")) {
        d[at++] = (int) csv.number(row, column);
      }
      for (int operand = 0; operand < 3; operand++) {
        highest[operand] = Math.max(highest[operand], d[2 * operand]);
      }
      double got = GauntCoefficients.value(d[0], d[1], d[2], d[3], d[4], d[5]);
      worst = Math.max(worst, ulps(got, csv.number(row, "value")));
      if (exact) {
        SignedRoot root = GauntCoefficients.exact(d[0], d[1], d[2], d[3], d[4], d[5]);
        boolean same =
            root.numerator().equals(integer(csv, row, "four_pi_times_square_num"))
                && root.denominator().equals(integer(csv, row, "four_pi_times_square_den"))
                && root.sign() == (int) csv.number(row, "sign");
        unequal += same ? 0 : 1;
      }
    }
    replay.record(name, "value", worst, RECORDED_ULPS, ULPS);
    if (exact) {
      replay.record(name, "4 pi value^2, sign", unequal, 0, "unequal fractions");
    }
    int count = GauntCoefficients.table(highest[0], highest[1], highest[2]).size();
    replay.record(name, "number of non-zero values", Math.abs(count - csv.size()), 0, "values");
  }

  private static BigInteger integer(Csv csv, int row, String column) {
    return new BigInteger(csv.text(row, column).strip());
  }

  void constants(String name, Csv csv) throws IOException {
    double worst = 0;
    double wrong = 0;
    for (int row = 0; row < csv.size(); row++) {
      int l1 = (int) csv.number(row, "l1");
      int l2 = (int) csv.number(row, "l2");
      int l3 = (int) csv.number(row, "l3");
      String parity = (l1 + l2 + l3) % 2 == 0 ? "even" : "odd";
      wrong += csv.text(row, "parity").strip().toLowerCase(Locale.ROOT).equals(parity) ? 0 : 1;
      double got = GauntCoefficients.pathConstant(l1, l2, l3);
      worst = Math.max(worst, ulps(got, csv.number(row, "constant")));
    }
    replay.record(name, "constant", worst, RECORDED_ULPS, ULPS);
    replay.record(name, "parity", wrong, 0, "paths");
  }

  private static double ulps(double got, double expected) {
    return Math.abs(got - expected) / Math.ulp(expected);
  }
}

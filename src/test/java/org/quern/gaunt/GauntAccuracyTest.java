package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/** The accuracy that is promised, at low and high degrees, on the tier that is chosen here. */
class GauntAccuracyTest {
  private static final Tier TIER = GauntProduct.builder(0, 0, 0).build().tier();

  @ParameterizedTest
  @EnumSource
  void everyAlgorithmIsExactToRounding(Algorithm algorithm) {
    for (int degree : new int[] {1, 4, 10, 11, 16}) {
      if (GauntAccuracyTool.applies(algorithm, degree)) {
        String what = algorithm + " degree " + degree + ": ";
        double single = GauntAccuracyTool.error(algorithm, DType.F32, TIER, degree);
        assertTrue(single <= (degree <= 10 ? 5e-7 : 1e-6), what + single);
        double full = GauntAccuracyTool.error(algorithm, DType.F64, TIER, degree);
        assertTrue(full <= 1e-13, what + full);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 3, 4, 5, 8, 11, 16, 20, 32})
  void productsTurnWithTheirOperands(int degree) {
    // A class for a shape this large takes seconds to write and to warm up.
    Tier tier = degree > 16 ? Tier.SCALAR : TIER;
    double single = GauntAccuracyTool.turnError(DType.F32, tier, degree);
    assertTrue(single <= 1e-6, "F32 degree " + degree + ": " + single);
    double full = GauntAccuracyTool.turnError(DType.F64, tier, degree);
    assertTrue(full <= 1e-13, "F64 degree " + degree + ": " + full);
  }
}

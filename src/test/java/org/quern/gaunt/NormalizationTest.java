package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class NormalizationTest {
  @Test
  void factorsGiveTheStatedSumsOfSquares() {
    for (int l = 0; l <= 32; l++) {
      double orthonormal = (2 * l + 1) / (4 * Math.PI);
      double component = Normalization.COMPONENT.factor(l);
      double norm = Normalization.NORM.factor(l);
      assertEquals(1, Normalization.INTEGRAL.factor(l));
      assertEquals(2 * l + 1, component * component * orthonormal, 1e-14 * (2 * l + 1));
      assertEquals(1, norm * norm * orthonormal, 1e-15);
    }
  }

  @Test
  void negativeDegreesAreNamed() {
    for (Normalization normalization : Normalization.values()) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> normalization.factor(-1));
      assertEquals("degree: expected >= 0, got -1", e.getMessage());
    }
  }
}

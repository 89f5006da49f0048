package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class IrrepsTest {
  private static final Irrep SCALAR = Irrep.parse("0e");
  private static final Irrep VECTOR = Irrep.parse("1o");
  private static final Irrep PSEUDOVECTOR = Irrep.parse("1e");

  @ParameterizedTest
  @CsvSource({
    "128x0e+128x1o+64x2e, 128x0e+128x1o+64x2e",
    "1o, 1x1o",
    "' 2 x 1y + 0y+3y ', 2x1o+1x0e+1x3o",
    "0x4e+16x12o, 0x4e+16x12o",
    "'', ''",
    "'  ', ''"
  })
  void textIsReadAndWritten(String text, String written) {
    Irreps irreps = Irreps.parse(text);
    assertEquals(written, irreps.toString());
    assertEquals(irreps, Irreps.parse(written));
    assertEquals(irreps.hashCode(), Irreps.parse(written).hashCode());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "1",
        "e",
        "1p",
        "2x",
        "x1o",
        "1o+",
        "+1o",
        "-1x1o",
        "1x-1o",
        "2x2x1o",
        "1o 1o",
        "1.5x0e",
        "9999999999x0e",
        "9999999e"
      })
  void otherTextIsNamed(String text) {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> Irreps.parse("0e+" + text));
    assertTrue(
        e.getMessage().startsWith("irreps: expected terms like 128x1o joined by +, got '")
            && e.getMessage().endsWith("' in '0e+" + text + "'"),
        e.getMessage());
  }

  @Test
  void badIrrepsAreNamed() {
    assertEquals(
        "irrep: expected a degree and a parity e, o or y, like 1o, got '2x1o'",
        assertThrows(IllegalArgumentException.class, () -> Irrep.parse("2x1o")).getMessage());
    assertEquals(
        "degree: expected >= 0, got -1",
        assertThrows(IllegalArgumentException.class, () -> new Irrep(-1, Parity.EVEN))
            .getMessage());
    assertEquals(
        "multiplicity: expected >= 0, got -2",
        assertThrows(IllegalArgumentException.class, () -> new Irreps.Block(-2, SCALAR))
            .getMessage());
  }

  @Test
  void dimensionsSlicesAndCounts() {
    Irreps irreps = Irreps.parse("2x0e+3x1o+0x5e+2x2e+1x1o");
    assertEquals(2 + 9 + 0 + 10 + 3, irreps.dimension());
    assertEquals(
        List.of(
            new Irreps.Slice(0, 2),
            new Irreps.Slice(2, 11),
            new Irreps.Slice(11, 11),
            new Irreps.Slice(11, 21),
            new Irreps.Slice(21, 24)),
        irreps.slices());
    assertEquals(4, irreps.count(VECTOR));
    assertEquals(0, irreps.count(PSEUDOVECTOR));
    assertEquals(2, irreps.maxDegree());
    assertEquals(-1, Irreps.of().maxDegree());
    assertThrows(ArithmeticException.class, () -> Irreps.parse("999999999x2e").dimension());
  }

  @Test
  void simplifyJoinsNeighboursOnlyAndSortIsStable() {
    Irreps irreps = Irreps.parse("2x1o+0x0e+3x1o+1x1e+1x0o+2x1o+4x0e");
    assertEquals("5x1o+1x1e+1x0o+2x1o+4x0e", irreps.simplify().toString());
    assertEquals("1x0o+0x0e+4x0e+2x1o+3x1o+2x1o+1x1e", irreps.sorted().toString());
    assertEquals("1x0o+4x0e+7x1o+1x1e", irreps.sorted().simplify().toString());
    assertEquals(
        "1x0o+1x0e+1x1o+1x1e+1x2o+1x2e", Irreps.parse("2o+1e+0o+2e+1o+0e").sorted().toString());
  }

  @Test
  void naturalParity() {
    assertEquals("8x0e+8x1o+8x2e+8x3o", Irreps.natural(8, 3).toString());
    assertTrue(Irreps.natural(8, 3).isNatural());
    assertTrue(Irreps.parse("0o+1e+2o").isPseudo());
    Irreps mixed = Irreps.parse("4x0e+4x1o+2x1e+2x2o");
    assertFalse(mixed.isNatural());
    assertFalse(mixed.isPseudo());
    assertEquals(
        "irreps: expected natural parity in all blocks or in none, got 4x0e+4x1o+2x1e+2x2o;"
            + " split it into 4x0e+4x1o and 2x1e+2x2o",
        assertThrows(IllegalArgumentException.class, mixed::requireUnmixed).getMessage());
    mixed.filter(Irrep::isNatural).requireUnmixed();
    Irreps.parse("0o+1e").requireUnmixed();
  }

  @Test
  void selectionRulesOfOnePath() {
    assertEquals("[0e, 1e, 2e]", VECTOR.times(VECTOR).toString());
    assertEquals("[0e, 2e]", VECTOR.gauntTimes(VECTOR).toString());
    assertEquals("[1e]", VECTOR.crossTimes(VECTOR).toString());
    assertEquals("[1o, 2o, 3o]", Irrep.parse("2e").times(VECTOR).toString());
    assertEquals("[]", SCALAR.crossTimes(VECTOR).toString());
    assertEquals("[0o, 2o]", VECTOR.gauntTimes(PSEUDOVECTOR).toString());
    for (int l1 = 0; l1 <= 4; l1++) {
      for (int l2 = 0; l2 <= 4; l2++) {
        for (Irrep out : Irrep.natural(l1).gauntTimes(Irrep.natural(l2))) {
          assertTrue(out.isNatural());
          assertNotEquals(0, GauntCoefficients.pathConstant(l1, l2, out.degree()));
        }
        for (Irrep out : Irrep.natural(l1).crossTimes(Irrep.natural(l2))) {
          assertFalse(out.isNatural());
          assertNotEquals(0, GauntCoefficients.pathConstant(l1, l2, out.degree()));
        }
      }
    }
  }

  @Test
  void productsOfSumsCountPathsAndKeepTheDimension() {
    Irreps first = Irreps.parse("2x0e+3x1o");
    Irreps second = Irreps.parse("1x1o+2x2o");
    Irreps product = first.times(second);
    assertEquals(first.dimension() * second.dimension(), product.dimension());
    assertEquals("3x0e+2x1o+9x1e+4x2o+9x2e+6x3e", product.toString());
  }

  @Test
  void parities() {
    assertEquals(Parity.ODD, Parity.EVEN.times(Parity.ODD));
    assertEquals(Parity.EVEN, Parity.ODD.times(Parity.ODD));
    assertEquals(-1, Parity.natural(3).sign());
    assertEquals(1, Parity.natural(4).sign());
  }
}

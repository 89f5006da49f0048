package org.quern.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class OutputTest {
  @Test
  void figuresHaveThreeSignificantDigits() {
    assertEquals("0", Output.figure(0));
    assertEquals("48", Output.figure(48));
    assertEquals("1234", Output.figure(1234.4));
    assertEquals("12.3", Output.figure(12.345));
    assertEquals("0.0123", Output.figure(0.012345));
    assertEquals("1.23e-05", Output.figure(1.2345e-5));
    assertEquals("-2.50", Output.figure(-2.5));
    assertEquals("NaN", Output.figure(Double.NaN));
    assertEquals("Infinity", Output.figure(Double.POSITIVE_INFINITY));
  }

  @Test
  void durationsChooseTheirUnit() {
    assertEquals("2.50 s", Output.seconds(2.5));
    assertEquals("12.5 ms", Output.seconds(0.0125));
    assertEquals("3.20 us", Output.seconds(3.2e-6));
  }
}

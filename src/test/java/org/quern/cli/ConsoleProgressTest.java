package org.quern.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class ConsoleProgressTest {
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private final PrintStream stream = new PrintStream(bytes, true, StandardCharsets.UTF_8);

  private String text() {
    return bytes.toString(StandardCharsets.UTF_8);
  }

  @Test
  void linesAreThrottledForEachStep() {
    try (ConsoleProgress progress = new ConsoleProgress(stream, false)) {
      for (int i = 0; i < 1000; i++) {
        progress.report("first", i, 1000);
      }
      progress.report("second", 7, 0);
    }
    assertEquals(List.of("first: 0 of 1000", "second: 7"), text().lines().toList());
  }

  @Test
  void barReachesItsEnd() {
    try (ConsoleProgress progress = new ConsoleProgress(stream, true)) {
      for (int i = 0; i <= 10; i++) {
        progress.report("grinding", i, 10);
      }
    }
    assertTrue(text().contains("grinding 100%"), text());
    assertTrue(text().contains("10/10"), text());
  }
}

package org.quern.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TourCommandTest {
  @TempDir Path directory;

  private Shell tour(boolean sound, String... options) {
    Stream<String> fixed = Stream.of("tour", "--report", directory.resolve("page.html").toString());
    String[] arguments = Stream.concat(fixed, Stream.of(options)).toArray(String[]::new);
    return Shell.run(List.of(new SampleFamily(sound)), arguments);
  }

  @Test
  void printsTheTableAndWritesThePage() throws IOException {
    Shell shell = tour(true);
    assertEquals(0, shell.code(), shell.err());
    List<String> lines = shell.out().lines().toList();
    assertEquals(
        "FAMILY  JOB              TIER       TIME  SPEED-UP  AGAINST     CHECK             RESULT",
        lines.get(0));
    assertEquals(
        "sample  a </script> job  scalar  12.5 ms     3.25x  plain loop  error 0.1 of 0.5  PASS",
        lines.get(1));
    assertEquals(
        "sample  a job alone      scalar   2.50 s         -              equal             PASS",
        lines.get(2));
    try (Stream<Path> files = Files.list(directory)) {
      assertEquals(List.of(directory.resolve("page.html")), files.toList());
    }
  }

  @Test
  void failedCheckIsCode1() {
    Shell shell = tour(false);
    assertEquals(1, shell.code());
    assertTrue(shell.out().contains("error 0.1 of 0.5  FAIL"), shell.out());
  }

  @Test
  void jsonIsPure() {
    JsonObject report = JsonParser.parseString(tour(true, "--json").out()).getAsJsonObject();
    assertTrue(report.get("passed").getAsBoolean());
    JsonObject job = report.getAsJsonArray("jobs").get(1).getAsJsonObject();
    assertEquals(2.5, job.get("seconds").getAsDouble());
    assertTrue(job.get("speedup").isJsonNull());
  }

  @Test
  void pageIsSelfContainedAndEscaped() throws IOException {
    tour(true);
    String page = Files.readString(directory.resolve("page.html"));
    assertTrue(page.contains("a &lt;/script&gt; job"));
    assertTrue(page.contains("Time &lt;per&gt; tier &amp; size"));
    assertTrue(page.contains("\"y\":[8.0,2.0,null,0.5]"));
    assertTrue(page.contains("across: &lt;east&gt;; down: south; blue -2.50, red 2.50"));
    assertEquals(3, page.split("<canvas", -1).length - 1);
    for (String load : List.of(" src=", "@import", "<link", "url(")) {
      assertFalse(page.contains(load), load);
    }
  }

  @Test
  void badUsageIsCode2() {
    assertEquals(2, tour(true, "--threads", "0").code());
    Shell shell =
        Shell.run(List.of(), "tour", "--report", directory.resolve("none/page.html").toString());
    assertEquals(2, shell.code());
    assertTrue(
        shell.err().startsWith("quern: report: expected a file in a writable directory"),
        shell.err());
  }

  @Test
  void aDirectoryIsNotReplaced() throws IOException {
    Path page = directory.resolve("page.html");
    Files.createDirectory(page);
    assertEquals(2, tour(true).code());
    assertTrue(Files.isDirectory(page));
  }
}

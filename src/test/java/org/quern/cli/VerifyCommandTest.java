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
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.quern.family.Family;

class VerifyCommandTest {
  private final List<Family> families = List.of(new SampleFamily(true));

  @TempDir Path directory;

  private void write(String file, String deviation) throws IOException {
    Files.writeString(directory.resolve(file), deviation);
  }

  private Shell verify(String... options) {
    String[] arguments = new String[options.length + 3];
    arguments[0] = "verify";
    arguments[1] = "sample";
    arguments[2] = directory.toString();
    System.arraycopy(options, 0, arguments, 3, options.length);
    return Shell.run(families, arguments);
  }

  @Test
  void passesWhereEveryCaseIsWithinTolerance() throws IOException {
    write("a.case", "0");
    write("b.case", "0.5");
    Shell shell = verify();
    assertEquals(0, shell.code(), shell.err());
    assertEquals(
        List.of(
            "RESULT  TIER    WORST  TOLERANCE  UNIT   FILE    CASE",
            "PASS    scalar      0      0.500  units  a.case  only",
            "PASS    scalar  0.500      0.500  units  b.case  only",
            "",
            "skipped: the other half: not recorded",
            "2 cases, 2 passed, 0 failed"),
        shell.out().lines().toList());
  }

  @Test
  void failsWhereOneCaseDeviates() throws IOException {
    write("a.case", "0.1");
    write("b.case", "0.6");
    Shell shell = verify();
    assertEquals(1, shell.code());
    assertTrue(shell.out().contains("FAIL    scalar  0.600"), shell.out());
    assertTrue(
        shell.out().endsWith("2 cases, 1 passed, 1 failed" + System.lineSeparator()), shell.out());
  }

  @Test
  void failsWhereADeviationIsNotANumber() throws IOException {
    write("a.case", "NaN");
    assertEquals(1, verify().code());
  }

  @Test
  void failsWhereNothingWasReplayed() throws IOException {
    write("notes.txt", "");
    write("README.md", "");
    Shell shell = verify();
    assertEquals(1, shell.code());
    assertTrue(shell.out().contains("not recognised: notes.txt"), shell.out());
    assertFalse(shell.out().contains("README"), shell.out());
  }

  @Test
  void jsonIsPure() throws IOException {
    write("a.case", "NaN");
    write("notes.txt", "");
    Shell shell = verify("--json");
    assertEquals(1, shell.code());
    JsonObject report = JsonParser.parseString(shell.out()).getAsJsonObject();
    assertFalse(report.get("passed").getAsBoolean());
    JsonObject only = report.getAsJsonArray("cases").get(0).getAsJsonObject();
    assertTrue(only.get("worst").isJsonNull());
    assertEquals("a.case", only.get("file").getAsString());
    assertEquals("notes.txt", report.getAsJsonArray("notRecognised").get(0).getAsString());
    assertEquals(
        "not recorded", report.getAsJsonObject("skipped").get("the other half").getAsString());
  }

  @Test
  void badInputIsCode2() throws IOException {
    Shell missing = Shell.run(families, "verify", "sample", directory.resolve("none").toString());
    assertEquals(2, missing.code());
    assertTrue(missing.err().startsWith("quern: DIR: expected a directory"), missing.err());
    Shell unknown = Shell.run(families, "verify", "nothing", directory.toString());
    assertEquals(2, unknown.code());
    assertTrue(
        unknown.err().startsWith("quern: FAMILY: expected one of [sample], got 'nothing'"),
        unknown.err());
    write("a.case", "not a number");
    assertEquals(2, verify().code());
  }

  @Test
  void demandedTierMustBeThere() throws IOException {
    write("a.case", "0");
    assertEquals(0, verify("--tier", "scalar").code());
    Shell absent = verify("--tier", "cuda");
    assertEquals(2, absent.code());
    assertTrue(
        absent.err().startsWith("quern: tier 'cuda' was demanded but cannot run"), absent.err());
    assertEquals(2, verify("--tier", "quantum").code());
  }
}

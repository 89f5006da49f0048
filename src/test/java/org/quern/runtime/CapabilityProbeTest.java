package org.quern.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Each gate of the probe, in a JVM that closes it, and with made-up flags where none can. */
class CapabilityProbeTest {
  private static final String MODULE = "--add-modules=jdk.incubator.vector";

  private static final Map<String, String> GOOD =
      Map.of(
          "UseCompiler", "true",
          "TieredStopAtLevel", "4",
          "UseFMA", "true",
          "EnableVectorSupport", "true",
          "MaxVectorSize", "16");

  @Test
  void childWithoutModuleNamesTheFlag() throws Exception {
    Map<String, String> report = child();
    assertScalar(report, "--add-modules jdk.incubator.vector");
    assertTrue(report.get("stderr").contains("Quern runs its scalar tier"), report.get("stderr"));
    assertEquals(1, report.get("stderr").split("Quern runs", -1).length - 1, "log lines");
  }

  @ParameterizedTest
  @CsvSource({
    "-XX:TieredStopAtLevel=1, remove -XX:TieredStopAtLevel=1",
    "-Xint, remove -Xint",
    "-XX:-UseFMA, remove -XX:-UseFMA",
    "-XX:MaxVectorSize=8, remove -XX:MaxVectorSize=8",
    "-XX:-EnableVectorSupport, remove -XX:-EnableVectorSupport",
  })
  void childWithAFlagThatClosesAGateNamesIt(String flag, String remedy) throws Exception {
    assertScalar(child(MODULE, "-XX:+UnlockExperimentalVMOptions", flag), remedy);
  }

  @Test
  void childWithoutC2FailsTheTimedTrial() throws Exception {
    Map<String, String> report = child(MODULE, "-XX:TieredStopAtLevel=1");
    String refusal = report.get("withoutFlags");
    assertNotNull(refusal, report.toString());
    assertTrue(refusal.contains("does not compile the Vector API"), refusal);
  }

  @Test
  void childWithForcedTierThatIsMissingFails() throws Exception {
    Map<String, String> report = child("-Dquern.tier=vector");
    String error = report.get("error1");
    assertNotNull(error, report.toString());
    assertTrue(error.contains("'vector' was demanded but cannot run"), error);
    assertTrue(error.contains("--add-modules jdk.incubator.vector"), error);
    assertFalse(report.get("stderr").contains("Quern runs"), report.get("stderr"));
  }

  @Test
  void childWithUnknownTierFailsClearlyEveryTime() throws Exception {
    Map<String, String> report = child("-Dquern.tier=fast");
    String expected =
        "java.lang.IllegalArgumentException: tier: expected scalar, vector, native or cuda, got"
            + " 'fast'";
    assertEquals(expected, report.get("error1"));
    assertEquals(expected, report.get("error2"));
  }

  @Test
  void childWithForcedScalarObeysSilently() throws Exception {
    Map<String, String> report = child("-Dquern.tier=Scalar");
    assertEquals("SCALAR", report.get("chosen"));
    assertFalse(report.get("stderr").contains("Quern runs"), report.get("stderr"));
  }

  @Test
  void flagsOfThisVmAreReadAndUnknownOnesAreNull() {
    assertTrue(VmFlags.read("UseFMA").matches("true|false"));
    assertNull(VmFlags.read("NoSuchFlagInAnyVm"));
  }

  @ParameterizedTest
  @CsvSource({
    "UseCompiler, false, remove -Xint",
    "TieredStopAtLevel, 3, remove -XX:TieredStopAtLevel=3",
    "UseFMA, false, remove -XX:-UseFMA",
    "EnableVectorSupport, false, remove -XX:-EnableVectorSupport",
    "MaxVectorSize, 8, remove -XX:MaxVectorSize=8",
  })
  void oneClosedGateRefuses(String flag, String value, String remedy) {
    Map<String, String> flags = new HashMap<>(GOOD);
    flags.put(flag, value);
    String refusal = CapabilityProbe.vectorRefusal(true, flags::get);
    assertNotNull(refusal);
    assertTrue(refusal.contains(remedy), refusal);
  }

  @Test
  void theVmTellsEnoughToDoWithoutATrial() {
    for (String flag : List.of("UseCompiler", "TieredStopAtLevel", "UseFMA", "MaxVectorSize")) {
      assertNotNull(VmFlags.read(flag), flag);
    }
  }

  @Test
  void modelOfTheCpuIsNamed() {
    assertFalse(Capabilities.get().cpu().isBlank());
  }

  private static void assertScalar(Map<String, String> report, String remedy) {
    assertEquals("false", report.get("vector"), report.toString());
    assertTrue(report.get("reason").contains(remedy), report.toString());
    assertEquals("0", report.get("bits"), report.toString());
    assertEquals("SCALAR", report.get("chosen"), report.toString());
  }

  private static Map<String, String> child(String... flags) throws Exception {
    return ChildJvm.run(CapabilitiesReport.class, List.of(flags));
  }
}

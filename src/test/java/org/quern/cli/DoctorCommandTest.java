package org.quern.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.quern.runtime.Capabilities;
import org.quern.runtime.TierStatus;

class DoctorCommandTest {
  @Test
  void listsEveryTierWithItsReasonAndEveryFamily() {
    Shell shell = Shell.run(List.of(new SampleFamily(true)), "doctor");
    assertEquals(0, shell.code());
    for (TierStatus status : Capabilities.get().tiers()) {
      String line =
          shell
              .out()
              .lines()
              .filter(each -> each.startsWith(status.tier().label() + " "))
              .findFirst()
              .orElseThrow();
      assertTrue(line.contains(status.available() ? " yes " : " no "), line);
      assertTrue(line.contains(status.reason()), line);
    }
    String family =
        shell.out().lines().filter(each -> each.startsWith("sample ")).findFirst().orElseThrow();
    assertEquals("sample  scalar  scalar  compares numbers", family);
  }

  @Test
  void jsonHoldsTheSameFacts() {
    Shell shell = Shell.run(List.of(new SampleFamily(true)), "doctor", "--json");
    assertEquals(0, shell.code());
    JsonObject report = JsonParser.parseString(shell.out()).getAsJsonObject();
    assertEquals(Capabilities.get().processors(), report.get("processors").getAsInt());
    assertEquals(Capabilities.get().tiers().size(), report.getAsJsonArray("tiers").size());
    JsonObject family = report.getAsJsonArray("families").get(0).getAsJsonObject();
    assertEquals("sample", family.get("name").getAsString());
    assertEquals("scalar", family.get("uses").getAsString());
  }

  @Test
  void findsTheVersionsOfLibraries() {
    JsonObject report =
        JsonParser.parseString(Shell.run(List.of(), "doctor", "--json").out()).getAsJsonObject();
    for (JsonElement library : report.getAsJsonArray("libraries")) {
      String version = library.getAsJsonObject().get("version").getAsString();
      assertTrue(version.matches("\\d+(\\.\\d+)+"), library.toString());
    }
    assertNotNull(new Library("gson", "", "com/google/gson/Gson.class").version());
    assertEquals(null, new Library("none", "", "org/nowhere/None.class").version());
  }
}

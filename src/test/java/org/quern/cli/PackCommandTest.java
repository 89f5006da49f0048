package org.quern.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.quern.io.SafetensorsWriter;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class PackCommandTest {
  @TempDir Path directory;

  private String model;
  private String packed;
  private String back;

  /** A layer with half of its elements zero, and one with a single zero. */
  @BeforeEach
  void writeModel() throws IOException {
    Path file = directory.resolve("model.safetensors");
    try (Arena arena = Arena.ofConfined()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put("a.weight", Tensor.allocate(arena, DType.F32, 32, 64));
      tensors.put("b.weight", Tensor.allocate(arena, DType.F32, 32, 64));
      for (int i = 0; i < 32; i++) {
        for (int j = 0; j < 64; j++) {
          tensors.get("a.weight").setDouble(j % 4 < 2 ? i + j + 1 : 0, i, j);
          tensors.get("b.weight").setDouble(i + j, i, j);
        }
      }
      SafetensorsWriter.write(file, tensors, Map.of());
    }
    model = file.toString();
    packed = directory.resolve("packed.safetensors").toString();
    back = directory.resolve("back.safetensors").toString();
  }

  private static Shell run(String... arguments) {
    return Shell.run(List.of(), arguments);
  }

  @Test
  void aModelComesBackAndTheTablesTellTheSizes() throws IOException {
    Shell shell = run("pack", model, "-o", packed, "--threads", "1");
    assertEquals(0, shell.code(), shell.err());
    List<String> lines = shell.out().lines().toList();
    assertEquals("TENSOR    SHAPE  TYPE  FORMAT               ZEROS  DENSE  PACKED", lines.get(0));
    assertEquals("a.weight  32x64  F32   sparse-24-bitmask  50.00 %   8192    4368", lines.get(1));
    assertTrue(shell.out().contains("Copied       1 tensors"), shell.out());
    shell = run("unpack", packed, "-o", back, "--json");
    assertEquals(0, shell.code(), shell.err());
    JsonObject report = JsonParser.parseString(shell.out()).getAsJsonObject();
    assertEquals(Files.size(Path.of(packed)), report.get("bytesBefore").getAsLong());
    assertEquals(Files.size(Path.of(back)), report.get("bytesAfter").getAsLong());
    assertEquals(1, report.getAsJsonArray("tensors").size());
    assertEquals(-1, Files.mismatch(Path.of(model), Path.of(back)));
  }

  @Test
  void theFormatAndTheLeastShareCanBeChosen() {
    Shell shell = run("pack", model, "-o", packed, "--format", "bitmask", "--json");
    assertEquals(0, shell.code(), shell.err());
    assertTrue(shell.out().contains("\"sparse-bitmask\""), shell.out());
    assertBad("at least 70.0 % zeros, a.weight has most, 50.0 %", "--min-sparsity", "0.7");
    assertBad("tensor b.weight: expected at most 2", "--min-sparsity", "1e-4", "--format", "2:4");
    assertBad("expected bitmask, 2:4 or auto, got 'csr'", "--format", "csr");
    assertBad("minSparsity: expected more than 0", "--min-sparsity", "0");
  }

  private void assertBad(String message, String... options) {
    String[] arguments = new String[options.length + 4];
    System.arraycopy(new String[] {"pack", model, "-o", back}, 0, arguments, 0, 4);
    System.arraycopy(options, 0, arguments, 4, options.length);
    Shell shell = run(arguments);
    assertEquals(Main.BAD_INPUT, shell.code());
    assertTrue(shell.err().contains(message), shell.err());
    assertFalse(Files.exists(Path.of(back)));
  }

  @Test
  void nothingIsReplacedWithoutForce() {
    assertEquals(0, run("pack", model, "-o", packed).code());
    assertEquals(Main.BAD_INPUT, run("pack", model, "-o", packed).code());
    assertEquals(0, run("pack", model, "-o", packed, "--force").code());
    assertEquals(0, run("unpack", packed, "-o", back).code());
    assertEquals(Main.BAD_INPUT, run("unpack", packed, "-o", back).code());
    assertEquals(0, run("unpack", packed, "-o", back, "--force").code());
    assertEquals(Main.BAD_INPUT, run("unpack", model, "-o", back, "--force").code());
    assertEquals(Main.BAD_INPUT, run("pack", packed, "-o", back, "--force").code());
    assertEquals(Main.BAD_INPUT, run("pack", model).code());
  }
}

package org.quern.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.quern.tensor.DType;

/**
 * The files were written by Python's own pickle and zipfile, with stand-ins for the few classes of
 * PyTorch that such a file names.
 */
class TorchFileTest {
  @TempDir Path directory;
  private final Arena arena = Arena.ofAuto();

  private Path resource(String name) throws IOException {
    Path copy = directory.resolve(name);
    try (InputStream in =
        Objects.requireNonNull(TorchFileTest.class.getResourceAsStream(name), name)) {
      Files.copy(in, copy);
    }
    return copy;
  }

  @Test
  void readsTensorsByName() throws IOException {
    try (TorchFile file = TorchFile.open(resource("gradients.pth"))) {
      assertEquals(
          List.of(
              "self_attn.q_proj_layer_0", "mlp.up_proj_layer_0", "mlp.up_proj_layer_12", "brain"),
          List.copyOf(file.names()));
      assertEquals(DType.F16, file.type("mlp.up_proj_layer_0"));
      assertArrayEquals(new long[] {3, 2}, file.shape("mlp.up_proj_layer_0"));
      assertArrayEquals(
          new float[] {1, 2, 3, 4, 5, 6.5f},
          file.load("self_attn.q_proj_layer_0", arena).toFloatArray());
      // From the third element of its storage on.
      assertArrayEquals(
          new float[] {-1, 1e-3f, 3, 4, 5, 1e30f},
          file.load("mlp.up_proj_layer_12", arena).toFloatArray());
      assertArrayEquals(new float[] {1, -2}, file.load("brain", arena).toFloatArray());
      assertThrows(FormatException.class, () -> file.load("absent", arena));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "transposed.pth, expected contiguous rows",
    "integers.pth, expected a floating-point storage",
    "short.pth, expected 24 bytes"
  })
  void refusesTensorsThatItCannotRead(String name, String problem) throws IOException {
    Path path = resource(name);
    try (TorchFile file = TorchFile.open(path)) {
      String message =
          assertThrows(FormatException.class, () -> file.load("w", arena)).getMessage();
      assertTrue(message.startsWith(path + ": tensor \"w\": " + problem), message);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "list.pth, expected a dictionary of tensors",
    "call.pth, 'expected tensors and dictionaries, found posix.system'"
  })
  void refusesOtherObjectsAndCallsNothing(String name, String problem) throws IOException {
    Path path = resource(name);
    String message = assertThrows(FormatException.class, () -> TorchFile.open(path)).getMessage();
    assertTrue(message.contains(problem), message);
  }

  @Test
  void refusesWhatIsNoArchive() throws IOException {
    Path path = directory.resolve("text.pth");
    Files.writeString(path, "no archive");
    assertThrows(FormatException.class, () -> TorchFile.open(path));
  }

  @Test
  void damagedDescriptionsAreFormatErrors() throws IOException {
    byte[] whole;
    try (InputStream in =
        Objects.requireNonNull(TorchFileTest.class.getResourceAsStream("gradients.pth"))) {
      whole = in.readAllBytes();
    }
    // Its description is stored as it is: from its own header on to its stop opcode.
    int begin = new String(whole, StandardCharsets.ISO_8859_1).indexOf("\200\2}");
    assertTrue(begin > 0);
    long seed = System.nanoTime();
    System.out.println("TorchFileTest: seed " + seed);
    Random random = new Random(seed);
    for (int i = 0; i < 5_000; i++) {
      byte[] bytes = Arrays.copyOfRange(whole, begin, begin + 600);
      for (int k = 0; k < 1 + random.nextInt(3); k++) {
        bytes[random.nextInt(bytes.length)] = (byte) random.nextInt(256);
      }
      try {
        TorchPickle.read("damaged", bytes);
      } catch (FormatException e) {
        assertTrue(e.getMessage().startsWith("damaged: "), e.getMessage());
      } catch (RuntimeException e) {
        throw new UncheckedIOException(new IOException("seed " + seed + ", turn " + i, e));
      }
    }
  }
}

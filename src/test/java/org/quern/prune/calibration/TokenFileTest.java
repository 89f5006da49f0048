package org.quern.prune.calibration;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsWriter;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class TokenFileTest {
  private static final int[] IDS = {3, 0, 11, 7, 5, 2, 11, 4, 6, 1, 9, 8};

  @TempDir Path directory;
  private final Arena arena = Arena.ofShared();

  @AfterEach
  void close() {
    arena.close();
  }

  private TokenizedText read(Path file, @Nullable TokenType type, int vocabulary)
      throws IOException {
    return TokenFile.read(file, type, vocabulary, arena);
  }

  private Path raw(TokenType type, int... ids) throws IOException {
    ByteBuffer bytes =
        ByteBuffer.allocate(ids.length * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (int id : ids) {
      if (type == TokenType.U16) {
        bytes.putShort((short) id);
      } else {
        bytes.putInt(id);
      }
    }
    return Files.write(directory.resolve("tokens.bin"), bytes.array());
  }

  private Path safetensors(Map<String, Tensor> tensors) throws IOException {
    Path file = directory.resolve("tokens.safetensors");
    SafetensorsWriter.write(file, tensors, Map.of());
    return file;
  }

  private int[] ids(TokenizedText text) {
    Tensor whole = text.windows(arena, (int) text.longest());
    int[] ids = new int[(int) whole.size()];
    Arrays.setAll(ids, i -> (int) whole.getLong(i / whole.dim(1), i % whole.dim(1)));
    return ids;
  }

  @Test
  void rawFilesHaveTwoOrFourBytesByTheVocabulary() throws IOException {
    assertArrayEquals(IDS, ids(read(raw(TokenType.U16, IDS), null, 12)));
    assertArrayEquals(IDS, ids(read(raw(TokenType.U32, IDS), TokenType.U32, 12)));
    int[] large = {0, 65_535, 65_536, 99_999, 40_000};
    assertArrayEquals(large, ids(read(raw(TokenType.U32, large), null, 100_000)));
    assertArrayEquals(
        new int[] {65_535, 40_000}, ids(read(raw(TokenType.U16, 65_535, 40_000), null, 65_536)));
  }

  @Test
  void aFileOfFourBytesIsNotTakenForOneOfTwo() throws IOException {
    Path file = raw(TokenType.U32, IDS);
    assertMessage("say which it is by --token-type", file, null, 12);
    assertEquals(2 * IDS.length, read(file, TokenType.U16, 12).longest());
  }

  @ParameterizedTest
  @ValueSource(strings = {"I8", "U8", "I16", "I32", "I64"})
  void tensorsOfEveryIntegerTypeAreRead(DType type) throws IOException {
    Tensor rows = Tensor.allocate(arena, type, 3, 4);
    for (int i = 0; i < IDS.length; i++) {
      rows.setLong(IDS[i], i / 4, i % 4);
    }
    TokenizedText text = read(safetensors(Map.of("ids", rows)), null, 12);
    assertTrue(text.isRows());
    assertEquals(3, text.rows());
    assertArrayEquals(IDS, ids(text));
  }

  @Test
  void aTensorAmongSeveralIsNamed() throws IOException {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put("first", Tensor.copyOf(arena, new int[] {1, 2}, 2));
    tensors.put("second", Tensor.copyOf(arena, new int[] {3, 4}, 2));
    tensors.put("weights", Tensor.copyOf(arena, new float[] {3, 4}, 2));
    Path file = safetensors(tensors);
    Path second = Path.of(file + "#second");
    assertArrayEquals(new int[] {3, 4}, ids(read(second, null, 12)));
    assertMessage(
        "got 2, among them [first, second]; name one as tokens.safetensors#first", file, null, 12);
    assertMessage("expected integers [tokens]", Path.of(file + "#weights"), null, 12);
    assertMessage("expected a tensor \"third\"", Path.of(file + "#third"), null, 12);
    assertMessage("#second: token 1: expected an id below", second, null, 4);
  }

  @Test
  void textIsAStreamAndATableHasRows() throws IOException {
    Path text = Files.writeString(directory.resolve("ids.txt"), "3 0, 11\n\n7\t5\n");
    assertArrayEquals(new int[] {3, 0, 11, 7, 5}, ids(read(text, null, 12)));
    assertFalse(read(text, null, 12).isRows());
    Path table = Files.writeString(directory.resolve("ids.csv"), "3, 0\n11,7\n");
    assertTrue(read(table, null, 12).isRows());
    assertArrayEquals(new int[] {3, 0, 11, 7}, ids(read(table, null, 12)));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "ids.txt | 1 2;3 4 | line 2, id 2: expected an id below the model's vocabulary of 4, got 4",
        "ids.txt | 1 -2 | line 1, id 2: expected an id below the model's vocabulary of 4, got -2",
        "ids.txt | 1 two | line 1, id 2: expected a decimal token id, got 'two'",
        "ids.csv | 1,2;3 | line 2: expected 2 ids as in the first row, got 1",
        "none.txt | | expected a file with token ids, found none"
      })
  void badTextIsToldByItsPlace(String name, String content, String message) throws IOException {
    Path file = directory.resolve(name);
    if (content != null) {
      Files.writeString(file, content.replace(';', '\n'));
    }
    assertMessage(message, file, null, 4);
  }

  @Test
  void badBytesAreToldByTheirPlace() throws IOException {
    assertMessage(
        "token 2: expected an id below the model's vocabulary of 11, got 11",
        raw(TokenType.U16, IDS),
        null,
        11);
    assertMessage(
        "token 1: expected an id below the model's vocabulary of 70000, got 4294967295",
        raw(TokenType.U32, 1, -1),
        null,
        70_000);
    Files.write(directory.resolve("odd.bin"), new byte[3]);
    assertMessage("got 3 bytes; --token-type", directory.resolve("odd.bin"), null, 12);
  }

  private void assertMessage(String part, Path file, @Nullable TokenType type, int vocabulary) {
    FormatException error = assertThrows(FormatException.class, () -> read(file, type, vocabulary));
    assertTrue(String.valueOf(error.getMessage()).contains(part), error.getMessage());
  }

  @Test
  void cutsOfAStreamLieAnywhereAndFollowFromTheSeed() throws IOException {
    long seed = new Random().nextLong();
    System.out.println("seed " + seed);
    TokenizedText text = read(raw(TokenType.U16, IntStream.range(0, 40).toArray()), null, 40);
    Tensor sample = text.sample(arena, 500, 6, seed);
    boolean[] starts = new boolean[40];
    for (int i = 0; i < 500; i++) {
      int start = (int) sample.getLong(i, 0);
      starts[start] = true;
      for (int t = 0; t < 6; t++) {
        assertEquals(start + t, sample.getLong(i, t));
      }
    }
    // 35 places, each missed by 500 draws with probability 5e-7.
    assertEquals(35, IntStream.range(0, 40).filter(i -> starts[i]).count());
    assertEquals(-1, sample.memory().mismatch(text.sample(arena, 500, 6, seed).memory()));
    assertTrue(sample.memory().mismatch(text.sample(arena, 500, 6, seed + 1).memory()) >= 0);
  }

  @Test
  void ofRowsTheFirstAreTakenAndOneCutFromEach() throws IOException {
    Path table =
        Files.writeString(
            directory.resolve("ids.csv"), "0,1,2,3,4,5,6,7,8,9\n10,11,12,13,14,15,16,17,18,19\n");
    TokenizedText text = read(table, null, 20);
    Tensor whole = text.sample(arena, 2, 10, 5);
    assertEquals(10, whole.getLong(1, 0));
    boolean[] starts = new boolean[8];
    for (int seed = 0; seed < 200; seed++) {
      Tensor cut = text.sample(arena, 2, 3, seed);
      starts[(int) cut.getLong(0, 0)] = true;
      assertTrue(cut.getLong(1, 0) >= 10 && cut.getLong(1, 0) <= 17, cut.toString());
      assertEquals(cut.getLong(1, 0) + 2, cut.getLong(1, 2));
    }
    for (boolean start : starts) {
      assertTrue(start);
    }
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> text.sample(arena, 3, 3, 0));
    assertTrue(error.getMessage().contains("expected 3 rows of token ids, got 2"));
  }

  @Test
  void windowsFollowOneAnotherWithoutTheTail() throws IOException {
    TokenizedText text = read(raw(TokenType.U16, IDS), null, 12);
    Tensor windows = text.windows(arena, 5);
    assertEquals(2, windows.dim(0));
    assertEquals(IDS[5], windows.getLong(1, 0));
    assertEquals(IDS[9], windows.getLong(1, 4));
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> text.windows(arena, 13));
    assertTrue(
        error
            .getMessage()
            .endsWith(
                "expected at least 13 token ids, got 12; ask for shorter"
                    + " sequences (--length)"),
        error.getMessage());
    assertThrows(IllegalArgumentException.class, () -> text.windows(arena, 1));
  }
}

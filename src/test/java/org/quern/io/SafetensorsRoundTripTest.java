package org.quern.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * What is written is read back; a copy is the same bytes; a failure leaves the destination whole.
 */
class SafetensorsRoundTripTest {
  @TempDir Path directory;

  @Test
  void tensorsOfEveryComputedTypeComeBack() throws IOException {
    Path file = directory.resolve("all.safetensors");
    try (Arena arena = Arena.ofConfined()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      for (DType type : DType.values()) {
        tensors.put("matrix " + type, random(Tensor.allocate(arena, type, 3, 5), type.ordinal()));
        tensors.put("scalar " + type, random(Tensor.allocate(arena, type), type.ordinal()));
        tensors.put("empty " + type, Tensor.allocate(arena, type, 0, 5));
      }
      SafetensorsWriter.write(file, tensors, Map.of("format", "pt"));
      try (SafetensorsFile read = SafetensorsFile.open(file)) {
        assertEquals(Map.of("format", "pt"), read.metadata());
        assertEquals(List.copyOf(tensors.keySet()).size(), read.entries().size());
        assertEquals(0, read.header().dataBegin() % 64);
        for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
          Tensor tensor = read.load(entry.getKey(), arena);
          assertEquals(entry.getValue().type(), tensor.type());
          assertArrayEquals(entry.getValue().shape(), tensor.shape());
          assertEquals(0, tensor.memory().address() % Tensor.ALIGNMENT);
          assertArrayEquals(bytes(entry.getValue()), bytes(tensor));
          assertArrayEquals(
              bytes(tensor), read.map(entry.getKey(), arena).toArray(ValueLayout.JAVA_BYTE));
        }
      }
    }
  }

  @Test
  void rowsOfAStridedTensorAreWrittenWithoutTheirGaps() throws IOException {
    Path file = directory.resolve("strided.safetensors");
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory =
          arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2, 3, -1, 4, 5, 6, -1, 7, 8, 9);
      SafetensorsWriter.write(
          file, Map.of("w", Tensor.of(memory, DType.F32, 4, new long[] {3, 3})), Map.of());
      try (SafetensorsFile read = SafetensorsFile.open(file)) {
        assertArrayEquals(
            new float[] {1, 2, 3, 4, 5, 6, 7, 8, 9},
            read.load("w", arena).memory().toArray(ValueLayout.JAVA_FLOAT));
      }
    }
  }

  @Test
  void rangesAreReadAndTheirBoundsChecked() throws IOException {
    Path file = directory.resolve("ranges.safetensors");
    try (Arena arena = Arena.ofConfined()) {
      Tensor tensor = random(Tensor.allocate(arena, DType.U8, 1000), 7);
      SafetensorsWriter.write(file, Map.of("t", tensor), Map.of());
      try (SafetensorsFile read = SafetensorsFile.open(file)) {
        for (long size : new long[] {0, 1, 63, 64, 65, 260}) {
          byte[] part = new byte[(int) size];
          read.read("t", 1000 - size, MemorySegment.ofArray(part));
          assertArrayEquals(
              tensor.memory().asSlice(1000 - size, size).toArray(ValueLayout.JAVA_BYTE), part);
        }
        MemorySegment ten = arena.allocate(10);
        assertThrows(IndexOutOfBoundsException.class, () -> read.read("t", 991, ten));
        assertThrows(IndexOutOfBoundsException.class, () -> read.read("t", -1, ten));
        assertThrows(IndexOutOfBoundsException.class, () -> read.read("t", Long.MAX_VALUE, ten));
      }
    }
  }

  /**
   * Types that Quern does not compute with, ties, odd JSON: a copy by the same header is the same
   * file.
   */
  @Test
  void aCopyThroughTheSameHeaderIsTheSameBytes() throws IOException {
    String json =
        """
        {"tied":{"shape":[2,2],"data_offsets":[4,20],"dtype":"F32"} ,
         "__metadata__":{"z":"1","a":"caf\\u00e9 \\n"},
         "f4":{"dtype":"F4","shape":[4,2],"data_offsets":[0,4]},
         "same":{"dtype":"F32","shape":[4],"data_offsets":[4,20]},
         "flag":{"dtype":"BOOL","shape":[3],"data_offsets":[20,23]},
         "none":{"dtype":"C64","shape":[7,0],"data_offsets":[23,23]}}   \
        """;
    byte[] original = SafetensorsBytes.file(json, 23);
    Path from = Files.write(directory.resolve("from.safetensors"), original);
    Path to = directory.resolve("to.safetensors");
    try (SafetensorsFile source = SafetensorsFile.open(from);
        SafetensorsWriter writer = SafetensorsWriter.create(to, source.header())) {
      assertEquals(List.of("z", "a"), List.copyOf(source.metadata().keySet()));
      assertEquals(List.of("f4", "tied", "same", "flag", "none"), names(source));
      assertTrue(source.entry("tied").sharesBytesWith(source.entry("same")));
      assertFalse(source.entry("tied").sharesBytesWith(source.entry("f4")));
      assertNull(source.entry("flag").type().type());
      for (String name : List.of("none", "flag", "same", "f4")) {
        writer.copy(name, source);
      }
      writer.commit();
    }
    assertArrayEquals(original, Files.readAllBytes(to));
  }

  /**
   * Random headers: what the builder lays out, the reader finds, whatever the order in which the
   * bytes are written.
   */
  @RepeatedTest(20)
  void randomTensorsComeBack(RepetitionInfo repetition) throws IOException {
    long seed = 1000L + repetition.getCurrentRepetition();
    SplittableRandom random = new SplittableRandom(seed);
    SafetensorsHeader.Builder builder = SafetensorsHeader.builder();
    for (int i = random.nextInt(4); i > 0; i--) {
      builder.metadata(SafetensorsBytes.randomName(random), SafetensorsBytes.randomName(random));
    }
    int count = random.nextInt(12);
    for (int i = 0; i < count; i++) {
      SafetensorsType[] types = SafetensorsType.values();
      long[] shape = random.longs(random.nextInt(5), 0, 5).toArray();
      SafetensorsType type = types[random.nextInt(types.length)];
      if (type.bits() < Byte.SIZE) {
        shape = new long[] {random.nextInt(5), 4};
      }
      builder.add(i + SafetensorsBytes.randomName(random), type, shape);
    }
    SafetensorsHeader header = builder.build();
    byte[] expected =
        SafetensorsBytes.concat(
            header.bytes(), new byte[(int) (header.fileSize() - header.dataBegin())]);
    Path file = directory.resolve("random.safetensors");
    try (SafetensorsWriter writer = SafetensorsWriter.create(file, header)) {
      for (SafetensorsEntry entry : header.entries().reversed()) {
        byte[] content = new byte[(int) entry.bytes()];
        random.nextBytes(content);
        System.arraycopy(content, 0, expected, (int) entry.begin(), content.length);
        int middle = random.nextInt(content.length + 1);
        MemorySegment whole = MemorySegment.ofArray(content);
        writer.write(entry.name(), middle, whole.asSlice(middle));
        writer.write(entry.name(), 0, whole.asSlice(0, middle));
      }
      writer.commit();
    }
    assertArrayEquals(expected, Files.readAllBytes(file), () -> "seed " + seed);
    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      assertEquals(header.metadata(), read.metadata(), () -> "seed " + seed);
      assertEquals(header.entries().toString(), read.entries().toString(), () -> "seed " + seed);
      assertArrayEquals(header.bytes(), read.header().bytes());
    }
  }

  @Test
  void threadsMayWriteAndCopyAtOnce() throws Exception {
    SafetensorsHeader.Builder builder = SafetensorsHeader.builder();
    for (int i = 0; i < 40; i++) {
      builder.add("t" + i, DType.U8, 10_000 + i);
    }
    SafetensorsHeader header = builder.build();
    byte[] expected =
        SafetensorsBytes.concat(
            header.bytes(), new byte[(int) (header.fileSize() - header.dataBegin())]);
    new SplittableRandom(5).nextBytes(expected);
    System.arraycopy(header.bytes(), 0, expected, 0, (int) header.dataBegin());
    Path from = Files.write(directory.resolve("from.safetensors"), expected);
    Path to = directory.resolve("to.safetensors");
    try (SafetensorsFile source = SafetensorsFile.open(from);
        SafetensorsWriter writer = SafetensorsWriter.create(to, header);
        ExecutorService threads = Executors.newFixedThreadPool(4)) {
      List<Future<Void>> tasks =
          header.entries().stream()
              .map(entry ->
                  threads.<Void>submit(() -> {
                    if (entry.bytes() % 2 == 0) {
                      writer.copy(entry.name(), source);
                    } else {
                      byte[] content = new byte[(int) entry.bytes()];
                      source.read(entry.name(), 0, MemorySegment.ofArray(content));
                      writer.write(entry.name(), 0, MemorySegment.ofArray(content));
                    }
                    return null;
                  }))
              .toList();
      for (Future<Void> task : tasks) {
        task.get();
      }
      writer.commit();
    }
    assertArrayEquals(expected, Files.readAllBytes(to));
  }

  @Test
  void anUnfinishedFileIsNotCommitted() throws IOException {
    Path file = Files.writeString(directory.resolve("kept.safetensors"), "what stood here");
    SafetensorsHeader header =
        SafetensorsHeader.builder().add("a", DType.U8, 4).add("b", DType.U8, 4).build();
    try (SafetensorsWriter writer = SafetensorsWriter.create(file, header)) {
      writer.write("b", 0, MemorySegment.ofArray(new byte[4]));
      writer.write("a", 0, MemorySegment.ofArray(new byte[3]));
      IllegalStateException error = assertThrows(IllegalStateException.class, writer::commit);
      assertEquals(
          file + ": tensor \"a\": expected 4 bytes, those from 3 on were not written",
          error.getMessage());
      assertEquals("what stood here", Files.readString(file));
    }
    assertEquals("what stood here", Files.readString(file));
    assertEquals(List.of(file), list());
  }

  @Test
  void aFailureWhileWritingLeavesTheDestinationWhole() throws IOException {
    Path file = Files.writeString(directory.resolve("kept.safetensors"), "what stood here");
    byte[] bytes =
        SafetensorsBytes.file("{\"a\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}}", 9);
    Path from = Files.write(directory.resolve("from.safetensors"), bytes);
    try (SafetensorsFile source = SafetensorsFile.open(from)) {
      Files.write(
          from, Arrays.copyOf(bytes, bytes.length - 4)); // truncated behind the reader's back
      assertThrows(
          FormatException.class,
          () -> {
            try (SafetensorsWriter writer = SafetensorsWriter.create(file, source.header())) {
              writer.copy("a", source);
              writer.commit();
            }
          });
      assertThrows(
          FormatException.class, () -> source.read("a", 0, MemorySegment.ofArray(new byte[9])));
    }
    assertEquals("what stood here", Files.readString(file));
    assertEquals(2, list().size());
  }

  @Test
  void anInterruptedWriterLeavesTheDestinationWhole() throws IOException {
    Path file = Files.writeString(directory.resolve("kept.safetensors"), "what stood here");
    SafetensorsHeader header = SafetensorsHeader.builder().add("a", DType.U8, 9).build();
    Thread.currentThread().interrupt();
    assertThrows(
        ClosedByInterruptException.class,
        () -> {
          try (SafetensorsWriter writer = SafetensorsWriter.create(file, header)) {
            writer.write("a", 0, MemorySegment.ofArray(new byte[9]));
            writer.commit();
          }
        });
    assertTrue(Thread.interrupted());
    assertEquals("what stood here", Files.readString(file));
    assertEquals(List.of(file), list());
  }

  /** A file of the format's own library: statistics in it follow from the inputs in it. */
  @Test
  void aFileOfTheOfficialLibraryIsUnderstood() throws IOException {
    Path file = directory.resolve("accum.safetensors");
    try (InputStream resource = getClass().getResourceAsStream("accum.safetensors")) {
      Files.copy(resource, file);
    }
    try (Arena arena = Arena.ofConfined();
        SafetensorsFile read = SafetensorsFile.open(file)) {
      assertEquals("31", read.metadata().get("seed"));
      assertArrayEquals(new long[] {6, 7, 16}, read.entry("inputs").shape());
      MemorySegment inputs = read.load("inputs", arena).memory();
      MemorySegment statistic = read.load("scaler_row.final", arena).memory();
      for (int column = 0; column < 16; column++) {
        double sum = 0;
        for (int row = 0; row < 42; row++) {
          double x = inputs.getAtIndex(ValueLayout.JAVA_FLOAT, row * 16 + column);
          sum += x * x / 6;
        }
        assertEquals(sum, statistic.getAtIndex(ValueLayout.JAVA_FLOAT, column), 1e-5 * sum);
      }
      Path copy = directory.resolve("copy.safetensors");
      try (SafetensorsWriter writer = SafetensorsWriter.create(copy, read.header())) {
        for (SafetensorsEntry entry : read.entries()) {
          writer.copy(entry.name(), read);
        }
        writer.force();
        writer.commit();
      }
      assertEquals(-1, Files.mismatch(file, copy));
    }
  }

  @Test
  void wrongArgumentsAreNamed() throws IOException {
    SafetensorsHeader header = SafetensorsHeader.builder().add("a", DType.F32, 2, 2).build();
    Path file = directory.resolve("x.safetensors");
    try (Arena arena = Arena.ofConfined();
        SafetensorsWriter writer = SafetensorsWriter.create(file, header)) {
      MemorySegment five = arena.allocate(5);
      assertThrows(IndexOutOfBoundsException.class, () -> writer.write("a", 12, five));
      assertMessage("name: expected a tensor of", () -> writer.write("b", 0, five));
      assertMessage(
          "tensor: expected a F32[2, 2]",
          () -> writer.write("a", Tensor.allocate(arena, DType.F32, 4)));
      assertMessage(
          "tensor: expected a F32[2, 2]",
          () -> writer.write("a", Tensor.allocate(arena, DType.I32, 2, 2)));
    }
    assertEquals(List.of(), list());
    SafetensorsHeader.Builder builder = SafetensorsHeader.builder().add("a", DType.F32, 2, 2);
    assertMessage("name: expected a new one, got \"a\"", () -> builder.add("a", DType.F32, 1));
    assertMessage("name: expected a new one", () -> builder.add("__metadata__", DType.F32, 1));
    assertMessage("shape: expected at most 64 extents >= 0", () -> builder.add("b", DType.F32, -1));
    assertMessage(
        "shape: expected at most 64 extents >= 0", () -> builder.add("b", DType.F32, new long[65]));
    assertMessage(
        "shape: expected fewer than 2^63 bits",
        () -> builder.add("b", DType.F32, 1L << 32, 1L << 32));
    assertMessage(
        "shape: expected fewer than 2^63 bits", () -> builder.add("b", SafetensorsType.F4, 3));
    assertMessage(
        "header: ", () -> SafetensorsHeader.builder().add("\ud800", DType.F32, 1).build());
  }

  private static void assertMessage(String start, Executable call) {
    String message = assertThrows(IllegalArgumentException.class, call).getMessage();
    assertTrue(message.startsWith(start), message);
  }

  private static List<String> names(SafetensorsFile file) {
    return file.entries().stream().map(SafetensorsEntry::name).toList();
  }

  private List<Path> list() throws IOException {
    try (var files = Files.list(directory)) {
      return files.sorted().toList();
    }
  }

  private static Tensor random(Tensor tensor, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    MemorySegment memory = tensor.memory();
    for (long i = 0; i < memory.byteSize(); i++) {
      memory.set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt());
    }
    return tensor;
  }

  private static byte[] bytes(Tensor tensor) {
    return tensor
        .memory()
        .asSlice(0, tensor.size() * tensor.type().bytes())
        .toArray(ValueLayout.JAVA_BYTE);
  }
}

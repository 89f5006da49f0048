package org.quern.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A destination holds the old content or the new, and no temporary file stays behind. */
class AtomicFileTest {
  @TempDir Path directory;

  @Test
  void theDestinationChangesAtCommit() throws IOException {
    Path file = Files.writeString(directory.resolve("file"), "old");
    try (AtomicFile atomic = AtomicFile.create(file)) {
      Files.writeString(atomic.path(), "new");
      assertEquals("old", Files.readString(file));
      atomic.commit();
      assertEquals("new", Files.readString(file));
      assertThrows(IllegalStateException.class, atomic::commit);
    }
    assertEquals("new", Files.readString(file));
    assertEquals(List.of(file), list());
  }

  @Test
  void whatIsNotCommittedIsDeleted() throws IOException {
    Path file = directory.resolve("file");
    try (AtomicFile atomic = AtomicFile.create(file)) {
      Files.writeString(atomic.path(), "new");
    }
    assertFalse(Files.exists(file));
    assertEquals(List.of(), list());
  }

  @Test
  void bytesAndFilesAreWrittenWhole() throws IOException {
    Path file = directory.resolve("file");
    byte[] content = "content".getBytes(StandardCharsets.UTF_8);
    AtomicFile.write(file, content);
    AtomicFile.copy(file, directory.resolve("copy"));
    assertArrayEquals(content, Files.readAllBytes(directory.resolve("copy")));
    assertThrows(IOException.class, () -> AtomicFile.copy(directory.resolve("none"), file));
    assertArrayEquals(content, Files.readAllBytes(file));
    assertEquals(2, list().size());
  }

  /** Overwriting through a link would change a file that others share. */
  @Test
  void aLinkIsReplacedNotFollowed() throws IOException {
    Path target = Files.writeString(directory.resolve("target"), "shared");
    Path link = Files.createSymbolicLink(directory.resolve("link"), target);
    AtomicFile.write(link, new byte[] {'x'});
    assertEquals("shared", Files.readString(target));
    assertFalse(Files.isSymbolicLink(link));
    assertEquals("x", Files.readString(link));
  }

  /** As after Ctrl-C: the process ends in order, but nobody closes the file. */
  @Test
  void aProcessThatExitsLeavesNothingBehind() throws Exception {
    Path file = Files.writeString(directory.resolve("file"), "old");
    String classes = location(AtomicFile.class) + File.pathSeparator + location(Exit.class);
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    Process process =
        new ProcessBuilder(java, "-cp", classes, Exit.class.getName(), file.toString())
            .inheritIO()
            .start();
    assertEquals(3, process.waitFor());
    assertEquals("old", Files.readString(file));
    assertEquals(List.of(file), list());
  }

  /** Starts a file and exits. */
  static final class Exit {
    private Exit() {}

    public static void main(String[] arguments) throws IOException {
      AtomicFile atomic = AtomicFile.create(Path.of(arguments[0]));
      Files.writeString(atomic.path(), "new");
      System.exit(Files.exists(atomic.path()) ? 3 : 4);
    }
  }

  private static Path location(Class<?> type) throws URISyntaxException {
    return Path.of(type.getProtectionDomain().getCodeSource().getLocation().toURI());
  }

  @Test
  void impossibleDestinationsAreNamed() throws IOException {
    assertMessage(directory, "expected the name of a file to write, got a directory");
    assertMessage(
        directory.resolve("none/file"),
        "the directory " + directory.resolve("none") + " does not exist");
    assertTrue(list().isEmpty());
  }

  private static void assertMessage(Path destination, String message) {
    IOException error = assertThrows(IOException.class, () -> AtomicFile.create(destination));
    assertEquals(destination + ": " + message, error.getMessage());
  }

  private List<Path> list() throws IOException {
    try (var files = Files.list(directory)) {
      return files.sorted().toList();
    }
  }
}

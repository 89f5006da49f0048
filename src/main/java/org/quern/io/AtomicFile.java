package org.quern.io;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.UUID;

/**
 * A file that appears at its destination whole or not at all: it is written under a temporary name
 * in the same directory and renamed when complete, so that a failure leaves what stood at the
 * destination untouched.
 *
 * <pre>{@code
 * try (AtomicFile file = AtomicFile.create(destination)) {
 *   Files.write(file.path(), bytes);
 *   file.commit();
 * }
 * }</pre>
 */
public final class AtomicFile implements Closeable {
  private final Path destination;
  private final Path temporary;
  private boolean renamed;

  private AtomicFile(Path destination, Path temporary) {
    this.destination = destination;
    this.temporary = temporary;
  }

  /**
   * Starts a file: creates it empty under its temporary name.
   *
   * @throws IOException where the destination is a directory, or its directory is missing or not
   *     writable
   */
  public static AtomicFile create(Path destination) throws IOException {
    Path absolute = destination.toAbsolutePath();
    Path directory = absolute.getParent();
    if (directory == null || Files.isDirectory(absolute)) {
      throw new IOException(
          destination + ": expected the name of a file to write, got a directory");
    }
    if (!Files.isDirectory(directory)) {
      throw new IOException(destination + ": the directory " + directory + " does not exist");
    }
    // Not Files.createTempFile: it would leave the destination readable by its owner alone.
    Path temporary =
        directory.resolve("." + absolute.getFileName() + "." + UUID.randomUUID() + ".tmp");
    Files.createFile(temporary);
    if (temporary.getFileSystem() == FileSystems.getDefault()) {
      temporary.toFile().deleteOnExit(); // for a process that is interrupted from the keyboard
    }
    return new AtomicFile(destination, temporary);
  }

  /** Where to write until {@link #commit}. */
  public Path path() {
    return temporary;
  }

  /** Renames the file to its destination, replacing in one step what stood there. */
  public void commit() throws IOException {
    if (renamed) {
      throw new IllegalStateException(destination + ": already committed");
    }
    Files.move(temporary, destination, StandardCopyOption.ATOMIC_MOVE);
    renamed = true;
  }

  /** Deletes the temporary file unless it was committed. */
  @Override
  public void close() throws IOException {
    if (!renamed) {
      Files.deleteIfExists(temporary);
    }
  }

  /** Writes {@code content} to {@code destination}. */
  public static void write(Path destination, byte[] content) throws IOException {
    try (AtomicFile file = create(destination)) {
      Files.write(file.temporary, content);
      file.commit();
    }
  }

  /** Copies {@code source} to {@code destination}. */
  public static void copy(Path source, Path destination) throws IOException {
    try (AtomicFile file = create(destination)) {
      Files.copy(source, file.temporary, StandardCopyOption.REPLACE_EXISTING);
      file.commit();
    }
  }
}

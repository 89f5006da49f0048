package org.quern.prune.calibration;

import java.io.Closeable;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Memory for the residual streams of all sequences: native memory for small ones, and for others a
 * temporary file that is mapped, of which the system keeps in memory what fits. The file is deleted
 * at the end, and at the exit of a process that is interrupted.
 */
final class StreamStore implements Closeable {
  /** Bytes of a tensor that are not worth a file. */
  private static final long IN_MEMORY = 1 << 24;

  private final Path directory;
  private final Arena arena = Arena.ofShared();

  /**
   * An empty store.
   *
   * @param directory where its files are made
   */
  StreamStore(Path directory) {
    this.directory = directory;
  }

  /**
   * A stream of zeros.
   *
   * @return F32 [sequences, length, width], alive until the store is closed
   * @throws IOException where the disk has no room for it
   */
  Tensor allocate(long sequences, long length, long width) throws IOException {
    long bytes = sequences * length * width * Float.BYTES;
    if (bytes <= IN_MEMORY) {
      return Tensor.allocate(arena, DType.F32, sequences, length, width);
    }
    long room = Files.getFileStore(directory).getUsableSpace();
    if (bytes > room) {
      throw new IOException(
          directory
              + ": expected room for "
              + bytes
              + " bytes of "
              + sequences
              + " sequences, got "
              + room
              + "; name another directory for the state, or ask for fewer or shorter sequences");
    }
    Path file = Files.createTempFile(directory, "streams", ".tmp");
    if (file.getFileSystem() == FileSystems.getDefault()) {
      file.toFile().deleteOnExit(); // where a mapped file cannot be deleted, or the process ends
    }
    try (FileChannel channel =
        FileChannel.open(
            file,
            StandardOpenOption.READ,
            StandardOpenOption.WRITE,
            StandardOpenOption.DELETE_ON_CLOSE)) {
      return Tensor.of(
          channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes, arena),
          DType.F32,
          sequences,
          length,
          width);
    }
  }

  @Override
  public void close() {
    arena.close();
  }
}

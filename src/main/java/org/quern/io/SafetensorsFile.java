package org.quern.io;

import java.io.Closeable;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A safetensors file open for reading, its header validated. Tensors are reached by name: copied
 * whole ({@link #load}), mapped ({@link #map}), or read by ranges in bounded memory ({@link
 * #read}). Threads may share it; like any channel it closes when a reading thread is interrupted.
 */
public final class SafetensorsFile implements Closeable {
  /** Bytes per call of a channel; heap memory goes through a buffer of the JDK of this size. */
  static final long CHUNK = 1 << 24;

  private final Path path;
  private final FileChannel channel;
  private final SafetensorsHeader header;

  private SafetensorsFile(Path path, FileChannel channel, SafetensorsHeader header) {
    this.path = path;
    this.channel = channel;
    this.header = header;
  }

  /**
   * Opens a file and validates its header against its size.
   *
   * @throws FormatException where the header is not valid
   */
  public static SafetensorsFile open(Path path) throws IOException {
    if (!Files.isRegularFile(path)) {
      throw new FormatException(path.toString(), "expected a safetensors file, found none");
    }
    FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
    try {
      return new SafetensorsFile(
          path, channel, SafetensorsHeader.read(path.toString(), channel, channel.size()));
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  /** The path as it was given. */
  public Path path() {
    return path;
  }

  /** The validated header. */
  public SafetensorsHeader header() {
    return header;
  }

  /** The tensors in the order of their bytes in the file. */
  public List<SafetensorsEntry> entries() {
    return header.entries();
  }

  /** The strings of the header's metadata. */
  public Map<String, String> metadata() {
    return header.metadata();
  }

  /**
   * The tensor of this name.
   *
   * @throws FormatException where the file has none
   */
  public SafetensorsEntry entry(String name) throws FormatException {
    SafetensorsEntry entry = header.find(name);
    if (entry == null) {
      throw new FormatException(
          path.toString(), "expected a tensor " + FormatException.quote(name) + ", found none");
    }
    return entry;
  }

  /**
   * Checks the shape of a tensor.
   *
   * @param shape the extents demanded; -1 stands for any
   * @throws FormatException where the file has no such tensor, or one of another shape
   */
  public void requireShape(String name, long... shape) throws FormatException {
    long[] got = entry(name).shape();
    boolean fits = got.length == shape.length;
    for (int i = 0; fits && i < shape.length; i++) {
      fits = shape[i] == -1 || shape[i] == got[i];
    }
    if (!fits) {
      String extents =
          Arrays.stream(shape)
              .mapToObj(extent -> extent == -1 ? "any" : Long.toString(extent))
              .collect(Collectors.joining(", ", "[", "]"));
      throw new FormatException(
          path.toString(),
          "tensor "
              + FormatException.quote(name)
              + ": expected shape "
              + extents
              + ", got "
              + Arrays.toString(got));
    }
  }

  /**
   * Copies a tensor into 64-byte aligned native memory of {@code arena}.
   *
   * @throws FormatException where the file has no such tensor, or one of a type that {@link Tensor}
   *     does not know
   */
  public Tensor load(String name, Arena arena) throws IOException {
    SafetensorsEntry entry = entry(name);
    DType type = entry.type().type();
    if (type == null) {
      throw new FormatException(
          path.toString(),
          "tensor "
              + FormatException.quote(name)
              + ": expected a type to compute with, got "
              + entry.type());
    }
    Tensor tensor = Tensor.allocate(arena, type, entry.shape());
    read(name, 0, tensor.memory().asSlice(0, entry.bytes()));
    return tensor;
  }

  /**
   * Maps a tensor's bytes read-only. They lie where the file has them, so the address may be
   * misaligned for the type: read with unaligned layouts, or {@link #load} the tensor. The file
   * must not be truncated while the mapping is in use.
   */
  public MemorySegment map(String name, Arena arena) throws IOException {
    SafetensorsEntry entry = entry(name);
    return channel.map(FileChannel.MapMode.READ_ONLY, entry.begin(), entry.bytes(), arena);
  }

  /**
   * Reads a range of a tensor's bytes: as many as {@code destination} holds.
   *
   * @param offset bytes from the start of the tensor
   * @param destination native memory, or a heap segment of bytes
   * @throws IndexOutOfBoundsException where the range leaves the tensor
   */
  public void read(String name, long offset, MemorySegment destination) throws IOException {
    SafetensorsEntry entry = entry(name);
    Objects.checkFromIndexSize(offset, destination.byteSize(), entry.bytes());
    long position = entry.begin() + offset;
    for (long done = 0; done < destination.byteSize(); ) {
      long step = Math.min(CHUNK, destination.byteSize() - done);
      ByteBuffer buffer = destination.asSlice(done, step).asByteBuffer();
      int read = channel.read(buffer, position + done);
      if (read < 0) {
        throw truncated();
      }
      done += read;
    }
  }

  /**
   * Appends a tensor's bytes to {@code target} at its position, inside the kernel where the system
   * can.
   */
  void transfer(SafetensorsEntry entry, FileChannel target) throws IOException {
    for (long position = entry.begin(); position < entry.end(); ) {
      long moved = channel.transferTo(position, entry.end() - position, target);
      if (moved == 0) {
        throw truncated();
      }
      position += moved;
    }
  }

  private FormatException truncated() {
    return new FormatException(path.toString(), "the file was truncated while it was read");
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}

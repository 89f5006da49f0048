package org.quern.io;

import java.io.Closeable;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.quern.tensor.Tensor;

/**
 * Writes a safetensors file whose header is known: one laid out by {@link
 * SafetensorsHeader#builder}, or that of another file, which is then reproduced byte for byte. The
 * bytes of the tensors may come in any order, in pieces, and from several threads. The file appears
 * at its destination when {@link #commit} finds every byte written; until then, and where it is
 * closed without, whatever stood there is left whole.
 */
public final class SafetensorsWriter implements Closeable {
  private final Path destination;
  private final SafetensorsHeader header;
  private final AtomicFile file;
  private final FileChannel channel;

  /** Begin and end of the disjoint ranges of the file written so far; guarded by itself. */
  private final TreeMap<Long, Long> written = new TreeMap<>();

  private SafetensorsWriter(
      Path destination, SafetensorsHeader header, AtomicFile file, FileChannel channel) {
    this.destination = destination;
    this.header = header;
    this.file = file;
    this.channel = channel;
  }

  /** Starts a file: writes its header under a temporary name beside {@code destination}. */
  public static SafetensorsWriter create(Path destination, SafetensorsHeader header)
      throws IOException {
    AtomicFile file = AtomicFile.create(destination);
    try {
      FileChannel channel = FileChannel.open(file.path(), StandardOpenOption.WRITE);
      SafetensorsWriter writer = new SafetensorsWriter(destination, header, file, channel);
      try {
        writer.writeAt(0, MemorySegment.ofArray(header.bytes()));
        return writer;
      } catch (IOException | RuntimeException e) {
        channel.close();
        throw e;
      }
    } catch (IOException | RuntimeException e) {
      file.close();
      throw e;
    }
  }

  /** Writes whole tensors by name, in the order of the map, to a new file. */
  public static void write(
      Path destination, Map<String, Tensor> tensors, Map<String, String> metadata)
      throws IOException {
    SafetensorsHeader.Builder builder = SafetensorsHeader.builder().metadata(metadata);
    tensors.forEach((name, tensor) -> builder.add(name, tensor.type(), tensor.shape()));
    try (SafetensorsWriter writer = create(destination, builder.build())) {
      for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
        writer.write(entry.getKey(), entry.getValue());
      }
      writer.commit();
    }
  }

  /** The header of the file. */
  public SafetensorsHeader header() {
    return header;
  }

  /**
   * Writes a range of a tensor's bytes: as many as {@code source} holds. A range may be written
   * again.
   *
   * @param offset bytes from the start of the tensor
   * @param source native memory, or a heap segment of bytes
   * @throws IndexOutOfBoundsException where the range leaves the tensor
   */
  public void write(String name, long offset, MemorySegment source) throws IOException {
    SafetensorsEntry entry = entry(name);
    Objects.checkFromIndexSize(offset, source.byteSize(), entry.bytes());
    writeAt(entry.begin() + offset, source);
  }

  /**
   * Writes a whole tensor.
   *
   * @throws IllegalArgumentException where its type or shape differs from the header's
   */
  public void write(String name, Tensor tensor) throws IOException {
    SafetensorsEntry entry = entry(name);
    if (entry.type().type() != tensor.type() || !Arrays.equals(entry.shape(), tensor.shape())) {
      throw new IllegalArgumentException("tensor: expected " + entry + ", got " + tensor);
    }
    long row = tensor.rank() == 0 ? 1 : tensor.dim(tensor.rank() - 1);
    long rows = tensor.isContiguous() || row == 0 ? 1 : tensor.size() / row;
    long rowBytes = entry.bytes() / rows;
    for (long i = 0; i < rows; i++) {
      write(
          name,
          i * rowBytes,
          tensor.memory().asSlice(i * tensor.rowStride() * tensor.type().bytes(), rowBytes));
    }
  }

  /**
   * Copies a whole tensor of the same name from another file, inside the kernel where the system
   * can.
   *
   * @throws IllegalArgumentException where its type or shape differs from the header's
   */
  public void copy(String name, SafetensorsFile source) throws IOException {
    SafetensorsEntry entry = entry(name);
    SafetensorsEntry other = source.entry(name);
    if (entry.type() != other.type() || !Arrays.equals(entry.shape(), other.shape())) {
      throw new IllegalArgumentException("source: expected " + entry + ", got " + other);
    }
    // The kernel's copy writes at a channel's position; one of its own keeps threads apart.
    try (FileChannel target = FileChannel.open(file.path(), StandardOpenOption.WRITE)) {
      source.transfer(other, target.position(entry.begin()));
    }
    markWritten(entry.begin(), entry.end());
  }

  /**
   * Forces what was written so far to the storage device; before {@link #commit} it makes the
   * rename durable in content.
   */
  public void force() throws IOException {
    channel.force(true);
  }

  /**
   * Completes the file and renames it to its destination.
   *
   * @throws IllegalStateException where bytes of a tensor were not written; nothing is renamed then
   */
  public void commit() throws IOException {
    synchronized (written) {
      Map.Entry<Long, Long> first = written.firstEntry();
      if (first.getValue() < header.fileSize()) {
        long hole = first.getValue();
        for (SafetensorsEntry entry : header.entries()) {
          if (entry.end() > hole) {
            throw new IllegalStateException(
                destination
                    + ": tensor "
                    + FormatException.quote(entry.name())
                    + ": expected "
                    + entry.bytes()
                    + " bytes, those from "
                    + (hole - entry.begin())
                    + " on were not written");
          }
        }
      }
    }
    channel.close();
    file.commit();
  }

  /** Deletes what was written unless it was committed. */
  @Override
  public void close() throws IOException {
    try (file) {
      channel.close();
    }
  }

  private SafetensorsEntry entry(String name) {
    SafetensorsEntry entry = header.find(name);
    if (entry == null) {
      throw new IllegalArgumentException(
          "name: expected a tensor of " + destination + ", got " + FormatException.quote(name));
    }
    return entry;
  }

  private void writeAt(long position, MemorySegment source) throws IOException {
    for (long done = 0; done < source.byteSize(); ) {
      long step = Math.min(SafetensorsFile.CHUNK, source.byteSize() - done);
      ByteBuffer buffer = source.asSlice(done, step).asByteBuffer();
      done += channel.write(buffer, position + done);
    }
    markWritten(position, position + source.byteSize());
  }

  /** Adds a range, merged with those that it meets. */
  private void markWritten(long begin, long end) {
    synchronized (written) {
      Map.Entry<Long, Long> near = written.floorEntry(end);
      while (near != null && near.getValue() >= begin) {
        begin = Math.min(begin, near.getKey());
        end = Math.max(end, near.getValue());
        written.remove(near.getKey());
        near = written.floorEntry(end);
      }
      written.put(begin, end);
    }
  }
}

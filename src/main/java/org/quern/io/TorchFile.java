package org.quern.io;

import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Collections;
import java.util.Map;
import java.util.Set;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipFile;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A dictionary of tensors that {@code torch.save} wrote, PyTorch 1.6 or newer, open for reading: a
 * ZIP archive of a description and the bytes of every storage. The description is a pickle, of
 * which only what such a dictionary needs is understood and nothing is ever run.
 */
public final class TorchFile implements Closeable {
  /** Longest description: a model of a million tensors takes less. */
  private static final int MAX_DESCRIPTION = 1 << 28;

  private static final String DESCRIPTION = "data.pkl";

  private final Path path;
  private final ZipFile zip;
  private final String root;
  private final Map<String, TorchPickle.TensorEntry> tensors;

  private TorchFile(
      Path path, ZipFile zip, String root, Map<String, TorchPickle.TensorEntry> tensors) {
    this.path = path;
    this.zip = zip;
    this.root = root;
    this.tensors = tensors;
  }

  /**
   * Opens a file and reads its description.
   *
   * @throws FormatException where it is not a dictionary of tensors
   */
  public static TorchFile open(Path path) throws IOException {
    ZipFile zip;
    try {
      zip = new ZipFile(path.toFile());
    } catch (ZipException e) {
      throw new FormatException(
          path.toString(), "expected an archive of torch.save, got none: " + e.getMessage());
    }
    try {
      ZipEntry description =
          zip.stream()
              .filter(entry -> entry.getName().endsWith("/" + DESCRIPTION))
              .findFirst()
              .orElse(null);
      if (description == null) {
        throw new FormatException(
            path.toString(),
            "expected an archive of torch.save, found no " + DESCRIPTION + " in it");
      }
      String name = description.getName();
      String root = name.substring(0, name.length() - DESCRIPTION.length());
      requireLittleEndian(path, zip, zip.getEntry(root + "byteorder"));
      try (InputStream in = zip.getInputStream(description)) {
        byte[] bytes = in.readNBytes(MAX_DESCRIPTION);
        return new TorchFile(path, zip, root, TorchPickle.read(path.toString(), bytes));
      }
    } catch (IOException | RuntimeException e) {
      zip.close();
      throw e;
    }
  }

  /**
   * Before PyTorch 2.1 there is no such entry, and files were little-endian where they were used.
   */
  private static void requireLittleEndian(Path path, ZipFile zip, @Nullable ZipEntry order)
      throws IOException {
    if (order == null) {
      return;
    }
    try (InputStream in = zip.getInputStream(order)) {
      String text = new String(in.readNBytes(16), StandardCharsets.US_ASCII);
      if (!text.equals("little")) {
        throw new FormatException(
            path.toString(), "byteorder: expected little, got " + FormatException.quote(text));
      }
    }
  }

  /** The path as it was given. */
  public Path path() {
    return path;
  }

  /** The names of the tensors in the order of the dictionary. */
  public Set<String> names() {
    return Collections.unmodifiableSet(tensors.keySet());
  }

  /** Element type of a tensor. */
  public DType type(String name) throws FormatException {
    TorchPickle.TensorEntry entry = entry(name);
    return switch (entry.storageType()) {
      case "torch.HalfStorage" -> DType.F16;
      case "torch.BFloat16Storage" -> DType.BF16;
      case "torch.FloatStorage" -> DType.F32;
      case "torch.DoubleStorage" -> DType.F64;
      default ->
          throw problem(name, "expected a floating-point storage, got " + entry.storageType());
    };
  }

  /** Shape of a tensor. */
  public long[] shape(String name) throws FormatException {
    return entry(name).shape().stream().mapToLong(Long::longValue).toArray();
  }

  /**
   * Copies a tensor into native memory of {@code arena}.
   *
   * @throws FormatException where the file has no such tensor, one with gaps or transposed, or not
   *     all of its bytes
   */
  public Tensor load(String name, Arena arena) throws IOException {
    TorchPickle.TensorEntry entry = entry(name);
    DType type = type(name);
    long elements = checkShape(name, entry);
    ZipEntry storage = zip.getEntry(root + "data/" + entry.key());
    long begin = entry.offset() * type.bytes();
    long bytes = elements * type.bytes();
    if (storage == null || storage.getSize() - bytes < begin) {
      throw problem(
          name,
          "expected "
              + bytes
              + " bytes from byte "
              + begin
              + " of its storage on, got "
              + (storage == null ? "no storage" : "a storage of " + storage.getSize()));
    }
    Tensor tensor = Tensor.allocate(arena, type, shape(name));
    try (InputStream in = zip.getInputStream(storage)) {
      in.skipNBytes(begin);
      byte[] buffer = new byte[Math.clamp(bytes, 1, 1 << 20)];
      for (long done = 0; done < bytes; ) {
        int read = in.read(buffer, 0, (int) Math.min(buffer.length, bytes - done));
        if (read < 0) {
          throw problem(name, "the file ends within it");
        }
        MemorySegment.copy(buffer, 0, tensor.memory(), ValueLayout.JAVA_BYTE, done, read);
        done += read;
      }
    } catch (EOFException | ZipException e) {
      throw problem(name, "expected its bytes, got " + e.getMessage());
    }
    return tensor;
  }

  /** Checks that rows follow one another without a gap; returns the number of elements. */
  private long checkShape(String name, TorchPickle.TensorEntry entry) throws FormatException {
    long elements = 1;
    boolean contiguous = entry.shape().size() == entry.strides().size() && entry.offset() >= 0;
    for (int i = entry.shape().size() - 1; i >= 0 && contiguous; i--) {
      long extent = entry.shape().get(i);
      contiguous = extent >= 0 && (extent == 1 || entry.strides().get(i) == elements);
      if (contiguous && Math.multiplyHigh(elements, extent) != 0
          || elements * extent > Long.MAX_VALUE / Double.BYTES
          || elements * extent < 0) {
        throw problem(name, "expected a shape of fewer elements, got " + entry.shape());
      }
      elements *= extent;
    }
    if (!contiguous) {
      throw problem(
          name,
          "expected contiguous rows, got shape "
              + entry.shape()
              + " with strides "
              + entry.strides());
    }
    return elements;
  }

  private TorchPickle.TensorEntry entry(String name) throws FormatException {
    TorchPickle.@Nullable TensorEntry entry = tensors.get(name);
    if (entry == null) {
      throw new FormatException(
          path.toString(), "expected a tensor " + FormatException.quote(name) + ", found none");
    }
    return entry;
  }

  private FormatException problem(String name, String problem) {
    return new FormatException(
        path.toString(), "tensor " + FormatException.quote(name) + ": " + problem);
  }

  @Override
  public void close() throws IOException {
    zip.close();
  }
}

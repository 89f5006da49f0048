package org.quern.io;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Writes a changed copy of a checkpoint: shards with the headers of the source, its index, and the
 * files beside it. All files are written under temporary names and renamed by {@link #commit} when
 * every one is complete, the index last; until then, and where the writer is closed without,
 * whatever stood at the destination is left whole.
 */
public final class CheckpointWriter implements Closeable {
  /**
   * Largest file beside the shards that is copied, in bytes: tokenizers are smaller, weights in
   * other formats larger.
   */
  public static final long COMPANION_LIMIT = 64L << 20;

  private final Map<SafetensorsFile, SafetensorsWriter> shards = new LinkedHashMap<>();
  private final List<AtomicFile> companions = new ArrayList<>();
  private final List<Path> notCopied = new ArrayList<>();
  private final List<Path> directories = new ArrayList<>();
  private boolean committed;

  private CheckpointWriter() {}

  /**
   * Starts a copy.
   *
   * @param destination the file to write for a source that is a single file, the directory for one
   *     that is a directory or an index
   * @param overwrite true to replace files that stand at the destination
   * @throws IllegalArgumentException where the destination is not of the source's kind, is the
   *     source itself, holds something without {@code overwrite}, or holds further safetensors
   *     files that would mix with those written
   */
  public static CheckpointWriter create(Checkpoint source, Path destination, boolean overwrite)
      throws IOException {
    return create(source, destination, overwrite, Map.of(), Map.of());
  }

  /**
   * Starts a copy in which some files differ.
   *
   * @param destination the file to write for a source that is a single file, the directory for one
   *     that is a directory or an index
   * @param overwrite true to replace files that stand at the destination
   * @param headers for shards of the source, the header to write instead of theirs
   * @param contents for names of files beside the shards, or of the index, the bytes to write
   *     instead of theirs
   * @throws IllegalArgumentException as {@link #create(Checkpoint, Path, boolean)} does
   */
  public static CheckpointWriter create(
      Checkpoint source,
      Path destination,
      boolean overwrite,
      Map<SafetensorsFile, SafetensorsHeader> headers,
      Map<String, byte[]> contents)
      throws IOException {
    Path directory = source.directory();
    Map<SafetensorsFile, Path> targets = new LinkedHashMap<>();
    for (SafetensorsFile shard : source.shards()) {
      Path target =
          directory == null ? destination : destination.resolve(directory.relativize(shard.path()));
      targets.put(shard, target);
      if (Files.exists(target) && Files.isSameFile(target, shard.path())) {
        throw new IllegalArgumentException(
            "output: expected another place than that of the input, got " + destination);
      }
    }
    if (directory == null) {
      checkFile(destination, overwrite);
    } else {
      checkDirectory(source, destination, overwrite);
    }
    CheckpointWriter writer = new CheckpointWriter();
    try {
      for (Map.Entry<SafetensorsFile, Path> target : targets.entrySet()) {
        if (directory != null) {
          writer.createDirectories(target.getValue().toAbsolutePath().getParent());
        }
        SafetensorsFile shard = target.getKey();
        SafetensorsHeader header = headers.getOrDefault(shard, shard.header());
        writer.shards.put(shard, SafetensorsWriter.create(target.getValue(), header));
      }
      for (Path file : source.companions()) {
        if (Files.size(file) > COMPANION_LIMIT) {
          writer.notCopied.add(file);
        } else {
          writer.copy(file, destination, contents);
        }
      }
      Path index = source.index();
      if (index != null) {
        writer.copy(index, destination, contents);
      }
      return writer;
    } catch (IOException | RuntimeException e) {
      writer.close();
      throw e;
    }
  }

  private static void checkFile(Path destination, boolean overwrite) {
    if (Files.isDirectory(destination)) {
      throw new IllegalArgumentException(
          "output: expected the name of a file, as the input is one, got the directory "
              + destination);
    }
    if (Files.exists(destination) && !overwrite) {
      throw exists(destination);
    }
  }

  private static void checkDirectory(Checkpoint source, Path destination, boolean overwrite)
      throws IOException {
    if (!Files.exists(destination)) {
      return;
    }
    if (!Files.isDirectory(destination)) {
      throw new IllegalArgumentException(
          "output: expected a directory, as the input is one, got the file " + destination);
    }
    List<Path> present;
    try (Stream<Path> files = Files.list(destination)) {
      present = files.toList();
    }
    if (!present.isEmpty() && !overwrite) {
      throw exists(destination);
    }
    Set<Path> replaced = new HashSet<>();
    source.shards().forEach(shard -> replaced.add(shard.path().getFileName()));
    Path index = source.index();
    if (index != null) {
      replaced.add(index.getFileName());
    }
    for (Path file : present) {
      if (Checkpoint.isPart(file) && !replaced.contains(file.getFileName())) {
        throw new IllegalArgumentException(
            "output: expected a directory without other safetensors files, got "
                + file
                + ", which the input does not have");
      }
    }
  }

  private static IllegalArgumentException exists(Path destination) {
    return new IllegalArgumentException(
        "output: expected a path where nothing stands, or --force to replace it, got "
            + destination);
  }

  /** Creates a directory and the missing ones above it, and remembers them. */
  private void createDirectories(@Nullable Path directory) throws IOException {
    if (directory == null || Files.isDirectory(directory)) {
      return;
    }
    createDirectories(directory.getParent());
    Files.createDirectory(directory);
    directories.add(directory);
    if (directory.getFileSystem() == FileSystems.getDefault()) {
      directory.toFile().deleteOnExit(); // behind the files in it; one that is not empty stays
    }
  }

  private void copy(Path source, Path directory, Map<String, byte[]> contents) throws IOException {
    String name = source.getFileName().toString();
    AtomicFile file = AtomicFile.create(directory.resolve(name));
    companions.add(file);
    byte[] content = contents.get(name);
    if (content != null) {
      Files.write(file.path(), content);
    } else {
      Files.copy(source, file.path(), StandardCopyOption.REPLACE_EXISTING);
    }
  }

  /**
   * The writer for the tensors of a shard of the source; this object commits and closes it.
   *
   * @throws IllegalArgumentException where the source has no such shard
   */
  public SafetensorsWriter writer(SafetensorsFile shard) {
    SafetensorsWriter writer = shards.get(shard);
    if (writer == null) {
      throw new IllegalArgumentException("shard: expected one of the source, got " + shard.path());
    }
    return writer;
  }

  /** Files beside the shards that are larger than {@link #COMPANION_LIMIT} and were left behind. */
  public List<Path> notCopied() {
    return Collections.unmodifiableList(notCopied);
  }

  /**
   * Renames all files to their destinations.
   *
   * @throws IllegalStateException where bytes of a tensor were not written
   */
  public void commit() throws IOException {
    for (SafetensorsWriter shard : shards.values()) {
      shard.commit();
    }
    for (AtomicFile companion : companions) {
      companion.commit();
    }
    committed = true;
  }

  /** Deletes what was written unless it was committed. */
  @Override
  public void close() throws IOException {
    for (SafetensorsWriter shard : shards.values()) {
      shard.close();
    }
    for (AtomicFile companion : companions) {
      companion.close();
    }
    if (!committed) {
      for (Path directory : directories.reversed()) {
        Files.deleteIfExists(directory);
      }
    }
  }
}

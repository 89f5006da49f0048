package org.quern.prune.calibration;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.quern.io.Checkpoint;
import org.quern.io.SafetensorsFile;
import org.quern.prune.Pruner;
import org.quern.tensor.Tensor;

/**
 * Short texts that tell the inputs of a run from others. Of a checkpoint they know names, sizes,
 * times of change and headers, not the weights themselves, which would have to be read for it.
 */
final class Fingerprint {
  private static final int DIGITS = 16;

  private final MessageDigest digest;

  private Fingerprint() {
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e); // Every JDK has it.
    }
  }

  /** Of the files of a model. */
  static String of(Checkpoint checkpoint) throws IOException {
    Fingerprint print = new Fingerprint();
    for (SafetensorsFile shard : checkpoint.shards()) {
      print.add(shard.path());
      print.digest.update(shard.header().bytes());
    }
    return print.text();
  }

  /** Of token ids. */
  static String of(Tensor tokens) {
    Fingerprint print = new Fingerprint();
    print.add(Arrays.toString(tokens.shape()));
    print.digest.update(tokens.memory().asByteBuffer());
    return print.text();
  }

  /** Of files by their names, sizes and times. */
  static String of(List<Path> files) throws IOException {
    Fingerprint print = new Fingerprint();
    for (Path file : files) {
      print.add(file);
    }
    return files.isEmpty() ? "none" : print.text();
  }

  /** Of the settings by layer. */
  static String of(Map<String, Pruner> layers) {
    Fingerprint print = new Fingerprint();
    layers.forEach((name, pruner) -> print.add(name + " " + pruner));
    return print.text();
  }

  private void add(Path file) throws IOException {
    add(
        file.getFileName()
            + " "
            + Files.size(file)
            + " "
            + Files.getLastModifiedTime(file).toMillis());
  }

  private void add(String text) {
    digest.update((text + '\n').getBytes(StandardCharsets.UTF_8));
  }

  private String text() {
    return HexFormat.of().formatHex(digest.digest()).substring(0, DIGITS);
  }
}

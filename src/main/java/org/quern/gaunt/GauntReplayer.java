package org.quern.gaunt;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.Set;
import java.util.stream.Collectors;
import org.quern.family.Replay;
import org.quern.io.Csv;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;

/**
 * Replays recorded cases of this family. Files are recognised by the names of the tensors or
 * columns that they hold, so that file names, degrees, sizes and seeds are free.
 */
final class GauntReplayer {
  private static final String SUFFIX = ".safetensors";

  private final Replay replay;

  GauntReplayer(Replay replay) {
    this.replay = replay;
  }

  /** Replays every recognised file of the directory. */
  void run() throws IOException {
    for (String name : replay.unclaimed()) {
      if (name.endsWith(SUFFIX)) {
        try (SafetensorsFile file = SafetensorsFile.open(replay.directory().resolve(name));
            Arena arena = Arena.ofShared()) {
          GoldenTensors tensors = new GoldenTensors(replay, name, file, arena);
          try {
            replayTensors(tensors);
          } catch (IllegalArgumentException e) {
            throw tensors.error(e.getMessage()); // all arguments come from the file
          }
        }
      } else if (name.endsWith(".csv")) {
        replayTable(name, Csv.read(replay.directory().resolve(name)));
      }
    }
  }

  private void replayTensors(GoldenTensors file) throws IOException {
    Set<String> keys = file.keys();
    if (keys.containsAll(Set.of("src", "dst", "x", "r", "h", "out"))) {
      file.claim();
      new LayerReplayer(file).convolution();
    } else if (keys.containsAll(Set.of("x", "species", "W"))) {
      file.claim();
      new LayerReplayer(file).manyBody();
    } else if (keys.containsAll(Set.of("xyz", "Y"))) {
      file.claim();
      new SphereReplayer(file).harmonics();
    } else if (keys.containsAll(Set.of("x1", "x2", "out", "sh2f"))) {
      file.claim();
      new SphereReplayer(file).fourier();
    } else if (keys.containsAll(Set.of("R", "x1", "x1_rot", "x2_rot", "out_rot"))) {
      file.claim();
      new RotationReplayer(file).run();
    } else if (keys.containsAll(Set.of("x1", "x2", "out_exact"))) {
      file.claim();
      new ProductReplayer(file).official();
    } else if (keys.containsAll(Set.of("x1", "x2", "out"))) {
      replayProduct(file);
    } else if (keys.containsAll(Set.of("i", "j", "k", "value"))) {
      file.claim();
      new CoefficientReplayer(replay).tensors(file);
    }
  }

  /** Products of two operands; what kind, other tensors, shapes or the note in the file tell. */
  private void replayProduct(GoldenTensors file) throws IOException {
    file.claim();
    String kind = file.metadata().getOrDefault("kind", "");
    String flat = file.metadata().get("irreps_in");
    if (flat != null) {
      int degree1 = highest(flat);
      String other = file.metadata().getOrDefault("irreps_in2", flat);
      int degree3 = highest(file.metadata().getOrDefault("irreps_out", flat));
      new ProductReplayer(file).flat(new int[] {degree1, highest(other), degree3});
    } else if (kind.contains("cross") || kind.contains("bracket")) {
      new ProductReplayer(file).cross();
    } else {
      new ProductReplayer(file).product();
    }
  }

  private static int highest(String irreps) {
    return java.util.Arrays.stream(irreps.split("\\+"))
        .map(part -> part.strip().replaceAll(".*x", "").replaceAll("[eo]", ""))
        .mapToInt(Integer::parseInt)
        .max()
        .orElse(0);
  }

  private void replayTable(String name, Csv csv) throws IOException {
    Set<String> columns = csv.header().stream().collect(Collectors.toSet());
    if (columns.containsAll(CoefficientReplayer.COEFFICIENTS)) {
      replay.claim(name);
      new CoefficientReplayer(replay).coefficients(name, csv);
    } else if (columns.containsAll(CoefficientReplayer.CONSTANTS)) {
      replay.claim(name);
      new CoefficientReplayer(replay).constants(name, csv);
    }
  }

  static Set<String> keys(SafetensorsFile file) {
    return file.entries().stream().map(SafetensorsEntry::name).collect(Collectors.toSet());
  }
}

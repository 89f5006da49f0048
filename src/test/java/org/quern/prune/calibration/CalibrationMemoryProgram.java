package org.quern.prune.calibration;

import java.io.IOException;
import java.nio.file.Path;
import org.quern.prune.Method;
import org.quern.prune.Pattern;
import org.quern.prune.Pruner;

/**
 * Calibrates and prunes the checkpoint that system properties name, and prints the peak of the
 * resident memory; for a JVM of its own.
 */
final class CalibrationMemoryProgram {
  static final String DIRECTORY = "quern.test.directory";

  private CalibrationMemoryProgram() {}

  /** Prunes {@code model} by {@code tokens.bin} in the directory. */
  public static void main(String[] arguments) throws IOException {
    Path directory = Path.of(System.getProperty(DIRECTORY));
    CalibrationReport report =
        CalibratedPruning.builder(directory.resolve("tokens.bin"))
            .pruner(Pruner.builder().method(Method.GBLM).pattern(Pattern.nm(2, 4)))
            .reconstruction(Reconstruction.NONE)
            .sequences(2)
            .length(16)
            .build()
            .prune(directory.resolve("model"), directory.resolve("out"));
    System.out.println("layers=" + report.pruning().layers().size());
    System.out.println("peak=" + CalibrationTool.memory("VmHWM"));
  }
}

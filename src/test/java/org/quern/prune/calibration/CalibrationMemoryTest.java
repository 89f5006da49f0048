package org.quern.prune.calibration;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.quern.prune.lm.DecoderShape;
import org.quern.runtime.ChildJvm;
import org.quern.tensor.DType;

/** Resident memory does not grow with the number of blocks. */
class CalibrationMemoryTest {
  private static final int FEW = 2;
  private static final int MANY = 12;

  /** Bytes of a block's weights and gradients in F32. */
  private static final long BLOCK_BYTES = 2L * Float.BYTES * (4 * 256 * 256 + 3 * 256 * 768);

  @TempDir Path directory;

  @Test
  void sixTimesTheBlocksTakeNoMoreMemory() throws Exception {
    Assumptions.assumeTrue(Files.isReadable(Path.of("/proc/self/status")), "Linux");
    long few = peak(FEW);
    long many = peak(MANY);
    System.out.println(
        "peak of " + FEW + " blocks " + few + " MB, of " + MANY + " " + many + " MB");
    // All blocks at once would take 68 MB more; heap and code of the JVM differ from run to run.
    long all = (MANY - FEW) * BLOCK_BYTES / 1_000_000;
    assertTrue(many - few < all / 2, few + " and " + many + " MB, of " + all);
  }

  private long peak(int blocks) throws Exception {
    DecoderShape shape = new DecoderShape(64, 256, 768, 8, 8, 32, blocks, 10_000, 1e-5);
    Path own = Files.createDirectory(directory.resolve("of" + blocks));
    SampleCheckpoint.write(own.resolve("model"), shape, DType.BF16, 3);
    SampleCheckpoint.writeTokens(own.resolve("tokens.bin"), 200, 64, 4);
    List<String> flags = new ArrayList<>(ChildJvm.VECTOR);
    flags.add("-Xmx32m");
    flags.add("-D" + CalibrationMemoryProgram.DIRECTORY + "=" + own);
    Map<String, String> report =
        ChildJvm.run(CalibrationMemoryProgram.class, flags, JsonObject.class);
    assertEquals(7 * blocks, Integer.parseInt(report.get("layers")));
    return Long.parseLong(report.get("peak"));
  }
}

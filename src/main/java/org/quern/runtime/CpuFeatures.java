package org.quern.runtime;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Instructions that the compiler of this JVM may use, where it matters which of two ways through
 * the Vector API is compiled to them and which to calls. Known, not timed, because two ways differ
 * in the order of their sums and a result must not depend on the load of the machine.
 */
public final class CpuFeatures {
  private static final Path CPU_INFO = Path.of("/proc/cpuinfo");

  /** The least {@code UseAVX} with which C2 compiles masks of AVX-512. */
  private static final int AVX512 = 3;

  private CpuFeatures() {}

  /**
   * True where {@code ShortVector.expand} is one instruction: AVX-512 VBMI2, as Linux reports it
   * and the flags of the JVM allow it. Elsewhere it is a call per element.
   */
  public static boolean expandsShorts() {
    return level(VmFlags.read("UseAVX")) >= AVX512 && listed(CPU_INFO, "avx512_vbmi2");
  }

  private static int level(@Nullable String flag) {
    return flag == null ? 0 : Integer.parseInt(flag);
  }

  /** Whether the first line of flags has this one. */
  static boolean listed(Path cpuInfo, String flag) {
    try (Stream<String> lines = Files.lines(cpuInfo)) {
      return lines
          .filter(line -> line.startsWith("flags"))
          .limit(1)
          .anyMatch(line -> Arrays.asList(line.split("\\s+")).contains(flag));
    } catch (IOException | UncheckedIOException unknown) {
      return false;
    }
  }
}

package org.quern.runtime;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Finds out what this JVM can run: by the flags of the VM where it tells them, else by a trial. */
final class CapabilityProbe {
  /** The narrowest vector that is worth its overhead: four floats. */
  private static final int MIN_VECTOR_BYTES = 16;

  private CapabilityProbe() {}

  static Capabilities probe() {
    String forced = System.getProperty(Capabilities.TIER_PROPERTY);
    Tier forcedTier = forced == null ? null : Tier.ofLabel(forced);
    boolean module = ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
    String refusal = vectorRefusal(module, VmFlags::read);
    NativeViews.train();
    int vectorBits = refusal == null ? VectorSelfTest.bits() : 0;
    return new Capabilities(
        List.of(
            new TierStatus(Tier.SCALAR, true, "plain Java runs on every JVM"),
            new TierStatus(
                Tier.VECTOR, refusal == null, refusal == null ? vectorFound(vectorBits) : refusal),
            new TierStatus(Tier.NATIVE, false, "this build carries no native kernels"),
            new TierStatus(Tier.CUDA, false, "this build carries no CUDA kernels")),
        forcedTier,
        vectorBits,
        Runtime.getRuntime().availableProcessors(),
        cpu(),
        Runtime.version() + " " + System.getProperty("java.vendor"));
  }

  /**
   * Why the vector tier cannot run, in one sentence that names the remedy, or null where it can.
   *
   * @param module whether the boot layer holds the Vector API; nothing of it is loaded otherwise
   * @param flags the value of a VM flag, or null where the VM does not tell
   */
  static @Nullable String vectorRefusal(boolean module, Function<String, @Nullable String> flags) {
    if (!module) {
      return "the Vector API is not in the boot layer: add --add-modules jdk.incubator.vector";
    }
    String compiler = flags.apply("UseCompiler");
    if ("false".equals(compiler)) {
      return "the JVM only interprets: remove -Xint";
    }
    String level = flags.apply("TieredStopAtLevel");
    if (level != null && Integer.parseInt(level) < 4) {
      return "the C2 compiler is off: remove -XX:TieredStopAtLevel=" + level;
    }
    String fma = flags.apply("UseFMA");
    if ("false".equals(fma)) {
      return "fused multiply-add is off: remove -XX:-UseFMA, or run on a CPU that has FMA";
    }
    String support = flags.apply("EnableVectorSupport");
    if ("false".equals(support)) {
      return "the vector intrinsics of C2 are off: remove -XX:-EnableVectorSupport";
    }
    String width = flags.apply("MaxVectorSize");
    if (width != null && Integer.parseInt(width) < MIN_VECTOR_BYTES) {
      return "vectors are limited to "
          + width
          + " bytes: remove -XX:MaxVectorSize="
          + width
          + ", or run on a CPU with 128-bit vectors";
    }
    // EnableVectorSupport is not missed: the VM hides it until it is unlocked, and until then it
    // cannot have been switched off.
    boolean told = compiler != null && level != null && fma != null && width != null;
    // Another compiler in C2's place may or may not know the Vector API: only a trial can tell.
    boolean c2 = !"true".equals(flags.apply("UseJVMCICompiler"));
    try {
      String fault = VectorSelfTest.fault();
      if (fault != null) {
        return "the Vector API computes wrong results (" + fault + "): use another JDK build";
      }
      if (!(told && c2) && !VectorSelfTest.isFast()) {
        return "this JVM does not compile the Vector API: use a HotSpot JVM with the C2 compiler";
      }
    } catch (RuntimeException | LinkageError e) {
      return "the Vector API fails here (" + e + "): use another JDK build";
    }
    return null;
  }

  private static String vectorFound(int bits) {
    String found = bits + "-bit vectors with FMA, compiled by the JVM";
    return NativeViews.enabled()
        ? found
        : found
            + "; without --enable-native-access=org.quern (ALL-UNNAMED on the class path) they slow"
            + " down when other code uses heap segments";
  }

  private static String cpu() {
    try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
      return lines
          .filter(line -> line.startsWith("model name"))
          .map(line -> line.substring(line.indexOf(':') + 1).strip())
          .findFirst()
          .orElseGet(() -> System.getProperty("os.arch"));
    } catch (IOException | UncheckedIOException e) {
      return System.getProperty("os.arch");
    }
  }
}

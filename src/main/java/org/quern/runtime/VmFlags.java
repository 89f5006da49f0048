package org.quern.runtime;

import com.sun.management.HotSpotDiagnosticMXBean;
import java.lang.management.ManagementFactory;
import org.jspecify.annotations.Nullable;

/** The flags of a HotSpot JVM. */
final class VmFlags {
  private VmFlags() {}

  /** The value of a flag; null where this JVM has no such flag, or no way to ask for it. */
  static @Nullable String read(String name) {
    try {
      HotSpotDiagnosticMXBean bean =
          ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
      return bean == null ? null : bean.getVMOption(name).getValue();
    } catch (IllegalArgumentException | LinkageError e) {
      // The first: no such flag or bean in this VM; the second: an image without jdk.management.
      return null;
    }
  }
}

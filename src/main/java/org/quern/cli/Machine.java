package org.quern.cli;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.quern.linalg.Gemm;
import org.quern.runtime.Capabilities;

/** Facts about the machine and the JVM, for the reports. */
final class Machine {
  private Machine() {}

  /** The facts by name, in the order in which they are shown. */
  static Map<String, String> facts(Capabilities capabilities) {
    OperatingSystemMXBean system = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("Quern", Main.Version.number());
    facts.put("JVM", capabilities.java());
    facts.put("Java home", property("java.home"));
    facts.put(
        "System", property("os.name") + " " + property("os.version") + " " + property("os.arch"));
    facts.put("CPU", capabilities.cpu());
    facts.put("Processors", Integer.toString(capabilities.processors()));
    facts.put("Vector width", capabilities.vectorBits() + " bits");
    facts.put("Memory", gibibytes(system.getTotalMemorySize()));
    facts.put("Java heap limit", gibibytes(Runtime.getRuntime().maxMemory()));
    facts.put("Products", Gemm.library());
    return facts;
  }

  private static String property(String name) {
    return System.getProperty(name);
  }

  private static String gibibytes(long bytes) {
    return String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1L << 30));
  }
}

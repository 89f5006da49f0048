package org.quern.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/**
 * Programs in a JVM of their own: with other flags, or with profiles that no other test has shaped,
 * for what the compiler makes of a method depends on all that ran before.
 */
public final class ChildJvm {
  /** Flags that open the vector tier on the class path. */
  public static final List<String> VECTOR =
      List.of("--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED");

  private ChildJvm() {}

  /**
   * Runs the main method of a class on the class path of the classes under test.
   *
   * @param libraries a class of each library that it needs
   * @return its lines {@code key=value}, and its error stream as {@code stderr}
   */
  public static Map<String, String> run(Class<?> program, List<String> flags, Class<?>... libraries)
      throws Exception {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(flags);
    command.add("-cp");
    StringBuilder path = new StringBuilder();
    path.append(location(Capabilities.class))
        .append(File.pathSeparator)
        .append(Path.of("target", "test-classes").toAbsolutePath());
    for (Class<?> library : libraries) {
      path.append(File.pathSeparator).append(location(library));
    }
    command.add(path.toString());
    command.add(program.getName());
    Process process = new ProcessBuilder(command).start();
    process.getOutputStream().close();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    String err = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
    assertTrue(process.waitFor(60, TimeUnit.SECONDS), "the child ends");
    assertEquals(0, process.exitValue(), err);
    Map<String, String> report = new HashMap<>();
    report.put("stderr", err);
    Pattern.compile("(\\w+)=(.*)")
        .matcher(out)
        .results()
        .forEach(line -> report.put(line.group(1), line.group(2)));
    return report;
  }

  private static Path location(Class<?> type) throws URISyntaxException {
    return Path.of(type.getProtectionDomain().getCodeSource().getLocation().toURI());
  }
}

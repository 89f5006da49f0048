package org.quern.cli;

import java.net.URL;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A library that Quern uses where it is present.
 *
 * @param name its name
 * @param purpose what is missing without it
 * @param resource a file inside its jar, by which it is found
 */
record Library(String name, String purpose, String resource) {
  private static final Pattern JAR = Pattern.compile("-(\\d[\\w.-]*)\\.jar!");

  /**
   * The version that the name of its jar carries, "unknown" where it carries none, null where the
   * library is absent.
   */
  @Nullable String version() {
    URL location = Library.class.getClassLoader().getResource(resource);
    if (location == null) {
      return null;
    }
    Matcher jar = JAR.matcher(location.toString());
    return jar.find() ? jar.group(1) : "unknown";
  }
}

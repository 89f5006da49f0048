package org.quern.io;

import java.io.IOException;

/**
 * A file whose content is not what its format demands. The message is one line that names the file,
 * the place in it, and what was expected; control characters that a hostile file may carry into it
 * are shown escaped.
 */
public final class FormatException extends IOException {
  private static final long serialVersionUID = 1L;

  /** Longest message; names in a file may have megabytes. */
  private static final int LIMIT = 1000;

  /**
   * An error in the content of a file.
   *
   * @param source the file as the user knows it
   * @param problem the place in the file, what was expected and what came
   */
  public FormatException(String source, String problem) {
    super(line(source + ": " + problem, LIMIT));
  }

  /**
   * {@code name} in double quotes, for a message: on one line and no longer than a hundred
   * characters.
   */
  static String quote(String name) {
    return '"' + line(name, 100) + '"';
  }

  private static String line(String text, int limit) {
    StringBuilder line = new StringBuilder();
    for (int i = 0; i < text.length(); i++) {
      if (line.length() >= limit) {
        return line.append("...").toString();
      }
      char c = text.charAt(i);
      if (Character.isISOControl(c) || c == '\u2028' || c == '\u2029') {
        line.append(String.format("\\u%04x", (int) c));
      } else {
        line.append(c);
      }
    }
    return line.toString();
  }
}

package org.quern.prune;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.jspecify.annotations.Nullable;
import org.quern.io.SafetensorsEntry;
import org.quern.tensor.DType;

/**
 * Which tensors of a checkpoint are linear layers to prune. By default: matrices {@code
 * NAME.weight} within a numbered block whose name does not tell of an embedding, a norm, a router
 * or a head. Expressions that a user gives are sought anywhere in the tensor's name; those that
 * include replace the default, and those that exclude win over both.
 */
final class LayerSelection {
  /** A path component that is a number: a decoder block. */
  private static final Pattern BLOCK = Pattern.compile("(^|\\.)\\d+\\.");

  private static final Pattern NOT_LINEAR =
      Pattern.compile("(?i)embed|norm|router|lm_head|bias|(^|\\.|_)gate\\.weight$");

  private final List<Pattern> include;
  private final List<Pattern> exclude;

  LayerSelection(List<Pattern> include, List<Pattern> exclude) {
    this.include = List.copyOf(include);
    this.exclude = List.copyOf(exclude);
  }

  /**
   * A regular expression that a user gave.
   *
   * @param argument what errors call it
   */
  static Pattern compile(String argument, String expression) {
    try {
      return Pattern.compile(expression);
    } catch (PatternSyntaxException e) {
      throw new IllegalArgumentException(
          argument
              + ": expected a regular expression, got '"
              + expression
              + "': "
              + e.getDescription(),
          e);
    }
  }

  /**
   * Checks that every expression is found in some name: one that is not was mistyped, and would
   * leave a layer pruned that should be kept.
   */
  void requireMatches(Set<String> names) {
    requireMatches("include", include, names);
    requireMatches("exclude", exclude, names);
  }

  private static void requireMatches(
      String argument, List<Pattern> expressions, Set<String> names) {
    for (Pattern expression : expressions) {
      if (names.stream().noneMatch(name -> expression.matcher(name).find())) {
        throw new IllegalArgumentException(
            argument
                + ": expected an expression that some tensor matches, got '"
                + expression
                + "'");
      }
    }
  }

  /** Why a tensor is to be left alone, or null where it is to be pruned. */
  @Nullable String reasonToLeave(SafetensorsEntry tensor) {
    String name = tensor.name();
    if (found(exclude, name)) {
      return "excluded";
    }
    if (!include.isEmpty() && !found(include, name)) {
      return "not included";
    }
    if (tensor.shape().length != 2) {
      return "not a matrix";
    }
    DType type = tensor.type().type();
    if (type != DType.F32 && type != DType.F16 && type != DType.BF16) {
      return "type " + tensor.type();
    }
    if (!include.isEmpty()) {
      return null;
    }
    if (!name.endsWith(".weight") || NOT_LINEAR.matcher(name).find()) {
      return "not a linear layer by its name";
    }
    return BLOCK.matcher(name).find() ? null : "outside the numbered blocks";
  }

  /**
   * The numbered block of a tensor: its name up to the first number and the dot behind it.
   *
   * @throws IllegalArgumentException where the name has none
   */
  static String blockOf(String name) {
    Matcher block = BLOCK.matcher(name);
    if (!block.find()) {
      throw new IllegalArgumentException(
          "owl: expected matrices within numbered blocks, got " + name + "; exclude it");
    }
    return name.substring(0, block.end());
  }

  private static boolean found(List<Pattern> expressions, String name) {
    return expressions.stream().anyMatch(expression -> expression.matcher(name).find());
  }

  /** The expressions of a list of texts. */
  static List<Pattern> compile(String argument, List<String> expressions) {
    List<Pattern> patterns = new ArrayList<>();
    for (String expression : expressions) {
      patterns.add(compile(argument, expression));
    }
    return patterns;
  }
}

package org.quern.prune;

import java.util.Locale;
import java.util.regex.Matcher;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Tier;

/**
 * What a recorded run did, read from its name: the method, then in any order the pattern ({@code
 * u0.5} or {@code 2of4}), the gradient norm ({@code l1} or {@code l2}), and the exponent of the
 * column norms ({@code a0.5}).
 *
 * @param method the score
 * @param norm the gradient statistic; null where the name has none
 * @param pattern what was selected
 * @param exponent of the column norms, for {@link Method#RIA}
 */
record GoldenRun(Method method, @Nullable GradientNorm norm, Pattern pattern, double exponent) {
  private static final java.util.regex.Pattern PATTERN =
      java.util.regex.Pattern.compile("(?:^|\\.)(?:u(\\d*\\.?\\d+)|(\\d+)of(\\d+))(?:\\.|$)");
  private static final java.util.regex.Pattern NORM =
      java.util.regex.Pattern.compile("(?:^|\\.)(l[12])(?:\\.|$)");
  private static final java.util.regex.Pattern EXPONENT =
      java.util.regex.Pattern.compile("(?:^|\\.)a(\\d*\\.?\\d+)(?:\\.|$)");
  private static final String CUMULATIVE = "_variant";

  /** The run of a name, or null where this family does not know its method or pattern. */
  static @Nullable GoldenRun parse(String name) {
    int dot = name.indexOf('.');
    Matcher pattern = PATTERN.matcher(name);
    if (dot < 0 || !pattern.find()) {
      return null;
    }
    String word = name.substring(0, dot);
    boolean cumulative = word.endsWith(CUMULATIVE);
    Method method =
        method(cumulative ? word.substring(0, word.length() - CUMULATIVE.length()) : word);
    boolean grouped = pattern.group(1) == null;
    if (method == null || (grouped && Integer.parseInt(pattern.group(3)) > Pattern.NM.MAX_OF)) {
      return null;
    }
    return new GoldenRun(method, norm(name), pattern(method, cumulative, pattern), exponent(name));
  }

  /** The exponent in a name, or the published one. */
  static double exponent(String name) {
    Matcher exponent = EXPONENT.matcher(name);
    return exponent.find() ? Double.parseDouble(exponent.group(1)) : Pruner.DEFAULT_EXPONENT;
  }

  /** The method of a word, its label without a hyphen, or null. */
  static @Nullable Method method(String word) {
    for (Method method : Method.values()) {
      if (method.label().replace("-", "").equals(word)) {
        return method;
      }
    }
    return null;
  }

  /** The gradient norm in a name, or null. */
  static @Nullable GradientNorm norm(String name) {
    Matcher norm = NORM.matcher(name);
    return norm.find() ? GradientNorm.valueOf(norm.group(1).toUpperCase(Locale.ROOT)) : null;
  }

  private static Pattern pattern(Method method, boolean cumulative, Matcher found) {
    if (found.group(1) == null) {
      return Pattern.nm(Integer.parseInt(found.group(2)), Integer.parseInt(found.group(3)));
    }
    double ratio = Double.parseDouble(found.group(1));
    if (cumulative) {
      return Pattern.cumulative(ratio);
    }
    return Pattern.unstructured(ratio, method == Method.MAGNITUDE ? Group.MATRIX : Group.ROW);
  }

  /** The pruner of this run, with the arithmetic of the released program. */
  Pruner pruner(Tier tier) {
    return Pruner.builder()
        .method(method)
        .pattern(pattern)
        .exponent(exponent)
        .compat(Compat.OFFICIAL)
        .tier(tier)
        .build();
  }

  /** The name under which a layer's gradient statistic is recorded; l1 where none is named. */
  static String gradientKey(@Nullable GradientNorm norm) {
    return (norm == null ? GradientNorm.L1 : norm).key();
  }
}

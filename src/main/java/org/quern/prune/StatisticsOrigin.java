package org.quern.prune;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsFile;

/**
 * What calibration statistics were taken of; kept in the metadata of their file.
 *
 * @param source the model and the data, in words that tell them from others
 * @param firstSample number of the first calibration sample, from 0
 * @param samples calibration samples, at least 1
 * @param tokens tokens of all samples that counted
 * @param scale of the gradients; null where there are none
 */
public record StatisticsOrigin(
    String source, long firstSample, long samples, long tokens, @Nullable GradientScale scale) {
  private static final String SOURCE = "source";
  private static final String FIRST_SAMPLE = "first_sample";
  private static final String SAMPLES = "samples";
  private static final String TOKENS = "tokens";
  private static final String SCALE = "scale";

  /**
   * Checks the numbers.
   *
   * @throws IllegalArgumentException where a number is negative, or there are no samples
   */
  public StatisticsOrigin {
    if (firstSample < 0 || samples < 1 || tokens < 0) {
      throw new IllegalArgumentException(
          "firstSample, samples, tokens: expected at least 0, 1 and 0, got "
              + firstSample
              + ", "
              + samples
              + " and "
              + tokens);
    }
  }

  /** The strings for a file's header. */
  Map<String, String> metadata() {
    Map<String, String> metadata = new LinkedHashMap<>();
    metadata.put(SOURCE, source);
    metadata.put(FIRST_SAMPLE, Long.toString(firstSample));
    metadata.put(SAMPLES, Long.toString(samples));
    metadata.put(TOKENS, Long.toString(tokens));
    if (scale != null) {
      metadata.put(SCALE, scale.toString());
    }
    return metadata;
  }

  /**
   * The origin of the statistics in a file.
   *
   * @throws FormatException where its metadata do not tell
   */
  public static StatisticsOrigin of(SafetensorsFile file) throws FormatException {
    Map<String, String> metadata = file.metadata();
    try {
      String scale = metadata.get(SCALE);
      return new StatisticsOrigin(
          metadata.getOrDefault(SOURCE, ""),
          number(file, FIRST_SAMPLE),
          number(file, SAMPLES),
          number(file, TOKENS),
          scale == null ? null : GradientScale.parse(scale));
    } catch (IllegalArgumentException e) {
      throw new FormatException(file.path().toString(), "metadata: " + e.getMessage());
    }
  }

  private static long number(SafetensorsFile file, String key) {
    String text = file.metadata().get(key);
    if (text == null || !text.matches("\\d{1,18}")) {
      throw new IllegalArgumentException(
          key + ": expected a number, got " + (text == null ? "none" : "'" + text + "'"));
    }
    return Long.parseLong(text);
  }
}

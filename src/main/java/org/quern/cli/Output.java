package org.quern.cli;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonPrimitive;
import java.util.Locale;
import org.quern.runtime.Tier;

/** How figures and documents are written to standard output. */
final class Output {
  private static final Gson GSON =
      new GsonBuilder().setPrettyPrinting().serializeNulls().disableHtmlEscaping().create();

  private Output() {}

  static String toJson(JsonElement element) {
    return GSON.toJson(element);
  }

  /** The number as JSON, which has no word for NaN and the infinities: they become null. */
  static JsonElement number(double value) {
    return Double.isFinite(value) ? new JsonPrimitive(value) : JsonNull.INSTANCE;
  }

  /** Three significant digits, without an exponent where that stays short. */
  static String figure(double value) {
    double magnitude = Math.abs(value);
    if (value == Math.rint(value) && magnitude < 1e6) {
      return String.format(Locale.ROOT, "%.0f", value);
    }
    if (magnitude >= 1e-2 && magnitude < 1e6) {
      return String.format(
          Locale.ROOT,
          "%." + Math.max(0, 2 - (int) Math.floor(Math.log10(magnitude))) + "f",
          value);
    }
    return String.format(Locale.ROOT, "%.2e", value);
  }

  /** Four decimal places, as perplexities are published with up to four digits. */
  static String figure4(double value) {
    return String.format(Locale.ROOT, "%.4f", value);
  }

  /** What computed, as in {@code vector, 2 threads}. */
  static String workers(Tier tier, int threads) {
    return tier.label() + ", " + threads + (threads == 1 ? " thread" : " threads");
  }

  /** A duration with the unit that gives it few digits. */
  static String seconds(double value) {
    return value >= 1
        ? figure(value) + " s"
        : value >= 1e-3 ? figure(value * 1e3) + " ms" : figure(value * 1e6) + " us";
  }
}

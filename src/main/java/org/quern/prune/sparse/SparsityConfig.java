package org.quern.prune.sparse;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.quern.io.FormatException;
import org.quern.io.Json;

/**
 * The entry of a model's {@code config.json} by which readers of compressed-tensors find out that,
 * and how, linear layers are packed:
 *
 * <pre>{@code
 * "quantization_config": {
 *   "quant_method": "compressed-tensors",
 *   "sparsity_config": {
 *     "format": "sparse-24-bitmask",
 *     "global_sparsity": 50.0,
 *     "sparsity_structure": "2:4",
 *     "targets": ["Linear"],
 *     "ignore": ["lm_head"]
 *   }
 * }
 * }</pre>
 *
 * <p>It is inserted as text and all else stays as it was, so that {@link #remove} gives the bytes
 * back.
 */
final class SparsityConfig {
  /** The file's name. */
  static final String FILE = "config.json";

  private static final String ENTRY = "quantization_config";
  private static final String SPARSITY = "sparsity_config";

  private static final Gson GSON =
      new GsonBuilder().setPrettyPrinting().disableHtmlEscaping().serializeNulls().create();

  private SparsityConfig() {}

  /**
   * Adds the entry.
   *
   * @param source the file's name for messages
   * @param sparsity share of zeros in the packed layers
   * @param ignore modules that might be linear layers and are not packed
   * @throws IllegalArgumentException where the model is quantized or packed already
   */
  static byte[] insert(
      String source, byte[] json, boolean twoOfFour, double sparsity, List<String> ignore)
      throws IOException {
    String text = new String(json, StandardCharsets.UTF_8);
    JsonObject document = parse(source, text);
    if (document.has(ENTRY)) {
      throw new IllegalArgumentException(
          source + ": expected a model that is not quantized or packed, got one with " + ENTRY);
    }
    JsonObject config = new JsonObject();
    config.addProperty("format", twoOfFour ? TwoOfFourMatrix.FORMAT : BitmaskMatrix.FORMAT);
    config.addProperty("global_sparsity", 100 * sparsity);
    config.addProperty("sparsity_structure", twoOfFour ? "2:4" : "unstructured");
    JsonArray targets = new JsonArray();
    targets.add("Linear");
    config.add("targets", targets);
    JsonArray left = new JsonArray();
    ignore.forEach(left::add);
    config.add("ignore", left);
    JsonObject entry = new JsonObject();
    entry.addProperty("quant_method", "compressed-tensors");
    entry.add(SPARSITY, config);
    int end = text.lastIndexOf('}');
    String head = text.substring(0, end).stripTrailing();
    String edited = head + member(document.isEmpty(), entry) + text.substring(head.length());
    return edited.getBytes(StandardCharsets.UTF_8);
  }

  /** Takes the entry out, or of a quantized model only the part about sparsity. */
  static byte[] remove(String source, byte[] json) throws IOException {
    String text = new String(json, StandardCharsets.UTF_8);
    JsonObject document = parse(source, text);
    if (!(document.get(ENTRY) instanceof JsonObject entry) || !entry.has(SPARSITY)) {
      return json;
    }
    String member = member(document.size() == 1, entry);
    int at = text.lastIndexOf(member);
    if (at >= 0 && !entry.has("config_groups")) {
      String edited = text.substring(0, at) + text.substring(at + member.length());
      return edited.getBytes(StandardCharsets.UTF_8);
    }
    if (entry.has("config_groups")) {
      entry.remove(SPARSITY);
    } else {
      document.remove(ENTRY);
    }
    return (GSON.toJson(document) + '\n').getBytes(StandardCharsets.UTF_8);
  }

  /** The entry as it stands behind what an object has already. */
  private static String member(boolean first, JsonObject entry) {
    return (first ? "" : ",")
        + "\n  \""
        + ENTRY
        + "\": "
        + GSON.toJson(entry).replace("\n", "\n  ");
  }

  private static JsonObject parse(String source, String text) throws IOException {
    if (Json.read(source, text) instanceof JsonObject object) {
      return object;
    }
    throw new FormatException(source, "expected a JSON object");
  }
}

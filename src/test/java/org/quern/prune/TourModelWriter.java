package org.quern.prune;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.quern.io.Json;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsWriter;
import org.quern.tensor.Tensor;

/**
 * Writes the resource that {@link TourModel} reads from the recorded cases of this family. Run it
 * with the directory of the cases and the resource's path; see docs/prune-tour-model.md.
 */
final class TourModelWriter {
  private TourModelWriter() {}

  /** Takes the directory of the cases and the file to write. */
  public static void main(String[] arguments) throws IOException {
    write(Path.of(arguments[0]), Path.of(arguments[1]));
  }

  /** Joins weights, gradient statistics, token ids and recorded perplexities in one file. */
  static void write(Path cases, Path resource) throws IOException {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    try (Arena arena = Arena.ofShared();
        SafetensorsFile model = SafetensorsFile.open(cases.resolve("tiny_lm.safetensors"));
        SafetensorsFile expected =
            SafetensorsFile.open(cases.resolve("tiny_lm_expected.safetensors"))) {
      Map<String, String> metadata = new LinkedHashMap<>(model.metadata());
      JsonObject runs =
          Json.readObject(cases.resolve("tiny_lm_expected.json")).getAsJsonObject("runs");
      for (Map.Entry<String, JsonElement> run : runs.entrySet()) {
        String perplexity = run.getValue().getAsJsonObject().get("ppl").getAsString();
        metadata.put(TourModel.PERPLEXITY + run.getKey(), perplexity);
      }
      for (SafetensorsEntry entry : model.entries()) {
        tensors.put(entry.name(), model.load(entry.name(), arena));
      }
      for (SafetensorsEntry entry : expected.entries()) {
        String name = entry.name();
        if (name.endsWith("_ids") || name.endsWith(".grad_l1") || name.endsWith(".grad_l2")) {
          tensors.put(name, expected.load(name, arena));
        }
      }
      SafetensorsWriter.write(resource, tensors, metadata);
    }
  }
}

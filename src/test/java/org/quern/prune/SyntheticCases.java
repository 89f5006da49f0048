package org.quern.prune;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.quern.io.Json;
import org.quern.io.SafetensorsWriter;
import org.quern.prune.lm.DecoderShape;
import org.quern.prune.lm.ReferenceDecoder;
import org.quern.prune.lm.ReferenceFiles;
import org.quern.prune.reconstruct.ReferenceLayer;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Writes cases in the recorded format with other names, sizes, seeds and patterns than the public
 * ones, from a reference of its own: plain sorts, and the decoder in binary64.
 */
final class SyntheticCases {
  static final String LAYERS_F32 = "one.safetensors";
  static final String LAYERS_F16 = "two.safetensors";
  static final String LAYERS_BF16 = "three.safetensors";
  static final String SCORES = "points.safetensors";
  static final String OUTLIERS = "far.json";
  static final String SUMS = "sums.safetensors";
  static final String TIES = "equals.json";
  static final String MODEL = "little.safetensors";
  static final String MODEL_EXPECTED = "little_wanted.safetensors";
  static final String MODEL_FIGURES = "little_wanted.json";

  private static final int SAMPLES = 4;
  private static final int TOKENS = 3;

  private final Path directory;
  private final Random random;
  private final Arena arena = Arena.ofAuto();

  SyntheticCases(Path directory, long seed) {
    this.directory = directory;
    this.random = new Random(seed);
  }

  void write() throws IOException {
    Map<String, Tensor> layers = layers(DType.F32);
    SafetensorsWriter.write(directory.resolve(LAYERS_F32), layers, Map.of("dtype", "float32"));
    SafetensorsWriter.write(directory.resolve(LAYERS_F16), layers(DType.F16), Map.of());
    SafetensorsWriter.write(directory.resolve(LAYERS_BF16), layers(DType.BF16), Map.of());
    writeScores(layers);
    writeOutliers(layers);
    writeSums();
    writeTies();
    writeModel();
  }

  // Layers.

  private Map<String, Tensor> layers(DType type) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    addLayer(tensors, "enc.0.proj", type, 9, 24);
    addLayer(tensors, "out", type, 5, 136);
    return tensors;
  }

  private void addLayer(Map<String, Tensor> tensors, String layer, DType type, int m, int n) {
    Tensor weights = Tensor.allocate(arena, type, m, n);
    Tensor l1 = Tensor.allocate(arena, DType.F16, m, n);
    Tensor l2 = Tensor.allocate(arena, DType.F16, m, n);
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < n; j++) {
        weights.setDouble(0.1 * random.nextGaussian(), i, j);
        l1.setDouble(Math.exp(random.nextGaussian()), i, j);
        l2.setDouble(Math.exp(random.nextGaussian()), i, j);
      }
    }
    Tensor inputs = Tensor.allocate(arena, DType.F32, SAMPLES, TOKENS, n);
    Tensor means = Tensor.allocate(arena, DType.F32, n);
    for (int j = 0; j < n; j++) {
      for (int s = 0; s < SAMPLES; s++) {
        for (int t = 0; t < TOKENS; t++) {
          inputs.setDouble(random.nextGaussian() * (1 + j % 5), s, t, j);
        }
      }
      means.setDouble(meanSquare(inputs, SAMPLES, j), j);
    }
    tensors.put(layer + ".weight", weights);
    tensors.put(layer + ".grad_l1", l1);
    tensors.put(layer + ".grad_l2", l2);
    tensors.put(layer + ".scaler_row", means);
    tensors.put(layer + ".inputs", inputs);
    for (String pattern : List.of("u0.45", "u0.2", "1of4", "3of8", "4of8")) {
      for (String method : List.of("magnitude", "wanda", "gradient", "gblm")) {
        boolean usesGradients = method.equals("gradient") || method.equals("gblm");
        for (String norm : usesGradients ? List.of(".l1", ".l2") : List.of("")) {
          float[][] scores = scores(method, weights, norm.equals(".l2") ? l2 : l1, means);
          boolean[][] mask = select(method, pattern, scores);
          tensors.put(layer + ".mask." + method + "." + pattern + norm, pack(mask));
        }
      }
    }
    double[][][] samples = new double[SAMPLES][TOKENS][n];
    for (int s = 0; s < SAMPLES; s++) {
      for (int t = 0; t < TOKENS; t++) {
        for (int j = 0; j < n; j++) {
          samples[s][t][j] = inputs.getDouble(s, t, j);
        }
      }
    }
    double[][] dense = new double[m][];
    Arrays.setAll(dense, i -> weights.row(i).toDoubleArray());
    for (String pattern : List.of("u0.45", "2of4")) {
      double[][] swept =
          new ReferenceLayer(dense, samples)
              .sparseGpt(GoldenRun.parse("wanda." + pattern).pattern());
      Tensor stored = Tensor.allocate(arena, type, m, n);
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
          stored.setDouble(swept[i][j], i, j);
        }
      }
      tensors.put(layer + ".sparsegpt." + pattern, stored);
    }
  }

  private static double meanSquare(Tensor inputs, int samples, int column) {
    double sum = 0;
    for (int s = 0; s < samples; s++) {
      for (int t = 0; t < inputs.dim(1); t++) {
        sum += Math.pow(inputs.getDouble(s, t, column), 2);
      }
    }
    return sum / samples;
  }

  private static float[][] scores(String method, Tensor weights, Tensor gradients, Tensor means) {
    int m = (int) weights.dim(0);
    int n = (int) weights.dim(1);
    boolean halves = method.equals("gblm") && weights.type() == DType.F16;
    float[][] scores = new float[m][n];
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < n; j++) {
        float w = (float) Math.abs(weights.getDouble(i, j));
        float byNorm = w * (float) Math.sqrt(means.getDouble(j));
        float byGradient = w * (float) gradients.getDouble(i, j);
        scores[i][j] =
            switch (method) {
              case "magnitude" -> w;
              case "wanda" -> byNorm;
              case "gradient" -> byGradient;
              default -> byNorm + (halves ? half(byGradient) : byGradient);
            };
      }
    }
    return scores;
  }

  private static double[][] widened(float[][] rows) {
    double[][] wide = new double[rows.length][rows[0].length];
    for (int i = 0; i < rows.length; i++) {
      for (int j = 0; j < wide[i].length; j++) {
        wide[i][j] = rows[i][j];
      }
    }
    return wide;
  }

  private static float[][] ria(Tensor weights, Tensor means, double exponent) {
    int m = (int) weights.dim(0);
    int n = (int) weights.dim(1);
    double[] rows = new double[m];
    double[] columns = new double[n];
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < n; j++) {
        rows[i] += Math.abs(weights.getDouble(i, j));
        columns[j] += Math.abs(weights.getDouble(i, j));
      }
    }
    float[][] scores = new float[m][n];
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < n; j++) {
        double w = Math.abs(weights.getDouble(i, j));
        double c = Math.pow(means.getDouble(j), exponent / 2);
        scores[i][j] = (float) ((w / columns[j] + w / rows[i]) * c);
      }
    }
    return scores;
  }

  private static float[][] prunerZero(Tensor weights, Tensor gradients) {
    int m = (int) weights.dim(0);
    int n = (int) weights.dim(1);
    double least = Double.MAX_VALUE;
    double most = 0;
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < n; j++) {
        least = Math.min(least, gradients.getDouble(i, j));
        most = Math.max(most, gradients.getDouble(i, j));
      }
    }
    float[][] scores = new float[m][n];
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < n; j++) {
        double w = weights.getDouble(i, j);
        scores[i][j] = (float) (w * w * (gradients.getDouble(i, j) - least) / (most - least));
      }
    }
    return scores;
  }

  // Ratios by outliers.

  private void writeOutliers(Map<String, Tensor> layers) throws IOException {
    JsonArray percents = new JsonArray();
    for (String layer : List.of("out", "enc.0.proj")) {
      Tensor weights = layers.get(layer + ".weight");
      float[][] scores = scores("wanda", weights, weights, layers.get(layer + ".scaler_row"));
      double sum = 0;
      for (float[] row : scores) {
        for (float score : row) {
          sum += score;
        }
      }
      long above = 0;
      for (float[] row : scores) {
        for (float score : row) {
          above += score > 2.5 * sum / weights.size() ? 1 : 0;
        }
      }
      percents.add(100.0 * above / weights.size());
    }
    JsonObject byMultiple = new JsonObject();
    byMultiple.add("2.5", percents);
    JsonObject document = new JsonObject();
    document.add("outlier_percent_by_M", byMultiple);
    document.addProperty("layers", "group 0 = out wanda scores, group 1 = enc.0.proj wanda scores");
    Json.write(directory.resolve(OUTLIERS), document);
  }

  private static float half(float value) {
    return Float.float16ToFloat(Float.floatToFloat16(value));
  }

  /** The released selection; magnitude without groups takes all up to a threshold of the matrix. */
  private static boolean[][] select(String method, String pattern, float[][] scores) {
    int n = scores[0].length;
    boolean[][] pruned = new boolean[scores.length][n];
    if (pattern.startsWith("u") && method.equals("magnitude")) {
      float[] all = new float[scores.length * n];
      for (int i = 0; i < scores.length; i++) {
        System.arraycopy(scores[i], 0, all, i * n, n);
      }
      Arrays.sort(all);
      float threshold = all[(int) (all.length * Double.parseDouble(pattern.substring(1)))];
      for (int i = 0; i < scores.length; i++) {
        for (int j = 0; j < n; j++) {
          pruned[i][j] = scores[i][j] <= threshold;
        }
      }
      return pruned;
    }
    boolean grouped = pattern.contains("of");
    int of = grouped ? Integer.parseInt(pattern.split("of")[1]) : n;
    int count =
        grouped
            ? Integer.parseInt(pattern.split("of")[0])
            : (int) (n * Double.parseDouble(pattern.substring(1)));
    for (int i = 0; i < scores.length; i++) {
      for (int from = 0; from < n; from += of) {
        mark(scores[i], from, of, count, pruned[i]);
      }
    }
    return pruned;
  }

  private static void mark(float[] scores, int from, int of, int count, boolean[] pruned) {
    IntStream.range(from, from + of)
        .boxed()
        .sorted(Comparator.comparing((Integer j) -> scores[j]).thenComparing(j -> j))
        .limit(count)
        .forEach(j -> pruned[j] = true);
  }

  private Tensor pack(boolean[][] bits) {
    Tensor packed = Tensor.allocate(arena, DType.U8, bits.length, (bits[0].length + 7) / 8);
    for (int i = 0; i < bits.length; i++) {
      for (int j = 0; j < bits[i].length; j++) {
        if (bits[i][j]) {
          packed.setLong(packed.getLong(i, j / 8) | 1L << j % 8, i, j / 8);
        }
      }
    }
    return packed;
  }

  private void writeScores(Map<String, Tensor> layers) throws IOException {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (String layer : List.of("enc.0.proj", "out")) {
      Tensor weights = layers.get(layer + ".weight");
      for (String norm : List.of("l1", "l2")) {
        Tensor gradients = layers.get(layer + ".grad_" + norm);
        float[][] scores = scores("gblm", weights, gradients, layers.get(layer + ".scaler_row"));
        Tensor tensor = Tensor.allocate(arena, DType.F32, scores.length, scores[0].length);
        for (int i = 0; i < scores.length; i++) {
          for (int j = 0; j < scores[i].length; j++) {
            tensor.setDouble(scores[i][j], i, j);
          }
        }
        tensors.put(layer + ".score.gblm." + norm, tensor);
      }
      float[][] ria = ria(weights, layers.get(layer + ".scaler_row"), 0.75);
      float[][] zero = prunerZero(weights, layers.get(layer + ".grad_l1"));
      tensors.put(layer + ".score.ria.a0.75", ReferenceFiles.tensor(arena, widened(ria)));
      tensors.put(layer + ".score.prunerzero.l1", ReferenceFiles.tensor(arena, widened(zero)));
      tensors.put(layer + ".mask.ria.a0.75.u0.3", pack(select("ria", "u0.3", ria)));
      tensors.put(layer + ".mask.prunerzero.2of4.l1", pack(select("", "2of4", zero)));
      tensors.put(layer + ".score.madeup", weights);
    }
    SafetensorsWriter.write(directory.resolve(SCORES), tensors, Map.of());
  }

  // Accumulators.

  private void writeSums() throws IOException {
    int samples = 5;
    int n = 11;
    Tensor inputs = Tensor.allocate(arena, DType.F32, samples, 4, n);
    Tensor gradients = Tensor.allocate(arena, DType.F32, samples, 6, n);
    for (int s = 0; s < samples; s++) {
      for (int j = 0; j < n; j++) {
        for (int t = 0; t < 4; t++) {
          inputs.setDouble(j == 7 ? 0 : random.nextGaussian(), s, t, j);
        }
        for (int i = 0; i < 6; i++) {
          gradients.setDouble(i + j == 3 ? 300 : 0.01 * random.nextGaussian(), s, i, j);
        }
      }
    }
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put("inputs", inputs);
    for (int after : new int[] {2, 4, samples}) {
      Tensor means = Tensor.allocate(arena, DType.F32, n);
      for (int j = 0; j < n; j++) {
        means.setDouble(meanSquare(inputs, after, j), j);
      }
      tensors.put(after == samples ? "scaler_row.final" : "scaler_row.after_" + after, means);
    }
    tensors.put("grads", gradients);
    Tensor l1 = Tensor.allocate(arena, DType.F16, 6, n);
    Tensor squares = Tensor.allocate(arena, DType.F32, 6, n);
    Tensor l2 = Tensor.allocate(arena, DType.F16, 6, n);
    for (int i = 0; i < 6; i++) {
      for (int j = 0; j < n; j++) {
        float running = 0;
        float sum = 0;
        for (int s = 0; s < samples; s++) {
          float scaled = Math.abs(100 * (float) gradients.getDouble(s, i, j));
          running = half(running + half(scaled));
          sum += scaled * scaled;
        }
        l1.setDouble(running, i, j);
        squares.setDouble(sum, i, j);
        l2.setDouble((float) Math.sqrt(sum), i, j);
      }
    }
    tensors.put("grad_l1", l1);
    tensors.put("grad_l2_sumsq", squares);
    tensors.put("grad_l2", l2);
    SafetensorsWriter.write(directory.resolve(SUMS), tensors, Map.of("batches", "[2, 2, 1]"));
  }

  // Ties.

  private void writeTies() throws IOException {
    float[][] scores = new float[7][12];
    for (float[] row : scores) {
      for (int j = 0; j < row.length; j++) {
        row[j] = random.nextInt(3);
      }
    }
    JsonObject unstructured = new JsonObject();
    for (String ratio : List.of("0.1", "0.5", "0.75")) {
      JsonObject entry = new JsonObject();
      entry.addProperty("k", (int) (12 * Double.parseDouble(ratio)));
      entry.add("pruned", columns(select("", "u" + ratio, scores)));
      unstructured.add(ratio, entry);
    }
    JsonObject groups = new JsonObject();
    groups.add("1:3", columns(select("", "1of3", scores)));
    groups.add("2:6", columns(select("", "2of6", scores)));
    JsonObject count = new JsonObject();
    count.addProperty("n", 100);
    count.addProperty("ratio", 0.57);
    count.addProperty("k", 56);
    JsonArray counts = new JsonArray();
    counts.add(count);
    JsonObject document = new JsonObject();
    document.add("scores", array(scores));
    document.add("unstructured", unstructured);
    document.add("nm", groups);
    document.add("k_of", counts);
    Json.write(directory.resolve(TIES), document);
  }

  private static JsonArray array(float[][] rows) {
    JsonArray array = new JsonArray();
    for (float[] row : rows) {
      JsonArray entries = new JsonArray();
      for (float value : row) {
        entries.add(value);
      }
      array.add(entries);
    }
    return array;
  }

  private static JsonArray columns(boolean[][] pruned) {
    JsonArray array = new JsonArray();
    for (boolean[] row : pruned) {
      JsonArray entries = new JsonArray();
      IntStream.range(0, row.length).filter(j -> row[j]).forEach(entries::add);
      array.add(entries);
    }
    return array;
  }

  // A model.

  private void writeModel() throws IOException {
    DecoderShape shape = new DecoderShape(23, 16, 24, 4, 2, 8, 2, 10_000, 1e-5);
    ReferenceDecoder dense = ReferenceDecoder.random(shape, false, random);
    ReferenceFiles.write(directory.resolve(MODEL), dense, ReferenceFiles.metadata(shape));
    int[][] calibration = ReferenceFiles.tokens(6, 13, shape.vocabulary(), random);
    int[][] test = ReferenceFiles.tokens(5, 13, shape.vocabulary(), random);
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put("calib_ids", ReferenceFiles.tensor(arena, DType.U8, calibration));
    tensors.put("test_ids", ReferenceFiles.tensor(arena, DType.U8, test));
    tensors.put("test2_logits", ReferenceFiles.tensor(arena, dense.logits(test[2])));
    for (String linear : dense.linears()) {
      double[][] weights = dense.weights(linear);
      Tensor gradients = Tensor.allocate(arena, DType.F16, weights.length, weights[0].length);
      for (int i = 0; i < weights.length; i++) {
        for (int j = 0; j < weights[i].length; j++) {
          gradients.setDouble(Math.exp(random.nextGaussian()), i, j);
        }
      }
      tensors.put(linear + ".grad_l1", gradients);
    }
    JsonObject runs = new JsonObject();
    for (String run :
        List.of(
            "magnitude.u0.4",
            "wanda.1of4",
            "gblm.l1.u0.6",
            "gradient.l1.3of8",
            "sparsegpt.u0.3",
            "sparsegpt.2of4")) {
      runs.add(run, prune(run, dense, calibration, test, tensors));
    }
    JsonObject unknown = new JsonObject();
    unknown.addProperty("ppl", 1.5);
    runs.add("madeup.u0.5", unknown);
    JsonObject denseFigures = new JsonObject();
    denseFigures.addProperty("ppl", dense.perplexity(test));
    JsonArray linears = new JsonArray();
    dense.linears().forEach(linears::add);
    JsonObject figures = new JsonObject();
    figures.add("dense", denseFigures);
    figures.add("linears", linears);
    figures.add("runs", runs);
    SafetensorsWriter.write(directory.resolve(MODEL_EXPECTED), tensors, Map.of());
    Json.write(directory.resolve(MODEL_FIGURES), figures);
  }

  private static boolean[] zeros(double[] row) {
    boolean[] zeros = new boolean[row.length];
    for (int j = 0; j < row.length; j++) {
      zeros[j] = row[j] == 0;
    }
    return zeros;
  }

  /** Prunes the weights of the model, records what came of it, and puts them back. */
  private JsonObject prune(
      String run,
      ReferenceDecoder model,
      int[][] calibration,
      int[][] test,
      Map<String, Tensor> out) {
    String method = run.substring(0, run.indexOf('.'));
    String pattern = run.substring(run.indexOf('.') + 1).replace("l1.", "");
    Map<String, double[][]> before = new LinkedHashMap<>();
    List<double[][]> hidden = new ArrayList<>();
    for (int[] tokens : calibration) {
      hidden.add(model.embed(tokens));
    }
    long zeros = 0;
    long weights = 0;
    for (int block = 0; block < model.shape.layers(); block++) {
      List<Map<String, double[][]>> inputs = new ArrayList<>();
      for (double[][] sequence : hidden) {
        Map<String, double[][]> ofSequence = new LinkedHashMap<>();
        model.block(block, sequence, ofSequence);
        inputs.add(ofSequence);
      }
      for (String linear : inputs.get(0).keySet()) {
        double[][] matrix = model.weights(linear);
        before.put(linear, Arrays.stream(matrix).map(double[]::clone).toArray(double[][]::new));
        Tensor means = Tensor.allocate(arena, DType.F32, matrix[0].length);
        for (int j = 0; j < matrix[0].length; j++) {
          double sum = 0;
          for (Map<String, double[][]> ofSequence : inputs) {
            for (double[] x : ofSequence.get(linear)) {
              sum += x[j] * x[j];
            }
          }
          means.setDouble(sum / inputs.size(), j);
        }
        Tensor gradients = out.get(linear + ".grad_l1");
        Tensor tensor = ReferenceFiles.tensor(arena, matrix);
        boolean[][] mask;
        if (method.equals("sparsegpt")) {
          double[][][] ofLayer =
              inputs.stream().map(each -> each.get(linear)).toArray(double[][][]::new);
          double[][] swept =
              new ReferenceLayer(matrix, ofLayer)
                  .sparseGpt(GoldenRun.parse("wanda." + pattern).pattern());
          System.arraycopy(swept, 0, matrix, 0, swept.length);
          mask = Arrays.stream(matrix).map(SyntheticCases::zeros).toArray(boolean[][]::new);
        } else {
          mask = select(method, pattern, scores(method, tensor, gradients, means));
        }
        for (int i = 0; i < mask.length; i++) {
          for (int j = 0; j < mask[i].length; j++) {
            matrix[i][j] = mask[i][j] ? 0 : matrix[i][j];
            zeros += mask[i][j] ? 1 : 0;
            weights++;
          }
        }
        out.put(linear + ".zeros." + run, pack(mask));
        if (method.equals("wanda") || method.equals("gblm")) {
          out.put(linear + ".scaler_row." + run, means);
        }
      }
      for (int s = 0; s < hidden.size(); s++) {
        hidden.set(s, model.block(block, hidden.get(s), new LinkedHashMap<>()));
      }
    }
    JsonObject figures = new JsonObject();
    figures.addProperty("ppl", model.perplexity(test));
    figures.addProperty("sparsity", (double) zeros / weights);
    before.forEach(
        (linear, matrix) -> System.arraycopy(matrix, 0, model.weights(linear), 0, matrix.length));
    return figures;
  }
}

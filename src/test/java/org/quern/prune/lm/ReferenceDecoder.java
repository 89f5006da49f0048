package org.quern.prune.lm;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * The decoder written again from its formulas in binary64, one token and one head at a time, to
 * compare the real one with. Matrices are arrays of rows.
 */
public final class ReferenceDecoder {
  public final DecoderShape shape;

  /** Weights by their names in a file; vectors have one row. */
  public final Map<String, double[][]> tensors;

  private ReferenceDecoder(DecoderShape shape, Map<String, double[][]> tensors) {
    this.shape = shape;
    this.tensors = tensors;
  }

  /** Random weights that binary32 holds exactly, so large that attention is far from uniform. */
  public static ReferenceDecoder random(DecoderShape shape, boolean tied, Random random) {
    Map<String, double[][]> tensors = new LinkedHashMap<>();
    int queries = shape.heads() * shape.headSize();
    int keys = shape.kvHeads() * shape.headSize();
    tensors.put("model.embed_tokens.weight", matrix(shape.vocabulary(), shape.hidden(), 1, random));
    double scale = 1.5 / Math.sqrt(shape.hidden());
    for (int block = 0; block < shape.layers(); block++) {
      String prefix = "model.layers." + block + ".";
      tensors.put(
          prefix + "self_attn.q_proj.weight", matrix(queries, shape.hidden(), scale, random));
      tensors.put(prefix + "self_attn.k_proj.weight", matrix(keys, shape.hidden(), scale, random));
      tensors.put(prefix + "self_attn.v_proj.weight", matrix(keys, shape.hidden(), scale, random));
      tensors.put(
          prefix + "self_attn.o_proj.weight", matrix(shape.hidden(), queries, scale, random));
      tensors.put(
          prefix + "mlp.gate_proj.weight", matrix(shape.mlp(), shape.hidden(), scale, random));
      tensors.put(
          prefix + "mlp.up_proj.weight", matrix(shape.mlp(), shape.hidden(), scale, random));
      tensors.put(
          prefix + "mlp.down_proj.weight", matrix(shape.hidden(), shape.mlp(), scale, random));
      tensors.put(prefix + "input_layernorm.weight", gains(shape.hidden(), random));
      tensors.put(prefix + "post_attention_layernorm.weight", gains(shape.hidden(), random));
    }
    tensors.put("model.norm.weight", gains(shape.hidden(), random));
    if (!tied) {
      tensors.put("lm_head.weight", matrix(shape.vocabulary(), shape.hidden(), scale, random));
    }
    return new ReferenceDecoder(shape, tensors);
  }

  private static double[][] matrix(int rows, int columns, double scale, Random random) {
    double[][] matrix = new double[rows][columns];
    for (double[] row : matrix) {
      Arrays.setAll(row, j -> (float) (scale * random.nextGaussian()));
    }
    return matrix;
  }

  private static double[][] gains(int columns, Random random) {
    double[][] gains = new double[1][columns];
    Arrays.setAll(gains[0], j -> (float) (1 + 0.2 * random.nextGaussian()));
    return gains;
  }

  /** The weights of a linear layer, to read or to change. */
  public double[][] weights(String linear) {
    return tensors.get("model." + linear + ".weight");
  }

  /** Names of the linear layers in order. */
  public List<String> linears() {
    List<String> names = new ArrayList<>();
    for (int block = 0; block < shape.layers(); block++) {
      for (String linear :
          List.of(
              "self_attn.q_proj",
              "self_attn.k_proj",
              "self_attn.v_proj",
              "self_attn.o_proj",
              "mlp.gate_proj",
              "mlp.up_proj",
              "mlp.down_proj")) {
        names.add("layers." + block + "." + linear);
      }
    }
    return names;
  }

  /** Vectors of the tokens of one sequence. */
  public double[][] embed(int[] tokens) {
    double[][] hidden = new double[tokens.length][];
    Arrays.setAll(hidden, t -> tensors.get("model.embed_tokens.weight")[tokens[t]].clone());
    return hidden;
  }

  /** One block over one sequence; records what enters each of its linear layers. */
  public double[][] block(int block, double[][] hidden, Map<String, double[][]> inputs) {
    String prefix = "layers." + block + ".";
    double[][] normed = norm(hidden, "model." + prefix + "input_layernorm.weight");
    double[][] queries = linear(prefix + "self_attn.q_proj", normed, inputs);
    double[][] keys = linear(prefix + "self_attn.k_proj", normed, inputs);
    double[][] values = linear(prefix + "self_attn.v_proj", normed, inputs);
    double[][] heads = new double[hidden.length][shape.heads() * shape.headSize()];
    for (int t = 0; t < hidden.length; t++) {
      for (int head = 0; head < shape.heads(); head++) {
        attend(queries, keys, values, t, head, heads[t]);
      }
    }
    double[][] middle = add(hidden, linear(prefix + "self_attn.o_proj", heads, inputs));
    double[][] mlpInput = norm(middle, "model." + prefix + "post_attention_layernorm.weight");
    double[][] gate = linear(prefix + "mlp.gate_proj", mlpInput, inputs);
    double[][] up = linear(prefix + "mlp.up_proj", mlpInput, inputs);
    for (int t = 0; t < gate.length; t++) {
      for (int i = 0; i < gate[t].length; i++) {
        gate[t][i] = gate[t][i] / (1 + Math.exp(-gate[t][i])) * up[t][i];
      }
    }
    return add(middle, linear(prefix + "mlp.down_proj", gate, inputs));
  }

  private void attend(
      double[][] queries, double[][] keys, double[][] values, int t, int head, double[] out) {
    int size = shape.headSize();
    int from = head * size;
    int shared = head / (shape.heads() / shape.kvHeads()) * size;
    double[] weights = new double[t + 1];
    double sum = 0;
    for (int s = 0; s <= t; s++) {
      double dot = 0;
      for (int i = 0; i < size; i++) {
        dot += rotated(queries[t], from, i, t) * rotated(keys[s], shared, i, s);
      }
      weights[s] = Math.exp(dot / Math.sqrt(size));
      sum += weights[s];
    }
    for (int s = 0; s <= t; s++) {
      for (int i = 0; i < size; i++) {
        out[from + i] += weights[s] / sum * values[s][shared + i];
      }
    }
  }

  /** Element i of a head, seen as complex numbers (x[i], x[i + half]) turned by the position. */
  private double rotated(double[] x, int from, int i, int position) {
    int half = shape.headSize() / 2;
    int pair = i % half;
    double angle = position * frequency(1 / Math.pow(shape.ropeTheta(), (double) pair / half));
    double real = x[from + pair];
    double imaginary = x[from + pair + half];
    return i < half
        ? real * Math.cos(angle) - imaginary * Math.sin(angle)
        : real * Math.sin(angle) + imaginary * Math.cos(angle);
  }

  /** As the reference code of Llama 3.1 puts it. */
  private double frequency(double frequency) {
    RotaryScaling scaling = shape.rotaryScaling();
    double wavelength = 2 * Math.PI / frequency;
    if (wavelength < scaling.trained() / scaling.high()) {
      return frequency;
    }
    if (wavelength > scaling.trained() / scaling.low()) {
      return frequency / scaling.factor();
    }
    double smooth =
        (scaling.trained() / wavelength - scaling.low()) / (scaling.high() - scaling.low());
    return (1 - smooth) * frequency / scaling.factor() + smooth * frequency;
  }

  private double[][] norm(double[][] x, String gain) {
    double[][] normed = new double[x.length][];
    for (int t = 0; t < x.length; t++) {
      double mean = Arrays.stream(x[t]).map(v -> v * v).average().orElseThrow();
      double root = Math.sqrt(mean + shape.rmsEpsilon());
      double[] row = x[t];
      normed[t] = new double[row.length];
      Arrays.setAll(normed[t], i -> row[i] / root * tensors.get(gain)[0][i]);
    }
    return normed;
  }

  private double[][] linear(String name, double[][] x, Map<String, double[][]> inputs) {
    inputs.put(name, x);
    double[][] y = multiply(weights(name), x);
    double[][] bias = tensors.get("model." + name + ".bias");
    for (double[] row : y) {
      for (int i = 0; bias != null && i < row.length; i++) {
        row[i] += bias[0][i];
      }
    }
    return y;
  }

  /** Gives a linear layer of every block a bias. */
  public void addBias(String linear, Random random) {
    for (int block = 0; block < shape.layers(); block++) {
      String name = "layers." + block + "." + linear;
      tensors.put("model." + name + ".bias", matrix(1, weights(name).length, 0.5, random));
    }
  }

  private static double[][] multiply(double[][] weights, double[][] x) {
    double[][] y = new double[x.length][weights.length];
    for (int t = 0; t < x.length; t++) {
      for (int i = 0; i < weights.length; i++) {
        for (int j = 0; j < x[t].length; j++) {
          y[t][i] += weights[i][j] * x[t][j];
        }
      }
    }
    return y;
  }

  private static double[][] add(double[][] a, double[][] b) {
    double[][] sum = new double[a.length][];
    for (int t = 0; t < a.length; t++) {
      int row = t;
      sum[t] = new double[a[t].length];
      Arrays.setAll(sum[t], i -> a[row][i] + b[row][i]);
    }
    return sum;
  }

  /** Scores of the next token behind every position of one sequence. */
  public double[][] logits(int[] tokens) {
    double[][] hidden = embed(tokens);
    for (int block = 0; block < shape.layers(); block++) {
      hidden = block(block, hidden, new LinkedHashMap<>());
    }
    double[][] head = tensors.get("lm_head.weight");
    return multiply(
        head == null ? tensors.get("model.embed_tokens.weight") : head,
        norm(hidden, "model.norm.weight"));
  }

  /** The mean of -log p over all tokens of a sequence but the first. */
  public double loss(int[] tokens) {
    double sum = 0;
    double[][] logits = logits(tokens);
    for (int t = 0; t + 1 < tokens.length; t++) {
      double total = Arrays.stream(logits[t]).map(Math::exp).sum();
      sum += Math.log(total) - logits[t][tokens[t + 1]];
    }
    return sum / (tokens.length - 1);
  }

  /**
   * How the loss of a sequence changes with one weight, by a central difference.
   *
   * @param name of a tensor in a file
   */
  public double slope(String name, int row, int column, int[] tokens) {
    double step = 1e-5;
    double[] weights = tensors.get(name)[row];
    double kept = weights[column];
    weights[column] = kept + step;
    double above = loss(tokens);
    weights[column] = kept - step;
    double below = loss(tokens);
    weights[column] = kept;
    return (above - below) / (2 * step);
  }

  /** exp of the mean of -log p over all tokens but the first of sequences of one length. */
  public double perplexity(int[][] sequences) {
    return Math.exp(Arrays.stream(sequences).mapToDouble(this::loss).average().orElseThrow());
  }
}

package org.quern.kronecker;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import org.quern.io.SafetensorsWriter;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Writes cases in the recorded format with other names, sizes, seeds and hyper-parameters than the
 * public ones, from formulas in binary64 that are written for this test alone.
 */
final class SyntheticCases {
  static final String RULES = "a.safetensors";
  static final String SPECIAL = "b.safetensors";
  static final String SEQUENCE = "c.safetensors";
  static final String STABILISER = "d.safetensors";
  static final String PRODUCT = "e.safetensors";
  static final String FACTORED = "f.safetensors";
  static final String EVA = "g.safetensors";
  static final String RUN = "h.safetensors";
  static final String MEANS = "i.safetensors";

  private final Path directory;
  private final Random random;
  private final Arena arena = Arena.ofAuto();
  private Map<String, Tensor> tensors = new LinkedHashMap<>();

  SyntheticCases(Path directory, long seed) {
    this.directory = directory;
    this.random = new Random(seed);
  }

  void write() throws IOException {
    for (String file :
        List.of(RULES, SPECIAL, SEQUENCE, STABILISER, PRODUCT, FACTORED, EVA, RUN, MEANS)) {
      write(file);
    }
  }

  void write(String file) throws IOException {
    switch (file) {
      case RULES -> writeRules();
      case SPECIAL -> writeSpecial();
      case SEQUENCE -> writeSequence();
      case STABILISER -> writeStabiliser();
      case PRODUCT -> writeProduct();
      case FACTORED -> writeFactored();
      case EVA -> writeEva();
      case RUN -> writeRun();
      case MEANS -> writeMeans();
      default -> throw new IllegalArgumentException(file);
    }
  }

  private void save(String file, String description) throws IOException {
    SafetensorsWriter.write(
        directory.resolve(file), tensors, Map.of("case", description.replace('\'', '"')));
    tensors = new LinkedHashMap<>();
  }

  private void put(String key, double[] values) {
    tensors.put(key, Tensor.copyOf(arena, values, values.length));
  }

  private void put(String key, double[][] values) {
    put(key, DType.F64, flat(values), values.length, values[0].length);
  }

  private void put(String key, DType type, double[] values, long... shape) {
    tensors.put(key, Tensor.copyOf(arena, values, shape).to(type, arena));
  }

  // Plain algebra.

  private double[] vector(int d, double scale) {
    double[] v = new double[d];
    for (int i = 0; i < d; i++) {
      v[i] = (float) (scale * random.nextGaussian());
    }
    return v;
  }

  private double[][] matrix(int rows, int columns, double mean) {
    double[][] m = new double[rows][columns];
    for (double[] row : m) {
      for (int j = 0; j < columns; j++) {
        row[j] = (float) (mean + random.nextGaussian());
      }
    }
    return m;
  }

  private static double[][] identity(int d) {
    double[][] m = new double[d][d];
    for (int i = 0; i < d; i++) {
      m[i][i] = 1;
    }
    return m;
  }

  private static double[] flat(double[][] m) {
    double[] flat = new double[m.length * m[0].length];
    for (int i = 0; i < m.length; i++) {
      System.arraycopy(m[i], 0, flat, i * m[0].length, m[0].length);
    }
    return flat;
  }

  private static double[][] product(double[][] a, double[][] b) {
    double[][] c = new double[a.length][b[0].length];
    for (int i = 0; i < a.length; i++) {
      for (int k = 0; k < b.length; k++) {
        for (int j = 0; j < b[0].length; j++) {
          c[i][j] += a[i][k] * b[k][j];
        }
      }
    }
    return c;
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  private static double norm(double[][] m, int from, int to) {
    double sum = 0;
    for (double[] row : m) {
      for (int j = from; j < to; j++) {
        sum += row[j] * row[j];
      }
    }
    return Math.sqrt(sum);
  }

  /** v'J v, or v'(gamma J + (1-gamma) I) v. */
  private static double form(double[][] j, double[] v, String rule, double gamma) {
    double[][] m = rule.equals("code") ? leak(j, gamma) : j;
    double s = 0;
    for (int i = 0; i < v.length; i++) {
      s += v[i] * dot(m[i], v);
    }
    return s;
  }

  private static double[][] leak(double[][] j, double gamma) {
    double[][] m = new double[j.length][j.length];
    for (int i = 0; i < j.length; i++) {
      for (int k = 0; k < j.length; k++) {
        m[i][k] = gamma * j[i][k] + (i == k ? 1 - gamma : 0);
      }
    }
    return m;
  }

  private static double[][] update(double[][] j, double[] v, String rule, double gamma) {
    int d = v.length;
    double b = 1 - gamma;
    double[][] m = rule.equals("code") ? leak(j, gamma) : j;
    double[] y = new double[d];
    for (int i = 0; i < d; i++) {
      y[i] = dot(m[i], v);
    }
    double s = dot(v, y);
    double[][] next = new double[d][d];
    for (int i = 0; i < d; i++) {
      for (int k = 0; k < d; k++) {
        double yy = y[i] * y[k];
        next[i][k] =
            switch (rule) {
              case "code" -> m[i][k] - yy / (1 + s);
              case "exact" -> (j[i][k] - b * yy / (gamma + b * s)) / gamma;
              case "paper" -> gamma * j[i][k] + b / (gamma * gamma * (1 + gamma * b * s)) * yy;
              default -> (j[i][k] - b * b * yy / (gamma + b * b * s)) / gamma;
            };
      }
    }
    return next;
  }

  private double[][] factor(int d) {
    double[][] j = identity(d);
    for (int t = 0; t < 5; t++) {
      j = update(j, vector(d, 1), "code", 0.9);
    }
    return j;
  }

  // Kernels.

  private void writeRules() throws IOException {
    for (int d : new int[] {4, 65}) {
      double[][] j = factor(d);
      double[] v = vector(d, 0.7);
      put("d" + d + ".J", j);
      put("d" + d + ".v", v);
      for (String rule : List.of("code", "exact", "paper", "legacy_left")) {
        put("d" + d + "." + rule + ".J", update(j, v, rule, 0.8));
        put("d" + d + "." + rule + ".s", new double[] {form(j, v, rule, 0.8)});
      }
    }
    save(RULES, "{'kind': 'update_rules', 'gamma': 0.8, 'dims': [4, 65]}");
  }

  private void writeSpecial() throws IOException {
    double[][] j = factor(19);
    put("J", j);
    double[][] vectors = {new double[19], vector(19, 1e-20), vector(19, 1e17), vector(19, 3)};
    List<String> keys = new ArrayList<>();
    for (String gamma : List.of("0.0", "0.3", "1.0")) {
      for (int i = 0; i < vectors.length; i++) {
        String key = "g" + gamma + ".v" + i;
        keys.add("'" + key + "'");
        put(key + ".v", vectors[i]);
        put(key + ".J", update(j, vectors[i], "code", Double.parseDouble(gamma)));
        double s = form(j, vectors[i], "code", Double.parseDouble(gamma));
        put(key + ".s", new double[] {s});
      }
    }
    save(SPECIAL, "{'kind': 'update_special', 'rule': 'code', 'keys': " + keys + "}");
  }

  private void writeSequence() throws IOException {
    int d = 30;
    int n = 17;
    double gamma = 0.9;
    double[][] v = matrix(n, d, 0.2);
    put("V", v);
    for (String rule : List.of("code", "exact")) {
      double[][] j = identity(d);
      for (int t = 0; t < n; t++) {
        j = update(j, v[t], rule, gamma);
        if (t % 7 == 2 || t == n - 1) {
          put("t" + t + "." + rule, j);
        }
      }
    }
    writeLowRank(v, gamma);
    save(
        SEQUENCE,
        String.format(
            Locale.ROOT, "{'kind': 'sequence', 'd': %d, 'n': %d, 'gamma': %f}", d, n, gamma));
  }

  private void writeLowRank(double[][] v, double gamma) {
    int n = v.length;
    int d = v[0].length;
    double[][] columns = new double[n][];
    double[] c = new double[n];
    for (int t = 0; t < n; t++) {
      double[] u = v[t].clone();
      for (int k = 0; k < t; k++) {
        double z = gamma * c[k] * dot(columns[k], v[t]);
        for (int i = 0; i < d; i++) {
          u[i] -= z * columns[k][i];
        }
      }
      for (int k = 0; k < t; k++) {
        c[k] *= gamma;
      }
      columns[t] = u;
      c[t] = 1 / (1 + dot(v[t], u));
    }
    double[][] u = new double[d][n];
    for (int t = 0; t < n; t++) {
      for (int i = 0; i < d; i++) {
        u[i][t] = columns[t][i];
      }
    }
    put("lowrank.U", u);
    put("lowrank.c", c);
  }

  private void writeStabiliser() throws IOException {
    List<String> rows = new ArrayList<>();
    double[] sizes = {0.5, 2.5, 1.2};
    for (int i = 0; i < sizes.length; i++) {
      double[][] j = factor(6 + i);
      double max = 0;
      double inf = 0;
      for (double[] row : j) {
        double sum = 0;
        for (int k = 0; k < row.length; k++) {
          row[k] *= sizes[i];
          max = Math.max(max, Math.abs(row[k]));
          sum += Math.abs(row[k]);
        }
        inf = Math.max(inf, sum);
      }
      put("c" + i + ".J", j);
      for (String norm : List.of("maxabs", "inf")) {
        boolean fires = (norm.equals("inf") ? inf : max) > 1.5;
        for (String mode : List.of("blend", "reset")) {
          double[][] out = !fires ? j : mode.equals("blend") ? leak(j, 0.7) : identity(j.length);
          put("c" + i + "." + norm + "." + mode, out);
          rows.add(String.format(Locale.ROOT, "[%d, '%s', '%s', %s]", i, norm, mode, fires));
        }
      }
    }
    save(STABILISER, "{'kind': 'stabiliser', 'zeta': 0.7, 'eps': 1.5, 'rows': " + rows + "}");
  }

  /** Ratio of the norms of G and P; 1 for none. */
  private static double scale(double[][] g, double[][] p, boolean bias, String rescale) {
    int columns = g[0].length;
    int split = bias ? columns - 1 : columns;
    return switch (rescale) {
      case "none" -> 1;
      case "frobenius" -> norm(g, 0, columns) / norm(p, 0, columns);
      default ->
          (norm(g, 0, split) + norm(g, split, columns))
              / (norm(p, 0, split) + norm(p, split, columns));
    };
  }

  private static double[][] scaled(double[][] m, double scale) {
    double[][] scaled = new double[m.length][m[0].length];
    for (int i = 0; i < m.length; i++) {
      for (int j = 0; j < m[0].length; j++) {
        scaled[i][j] = scale * m[i][j];
      }
    }
    return scaled;
  }

  private void writeProduct() throws IOException {
    int[][] sizes = {{1, 7}, {70, 20}, {12, 12}};
    List<String> rows = new ArrayList<>();
    for (int[] size : sizes) {
      boolean bias = size[0] != 12;
      String key = size[0] + "by" + size[1];
      double[][] l = factor(size[0]);
      double[][] r = factor(size[1]);
      double[][] g = matrix(size[0], size[1], 0.1);
      put(key + ".L", l);
      put(key + ".R", r);
      put(key + ".G", g);
      double[][] p = product(product(l, g), r);
      for (String rescale : List.of("none", "frobenius", "sum_of_norms")) {
        double scale = scale(g, p, bias, rescale);
        put(key + "." + rescale + ".P", scaled(p, scale));
        put(key + "." + rescale + ".scale", new double[] {scale});
      }
      rows.add(String.format(Locale.ROOT, "['%s', %d, %d, %s]", key, size[0], size[1], bias));
    }
    save(PRODUCT, "{'kind': 'precondition', 'rows': " + rows + "}");
  }

  private void writeFactored() throws IOException {
    double[][] y = matrix(3, 9, 0);
    double[][] a = matrix(3, 66, 1);
    double[][] transposed = new double[9][3];
    for (int i = 0; i < 9; i++) {
      for (int j = 0; j < 3; j++) {
        transposed[i][j] = y[j][i];
      }
    }
    double[][] l = factor(9);
    double[][] r = factor(66);
    double[][] g = product(transposed, a);
    put("Y", y);
    put("A", a);
    put("L", l);
    put("R", r);
    put("G", g);
    put("P", product(product(l, g), r));
    save(FACTORED, "{'kind': 'lowrank_gradient'}");
  }

  // Runs.

  private static double[] means(double[][] rows, boolean one) {
    int d = rows[0].length;
    double[] means = new double[d + (one ? 1 : 0)];
    for (double[] row : rows) {
      for (int j = 0; j < d; j++) {
        means[j] += row[j] / rows.length;
      }
    }
    if (one) {
      means[d] = 1;
    }
    return means;
  }

  private void putGradient(String key, String prefix, double[][] g, boolean bias, long... shape) {
    int in = g[0].length - (bias ? 1 : 0);
    double[] w = new double[g.length * in];
    double[] b = new double[g.length];
    for (int i = 0; i < g.length; i++) {
      System.arraycopy(g[i], 0, w, i * in, in);
      b[i] = g[i][g[i].length - 1];
    }
    put(key + prefix + "w", DType.F32, w, shape);
    if (bias) {
      put(key + prefix + "b", DType.F32, b, g.length);
    }
  }

  private void writeEva() throws IOException {
    int[] dims = {4, 33, 3};
    double damping = 0.1;
    double decay = 0.7;
    double klClip = 0.01;
    double rate = 0.2;
    double[][] a = new double[2][];
    double[][] g = new double[2][];
    for (int step = 0; step < 4; step++) {
      double products = 0;
      double[][][] results = new double[2][][];
      for (int l = 0; l < 2; l++) {
        int in = dims[l];
        int out = dims[l + 1];
        boolean bias = l == 1;
        String key = "s" + step + ".l" + l + ".";
        double[][] x = matrix(6, in, 0.5);
        double[][] dy = matrix(6, out, 0.1);
        double[][] gradient = matrix(out, in + (bias ? 1 : 0), 0.2);
        put(key + "x", DType.F32, flat(x), 6, in);
        put(key + "dy", DType.F32, flat(dy), 6, out);
        putGradient(key, "d", gradient, bias, out, in);
        a[l] = mix(a[l], means(x, bias), decay);
        g[l] = mix(g[l], means(dy, false), decay);
        double[] ga = new double[out];
        for (int i = 0; i < out; i++) {
          ga[i] = dot(gradient[i], a[l]);
        }
        double weight = dot(g[l], ga) / (dot(a[l], a[l]) * dot(g[l], g[l]) + damping);
        double[][] p = new double[out][gradient[0].length];
        for (int i = 0; i < out; i++) {
          for (int j = 0; j < p[0].length; j++) {
            p[i][j] = (gradient[i][j] - weight * g[l][i] * a[l][j]) / damping;
          }
          products += dot(p[i], gradient[i]);
        }
        results[l] = p;
      }
      double nu = Math.min(1, Math.sqrt(klClip / (rate * rate * products)));
      for (int l = 0; l < 2; l++) {
        String key = "s" + step + ".l" + l + ".";
        putGradient(key, "p", scaled(results[l], nu), l == 1, dims[l + 1], dims[l]);
      }
    }
    save(
        EVA,
        String.format(
            Locale.ROOT,
            "{'kind': 'eva_trajectory', 'steps': 4, 'dims': [4, 33, 3], 'damping': %f,"
                + " 'kl_clip': %f, 'factor_decay': %f, 'lr': %f}",
            damping,
            klClip,
            decay,
            rate));
  }

  private static double[] mix(double[] running, double[] next, double weight) {
    double[] mixed = next.clone();
    for (int i = 0; running != null && i < mixed.length; i++) {
      mixed[i] = (1 - weight) * running[i] + weight * next[i];
    }
    return mixed;
  }

  /** A layer of a run of the optimizer. */
  private static final class Layer {
    final int out;
    final int in;
    final boolean bias;
    final long[] shape;
    double[][] l;
    double[][] r;
    double[][] w;
    double[][] m;
    boolean fresh = true;

    Layer(int out, int in, boolean bias, long... shape) {
      this.out = out;
      this.in = in;
      this.bias = bias;
      this.shape = shape;
      this.l = identity(out);
      this.r = identity(in + (bias ? 1 : 0));
      this.m = new double[out][r.length];
    }

    void refresh(double[] a, double[] g, double gamma) {
      if (!fresh) {
        r = update(r, a, "code", gamma);
        l = update(l, g, "code", gamma);
      }
      fresh = false;
    }

    /** nu P of a gradient, with which descent with momentum then moves the parameters. */
    double[][] step(double[][] g, double rate, double momentum) {
      double[][] p = product(product(l, g), r);
      double[][] moved = scaled(p, scale(g, p, bias, "sum_of_norms"));
      for (int i = 0; i < out; i++) {
        for (int j = 0; j < r.length; j++) {
          m[i][j] = momentum * m[i][j] + moved[i][j];
          w[i][j] -= rate * m[i][j];
        }
      }
      return moved;
    }
  }

  /**
   * Two micro-batches, a loss scale, a clip that acts, a convolution without and a layer with bias.
   */
  private void writeRun() throws IOException {
    int accum = 2;
    double clip = 0.9;
    double lossScale = 16;
    double gamma = 0.85;
    int samples = 3;
    // 2 channels of 5 x 4, kernel 2 x 3, stride 2 x 1, padding 1 x 0, dilation 1 x 1.
    Layer[] layers = {
      new Layer(4, 12, false, 4, 2, 2, 3), new Layer(5, 7, true, 5, 7),
    };
    for (int l = 0; l < 2; l++) {
      layers[l].w = matrix(layers[l].out, layers[l].r.length, 0);
      putGradient("init.l" + l + ".", "", layers[l].w, layers[l].bias, layers[l].shape);
    }
    for (int step = 0; step < 6; step++) {
      boolean refresh = step % 4 == 0 || step < 2;
      for (int l = 0; l < 2; l++) {
        Layer layer = layers[l];
        String key = "s" + step + ".l" + l + ".";
        double[] a = new double[layer.r.length];
        double[] g = new double[layer.out];
        for (int q = 0; refresh && q < accum; q++) {
          double[][] x;
          double[][] dy;
          if (l == 0) {
            double[][] images = matrix(samples, 2 * 5 * 4, 1);
            double[][] planes = matrix(samples, 4 * 3 * 2, 0.3);
            put(key + "m" + q + ".x", DType.F32, flat(images), samples, 2, 5, 4);
            put(key + "m" + q + ".dy", DType.F32, flat(planes), samples, 4, 3, 2);
            x = patches(images);
            dy = planeMeans(planes, 4);
          } else {
            x = matrix(samples * 2, layer.in, 1);
            dy = matrix(samples * 2, layer.out, 0.3);
            put(key + "m" + q + ".x", DType.F32, flat(x), samples, 2, layer.in);
            put(key + "m" + q + ".dy", DType.F32, flat(dy), samples, 2, layer.out);
          }
          int n = x.length;
          for (int row = 0; row < n; row++) {
            for (int j = 0; j < a.length; j++) {
              double value = j < layer.in ? x[row][j] : 1;
              a[j] += Math.clamp(value / accum, -clip, clip) / n;
            }
            for (int j = 0; j < g.length; j++) {
              g[j] += Math.clamp(n * dy[row][j] / (accum * lossScale), -clip, clip) / n;
            }
          }
        }
        if (refresh) {
          layer.refresh(a, g, gamma);
          put(key + "a", DType.F32, a, a.length);
          put(key + "g", DType.F32, g, g.length);
        }
        double[][] gradient = matrix(layer.out, layer.r.length, 0.1);
        putGradient(key, "d", gradient, layer.bias, layer.shape);
        putStep(key, layer, layer.step(gradient, 0.05, 0.8));
      }
    }
    String layerList =
        "[{'type': 'conv', 'd_out': 4, 'd_in_aug': 12, 'bias': false, 'first_order': false,"
            + " 'k': [2, 3], 'stride': [2, 1], 'pad': [1, 0], 'dil': [1, 1]},"
            + " {'type': 'linear', 'd_out': 5, 'd_in_aug': 8, 'bias': true, 'first_order': false}]";
    save(
        RUN,
        String.format(
            Locale.ROOT,
            "{'kind': 'trajectory', 'steps': 6, 'inv_freq': 4, 'warmup_steps': 2, 'accum': %d,"
                + " 'half': false, 'backend': 'sgd', 'backend_args': {'lr': 0.05, 'momentum': 0.8},"
                + " 'clip': %f, 'grad_scale': %f, 'gamma': %f, 'threshold': 2.0, 'layers': %s}",
            accum,
            clip,
            lossScale,
            gamma,
            layerList));
  }

  private void putStep(String key, Layer layer, double[][] moved) {
    put(key + "L", DType.F32, flat(layer.l), layer.out, layer.out);
    put(key + "R", DType.F32, flat(layer.r), layer.r.length, layer.r.length);
    putGradient(key, "p", moved, layer.bias, layer.shape);
    putGradient(key, "", layer.w, layer.bias, layer.shape);
  }

  /** Means over the 3 x 2 outputs of the patches of images of 2 channels of 5 x 4. */
  private static double[][] patches(double[][] images) {
    double[][] rows = new double[images.length][12];
    for (int n = 0; n < images.length; n++) {
      for (int entry = 0; entry < 12; entry++) {
        for (int output = 0; output < 6; output++) {
          int y = output / 2 * 2 - 1 + entry / 3 % 2;
          int x = output % 2 + entry % 3;
          if (y >= 0 && y < 5) {
            rows[n][entry] += images[n][entry / 6 * 20 + y * 4 + x] / 6;
          }
        }
      }
    }
    return rows;
  }

  private static double[][] planeMeans(double[][] planes, int channels) {
    int size = planes[0].length / channels;
    double[][] rows = new double[planes.length][channels];
    for (int n = 0; n < planes.length; n++) {
      for (int i = 0; i < planes[0].length; i++) {
        rows[n][i / size] += planes[n][i] / size;
      }
    }
    return rows;
  }

  /** The mode without activations; where the parameters start is not recorded. */
  private void writeMeans() throws IOException {
    int[] dims = {8, 3, 17};
    Layer[] layers = new Layer[2];
    for (int l = 0; l < 2; l++) {
      layers[l] = new Layer(dims[l + 1], dims[l], true, dims[l + 1], dims[l]);
      layers[l].w = matrix(dims[l + 1], dims[l] + 1, 0);
    }
    for (int step = 0; step < 7; step++) {
      for (int l = 0; l < 2; l++) {
        Layer layer = layers[l];
        String key = "s" + step + ".l" + l + ".";
        double[][] gradient = matrix(layer.out, layer.in + 1, 0.3);
        putGradient(key, "d", gradient, true, layer.shape);
        if (step % 2 == 0) {
          double[] g = new double[layer.out];
          for (int i = 0; i < g.length; i++) {
            for (double value : gradient[i]) {
              g[i] += value / (layer.in + 1);
            }
          }
          layer.refresh(means(gradient, false), g, 0.6);
        }
        putStep(key, layer, layer.step(gradient, 0.1, 0.5));
      }
    }
    save(
        MEANS,
        "{'kind': 'gradmean_trajectory', 'steps': 7, 'inv_freq': 2, 'warmup_steps': 0,"
            + " 'backend': 'sgd', 'backend_args': {'lr': 0.1, 'momentum': 0.5}, 'gamma': 0.6,"
            + " 'dims': [8, 3, 17]}");
  }
}

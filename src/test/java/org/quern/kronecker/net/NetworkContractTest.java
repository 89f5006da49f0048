package org.quern.kronecker.net;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.ChildJvm;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/** The network on every tier against a plain one in double precision. */
class NetworkContractTest {
  private static final int[] WIDTHS = {5, 17, 6, 4};
  private static final int BATCH = 9;

  static Stream<Tier> tiers() {
    return Capabilities.get().available().stream()
        .filter(t -> t == Tier.SCALAR || t == Tier.VECTOR);
  }

  static Stream<Arguments> networks() {
    List<Arguments> all = new ArrayList<>();
    tiers()
        .forEach(tier -> {
          for (Activation activation : Activation.values()) {
            for (Loss loss : Loss.values()) {
              all.add(Arguments.of(tier, activation, loss));
            }
          }
        });
    return all.stream();
  }

  @ParameterizedTest
  @MethodSource("networks")
  void gradientsAreTheFiniteDifferencesOfTheLoss(Tier tier, Activation activation, Loss loss) {
    int seed = 31;
    System.out.println("seed " + seed);
    try (Arena arena = Arena.ofConfined()) {
      Network network = Network.create(arena, WIDTHS, BATCH, activation, loss, 1, tier);
      network.initialize(seed);
      fill(network, seed);
      Plain plain = new Plain(network, activation, loss);
      double expected = plain.loss();
      assertEquals(expected, network.forward(), 1e-6 * expected);
      network.backward();
      for (DenseLayer layer : network.layers()) {
        int k = network.layers().indexOf(layer);
        check(plain, plain.weights[k], layer.weightGradient().toDoubleArray());
        check(plain, plain.biases[k], layer.biasGradient().toDoubleArray());
      }
    }
  }

  /** Central differences, whose own error is of the order of the square of the step. */
  private static void check(Plain plain, double[] parameters, double[] gradients) {
    assertEquals(parameters.length, gradients.length);
    double step = 1e-5;
    for (int k = 0; k < parameters.length; k++) {
      double before = parameters[k];
      parameters[k] = before + step;
      double above = plain.loss();
      parameters[k] = before - step;
      double below = plain.loss();
      parameters[k] = before;
      assertEquals((above - below) / (2 * step), gradients[k], 2e-6, "parameter " + k);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void aLayerShowsWhatItsGradientIsMadeOf(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      Network network =
          Network.create(arena, WIDTHS, BATCH, Activation.TANH, Loss.SQUARED, 1, tier);
      network.initialize(5);
      fill(network, 5);
      network.forward();
      network.backward();
      for (DenseLayer layer : network.layers()) {
        Tensor x = layer.input();
        Tensor dy = layer.outputGradient();
        for (int o = 0; o < dy.dim(1); o++) {
          double bias = 0;
          for (int r = 0; r < BATCH; r++) {
            bias += dy.getDouble(r, o);
          }
          assertEquals(bias, layer.biasGradient().getDouble(o), 1e-6);
          for (int i = 0; i < x.dim(1); i++) {
            double weight = 0;
            for (int r = 0; r < BATCH; r++) {
              weight += dy.getDouble(r, o) * x.getDouble(r, i);
            }
            assertEquals(weight, layer.weightGradient().getDouble(o, i), 1e-6);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void threadsChangeNoBit(Tier tier) {
    try (Arena arena = Arena.ofShared()) {
      int[] widths = {300, 200, 300};
      List<float[]> gradients = new ArrayList<>();
      for (int threads : new int[] {1, 3}) {
        Network network =
            Network.create(arena, widths, 64, Activation.RELU, Loss.SQUARED, threads, tier);
        network.initialize(1);
        fill(network, 1);
        network.forward();
        network.backward();
        gradients.add(network.layers().getFirst().weightGradient().toFloatArray());
      }
      assertArrayEquals(gradients.get(0), gradients.get(1));
    }
  }

  @Test
  void aStepOnTheVectorTierAllocatesNothing() throws Exception {
    if (tiers().toList().contains(Tier.VECTOR)) {
      assertEquals("0", ChildJvm.run(NetworkAllocations.class, ChildJvm.VECTOR).get("bytes"));
    }
  }

  @Test
  void weightsFollowTheSeedAndTheirVarianceTheActivation() {
    try (Arena arena = Arena.ofConfined()) {
      int[] widths = {400, 300, 200};
      Network network = Network.create(arena, widths, 1, Activation.RELU, Loss.SQUARED, 1, null);
      network.initialize(7);
      double[] wanted = {2.0 / 400, 2.0 / 500};
      for (int k = 0; k < 2; k++) {
        DenseLayer layer = network.layers().get(k);
        double squares = 0;
        for (double w : layer.weights().toDoubleArray()) {
          squares += w * w;
        }
        double variance = squares / layer.weights().size();
        assertEquals(wanted[k], variance, 0.03 * wanted[k]);
      }
      float[] first = network.layers().getFirst().weights().toFloatArray();
      network.layers().getFirst().weights().fill(0);
      network.initialize(7);
      assertArrayEquals(first, network.layers().getFirst().weights().toFloatArray());
    }
  }

  @Test
  void argumentsOutOfRangeAreNamed() {
    try (Arena arena = Arena.ofConfined()) {
      assertTrue(message(arena, new int[] {3}, 1).startsWith("widths: expected at least two"));
      assertTrue(message(arena, new int[] {3, 0}, 1).endsWith("got [3, 0]"));
      assertEquals("batch: expected at least 1, got 0", message(arena, new int[] {3, 2}, 0));
    }
  }

  private static String message(Arena arena, int[] widths, int batch) {
    return assertThrows(
            IllegalArgumentException.class,
            () -> Network.create(arena, widths, batch, Activation.RELU, Loss.SQUARED, 1, null))
        .getMessage();
  }

  /** Inputs with a mean, biases that are not 0, and targets that sum to 1. */
  private static void fill(Network network, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    for (int r = 0; r < network.input().dim(0); r++) {
      for (int i = 0; i < network.input().dim(1); i++) {
        network.input().setDouble(0.3 + random.nextGaussian(), r, i);
      }
      int n = (int) network.target().dim(1);
      double left = 1;
      for (int o = 0; o < n; o++) {
        double share = o < n - 1 ? left * random.nextDouble() : left;
        network.target().setDouble(share, r, o);
        left -= share;
      }
    }
    for (DenseLayer layer : network.layers()) {
      for (int o = 0; o < layer.bias().size(); o++) {
        layer.bias().setDouble(0.1 * random.nextGaussian(), o);
      }
    }
  }

  /** The same network in plain loops. */
  private static final class Plain {
    final Activation activation;
    final Loss loss;
    final double[][] weights;
    final double[][] biases;
    final Tensor input;
    final Tensor target;

    Plain(Network network, Activation activation, Loss loss) {
      this.activation = activation;
      this.loss = loss;
      this.input = network.input();
      this.target = network.target();
      weights =
          network.layers().stream()
              .map(layer -> layer.weights().toDoubleArray())
              .toArray(double[][]::new);
      biases =
          network.layers().stream()
              .map(layer -> layer.bias().toDoubleArray())
              .toArray(double[][]::new);
    }

    double loss() {
      double sum = 0;
      for (int r = 0; r < input.dim(0); r++) {
        double[] y = input.row(r).toDoubleArray();
        for (int k = 0; k < weights.length; k++) {
          y = layer(k, y);
        }
        sum += loss(y, target.row(r).toDoubleArray());
      }
      return sum / input.dim(0);
    }

    private double[] layer(int k, double[] x) {
      double[] y = biases[k].clone();
      for (int o = 0; o < y.length; o++) {
        for (int i = 0; i < x.length; i++) {
          y[o] += weights[k][o * x.length + i] * x[i];
        }
        if (k < weights.length - 1) {
          y[o] =
              switch (activation) {
                case IDENTITY -> y[o];
                case RELU -> Math.max(y[o], 0);
                case TANH -> Math.tanh(y[o]);
              };
        }
      }
      return y;
    }

    private double loss(double[] y, double[] t) {
      double result = 0;
      double exponentials = 0;
      for (double value : y) {
        exponentials += Math.exp(value);
      }
      for (int o = 0; o < y.length; o++) {
        result +=
            switch (loss) {
              case SQUARED -> (y[o] - t[o]) * (y[o] - t[o]) / 2;
              case CROSS_ENTROPY -> -t[o] * (y[o] - Math.log(exponentials));
            };
      }
      return result;
    }
  }
}

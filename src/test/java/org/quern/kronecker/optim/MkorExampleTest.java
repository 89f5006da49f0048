package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.quern.kronecker.ColumnMeans;
import org.quern.kronecker.net.Activation;
import org.quern.kronecker.net.DenseLayer;
import org.quern.kronecker.net.Loss;
import org.quern.kronecker.net.Network;
import org.quern.random.Philox;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** The example of the README and that of docs/kronecker.md, as they stand there. */
class MkorExampleTest {
  @Test
  void theReadmesExample() {
    try (Arena arena = Arena.ofConfined();
        Mkor mkor = Mkor.builder().refreshEvery(1).applyFirst(true).build()) {
      Tensor weights = Tensor.copyOf(arena, new float[] {1, 1, 1, 1}, 2, 2);
      Tensor bias = Tensor.copyOf(arena, new float[] {0, 0}, 2);
      Tensor weightGradient = Tensor.copyOf(arena, new float[] {3, 3, 4, -4}, 2, 2);
      Tensor biasGradient = Tensor.copyOf(arena, new float[] {0, 0}, 2);
      Tensor meanInput = Tensor.copyOf(arena, new float[] {7, 7, 1}, 3); // 1 for the bias
      MkorLayer layer = mkor.layer("fc1", 2, 2, true);
      layer.bind(weights, bias, weightGradient, biasGradient);
      if (mkor.isRefresh()) {
        layer.observe(meanInput, biasGradient);
      }
      mkor.step(0.1);
      // The row along the mean input has all but lost its step, the other has gained its length:
      // weights are {0.993, 0.993}, {0.535, 1.465}
      assertEquals(0.993, weights.getDouble(0, 0), 5e-4);
      assertEquals(0.993, weights.getDouble(0, 1), 5e-4);
      assertEquals(0.535, weights.getDouble(1, 0), 5e-4);
      assertEquals(1.465, weights.getDouble(1, 1), 5e-4);
    }
  }

  @Test
  void theTrainingLoopOfTheDocumentation() {
    try (Arena arena = Arena.ofConfined()) {
      Network network =
          Network.create(arena, new int[] {12, 8, 3}, 16, Activation.TANH, Loss.SQUARED, 1, null);
      network.initialize(1);
      new Philox(2, 0).fillUniform(network.input().memory());
      new Philox(2, 1).fillUniform(network.target().memory());
      List<DenseLayer> model = network.layers();
      double first = network.forward();
      try (Mkor mkor = Mkor.builder().backEnd(new Sgd(0.9)).exclude("head").build()) {
        List<MkorLayer> layers = new ArrayList<>();
        List<ColumnMeans> means = new ArrayList<>();
        for (int k = 0; k < model.size(); k++) {
          DenseLayer part = model.get(k);
          int outputs = (int) part.weights().dim(0);
          int inputs = (int) part.weights().dim(1);
          MkorLayer layer = mkor.layer(k == 1 ? "head" : "body" + k, outputs, inputs, true);
          layer.bind(part.weights(), part.bias(), part.weightGradient(), part.biasGradient());
          layers.add(layer);
          means.add(ColumnMeans.create(arena, inputs));
        }
        for (int step = 0; step < 100; step++) {
          network.forward();
          network.backward();
          if (mkor.isRefresh()) {
            for (int k = 0; k < model.size(); k++) {
              Tensor input = model.get(k).input();
              Tensor a = Tensor.allocate(arena, DType.F32, input.dim(1) + 1);
              means.get(k).reset();
              means.get(k).add(input, mkor.clip());
              means.get(k).mean(a);
              layers.get(k).observe(a, model.get(k).biasGradient());
            }
          }
          mkor.step(0.05);
        }
      }
      double last = network.forward();
      assertTrue(last < 0.2 * first, () -> first + " -> " + last);
    }
  }
}

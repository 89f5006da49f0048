package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.quern.random.Philox;
import org.quern.runtime.Capabilities;
import org.quern.tensor.DType;

/** Training on forces: the gradient of the loss, which the second gradients of the layers give. */
class ClusterModelTest {
  @Test
  void theGradientOfTheLossIsItsSlope() {
    Philox random = new Philox(99, 0);
    List<Cluster> clusters = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      clusters.add(Cluster.random(random, 4));
    }
    ClusterModel model =
        new ClusterModel(DType.F64, Capabilities.get().choose(GauntConvolution.TIERS, null));
    double[] parameters = ClusterModel.start();
    double[] direction = new double[parameters.length];
    for (int i = 0; i < parameters.length; i++) {
      parameters[i] += 0.1 * (random.nextDouble() - 0.5);
      direction[i] = random.nextDouble() - 0.5;
    }
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      ClusterModel.Batch batch = model.new Batch(arena, workspace, clusters);
      double[] gradient = new double[parameters.length];
      batch.loss(parameters, 3, gradient);
      double along = 0;
      double[] ahead = parameters.clone();
      double[] behind = parameters.clone();
      double step = 1e-5;
      for (int i = 0; i < parameters.length; i++) {
        along += gradient[i] * direction[i];
        ahead[i] += step * direction[i];
        behind[i] -= step * direction[i];
      }
      double slope =
          (batch.loss(ahead, 3, gradient) - batch.loss(behind, 3, gradient)) / (2 * step);
      assertEquals(slope, along, 1e-6 * Math.abs(slope));
    }
  }
}

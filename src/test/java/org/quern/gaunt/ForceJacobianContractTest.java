package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.random.Philox;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Forces through a convolution and a many-body product: their Jacobian, column by column from the
 * second gradients of both, is symmetric to 1e-12 in double precision, and the slope of the forces.
 */
class ForceJacobianContractTest {
  private static final int NODES = 4;
  private static final int CHANNELS = 18;

  static Stream<Tier> tiers() {
    return GauntConvolution.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  /** An energy of the places of nodes. */
  private static final class Model {
    final Arena arena;
    final LayerWorkspace workspace;
    final GauntConvolution convolution;
    final ManyBodyProduct powers;
    final int[] source = new int[NODES * (NODES - 1)];
    final int[] destination = new int[source.length];
    final Edges edges;
    final Tensor x;
    final Tensor h;
    final Tensor w;
    final Tensor ones;
    final int[] species = new int[NODES];

    Model(Arena arena, LayerWorkspace workspace, Tier tier, Philox random) {
      this.arena = arena;
      this.workspace = workspace;
      convolution =
          GauntConvolution.builder(1, 2, 2).channels(CHANNELS).type(DType.F64).tier(tier).build();
      powers =
          ManyBodyProduct.builder(2, 3, 0).channels(CHANNELS).type(DType.F64).tier(tier).build();
      int edge = 0;
      for (int i = 0; i < NODES; i++) {
        for (int j = 0; j < NODES; j++) {
          if (i != j) {
            source[edge] = j;
            destination[edge++] = i;
          }
        }
      }
      edges = Edges.of(NODES, source, destination);
      x = SphereFunctions.normal(arena, DType.F64, random, NODES, 4, CHANNELS);
      h = SphereFunctions.normal(arena, DType.F64, random, edge, 3);
      w = SphereFunctions.normal(arena, DType.F64, random, 3, 1, CHANNELS, 1);
      ones = Tensor.allocate(arena, DType.F64, NODES, 1, CHANNELS);
      ones.fill(1);
    }

    Tensor tensor(long... shape) {
      return Tensor.allocate(arena, DType.F64, shape);
    }

    /** By edges, the differences of values of nodes. */
    Tensor differences(double[] ofNodes) {
      Tensor r = tensor(source.length, 3);
      for (int e = 0; e < source.length; e++) {
        for (int axis = 0; axis < 3; axis++) {
          r.setDouble(ofNodes[3 * source[e] + axis] - ofNodes[3 * destination[e] + axis], e, axis);
        }
      }
      return r;
    }

    /** The transpose, with the sign of forces. */
    double[] forces(Tensor... ofEdges) {
      double[] forces = new double[3 * NODES];
      for (Tensor slopes : ofEdges) {
        for (int e = 0; e < source.length; e++) {
          for (int axis = 0; axis < 3; axis++) {
            forces[3 * source[e] + axis] -= slopes.getDouble(e, axis);
            forces[3 * destination[e] + axis] += slopes.getDouble(e, axis);
          }
        }
      }
      return forces;
    }

    Tensor features(ConvolutionInputs in) {
      Tensor features = tensor(NODES, 9, CHANNELS);
      convolution.forward(edges, in, features, workspace);
      return features;
    }

    Tensor slopes(Tensor features) {
      Tensor gx = tensor(NODES, 9, CHANNELS);
      powers.backward(features, species, w, ones, gx, null, workspace);
      return gx;
    }

    double[] forces(double[] places) {
      ConvolutionInputs in = new ConvolutionInputs(x, differences(places), h, null);
      Tensor gr = tensor(source.length, 3);
      convolution.backward(
          edges,
          in,
          slopes(features(in)),
          new ConvolutionGradients(null, gr, null, null),
          workspace);
      return forces(gr);
    }

    /** How the forces change when the nodes move. */
    double[] change(double[] places, double[] moves) {
      ConvolutionInputs in = new ConvolutionInputs(x, differences(places), h, null);
      Tensor features = features(in);
      Tensor first = tensor(source.length, 3);
      Tensor moved = tensor(NODES, 9, CHANNELS);
      convolution.secondGradients(
          edges,
          in,
          slopes(features),
          new ConvolutionGradients(null, differences(moves), null, null),
          new ConvolutionGradients(null, first, null, null),
          moved,
          workspace);
      Tensor gx = tensor(NODES, 9, CHANNELS);
      powers.secondGradients(features, species, w, ones, moved, null, gx, null, null, workspace);
      Tensor second = tensor(source.length, 3);
      convolution.backward(
          edges, in, gx, new ConvolutionGradients(null, second, null, null), workspace);
      return forces(first, second);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void isSymmetricAndTheSlopeOfTheForces(Tier tier) {
    Philox random = new Philox(77, 0);
    double[] places = new double[3 * NODES];
    for (int i = 0; i < places.length; i++) {
      places[i] = 4 * random.nextDouble();
    }
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Model model = new Model(arena, workspace, tier, random);
      double[][] jacobian = new double[places.length][];
      double largest = 0;
      for (int i = 0; i < places.length; i++) {
        double[] move = new double[places.length];
        move[i] = 1;
        jacobian[i] = model.change(places, move);
        for (double value : jacobian[i]) {
          largest = Math.max(largest, Math.abs(value));
        }
      }
      assertTrue(largest > 1e-3, "forces that do not change");
      double step = 1e-5;
      for (int i = 0; i < places.length; i++) {
        double[] ahead = places.clone();
        double[] behind = places.clone();
        ahead[i] += step;
        behind[i] -= step;
        double[] above = model.forces(ahead);
        double[] below = model.forces(behind);
        for (int j = 0; j < places.length; j++) {
          String what = tier + " " + i + " " + j;
          assertEquals(jacobian[j][i], jacobian[i][j], 1e-12 * largest, what);
          assertEquals((above[j] - below[j]) / (2 * step), jacobian[i][j], 1e-6 * largest, what);
        }
      }
    }
  }
}

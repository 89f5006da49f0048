package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.util.List;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A force field of one convolution and one many-body product. Each atom gathers {@code A[l, m, c] =
 * s[l, c] sum over neighbours of R_c(|r|) Y(l, m)(r)}, and the energy is {@code sum over atoms,
 * orders k and channels c of W[k, c]} times the mean over the sphere of the k-th power of A's
 * function. The energy is linear in W; forces are its slopes by the places, back through both
 * layers.
 */
final class ClusterModel {
  /** Highest degree of the harmonics. */
  static final int DEGREE = 3;

  /** Highest power: terms of up to this many neighbours. */
  static final int ORDER = 3;

  private static final int RADIAL = 8;

  /** Weights of the degrees: how a channel sees angles. */
  private static final double[][] PROFILES = {
    {1, 1, 1, 1}, {1, 1, 0, 0}, {1, 0, 1, 0}, {0, 1, 1, -1}
  };

  /** Number of channels: every radial function with every profile. */
  static final int CHANNELS = RADIAL * 4;

  private static final int COMPONENTS = (DEGREE + 1) * (DEGREE + 1);

  /** Sums of waves: the square of a sum holds the product of two different ones. */
  private static final int[][] SUMS = {{0, 1}, {0, 2}, {1, 2}, {0, 3}};

  private static final int SUMS_FROM = RADIAL - SUMS.length;

  private final DType type;
  private final GauntConvolution convolution;
  private final ManyBodyProduct powers;

  ClusterModel(DType type, Tier tier) {
    this.type = type;
    convolution =
        GauntConvolution.builder(0, DEGREE, DEGREE)
            .channels(CHANNELS)
            .type(type)
            .tier(tier)
            .build();
    powers =
        ManyBodyProduct.builder(DEGREE, ORDER, 0).channels(CHANNELS).type(type).tier(tier).build();
  }

  /** Number of weights. */
  static int weights() {
    return ORDER * CHANNELS;
  }

  /** Clusters as one graph, and what the layers make of it; the memory is the arena's. */
  final class Batch {
    private final Arena arena;
    private final LayerWorkspace workspace;
    private final List<Cluster> clusters;
    private final int atoms;
    private final int[] source;
    private final int[] destination;
    private final Edges edges;
    private final ConvolutionInputs in;
    private final Tensor features;
    private final int[] species;

    /** Slopes of the radial functions over the length of each edge. */
    private final double[] slopes;

    Batch(Arena arena, LayerWorkspace workspace, List<Cluster> clusters) {
      this.arena = arena;
      this.workspace = workspace;
      this.clusters = clusters;
      atoms = clusters.stream().mapToInt(Cluster::atoms).sum();
      int count = clusters.stream().mapToInt(c -> c.atoms() * (c.atoms() - 1)).sum();
      source = new int[count];
      destination = new int[count];
      Tensor r = Tensor.allocate(arena, type, count, 3);
      Tensor radial = Tensor.allocate(arena, type, count, CHANNELS);
      slopes = new double[count * CHANNELS];
      int edge = 0;
      int first = 0;
      for (Cluster cluster : clusters) {
        for (int i = 0; i < cluster.atoms(); i++) {
          for (int j = 0; j < cluster.atoms(); j++) {
            if (i == j) {
              continue;
            }
            source[edge] = first + j;
            destination[edge] = first + i;
            for (int axis = 0; axis < 3; axis++) {
              r.setDouble(
                  cluster.places()[3 * j + axis] - cluster.places()[3 * i + axis], edge, axis);
            }
            for (int c = 0; c < CHANNELS; c++) {
              double distance = Cluster.distance(cluster.places(), i, j);
              radial.setDouble(radial(c, distance), edge, c);
              slopes[edge * CHANNELS + c] = radialSlope(c, distance) / distance;
            }
            edge++;
          }
        }
        first += cluster.atoms();
      }
      edges = Edges.of(atoms, source, destination);
      Tensor ones = Tensor.allocate(arena, type, atoms, 1, CHANNELS);
      ones.fill(1);
      Tensor h = Tensor.allocate(arena, type, count, DEGREE + 1);
      h.fill(1);
      in = new ConvolutionInputs(ones, r, h, radial);
      features = Tensor.allocate(arena, type, atoms, COMPONENTS, CHANNELS);
      species = new int[atoms];
      convolution.forward(edges, in, features, workspace);
      profile(features);
    }

    private void profile(Tensor x) {
      for (long row = 0; row < x.rows(); row++) {
        int degree = (int) Math.sqrt((double) (row % COMPONENTS));
        for (int c = 0; c < CHANNELS; c++) {
          long at = row * CHANNELS + c;
          double factor = PROFILES[c / RADIAL][degree];
          TileTable.set(x.memory(), type, at, factor * TileTable.get(x.memory(), type, at));
        }
      }
    }

    /** Energies of all clusters. */
    double[] energies(double[] weights) {
      Tensor out = Tensor.allocate(arena, type, atoms, 1, CHANNELS);
      powers.forward(features, species, tensor(weights), out, workspace);
      double[] energies = new double[clusters.size()];
      int atom = 0;
      for (int cluster = 0; cluster < energies.length; cluster++) {
        for (int i = 0; i < clusters.get(cluster).atoms(); i++, atom++) {
          for (int c = 0; c < CHANNELS; c++) {
            energies[cluster] += out.getDouble(atom, 0, c);
          }
        }
      }
      return energies;
    }

    /** Forces on all atoms, three per atom. */
    double[] forces(double[] weights) {
      Tensor g = Tensor.allocate(arena, type, atoms, 1, CHANNELS);
      g.fill(1);
      Tensor gfeatures = Tensor.allocate(arena, type, features.shape());
      powers.backward(features, species, tensor(weights), g, gfeatures, null, workspace);
      profile(gfeatures);
      Tensor gr = Tensor.allocate(arena, type, in.r().shape());
      Tensor gradial = Tensor.allocate(arena, type, source.length, CHANNELS);
      convolution.backward(
          edges, in, gfeatures, new ConvolutionGradients(null, gr, null, gradial), workspace);
      double[] forces = new double[3 * atoms];
      long at = 0;
      for (int edge = 0; edge < source.length; edge++) {
        double along = 0;
        for (int c = 0; c < CHANNELS; c++) {
          along += TileTable.get(gradial.memory(), type, at++) * slopes[edge * CHANNELS + c];
        }
        for (int axis = 0; axis < 3; axis++) {
          double slope = gr.getDouble(edge, axis) + along * in.r().getDouble(edge, axis);
          forces[3 * source[edge] + axis] -= slope;
          forces[3 * destination[edge] + axis] += slope;
        }
      }
      return forces;
    }

    private Tensor tensor(double[] weights) {
      Tensor w = Tensor.allocate(arena, type, ORDER, 1, CHANNELS, 1);
      for (int k = 0; k < ORDER; k++) {
        for (int c = 0; c < CHANNELS; c++) {
          w.setDouble(weights[k * CHANNELS + c], k, 0, c, 0);
        }
      }
      return w;
    }
  }

  /** A wave over the distance, or a sum of two, faded out. */
  private static double radial(int channel, double distance) {
    return Cluster.fade(distance) * wave(channel, distance, false);
  }

  private static double radialSlope(int channel, double distance) {
    return Cluster.fadeSlope(distance) * wave(channel, distance, false)
        + Cluster.fade(distance) * wave(channel, distance, true);
  }

  private static double wave(int channel, double distance, boolean slope) {
    int which = channel % RADIAL;
    if (channel < RADIAL || which < SUMS_FROM) {
      return wave(distance, which, slope);
    }
    int[] pair = SUMS[which - SUMS_FROM];
    return wave(distance, pair[0], slope) + wave(distance, pair[1], slope);
  }

  private static double wave(double distance, int number, boolean slope) {
    double frequency = number * Math.PI / Cluster.REACH;
    return slope ? -frequency * Math.sin(frequency * distance) : Math.cos(frequency * distance);
  }
}

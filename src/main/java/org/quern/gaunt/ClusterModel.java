package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A force field of one convolution and one many-body product. Each atom gathers {@code A[l, m, c] =
 * s[l, c] sum over neighbours of R_c(|r|) Y(l, m)(r)}, and the energy is {@code sum over atoms,
 * orders k and channels c of W[k, c]} times the mean over the sphere of the k-th power of A's
 * function. Forces are the slopes of the energy by the places, back through both layers. W and the
 * shares of waves in the radial functions R are learned, and with them the forces: their gradients
 * are the second gradients of the layers.
 */
final class ClusterModel {
  /** Highest degree of the harmonics. */
  static final int DEGREE = 3;

  /** Highest power: terms of up to this many neighbours. */
  static final int ORDER = 3;

  /** Waves over the distance that radial functions are sums of. */
  private static final int WAVES = 8;

  /** Weights of the degrees: how a channel sees angles. */
  private static final double[][] PROFILES = {
    {1, 1, 1, 1}, {1, 1, 0, 0}, {1, 0, 1, 0}, {0, 1, 1, -1}
  };

  /** Number of channels: for every profile as many radial functions as there are waves. */
  static final int CHANNELS = WAVES * 4;

  private static final int COMPONENTS = (DEGREE + 1) * (DEGREE + 1);

  /** Where the radial functions start: the square of a sum of waves holds their product. */
  private static final int[][] SUMS = {{0, 1}, {0, 2}, {1, 2}, {0, 3}};

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

  /** Number of parameters: the weights W, and the shares of waves of all channels. */
  static int parameters() {
    return ORDER * CHANNELS + CHANNELS * WAVES;
  }

  /** Where training starts: no energy, and radial functions of a wave or two. */
  static double[] start() {
    double[] parameters = new double[parameters()];
    for (int c = 0; c < CHANNELS; c++) {
      int which = c % WAVES;
      if (c < WAVES || which < WAVES - SUMS.length) {
        parameters[share(c, which)] = 1;
      } else {
        for (int wave : SUMS[which - (WAVES - SUMS.length)]) {
          parameters[share(c, wave)] = 1;
        }
      }
    }
    return parameters;
  }

  private static int share(int channel, int wave) {
    return ORDER * CHANNELS + channel * WAVES + wave;
  }

  /** Clusters as one graph, and what the layers make of it; the memory is the arena's. */
  final class Batch {
    private final LayerWorkspace workspace;
    private final List<Cluster> clusters;
    private final int atoms;
    private final int[] source;
    private final int[] destination;
    private final int[] clusterOf;
    private final Edges edges;
    private final ConvolutionInputs in;
    private final Tensor scales;

    /** Waves at the length of each edge, and their slopes over it. */
    private final double[] waves;

    private final double[] slopes;
    private final int[] species;

    private final Tensor w;
    private final Tensor features;
    private final Tensor out;
    private final Tensor ones;

    /** Slopes of the energy by A, the edge vectors and the scales. */
    private final Tensor gfeatures;

    private final Tensor gr;
    private final Tensor gscales;

    // What the gradient of the loss needs besides.
    private final Tensor g;
    private final Tensor gx;
    private final Tensor gxSecond;
    private final Tensor gw;
    private final Tensor moves;
    private final Tensor scaleMoves;
    private final Tensor moved;
    private final Tensor gfirst;
    private final Tensor gsecond;
    private final double[] alongs;

    Batch(Arena arena, LayerWorkspace workspace, List<Cluster> clusters) {
      this.workspace = workspace;
      this.clusters = clusters;
      atoms = clusters.stream().mapToInt(Cluster::atoms).sum();
      int count = clusters.stream().mapToInt(c -> c.atoms() * (c.atoms() - 1)).sum();
      source = new int[count];
      destination = new int[count];
      clusterOf = new int[atoms];
      Tensor r = Tensor.allocate(arena, type, count, 3);
      waves = new double[count * WAVES];
      slopes = new double[count * WAVES];
      int edge = 0;
      int first = 0;
      for (int cluster = 0; cluster < clusters.size(); cluster++) {
        double[] places = clusters.get(cluster).places();
        int size = clusters.get(cluster).atoms();
        for (int i = 0; i < size; i++) {
          clusterOf[first + i] = cluster;
          for (int j = 0; j < size; j++) {
            if (i == j) {
              continue;
            }
            source[edge] = first + j;
            destination[edge] = first + i;
            for (int axis = 0; axis < 3; axis++) {
              r.setDouble(places[3 * j + axis] - places[3 * i + axis], edge, axis);
            }
            double distance = Cluster.distance(places, i, j);
            for (int q = 0; q < WAVES; q++) {
              waves[edge * WAVES + q] = wave(q, distance);
              slopes[edge * WAVES + q] = waveSlope(q, distance) / distance;
            }
            edge++;
          }
        }
        first += size;
      }
      edges = Edges.of(atoms, source, destination);
      Tensor constant = Tensor.allocate(arena, type, atoms, 1, CHANNELS);
      constant.fill(1);
      Tensor h = Tensor.allocate(arena, type, count, DEGREE + 1);
      h.fill(1);
      scales = Tensor.allocate(arena, type, count, CHANNELS);
      in = new ConvolutionInputs(constant, r, h, scales);
      species = new int[atoms];
      w = Tensor.allocate(arena, type, ORDER, 1, CHANNELS, 1);
      features = Tensor.allocate(arena, type, atoms, COMPONENTS, CHANNELS);
      out = Tensor.allocate(arena, type, atoms, 1, CHANNELS);
      ones = Tensor.allocate(arena, type, atoms, 1, CHANNELS);
      ones.fill(1);
      gfeatures = Tensor.allocate(arena, type, features.shape());
      gr = Tensor.allocate(arena, type, count, 3);
      gscales = Tensor.allocate(arena, type, count, CHANNELS);
      g = Tensor.allocate(arena, type, out.shape());
      gx = Tensor.allocate(arena, type, features.shape());
      gxSecond = Tensor.allocate(arena, type, features.shape());
      gw = Tensor.allocate(arena, type, w.shape());
      moves = Tensor.allocate(arena, type, count, 3);
      scaleMoves = Tensor.allocate(arena, type, count, CHANNELS);
      moved = Tensor.allocate(arena, type, features.shape());
      gfirst = Tensor.allocate(arena, type, count, CHANNELS);
      gsecond = Tensor.allocate(arena, type, count, CHANNELS);
      alongs = new double[count];
    }

    /** Sets the parameters, and computes what each atom gathers. */
    private void gather(double[] parameters) {
      for (int c = 0; c < CHANNELS; c++) {
        for (int k = 0; k < ORDER; k++) {
          w.setDouble(parameters[k * CHANNELS + c], k, 0, c, 0);
        }
        for (int edge = 0; edge < source.length; edge++) {
          double sum = 0;
          for (int q = 0; q < WAVES; q++) {
            sum += parameters[share(c, q)] * waves[edge * WAVES + q];
          }
          set(scales, (long) edge * CHANNELS + c, sum);
        }
      }
      convolution.forward(edges, in, features, workspace);
      profile(features);
    }

    private double get(Tensor x, long at) {
      return TileTable.get(x.memory(), type, at);
    }

    private void set(Tensor x, long at, double value) {
      TileTable.set(x.memory(), type, at, value);
    }

    private void profile(Tensor x) {
      for (long row = 0; row < x.rows(); row++) {
        int degree = (int) Math.sqrt((double) (row % COMPONENTS));
        for (int c = 0; c < CHANNELS; c++) {
          long at = row * CHANNELS + c;
          set(x, at, PROFILES[c / WAVES][degree] * get(x, at));
        }
      }
    }

    /** Energies of all clusters. */
    double[] energies(double[] parameters) {
      gather(parameters);
      return energies();
    }

    private double[] energies() {
      powers.forward(features, species, w, out, workspace);
      double[] energies = new double[clusters.size()];
      for (int atom = 0; atom < atoms; atom++) {
        for (int c = 0; c < CHANNELS; c++) {
          energies[clusterOf[atom]] += out.getDouble(atom, 0, c);
        }
      }
      return energies;
    }

    /** Forces on all atoms, three per atom. */
    double[] forces(double[] parameters) {
      gather(parameters);
      return forces(parameters, ones);
    }

    /** By the slopes of the energies of all atoms, which stay where they are written. */
    private double[] forces(double[] parameters, Tensor g) {
      powers.backward(features, species, w, g, gfeatures, null, workspace);
      profile(gfeatures);
      convolution.backward(
          edges, in, gfeatures, new ConvolutionGradients(null, gr, null, gscales), workspace);
      double[] forces = new double[3 * atoms];
      for (int edge = 0; edge < source.length; edge++) {
        double along = 0;
        for (int c = 0; c < CHANNELS; c++) {
          double slope = radialSlope(parameters, edge, c);
          along += get(gscales, (long) edge * CHANNELS + c) * slope;
        }
        for (int axis = 0; axis < 3; axis++) {
          double slope = gr.getDouble(edge, axis) + along * in.r().getDouble(edge, axis);
          forces[3 * source[edge] + axis] -= slope;
          forces[3 * destination[edge] + axis] += slope;
        }
      }
      return forces;
    }

    /** The slope of a radial function at the length of an edge, over that length. */
    private double radialSlope(double[] parameters, int edge, int channel) {
      double sum = 0;
      for (int q = 0; q < WAVES; q++) {
        sum += parameters[share(channel, q)] * slopes[edge * WAVES + q];
      }
      return sum;
    }

    /**
     * The sum of the squares of all errors of forces, and of energies times a weight.
     *
     * @param energyWeight how much an energy counts beside a component of a force
     * @param gradient receives the gradient by the parameters
     */
    double loss(double[] parameters, double energyWeight, double[] gradient) {
      gather(parameters);
      double loss = 0;
      double[] energies = energies();
      for (int i = 0; i < energies.length; i++) {
        energies[i] = energyWeight * (energies[i] - clusters.get(i).energy());
        loss += energies[i] * energies[i];
      }
      double[] errors = forces(parameters, ones);
      int place = 0;
      for (Cluster cluster : clusters) {
        for (double force : cluster.forces()) {
          errors[place] -= force;
          loss += errors[place] * errors[place];
          place++;
        }
      }
      // Energies: the slopes of the loss by them, back through the powers.
      for (int atom = 0; atom < atoms; atom++) {
        for (int c = 0; c < CHANNELS; c++) {
          set(g, (long) atom * CHANNELS + c, 2 * energyWeight * energies[clusterOf[atom]]);
        }
      }
      powers.backward(features, species, w, g, gx, gw, workspace);
      Arrays.fill(gradient, 0);
      addWeights(gradient);
      // Forces: the loss changes as the energy does when each atom moves by -2 times its error.
      for (int edge = 0; edge < source.length; edge++) {
        double along = 0;
        for (int axis = 0; axis < 3; axis++) {
          double move =
              -2 * (errors[3 * source[edge] + axis] - errors[3 * destination[edge] + axis]);
          moves.setDouble(move, edge, axis);
          along += move * in.r().getDouble(edge, axis);
        }
        alongs[edge] = along;
        for (int c = 0; c < CHANNELS; c++) {
          long at = (long) edge * CHANNELS + c;
          set(scaleMoves, at, along * radialSlope(parameters, edge, c));
        }
      }
      convolution.secondGradients(
          edges,
          in,
          gfeatures,
          new ConvolutionGradients(null, moves, null, scaleMoves),
          new ConvolutionGradients(null, null, null, gsecond),
          moved,
          workspace);
      profile(moved);
      powers.secondGradients(
          features, species, w, ones, moved, null, gxSecond, gw, null, workspace);
      addWeights(gradient);
      for (long at = 0; at < gx.size(); at++) {
        set(gx, at, get(gx, at) + get(gxSecond, at));
      }
      profile(gx);
      convolution.backward(
          edges, in, gx, new ConvolutionGradients(null, null, null, gfirst), workspace);
      addShares(gradient);
      return loss;
    }

    private void addWeights(double[] gradient) {
      for (int i = 0; i < ORDER * CHANNELS; i++) {
        gradient[i] += get(gw, i);
      }
    }

    /** Radial functions set the scales of edges, and how these change when atoms move. */
    private void addShares(double[] gradient) {
      for (int edge = 0; edge < source.length; edge++) {
        for (int c = 0; c < CHANNELS; c++) {
          long at = (long) edge * CHANNELS + c;
          double value = get(gfirst, at) + get(gsecond, at);
          double slope = alongs[edge] * get(gscales, at);
          for (int q = 0; q < WAVES; q++) {
            int wave = edge * WAVES + q;
            gradient[share(c, q)] += value * waves[wave] + slope * slopes[wave];
          }
        }
      }
    }
  }

  /** A wave over the distance, faded out. */
  private static double wave(int number, double distance) {
    return Cluster.fade(distance) * Math.cos(frequency(number) * distance);
  }

  private static double waveSlope(int number, double distance) {
    double angle = frequency(number) * distance;
    return Cluster.fadeSlope(distance) * Math.cos(angle)
        - Cluster.fade(distance) * frequency(number) * Math.sin(angle);
  }

  private static double frequency(int number) {
    return number * Math.PI / Cluster.REACH;
  }
}

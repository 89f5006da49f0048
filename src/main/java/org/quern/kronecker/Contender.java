package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.quern.kronecker.net.DenseLayer;
import org.quern.kronecker.net.Network;
import org.quern.kronecker.optim.Adam;
import org.quern.kronecker.optim.BackEnd;
import org.quern.kronecker.optim.Mkor;
import org.quern.kronecker.optim.MkorBuilder;
import org.quern.kronecker.optim.MkorLayer;
import org.quern.kronecker.optim.Sgd;
import org.quern.kronecker.optim.Stabilizer;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** The ways to train that the tour compares; all but Adam hand their step to the same descent. */
enum Contender {
  SGD("SGD") {
    @Override
    Optimizer create(Arena arena, Network network, Tier tier) {
      return new Factored(arena, network, tier, firstOrder(DESCENT));
    }
  },
  ADAM("Adam") {
    @Override
    Optimizer create(Arena arena, Network network, Tier tier) {
      return new Factored(arena, network, tier, firstOrder(new Adam()));
    }
  },
  EVA("Eva") {
    @Override
    Optimizer create(Arena arena, Network network, Tier tier) {
      return new RankOne(arena, network, tier);
    }
  },
  MKOR("MKOR") {
    @Override
    Optimizer create(Arena arena, Network network, Tier tier) {
      return new Factored(
          arena, network, tier, factored().rule(UpdateRule.CODE).storage(Storage.symmetricTiles()));
    }
  },
  EXACT("MKOR, exact rule") {
    @Override
    Optimizer create(Arena arena, Network network, Tier tier) {
      return new Factored(
          arena,
          network,
          tier,
          factored()
              .rule(UpdateRule.EXACT)
              .storage(Storage.symmetricTiles())
              .stabilizer(new Stabilizer(Stabilizer.Norm.MAX_ABS, Stabilizer.Mode.BLEND, 2, 0.9)));
    }
  },
  LOW_RANK("MKOR, low rank") {
    @Override
    Optimizer create(Arena arena, Network network, Tier tier) {
      return new Factored(
          arena, network, tier, factored().rule(UpdateRule.CODE).storage(Storage.lowRank(32, 0.1)));
    }
  };

  private static final BackEnd DESCENT = new Sgd(0.9);

  /** The name for the eye. */
  final String label;

  Contender(String label) {
    this.label = label;
  }

  /** Whether it is one of the family's own, of which more is expected than of the others. */
  boolean isMkor() {
    return this == MKOR || this == EXACT || this == LOW_RANK;
  }

  /** An optimizer for the layers of a network, whose memory may come from the arena. */
  abstract Optimizer create(Arena arena, Network network, Tier tier);

  private static MkorBuilder factored() {
    return Mkor.builder().backEnd(DESCENT);
  }

  private static MkorBuilder firstOrder(BackEnd backEnd) {
    return Mkor.builder().backEnd(backEnd).exclude("");
  }

  /** Changes the weights of a network by its gradients. */
  interface Optimizer extends AutoCloseable {
    void step(double rate);

    @Override
    void close();
  }

  /** The vectors of a layer: the mean of its inputs with a 1 behind, and the bias's gradient. */
  private static final class Capture {
    final DenseLayer layer;
    final Tensor a;
    private final ColumnMeans means;

    Capture(Arena arena, DenseLayer layer, Tier tier) {
      int inputs = (int) layer.input().dim(1);
      this.layer = layer;
      this.a = Tensor.allocate(arena, DType.F32, inputs + 1);
      this.means = ColumnMeans.create(arena, inputs, 1, tier);
    }

    void take() {
      means.reset();
      means.add(layer.input());
      means.mean(a);
    }

    static List<Capture> all(Arena arena, Network network, Tier tier) {
      return network.layers().stream().map(layer -> new Capture(arena, layer, tier)).toList();
    }
  }

  /** MKOR, or where all layers are excluded its back end alone. */
  private static final class Factored implements Optimizer {
    private final Mkor mkor;
    private final List<Capture> captures;
    private final List<MkorLayer> layers = new ArrayList<>();

    Factored(Arena arena, Network network, Tier tier, MkorBuilder settings) {
      mkor = settings.tier(tier).build();
      captures = Capture.all(arena, network, tier);
      for (int k = 0; k < captures.size(); k++) {
        DenseLayer layer = captures.get(k).layer;
        MkorLayer bound =
            mkor.layer(
                "layer" + k, (int) layer.weights().dim(0), (int) layer.weights().dim(1), true);
        bound.bind(layer.weights(), layer.bias(), layer.weightGradient(), layer.biasGradient());
        layers.add(bound);
      }
    }

    @Override
    public void step(double rate) {
      if (mkor.isRefresh()) {
        for (int k = 0; k < layers.size(); k++) {
          if (layers.get(k).isPreconditioned()) {
            Capture capture = captures.get(k);
            capture.take();
            layers.get(k).observe(capture.a, capture.layer.biasGradient());
          }
        }
      }
      mkor.step(rate);
    }

    @Override
    public void close() {
      mkor.close();
    }
  }

  /** Eva with the settings of its released program, which takes new vectors at every step. */
  private static final class RankOne implements Optimizer {
    private final Eva eva;
    private final List<Capture> captures;
    private final List<EvaLayer> layers = new ArrayList<>();
    private final List<Tensor> means = new ArrayList<>();
    private final Factored descent;

    RankOne(Arena arena, Network network, Tier tier) {
      eva = Eva.builder().tier(tier).build();
      captures = Capture.all(arena, network, tier);
      for (int k = 0; k < captures.size(); k++) {
        Tensor weights = captures.get(k).layer.weights();
        layers.add(eva.layer("layer" + k, (int) weights.dim(0), (int) weights.dim(1), true));
        means.add(Tensor.allocate(arena, DType.F32, weights.dim(0)));
      }
      descent = new Factored(arena, network, tier, firstOrder(DESCENT));
    }

    @Override
    public void step(double rate) {
      for (int k = 0; k < layers.size(); k++) {
        Capture capture = captures.get(k);
        DenseLayer layer = capture.layer;
        capture.take();
        mean(layer.biasGradient(), layer.input().dim(0), means.get(k));
        layers.get(k).observe(capture.a, means.get(k));
        layers.get(k).prepare(layer.weightGradient(), layer.biasGradient());
      }
      double nu = eva.scale(rate);
      for (int k = 0; k < layers.size(); k++) {
        DenseLayer layer = captures.get(k).layer;
        layers.get(k).apply(layer.weightGradient(), layer.biasGradient(), nu);
      }
      descent.step(rate);
    }

    /** The mean over the rows of a gradient that is their sum. */
    private static void mean(Tensor sum, long rows, Tensor mean) {
      for (long i = 0; i < sum.size(); i++) {
        mean.setDouble(sum.getDouble(i) / rows, i);
      }
    }

    @Override
    public void close() {
      descent.close();
    }
  }
}

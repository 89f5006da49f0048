package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.kronecker.net.Activation;
import org.quern.kronecker.net.Loss;
import org.quern.kronecker.net.Network;
import org.quern.random.Philox;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Trains a classifier of {@link ShapeImages} from scratch on one thread. Every run starts from the
 * same weights and sees the same batches, so that runs differ by the optimizer and its rate alone.
 */
final class TrainingRun {
  static final int[] WIDTHS = {ShapeImages.PIXELS, 128, 64, ShapeImages.KINDS};

  private static final int BATCH = 128;
  private static final int IMAGES = 4096;
  private static final int UNSEEN = 1024;
  private static final long SEED = 20230606;
  private static final long ORDER_SEED = 1;

  /** Above this many times the first loss a run is given up. */
  private static final double DIVERGED = 100;

  private TrainingRun() {}

  /** Images with their kinds: those to learn from, then those to be tested with. */
  record Images(Tensor pixels, Tensor kinds) {
    static Images draw(Arena arena) {
      int count = IMAGES + UNSEEN;
      Tensor pixels = Tensor.allocate(arena, DType.F32, count, ShapeImages.PIXELS);
      Tensor kinds = Tensor.allocate(arena, DType.F32, count, ShapeImages.KINDS);
      for (int k = 0; k < count; k++) {
        ShapeImages.draw(SEED, k, pixels.row(k), kinds.row(k));
      }
      return new Images(pixels, kinds);
    }

    void copy(int image, Network network, int row) {
      copyRow(pixels, image, network.input(), row);
      copyRow(kinds, image, network.target(), row);
    }

    private static void copyRow(Tensor from, int row, Tensor to, int target) {
      long bytes = from.rowLength() * Float.BYTES;
      MemorySegment.copy(from.memory(), row * bytes, to.memory(), target * bytes, bytes);
    }
  }

  /** What a run gave. */
  static final class Result {
    private final double[] losses;
    private final double[] seconds;
    private final double accuracy;

    Result(double[] losses, double[] seconds, double accuracy) {
      this.losses = losses;
      this.seconds = seconds;
      this.accuracy = accuracy;
    }

    /** Training loss of a step, of its batch before it; infinity from where the run diverged. */
    double loss(int step) {
      return losses[step];
    }

    /** True where another run had the same losses, bit for bit. */
    boolean repeats(Result other) {
      return Arrays.equals(losses, other.losses);
    }

    /** Time of a step: forward and backward pass and optimizer. */
    double seconds(int step) {
      return seconds[step];
    }

    /** The same run with other times. */
    Result timed(double[] others) {
      return new Result(losses, others, accuracy);
    }

    /** Share of the unseen images whose kind the network tells at the end. */
    double accuracy() {
      return accuracy;
    }

    /** Mean loss of the last {@code n} steps up to and including one, or of all up to it. */
    double smoothed(int step, int n) {
      int from = Math.max(0, step + 1 - n);
      return Arrays.stream(losses, from, step + 1).sum() / (step + 1 - from);
    }

    /** Time of all steps up to and including one. */
    double secondsUntil(int step) {
      return Arrays.stream(seconds, 0, step + 1).sum();
    }
  }

  static Result train(Images images, Contender contender, double rate, int steps, Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      Network network =
          Network.create(arena, WIDTHS, BATCH, Activation.RELU, Loss.CROSS_ENTROPY, 1, tier);
      network.initialize(SEED);
      double[] losses = new double[steps];
      double[] seconds = new double[steps];
      Arrays.fill(losses, Double.POSITIVE_INFINITY);
      try (Contender.Optimizer optimizer = contender.create(arena, network, tier)) {
        for (int step = 0; step < steps; step++) {
          Philox order = new Philox(ORDER_SEED, step);
          for (int row = 0; row < BATCH; row++) {
            images.copy(order.nextInt(IMAGES), network, row);
          }
          long start = System.nanoTime();
          double loss = network.forward();
          if (!(loss <= DIVERGED * (step == 0 ? loss : losses[0]))) {
            return new Result(losses, seconds, 0);
          }
          losses[step] = loss;
          network.backward();
          optimizer.step(rate);
          seconds[step] = (System.nanoTime() - start) * 1e-9;
        }
      }
      return new Result(losses, seconds, accuracy(images, network));
    }
  }

  private static double accuracy(Images images, Network network) {
    int right = 0;
    for (int first = 0; first < UNSEEN; first += BATCH) {
      for (int row = 0; row < BATCH; row++) {
        images.copy(IMAGES + first + row, network, row);
      }
      network.forward();
      for (int row = 0; row < BATCH; row++) {
        right += largest(network.output(), row) == largest(network.target(), row) ? 1 : 0;
      }
    }
    return (double) right / UNSEEN;
  }

  private static int largest(Tensor matrix, int row) {
    int best = 0;
    for (int k = 1; k < ShapeImages.KINDS; k++) {
      best = get(matrix, row, k) > get(matrix, row, best) ? k : best;
    }
    return best;
  }

  private static float get(Tensor matrix, int row, int column) {
    return matrix.memory().getAtIndex(JAVA_FLOAT, row * matrix.rowStride() + column);
  }
}

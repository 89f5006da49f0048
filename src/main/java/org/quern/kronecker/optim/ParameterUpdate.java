package org.quern.kronecker.optim;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** The moments of one array of parameters, a weight or a bias, and the back end's work on it. */
final class ParameterUpdate {
  private final BackEnd backEnd;
  private final UpdateKernels kernels;
  private final List<Tensor> moments;
  private final MemorySegment first;
  private final MemorySegment second;
  private final Coefficients coefficients = new Coefficients();

  /** Of the second sweep of {@link Lamb}. */
  private final Coefficients finish = new Coefficients();

  private final MemorySegment lanes;
  private final double[] norms = new double[2];

  ParameterUpdate(Arena arena, BackEnd backEnd, UpdateKernels kernels, long... shape) {
    this.backEnd = backEnd;
    this.kernels = kernels;
    Tensor[] tensors = new Tensor[backEnd.moments()];
    for (int i = 0; i < tensors.length; i++) {
      tensors[i] = Tensor.allocate(arena, DType.F32, shape);
    }
    moments = List.of(tensors);
    lanes = arena.allocate(UpdateKernels.LANES_BYTES, Tensor.ALIGNMENT);
    first = tensors.length > 0 ? tensors[0].memory() : MemorySegment.NULL;
    second = tensors.length > 1 ? tensors[1].memory() : MemorySegment.NULL;
  }

  /** The moments, for checkpoints. */
  List<Tensor> moments() {
    return moments;
  }

  /**
   * Starts an update.
   *
   * @param lr learning rate
   * @param nu by what the gradient is multiplied
   * @param decay weight decay
   * @param count number of this update, from 1
   */
  void begin(double lr, double nu, double decay, long count) {
    Coefficients c = coefficients;
    c.nu = (float) nu;
    c.rate = (float) lr;
    c.decay = (float) decay;
    switch (backEnd) {
      case Sgd sgd -> {
        c.beta1 = (float) sgd.momentum();
        c.nesterov = sgd.nesterov();
      }
      case Adam adam -> {
        moments(adam.beta1(), adam.beta2(), adam.epsilon());
        c.rate = (float) (lr / (1 - Math.pow(adam.beta1(), (double) count)));
        c.correction = (float) (1 / Math.sqrt(1 - Math.pow(adam.beta2(), (double) count)));
        if (adam.decoupled()) {
          c.keep = (float) (1 - lr * decay);
          c.decay = 0;
        }
      }
      case Lamb lamb -> {
        moments(lamb.beta1(), lamb.beta2(), lamb.epsilon());
        norms[0] = 0;
        norms[1] = 0;
      }
    }
  }

  private void moments(double beta1, double beta2, double epsilon) {
    coefficients.beta1 = (float) beta1;
    coefficients.rest1 = (float) (1 - beta1);
    coefficients.beta2 = (float) beta2;
    coefficients.rest2 = (float) (1 - beta2);
    coefficients.epsilon = (float) epsilon;
  }

  /**
   * Updates a run of n parameters.
   *
   * @param element number of its first parameter, in the order of rows
   */
  void run(MemorySegment w, long wAt, MemorySegment g, long gAt, long element, int n) {
    long at = Float.BYTES * element;
    switch (backEnd) {
      case Sgd sgd -> {
        if (sgd.momentum() == 0) {
          kernels.descend(coefficients, w, wAt, g, gAt, n);
        } else {
          kernels.momentum(coefficients, w, wAt, g, gAt, first, at, n);
        }
      }
      case Adam adam -> kernels.adam(coefficients, w, wAt, g, gAt, first, at, second, at, n);
      case Lamb lamb ->
          kernels.lambDirection(
              coefficients, w, wAt, g, gAt, first, at, second, at, n, lanes, norms);
    }
  }

  /** Ends the first sweep; true where {@link #finish} has to sweep again. */
  boolean needsFinish() {
    if (backEnd instanceof Lamb lamb) {
      double weight = Math.min(Math.sqrt(norms[0]), lamb.maxNorm());
      double direction = Math.sqrt(norms[1]);
      double ratio = weight == 0 || direction == 0 ? 1 : weight / direction;
      finish.rate = (float) (coefficients.rate * ratio);
      return true;
    }
    return false;
  }

  /** The second sweep over a run: moves the weights and zeroes the gradient. */
  void finish(MemorySegment w, long wAt, MemorySegment g, long gAt, int n) {
    kernels.descend(finish, w, wAt, g, gAt, n);
  }
}

package org.quern.kronecker.optim;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;
import org.quern.kronecker.InverseFactor;
import org.quern.kronecker.Preconditioner;
import org.quern.kronecker.Storage;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The two factors of a layer, the vectors that they take next, and the counters of what happened.
 */
final class Factors {
  private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private final String layer;
  private final Settings settings;
  final InverseFactor left;
  final InverseFactor right;
  final Preconditioner preconditioner;
  final Tensor a;
  final Tensor g;

  /** Whether the next vectors are the first, which as released only set the factors to I. */
  boolean fresh = true;

  private boolean seen;
  private boolean discarded;
  final FactorCounters counters;

  Factors(Arena arena, Settings settings, MkorLayer layer, FactorCounters counters) {
    this.layer = layer.name();
    this.settings = settings;
    this.counters = counters;
    left = factor(arena, settings, layer.outputs(), layer.leftStorage());
    right = factor(arena, settings, layer.inputs(), layer.rightStorage());
    preconditioner =
        Preconditioner.create(
            arena,
            left,
            right,
            layer.hasBias(),
            settings.rescale(),
            settings.threads(),
            settings.tier());
    a = Tensor.allocate(arena, DType.F32, layer.inputs());
    g = Tensor.allocate(arena, DType.F32, layer.outputs());
  }

  private static InverseFactor factor(Arena arena, Settings settings, int d, Storage storage) {
    return InverseFactor.create(
        arena, d, storage, settings.rule(), settings.gamma(), 1, settings.tier());
  }

  /** Takes over what was observed, and nothing where that is nothing. */
  void take(@Nullable Observation observation) {
    seen = observation != null;
    if (observation == null) {
      counters.unseen++;
      return;
    }
    observation.input(a, settings.clip());
    observation.output(g, settings.clip());
    arrived();
  }

  /** {@link #a} and {@link #g} have been written. */
  void arrived() {
    seen = true;
    if (settings.strict()) {
      requireFinite("a", a);
      requireFinite("g", g);
    }
    discarded = fresh && !settings.applyFirst();
  }

  /** Forgets vectors that were taken but not applied. */
  void abandon() {
    seen = false;
  }

  private void requireFinite(String name, Tensor vector) {
    for (int i = 0; i < vector.size(); i++) {
      float value = vector.memory().get(F32, 4L * i);
      if (!Float.isFinite(value)) {
        throw new ArithmeticException(
            "layer "
                + layer
                + ": vector "
                + name
                + ": expected finite elements, got "
                + value
                + " at "
                + i);
      }
    }
  }

  void updateRight() {
    update(right, a);
  }

  void updateLeft() {
    update(left, g);
  }

  private void update(InverseFactor factor, Tensor vector) {
    if (!seen) {
      return;
    }
    if (discarded) {
      factor.reset();
      return;
    }
    switch (factor.update(vector)) {
      case APPLIED -> counters.updates++;
      case SKIPPED -> counters.skipped++;
      case RESET -> counters.resets++;
    }
  }

  /** Leads both factors back where one of them is too large; the end of a refresh. */
  void stabilize() {
    Stabilizer stabilizer = settings.stabilizer();
    if (seen
        && !discarded
        && stabilizer.canFire(settings.rule())
        && (stabilizer.isAbove(right) || stabilizer.isAbove(left))) {
      stabilizer.leadBack(right);
      stabilizer.leadBack(left);
      counters.stabilized++;
    }
    fresh &= !seen;
    seen = false;
  }

  /** nu of a gradient, with P ready to be applied; counts what could not be. */
  double prepare(Tensor dw, @Nullable Tensor db) {
    double nu = preconditioner.prepare(dw, db);
    switch (preconditioner.outcome()) {
      case APPLIED -> {}
      case NOT_FINITE -> counters.notFinite++;
      case VANISHED -> counters.vanished++;
    }
    return nu;
  }
}

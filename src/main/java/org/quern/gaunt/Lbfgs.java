package org.quern.gaunt;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;

/**
 * Minimizes a smooth function by the quasi-Newton method of limited memory: two-loop recursion over
 * the last changes, steps halved until the function falls. Source: Nocedal and Wright, "Numerical
 * optimization", 2006, algorithms 7.4, 7.5 and 3.1.
 */
final class Lbfgs {
  private static final int MEMORY = 20;
  private static final int HALVINGS = 20;
  private static final double ENOUGH = 1e-4;

  /** What is minimized. */
  interface Objective {
    /** The value at x, and its gradient. */
    double evaluate(double[] x, double[] gradient);
  }

  /** A step that was taken, and by what the gradient changed. */
  private static final class Change {
    final double[] step;
    final double[] turn;
    final double curvature;

    Change(double[] step, double[] turn, double curvature) {
      this.step = step;
      this.turn = turn;
      this.curvature = curvature;
    }
  }

  private final Objective objective;
  private final Deque<Change> changes = new ArrayDeque<>();
  private double[] x;
  private double[] gradient;
  private double value;

  /** Starts at a point. */
  Lbfgs(Objective objective, double[] start) {
    this.objective = objective;
    x = start.clone();
    gradient = new double[x.length];
    value = objective.evaluate(x, gradient);
  }

  /** Where it has come to. */
  double[] x() {
    return x.clone();
  }

  /** The value there. */
  double value() {
    return value;
  }

  /** One step; false where none makes the value smaller. */
  boolean step() {
    double[] direction = direction();
    double slope = dot(direction, gradient);
    // The first step has no curvature to go by.
    double length = changes.isEmpty() ? 1 / Math.sqrt(dot(gradient, gradient)) : 1;
    double[] next = new double[x.length];
    double[] nextGradient = new double[x.length];
    for (int halving = 0; halving < HALVINGS; halving++, length /= 2) {
      for (int i = 0; i < x.length; i++) {
        next[i] = x[i] + length * direction[i];
      }
      double nextValue = objective.evaluate(next, nextGradient);
      if (nextValue <= value + ENOUGH * length * slope) {
        remember(next, nextGradient);
        x = next;
        gradient = nextGradient;
        value = nextValue;
        return true;
      }
    }
    return false;
  }

  private void remember(double[] next, double[] nextGradient) {
    double[] step = new double[x.length];
    double[] turn = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      step[i] = next[i] - x[i];
      turn[i] = nextGradient[i] - gradient[i];
    }
    double curvature = dot(step, turn);
    if (curvature > 0) {
      changes.addLast(new Change(step, turn, curvature));
      if (changes.size() > MEMORY) {
        changes.removeFirst();
      }
    }
  }

  private double[] direction() {
    double[] direction = gradient.clone();
    double[] shares = new double[changes.size()];
    int i = shares.length;
    for (Iterator<Change> all = changes.descendingIterator(); all.hasNext(); ) {
      Change change = all.next();
      shares[--i] = dot(change.step, direction) / change.curvature;
      add(direction, -shares[i], change.turn);
    }
    if (!changes.isEmpty()) {
      Change last = changes.getLast();
      double scale = last.curvature / dot(last.turn, last.turn);
      for (int j = 0; j < direction.length; j++) {
        direction[j] *= scale;
      }
    }
    for (Change change : changes) {
      double share = dot(change.turn, direction) / change.curvature;
      add(direction, shares[i++] - share, change.step);
    }
    for (int j = 0; j < direction.length; j++) {
      direction[j] = -direction[j];
    }
    return direction;
  }

  private static void add(double[] to, double factor, double[] terms) {
    for (int i = 0; i < to.length; i++) {
      to[i] += factor * terms[i];
    }
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }
}

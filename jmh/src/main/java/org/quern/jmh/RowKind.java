package org.quern.jmh;

import java.util.Arrays;
import java.util.random.RandomGenerator;

/** Rows of weights and gradients: ordinary ones, and such that are hard for a selection. */
public enum RowKind {
  /** Normal weights, log-normal gradients: what trained layers look like. */
  GAUSSIAN,
  /** Equal operands everywhere. */
  CONSTANT,
  /** Weights ascending along the row. */
  SORTED,
  /** Two weights in random order. */
  TWO_VALUED,
  /** Weights over many orders of magnitude. */
  HEAVY_TAILED,
  /** Weights of zero. */
  ZERO,
  /** Weights below the smallest normal number. */
  DENORMAL,
  /** Different operands with one and the same GBLM score. */
  TIES,
  /** Normal weights whose scale jumps from row to row. */
  JUMPING;

  private static final float SCALE = 0x1p-6f;

  /** Column norms that keep the kind: log-normal for ordinary rows, else 1. */
  void fillNorms(float[] norms, RandomGenerator random) {
    Arrays.fill(norms, 1);
    if (this == GAUSSIAN || this == JUMPING) {
      fillLogNormal(norms, random);
    }
  }

  /** Fills one row of weights and one of gradients. */
  void fill(float[] weights, float[] gradients, RandomGenerator random) {
    Arrays.fill(gradients, 1);
    switch (this) {
      case GAUSSIAN -> {
        fillNormal(weights, SCALE, random);
        fillLogNormal(gradients, random);
      }
      case CONSTANT -> Arrays.fill(weights, SCALE);
      case SORTED -> {
        fillNormal(weights, SCALE, random);
        Arrays.sort(weights);
      }
      case TWO_VALUED -> {
        for (int j = 0; j < weights.length; j++) {
          weights[j] = random.nextBoolean() ? SCALE : -2 * SCALE;
        }
      }
      case HEAVY_TAILED -> {
        for (int j = 0; j < weights.length; j++) {
          weights[j] = SCALE * (float) Math.exp(6 * random.nextGaussian());
        }
      }
      case ZERO -> Arrays.fill(weights, 0);
      case DENORMAL -> fillNormal(weights, 0x1p-132f, random);
      case TIES -> {
        // |w| (1 + g) = 4 SCALE, exactly: powers of two.
        for (int j = 0; j < weights.length; j++) {
          int shift = random.nextInt(3);
          weights[j] = (random.nextBoolean() ? SCALE : -SCALE) / (1 << shift);
          gradients[j] = (4 << shift) - 1;
        }
      }
      case JUMPING -> {
        fillNormal(weights, SCALE * (float) Math.exp(3 * random.nextGaussian()), random);
        fillLogNormal(gradients, random);
      }
    }
  }

  private static void fillNormal(float[] values, float scale, RandomGenerator random) {
    for (int j = 0; j < values.length; j++) {
      values[j] = scale * (float) random.nextGaussian();
    }
  }

  private static void fillLogNormal(float[] values, RandomGenerator random) {
    for (int j = 0; j < values.length; j++) {
      values[j] = (float) Math.exp(random.nextGaussian());
    }
  }
}

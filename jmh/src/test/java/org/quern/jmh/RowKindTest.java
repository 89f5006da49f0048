package org.quern.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class RowKindTest {
  private static final int N = 1000;

  private final float[] weights = new float[N];
  private final float[] gradients = new float[N];
  private final float[] norms = new float[N];

  @ParameterizedTest
  @EnumSource
  void operandsAreFinite(RowKind kind) {
    fill(kind);
    for (int j = 0; j < N; j++) {
      assertTrue(Float.isFinite(weights[j]) && Float.isFinite(gradients[j]), kind.name());
      assertTrue(Float.isFinite(norms[j]) && norms[j] > 0, kind.name());
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"CONSTANT", "ZERO", "TIES"})
  void allScoresAreEqual(RowKind kind) {
    fill(kind);
    assertEquals(1, scores().size());
  }

  @Test
  void tiesComeFromDifferentWeights() {
    fill(RowKind.TIES);
    Set<Float> sizes = new HashSet<>();
    for (float weight : weights) {
      sizes.add(Math.abs(weight));
    }
    assertEquals(3, sizes.size());
  }

  @Test
  void twoValuedHasTwoScores() {
    fill(RowKind.TWO_VALUED);
    assertEquals(2, scores().size());
  }

  @Test
  void sortedAscends() {
    fill(RowKind.SORTED);
    for (int j = 1; j < N; j++) {
      assertTrue(weights[j - 1] <= weights[j]);
    }
  }

  @Test
  void denormalsAreBelowTheSmallestNormal() {
    fill(RowKind.DENORMAL);
    int zeros = 0;
    for (float weight : weights) {
      assertTrue(Math.abs(weight) < Float.MIN_NORMAL);
      zeros += weight == 0 ? 1 : 0;
    }
    assertTrue(zeros < N / 100);
  }

  private void fill(RowKind kind) {
    kind.fill(weights, gradients, new SplittableRandom(7));
    kind.fillNorms(norms, new SplittableRandom(7));
  }

  private Set<Float> scores() {
    Set<Float> scores = new HashSet<>();
    for (int j = 0; j < N; j++) {
      float size = Math.abs(weights[j]);
      scores.add(size * norms[j] + size * Math.abs(gradients[j]));
    }
    return scores;
  }
}

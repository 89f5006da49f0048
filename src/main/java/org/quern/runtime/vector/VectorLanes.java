package org.quern.runtime.vector;

import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * Sums over the lanes of one vector, of the preferred species, in a fixed order: the upper half is
 * added to the lower, until one lane is left. {@code reduceLanes(ADD)} leaves the order open, and
 * code that C2 has compiled takes another one than code that it has not, so that results would
 * change while a program warms up.
 */
public final class VectorLanes {
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Double> D = DoubleVector.SPECIES_PREFERRED;
  private static final int FLOATS = F.length();
  private static final int DOUBLES = D.length();

  // Lane i takes lane i + n, around the end.
  private static final VectorShuffle<Float> FLOAT_8 = VectorShuffle.iota(F, 8, 1, true);
  private static final VectorShuffle<Float> FLOAT_4 = VectorShuffle.iota(F, 4, 1, true);
  private static final VectorShuffle<Float> FLOAT_2 = VectorShuffle.iota(F, 2, 1, true);
  private static final VectorShuffle<Double> DOUBLE_4 = VectorShuffle.iota(D, 4, 1, true);
  private static final VectorShuffle<Double> DOUBLE_2 = VectorShuffle.iota(D, 2, 1, true);

  private VectorLanes() {}

  /** The sum of the lanes. */
  public static float sum(FloatVector x) {
    FloatVector y = x;
    if (FLOATS >= 16) {
      y = y.add(y.rearrange(FLOAT_8));
    }
    if (FLOATS >= 8) {
      y = y.add(y.rearrange(FLOAT_4));
    }
    if (FLOATS >= 4) {
      y = y.add(y.rearrange(FLOAT_2));
    }
    return y.lane(0) + y.lane(1);
  }

  /** The sum of the lanes. */
  public static double sum(DoubleVector x) {
    DoubleVector y = x;
    if (DOUBLES >= 8) {
      y = y.add(y.rearrange(DOUBLE_4));
    }
    if (DOUBLES >= 4) {
      y = y.add(y.rearrange(DOUBLE_2));
    }
    return y.lane(0) + y.lane(1);
  }
}

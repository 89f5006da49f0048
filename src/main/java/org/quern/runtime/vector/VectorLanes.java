package org.quern.runtime.vector;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
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
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
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

  /**
   * The sum of the floats that one vector has left in memory, in their order and in double. For
   * sums within what ends up in a large method, where the compiler inlines only what the Vector API
   * marks for it, and a vector that is passed on becomes an object.
   *
   * @param base what {@link org.quern.runtime.NativeViews#base} gives
   * @param at where the first is
   * @param lanes how many they are
   */
  public static double sum(MemorySegment base, long at, int lanes) {
    double sum = 0;
    for (int i = 0; i < lanes; i++) {
      sum += base.get(FLOAT, at + (long) Float.BYTES * i);
    }
    return sum;
  }

  // The compiler inlines a call that is seldom made, such as one after a loop, only below 35 bytes
  // of bytecode; where it does not, the vector becomes an object. So every method here is shorter.

  /** The sum of the lanes. */
  public static float sum(FloatVector x) {
    return addTwo(addFour(addEight(x)));
  }

  /** The sum of the lanes. */
  public static double sum(DoubleVector x) {
    return addTwo(addFour(x));
  }

  private static FloatVector addEight(FloatVector x) {
    return FLOATS >= 16 ? x.add(x.rearrange(FLOAT_8)) : x;
  }

  private static FloatVector addFour(FloatVector x) {
    return FLOATS >= 8 ? x.add(x.rearrange(FLOAT_4)) : x;
  }

  private static float addTwo(FloatVector x) {
    FloatVector y = FLOATS >= 4 ? x.add(x.rearrange(FLOAT_2)) : x;
    return y.lane(0) + y.lane(1);
  }

  private static DoubleVector addFour(DoubleVector x) {
    return DOUBLES >= 8 ? x.add(x.rearrange(DOUBLE_4)) : x;
  }

  private static double addTwo(DoubleVector x) {
    DoubleVector y = DOUBLES >= 4 ? x.add(x.rearrange(DOUBLE_2)) : x;
    return y.lane(0) + y.lane(1);
  }
}

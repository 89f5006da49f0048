package org.quern.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.ChildJvm;
import org.quern.runtime.Tier;

/** Conversions against exact rational rounding, once per tier that the machine has. */
class ConversionsContractTest {
  private static final DType[] NARROW = {DType.F16, DType.BF16};

  static EnumSet<Tier> tiers() {
    EnumSet<Tier> tiers = EnumSet.of(Tier.SCALAR, Tier.VECTOR);
    tiers.retainAll(Capabilities.get().available());
    return tiers;
  }

  /** The value of a 16-bit pattern, by the definition of the format. */
  private static double decode(DType type, int pattern) {
    int fractionBits = type == DType.F16 ? 10 : 7;
    int bias = type == DType.F16 ? 15 : 127;
    int magnitude = pattern & 0x7fff;
    int exponent = magnitude >>> fractionBits;
    int fraction = magnitude & (1 << fractionBits) - 1;
    double value;
    if (exponent == 2 * bias + 1) {
      value = fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
    } else if (exponent == 0) {
      value = Math.scalb((double) fraction, 1 - bias - fractionBits);
    } else {
      value = Math.scalb((double) (fraction + (1 << fractionBits)), exponent - bias - fractionBits);
    }
    return pattern >= 0x8000 ? -value : value;
  }

  private static int infinity(DType type) {
    return type == DType.F16 ? 0x7c00 : 0x7f80;
  }

  /** The pattern nearest to an exact finite value, ties to even, found by bisection. */
  private static int nearest(DType type, BigDecimal exact, boolean negative) {
    BigDecimal target = exact.abs();
    int low = 0;
    int high = infinity(type);
    while (high - low > 1) {
      int middle = (low + high) >>> 1;
      if (value(type, middle).compareTo(target) <= 0) {
        low = middle;
      } else {
        high = middle;
      }
    }
    BigDecimal twice = target.add(target);
    int order = twice.compareTo(value(type, low).add(value(type, high)));
    int magnitude = order < 0 || (order == 0 && low % 2 == 0) ? low : high;
    return negative ? magnitude | 0x8000 : magnitude;
  }

  /** For infinity the value that the next binade would start with, as rounding treats it. */
  private static BigDecimal value(DType type, int magnitude) {
    return magnitude == infinity(type)
        ? new BigDecimal(2).pow(type == DType.F16 ? 16 : 128)
        : new BigDecimal(decode(type, magnitude));
  }

  private static int quiet(DType type, int nan) {
    return nan | (type == DType.F16 ? 0x200 : 0x40);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void everyPatternDecodesExactlyAndComesBack(Tier tier) {
    int n = 1 << 16;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment narrow = arena.allocate(2L * n, 64);
      MemorySegment wide = arena.allocate(4L * n, 64);
      MemorySegment back = arena.allocate(2L * n, 64);
      for (int i = 0; i < n; i++) {
        narrow.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) i);
      }
      for (DType type : NARROW) {
        Conversions.toFloat(tier, narrow, 0, type, wide, 0, n);
        Conversions.fromFloat(tier, wide, 0, back, 0, type, n);
        for (int i = 0; i < n; i++) {
          float actual = wide.getAtIndex(ValueLayout.JAVA_FLOAT, i);
          double expected = decode(type, i);
          int returned = back.getAtIndex(ValueLayout.JAVA_SHORT, i) & 0xffff;
          String where = tier + " " + type + " pattern " + Integer.toHexString(i);
          if (Double.isNaN(expected)) {
            int bits = Float.floatToRawIntBits(actual);
            assertTrue(Float.isNaN(actual) && (bits & 0x400000) != 0, where);
            assertEquals(i >= 0x8000, bits < 0, where);
            assertEquals(quiet(type, i), returned, where);
          } else {
            assertEquals(
                Float.floatToRawIntBits((float) expected), Float.floatToRawIntBits(actual), where);
            assertEquals(i, returned, where);
          }
        }
      }
    }
  }

  /** Every value, every midpoint of neighbours, and the floats next to these. */
  @ParameterizedTest
  @MethodSource("tiers")
  void everyRoundingBoundaryRoundsToNearestEven(Tier tier) {
    for (DType type : NARROW) {
      int infinity = infinity(type);
      float[] inputs = new float[6 * infinity];
      int[] expected = new int[inputs.length];
      int count = 0;
      for (int low = 0; low < infinity; low++) {
        double below = value(type, low).doubleValue();
        double above = value(type, low + 1).doubleValue();
        // A double is exact here; a float is not where the midpoint of subnormal bfloats ends.
        float middle = (float) (0.5 * (below + above));
        assertEquals(0.5 * (below + above), middle, "midpoints are floats");
        float sign = low % 3 == 0 ? -1 : 1;
        int signBit = low % 3 == 0 ? 0x8000 : 0;
        float[] near = {
          (float) below,
          Math.nextUp((float) below),
          Math.nextDown(middle),
          middle,
          Math.nextUp(middle),
          Math.nextDown((float) Math.min(above, Float.MAX_VALUE))
        };
        int even = low % 2 == 0 ? low : low + 1;
        int[] results = {low, low, low, even, low + 1, low + 1};
        for (int k = 0; k < near.length; k++) {
          inputs[count] = sign * near[k];
          expected[count++] = results[k] | signBit;
        }
      }
      check(tier, type, inputs, expected);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void randomFloatsAndSpecialValuesMatchExactRounding(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    float[] special = {
      0f,
      -0f,
      Float.MIN_VALUE,
      -Float.MIN_VALUE,
      Float.MIN_NORMAL,
      Float.MAX_VALUE,
      -Float.MAX_VALUE,
      Float.POSITIVE_INFINITY,
      Float.NEGATIVE_INFINITY,
      65504f,
      65519.996f,
      65520f,
      65536f,
      -65520f,
      0x1p-24f,
      0x1p-25f,
      0x1.000002p-25f,
      0x1p-14f,
      0x1.ffcp-15f,
      Float.NaN,
      Float.intBitsToFloat(0x7f800001),
      Float.intBitsToFloat(0xff800001),
      Float.intBitsToFloat(0xffc12345),
      Float.intBitsToFloat(0x7fffffff)
    };
    for (DType type : NARROW) {
      float[] inputs = new float[4096];
      int[] expected = new int[inputs.length];
      for (int i = 0; i < inputs.length; i++) {
        int bits = random.nextInt();
        if (i % 2 == 0) {
          // Half of them in the range of binary16.
          bits = bits & 0x807fffff | (127 - 26 + random.nextInt(44)) << 23;
        }
        inputs[i] = i < special.length ? special[i] : Float.intBitsToFloat(bits);
        expected[i] = expectedNarrow(type, inputs[i]);
      }
      try {
        check(tier, type, inputs, expected);
      } catch (AssertionError e) {
        throw new AssertionError("seed " + seed, e);
      }
    }
  }

  private static int expectedNarrow(DType type, float value) {
    int bits = Float.floatToRawIntBits(value);
    int sign = bits >>> 16 & 0x8000;
    if (Float.isNaN(value)) {
      int payload = type == DType.F16 ? bits >>> 13 & 0x3ff : bits >>> 16 & 0x7f;
      return quiet(type, sign | infinity(type) | payload);
    }
    return Float.isInfinite(value)
        ? sign | infinity(type)
        : nearest(type, new BigDecimal(value), sign != 0);
  }

  private static void check(Tier tier, DType type, float[] inputs, int[] expected) {
    int n = inputs.length;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment wide = arena.allocate(4L * n, 64);
      MemorySegment narrow = arena.allocate(2L * n, 64);
      for (int i = 0; i < n; i++) {
        wide.setAtIndex(ValueLayout.JAVA_INT, i, Float.floatToRawIntBits(inputs[i]));
      }
      Conversions.fromFloat(tier, wide, 0, narrow, 0, type, n);
      for (int i = 0; i < n; i++) {
        int actual = narrow.getAtIndex(ValueLayout.JAVA_SHORT, i) & 0xffff;
        if (expected[i] != actual) {
          assertEquals(
              Integer.toHexString(expected[i]),
              Integer.toHexString(actual),
              tier + " " + type + " from " + Float.toHexString(inputs[i]));
        }
      }
    }
  }

  /** Doubles just beside midpoints, where rounding through a float would see a tie. */
  @ParameterizedTest
  @EnumSource(names = {"F16", "BF16"})
  void doublesAndLongsAreRoundedOnce(DType type) {
    List<Double> inputs =
        new ArrayList<>(
            List.of(
                0.0,
                -0.0,
                Double.MIN_VALUE,
                -Double.MIN_VALUE,
                Double.MAX_VALUE,
                1e-40,
                0x1p-25,
                Math.nextUp(0x1p-25),
                65520.0,
                Math.nextDown(65520.0),
                0x1.ffp127,
                Math.nextDown(0x1.ffp127),
                0x1p-134,
                Math.nextUp(0x1p-134)));
    for (int low = 0; low < infinity(type); low += 7) {
      double middle = value(type, low).add(value(type, low + 1)).doubleValue() / 2;
      inputs.addAll(List.of(middle, -Math.nextUp(middle), Math.nextDown(middle)));
    }
    try (Arena arena = Arena.ofConfined()) {
      Tensor one = Tensor.allocate(arena, type, 1);
      for (double input : inputs) {
        one.setDouble(input, 0);
        boolean negative = Double.doubleToRawLongBits(input) < 0;
        assertEquals(
            nearest(type, new BigDecimal(input), negative),
            one.memory().get(ValueLayout.JAVA_SHORT, 0) & 0xffff,
            type + " from " + Double.toHexString(input));
      }
      long tie = (1L << 62) + (1L << 54);
      for (long input :
          new long[] {
            0,
            1,
            -1,
            2049,
            2051,
            -2051,
            65519,
            65520,
            tie,
            tie + 1,
            tie - 1,
            -tie,
            -tie - 1,
            -tie + 1,
            3 * tie / 2,
            Long.MAX_VALUE,
            Long.MAX_VALUE - 1,
            Long.MIN_VALUE
          }) {
        one.setLong(input, 0);
        assertEquals(
            nearest(type, new BigDecimal(input), input < 0),
            one.memory().get(ValueLayout.JAVA_SHORT, 0) & 0xffff,
            type + " from " + input);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void doublesAndFloatsConvertAsJavaCasts(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    int n = 1027;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment doubles = arena.allocate(8L * n, 64);
      MemorySegment floats = arena.allocate(4L * n, 64);
      MemorySegment back = arena.allocate(8L * n, 64);
      for (int i = 0; i < n; i++) {
        double value = random.nextGaussian() * Math.scalb(1.0, random.nextInt(400) - 200);
        double[] special = {0.0, -0.0, Double.NaN, Double.NEGATIVE_INFINITY, 1e300, 0x1p-149};
        doubles.setAtIndex(ValueLayout.JAVA_DOUBLE, i, i < special.length ? special[i] : value);
      }
      Conversions.toFloat(tier, doubles, 0, DType.F64, floats, 0, n);
      Conversions.fromFloat(tier, floats, 0, back, 0, DType.F64, n);
      for (int i = 0; i < n; i++) {
        float expected = (float) doubles.getAtIndex(ValueLayout.JAVA_DOUBLE, i);
        float actual = floats.getAtIndex(ValueLayout.JAVA_FLOAT, i);
        assertEquals(
            Float.floatToRawIntBits(expected), Float.floatToRawIntBits(actual), "seed " + seed);
        assertEquals(
            Double.doubleToRawLongBits(actual),
            back.getAtIndex(ValueLayout.JAVA_LONG, i),
            "seed " + seed);
      }
    }
  }

  /** Sizes around the vector, odd offsets, and guard bytes that must survive. */
  @ParameterizedTest
  @MethodSource("tiers")
  void sizesAndOffsetsAreHonoured(Tier tier) {
    DType[] types = {DType.F16, DType.BF16, DType.F64, DType.I32, DType.U8, DType.F32};
    try (Arena arena = Arena.ofConfined()) {
      for (DType type : types) {
        for (int n : new int[] {0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 19, 35, 67, 131}) {
          for (int offset : new int[] {0, 1, 6}) {
            MemorySegment source = arena.allocate(4L * n + offset + 8);
            for (int i = 0; i < n; i++) {
              source.set(ValueLayout.JAVA_FLOAT_UNALIGNED, offset + 4L * i, i % 50);
            }
            MemorySegment target = arena.allocate((long) type.bytes() * n + 2L * offset + 8);
            target.fill((byte) 0x5a);
            long start = 2L * offset;
            Conversions.fromFloat(tier, source, offset, target, start, type, n);
            for (long i = 0; i < target.byteSize(); i++) {
              if (i < start || i >= start + (long) type.bytes() * n) {
                assertEquals(0x5a, target.get(ValueLayout.JAVA_BYTE, i), type + " guard " + i);
              }
            }
            MemorySegment floats = arena.allocate(4L * n + offset + 8);
            floats.fill((byte) 0x5a);
            Conversions.toFloat(tier, target, start, type, floats, offset, n);
            for (int i = 0; i < n; i++) {
              assertEquals(i % 50, floats.get(ValueLayout.JAVA_FLOAT_UNALIGNED, offset + 4L * i));
            }
            for (long i = 0; i < offset; i++) {
              assertEquals(0x5a, floats.get(ValueLayout.JAVA_BYTE, i));
            }
            for (long i = offset + 4L * n; i < floats.byteSize(); i++) {
              assertEquals(0x5a, floats.get(ValueLayout.JAVA_BYTE, i));
            }
          }
        }
      }
    }
  }

  /** Loops over long runs make C2 compile early; the views must still be eliminated. */
  @Test
  void warmConversionsAllocateNothing() throws Exception {
    Assumptions.assumeTrue(
        Capabilities.get().available().contains(Tier.VECTOR),
        "only C2 eliminates the views; without it there is no vector tier");
    Map<String, String> bytes = ChildJvm.run(ConversionAllocations.class, ChildJvm.VECTOR);
    assertEquals("0", bytes.get("scalar"));
    assertEquals("0", bytes.get("vector"));
  }

  @Test
  void badRangesAndHeapMemoryAreRefused() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment a = arena.allocate(16);
      MemorySegment b = arena.allocate(16);
      MemorySegment heap = MemorySegment.ofArray(new float[4]);
      for (Executable call :
          List.<Executable>of(
              () -> Conversions.toFloat(a, 0, DType.F16, b, 0, 5),
              () -> Conversions.toFloat(a, 12, DType.F16, b, 0, 3),
              () -> Conversions.toFloat(a, -1, DType.F16, b, 0, 1),
              () -> Conversions.toFloat(a, Long.MAX_VALUE, DType.F16, b, 0, 1),
              () -> Conversions.toFloat(a, 0, DType.F16, b, 0, -1),
              () -> Conversions.toFloat(a, 0, DType.F16, heap, 0, 1),
              () -> Conversions.fromFloat(heap, 0, b, 0, DType.F16, 1))) {
        assertThrows(IllegalArgumentException.class, call);
      }
      assertThrows(
          IllegalStateException.class,
          () -> Conversions.toFloat(Tier.CUDA, a, 0, DType.F16, b, 0, 1));
    }
  }
}

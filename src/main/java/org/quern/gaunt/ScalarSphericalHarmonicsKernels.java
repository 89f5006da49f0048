package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;

import java.lang.foreign.MemorySegment;

/** The formulas as written: the oracle that every other tier is tested against. */
final class ScalarSphericalHarmonicsKernels implements SphericalHarmonicsKernels {
  static final ScalarSphericalHarmonicsKernels INSTANCE = new ScalarSphericalHarmonicsKernels();

  /**
   * Doubles at the start of the scratch memory: the unit vector and 1/|v|; then the derivatives.
   */
  private static final int HEAD = 4;

  private ScalarSphericalHarmonicsKernels() {}

  @Override
  public long scratchBytes(SphereTables tables) {
    return (HEAD + 3L * tables.components) * Double.BYTES;
  }

  @Override
  public long values(
      SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch) {
    for (long row = from; row < to; row++) {
      switch (direction(o, row, scratch)) {
        case GOOD -> writeValues(tables, o, row, get(scratch, 0), get(scratch, 1), get(scratch, 2));
        case ZERO -> {
          for (int i = 0; i < tables.components; i++) {
            store(o, row, i, i == 0 ? tables.start[0] : 0);
          }
        }
        case BAD -> {
          return row;
        }
      }
    }
    return ALL_GOOD;
  }

  private static void writeValues(
      SphereTables tables, SphereOperands o, long row, double x, double y, double z) {
    double c = 1;
    double s = 0;
    for (int m = 0; m <= tables.degree; m++) {
      double q = tables.start[m];
      double before = 0;
      for (int l = m; l <= tables.degree; l++) {
        if (l > m) {
          int at = tables.column(m) + l - m;
          double next = tables.up[at] * y * q + tables.back[at] * before;
          before = q;
          q = next;
        }
        store(o, row, l * l + l + m, q * c);
        if (m > 0) {
          store(o, row, l * l + l - m, q * s);
        }
      }
      double turned = z * c - x * s;
      s = z * s + x * c;
      c = turned;
    }
  }

  @Override
  public long jacobian(
      SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch) {
    for (long row = from; row < to; row++) {
      if (!derivatives(tables, o, row, scratch)) {
        return row;
      }
      for (int i = 0; i < 3 * tables.components; i++) {
        store(o, row, i, get(scratch, HEAD + i));
      }
    }
    return ALL_GOOD;
  }

  @Override
  public long pullback(
      SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch) {
    for (long row = from; row < to; row++) {
      if (!derivatives(tables, o, row, scratch)) {
        return row;
      }
      for (int axis = 0; axis < 3; axis++) {
        double sum = 0;
        for (int i = 0; i < tables.components; i++) {
          sum += loadOther(o, row, i) * get(scratch, HEAD + 3 * i + axis);
        }
        store(o, row, axis, sum);
      }
    }
    return ALL_GOOD;
  }

  @Override
  public long pushforward(
      SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch) {
    for (long row = from; row < to; row++) {
      if (!derivatives(tables, o, row, scratch)) {
        return row;
      }
      for (int i = 0; i < tables.components; i++) {
        double sum = 0;
        for (int axis = 0; axis < 3; axis++) {
          sum += loadOther(o, row, axis) * get(scratch, HEAD + 3 * i + axis);
        }
        store(o, row, i, sum);
      }
    }
    return ALL_GOOD;
  }

  /** Writes dY[i]/dv[a] behind the head of the scratch memory; false for a bad vector. */
  private static boolean derivatives(
      SphereTables tables, SphereOperands o, long row, MemorySegment scratch) {
    switch (direction(o, row, scratch)) {
      case GOOD -> writeDerivatives(tables, scratch);
      case ZERO -> {
        for (int i = 0; i < 3 * tables.components; i++) {
          set(scratch, HEAD + i, 0);
        }
      }
      case BAD -> {
        return false;
      }
    }
    return true;
  }

  private static void writeDerivatives(SphereTables tables, MemorySegment scratch) {
    double x = get(scratch, 0);
    double y = get(scratch, 1);
    double z = get(scratch, 2);
    double c = 1;
    double s = 0;
    double cBelow = 0;
    double sBelow = 0;
    for (int m = 0; m <= tables.degree; m++) {
      double q = tables.start[m];
      double slope = 0;
      double before = 0;
      double slopeBefore = 0;
      for (int l = m; l <= tables.degree; l++) {
        if (l > m) {
          int at = tables.column(m) + l - m;
          double next = tables.up[at] * y * q + tables.back[at] * before;
          double slopeNext = tables.up[at] * (y * slope + q) + tables.back[at] * slopeBefore;
          before = q;
          q = next;
          slopeBefore = slope;
          slope = slopeNext;
        }
        writeTangential(scratch, l * l + l + m, -m * q * sBelow, slope * c, m * q * cBelow);
        if (m > 0) {
          writeTangential(scratch, l * l + l - m, m * q * cBelow, slope * s, m * q * sBelow);
        }
      }
      cBelow = c;
      sBelow = s;
      c = z * cBelow - x * sBelow;
      s = z * sBelow + x * cBelow;
    }
  }

  private static void writeTangential(
      MemorySegment scratch, int i, double fx, double fy, double fz) {
    double x = get(scratch, 0);
    double y = get(scratch, 1);
    double z = get(scratch, 2);
    double inverseLength = get(scratch, 3);
    double radial = x * fx + y * fy + z * fz;
    set(scratch, HEAD + 3 * i, (fx - x * radial) * inverseLength);
    set(scratch, HEAD + 3 * i + 1, (fy - y * radial) * inverseLength);
    set(scratch, HEAD + 3 * i + 2, (fz - z * radial) * inverseLength);
  }

  /** What a vector is. */
  private enum Kind {
    GOOD,
    ZERO,
    BAD
  }

  /** Writes the unit vector and 1/|v| to the head of the scratch memory where there are such. */
  private static Kind direction(SphereOperands o, long row, MemorySegment scratch) {
    double x = loadVector(o, row, 0);
    double y = loadVector(o, row, 1);
    double z = loadVector(o, row, 2);
    double largest = Math.max(Math.max(Math.abs(x), Math.abs(y)), Math.abs(z));
    if (largest == 0 && o.zeroAllowed) {
      return Kind.ZERO;
    }
    if (!(largest > 0 && largest < Double.POSITIVE_INFINITY)) {
      return Kind.BAD;
    }
    // A power of two, so that squares neither overflow nor vanish and nothing is rounded.
    double scale = Math.scalb(1.0, -Math.getExponent(largest));
    x *= scale;
    y *= scale;
    z *= scale;
    double length = Math.sqrt(x * x + y * y + z * z);
    set(scratch, 0, x / length);
    set(scratch, 1, y / length);
    set(scratch, 2, z / length);
    set(scratch, 3, scale / length);
    return Kind.GOOD;
  }

  private static double get(MemorySegment scratch, int i) {
    return scratch.get(JAVA_DOUBLE, (long) i * Double.BYTES);
  }

  private static void set(MemorySegment scratch, int i, double value) {
    scratch.set(JAVA_DOUBLE, (long) i * Double.BYTES, value);
  }

  static double loadVector(SphereOperands o, long row, int axis) {
    return Reals.load(o.vectors, o.type, row * o.vectorStride, axis);
  }

  private static double loadOther(SphereOperands o, long row, int i) {
    return Reals.load(o.other, o.type, row * o.otherStride, i);
  }

  private static void store(SphereOperands o, long row, int i, double value) {
    Reals.store(o.out, o.type, row * o.outStride, i, value);
  }
}

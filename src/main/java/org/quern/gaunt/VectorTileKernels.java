package org.quern.gaunt;

import static org.quern.gaunt.VectorTile.F32;
import static org.quern.gaunt.VectorTile.F64;
import static org.quern.gaunt.VectorTile.ORDER;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorOperators.Conversion;
import org.quern.runtime.NativeViews;
import org.quern.tensor.DType;

/** One vector per component, or several where a tile has more channels. */
final class VectorTileKernels implements TileKernels {
  private static final Conversion<Float, Double> WIDEN = VectorOperators.F2D;

  private final DType type;

  VectorTileKernels(DType type) {
    this.type = type;
  }

  @Override
  public void scale(
      MemorySegment from,
      long fromAt,
      long fromStep,
      boolean weighted,
      MemorySegment weights,
      long weightsAt,
      long weightsStep,
      MemorySegment to,
      long toAt,
      long toStep,
      boolean add,
      int degree,
      int lanes) {
    long tile = (long) lanes * type.bytes();
    int last = (degree + 1) * (degree + 1) - 1;
    long read = NativeViews.at(from, fromAt, last * fromStep + tile);
    long write = NativeViews.at(to, toAt, last * toStep + tile);
    // A tile has one vector per component, or several.
    for (int part = 0; part < lanes; part += VectorTile.channels(type)) {
      long off = (long) part * type.bytes();
      if (!weighted) {
        copy(from, read + off, fromStep, to, write + off, toStep, last + 1, add);
        continue;
      }
      long w = NativeViews.at(weights, weightsAt, degree * weightsStep + tile) + off;
      if (type == DType.F32) {
        scale32(
            from,
            read + off,
            fromStep,
            weights,
            w,
            weightsStep,
            to,
            write + off,
            toStep,
            degree,
            add);
      } else {
        scale64(
            from,
            read + off,
            fromStep,
            weights,
            w,
            weightsStep,
            to,
            write + off,
            toStep,
            degree,
            add);
      }
    }
  }

  private void copy(
      MemorySegment from,
      long read,
      long fromStep,
      MemorySegment to,
      long write,
      long toStep,
      int rows,
      boolean add) {
    if (type == DType.F32) {
      copy32(from, read, fromStep, to, write, toStep, rows, add);
    } else {
      copy64(from, read, fromStep, to, write, toStep, rows, add);
    }
  }

  private static void copy32(
      MemorySegment from,
      long read,
      long fromStep,
      MemorySegment to,
      long write,
      long toStep,
      int rows,
      boolean add) {
    MemorySegment source = NativeViews.base(from);
    MemorySegment target = NativeViews.base(to);
    for (int i = 0; i < rows; i++) {
      FloatVector x = FloatVector.fromMemorySegment(F32, source, read + i * fromStep, ORDER);
      if (add) {
        x = x.add(FloatVector.fromMemorySegment(F32, target, write + i * toStep, ORDER));
      }
      x.intoMemorySegment(target, write + i * toStep, ORDER);
    }
  }

  private static void copy64(
      MemorySegment from,
      long read,
      long fromStep,
      MemorySegment to,
      long write,
      long toStep,
      int rows,
      boolean add) {
    MemorySegment source = NativeViews.base(from);
    MemorySegment target = NativeViews.base(to);
    for (int i = 0; i < rows; i++) {
      DoubleVector x = DoubleVector.fromMemorySegment(F64, source, read + i * fromStep, ORDER);
      if (add) {
        x = x.add(DoubleVector.fromMemorySegment(F64, target, write + i * toStep, ORDER));
      }
      x.intoMemorySegment(target, write + i * toStep, ORDER);
    }
  }

  private static void scale32(
      MemorySegment from,
      long read,
      long fromStep,
      MemorySegment weights,
      long weightsAt,
      long weightsStep,
      MemorySegment to,
      long write,
      long toStep,
      int degree,
      boolean add) {
    MemorySegment source = NativeViews.base(from);
    MemorySegment factors = NativeViews.base(weights);
    MemorySegment target = NativeViews.base(to);
    int i = 0;
    for (int l = 0; l <= degree; l++) {
      FloatVector w =
          FloatVector.fromMemorySegment(F32, factors, weightsAt + l * weightsStep, ORDER);
      for (int m = -l; m <= l; m++) {
        FloatVector x =
            FloatVector.fromMemorySegment(F32, source, read + i * fromStep, ORDER).mul(w);
        if (add) {
          x = x.add(FloatVector.fromMemorySegment(F32, target, write + i * toStep, ORDER));
        }
        x.intoMemorySegment(target, write + i * toStep, ORDER);
        i++;
      }
    }
  }

  private static void scale64(
      MemorySegment from,
      long read,
      long fromStep,
      MemorySegment weights,
      long weightsAt,
      long weightsStep,
      MemorySegment to,
      long write,
      long toStep,
      int degree,
      boolean add) {
    MemorySegment source = NativeViews.base(from);
    MemorySegment factors = NativeViews.base(weights);
    MemorySegment target = NativeViews.base(to);
    int i = 0;
    for (int l = 0; l <= degree; l++) {
      DoubleVector w =
          DoubleVector.fromMemorySegment(F64, factors, weightsAt + l * weightsStep, ORDER);
      for (int m = -l; m <= l; m++) {
        DoubleVector x =
            DoubleVector.fromMemorySegment(F64, source, read + i * fromStep, ORDER).mul(w);
        if (add) {
          x = x.add(DoubleVector.fromMemorySegment(F64, target, write + i * toStep, ORDER));
        }
        x.intoMemorySegment(target, write + i * toStep, ORDER);
        i++;
      }
    }
  }

  @Override
  public void dot(
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment sums,
      long sumsAt,
      long sumsStep,
      int degree,
      int lanes) {
    long tile = (long) lanes * type.bytes();
    int last = (degree + 1) * (degree + 1) - 1;
    long left = NativeViews.at(x, xAt, last * xStep + tile);
    long right = NativeViews.at(y, yAt, last * yStep + tile);
    long out = NativeViews.at(sums, sumsAt, degree * sumsStep + (long) lanes * Double.BYTES);
    for (int part = 0; part < lanes; part += VectorTile.channels(type)) {
      long off = (long) part * type.bytes();
      long sum = out + (long) part * Double.BYTES;
      if (type == DType.F64) {
        dot64(x, left + off, xStep, y, right + off, yStep, sums, sum, sumsStep, degree);
        continue;
      }
      // A vector of doubles holds half the lanes.
      for (int half = 0; half < 2; half++) {
        dot32(half, x, left + off, xStep, y, right + off, yStep, sums, sum, sumsStep, degree);
      }
    }
  }

  private static void dot32(
      int half,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment sums,
      long sumsAt,
      long sumsStep,
      int degree) {
    MemorySegment left = NativeViews.base(x);
    MemorySegment right = NativeViews.base(y);
    MemorySegment out = NativeViews.base(sums);
    long outAt = sumsAt + (long) half * F64.vectorByteSize();
    int i = 0;
    for (int l = 0; l <= degree; l++) {
      DoubleVector sum = DoubleVector.fromMemorySegment(F64, out, outAt + l * sumsStep, ORDER);
      for (int m = -l; m <= l; m++) {
        FloatVector a = FloatVector.fromMemorySegment(F32, left, xAt + i * xStep, ORDER);
        FloatVector b = FloatVector.fromMemorySegment(F32, right, yAt + i * yStep, ORDER);
        DoubleVector wide = (DoubleVector) a.convertShape(WIDEN, F64, half);
        sum = wide.fma((DoubleVector) b.convertShape(WIDEN, F64, half), sum);
        i++;
      }
      sum.intoMemorySegment(out, outAt + l * sumsStep, ORDER);
    }
  }

  private static void dot64(
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment sums,
      long sumsAt,
      long sumsStep,
      int degree) {
    MemorySegment left = NativeViews.base(x);
    MemorySegment right = NativeViews.base(y);
    MemorySegment out = NativeViews.base(sums);
    int i = 0;
    for (int l = 0; l <= degree; l++) {
      DoubleVector sum = DoubleVector.fromMemorySegment(F64, out, sumsAt + l * sumsStep, ORDER);
      for (int m = -l; m <= l; m++) {
        DoubleVector a = DoubleVector.fromMemorySegment(F64, left, xAt + i * xStep, ORDER);
        DoubleVector b = DoubleVector.fromMemorySegment(F64, right, yAt + i * yStep, ORDER);
        sum = a.fma(b, sum);
        i++;
      }
      sum.intoMemorySegment(out, sumsAt + l * sumsStep, ORDER);
    }
  }
}

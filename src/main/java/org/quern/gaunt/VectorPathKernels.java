package org.quern.gaunt;

import static org.quern.gaunt.VectorTile.F32;
import static org.quern.gaunt.VectorTile.F64;
import static org.quern.gaunt.VectorTile.ORDER;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import org.quern.runtime.NativeViews;
import org.quern.tensor.DType;

/** One vector per row, coefficients in a loop over a table. */
final class VectorPathKernels implements PathKernels {
  private final DType type;

  VectorPathKernels(DType type) {
    this.type = type;
  }

  @Override
  public void accumulate(
      PathTable.Groups groups,
      int[] by,
      int[] to,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment factors,
      long factorsAt,
      long factorsStep,
      MemorySegment out,
      long outAt,
      long outStep,
      int lanes) {
    if (by.length == 0) {
      return;
    }
    long tile = (long) lanes * type.bytes();
    long left = NativeViews.at(x, xAt, groups.mostFirst * xStep + tile);
    long right = NativeViews.at(y, yAt, groups.mostSecond * yStep + tile);
    long factor = NativeViews.at(factors, factorsAt, most(by) * factorsStep + tile);
    long target = NativeViews.at(out, outAt, most(to) * outStep + tile);
    if (type == DType.F32) {
      accumulate32(
          groups,
          by,
          to,
          x,
          left,
          xStep,
          y,
          right,
          yStep,
          factors,
          factor,
          factorsStep,
          out,
          target,
          outStep);
    } else {
      accumulate64(
          groups,
          by,
          to,
          x,
          left,
          xStep,
          y,
          right,
          yStep,
          factors,
          factor,
          factorsStep,
          out,
          target,
          outStep);
    }
  }

  private static long most(int[] rows) {
    int most = 0;
    for (int row : rows) {
      most = Math.max(most, row);
    }
    return most;
  }

  private static void accumulate32(
      PathTable.Groups groups,
      int[] by,
      int[] to,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment factors,
      long factorsAt,
      long factorsStep,
      MemorySegment out,
      long outAt,
      long outStep) {
    MemorySegment left = NativeViews.base(x);
    MemorySegment right = NativeViews.base(y);
    MemorySegment weights = NativeViews.base(factors);
    MemorySegment target = NativeViews.base(out);
    int[] first = groups.first;
    int[] second = groups.second;
    float[] values = groups.rounded;
    int entry = 0;
    for (int group = 0; group < by.length; group++) {
      FloatVector sum = FloatVector.zero(F32);
      int end = groups.end[group];
      for (; entry < end; entry++) {
        FloatVector a = FloatVector.fromMemorySegment(F32, left, xAt + first[entry] * xStep, ORDER);
        FloatVector b =
            FloatVector.fromMemorySegment(F32, right, yAt + second[entry] * yStep, ORDER);
        sum = FloatVector.broadcast(F32, values[entry]).mul(a).fma(b, sum);
      }
      FloatVector w =
          FloatVector.fromMemorySegment(F32, weights, factorsAt + by[group] * factorsStep, ORDER);
      long at = outAt + to[group] * outStep;
      sum.fma(w, FloatVector.fromMemorySegment(F32, target, at, ORDER))
          .intoMemorySegment(target, at, ORDER);
    }
  }

  private static void accumulate64(
      PathTable.Groups groups,
      int[] by,
      int[] to,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment factors,
      long factorsAt,
      long factorsStep,
      MemorySegment out,
      long outAt,
      long outStep) {
    MemorySegment left = NativeViews.base(x);
    MemorySegment right = NativeViews.base(y);
    MemorySegment weights = NativeViews.base(factors);
    MemorySegment target = NativeViews.base(out);
    int[] first = groups.first;
    int[] second = groups.second;
    double[] values = groups.values;
    int entry = 0;
    for (int group = 0; group < by.length; group++) {
      DoubleVector sum = DoubleVector.zero(F64);
      int end = groups.end[group];
      for (; entry < end; entry++) {
        DoubleVector a =
            DoubleVector.fromMemorySegment(F64, left, xAt + first[entry] * xStep, ORDER);
        DoubleVector b =
            DoubleVector.fromMemorySegment(F64, right, yAt + second[entry] * yStep, ORDER);
        sum = DoubleVector.broadcast(F64, values[entry]).mul(a).fma(b, sum);
      }
      DoubleVector w =
          DoubleVector.fromMemorySegment(F64, weights, factorsAt + by[group] * factorsStep, ORDER);
      long at = outAt + to[group] * outStep;
      sum.fma(w, DoubleVector.fromMemorySegment(F64, target, at, ORDER))
          .intoMemorySegment(target, at, ORDER);
    }
  }
}

package org.quern.prune.sparse;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import org.quern.runtime.CpuFeatures;
import org.quern.runtime.NativeViews;
import org.quern.runtime.vector.VectorLanes;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The vector tier. A row is walked in words of the mask: for every vector of columns, the next
 * values are loaded, whatever their number, and expanded by the bits of the mask; the number of
 * bits tells where the next ones begin. Only this number connects one step with the next. F16 must
 * be finite.
 */
final class VectorLinearKernels implements LinearKernels {
  static final VectorLinearKernels INSTANCE = new VectorLinearKernels(CpuFeatures.expandsShorts());

  /** Whether 16-bit rows are walked in pairs of columns. */
  private final boolean pairs;

  VectorLinearKernels(boolean pairs) {
    this.pairs = pairs;
  }

  @Override
  public void prepare(DType type, MemorySegment x, long xOffset, int n, MemorySegment out) {
    if (type == DType.F32 || !pairs) {
      ScalarLinearKernels.INSTANCE.prepare(type, x, xOffset, n, out);
      return;
    }
    MemorySegment source = NativeViews.exact(x);
    MemorySegment target = NativeViews.exact(out);
    int run = 2 * VectorSteps.LANES;
    for (int start = 0; start < LinearKernels.padded(n); start += run) {
      for (int i = 0; i < run; i++) {
        float value =
            start + i < n ? source.get(JAVA_FLOAT_UNALIGNED, xOffset + 4L * (start + i)) : 0;
        int place = start + i / 2 + i % 2 * VectorSteps.LANES;
        target.set(JAVA_FLOAT_UNALIGNED, 4L * place, value);
      }
    }
  }

  @Override
  public void multiply(SparseMatrix w, MemorySegment x, int from, int to, MemorySegment y) {
    MemorySegment values = NativeViews.base(w.values);
    MemorySegment mask = NativeViews.base(w.mask);
    MemorySegment vector = NativeViews.base(x);
    MemorySegment out = NativeViews.exact(y);
    long valuesAt = NativeViews.at(w.values, 0, w.values.byteSize());
    long maskAt = NativeViews.at(w.mask, 0, w.mask.byteSize());
    long xAt = NativeViews.at(x, 0, 4L * LinearKernels.padded(w.columns));
    boolean ordered = w instanceof TwoOfFourMatrix;
    int n = w.columns;
    for (int row = from; row < to; row++) {
      long p = valuesAt + w.valuesBefore(row) * w.type.bytes();
      long m = maskAt + row * w.maskStride;
      float sum;
      if (w.type == DType.F32) {
        sum =
            ordered
                ? VectorFloatRows.twoOfFour(values, p, mask, m, vector, xAt, n)
                : VectorFloatRows.sparse(values, p, mask, m, vector, xAt, n);
      } else if (w.type == DType.BF16) {
        sum =
            pairs
                ? VectorPairRows.sparseBfloat(values, p, mask, m, vector, xAt, n)
                : VectorShortRows.sparseBfloat(values, p, mask, m, vector, xAt, n);
      } else {
        sum =
            pairs
                ? VectorPairRows.sparseHalf(values, p, mask, m, vector, xAt, n)
                : VectorShortRows.sparseHalf(values, p, mask, m, vector, xAt, n);
      }
      out.set(JAVA_FLOAT_UNALIGNED, 4L * row, sum);
    }
  }

  @Override
  public void multiply(Tensor w, MemorySegment x, int from, int to, MemorySegment y) {
    MemorySegment weights = NativeViews.base(w.memory());
    MemorySegment vector = NativeViews.base(x);
    MemorySegment out = NativeViews.exact(y);
    int n = (int) w.dim(1);
    long rowBytes = (long) n * w.type().bytes();
    long weightsAt = NativeViews.at(w.memory(), 0, w.dim(0) * rowBytes);
    long xAt = NativeViews.at(x, 0, 4L * LinearKernels.padded(n));
    for (int row = from; row < to; row++) {
      long p = weightsAt + row * rowBytes;
      float sum;
      if (w.type() == DType.F32) {
        sum = VectorFloatRows.dense(weights, p, vector, xAt, n);
      } else if (w.type() == DType.BF16) {
        sum =
            pairs
                ? VectorPairRows.denseBfloat(weights, p, vector, xAt, n)
                : VectorShortRows.denseBfloat(weights, p, vector, xAt, n);
      } else {
        sum =
            pairs
                ? VectorPairRows.denseHalf(weights, p, vector, xAt, n)
                : VectorShortRows.denseHalf(weights, p, vector, xAt, n);
      }
      out.set(JAVA_FLOAT_UNALIGNED, 4L * row, sum);
    }
  }

  @Override
  public void expand(SparseMatrix w, int from, int to, MemorySegment panel, int stride) {
    MemorySegment values = NativeViews.base(w.values);
    MemorySegment mask = NativeViews.base(w.mask);
    MemorySegment target = NativeViews.base(panel);
    long valuesAt = NativeViews.at(w.values, 0, w.values.byteSize());
    long maskAt = NativeViews.at(w.mask, 0, w.mask.byteSize());
    long rowBytes = (long) stride * Float.BYTES;
    long at = NativeViews.at(panel, 0, (to - from) * rowBytes);
    for (int row = from; row < to; row++) {
      long p = valuesAt + w.valuesBefore(row) * w.type.bytes();
      long m = maskAt + row * w.maskStride;
      long q = at + (row - from) * rowBytes;
      switch (w.type) {
        case F32 -> expandFloats(values, p, mask, m, w.columns, target, q);
        case BF16 -> expandBfloats(values, p, mask, m, w.columns, target, q);
        default -> expandHalves(values, p, mask, m, w.columns, target, q);
      }
    }
  }

  private static void expandFloats(
      MemorySegment values,
      long valuesAt,
      MemorySegment mask,
      long maskAt,
      int n,
      MemorySegment target,
      long targetAt) {
    long p = valuesAt;
    for (int i = 0; i < Math.min(Math.ceilDiv(n, STEP), VectorSteps.MOST); i++) {
      long bits = word(mask, maskAt, i, n);
      for (int k = 0; k < STEP; k += VectorSteps.LANES) {
        FloatVector row = VectorSteps.expand(values, p, bits >>> k);
        row.intoMemorySegment(target, targetAt + 4L * (STEP * i + k), VectorSteps.LE);
        p += 4L * Long.bitCount(bits >>> k & VectorSteps.COUNT_1);
      }
    }
  }

  private static void expandBfloats(
      MemorySegment values,
      long valuesAt,
      MemorySegment mask,
      long maskAt,
      int n,
      MemorySegment target,
      long targetAt) {
    long p = valuesAt;
    for (int i = 0; i < Math.min(Math.ceilDiv(n, STEP), VectorSteps.MOST); i++) {
      long bits = word(mask, maskAt, i, n);
      for (int k = 0; k < STEP; k += VectorSteps.LANES) {
        VectorSteps.lowerBfloat(VectorSteps.expandShorts(values, p, bits >>> k))
            .intoMemorySegment(target, targetAt + 4L * (STEP * i + k), VectorSteps.LE);
        p += 2L * Long.bitCount(bits >>> k & VectorSteps.COUNT_1);
      }
    }
  }

  private static void expandHalves(
      MemorySegment values,
      long valuesAt,
      MemorySegment mask,
      long maskAt,
      int n,
      MemorySegment target,
      long targetAt) {
    long p = valuesAt;
    for (int i = 0; i < Math.min(Math.ceilDiv(n, STEP), VectorSteps.MOST); i++) {
      long bits = word(mask, maskAt, i, n);
      for (int k = 0; k < STEP; k += VectorSteps.LANES) {
        VectorSteps.lowerHalf(VectorSteps.expandShorts(values, p, bits >>> k))
            .intoMemorySegment(target, targetAt + 4L * (STEP * i + k), VectorSteps.LE);
        p += 2L * Long.bitCount(bits >>> k & VectorSteps.COUNT_1);
      }
    }
  }

  /** Word {@code i} of the mask of a row, without the bits of the next row. */
  private static long word(MemorySegment mask, long maskAt, int i, int n) {
    long bits = mask.get(VectorSteps.WORD, maskAt + 8L * i);
    return i == n / STEP ? bits & (1L << n) - 1 : bits;
  }

  @Override
  public void multiplyPanel(
      MemorySegment panel,
      int rows,
      int stride,
      MemorySegment x,
      int batch,
      MemorySegment y,
      long yOffset,
      long yStride) {
    MemorySegment w = NativeViews.base(panel);
    MemorySegment vectors = NativeViews.base(x);
    MemorySegment out = NativeViews.exact(y);
    long wAt = NativeViews.at(panel, 0, (long) rows * stride * Float.BYTES);
    long xAt = NativeViews.at(x, 0, (long) batch * stride * Float.BYTES);
    long bytes = (long) stride * Float.BYTES;
    for (int b = 0; b < batch; b += 2) {
      long first = xAt + b * bytes;
      // A last vector alone is multiplied twice.
      long second = b + 1 < batch ? first + bytes : first;
      for (int row = 0; row < rows; row += 2) {
        long upper = wAt + row * bytes;
        long lower = row + 1 < rows ? upper + bytes : upper;
        FloatVector a = FloatVector.zero(VectorSteps.F);
        FloatVector c = a;
        FloatVector d = a;
        FloatVector e = a;
        for (int j = 0; j < Math.min(stride, VectorSteps.MOST * STEP); j += VectorSteps.LANES) {
          FloatVector u = VectorSteps.load(w, upper + 4L * j);
          FloatVector v = VectorSteps.load(w, lower + 4L * j);
          FloatVector s = VectorSteps.load(vectors, first + 4L * j);
          FloatVector t = VectorSteps.load(vectors, second + 4L * j);
          a = u.fma(s, a);
          c = u.fma(t, c);
          d = v.fma(s, d);
          e = v.fma(t, e);
        }
        long at = yOffset + (b * yStride + row) * Float.BYTES;
        out.set(JAVA_FLOAT_UNALIGNED, at, VectorLanes.sum(a));
        if (row + 1 < rows) {
          out.set(JAVA_FLOAT_UNALIGNED, at + 4, VectorLanes.sum(d));
        }
        if (b + 1 < batch) {
          long next = at + yStride * Float.BYTES;
          out.set(JAVA_FLOAT_UNALIGNED, next, VectorLanes.sum(c));
          if (row + 1 < rows) {
            out.set(JAVA_FLOAT_UNALIGNED, next + 4, VectorLanes.sum(e));
          }
        }
      }
    }
  }
}

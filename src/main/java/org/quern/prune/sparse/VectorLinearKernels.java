package org.quern.prune.sparse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import org.quern.runtime.CpuFeatures;
import org.quern.runtime.NativeViews;
import org.quern.runtime.vector.VectorLanes;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The vector tier. A row is walked a vector of columns at a time: the next values are loaded,
 * whatever their number, and expanded by the bits of the mask; the number of bits tells where the
 * next ones begin. F16 must be finite.
 *
 * <p>Rows are taken from several bands of the range at once: four of a sparse matrix of F32, two of
 * any other. A core reads one stream of memory at about half of the rate of two, because it fetches
 * ahead only within a page of each; bands lie far apart, since neighbouring rows of a mask share a
 * page, where a second stream disturbs the first.
 */
final class VectorLinearKernels implements LinearKernels {
  static final VectorLinearKernels INSTANCE = new VectorLinearKernels(CpuFeatures.expandsShorts());

  /**
   * Rows of a sparse matrix of F32 that are walked at a time, each of another band; half as many of
   * 16 bits, since loops of more vector operations are beyond what C2 inlines.
   */
  private static final int BANDS = 4;

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
    long v = VectorSteps.check(NativeViews.at(w.values, 0, w.values.byteSize()));
    long m = VectorSteps.check(NativeViews.at(w.mask, 0, w.mask.byteSize()));
    long xAt = VectorSteps.check(NativeViews.at(x, 0, 4L * LinearKernels.padded(w.columns)));
    boolean inPairs = pairs && w.type != DType.F32;
    int step = inPairs ? 2 * VectorSteps.LANES : VectorSteps.LANES;
    int whole = w.columns / step;
    float[] sums = new float[BANDS * VectorSteps.LANES];
    int bands = w.type == DType.F32 ? BANDS : BANDS / 2;
    int band = Math.ceilDiv(to - from, bands);
    for (int row = from; row < from + band; row++) {
      // Where the bands do not come out even, the last row is multiplied again.
      int r1 = Math.min(row + band, to - 1);
      long v0 = v + w.type.bytes() * w.valuesBefore(row);
      long v1 = v + w.type.bytes() * w.valuesBefore(r1);
      long m0 = m + w.maskStride * row;
      long m1 = m + w.maskStride * r1;
      if (w.type == DType.F32) {
        int r2 = Math.min(row + 2 * band, to - 1);
        int r3 = Math.min(row + 3 * band, to - 1);
        long v2 = v + w.type.bytes() * w.valuesBefore(r2);
        long v3 = v + w.type.bytes() * w.valuesBefore(r3);
        long m2 = m + w.maskStride * r2;
        long m3 = m + w.maskStride * r3;
        if (w instanceof TwoOfFourMatrix) {
          VectorFloatRows.twoOfFour(
              w.values, v0, v1, v2, v3, w.mask, m0, m1, m2, m3, x, xAt, whole, sums);
        } else {
          VectorFloatRows.sparse(
              w.values, v0, v1, v2, v3, w.mask, m0, m1, m2, m3, x, xAt, whole, sums);
        }
        finish(w, r2, whole * step, inPairs, x, sums, 2, y);
        finish(w, r3, whole * step, inPairs, x, sums, 3, y);
      } else if (w.type == DType.BF16) {
        if (inPairs) {
          VectorPairRows.sparseBfloat(w.values, v0, v1, w.mask, m0, m1, x, xAt, whole, sums);
        } else {
          VectorShortRows.sparseBfloat(w.values, v0, v1, w.mask, m0, m1, x, xAt, whole, sums);
        }
      } else if (inPairs) {
        VectorPairRows.sparseHalf(w.values, v0, v1, w.mask, m0, m1, x, xAt, whole, sums);
      } else {
        VectorShortRows.sparseHalf(w.values, v0, v1, w.mask, m0, m1, x, xAt, whole, sums);
      }
      finish(w, row, whole * step, inPairs, x, sums, 0, y);
      finish(w, r1, whole * step, inPairs, x, sums, 1, y);
    }
  }

  /** Adds the columns behind the whole vectors of a row, and stores the sum of the lanes. */
  private static void finish(
      SparseMatrix w,
      int row,
      int column,
      boolean inPairs,
      MemorySegment x,
      float[] sums,
      int place,
      MemorySegment y) {
    if (column < w.columns) {
      long maskAt = row * w.maskStride + column / Byte.SIZE;
      int lane = column % Byte.SIZE;
      long taken = MaskedRows.countBits(w.mask, row * w.maskStride, column / Byte.SIZE);
      taken += Integer.bitCount(w.mask.get(JAVA_BYTE, maskAt) & VectorSteps.first(lane));
      long at = w.valuesBefore(row) + taken;
      for (int j = column; j < w.columns; j++) {
        boolean stored = ScalarLinearKernels.isStored(w, row, j);
        float weight = stored ? ScalarLinearKernels.load(w.values, at++, w.type) : 0;
        add(weight, j, column, inPairs, x, sums, place);
      }
    }
    store(sums, place, inPairs, y, row);
  }

  /** Adds a product to the lane in which a whole vector would. */
  private static void add(
      float weight, int j, int column, boolean inPairs, MemorySegment x, float[] sums, int place) {
    int i = j - column;
    int from = inPairs ? column + i / 2 + i % 2 * VectorSteps.LANES : j;
    int at =
        inPairs
            ? (2 * place + i % 2) * VectorSteps.LANES + i / 2 % VectorSteps.LANES
            : place * VectorSteps.LANES + i % VectorSteps.LANES;
    sums[at] = Math.fma(weight, x.getAtIndex(JAVA_FLOAT_UNALIGNED, from), sums[at]);
  }

  private static void store(float[] sums, int place, boolean inPairs, MemorySegment y, int row) {
    float sum;
    if (inPairs) {
      FloatVector even = FloatVector.fromArray(VectorSteps.F, sums, 2 * place * VectorSteps.LANES);
      int odd = (2 * place + 1) * VectorSteps.LANES;
      sum = VectorLanes.sum(even.add(FloatVector.fromArray(VectorSteps.F, sums, odd)));
    } else {
      sum = VectorLanes.sum(FloatVector.fromArray(VectorSteps.F, sums, place * VectorSteps.LANES));
    }
    y.set(JAVA_FLOAT_UNALIGNED, 4L * row, sum);
  }

  @Override
  public void multiply(Tensor w, MemorySegment x, int from, int to, MemorySegment y) {
    int n = (int) w.dim(1);
    DType type = w.type();
    long rowBytes = (long) n * type.bytes();
    long at = NativeViews.at(w.memory(), 0, w.dim(0) * rowBytes);
    long xAt = NativeViews.at(x, 0, 4L * LinearKernels.padded(n));
    boolean inPairs = pairs && type != DType.F32;
    int turns = n / VectorSteps.TURN;
    int column = turns * VectorSteps.TURN;
    int band = Math.ceilDiv(to - from, 2);
    float[] sums = new float[BANDS * VectorSteps.LANES];
    for (int row = from; row < from + band; row++) {
      int other = Math.min(row + band, to - 1);
      long p = at + row * rowBytes;
      long q = at + other * rowBytes;
      if (type == DType.F32) {
        VectorFloatRows.dense(w.memory(), p, q, x, xAt, turns, sums);
      } else if (type == DType.BF16) {
        if (inPairs) {
          VectorPairRows.denseBfloat(w.memory(), p, q, x, xAt, turns, sums);
        } else {
          VectorShortRows.denseBfloat(w.memory(), p, q, x, xAt, turns, sums);
        }
      } else if (inPairs) {
        VectorPairRows.denseHalf(w.memory(), p, q, x, xAt, turns, sums);
      } else {
        VectorShortRows.denseHalf(w.memory(), p, q, x, xAt, turns, sums);
      }
      finish(w, row, column, inPairs, x, sums, 0, y);
      finish(w, other, column, inPairs, x, sums, 1, y);
    }
  }

  private static void finish(
      Tensor w,
      int row,
      int column,
      boolean inPairs,
      MemorySegment x,
      float[] sums,
      int place,
      MemorySegment y) {
    int n = (int) w.dim(1);
    int step = inPairs ? 2 * VectorSteps.LANES : VectorSteps.LANES;
    for (int j = column; j < n; j++) {
      float weight = ScalarLinearKernels.load(w.memory(), (long) row * n + j, w.type());
      add(weight, j, j / step * step, inPairs, x, sums, place);
    }
    store(sums, place, inPairs, y, row);
  }

  @Override
  public void expand(SparseMatrix w, int from, int to, MemorySegment panel, int stride) {
    long valuesAt = NativeViews.at(w.values, 0, w.values.byteSize());
    long maskAt = NativeViews.at(w.mask, 0, w.mask.byteSize());
    long rowBytes = (long) stride * Float.BYTES;
    long at = NativeViews.at(panel, 0, (to - from) * rowBytes);
    for (int row = from; row < to; row++) {
      long p = valuesAt + w.valuesBefore(row) * w.type.bytes();
      long m = maskAt + row * w.maskStride;
      long q = at + (row - from) * rowBytes;
      switch (w.type) {
        case F32 -> expandFloats(w.values, p, w.mask, m, w.columns, panel, q);
        case BF16 -> expandBfloats(w.values, p, w.mask, m, w.columns, panel, q);
        default -> expandHalves(w.values, p, w.mask, m, w.columns, panel, q);
      }
      clear(NativeViews.base(panel), q, w.columns);
    }
  }

  private static void expandFloats(
      MemorySegment valueMemory,
      long valuesAt,
      MemorySegment maskMemory,
      long maskAt,
      int n,
      MemorySegment panel,
      long targetAt) {
    MemorySegment values = NativeViews.base(valueMemory);
    MemorySegment mask = NativeViews.base(maskMemory);
    MemorySegment target = NativeViews.base(panel);
    long from = VectorSteps.known(VectorSteps.check(valuesAt));
    int p = 0;
    for (int i = 0; i < Math.min(Math.ceilDiv(n, VectorSteps.LANES), VectorSteps.MOST); i++) {
      int bits = bits(mask, maskAt, i, n);
      VectorSteps.expand(values, from, p, bits)
          .intoMemorySegment(target, targetAt + (long) VectorSteps.VECTOR * i, VectorSteps.LE);
      p += 4 * Integer.bitCount(bits);
    }
  }

  private static void expandBfloats(
      MemorySegment valueMemory,
      long valuesAt,
      MemorySegment maskMemory,
      long maskAt,
      int n,
      MemorySegment panel,
      long targetAt) {
    MemorySegment values = NativeViews.base(valueMemory);
    MemorySegment mask = NativeViews.base(maskMemory);
    MemorySegment target = NativeViews.base(panel);
    long from = VectorSteps.known(VectorSteps.check(valuesAt));
    int p = 0;
    for (int i = 0; i < Math.min(Math.ceilDiv(n, VectorSteps.LANES), VectorSteps.MOST); i++) {
      int bits = bits(mask, maskAt, i, n);
      VectorSteps.lowerBfloat(VectorSteps.expandShorts(values, from, p, bits))
          .intoMemorySegment(target, targetAt + (long) VectorSteps.VECTOR * i, VectorSteps.LE);
      p += 2 * Integer.bitCount(bits);
    }
  }

  private static void expandHalves(
      MemorySegment valueMemory,
      long valuesAt,
      MemorySegment maskMemory,
      long maskAt,
      int n,
      MemorySegment panel,
      long targetAt) {
    MemorySegment values = NativeViews.base(valueMemory);
    MemorySegment mask = NativeViews.base(maskMemory);
    MemorySegment target = NativeViews.base(panel);
    long from = VectorSteps.known(VectorSteps.check(valuesAt));
    int p = 0;
    for (int i = 0; i < Math.min(Math.ceilDiv(n, VectorSteps.LANES), VectorSteps.MOST); i++) {
      int bits = bits(mask, maskAt, i, n);
      VectorSteps.lowerHalf(VectorSteps.expandShorts(values, from, p, bits))
          .intoMemorySegment(target, targetAt + (long) VectorSteps.VECTOR * i, VectorSteps.LE);
      p += 2 * Integer.bitCount(bits);
    }
  }

  /** Bits of vector {@code i} of a row, without those of the next row. */
  private static int bits(MemorySegment mask, long maskAt, int i, int n) {
    int bits = VectorSteps.bits(mask, maskAt, i);
    return i == n / VectorSteps.LANES ? bits & VectorSteps.first(n % VectorSteps.LANES) : bits;
  }

  /** Zeros behind the vectors of a row up to whole steps. */
  private static void clear(MemorySegment target, long rowAt, int n) {
    int done = Math.ceilDiv(n, VectorSteps.LANES) * VectorSteps.LANES;
    for (int j = done; j < LinearKernels.padded(n); j++) {
      target.set(JAVA_FLOAT_UNALIGNED, rowAt + 4L * j, 0f);
    }
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
        for (int j = 0; j < Math.min(stride, VectorSteps.MOST); j += VectorSteps.LANES) {
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

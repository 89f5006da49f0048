package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.NativeViews;
import org.quern.tensor.DType;

/** The formulas as written, sums in double: the oracle that every other tier is tested against. */
final class ScalarSymmetricKernels implements SymmetricKernels {
  static final ScalarSymmetricKernels INSTANCE = new ScalarSymmetricKernels();

  private ScalarSymmetricKernels() {}

  @Override
  public int sumBytes() {
    return Double.BYTES;
  }

  @Override
  public int partialBytes() {
    return Double.BYTES;
  }

  private static float at(MemorySegment memory, long offset, long index) {
    return memory.get(JAVA_FLOAT_UNALIGNED, offset + Float.BYTES * index);
  }

  private static void set(MemorySegment memory, long offset, long index, float value) {
    memory.set(JAVA_FLOAT_UNALIGNED, offset + Float.BYTES * index, value);
  }

  private static void add(MemorySegment memory, long offset, long index, double value) {
    long at = offset + Double.BYTES * index;
    memory.set(JAVA_DOUBLE_UNALIGNED, at, memory.get(JAVA_DOUBLE_UNALIGNED, at) + value);
  }

  @Override
  public boolean takes(DType type) {
    return type == DType.F32;
  }

  @Override
  public void update(
      MemorySegment matrix,
      long tile,
      long stride,
      long step,
      int count,
      double p,
      int terms,
      MemorySegment work,
      long signed,
      long plain,
      long termStride) {
    MemorySegment t = NativeViews.base(matrix);
    MemorySegment z = NativeViews.base(work);
    for (int r = 0; r < TILE; r++) {
      for (int c = 0; c < count * TILE; c++) {
        long element = r * stride + c / TILE * step + c % TILE;
        double sum = p * at(t, tile, element);
        for (int term = 0; term < terms; term++) {
          long shift = term * termStride;
          sum += (double) at(z, signed + shift, r) * at(z, plain + shift, c);
        }
        set(t, tile, element, (float) sum);
      }
    }
  }

  @Override
  public void multiply(
      DType type,
      MemorySegment matrix,
      long tile,
      long stride,
      long step,
      int count,
      MemorySegment work,
      long rows,
      long columns,
      long sums,
      long partials) {
    MemorySegment t = NativeViews.base(matrix);
    MemorySegment m = NativeViews.base(work);
    for (int r = 0; r < TILE; r++) {
      double row = at(m, rows, r);
      double sum = 0;
      for (int c = 0; c < count * TILE; c++) {
        double value = at(t, tile, r * stride + c / TILE * step + c % TILE);
        sum += value * at(m, columns, c);
        add(m, sums, c, value * row);
      }
      add(m, partials, r, sum);
    }
  }

  @Override
  public void addAndMultiply(
      DType type,
      MemorySegment matrix,
      long tile,
      long stride,
      long step,
      int count,
      MemorySegment work,
      long signed,
      long plain,
      long rows,
      long columns,
      long sums,
      long partials) {
    update(matrix, tile, stride, step, count, 1, 1, work, signed, plain, 0);
    multiply(type, matrix, tile, stride, step, count, work, rows, columns, sums, partials);
  }

  @Override
  public void fold(MemorySegment work, long partials, long sums) {
    MemorySegment m = NativeViews.base(work);
    for (int r = 0; r < TILE; r++) {
      long at = partials + (long) Double.BYTES * r;
      add(m, sums, r, m.get(JAVA_DOUBLE_UNALIGNED, at));
      m.set(JAVA_DOUBLE_UNALIGNED, at, 0);
    }
  }

  @Override
  public void gather(MemorySegment work, long sums, long groupStride, int groups, long w, int n) {
    MemorySegment m = NativeViews.base(work);
    for (int i = 0; i < n; i++) {
      double sum = 0;
      for (int group = 0; group < groups; group++) {
        sum += m.get(JAVA_DOUBLE_UNALIGNED, sums + group * groupStride + (long) Double.BYTES * i);
      }
      set(m, w, i, (float) sum);
    }
  }

  @Override
  public void clear(MemorySegment work, long x, int n) {
    MemorySegment m = NativeViews.base(work);
    for (int i = 0; i < n; i++) {
      set(m, x, i, 0);
    }
  }

  @Override
  public int magnitude(MemorySegment work, long x, int n) {
    MemorySegment m = NativeViews.base(work);
    int max = 0;
    for (int i = 0; i < n; i++) {
      max = Math.max(max, Float.floatToRawIntBits(at(m, x, i)) & Integer.MAX_VALUE);
    }
    return max;
  }

  @Override
  public void absolute(MemorySegment work, long x, int n) {
    MemorySegment m = NativeViews.base(work);
    for (int i = 0; i < n; i++) {
      set(m, x, i, Math.abs(at(m, x, i)));
    }
  }

  @Override
  public void scale(MemorySegment work, float a, long x, long y, int n) {
    MemorySegment m = NativeViews.base(work);
    for (int i = 0; i < n; i++) {
      set(m, y, i, a * at(m, x, i));
    }
  }

  @Override
  public void combine(MemorySegment work, float a, long x, float b, long y, long out, int n) {
    MemorySegment m = NativeViews.base(work);
    for (int i = 0; i < n; i++) {
      set(m, out, i, (float) ((double) a * at(m, x, i) + (double) b * at(m, y, i)));
    }
  }

  @Override
  public double dot(MemorySegment work, long x, long y, int n, long lanes) {
    MemorySegment m = NativeViews.base(work);
    double sum = 0;
    for (int i = 0; i < n; i++) {
      sum += (double) at(m, x, i) * at(m, y, i);
    }
    return sum;
  }
}

package org.quern.tensor;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.NativeViews;

/** The conversions one element at a time, through {@link Elements}. */
final class ScalarConversionKernels implements ConversionKernels {
  static final ScalarConversionKernels INSTANCE = new ScalarConversionKernels();

  private ScalarConversionKernels() {}

  @Override
  public void halfToFloat(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    for (int i = 0; i < n; i++) {
      short half = from.get(Elements.I16, srcOffset + 2L * i);
      to.set(Elements.F32, dstOffset + 4L * i, Elements.halfToFloat(half));
    }
  }

  @Override
  public void floatToHalf(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    for (int i = 0; i < n; i++) {
      float value = from.get(Elements.F32, srcOffset + 4L * i);
      to.set(Elements.I16, dstOffset + 2L * i, Elements.floatToHalf(value));
    }
  }

  @Override
  public void bfloatToFloat(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    for (int i = 0; i < n; i++) {
      short bfloat = from.get(Elements.I16, srcOffset + 2L * i);
      to.set(Elements.F32, dstOffset + 4L * i, Elements.bfloatToFloat(bfloat));
    }
  }

  @Override
  public void floatToBfloat(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    for (int i = 0; i < n; i++) {
      float value = from.get(Elements.F32, srcOffset + 4L * i);
      to.set(Elements.I16, dstOffset + 2L * i, Elements.floatToBfloat(value));
    }
  }

  @Override
  public void doubleToFloat(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    for (int i = 0; i < n; i++) {
      to.set(Elements.F32, dstOffset + 4L * i, (float) from.get(Elements.F64, srcOffset + 8L * i));
    }
  }

  @Override
  public void floatToDouble(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    for (int i = 0; i < n; i++) {
      to.set(Elements.F64, dstOffset + 8L * i, from.get(Elements.F32, srcOffset + 4L * i));
    }
  }
}

package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Addresses of one operand of a product: element (row, component, channel) of coefficients, or
 * (row, degree, channel) of weights. Bound anew for every call, so that a call allocates nothing.
 */
final class Operand {
  /** What is not bound. */
  private static final MemorySegment NOTHING = MemorySegment.NULL;

  private MemorySegment memory = NOTHING;
  private DType type = DType.F32;
  private boolean bound;
  private boolean flat;
  private long rowStep;
  private long componentStep;
  private long channelStep;
  private long channels;
  private DegreeBlocks blocks = DegreeBlocks.all(0);

  void unbind() {
    memory = NOTHING;
    bound = false;
  }

  /** Binds coefficients whose shape has been checked. */
  void bindCoefficients(Tensor tensor, Layout layout, DegreeBlocks blocks, long channels) {
    bind(tensor);
    this.blocks = blocks;
    this.channels = channels;
    flat = layout == Layout.MUL_IR;
    if (flat) {
      rowStep = tensor.rowStride() * type.bytes();
      channelStep = type.bytes();
    } else if (tensor.rank() == 3) {
      componentStep = tensor.rowStride() * type.bytes();
      rowStep = blocks.components() * componentStep;
      channelStep = type.bytes();
    } else {
      componentStep = type.bytes();
      rowStep = tensor.rowStride() * type.bytes();
      channelStep = 0;
    }
  }

  /** Binds weights whose shape has been checked. */
  void bindWeights(Tensor tensor, int degrees) {
    bind(tensor);
    flat = false;
    componentStep = tensor.rowStride() * type.bytes();
    rowStep = tensor.rank() == 3 ? degrees * componentStep : 0;
    channelStep = type.bytes();
  }

  private void bind(Tensor tensor) {
    memory = tensor.memory();
    type = tensor.type();
    bound = true;
  }

  boolean isBound() {
    return bound;
  }

  /** True where the channels of a component lie side by side. */
  boolean hasTiles() {
    return !flat && channelStep != 0;
  }

  /** True where all channels share one value. */
  boolean isShared() {
    return channelStep == 0;
  }

  /** True for weights of all rows. */
  boolean sharesRows() {
    return rowStep == 0;
  }

  MemorySegment memory() {
    return memory;
  }

  /** Bytes between components, or degrees of weights; not of a flat layout. */
  long step() {
    return componentStep;
  }

  /** Whether coefficients have a degree; one that they have not is zero. */
  boolean has(int degree) {
    return blocks.has(degree);
  }

  /** Where an element is. */
  long at(long row, int degree, int component, long channel) {
    if (flat) {
      long order = component - (long) degree * degree;
      long element = blocks.start(degree) * channels + channel * (2 * degree + 1) + order;
      return row * rowStep + element * channelStep;
    }
    return row * rowStep + component * componentStep + channel * channelStep;
  }
}

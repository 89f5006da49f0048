package org.quern.tensor;

/** Element type of a {@link Tensor}. Integers are two's complement, all types little endian. */
public enum DType {
  /** IEEE binary64. */
  F64(8, true),
  /** IEEE binary32. */
  F32(4, true),
  /** IEEE binary16; a storage type, computed in binary32. */
  F16(2, true),
  /** The upper half of a binary32; a storage type, computed in binary32. */
  BF16(2, true),
  /** Signed 64-bit integer. */
  I64(8, false),
  /** Signed 32-bit integer. */
  I32(4, false),
  /** Signed 16-bit integer. */
  I16(2, false),
  /** Signed 8-bit integer. */
  I8(1, false),
  /** Unsigned 8-bit integer. */
  U8(1, false);

  private final int bytes;
  private final boolean floating;

  DType(int bytes, boolean floating) {
    this.bytes = bytes;
    this.floating = floating;
  }

  /** Size of one element in bytes. */
  public int bytes() {
    return bytes;
  }

  /** True for the floating-point types. */
  public boolean isFloating() {
    return floating;
  }
}

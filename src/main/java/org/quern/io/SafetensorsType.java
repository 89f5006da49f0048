package org.quern.io;

import org.jspecify.annotations.Nullable;
import org.quern.tensor.DType;

/**
 * Element types that a safetensors file may hold, by their names in the format (version 0.8). Types
 * that Quern does not compute with have a size, so that their tensors can be checked and copied.
 */
public enum SafetensorsType {
  /** One byte, 0 or 1. */
  BOOL(8, null),
  /** 4-bit float, two to a byte. */
  F4(4, null),
  /** 6-bit float, two bits of exponent, four to three bytes. */
  F6_E2M3(6, null),
  /** 6-bit float, three bits of exponent, four to three bytes. */
  F6_E3M2(6, null),
  /** Unsigned 8-bit integer. */
  U8(8, DType.U8),
  /** Signed 8-bit integer. */
  I8(8, DType.I8),
  /** 8-bit float, five bits of exponent. */
  F8_E5M2(8, null),
  /** 8-bit float, four bits of exponent. */
  F8_E4M3(8, null),
  /** 8-bit power of two. */
  F8_E8M0(8, null),
  /** 8-bit float, four bits of exponent, without infinities or negative zero. */
  F8_E4M3FNUZ(8, null),
  /** 8-bit float, five bits of exponent, without infinities or negative zero. */
  F8_E5M2FNUZ(8, null),
  /** Signed 16-bit integer. */
  I16(16, DType.I16),
  /** Unsigned 16-bit integer. */
  U16(16, null),
  /** IEEE binary16. */
  F16(16, DType.F16),
  /** The upper half of a binary32. */
  BF16(16, DType.BF16),
  /** Signed 32-bit integer. */
  I32(32, DType.I32),
  /** Unsigned 32-bit integer. */
  U32(32, null),
  /** IEEE binary32. */
  F32(32, DType.F32),
  /** Two binary32: real and imaginary part. */
  C64(64, null),
  /** IEEE binary64. */
  F64(64, DType.F64),
  /** Signed 64-bit integer. */
  I64(64, DType.I64),
  /** Unsigned 64-bit integer. */
  U64(64, null);

  private final int bits;
  private final @Nullable DType type;

  SafetensorsType(int bits, @Nullable DType type) {
    this.bits = bits;
    this.type = type;
  }

  /** Size of one element in bits. */
  public int bits() {
    return bits;
  }

  /** The type of the same elements in a tensor, or null where Quern does not compute with it. */
  public @Nullable DType type() {
    return type;
  }

  /** The name in the format of a tensor's type. */
  public static SafetensorsType of(DType type) {
    return valueOf(type.name());
  }

  /** The type of this name in the format, or null where there is none. */
  static @Nullable SafetensorsType named(String name) {
    for (SafetensorsType type : values()) {
      if (type.name().equals(name)) {
        return type;
      }
    }
    return null;
  }
}

package org.quern.prune.calibration;

/** How a raw file stores a token id; little endian, unsigned. */
public enum TokenType {
  /** Two bytes. */
  U16(Short.BYTES),
  /** Four bytes. */
  U32(Integer.BYTES);

  private final int bytes;

  TokenType(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes of one id. */
  public int bytes() {
    return bytes;
  }

  /** The smaller type that holds all ids below {@code vocabulary}. */
  public static TokenType of(int vocabulary) {
    return vocabulary <= 1 << Short.SIZE ? U16 : U32;
  }
}

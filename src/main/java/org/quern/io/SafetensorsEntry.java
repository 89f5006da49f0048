package org.quern.io;

import java.util.Arrays;

/**
 * One tensor in the header of a safetensors file: its name, type, shape, and where its bytes lie in
 * the file.
 */
public final class SafetensorsEntry {
  private final String name;
  private final SafetensorsType type;
  private final long[] shape;
  private final long begin;
  private final long end;

  SafetensorsEntry(String name, SafetensorsType type, long[] shape, long begin, long end) {
    this.name = name;
    this.type = type;
    this.shape = shape;
    this.begin = begin;
    this.end = end;
  }

  /** The tensor's name. */
  public String name() {
    return name;
  }

  /** Element type. */
  public SafetensorsType type() {
    return type;
  }

  /** A copy of the shape; empty for a scalar. */
  public long[] shape() {
    return shape.clone();
  }

  /** Offset of the first byte from the start of the file. */
  public long begin() {
    return begin;
  }

  /** Offset behind the last byte from the start of the file. */
  public long end() {
    return end;
  }

  /** Number of bytes. */
  public long bytes() {
    return end - begin;
  }

  /**
   * True where both tensors are the same bytes of a file: tied weights are stored once under
   * several names.
   */
  public boolean sharesBytesWith(SafetensorsEntry other) {
    return bytes() > 0 && begin == other.begin && end == other.end;
  }

  @Override
  public String toString() {
    return name + " " + type + Arrays.toString(shape) + " at " + begin + ".." + end;
  }
}

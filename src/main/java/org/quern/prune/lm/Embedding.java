package org.quern.prune.lm;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;

/**
 * The vectors of all tokens, in the type that they are stored in.
 *
 * @param rows [vocabulary, width]
 * @param type of an element
 * @param width of the residual stream
 */
record Embedding(MemorySegment rows, DType type, int width) {
  /** Copies the vector of a token, as F32, over a row of a stream. */
  void copy(int token, MemorySegment stream, long row) {
    long from = (long) token * width * type.bytes();
    Conversions.toFloat(rows, from, type, stream, row * width * Float.BYTES, width);
  }
}

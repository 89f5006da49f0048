package org.quern.prune.lm;

import org.quern.tensor.Tensor;

/** Token ids as the caller gives them: an integer type, [sequences, length]. */
final class TokenIds {
  private TokenIds() {}

  static void check(Tensor tokens, int leastLength) {
    if (tokens.rank() != 2 || tokens.type().isFloating() || tokens.dim(1) < leastLength) {
      throw new IllegalArgumentException(
          "tokens: expected integers [sequences, length], length at least "
              + leastLength
              + ", got "
              + tokens);
    }
  }

  /** One id, checked against the vocabulary. */
  static int at(Tensor tokens, long sequence, long position, int vocabulary) {
    return check(tokens.getLong(sequence, position), sequence, position, vocabulary);
  }

  /** The id, checked against the vocabulary. */
  static int check(long id, long sequence, long position, int vocabulary) {
    if (id < 0 || id >= vocabulary) {
      throw new IllegalArgumentException(
          "tokens: expected ids below "
              + vocabulary
              + ", got "
              + id
              + " in sequence "
              + sequence
              + " at position "
              + position);
    }
    return (int) id;
  }
}

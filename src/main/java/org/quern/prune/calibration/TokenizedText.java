package org.quern.prune.calibration;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import org.quern.random.Philox;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Token ids of a tokenized text: one stream, or rows of one length, each the beginning of a text of
 * its own. All ids are below the vocabulary of the model that they were read for.
 */
public final class TokenizedText {
  private static final int LENGTH = 2048;

  private final String source;
  private final boolean isRows;
  private final long rows;
  private final long longest;
  private final At ids;

  /** Gives the id at a place of the whole text. */
  interface At {
    /** The id at {@code place}. */
    int get(long place);
  }

  /**
   * Ids that were checked.
   *
   * @param source how errors name them
   * @param shape [tokens] for a stream, [rows, length] for rows
   */
  TokenizedText(String source, long[] shape, At ids) {
    this.source = source;
    this.isRows = shape.length == 2;
    this.rows = isRows ? shape[0] : 1;
    this.longest = shape[shape.length - 1];
    this.ids = ids;
  }

  /** True where the ids are rows of one length. */
  public boolean isRows() {
    return isRows;
  }

  /** Tokens of a sequence where none are asked for: a whole row, of a stream 2048 as published. */
  public int defaultLength() {
    return isRows ? (int) longest : LENGTH;
  }

  /** Number of rows; of a stream, 1. */
  public long rows() {
    return rows;
  }

  /** The longest sequence that can be cut: the length of a row, or of the stream. */
  public long longest() {
    return longest;
  }

  /**
   * Sequences to calibrate with. Of a stream, {@code sequences} cuts at uniformly random places,
   * which may overlap; of rows, the first {@code sequences} ones, each cut at a random place where
   * it is longer than {@code length}. The published programs cut from documents of C4 in the same
   * way, one cut from each: to follow them give one document as a row. What is drawn follows from
   * the seed.
   *
   * @param sequences number of sequences, at least 1
   * @param length tokens of each, at least 2
   * @return I32 [sequences, length] in {@code arena}
   * @throws IllegalArgumentException where there are too few ids or rows
   */
  public Tensor sample(Arena arena, int sequences, int length, long seed) {
    if (sequences < 1) {
      throw new IllegalArgumentException("sequences: expected at least 1, got " + sequences);
    }
    checkLength(length);
    if (isRows && sequences > rows) {
      throw new IllegalArgumentException(
          source + ": expected " + sequences + " rows of token ids, got " + rows);
    }
    Philox random = new Philox(seed, 0);
    Tensor sample = Tensor.allocate(arena, DType.I32, sequences, length);
    for (int i = 0; i < sequences; i++) {
      long text = isRows ? i * longest : 0;
      copy(text + random.nextInt((int) (longest - length + 1)), sample.row(i));
    }
    return sample;
  }

  /**
   * Windows to evaluate on: those of a stream follow one another without overlap from its start,
   * and what is left behind the last whole one is not used; of rows, the first {@code length} ids
   * of each.
   *
   * @param length tokens of a window, at least 2
   * @return I32 [windows, length] in {@code arena}
   * @throws IllegalArgumentException where there is no whole window
   */
  public Tensor windows(Arena arena, int length) {
    checkLength(length);
    long windows = isRows ? rows : longest / length;
    Tensor result = Tensor.allocate(arena, DType.I32, windows, length);
    for (long i = 0; i < windows; i++) {
      copy(i * (isRows ? longest : length), result.row(i));
    }
    return result;
  }

  private void checkLength(int length) {
    if (length < 2) {
      throw new IllegalArgumentException("length: expected at least 2 tokens, got " + length);
    }
    if (length > longest) {
      throw new IllegalArgumentException(
          source
              + ": expected at least "
              + length
              + (isRows ? " token ids in every row, got " : " token ids, got ")
              + longest
              + "; ask for shorter sequences (--length)");
    }
  }

  private void copy(long from, Tensor target) {
    for (long i = 0; i < target.size(); i++) {
      target.memory().setAtIndex(JAVA_INT, i, ids.get(from + i));
    }
  }

  @Override
  public String toString() {
    return source;
  }
}

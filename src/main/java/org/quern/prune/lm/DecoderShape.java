package org.quern.prune.lm;

/**
 * Dimensions of a LLaMA-style decoder.
 *
 * @param vocabulary number of token ids
 * @param hidden width of the residual stream
 * @param mlp width inside the gated MLP
 * @param heads query heads
 * @param kvHeads key and value heads; every {@code heads / kvHeads} query heads share one
 * @param headSize width of a head, even
 * @param layers decoder blocks
 * @param ropeTheta base of the rotary frequencies
 * @param rmsEpsilon added to the mean square before its root
 * @param rotaryScaling how the rotary frequencies are slowed
 * @param window most positions of a sequence: attention that slides over longer ones is not
 *     computed here; {@link #NO_WINDOW} for none
 */
public record DecoderShape(
    int vocabulary,
    int hidden,
    int mlp,
    int heads,
    int kvHeads,
    int headSize,
    int layers,
    double ropeTheta,
    double rmsEpsilon,
    RotaryScaling rotaryScaling,
    int window) {
  /** The window of attention that reaches back to the first position. */
  public static final int NO_WINDOW = Integer.MAX_VALUE;

  /** Checks the dimensions. */
  public DecoderShape {
    atLeastOne("vocabulary", vocabulary);
    atLeastOne("hidden", hidden);
    atLeastOne("mlp", mlp);
    atLeastOne("heads", heads);
    atLeastOne("kvHeads", kvHeads);
    atLeastOne("layers", layers);
    atLeastOne("window", window);
    if (heads % kvHeads != 0) {
      throw new IllegalArgumentException(
          "kvHeads: expected a divisor of " + heads + " heads, got " + kvHeads);
    }
    if (headSize < 2 || headSize % 2 != 0) {
      throw new IllegalArgumentException(
          "headSize: expected an even number of at least 2, got " + headSize);
    }
    if (!(ropeTheta > 0) || !(rmsEpsilon >= 0)) {
      throw new IllegalArgumentException(
          "expected ropeTheta > 0 and rmsEpsilon >= 0, got " + ropeTheta + " and " + rmsEpsilon);
    }
  }

  /** Dimensions of a decoder with plain rotary frequencies and attention. */
  public DecoderShape(
      int vocabulary,
      int hidden,
      int mlp,
      int heads,
      int kvHeads,
      int headSize,
      int layers,
      double ropeTheta,
      double rmsEpsilon) {
    this(
        vocabulary,
        hidden,
        mlp,
        heads,
        kvHeads,
        headSize,
        layers,
        ropeTheta,
        rmsEpsilon,
        RotaryScaling.NONE,
        NO_WINDOW);
  }

  /** Checks that all positions of a sequence can see each other. */
  void checkLength(long length) {
    if (length > window) {
      throw new IllegalArgumentException(
          "length: expected at most the "
              + window
              + " positions of the model's sliding window, got "
              + length);
    }
  }

  private static void atLeastOne(String name, int value) {
    if (value < 1) {
      throw new IllegalArgumentException(name + ": expected at least 1, got " + value);
    }
  }

  /** Width of the queries of all heads. */
  public int queryWidth() {
    return heads * headSize;
  }

  /** Width of the keys of all heads that have some, and of the values. */
  public int keyWidth() {
    return kvHeads * headSize;
  }

  /** Number of inputs of the linear layers that take {@code input}. */
  public int inputs(LinearInput input) {
    return switch (input) {
      case ATTENTION, MLP -> hidden;
      case ATTENTION_OUTPUT -> queryWidth();
      case MLP_OUTPUT -> mlp;
    };
  }

  /**
   * Number of outputs of a linear layer.
   *
   * @param linear a name within the block, such as {@code mlp.up_proj}
   */
  public int outputs(String linear) {
    return switch (linear) {
      case LinearInput.QUERY -> queryWidth();
      case LinearInput.KEY, LinearInput.VALUE -> keyWidth();
      case LinearInput.GATE, LinearInput.UP -> mlp;
      case LinearInput.OUTPUT, LinearInput.DOWN -> hidden;
      default ->
          throw new IllegalArgumentException(
              "linear: expected the name of a linear layer of a block, got " + linear);
    };
  }
}

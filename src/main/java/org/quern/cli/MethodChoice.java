package org.quern.cli;

import org.quern.prune.Method;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/**
 * What {@code --method} names.
 *
 * @param method the score; with SparseGPT only its pattern counts
 * @param sparseGpt true where SparseGPT selects, which has no score
 */
record MethodChoice(Method method, boolean sparseGpt) {
  private static final String SPARSE_GPT = "sparsegpt";

  /** Reads the label of a method, or {@code sparsegpt}. */
  static final class Converter implements ITypeConverter<MethodChoice> {
    /** For picocli, which creates it. */
    Converter() {}

    @Override
    public MethodChoice convert(String text) {
      if (text.equalsIgnoreCase(SPARSE_GPT)) {
        return new MethodChoice(Method.WANDA, true);
      }
      try {
        return new MethodChoice(Method.of(text), false);
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage() + "; or " + SPARSE_GPT);
      }
    }
  }
}

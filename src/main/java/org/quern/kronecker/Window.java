package org.quern.kronecker;

/**
 * How a convolution moves along one dimension of its input.
 *
 * @param kernel positions that one output sees, at least 1
 * @param stride step from output to output, at least 1
 * @param padding zeros before the first and behind the last element, at least 0
 * @param dilation step from position to position within the kernel, at least 1
 */
public record Window(int kernel, int stride, int padding, int dilation) {
  /** Checks the ranges. */
  public Window {
    require("kernel", kernel, 1);
    require("stride", stride, 1);
    require("padding", padding, 0);
    require("dilation", dilation, 1);
  }

  private static void require(String name, int value, int least) {
    if (value < least) {
      throw new IllegalArgumentException(name + ": expected at least " + least + ", got " + value);
    }
  }

  /** A window on single positions: what the mean over the positions of an output takes. */
  public static Window point() {
    return new Window(1, 1, 0, 1);
  }

  /** Outputs for an input of {@code extent} elements; below 1 where it is too short. */
  long outputs(long extent) {
    return Math.floorDiv(extent + 2L * padding - (long) dilation * (kernel - 1) - 1, stride) + 1;
  }
}

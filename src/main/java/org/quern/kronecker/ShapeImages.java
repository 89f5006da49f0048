package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import org.quern.random.Philox;
import org.quern.tensor.Tensor;

/**
 * Grey images of one bright shape on a darker ground, to be told apart: discs, rings, bars and
 * crosses at any place, size, angle, brightness and contrast, with soft edges. Pixels lie between 0
 * and 1 and are not centred, as those of a camera; most of what their mean carries is brightness,
 * which says nothing of the shape. Image k is a function of the seed and of k alone.
 */
final class ShapeImages {
  /** Pixels along a side. */
  static final int SIDE = 16;

  /** Pixels of an image. */
  static final int PIXELS = SIDE * SIDE;

  /** Kinds of shape. */
  static final int KINDS = 4;

  /** How fast an edge fades, per pixel. */
  private static final double SHARPNESS = 3;

  private ShapeImages() {}

  /**
   * Draws image {@code k} of a seed.
   *
   * @param image F32 [{@link #PIXELS}], receives the rows of the image
   * @param kind F32 [{@link #KINDS}], receives 1 at the kind of shape and 0 elsewhere
   */
  static void draw(long seed, long k, Tensor image, Tensor kind) {
    Philox random = new Philox(seed, k);
    int shape = random.nextInt(KINDS);
    double centreX = 4 + 7 * random.nextFloat();
    double centreY = 4 + 7 * random.nextFloat();
    double size = 2 + 3 * random.nextFloat();
    double angle = Math.PI * random.nextFloat();
    double ground = 0.2 + 0.3 * random.nextFloat();
    double contrast = 0.3 + 0.2 * random.nextFloat();
    double cosine = StrictMath.cos(angle);
    double sine = StrictMath.sin(angle);
    MemorySegment pixels = image.hostMemory();
    for (int y = 0; y < SIDE; y++) {
      for (int x = 0; x < SIDE; x++) {
        double along = (x - centreX) * cosine + (y - centreY) * sine;
        double across = (y - centreY) * cosine - (x - centreX) * sine;
        double outside = distance(shape, along, across, size);
        double covered = 1 / (1 + StrictMath.exp(SHARPNESS * outside));
        pixels.setAtIndex(JAVA_FLOAT, y * SIDE + x, (float) (ground + contrast * covered));
      }
    }
    kind.fill(0);
    kind.setDouble(1, shape);
  }

  /** How far a point lies outside a shape, negative inside, in pixels. */
  private static double distance(int shape, double along, double across, double size) {
    double radius = Math.sqrt(along * along + across * across);
    return switch (shape) {
      case 0 -> radius - size;
      case 1 -> Math.abs(radius - size) - 1;
      case 2 -> box(along, across, size, 0.4 * size);
      default -> Math.min(box(along, across, size, 0.8), box(along, across, 0.8, size));
    };
  }

  private static double box(double along, double across, double length, double width) {
    return Math.max(Math.abs(along) - length, Math.abs(across) - width);
  }
}

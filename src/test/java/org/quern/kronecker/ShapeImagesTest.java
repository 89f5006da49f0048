package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class ShapeImagesTest {
  private static final int IMAGES = 2000;

  @Test
  void pixelsAreGreyKindsAreEvenAndBrightnessIsOffCentre() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor image = Tensor.allocate(arena, DType.F32, ShapeImages.PIXELS);
      Tensor kind = Tensor.allocate(arena, DType.F32, ShapeImages.KINDS);
      double[] kinds = new double[ShapeImages.KINDS];
      double sum = 0;
      for (int k = 0; k < IMAGES; k++) {
        ShapeImages.draw(1, k, image, kind);
        double shapes = 0;
        for (int i = 0; i < kinds.length; i++) {
          kinds[i] += kind.getDouble(i);
          shapes += kind.getDouble(i);
        }
        assertEquals(1, shapes);
        for (float pixel : image.toFloatArray()) {
          assertTrue(pixel > 0.15 && pixel < 1, () -> "pixel " + pixel);
          sum += pixel;
        }
      }
      for (double count : kinds) {
        // Four standard deviations of a binomial of 2000 and 1/4.
        assertEquals(IMAGES / 4.0, count, 4 * Math.sqrt(IMAGES * 3 / 16.0));
      }
      assertEquals(0.4, sum / IMAGES / ShapeImages.PIXELS, 0.05);
    }
  }

  @Test
  void anImageDependsOnSeedAndNumberAlone() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor image = Tensor.allocate(arena, DType.F32, ShapeImages.PIXELS);
      Tensor kind = Tensor.allocate(arena, DType.F32, ShapeImages.KINDS);
      ShapeImages.draw(3, 8, image, kind);
      float[] first = image.toFloatArray();
      ShapeImages.draw(3, 9, image, kind);
      assertTrue(differ(first, image.toFloatArray()));
      ShapeImages.draw(4, 8, image, kind);
      assertTrue(differ(first, image.toFloatArray()));
      ShapeImages.draw(3, 8, image, kind);
      assertArrayEquals(first, image.toFloatArray());
    }
  }

  private static boolean differ(float[] a, float[] b) {
    for (int i = 0; i < a.length; i++) {
      if (a[i] != b[i]) {
        return true;
      }
    }
    return false;
  }
}

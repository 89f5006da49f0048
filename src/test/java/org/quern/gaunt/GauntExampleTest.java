package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** The example of the README, as it stands there. */
class GauntExampleTest {
  @Test
  void theReadmesExample() {
    try (Arena arena = Arena.ofConfined()) {
      // Two functions on the sphere by their coefficients, degrees 0 and 1: f = 2 Y(0,0), h = x.
      Tensor f = Tensor.copyOf(arena, new float[] {2, 0, 0, 0}, 1, 4, 1); // rows, degrees, channels
      Tensor h = Tensor.copyOf(arena, new float[] {0, 1, 0, 0}, 1, 4, 1);
      Tensor out = Tensor.allocate(arena, DType.F32, 1, 9, 1);
      GauntProduct product = GauntProduct.builder(1, 1, 2).build();
      product.multiply(f, h, out);
      // f is constant, so that out is h times 2 / sqrt(4 pi): {0, 0.564, 0, 0, 0, 0, 0, 0, 0}
      for (int i = 0; i < 9; i++) {
        assertEquals(i == 1 ? 2 / Math.sqrt(4 * Math.PI) : 0, out.getDouble(0, i, 0), 1e-6);
      }
      product.multiply(h, h, out);
      // x^2 has a mean and degree 2, and no degree 1
      double norm = 0;
      for (int i = 1; i < 4; i++) {
        assertEquals(0, out.getDouble(0, i, 0), 1e-6);
      }
      for (int i = 0; i < 9; i++) {
        norm += out.getDouble(0, i, 0) * out.getDouble(0, i, 0);
      }
      // The integral of (3 / (4 pi))^2 x^4 over the sphere
      assertEquals(9 / (20 * Math.PI), norm, 1e-6);
    }
  }
}

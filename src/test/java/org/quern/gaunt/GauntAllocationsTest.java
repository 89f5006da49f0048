package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.ChildJvm;
import org.quern.runtime.Tier;

/** Warm calls on the vector tier make no garbage, whatever other code has done to profiles. */
class GauntAllocationsTest {
  /** What a convolution needs for itself: some objects, whose number no size changes. */
  private static final long CALL_BYTES = 4096;

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void productsAllocateNothingAndConvolutionsNoVectors(boolean polluted) throws Exception {
    assumeTrue(Capabilities.get().available().contains(Tier.VECTOR), "no vector tier here");
    List<String> flags = new ArrayList<>(ChildJvm.VECTOR);
    if (polluted) {
      flags.add("-D" + GauntAllocations.POLLUTED + "=true");
    }
    Map<String, String> bytes = ChildJvm.run(GauntAllocations.class, flags);
    for (String call : List.of("product", "gradients", "written", "writtenGradients")) {
      assertEquals("0", bytes.get(call), call);
    }
    assertTrue(Long.parseLong(bytes.get("convolution")) < CALL_BYTES, bytes.get("convolution"));
  }
}

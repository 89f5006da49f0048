package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.quern.runtime.Capabilities;
import org.quern.runtime.ChildJvm;
import org.quern.runtime.Tier;

class MkorAllocationTest {
  @Test
  void property18AWarmStepAllocatesNothing() throws Exception {
    assumeTrue(Capabilities.get().available().contains(Tier.VECTOR), "no vector tier");
    Map<String, String> bytes = ChildJvm.run(MkorAllocations.class, ChildJvm.VECTOR);
    for (String run : List.of("lowRank", "dense", "lamb", "clipped", "exchanged")) {
      assertEquals("0", bytes.get(run), run);
    }
  }
}

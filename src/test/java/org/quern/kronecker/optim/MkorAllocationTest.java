package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.ChildJvm;
import org.quern.runtime.Tier;

class MkorAllocationTest {
  @ParameterizedTest
  @ValueSource(strings = {"lowRank", "mixed", "lamb", "means"})
  void property18AWarmStepAllocatesNothing(String run) throws Exception {
    assumeTrue(Capabilities.get().available().contains(Tier.VECTOR), "no vector tier");
    List<String> flags = new ArrayList<>(ChildJvm.VECTOR);
    flags.add("-Dquern.test.run=" + run);
    assertEquals("0", ChildJvm.run(MkorAllocations.class, flags).get("bytes"));
  }
}

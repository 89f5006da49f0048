package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.quern.runtime.Capabilities;
import org.quern.runtime.ChildJvm;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** What the contract tests leave out: allocation, and memory that grows. */
class PreconditionTest {
  @Test
  void warmStepsAllocateNothing() throws Exception {
    assumeTrue(Capabilities.get().available().contains(Tier.VECTOR), "no vector tier");
    for (String name : PreconditionAllocations.STORAGES.keySet()) {
      List<String> flags = new ArrayList<>(ChildJvm.VECTOR);
      flags.add("-Dstorage=" + name);
      Map<String, String> report = ChildJvm.run(PreconditionAllocations.class, flags);
      assertEquals("0", report.get("bytes"), name + " " + report);
    }
  }

  @Test
  void bytesOfALowRankFactorAreThoseThatItTakes() {
    assertTrue(InverseFactor.bytes(4096, Storage.lowRank(32, 0)) < 4096L * 4 * 48);
    assertTrue(InverseFactor.bytes(4096, Storage.lowRank(32, 0)) > 4096L * 4 * 32);
  }

  @Test
  void productsFollowAFactorThatGrows() {
    int d = 20;
    try (Arena arena = Arena.ofConfined()) {
      InverseFactor left =
          InverseFactor.create(arena, d, Storage.lowRank(4, 0), UpdateRule.CODE, 0.95);
      InverseFactor right =
          InverseFactor.create(arena, d, Storage.lowRank(4, 0), UpdateRule.CODE, 0.95);
      Preconditioner preconditioner =
          Preconditioner.create(arena, left, right, false, Rescale.NONE, 1, null);
      Tensor dense = Tensor.allocate(arena, DType.F64, d, d);
      for (int t = 0; t < 12; t++) {
        float[] v = new float[d];
        v[t] = 1 + t;
        left.update(Tensor.copyOf(arena, v, d));
        // The gradient is the identity, R too: P is L.
        Tensor g = Tensor.allocate(arena, DType.F32, d, d);
        for (int r = 0; r < d; r++) {
          g.setDouble(1, r, r);
        }
        preconditioner.precondition(g, null);
        left.toDense(dense);
        for (int r = 0; r < d; r++) {
          assertEquals(dense.getDouble(r, r), g.getDouble(r, r), 1e-6, "step " + t + " row " + r);
        }
      }
      assertTrue(((LowRankFactor) left).capacity() >= 12);
    }
  }
}

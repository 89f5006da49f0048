package org.quern.linalg;

import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.junit.jupiter.api.Test;
import org.quern.runtime.NativeViews;

/** That OpenBLAS, which is on the path of the tests on Linux x86-64, is found there. */
class OpenBlasTest {
  @Test
  void isFoundWhereItsNativesAre() {
    assumeTrue(
        System.getProperty("os.name").equals("Linux")
            && System.getProperty("os.arch").equals("amd64"),
        "the build has natives for Linux x86-64 only");
    assumeTrue(NativeViews.enabled(), "native access is not enabled");
    assertNotNull(OpenBlas.get().product(), Gemm.library());
    assertTrue(Gemm.library().startsWith("OpenBLAS"), Gemm.library());
  }
}

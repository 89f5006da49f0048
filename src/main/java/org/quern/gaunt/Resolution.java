package org.quern.gaunt;

/**
 * How finely functions are sampled; 0 stands for the least that is exact.
 *
 * @param nodes nodes in the polar angle, of {@link Algorithm#HYBRID} and {@link Algorithm#GRID}
 * @param azimuths points around a ring of {@link Algorithm#GRID}, frequencies of the transforms of
 *     {@link Algorithm#FOURIER}
 */
record Resolution(int nodes, int azimuths) {
  static final Resolution LEAST = new Resolution(0, 0);

  /** Whether an algorithm has what is set, and enough of it for a form. */
  boolean suits(Algorithm algorithm, TrilinearForm form) {
    boolean polar = algorithm == Algorithm.HYBRID || algorithm == Algorithm.GRID;
    boolean around = algorithm == Algorithm.FOURIER || algorithm == Algorithm.GRID;
    return (nodes == 0 || (polar && nodes >= HybridPlan.leastNodes(form)))
        && (azimuths == 0 || (around && azimuths >= leastAzimuths(algorithm, form)));
  }

  /**
   * Checks that an algorithm has what is set, and enough of it.
   *
   * @throws IllegalArgumentException where it has not
   */
  void check(Algorithm algorithm, TrilinearForm form) {
    if (nodes != 0) {
      demand("nodes", nodes, HybridPlan.leastNodes(form), form);
      if (algorithm != Algorithm.HYBRID && algorithm != Algorithm.GRID) {
        throw without("nodes", "HYBRID or GRID", algorithm);
      }
    }
    if (azimuths != 0) {
      demand("azimuths", azimuths, leastAzimuths(algorithm, form), form);
      if (algorithm != Algorithm.FOURIER && algorithm != Algorithm.GRID) {
        throw without("azimuths", "GRID or FOURIER", algorithm);
      }
    }
  }

  private static void demand(String name, int got, int needed, TrilinearForm form) {
    if (got < needed) {
      throw new IllegalArgumentException(
          name
              + ": expected at least "
              + needed
              + ", which integrate degree "
              + form.integrandDegree()
              + " exactly, got "
              + got
              + ": fewer would break equivariance");
    }
  }

  private static IllegalArgumentException without(String name, String have, Algorithm algorithm) {
    return new IllegalArgumentException(
        name + ": expected one of the algorithms that have them, " + have + ", got " + algorithm);
  }

  /** A series around the circle aliases with fewer; of all derivatives the one with the most. */
  static int leastAzimuths(Algorithm algorithm, TrilinearForm form) {
    if (algorithm == Algorithm.FOURIER) {
      int lowest = Math.min(form.degree(0), Math.min(form.degree(1), form.degree(2)));
      return 2 * (form.integrandDegree() - lowest) + 1;
    }
    return form.integrandDegree() + 1;
  }

  /** Rings of {@link Algorithm#GRID}, which are the nodes of {@link Algorithm#HYBRID}. */
  int rings(TrilinearForm form) {
    return nodes == 0 ? HybridPlan.leastNodes(form) : nodes;
  }

  /** Points of a ring of {@link Algorithm#GRID}. */
  int ringPoints(TrilinearForm form) {
    return azimuths == 0 ? leastAzimuths(Algorithm.GRID, form) : azimuths;
  }

  /** The grid of {@link Algorithm#GRID}. */
  SphereGrid grid(TrilinearForm form) {
    return new SphereGrid(rings(form), ringPoints(form));
  }
}

package org.quern.kronecker.optim;

/** The steps on which factors take new vectors. */
@FunctionalInterface
public interface RefreshSchedule {
  /**
   * Whether factors are refreshed at a step; asked several times per step, so that it must not
   * change its mind.
   *
   * @param step number of the step, from 0
   */
  boolean isRefresh(long step);

  /**
   * Every so many steps, and all of the first ones.
   *
   * @param every steps from one refresh to the next, at least 1
   * @param warmup how many of the first steps refresh whatever {@code every} says, at least 0
   */
  record Periodic(long every, long warmup) implements RefreshSchedule {
    /** Checks the ranges. */
    public Periodic {
      Ranges.atLeast("every", every, 1);
      Ranges.atLeast("warmup", warmup, 0);
    }

    @Override
    public boolean isRefresh(long step) {
      return step % every == 0 || step < warmup;
    }
  }
}

package org.quern.family;

import java.io.IOException;
import java.util.Set;
import org.quern.runtime.Tier;

/**
 * A family of kernels, found by {@link java.util.ServiceLoader}. The doors ({@code doctor}, {@code
 * verify}, {@code tour}) know families only through this interface, so that a new one needs no
 * change in them.
 */
public interface Family {
  /** The word by which the command line names the family, for example {@code prune}. */
  String name();

  /** One line that says what the family computes. */
  String title();

  /** The tiers that the family implements, whether or not this machine can run them. */
  Set<Tier> tiers();

  /**
   * Replays every golden case that {@link Replay#directory()} holds on {@link Replay#tier()} and
   * records one result per case. Cases are recognised by their format, not by sizes or seeds; a
   * file that is not recognised is left unclaimed.
   *
   * @throws IOException where a recognised file cannot be read
   */
  void replay(Replay replay) throws IOException;

  /**
   * Runs a small real job of the family, checks its result against the oracle, and returns what was
   * measured.
   *
   * @throws IOException where the job's input cannot be read
   */
  TourReport tour(TourContext context) throws IOException;
}

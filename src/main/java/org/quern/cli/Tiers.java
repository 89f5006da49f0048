package org.quern.cli;

import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/** The choice of a tier on the command line, where a demand that cannot be met is bad usage. */
final class Tiers {
  private Tiers() {}

  /** As {@link Capabilities#choose}, with its failure told to the user of {@code command}. */
  static Tier choose(CommandSpec command, Set<Tier> offered, @Nullable Tier asked) {
    try {
      return Capabilities.get().choose(offered, asked);
    } catch (IllegalStateException unavailable) {
      throw new ParameterException(command.commandLine(), unavailable.getMessage(), unavailable);
    }
  }
}

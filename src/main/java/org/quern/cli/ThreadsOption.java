package org.quern.cli;

import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The option {@code --threads} of commands whose result does not depend on it. */
final class ThreadsOption {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec command;

  private int most = Runtime.getRuntime().availableProcessors();

  @Option(
      names = "--threads",
      paramLabel = "N",
      description =
          "Threads to use at most (default: one per processor). The result does not depend on it.")
  void set(int threads) {
    if (threads < 1) {
      throw new ParameterException(
          command.commandLine(), "--threads: expected at least 1, got " + threads);
    }
    most = threads;
  }

  /** How many threads may work at a time. */
  int most() {
    return most;
  }
}

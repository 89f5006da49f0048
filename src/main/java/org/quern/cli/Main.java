package org.quern.cli;

import picocli.CommandLine;
import picocli.CommandLine.Command;

/** The {@code quern} command. */
@Command(name = "quern")
public final class Main {
  private Main() {}

  /** Runs the command line and exits with its status. */
  public static void main(String[] arguments) {
    System.exit(new CommandLine(new Main()).execute(arguments));
  }
}

package org.quern.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.NoSuchFileException;
import java.util.List;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;
import picocli.CommandLine.Command;

class MainTest {
  @Command(name = "fail")
  private record Failing(Throwable failure) implements Callable<Integer> {
    @Override
    public Integer call() throws Exception {
      if (failure instanceof Error error) {
        throw error;
      }
      throw (Exception) failure;
    }
  }

  private static Shell fail(Throwable failure, String... options) {
    CommandLine line = Main.commandLine(List.of());
    line.addSubcommand(new CommandLine(new Failing(failure)));
    String[] arguments = new String[options.length + 1];
    System.arraycopy(options, 0, arguments, 0, options.length);
    arguments[options.length] = "fail";
    return Shell.run(line, arguments);
  }

  @Test
  void showsHelpWithoutCommand() {
    Shell shell = Shell.run(List.of());
    assertEquals(0, shell.code());
    assertTrue(shell.out().contains("Usage: quern"), shell.out());
    assertTrue(shell.out().contains("Exit codes:"), shell.out());
    for (String command : List.of("doctor", "prune", "verify", "tour")) {
      assertTrue(shell.out().contains("  " + command + " "), shell.out());
    }
  }

  @Test
  void everyCommandExplainsItselfAndTheExitCodes() {
    for (String command : List.of("doctor", "prune", "verify", "tour")) {
      Shell shell = Shell.run(List.of(), command, "--help");
      assertEquals(0, shell.code());
      assertTrue(shell.out().contains("Usage: quern " + command), shell.out());
      assertTrue(shell.out().contains("Exit codes:"), shell.out());
    }
  }

  @Test
  void tellsTheVersion() {
    Shell shell = Shell.run(List.of(), "--version");
    assertEquals(0, shell.code());
    assertTrue(shell.out().startsWith("quern "), shell.out());
  }

  @Test
  void badUsageIsOneLineAndCode2() {
    Shell shell = Shell.run(List.of(), "doctor", "--nonsense");
    assertEquals(2, shell.code());
    assertEquals(
        "quern: Unknown option: '--nonsense' (see quern doctor --help)", shell.err().strip());
    assertEquals("", shell.out());
  }

  @Test
  void badInputIsOneLineAndCode2() {
    assertEquals(
        new Shell(2, "", line("quern: rows: expected 4, got 5")),
        fail(new IllegalArgumentException("rows:\n expected 4, got 5")));
    assertEquals(
        new Shell(2, "", line("quern: header is truncated")),
        fail(new IOException("header is truncated")));
    assertEquals(
        new Shell(2, "", line("quern: no such file: a.csv")),
        fail(new UncheckedIOException(new NoSuchFileException("a.csv"))));
  }

  @Test
  void otherFailuresAreInternalAndCode3() {
    Shell shell = fail(new IllegalStateException("lost count"));
    assertEquals(
        new Shell(
            3, "", line("quern: internal error: java.lang.IllegalStateException: lost count")),
        shell);
  }

  @Test
  void errorsOfTheVirtualMachineAreInternalToo() {
    Shell shell = fail(new OutOfMemoryError("Java heap space"));
    assertEquals(
        new Shell(
            3, "", line("quern: internal error: java.lang.OutOfMemoryError: Java heap space")),
        shell);
  }

  @Test
  void debugShowsTheStackTrace() {
    String trace = "java.io.IOException: cut short";
    assertFalse(fail(new IOException("cut short")).err().contains(trace));
    assertTrue(fail(new IOException("cut short"), "--debug").err().contains(trace));
  }

  private static String line(String text) {
    return text + System.lineSeparator();
  }
}

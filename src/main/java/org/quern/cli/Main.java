package org.quern.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.util.List;
import java.util.ServiceLoader;
import org.quern.family.Family;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExecutionException;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.RunLast;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/** The {@code quern} command: its subcommands, and the conventions that all of them share. */
@Command(
    name = "quern",
    mixinStandardHelpOptions = true,
    scope = ScopeType.INHERIT,
    versionProvider = Main.Version.class,
    sortOptions = false,
    usageHelpAutoWidth = true,
    header = "Compute kernels of published machine-learning systems.",
    footerHeading = "%nExit codes:%n",
    footer = {
      "  0    success",
      "  1    a check failed: a result disagrees with its oracle",
      "  2    bad usage or bad input, told in one line; no output was touched",
      "  3    internal error; --debug shows where",
      "  130  interrupted"
    })
public final class Main implements Runnable {
  static final int CHECK_FAILED = 1;
  static final int BAD_INPUT = 2;
  static final int INTERNAL_ERROR = 3;

  @Spec private CommandSpec spec;

  @Option(
      names = "--debug",
      scope = ScopeType.INHERIT,
      description = "Show the stack trace of an error.")
  private boolean debug;

  private Main() {}

  /** Runs the command line and exits with its status. */
  public static void main(String[] arguments) {
    List<Family> families =
        ServiceLoader.load(Family.class).stream().map(ServiceLoader.Provider::get).toList();
    System.exit(commandLine(families).execute(arguments));
  }

  /** The command line over the given families. A new subcommand is added to the list here. */
  static CommandLine commandLine(List<Family> families) {
    Main main = new Main();
    CommandLine line = new CommandLine(main);
    List.of(
            new DoctorCommand(families),
            new PruneCommand(),
            new PerplexityCommand(),
            new GenerateCommand(),
            new PackCommand(),
            new UnpackCommand(),
            new VerifyCommand(families),
            new TourCommand(families))
        .forEach(line::addSubcommand);
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setParameterExceptionHandler(Main::reportBadUsage);
    line.setExecutionStrategy(Main::runLast);
    line.setExecutionExceptionHandler(main::reportFailure);
    return line;
  }

  /** Without a subcommand: shows the help. */
  @Override
  public void run() {
    spec.commandLine().usage(spec.commandLine().getOut());
  }

  private static int reportBadUsage(ParameterException exception, String[] arguments) {
    CommandLine line = exception.getCommandLine();
    String help = line.getCommandSpec().qualifiedName() + " --help";
    line.getErr().println("quern: " + oneLine(exception) + " (see " + help + ")");
    return BAD_INPUT;
  }

  /** Runs the subcommand. Picocli hands exceptions to the handler but lets errors pass. */
  private static int runLast(ParseResult result) {
    try {
      return new RunLast().execute(result);
    } catch (Error error) {
      CommandLine line = result.commandSpec().commandLine();
      throw new ExecutionException(line, error.toString(), error);
    }
  }

  private int reportFailure(Exception exception, CommandLine line, ParseResult result) {
    boolean input = isBadInput(exception);
    line.getErr().println("quern: " + (input ? "" : "internal error: ") + oneLine(exception));
    if (debug) {
      exception.printStackTrace(line.getErr());
    }
    return input ? BAD_INPUT : INTERNAL_ERROR;
  }

  private static boolean isBadInput(Exception exception) {
    return exception instanceof IllegalArgumentException
        || exception instanceof IOException
        || exception instanceof UncheckedIOException;
  }

  /** The message of an exception as one line; the file exceptions of the JDK carry only a path. */
  private static String oneLine(Throwable exception) {
    Throwable cause = exception.getCause();
    boolean wraps =
        exception instanceof UncheckedIOException || exception instanceof ExecutionException;
    if (wraps && cause != null) {
      return oneLine(cause);
    }
    String message = exception.getMessage();
    String text =
        switch (exception) {
          case NoSuchFileException missing -> "no such file: " + message;
          case NotDirectoryException file -> "not a directory: " + message;
          case AccessDeniedException denied -> "permission denied: " + message;
          case FileAlreadyExistsException present -> "the file exists already: " + message;
          case IllegalArgumentException bad when message != null -> message;
          case ParameterException bad when message != null -> message;
          case IOException failed when message != null -> message;
          default -> exception.toString();
        };
    return text.replaceAll("\\s*\\R\\s*", " ");
  }

  /** Tells the version that the jar's manifest carries. */
  static final class Version implements IVersionProvider {
    /** For picocli, which creates it. */
    Version() {}

    @Override
    public String[] getVersion() {
      return new String[] {"quern " + number(), "Java " + Runtime.version()};
    }

    /** The version of the jar; classes that run outside a jar have none. */
    static String number() {
      String version = Main.class.getPackage().getImplementationVersion();
      return version == null ? "(not packaged)" : version;
    }
  }
}

package org.quern.cli;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import org.quern.family.Family;
import picocli.CommandLine;

/**
 * The outcome of one command line.
 *
 * @param code exit code
 * @param out what went to standard output
 * @param err what the command line wrote to its error stream
 */
record Shell(int code, String out, String err) {
  /** Runs the command line in this JVM over the given families. */
  static Shell run(List<Family> families, String... arguments) {
    return run(Main.commandLine(families), arguments);
  }

  static Shell run(CommandLine line, String... arguments) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    line.setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true));
    int code = line.execute(arguments);
    return new Shell(code, out.toString(), err.toString());
  }
}

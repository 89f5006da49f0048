package org.quern.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.quern.prune.sparse.CheckpointUnpacker;
import org.quern.prune.sparse.PackReport;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Unpacks a packed checkpoint. */
@Command(
    name = "unpack",
    header = "Turns a packed checkpoint back into a dense one.",
    description = {
      "Reads what quern pack wrote, or compressed-tensors in its formats sparse-bitmask and sparse-24-bitmask, and"
          + " writes the dense model: NAME.weight for NAME.compressed and the tensors beside it, all other tensors as they"
          + " are, and config.json without the entry about sparsity. Every mask and offset is checked.",
      ""
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  quern unpack packed.safetensors -o dense.safetensors",
      "",
      "Exit codes:",
      "  0    success",
      "  2    bad usage or bad input, told in one line; no output was touched",
      "  3    internal error; --debug shows where",
      "  130  interrupted; no output was touched"
    })
final class UnpackCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(
      index = "0",
      paramLabel = "PACKED",
      description =
          "A safetensors file, a directory of shards, or its model.safetensors.index.json.")
  private Path model;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "OUT",
      required = true,
      description =
          "Where to write: a file if PACKED is a single file, else a directory. Must not exist without --force.")
  private Path output;

  @Mixin private ThreadsOption threads = new ThreadsOption();

  @Option(names = "--force", description = "Replace files that stand at OUT.")
  private boolean force;

  @Option(names = "--json", description = "Print one JSON object instead of a table.")
  private boolean json;

  @Override
  public Integer call() throws IOException {
    PackReport report;
    try (ConsoleProgress progress = ConsoleProgress.onErrorStream()) {
      report = new CheckpointUnpacker(threads.most(), force, progress).unpack(model, output);
    }
    PackCommand.print(report, json, spec.commandLine().getOut());
    return 0;
  }
}

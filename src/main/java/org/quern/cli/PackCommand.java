package org.quern.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.quern.prune.sparse.CheckpointPacker;
import org.quern.prune.sparse.PackReport;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/** Packs a pruned checkpoint. */
@Command(
    name = "pack",
    header = "Stores the pruned layers of a checkpoint without their zeros.",
    description = {
      "Reads a safetensors file, or a directory of shards, and writes a copy in which every matrix NAME.weight with"
          + " enough zeros is stored as its other elements and a bit per element, in a layout of compressed-tensors:"
          + " NAME.shape, NAME.compressed, NAME.bitmask, and NAME.row_offsets for the format bitmask. An entry in"
          + " config.json tells its readers. All other tensors are the same bytes. The model is streamed and may be"
          + " larger than the memory.",
      "",
      "quern unpack gives every tensor back bit by bit, except that a zero of either sign comes back as +0.0.",
      ""
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  quern pack pruned.safetensors -o packed.safetensors",
      "  quern pack llama-2of4/ --format 2:4 -o llama-packed/",
      "",
      "Exit codes:",
      "  0    success",
      "  2    bad usage or bad input, told in one line; no output was touched",
      "  3    internal error; --debug shows where",
      "  130  interrupted; no output was touched"
    })
final class PackCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(
      index = "0",
      paramLabel = "MODEL",
      description =
          "A safetensors file, a directory of shards, or its model.safetensors.index.json.")
  private Path model;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "OUT",
      required = true,
      description =
          "Where to write: a file if MODEL is a single file, else a directory. Must not exist without --force.")
  private Path output;

  @Option(
      names = "--format",
      paramLabel = "FORMAT",
      defaultValue = "auto",
      converter = FormatConverter.class,
      description =
          "bitmask for any zeros, 2:4 for two zeros in every four consecutive elements, or auto: 2:4 if all matrices"
              + " with enough zeros have that pattern (default: ${DEFAULT-VALUE}).")
  private CheckpointPacker.Format format;

  @Option(
      names = "--min-sparsity",
      paramLabel = "SHARE",
      description =
          "Least share of zeros of a matrix to pack; others are copied (default: ${DEFAULT-VALUE}).")
  private double minSparsity = CheckpointPacker.DEFAULT_MIN_SPARSITY;

  @Mixin private ThreadsOption threads = new ThreadsOption();

  @Option(names = "--force", description = "Replace files that stand at OUT.")
  private boolean force;

  @Option(names = "--json", description = "Print one JSON object instead of a table.")
  private boolean json;

  @Override
  public Integer call() throws IOException {
    PackReport report;
    try (ConsoleProgress progress = ConsoleProgress.onErrorStream()) {
      report =
          CheckpointPacker.builder()
              .format(format)
              .minSparsity(minSparsity)
              .threads(threads.most())
              .overwrite(force)
              .progress(progress)
              .build()
              .pack(model, output);
    }
    print(report, json, spec.commandLine().getOut());
    return 0;
  }

  /** Prints what was packed or unpacked. */
  static void print(PackReport report, boolean json, PrintWriter out) {
    if (json) {
      out.println(report.toJson());
      return;
    }
    Table table = new Table("TENSOR", "SHAPE", "TYPE", "FORMAT", "ZEROS", "DENSE", "PACKED");
    for (PackReport.PackedLayer layer : report.tensors()) {
      table.add(
          layer.name(),
          layer.rows() + "x" + layer.columns(),
          layer.type().name(),
          layer.format(),
          String.format(Locale.ROOT, "%.2f %%", 100 * layer.sparsity()),
          Long.toString(layer.denseBytes()),
          Long.toString(layer.packedBytes()));
    }
    table.print(out);
    out.println();
    out.printf(
        Locale.ROOT,
        "%-12s %d bytes before, %d after: %.1f %%%n",
        "Size",
        report.bytesBefore(),
        report.bytesAfter(),
        100.0 * report.bytesAfter() / report.bytesBefore());
    out.printf("%-12s %d tensors%n", "Copied", report.untouched());
    if (!report.notCopied().isEmpty()) {
      out.printf(
          "%-12s %s: too large for a configuration%n",
          "Not copied",
          report.notCopied().stream().map(Path::toString).collect(Collectors.joining(", ")));
    }
    out.printf("%-12s %s%n", "Time", Output.seconds(report.seconds()));
    out.printf("%-12s %s%n", "Output", report.output());
  }

  /** Reads {@code bitmask}, {@code 2:4} and {@code auto}. */
  static final class FormatConverter implements ITypeConverter<CheckpointPacker.Format> {
    /** For picocli, which creates it. */
    FormatConverter() {}

    @Override
    public CheckpointPacker.Format convert(String text) {
      return switch (text.toLowerCase(Locale.ROOT)) {
        case "auto" -> CheckpointPacker.Format.AUTO;
        case "bitmask" -> CheckpointPacker.Format.BITMASK;
        case "2:4" -> CheckpointPacker.Format.TWO_OF_FOUR;
        default ->
            throw new TypeConversionException("expected bitmask, 2:4 or auto, got '" + text + "'");
      };
    }
  }
}

package org.quern.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.quern.prune.CheckpointPruner;
import org.quern.prune.Compat;
import org.quern.prune.GradientNorm;
import org.quern.prune.Group;
import org.quern.prune.Layout;
import org.quern.prune.Method;
import org.quern.prune.OwlRatios;
import org.quern.prune.Pattern;
import org.quern.prune.PruneReport;
import org.quern.prune.Pruner;
import org.quern.prune.calibration.CalibratedPruning;
import org.quern.prune.calibration.CalibrationReport;
import org.quern.runtime.Tier;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/** Prunes a checkpoint on disk. */
@Command(
    name = "prune",
    header = "Prunes the linear layers of a checkpoint, without retraining.",
    description = {
      "Reads a safetensors file, or a directory of shards, and writes a copy in which a fixed share of the weights of"
          + " every linear layer is zero. All other tensors, the headers, the index and small files such as the"
          + " configuration are copied byte for byte. The model is streamed and may be larger than the memory.",
      "",
      "Pruned are by default all matrices NAME.weight of type F32, F16 or BF16 within numbered blocks (as in"
          + " model.layers.0.mlp.up_proj.weight), except embeddings, norms, routers and heads. Expressions of --include,"
          + " --exclude and --ratios are regular expressions sought anywhere in a tensor's name.",
      "",
      "The weights with the smallest scores are pruned: magnitude |W|; wanda |W| c; gradient |W| |G|; gblm |W| c +"
          + " |W| |G|; ria (|W| / column sum + |W| / row sum) c^a; pruner-zero W^2 times G scaled to [0, 1]; wanda++"
          + " (alpha G + c) |W|. G comes from --grads under the key MODULE.grad_l1 (or grad_l2) or NAME.weight, for"
          + " wanda++ under MODULE.grad_regional, and has the shape of the weights. c comes from --activations under MODULE.scaler_row (the mean over samples of the sum of x^2, whose"
          + " root is taken) or NAME.weight.column_norm (c itself), one value for each input. MODULE is the name"
          + " without .weight; a leading 'model.' may be absent.",
      ""
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  quern prune model.safetensors --method magnitude -o pruned.safetensors",
      "  quern prune llama/ --grads grads.safetensors --activations act.safetensors \\",
      "      --sparsity 2:4 -o llama-2of4/",
      "  quern prune llama/ --method wanda --activations act.safetensors \\",
      "      --sparsity 0.6 --exclude down_proj --dry-run",
      "  quern prune llama/ --calibrate c4.bin --evaluate wikitext.bin -o llama-50/",
      "  quern prune llama/ --method wanda --activations act.safetensors --sparsity 0.7 \\",
      "      --owl M=5,lambda=0.08 --report pruned.html -o llama-owl/",
      "  quern prune gpt2/ --method magnitude --group row --layout in-out -o pruned/",
      "",
      "Exit codes:",
      "  0    success",
      "  2    bad usage or bad input, told in one line; no output was touched",
      "  3    internal error; --debug shows where",
      "  130  interrupted; no output was touched, and with --calibrate the same command goes on"
    })
final class PruneCommand implements Callable<Integer> {
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
      description =
          "Where to write: a file if MODEL is a single file, else a directory. Must not exist without --force.")
  private @Nullable Path output;

  @Option(
      names = "--method",
      paramLabel = "METHOD",
      defaultValue = "gblm",
      converter = MethodChoice.Converter.class,
      description = {
        "The score: magnitude, wanda, gradient, gblm, ria, pruner-zero or wanda++ (default:"
            + " ${DEFAULT-VALUE}).",
        "With --calibrate also sparsegpt, which selects and updates in one sweep."
      })
  private MethodChoice method;

  @Mixin private CalibrationOptions calibration = new CalibrationOptions();

  @Option(
      names = "--sparsity",
      paramLabel = "PATTERN",
      defaultValue = "0.5",
      description = {
        "What to prune (default: ${DEFAULT-VALUE}). A share such as 0.5, of every group; N:M such as 2:4 or 4:8 prunes N of"
            + " every M consecutive inputs (N counts the PRUNED weights); cumulative:0.5 reaches the share by a bound on"
            + " each row's sum of scores."
      })
  private String sparsity;

  @Option(
      names = "--group",
      paramLabel = "GROUP",
      description =
          "With a share: select within each output row or the whole matrix (row or matrix; default: matrix for"
              + " magnitude, else row).")
  private @Nullable Group group;

  @Option(
      names = "--grads",
      paramLabel = "FILE",
      description = "Gradient statistics: a safetensors file or directory; may be repeated.")
  private List<Path> gradients = new ArrayList<>();

  @Option(
      names = "--norm",
      paramLabel = "NORM",
      defaultValue = "l1",
      description = "Which gradient statistic to take: l1 or l2 (default: ${DEFAULT-VALUE}).")
  private GradientNorm norm;

  @Option(
      names = "--activations",
      paramLabel = "FILE",
      description = "Activation statistics: a safetensors file or directory.")
  private @Nullable Path activations;

  @Option(
      names = "--include",
      paramLabel = "REGEX",
      description =
          "Prune the matrices that match, instead of the default choice; may be repeated.")
  private List<String> include = new ArrayList<>();

  @Option(
      names = "--exclude",
      paramLabel = "REGEX",
      description = "Leave alone what matches; may be repeated.")
  private List<String> exclude = new ArrayList<>();

  @Option(
      names = "--ratios",
      paramLabel = "FILE.csv",
      description =
          "A table 'pattern,ratio' of shares by layer; the first row that matches a layer decides.")
  private @Nullable Path ratios;

  @Option(
      names = "--owl",
      paramLabel = "M=5,lambda=0.08",
      arity = "0..1",
      fallbackValue = "",
      description =
          "Give every numbered block a ratio of its own, by its share of scores above M times their mean, so that blocks"
              + " with many outliers keep more, at most 2 lambda more than others (OWL; default: M=5,lambda=0.08). Needs"
              + " --activations.")
  private @Nullable String owl;

  @Option(
      names = "--preserve-mask",
      description =
          "Keep the zeros that are there and count them; a group with more than the pattern prunes is an error.")
  private boolean preserveMask;

  @Option(
      names = "--alpha",
      paramLabel = "SCALE",
      defaultValue = "100",
      description = "wanda++: factor of the regional gradients (default: ${DEFAULT-VALUE}).")
  private double alpha;

  @Option(
      names = "--exponent",
      paramLabel = "A",
      defaultValue = "0.5",
      description = "ria: exponent of the activation norms (default: ${DEFAULT-VALUE}).")
  private double exponent;

  @Option(
      names = "--layout",
      paramLabel = "LAYOUT",
      defaultValue = "out-in",
      converter = LayoutConverter.class,
      description =
          "How matrices are stored: out-in (Linear) or in-out (Conv1D of GPT-2) (default: ${DEFAULT-VALUE})."
              + " The wrong one prunes along the wrong axis.")
  private Layout layout;

  @Option(
      names = "--compat",
      paramLabel = "RULES",
      defaultValue = "exact",
      description =
          "exact, or official for the arithmetic of the released GBLM-Pruner (default: ${DEFAULT-VALUE}).")
  private Compat compat;

  @Mixin private ThreadsOption threads = new ThreadsOption();

  @Option(
      names = "--tier",
      paramLabel = "TIER",
      description = "Demand a tier: scalar or vector (default: the best).")
  private @Nullable Tier tier;

  @Option(names = "--dry-run", description = "Compute and report everything, but write nothing.")
  private boolean dryRun;

  @Option(names = "--force", description = "Replace files that stand at OUT.")
  private boolean force;

  @Option(names = "--json", description = "Print one JSON object instead of a table.")
  private boolean json;

  @Option(
      names = "--report",
      paramLabel = "FILE.html",
      description =
          "Also write the table as one self-contained HTML page, with the sparsity by layer and a picture of what every"
              + " layer keeps.")
  private @Nullable Path page;

  @Override
  public Integer call() throws IOException {
    if (output == null && !dryRun) {
      throw new ParameterException(
          spec.commandLine(), "expected -o OUT, or --dry-run to write nothing");
    }
    if (page != null) {
      HtmlReport.checkTarget(page);
    }
    CalibrationReport calibrated = null;
    PruneReport report;
    try (ConsoleProgress progress = ConsoleProgress.onErrorStream()) {
      if (calibration.isAsked()) {
        calibrated = calibrate(progress);
        report = calibrated.pruning();
      } else {
        report = prune(progress);
      }
    }
    Map<String, String> facts = facts(report);
    if (calibrated != null) {
      facts.putAll(CalibrationOptions.facts(calibrated));
    }
    Table layers = tabulate(report);
    if (page != null) {
      PruneReportPage html = new PruneReportPage(report, facts, layers);
      if (calibrated != null) {
        html.perplexities(CalibrationOptions.perplexities(calibrated));
      }
      html.pictures(layout, threads.most()).write(page);
    }
    PrintWriter out = spec.commandLine().getOut();
    if (json) {
      out.println(calibrated != null ? calibrated.toJson() : report.toJson());
    } else {
      layers.print(out);
      out.println();
      facts.forEach((name, value) -> out.printf("%-12s %s%n", name, value));
    }
    return 0;
  }

  /** Prunes by statistics in files. */
  private PruneReport prune(ConsoleProgress progress) throws IOException {
    calibration.requireNone(spec);
    if (method.sparseGpt()) {
      throw new ParameterException(
          spec.commandLine(), "--method sparsegpt: expected --calibrate TOKENS with it");
    }
    CheckpointPruner.Builder builder =
        CheckpointPruner.builder()
            .method(method.method())
            .pattern(pattern())
            .compat(compat)
            .tier(Tiers.choose(spec, CheckpointPruner.TIERS, tier))
            .threads(threads.most())
            .gradientNorm(norm)
            .activations(activations)
            .ratios(ratios)
            .owl(owl == null ? null : OwlRatios.parse(owl))
            .gradientScale(alpha)
            .exponent(exponent)
            .preserveMask(preserveMask)
            .layout(layout)
            .overwrite(force)
            .progress(progress);
    gradients.forEach(builder::gradients);
    include.forEach(builder::include);
    exclude.forEach(builder::exclude);
    CheckpointPruner pruner = builder.build();
    return dryRun || output == null ? pruner.dryRun(model) : pruner.prune(model, output);
  }

  /** Prunes by statistics that are taken of the model. */
  private CalibrationReport calibrate(ConsoleProgress progress) throws IOException {
    String other =
        activations != null
            ? "--activations, which it takes itself"
            : owl != null ? "--owl" : layout != Layout.OUT_IN ? "--layout in-out" : null;
    if (other != null) {
      throw new ParameterException(spec.commandLine(), "--calibrate: expected no " + other);
    }
    CalibratedPruning.Builder builder =
        calibration
            .builder(spec, method.sparseGpt())
            .pruner(
                Pruner.builder()
                    .method(method.method())
                    .pattern(pattern())
                    .compat(compat)
                    .gradientScale(alpha)
                    .exponent(exponent)
                    .preserveMask(preserveMask)
                    .tier(Tiers.choose(spec, CheckpointPruner.TIERS, tier)))
            .threads(threads.most())
            .gradientNorm(norm)
            .ratios(ratios)
            .overwrite(force)
            .progress(progress);
    gradients.forEach(builder::gradients);
    include.forEach(builder::include);
    exclude.forEach(builder::exclude);
    CalibratedPruning pruning = builder.build();
    return dryRun || output == null ? pruning.dryRun(model) : pruning.prune(model, output);
  }

  private Pattern pattern() {
    Pattern pattern = Pattern.parse(sparsity);
    if (pattern instanceof Pattern.Unstructured unstructured) {
      Group chosen = group != null ? group : defaultGroup();
      return Pattern.unstructured(unstructured.ratio(), chosen);
    }
    if (group != null) {
      throw new ParameterException(
          spec.commandLine(),
          "--group: expected with a share such as 0.5 only, got it with " + sparsity);
    }
    return pattern;
  }

  /** Of the published programs: magnitudes compare across the matrix, scores within a row. */
  private Group defaultGroup() {
    return method.method() == Method.MAGNITUDE ? Group.MATRIX : Group.ROW;
  }

  private static Table tabulate(PruneReport report) {
    Table table =
        new Table(
            "LAYER", "SHAPE", "TYPE", "METHOD", "PATTERN", "BEFORE", "AFTER", "SPARSITY", "TIME");
    for (PruneReport.Layer layer : report.layers()) {
      table.add(
          layer.name(),
          layer.shape().stream().map(String::valueOf).collect(Collectors.joining("x")),
          layer.type().name(),
          layer.method(),
          // A ratio of a layer's own has many digits, which only the JSON needs.
          layer.pattern().toString().replaceAll("(\\d\\.\\d{4})\\d+", "$1"),
          Long.toString(layer.zerosBefore()),
          Long.toString(layer.zerosAfter()),
          percent(layer.sparsity()),
          Output.seconds(layer.seconds()));
    }
    return table;
  }

  /** The totals, and what was left alone and why. */
  private static Map<String, String> facts(PruneReport report) {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("Pruned", report.layers().size() + " tensors of " + report.weights() + " weights");
    facts.put(
        "Zeros",
        report.zerosBefore()
            + " before, "
            + report.zerosAfter()
            + " after: "
            + percent(report.sparsity()));
    Map<String, Integer> reasons = new TreeMap<>();
    report.untouched().forEach(tensor -> reasons.merge(tensor.reason(), 1, Integer::sum));
    facts.put(
        "Left alone",
        report.untouched().size()
            + " tensors"
            + reasons.entrySet().stream()
                .map(reason -> reason.getValue() + " " + reason.getKey())
                .collect(Collectors.joining("; ", reasons.isEmpty() ? "" : ": ", "")));
    if (!report.notCopied().isEmpty()) {
      facts.put(
          "Not copied",
          report.notCopied().stream().map(Path::toString).collect(Collectors.joining(", "))
              + ": too large for a configuration");
    }
    facts.put(
        "Time",
        Output.seconds(report.seconds())
            + String.format(
                Locale.ROOT,
                ", %.2f GB/s of the model's %d bytes",
                report.bytes() / report.seconds() * 1e-9,
                report.bytes())
            + ", tier "
            + Output.workers(report.tier(), report.threads()));
    facts.put("Output", report.output() == null ? "none: dry run" : report.output().toString());
    return facts;
  }

  private static String percent(double share) {
    return String.format(Locale.ROOT, "%.2f %%", 100 * share);
  }

  /** Reads {@code out-in} and {@code in-out}. */
  static final class LayoutConverter implements ITypeConverter<Layout> {
    /** For picocli, which creates it. */
    LayoutConverter() {}

    @Override
    public Layout convert(String text) {
      for (Layout layout : Layout.values()) {
        if (layout.name().replace('_', '-').equalsIgnoreCase(text)) {
          return layout;
        }
      }
      throw new TypeConversionException("expected out-in or in-out, got '" + text + "'");
    }
  }
}

package org.quern.cli;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import org.jspecify.annotations.Nullable;
import org.quern.prune.calibration.Evaluation;
import org.quern.prune.calibration.TokenFile;
import org.quern.prune.calibration.TokenType;
import org.quern.prune.calibration.TokenizedText;
import org.quern.prune.lm.LanguageModel;
import org.quern.tensor.Tensor;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Evaluates a model on disk. */
@Command(
    name = "perplexity",
    header = "Measures how well a decoder on disk predicts a text.",
    description = {
      "Reads a LLaMA-style decoder block by block, so that it may be larger than the memory, and prints exp of the mean"
          + " of -log p(token | tokens before it) over all tokens but the first of every window. Windows follow one"
          + " another without overlap; what is left behind the last whole one is not used.",
      ""
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  quern perplexity llama/ wikitext.bin",
      "  quern perplexity tiny.safetensors 'ids.safetensors#test_ids' --json",
      "",
      "Exit codes:",
      "  0    success",
      "  2    bad usage or bad input, told in one line",
      "  3    internal error; --debug shows where",
      "  130  interrupted"
    })
final class PerplexityCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(
      index = "0",
      paramLabel = "MODEL",
      description =
          "A safetensors file, a directory of shards, or its model.safetensors.index.json, with the dimensions of the"
              + " decoder in its metadata or in config.json beside it.")
  private Path model;

  @Parameters(
      index = "1",
      paramLabel = "TOKENS",
      description =
          "Token ids: raw little-endian integers, .safetensors (FILE#TENSOR where it holds several), .csv (a window a"
              + " line) or .txt.")
  private Path tokens;

  @Option(
      names = "--length",
      paramLabel = "T",
      description = "Tokens of a window (default: 2048, or the length of the file's rows).")
  private @Nullable Integer length;

  @Option(
      names = "--token-type",
      paramLabel = "TYPE",
      description =
          "Type of the ids in a raw file: u16 or u32 (default: u16 where the vocabulary fits).")
  private @Nullable TokenType type;

  @Option(
      names = "--scratch",
      paramLabel = "DIR",
      description =
          "Where a temporary file goes if the windows need one (default: the system's directory for such files).")
  private Path scratch = Path.of(System.getProperty("java.io.tmpdir"));

  @Mixin private ThreadsOption threads = new ThreadsOption();

  @Option(names = "--json", description = "Print one JSON object instead of lines.")
  private boolean json;

  @Override
  public Integer call() throws IOException {
    Evaluation evaluation;
    try (LanguageModel decoder = LanguageModel.open(model);
        Arena arena = Arena.ofShared();
        ConsoleProgress progress = ConsoleProgress.onErrorStream()) {
      TokenizedText text = TokenFile.read(tokens, type, decoder.shape().vocabulary(), arena);
      Tensor windows = text.windows(arena, length != null ? length : text.defaultLength());
      evaluation = Evaluation.of(decoder, windows, scratch, threads.most(), progress);
    } catch (CancellationException e) {
      InterruptedIOException interrupted =
          new InterruptedIOException(model + ": interrupted while it was evaluated");
      interrupted.initCause(e);
      throw interrupted;
    }
    PrintWriter out = spec.commandLine().getOut();
    if (json) {
      JsonObject report = new JsonObject();
      report.addProperty("model", model.toString());
      report.addProperty("tokens", tokens.toString());
      evaluation.toJson().asMap().forEach(report::add);
      out.println(Output.toJson(report));
    } else {
      out.printf("Perplexity   %s%n", Output.figure4(evaluation.perplexity()));
      out.printf("Windows      %d of %d tokens%n", evaluation.windows(), evaluation.length());
      out.printf(
          "Time         %s, %s tokens/s%n",
          Output.seconds(evaluation.seconds()), Output.figure(evaluation.tokensPerSecond()));
    }
    return 0;
  }
}

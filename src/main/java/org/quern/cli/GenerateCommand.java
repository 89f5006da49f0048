package org.quern.cli;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.quern.prune.lm.CharacterVocabulary;
import org.quern.prune.lm.Generator;
import org.quern.prune.lm.LanguageModel;
import org.quern.runtime.Tier;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Continues a prompt with a language model. */
@Command(
    name = "generate",
    header = "Continues a prompt with a LLaMA-style language model, and times it.",
    description = {
      "Takes the most likely token again and again. Weights are read in the type that they are stored in. With --sparse,"
          + " linear layers of which at least about a quarter is zero are held and multiplied without their zeros.",
      "",
      "Tokens are ids, as a tokenizer gives them, separated by commas. Where the tokens of the model are single"
          + " characters, --vocab names a JSON file that lists them, and the prompt may be a text: a string of all"
          + " characters in the order of their ids, an array of them, either under the key 'vocab', or an object of"
          + " characters and ids. A file vocab.json beside the model is taken without being named.",
      ""
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  quern generate llama/ --prompt-ids 1,306,4658 --tokens 100 --sparse",
      "  quern generate model.safetensors --vocab vocab.json --prompt \"The license\" --tokens 80"
    })
final class GenerateCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(
      paramLabel = "MODEL",
      description = "A safetensors file, a directory of shards, or an index of shards.")
  private Path model;

  /** The two ways to give a prompt. */
  private static final class Prompt {
    @Option(
        names = "--prompt-ids",
        paramLabel = "ID,...",
        split = ",",
        description = "The prompt as token ids.")
    private int @Nullable [] ids;

    @Option(
        names = "--prompt",
        paramLabel = "TEXT",
        description = "The prompt as a text, for a model of characters.")
    private @Nullable String text;
  }

  @ArgGroup(multiplicity = "1")
  private Prompt prompt = new Prompt();

  @Option(
      names = "--vocab",
      paramLabel = "FILE.json",
      description = "The characters of a model of characters.")
  private @Nullable Path vocabularyFile;

  @Option(
      names = "--tokens",
      paramLabel = "N",
      defaultValue = "64",
      description = "Tokens to generate (default: ${DEFAULT-VALUE}).")
  private int tokens;

  @Option(names = "--sparse", description = "Leave out the zeros of pruned layers.")
  private boolean sparse;

  @Mixin private ThreadsOption threads = new ThreadsOption();

  @Option(
      names = "--tier",
      paramLabel = "TIER",
      description = "Demand a tier: scalar or vector (default: the best).")
  private @Nullable Tier tier;

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  @Override
  public Integer call() throws IOException {
    if (tokens < 1) {
      throw new ParameterException(
          spec.commandLine(), "--tokens: expected at least 1, got " + tokens);
    }
    CharacterVocabulary vocabulary = vocabulary();
    int[] ids = ids(vocabulary);
    Tier chosen = Tiers.choose(spec, Generator.TIERS, tier);
    int positions = Math.addExact(ids.length, tokens);
    try (LanguageModel opened = LanguageModel.open(model);
        Generator generator = Generator.create(opened, sparse, positions, threads.most(), chosen)) {
      long start = System.nanoTime();
      int[] first = generator.generate(ids, 1);
      long between = System.nanoTime();
      int[] rest = generator.generate(first, tokens - 1);
      double seconds = (System.nanoTime() - between) * 1e-9;
      int[] added = IntStream.concat(Arrays.stream(first), Arrays.stream(rest)).toArray();
      Rates rates =
          new Rates(ids.length, (between - start) * 1e-9, tokens < 2 ? 0 : (tokens - 1) / seconds);
      int layers = opened.linears().size();
      if (json) {
        printJson(added, vocabulary, rates, generator, layers);
      } else {
        print(added, vocabulary, rates, generator, layers);
      }
    }
    return 0;
  }

  /**
   * How long it took; the first token comes out of the prompt's pass, 0 where there is no other.
   */
  private record Rates(int promptTokens, double promptSeconds, double tokensPerSecond) {}

  private @Nullable CharacterVocabulary vocabulary() throws IOException {
    if (vocabularyFile != null) {
      return CharacterVocabulary.read(vocabularyFile);
    }
    Path beside =
        Files.isDirectory(model)
            ? model.resolve("vocab.json")
            : model.toAbsolutePath().resolveSibling("vocab.json");
    boolean needed = prompt.text != null && Files.isRegularFile(beside);
    return needed ? CharacterVocabulary.read(beside) : null;
  }

  private int[] ids(@Nullable CharacterVocabulary vocabulary) {
    int[] ids = prompt.ids;
    if (prompt.text != null) {
      if (vocabulary == null) {
        throw new ParameterException(
            spec.commandLine(),
            "--prompt: expected --vocab FILE.json or vocab.json beside the model; other models need"
                + " their tokenizer and --prompt-ids");
      }
      ids = vocabulary.encode(prompt.text);
    }
    if (ids == null || ids.length == 0) {
      throw new ParameterException(
          spec.commandLine(), "the prompt: expected at least one token, got none");
    }
    return ids;
  }

  private void printJson(
      int[] added,
      @Nullable CharacterVocabulary vocabulary,
      Rates rates,
      Generator generator,
      int layers) {
    JsonObject document = new JsonObject();
    JsonArray ids = new JsonArray();
    Arrays.stream(added).forEach(ids::add);
    document.add("tokens", ids);
    if (vocabulary != null) {
      document.addProperty("text", vocabulary.decode(added));
    }
    document.addProperty("promptTokens", rates.promptTokens);
    document.addProperty("promptSeconds", rates.promptSeconds);
    document.addProperty("tokensPerSecond", rates.tokensPerSecond);
    document.addProperty("weightBytes", generator.weightBytes());
    document.addProperty("packedLayers", generator.packedLayers());
    document.addProperty("layers", layers);
    document.addProperty("tier", generator.tier().label());
    document.addProperty("threads", threads.most());
    spec.commandLine().getOut().println(Output.toJson(document));
  }

  private void print(
      int[] added,
      @Nullable CharacterVocabulary vocabulary,
      Rates rates,
      Generator generator,
      int layers) {
    PrintWriter out = spec.commandLine().getOut();
    out.println(
        vocabulary != null
            ? vocabulary.decode(added)
            : Arrays.stream(added).mapToObj(Integer::toString).collect(Collectors.joining(",")));
    out.println();
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put(
        "Prompt",
        rates.promptTokens
            + " tokens in "
            + Output.seconds(rates.promptSeconds)
            + ", the first new one included");
    facts.put(
        "Generated",
        added.length
            + " tokens"
            + (added.length < 2
                ? ""
                : ", " + Output.figure(rates.tokensPerSecond) + " tokens/s after the first"));
    facts.put(
        "Weights",
        Output.figure(generator.weightBytes() * 1e-6)
            + " MB for a token, "
            + generator.packedLayers()
            + " of "
            + layers
            + " layers without their zeros");
    facts.put("Tier", Output.workers(generator.tier(), threads.most()));
    facts.forEach((name, value) -> out.printf("%-12s %s%n", name, value));
  }
}

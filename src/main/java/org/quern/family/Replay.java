package org.quern.family;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.quern.runtime.Tier;

/** One run of a family's golden cases: the directory, the tier, and the results as they come. */
public final class Replay {
  private final Path directory;
  private final Tier tier;
  private final Consumer<CaseResult> listener;
  private final List<CaseResult> results = new ArrayList<>();
  private final TreeSet<String> unclaimed = new TreeSet<>();
  private final Map<String, String> skipped = new LinkedHashMap<>();

  /**
   * Lists the directory.
   *
   * @param listener receives every result as it is recorded
   * @throws IOException where the directory cannot be listed
   */
  public Replay(Path directory, Tier tier, Consumer<CaseResult> listener) throws IOException {
    this.directory = directory;
    this.tier = tier;
    this.listener = listener;
    try (Stream<Path> entries = Files.list(directory)) {
      entries
          .map(path -> path.getFileName().toString())
          .filter(name -> !name.startsWith("README"))
          .forEach(unclaimed::add);
    }
  }

  /** The directory that holds the cases. */
  public Path directory() {
    return directory;
  }

  /** The tier to run. */
  public Tier tier() {
    return tier;
  }

  /** Names of the files that no case has claimed yet, sorted; README files are left out. */
  public List<String> unclaimed() {
    return List.copyOf(unclaimed);
  }

  /** Marks a file as recognised and returns its path. */
  public Path claim(String file) {
    unclaimed.remove(file);
    return directory.resolve(file);
  }

  /** Records the outcome of one case. */
  public void record(String file, String name, double worst, double tolerance, String unit) {
    CaseResult result = new CaseResult(file, name, tier, worst, tolerance, unit);
    results.add(result);
    listener.accept(result);
  }

  /** Records that part of a recognised file was not replayed, and why. */
  public void skip(String what, String why) {
    skipped.put(what, why);
  }

  /** The outcomes so far, in order. */
  public List<CaseResult> results() {
    return List.copyOf(results);
  }

  /** What was recognised but not replayed, with the reason, in order. */
  public Map<String, String> skipped() {
    return Collections.unmodifiableMap(new LinkedHashMap<>(skipped));
  }
}

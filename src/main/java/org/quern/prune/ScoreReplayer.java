package org.quern.prune;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import org.jspecify.annotations.Nullable;
import org.quern.family.Replay;
import org.quern.io.SafetensorsFile;
import org.quern.tensor.Tensor;

/** Replays recorded masks, and scores that are recorded apart from the layers they belong to. */
final class ScoreReplayer {
  private static final double SCORE_TOLERANCE = 2e-6;

  /** Scores so near, relative, are ties where the recorded program sums in another order. */
  private static final double NEAR_TIE = 1e-6;

  private final Replay replay;

  ScoreReplayer(Replay replay) {
    this.replay = replay;
  }

  /** Replays every member of a file with scores. */
  void replay(
      String name,
      SafetensorsFile file,
      Set<String> keys,
      Map<String, SafetensorsFile> files,
      Arena arena)
      throws IOException {
    for (String key : keys) {
      Matcher member = PruneReplayer.MEMBER.matcher(key);
      if (!member.matches()) {
        continue;
      }
      switch (member.group(2)) {
        case "score" -> replayScores(name, file, member, files, arena);
        case "mask" -> replayMask(name, file, member, files, arena);
        default ->
            replay.skip(
                name + ": *." + member.group(2) + "." + member.group(3), PruneReplayer.LATER);
      }
    }
  }

  private void replayScores(
      String name,
      SafetensorsFile file,
      Matcher member,
      Map<String, SafetensorsFile> files,
      Arena arena)
      throws IOException {
    String key = member.group();
    String what = member.group(3);
    Method method = GoldenRun.method(what.split("\\.", 2)[0]);
    if (method == null) {
      replay.skip(name + ": *.score." + what, PruneReplayer.LATER);
      return;
    }
    RecordedLayer layer =
        layer(file, member.group(1), file.entry(key).shape(), method, what, files, arena);
    if (layer == null) {
      replay.skip(name + ": " + key, "no file beside it holds the layer with its statistics");
      return;
    }
    Tensor scores =
        Pruner.builder()
            .method(method)
            .exponent(GoldenRun.exponent(what))
            .tier(replay.tier())
            .build()
            .scores(arena, layer.weights(), layer.statistics());
    double worst =
        Deviation.relative(
            scores.toFloatArray(), file.load(key, arena).toFloatArray(), Float.MIN_NORMAL);
    replay.record(name, key, worst, SCORE_TOLERANCE, PruneReplayer.RELATIVE);
  }

  /** Replays a mask whose key, as {@code member} matched it, tells layer, method, and pattern. */
  void replayMask(
      String name,
      SafetensorsFile file,
      Matcher member,
      Map<String, SafetensorsFile> files,
      Arena arena)
      throws IOException {
    String key = member.group();
    GoldenRun run = GoldenRun.parse(member.group(3));
    if (run == null) {
      replay.skip(name + ": " + key, PruneReplayer.LATER);
      return;
    }
    RecordedLayer layer =
        layer(file, member.group(1), null, run.method(), member.group(3), files, arena);
    if (layer == null) {
      replay.skip(name + ": " + key, "the weights or a statistic of the layer are missing");
      return;
    }
    Pruner pruner = run.pruner(replay.tier());
    Tensor got = pruner.mask(arena, layer.weights(), layer.statistics());
    Tensor expected = file.load(key, arena);
    double worst = Deviation.bits(got, expected);
    String unit = PruneReplayer.MASK_BITS;
    int group = groupWithTies(run, layer);
    if (worst > 0 && group > 0) {
      Tensor scores = pruner.scores(arena, layer.weights(), layer.statistics());
      double tolerance = run.method().usesWholeMatrix() ? NEAR_TIE : 0;
      worst = RecordedMask.bitsOutsideTies(got, expected, scores, group, tolerance);
      unit = PruneReplayer.MASK_BITS + " beside ties";
    }
    replay.record(name, key, worst, 0, unit);
  }

  /** Columns of a group in which the recorded choice among equals is free, or 0. */
  private static int groupWithTies(GoldenRun run, RecordedLayer layer) {
    return switch (run.pattern()) {
      // Which of equal scores the released program prunes in a group is not specified.
      case Pattern.NM nm -> nm.of();
      case Pattern.Unstructured u when u.group() == Group.ROW && run.method().usesWholeMatrix() ->
          Math.toIntExact(layer.weights().dim(1));
      default -> 0;
    };
  }

  private static @Nullable RecordedLayer layer(
      SafetensorsFile file,
      String layer,
      long @Nullable [] shape,
      Method method,
      String what,
      Map<String, SafetensorsFile> files,
      Arena arena)
      throws IOException {
    GradientNorm norm = GoldenRun.norm(what);
    if (PruneReplayer.keys(file).contains(layer + ".weight")) {
      return RecordedLayer.load(file, layer, method, norm, arena);
    }
    String note = file.metadata().getOrDefault("note", "");
    return RecordedLayer.find(files, note, layer, shape, method, norm, arena);
  }
}

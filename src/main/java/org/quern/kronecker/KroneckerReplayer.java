package org.quern.kronecker;

import java.io.IOException;
import java.lang.foreign.Arena;
import org.quern.family.Replay;
import org.quern.io.FormatException;

/**
 * Replays recorded cases of this family. Files are recognised by the kind that their metadata name;
 * file names, sizes, seeds and hyper-parameters are free.
 */
final class KroneckerReplayer {
  private static final String SUFFIX = ".safetensors";

  private final Replay replay;

  KroneckerReplayer(Replay replay) {
    this.replay = replay;
  }

  /** Replays every recognised file of the directory. */
  void run() throws IOException {
    for (String file : replay.unclaimed()) {
      if (!file.endsWith(SUFFIX)) {
        continue;
      }
      try (GoldenCase golden = GoldenCase.open(replay.directory().resolve(file));
          Arena arena = Arena.ofShared()) {
        if (golden != null) {
          replay(golden, arena);
        }
      } catch (IllegalArgumentException e) {
        // A value of the case that is out of its range.
        throw new FormatException(
            replay.directory().resolve(file).toString(), "case: " + e.getMessage());
      }
    }
  }

  private void replay(GoldenCase golden, Arena arena) throws IOException {
    Tally tally = new Tally();
    KernelReplayer kernels = new KernelReplayer(golden, replay.tier(), arena, tally);
    switch (golden.kind()) {
      case "update_rules" -> kernels.updateRules();
      case "update_special" -> kernels.updateSpecial();
      case "sequence" -> kernels.sequence();
      case "stabiliser" -> kernels.stabiliser();
      case "precondition" -> kernels.precondition();
      case "lowrank_gradient" -> kernels.lowRankGradient();
      case "eva_trajectory" -> new EvaReplayer(golden, replay.tier(), tally).run();
      case "trajectory", "gradmean_trajectory" ->
          new TrajectoryReplayer(golden, replay.tier(), tally).run();
      default -> {
        return;
      }
    }
    replay.claim(golden.name());
    tally.record(replay, golden.name());
  }
}

package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsHeader;
import org.quern.io.SafetensorsWriter;
import org.quern.tensor.DType;

/**
 * Measures the rate of {@link CheckpointPruner} beside that of a plain copy of the same file, in
 * one process and in turn, and the memory that it took. Run by hand; see docs/prune.md. Arguments:
 * a directory on the disk to measure, the number of decoder blocks (404 MB each), and the number of
 * rounds.
 */
final class CheckpointRateTool {
  private static final OperatingSystemMXBean SYSTEM =
      ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);

  private static final int HIDDEN = 4096;
  private static final int MLP = 11008;
  private static final int VOCABULARY = 32000;

  private CheckpointRateTool() {}

  /** Generates the files, measures, and deletes them. */
  public static void main(String[] arguments) throws IOException {
    Path directory = Files.createTempDirectory(Path.of(arguments[0]), "quern-rate");
    int blocks = Integer.parseInt(arguments[1]);
    int rounds = Integer.parseInt(arguments[2]);
    List<Path> files = new ArrayList<>();
    try {
      Path model = directory.resolve("model.safetensors");
      Path gradients = directory.resolve("grads.safetensors");
      Path activations = directory.resolve("activations.safetensors");
      Path output = directory.resolve("output.safetensors");
      files.addAll(List.of(model, gradients, activations, output));
      generate(model, gradients, activations, blocks);
      measure(model, gradients, activations, output, rounds, System.out);
    } finally {
      for (Path file : files) {
        Files.deleteIfExists(file);
      }
      Files.delete(directory);
    }
  }

  private static void generate(Path model, Path gradients, Path activations, int blocks)
      throws IOException {
    SafetensorsHeader.Builder weights = SafetensorsHeader.builder().metadata("format", "pt");
    SafetensorsHeader.Builder statistics = SafetensorsHeader.builder();
    SafetensorsHeader.Builder columns = SafetensorsHeader.builder();
    weights.add("model.embed_tokens.weight", DType.BF16, VOCABULARY, HIDDEN);
    Map<String, long[]> linears = new LinkedHashMap<>();
    for (String name :
        List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")) {
      linears.put(name, new long[] {HIDDEN, HIDDEN});
    }
    linears.put("mlp.gate_proj", new long[] {MLP, HIDDEN});
    linears.put("mlp.up_proj", new long[] {MLP, HIDDEN});
    linears.put("mlp.down_proj", new long[] {HIDDEN, MLP});
    for (int block = 0; block < blocks; block++) {
      String prefix = "model.layers." + block + ".";
      weights.add(prefix + "input_layernorm.weight", DType.BF16, HIDDEN);
      for (Map.Entry<String, long[]> linear : linears.entrySet()) {
        weights.add(prefix + linear.getKey() + ".weight", DType.BF16, linear.getValue());
        statistics.add(prefix + linear.getKey() + ".grad_l1", DType.F16, linear.getValue());
        columns.add(prefix + linear.getKey() + ".scaler_row", DType.F16, linear.getValue()[1]);
      }
    }
    write(model, weights.build(), 1, true);
    write(gradients, statistics.build(), 2, false);
    write(activations, columns.build(), 3, false);
  }

  /** Fills a file with normally distributed values, without signs unless they are weights. */
  private static void write(Path file, SafetensorsHeader header, long seed, boolean weights)
      throws IOException {
    SplittableRandom random = new SplittableRandom(seed);
    short[] values = new short[1 << 16];
    for (int i = 0; i < values.length; i++) {
      float value = (float) (0.02 * random.nextGaussian());
      values[i] =
          weights
              ? (short) (Float.floatToRawIntBits(value) >>> 16)
              : Float.floatToFloat16(Math.abs(value));
    }
    try (Arena arena = Arena.ofConfined();
        SafetensorsWriter writer = SafetensorsWriter.create(file, header)) {
      MemorySegment buffer = arena.allocate(1 << 22, 64);
      for (SafetensorsEntry entry : header.entries()) {
        for (long done = 0; done < entry.bytes(); done += buffer.byteSize()) {
          for (long i = 0; i < buffer.byteSize() / Short.BYTES; i += 4) {
            long bits = random.nextLong();
            for (int k = 0; k < 4; k++) {
              buffer.setAtIndex(JAVA_SHORT, i + k, values[(int) (bits >>> 16 * k) & 0xffff]);
            }
          }
          writer.write(
              entry.name(),
              done,
              buffer.asSlice(0, Math.min(buffer.byteSize(), entry.bytes() - done)));
        }
      }
      writer.force();
      writer.commit();
    }
  }

  /** One thing to time, and the wall and processor seconds that it took each round. */
  private record Timed(String name, Job job, List<Double> seconds, List<Double> cpuSeconds) {
    Timed(String name, Job job) {
      this(name, job, new ArrayList<>(), new ArrayList<>());
    }
  }

  private interface Job {
    void run() throws IOException;
  }

  private static void measure(
      Path model, Path gradients, Path activations, Path output, int rounds, PrintStream out)
      throws IOException {
    List<Timed> all = new ArrayList<>();
    all.add(new Timed("copy: Files.copy", () -> Files.copy(model, output)));
    all.add(new Timed("copy: transferTo", () -> transfer(model, output)));
    List<Timed> forced = new ArrayList<>();
    forced.add(
        new Timed(
            "copy: Files.copy, forced to disk",
            () -> {
              Files.copy(model, output);
              force(output);
            }));
    for (Method method : List.of(Method.WANDA, Method.GBLM)) {
      for (Pattern pattern : List.of(Pattern.unstructured(0.5), Pattern.nm(2, 4))) {
        for (int threads = 1; threads <= 2; threads++) {
          CheckpointPruner pruner =
              CheckpointPruner.builder()
                  .method(method)
                  .pattern(pattern)
                  .gradients(gradients)
                  .activations(activations)
                  .threads(threads)
                  .build();
          String name = method.label() + " " + pattern + ", threads " + threads;
          all.add(new Timed(name, () -> pruner.prune(model, output)));
          if (method == Method.GBLM) {
            forced.add(
                new Timed(
                    name + ", forced to disk",
                    () -> {
                      pruner.prune(model, output);
                      force(output);
                    }));
          }
        }
      }
    }
    out.printf(
        "model %.2f GB, gradients %.2f GB%n",
        Files.size(model) * 1e-9, Files.size(gradients) * 1e-9);
    run(all, model, output, rounds, out);
    run(forced, model, output, rounds, out);
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("VmHWM") || line.startsWith("Rss")) {
        out.println(line);
      }
    }
  }

  /** Runs all in turn, prints the medians, and compares with the fastest copy. */
  private static void run(List<Timed> all, Path model, Path output, int rounds, PrintStream out)
      throws IOException {
    // The first round warms the page cache and the compiler.
    for (int round = -1; round < rounds; round++) {
      for (Timed timed : all) {
        long start = System.nanoTime();
        long cpuStart = SYSTEM.getProcessCpuTime();
        timed.job.run();
        double seconds = (System.nanoTime() - start) * 1e-9;
        double cpuSeconds = (SYSTEM.getProcessCpuTime() - cpuStart) * 1e-9;
        Files.delete(output);
        if (round >= 0) {
          timed.seconds.add(seconds);
          timed.cpuSeconds.add(cpuSeconds);
        }
      }
    }
    double bytes = Files.size(model);
    double copy = 0;
    for (Timed timed : all) {
      if (timed.name.startsWith("copy")) {
        copy = Math.max(copy, bytes / median(timed.seconds));
      }
    }
    for (Timed timed : all) {
      double rate = bytes / median(timed.seconds);
      out.printf(
          "%-40s %5.2f GB/s  %3.0f %% of the copy  %5.2f s of processor time  %s%n",
          timed.name, rate * 1e-9, 100 * rate / copy, median(timed.cpuSeconds), seconds(timed));
    }
  }

  private static String seconds(Timed timed) {
    return timed.seconds.stream().map(each -> String.format("%.2f", each)).toList().toString();
  }

  private static double median(List<Double> values) {
    double[] sorted = values.stream().mapToDouble(each -> each).sorted().toArray();
    return sorted.length % 2 == 1
        ? sorted[sorted.length / 2]
        : (sorted[sorted.length / 2 - 1] + sorted[sorted.length / 2]) / 2;
  }

  private static void force(Path file) throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.force(true);
    }
  }

  private static void transfer(Path source, Path target) throws IOException {
    try (FileChannel from = FileChannel.open(source, StandardOpenOption.READ);
        FileChannel to =
            FileChannel.open(target, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
      for (long done = 0; done < from.size(); ) {
        done += from.transferTo(done, from.size() - done, to);
      }
    }
  }
}

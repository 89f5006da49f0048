package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.quern.gaunt.VectorClass.Part;
import org.quern.runtime.NativeViews;
import org.quern.tensor.DType;

/**
 * The sum over all non-zero coefficients with channels in the lanes of vectors, written out: for
 * every component of the result, over the components of one input, the sum over the other. Only for
 * low degrees, whose code is short.
 */
final class VectorDirect implements ProductAlgorithm {
  /** Most coefficients that are written out. */
  static final int MAX_COEFFICIENTS = 3000;

  private final DType type;
  private final int channels;
  private final int[] sizes;
  private final VectorTile code;
  private final Object table;
  private final VectorClass.Warmup warmup = new VectorClass.Warmup();

  /**
   * The algorithm for tiles of {@code type}, F32 or F64.
   *
   * @throws IllegalArgumentException where the form has more than {@link #MAX_COEFFICIENTS}
   */
  VectorDirect(TrilinearForm form, DType type) {
    this.type = type;
    channels = VectorTile.channels(type);
    sizes = new int[] {form.components(0), form.components(1), form.components(2)};
    DirectPlan plan = new DirectPlan(form);
    if (plan.values.length > MAX_COEFFICIENTS) {
      throw new IllegalArgumentException(
          "algorithm: expected a form of at most "
              + MAX_COEFFICIENTS
              + " coefficients for DIRECT on the vector tier, got "
              + plan.values.length);
    }
    VectorClass target = new VectorClass(type);
    List<List<Part>> kernels = new ArrayList<>();
    for (int operand = 0; operand < 3; operand++) {
      kernels.add(parts(plan, operand, target));
    }
    code = target.load(kernels);
    table = target.table();
  }

  private List<Part> parts(DirectPlan plan, int target, VectorClass to) {
    int first = target == 0 ? 1 : 0;
    int second = target == 2 ? 1 : 2;
    // The fewer products of a sum with a component, the better.
    boolean swapped = products(plan, target, second) < products(plan, target, first);
    int outer = swapped ? second : first;
    List<Part> parts = new ArrayList<>();
    List<Map.Entry<Integer, Map<Integer, Map<Integer, Double>>>> some = new ArrayList<>();
    Map<Integer, Map<Integer, Map<Integer, Double>>> sums = plan.sums(target, outer);
    for (int k = 0; k < sizes[target]; k++) {
      sums.computeIfAbsent(k, component -> new TreeMap<>());
    }
    for (var sum : sums.entrySet()) {
      some.add(sum);
      if (some.size() > 1 && cost(some) > VectorCode.MAX_COST) {
        some.removeLast();
        parts.add(part(some, swapped, to));
        some = new ArrayList<>(List.of(sum));
      }
    }
    parts.add(part(some, swapped, to));
    return parts;
  }

  private static long products(DirectPlan plan, int target, int outer) {
    return plan.sums(target, outer).values().stream().mapToLong(Map::size).sum();
  }

  private static int cost(List<Map.Entry<Integer, Map<Integer, Map<Integer, Double>>>> sums) {
    long outer = sums.stream().flatMap(s -> s.getValue().keySet().stream()).distinct().count();
    var inners = sums.stream().flatMap(s -> s.getValue().values().stream()).toList();
    long inner = inners.stream().flatMap(t -> t.keySet().stream()).distinct().count();
    long values = inners.stream().flatMap(t -> t.values().stream()).distinct().count();
    long adds = inners.stream().mapToLong(t -> t.size() + 1).sum();
    return (int) (VectorCode.MEMORY * (outer + inner + sums.size()) + values + adds);
  }

  private static Part part(
      List<Map.Entry<Integer, Map<Integer, Map<Integer, Double>>>> sums,
      boolean swapped,
      VectorClass to) {
    return new Part(
        cost(sums),
        Set.of(VectorClass.A, VectorClass.B, VectorClass.C),
        code -> write(code, sums, swapped, to));
  }

  private static void write(
      VectorCode code,
      List<Map.Entry<Integer, Map<Integer, Map<Integer, Double>>>> sums,
      boolean swapped,
      VectorClass to) {
    Map<Integer, Integer> xs = new HashMap<>();
    Map<Integer, Integer> ys = new HashMap<>();
    Map<Double, Integer> factors = new HashMap<>();
    for (var sum : sums) {
      int total = 0;
      for (var row : sum.getValue().entrySet()) {
        int inner = 0;
        for (var entry : row.getValue().entrySet()) {
          int factor =
              factors.computeIfAbsent(
                  entry.getValue(), v -> code.broadcast(VectorClass.TABLE, -1, 0, to.reserve(v)));
          int y = ys.computeIfAbsent(entry.getKey(), i -> load(code, !swapped, i));
          inner = accumulate(code, inner, factor, y);
        }
        int x = xs.computeIfAbsent(row.getKey(), i -> load(code, swapped, i));
        total = accumulate(code, total, x, inner);
      }
      if (total == 0) {
        total = code.zero();
      }
      code.store(total, VectorClass.C, VectorClass.C_AT, VectorClass.C_STEP, sum.getKey());
    }
  }

  private static int load(VectorCode code, boolean second, int component) {
    return second
        ? code.load(VectorClass.B, VectorClass.B_AT, VectorClass.B_STEP, component)
        : code.load(VectorClass.A, VectorClass.A_AT, VectorClass.A_STEP, component);
  }

  private static int accumulate(VectorCode code, int sum, int a, int b) {
    if (sum == 0) {
      int fresh = code.local();
      code.multiply(fresh, a, b);
      return fresh;
    }
    code.multiplyAdd(sum, a, b, sum);
    return sum;
  }

  @Override
  public int channels() {
    return channels;
  }

  @Override
  public long scratchBytes() {
    return 0;
  }

  @Override
  public void contract(
      int target,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment out,
      long outAt,
      long outStep,
      MemorySegment scratch) {
    int first = target == 0 ? 1 : 0;
    int second = target == 2 ? 1 : 2;
    code.run(
        target,
        warmup.spin(),
        x,
        NativeViews.at(x, xAt, bytes(first, xStep)),
        xStep,
        y,
        NativeViews.at(y, yAt, bytes(second, yStep)),
        yStep,
        out,
        NativeViews.at(out, outAt, bytes(target, outStep)),
        outStep,
        table);
  }

  private long bytes(int operand, long step) {
    return (sizes[operand] - 1) * step + (long) channels * type.bytes();
  }
}

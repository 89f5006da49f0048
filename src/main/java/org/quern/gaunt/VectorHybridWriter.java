package org.quern.gaunt;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.quern.gaunt.HybridPlan.Order;
import org.quern.gaunt.VectorClass.Part;

/**
 * Writes the kernels that run a {@link HybridPlan} on vectors of channels.
 *
 * <p>Work is cut into pieces, one static method each, that are small enough for the compiler: an
 * order or a few of a transform, or an order or a few of the products of series. Within a piece a
 * loop runs over the nodes, and the operations at a node stand in a row, with amplitudes in
 * registers. Only the part of the nodes that an order needs is visited.
 */
final class VectorHybridWriter {
  /**
   * Kernel that takes two operands to amplitudes and multiplies them, plus the role of the result:
   * the operands of the lower and of the higher role, and the amplitudes.
   */
  static final int MULTIPLY = 0;

  /** Kernel that takes amplitudes to coefficients, plus the role: the operand, any, amplitudes. */
  static final int TO_COEFFICIENTS = 3;

  /** As the kernel that multiplies to operand 1, where the amplitudes of operand 2 are there. */
  static final int MULTIPLY_AGAIN = 6;

  // The amplitudes are the third part of memory of every kernel.
  private static final int GRID = VectorClass.C;
  private static final int GRID_AT = VectorClass.C_AT;
  private static final int TABLE = VectorClass.TABLE;

  /**
   * Accumulators of a step to coefficients: latency times rate, and registers left for the rest.
   */
  private static final int ACCUMULATORS = 12;

  /** Loops of no higher cost than this are written out. */
  private static final int UNROLLED = 130;

  /** Operands that are held in registers across the nodes. */
  private static final int HELD = 22;

  /**
   * Most terms in the code of all segments, so that it stays in the cache of instructions; beyond,
   * segments are joined.
   */
  private static final int MAX_TERMS = 1800;

  /** Amplitudes of inputs that are held in registers at a node. */
  private static final int AMPLITUDES = 36;

  private final HybridPlan plan;
  private final VectorClass target;
  private final long width;

  private final List<Term> terms;

  /** By order of the projected operand, the number of terms. */
  private final int[] termsOfOrder;

  /** By role of the result. */
  private final List<List<Segment>> segments = new ArrayList<>();

  /**
   * A writer.
   *
   * @param target takes the kernels
   * @param width bytes of a vector
   */
  VectorHybridWriter(HybridPlan plan, VectorClass target, int width) {
    this.plan = plan;
    this.target = target;
    this.width = width;
    terms = plan.terms();
    termsOfOrder = new int[plan.form.degree(HybridPlan.PROJECTED) + 1];
    for (Term term : terms) {
      termsOfOrder[order(term.third())]++;
    }
    for (int role = 0; role < 3; role++) {
      segments.add(segments(role));
    }
  }

  /** Makes the class. */
  VectorTile load() {
    List<List<Part>> kernels = new ArrayList<>();
    for (int role = 0; role < 3; role++) {
      kernels.add(multiply(role, first(role), second(role)));
    }
    for (int role = 0; role < 3; role++) {
      kernels.add(toCoefficients(role));
    }
    kernels.add(multiply(plan.role(1), plan.role(0)));
    return target.load(kernels);
  }

  /** Bytes of the amplitudes of all roles. */
  long gridBytes() {
    return grid(3);
  }

  /** Byte where the amplitudes of a role begin. */
  private long grid(int role) {
    long bytes = 0;
    for (int r = 0; r < role; r++) {
      bytes += plan.nodes * nodeBytes(r);
    }
    return bytes;
  }

  /** Bytes between the amplitudes of one node and of the next. */
  private long nodeBytes(int role) {
    return plan.slots(role) * width;
  }

  private static int component(int l, int m, boolean sine) {
    return l * l + l + (sine ? -m : m);
  }

  private boolean hasEquator(Order order) {
    return plan.equator == 1 && order.first() == 0;
  }

  // Coefficients to amplitudes: for every pair of nodes the sums over even and over odd degrees;
  // the amplitudes are their sum and difference.

  /**
   * The transform of an operand.
   *
   * @param source the part of memory where the operand is
   */
  private List<Part> toAmplitudes(int role, int source) {
    List<Part> parts = new ArrayList<>();
    for (int m = 0; m <= plan.form.degree(role); m++) {
      int rows = plan.form.degree(role) - m + 1;
      if (m == 0) {
        parts.add(new Amplitudes(role, source, m, false).part());
      } else if (2 * rows <= HELD) {
        parts.add(new Amplitudes(role, source, m, false, true).part());
      } else {
        parts.add(new Amplitudes(role, source, m, false).part());
        parts.add(new Amplitudes(role, source, m, true).part());
      }
    }
    return parts;
  }

  /** The amplitudes of one order. */
  private final class Amplitudes {
    private final int role;
    private final int source;
    private final int m;
    private final boolean[] sines;
    private final Order order;
    private final int rows;

    Amplitudes(int role, int source, int m, boolean... sines) {
      this.role = role;
      this.source = source;
      this.m = m;
      this.sines = sines;
      order = plan.order(role, m);
      rows = order.table().length;
    }

    private int costOfPair() {
      int stores = 2 * sines.length;
      return rows * (1 + sines.length) + 2 * sines.length + VectorCode.MEMORY * stores;
    }

    Part part() {
      int pair = costOfPair();
      int cost =
          VectorCode.MEMORY * rows * sines.length
              + pair * (unrolls(order.pairs(), pair) ? order.pairs() : 1);
      if (hasEquator(order)) {
        cost += (rows + 1) / 2 * (1 + sines.length) + VectorCode.MEMORY * sines.length;
      }
      return new Part(cost, Set.of(source, GRID), this::write);
    }

    private void write(VectorCode code) {
      if (role == HybridPlan.PROJECTED) {
        clear(code, m, sines);
      }
      int[][] x = new int[sines.length][rows];
      for (int s = 0; s < sines.length; s++) {
        for (int i = 0; i < rows; i++) {
          x[s][i] = code.load(source, source + 1, source + 3, component(m + i, m, sines[s]));
        }
      }
      if (hasEquator(order)) {
        writeEquator(code, x);
      }
      if (order.pairs() > 0) {
        writePairs(code, x);
      }
    }

    /** At the equator odd functions are zero. */
    private void writeEquator(VectorCode code, int[][] x) {
      double[] factors = new double[(rows + 1) / 2];
      for (int i = 0; i < factors.length; i++) {
        factors[i] = order.table()[2 * i][0];
      }
      int at = target.reserve(factors);
      int[] sums = new int[sines.length];
      for (int i = 0; i < factors.length; i++) {
        int factor = code.broadcast(TABLE, -1, 0, at + i);
        for (int s = 0; s < sines.length; s++) {
          sums[s] = accumulate(code, sums[s], i == 0, factor, x[s][2 * i]);
        }
      }
      for (int s = 0; s < sines.length; s++) {
        code.store(sums[s], GRID, GRID_AT, grid(role) + slot(m, sines[s]) * width);
      }
    }

    private void writePairs(VectorCode code, int[][] x) {
      double[] factors = new double[order.pairs() * rows];
      for (int p = 0; p < order.pairs(); p++) {
        for (int i = 0; i < rows; i++) {
          factors[p * rows + i] = order.table()[i][plan.equator + p];
        }
      }
      int at = target.reserve(factors);
      pairs(
          code,
          role,
          order.pairs(),
          costOfPair(),
          place -> {
            int[][] sums = new int[2][sines.length];
            for (int i = 0; i < rows; i++) {
              int factor = place.factor(code, rows, at + i);
              for (int s = 0; s < sines.length; s++) {
                sums[i % 2][s] = accumulate(code, sums[i % 2][s], i < 2, factor, x[s][i]);
              }
            }
            for (int s = 0; s < sines.length; s++) {
              long offset = place.offset + slot(m, sines[s]) * width;
              int upper = sums[0][s];
              int lower = sums[0][s];
              if (rows == 1 && plan.mirrored(role)) {
                lower = code.zero();
                code.subtract(lower, lower, upper);
              }
              if (rows > 1) {
                upper = code.local();
                lower = code.local();
                code.add(upper, sums[0][s], sums[1][s]);
                int even = plan.mirrored(role) ? 1 : 0;
                code.subtract(lower, sums[even][s], sums[1 - even][s]);
              }
              code.store(upper, GRID, place.base, offset);
              code.store(lower, GRID, place.base, offset + nodeBytes(role));
            }
          });
    }
  }

  /** Clears amplitudes that an order does not have, and that joined segments read all the same. */
  private void clear(VectorCode code, int m, boolean[] sines) {
    int from = plan.equator + 2 * plan.order(HybridPlan.PROJECTED, m).pairs();
    int to = from;
    for (int result = 0; result < HybridPlan.PROJECTED; result++) {
      for (Segment segment : segments.get(result)) {
        if (segment.from < from && segment.to > from && m < segment.orders) {
          to = Math.max(to, segment.to);
        }
      }
    }
    if (to > from) {
      int zero = code.zero();
      int node = code.number();
      code.loop(
          from,
          to,
          counter -> {
            int role = HybridPlan.PROJECTED;
            code.address(node, GRID_AT, counter, nodeBytes(role), grid(role));
            for (boolean sine : sines) {
              code.store(zero, GRID, node, slot(m, sine) * width);
            }
          });
    }
  }

  /** A pair of nodes: by a counter, or where none is needed by its number. */
  private record Place(int base, long offset, int counter, int pair) {
    int factor(VectorCode code, int stride, int index) {
      return counter >= 0
          ? code.broadcast(TABLE, counter, stride, index)
          : code.broadcast(TABLE, -1, 0, pair * stride + index);
    }
  }

  /** Runs a body for all pairs: in a row where that is little, else in a loop. */
  private void pairs(VectorCode code, int role, int pairs, int cost, Consumer<Place> body) {
    long first = grid(role) + plan.equator * nodeBytes(role);
    if (unrolls(pairs, cost)) {
      for (int p = 0; p < pairs; p++) {
        body.accept(new Place(GRID_AT, first + 2L * p * nodeBytes(role), -1, p));
      }
      return;
    }
    int node = code.number();
    code.loop(
        0,
        pairs,
        pair -> {
          code.address(node, GRID_AT, pair, 2 * nodeBytes(role), first);
          body.accept(new Place(node, 0, pair, -1));
        });
  }

  private static boolean unrolls(int pairs, int cost) {
    return pairs * cost <= UNROLLED;
  }

  private static int slot(int m, boolean sine) {
    return m == 0 ? 0 : sine ? 2 * m : 2 * m - 1;
  }

  private static int accumulate(VectorCode code, int sum, boolean first, int a, int b) {
    if (first) {
      int fresh = code.local();
      code.multiply(fresh, a, b);
      return fresh;
    }
    code.multiplyAdd(sum, a, b, sum);
    return sum;
  }

  // Amplitudes to coefficients: the transpose.

  private List<Part> toCoefficients(int role) {
    List<Part> parts = new ArrayList<>();
    for (int m = 0; m <= plan.form.degree(role); m++) {
      int rows = plan.form.degree(role) - m + 1;
      boolean[] sines = m == 0 ? new boolean[] {false} : new boolean[] {false, true};
      int most = ACCUMULATORS / sines.length;
      if (rows <= most) {
        parts.add(toCoefficients(role, m, 0, 1, rows, sines));
        continue;
      }
      for (int parity = 0; parity < 2; parity++) {
        int count = (rows - parity + 1) / 2;
        int blocks = Math.ceilDiv(count, most);
        int done = 0;
        for (int b = 0; b < blocks; b++) {
          int some = (count - done) / (blocks - b);
          parts.add(toCoefficients(role, m, parity + 2 * done, 2, some, sines));
          done += some;
        }
      }
    }
    return parts;
  }

  private Part toCoefficients(int role, int m, int from, int step, int count, boolean[] sines) {
    Order order = plan.order(role, m);
    int series = sines.length;
    int pair = costOfPair(count, series);
    int cost =
        VectorCode.MEMORY * count * series
            + pair * (unrolls(order.pairs(), pair) ? order.pairs() : 1);
    if (hasEquator(order)) {
      cost += VectorCode.MEMORY * series + count * (1 + series);
    }
    return new Part(
        cost,
        Set.of(VectorClass.A, GRID),
        code -> toCoefficients(code, role, m, from, step, count, sines));
  }

  private static int costOfPair(int count, int series) {
    return count * (1 + series) + 2 * series + VectorCode.MEMORY * 2 * series;
  }

  private void toCoefficients(
      VectorCode code, int role, int m, int from, int step, int count, boolean[] sines) {
    Order order = plan.order(role, m);
    int[][] sums = new int[sines.length][count];
    boolean[] begun = new boolean[count];
    if (hasEquator(order)) {
      List<Integer> even = new ArrayList<>();
      for (int j = 0; j < count; j++) {
        if ((from + j * step) % 2 == 0) {
          even.add(j);
        }
      }
      if (!even.isEmpty()) {
        int at =
            target.reserve(
                even.stream().mapToDouble(j -> order.table()[from + j * step][0]).toArray());
        int[] v = new int[sines.length];
        for (int s = 0; s < sines.length; s++) {
          v[s] = code.load(GRID, GRID_AT, grid(role) + slot(m, sines[s]) * width);
        }
        for (int e = 0; e < even.size(); e++) {
          int factor = code.broadcast(TABLE, -1, 0, at + e);
          for (int s = 0; s < sines.length; s++) {
            sums[s][even.get(e)] = code.local();
            code.multiply(sums[s][even.get(e)], factor, v[s]);
          }
          begun[even.get(e)] = true;
        }
      }
    }
    for (int j = 0; j < count; j++) {
      if (!begun[j]) {
        for (int s = 0; s < sines.length; s++) {
          sums[s][j] = code.zero();
        }
      }
    }
    double[] factors = new double[order.pairs() * count];
    for (int p = 0; p < order.pairs(); p++) {
      for (int j = 0; j < count; j++) {
        factors[p * count + j] = order.table()[from + j * step][plan.equator + p];
      }
    }
    int at = target.reserve(factors);
    if (order.pairs() > 0) {
      pairs(
          code,
          role,
          order.pairs(),
          costOfPair(count, sines.length),
          place -> {
            int node = place.base;
            int[][] combined = new int[2][sines.length];
            for (int s = 0; s < sines.length; s++) {
              long offset = place.offset + slot(m, sines[s]) * width;
              int upper = code.load(GRID, node, offset);
              int lower = code.load(GRID, node, offset + nodeBytes(role));
              for (int parity = 0; parity < 2; parity++) {
                if (step == 2 ? from % 2 == parity : count > 1 || parity == 0) {
                  combined[parity][s] = code.local();
                  if ((parity == 1) == plan.mirrored(role)) {
                    code.add(combined[parity][s], upper, lower);
                  } else {
                    code.subtract(combined[parity][s], upper, lower);
                  }
                }
              }
            }
            for (int j = 0; j < count; j++) {
              int factor = place.factor(code, count, at + j);
              for (int s = 0; s < sines.length; s++) {
                int v = combined[(from + j * step) % 2][s];
                code.multiplyAdd(sums[s][j], factor, v, sums[s][j]);
              }
            }
          });
    }
    for (int j = 0; j < count; j++) {
      for (int s = 0; s < sines.length; s++) {
        int l = m + from + j * step;
        code.store(
            sums[s][j],
            VectorClass.A,
            VectorClass.A_AT,
            VectorClass.A_STEP,
            component(l, m, sines[s]));
      }
    }
  }

  // The products of series at a node.

  /**
   * Nodes next to one another that are treated alike: the amplitudes of the result, and of the
   * projected operand the orders that one of these nodes needs.
   */
  private record Segment(int from, int to, int orders) {}

  /** Nodes at which an order of the projected operand is needed. */
  private boolean needs(int order, int node) {
    Order nodes = plan.order(HybridPlan.PROJECTED, order);
    return node >= nodes.first() && node < plan.equator + 2 * nodes.pairs();
  }

  /** One past the highest order that is needed at a node. */
  private int orders(int node) {
    int orders = 0;
    for (int k = 0; k <= plan.form.degree(HybridPlan.PROJECTED); k++) {
      if (needs(k, node)) {
        orders = k + 1;
      }
    }
    return orders;
  }

  private static int order(int slot) {
    return (slot + 1) / 2;
  }

  /** Whether an order of the projected operand is worked on at the nodes of a segment. */
  private boolean has(Segment segment, int order) {
    // The equator, which is a segment of its own, leaves out orders in between.
    return order < segment.orders && (segment.from >= plan.equator || needs(order, segment.from));
  }

  /** Terms at a node of a segment, by order of the amplitudes of a role. */
  private Map<Integer, List<Term>> terms(int role, Segment segment) {
    Map<Integer, List<Term>> byOrder = new TreeMap<>();
    // Also what no term reaches is read later, and must be zero.
    for (int m = 0; m <= plan.form.degree(role); m++) {
      if (role != HybridPlan.PROJECTED || has(segment, m)) {
        byOrder.put(m, new ArrayList<>());
      }
    }
    for (Term term : terms) {
      if (has(segment, order(term.third()))) {
        byOrder.computeIfAbsent(order(term.slot(role)), o -> new ArrayList<>()).add(term);
      }
    }
    return byOrder;
  }

  private long count(List<Segment> some) {
    return some.stream().mapToLong(this::count).sum();
  }

  /** Number of terms at a node of a segment, whatever the result. */
  private long count(Segment segment) {
    long count = 0;
    for (int k = 0; k < termsOfOrder.length; k++) {
      count += has(segment, k) ? termsOfOrder[k] : 0;
    }
    return count;
  }

  /**
   * The equator and the pairs, each a segment while that is not too much code; else neighbours
   * together, those first for which this adds the fewest operations.
   */
  private List<Segment> segments(int role) {
    List<Segment> split = new ArrayList<>();
    if (plan.equator == 1) {
      split.add(new Segment(0, 1, orders(0)));
    }
    for (int node = plan.equator; node < plan.nodes; node += 2) {
      split.add(new Segment(node, node + 2, orders(node)));
    }
    // Orders of the projected operand visit only the nodes that they need in any case.
    boolean all = role == HybridPlan.PROJECTED && count(split) > MAX_TERMS;
    while (split.size() > plan.equator + 1 && (all || count(split) > MAX_TERMS)) {
      int best = -1;
      long least = Long.MAX_VALUE;
      for (int i = plan.equator; i < split.size() - 1; i++) {
        Segment one = split.get(i);
        Segment next = split.get(i + 1);
        long added = (count(one) - count(next)) * (next.to - next.from);
        if (added < least) {
          least = added;
          best = i;
        }
      }
      Segment one = split.get(best);
      split.set(best, new Segment(one.from, split.remove(best + 1).to, one.orders));
    }
    return split;
  }

  /** Amplitudes of one order of a result, as the sums of terms. */
  private record Sums(int order, List<Term> terms) {
    int[] slots() {
      return order == 0 ? new int[] {0} : new int[] {2 * order - 1, 2 * order};
    }
  }

  /** The products of series, after the transforms of some of the factors. */
  private List<Part> multiply(int role, int... transformed) {
    List<Part> parts = new ArrayList<>();
    for (int factor : transformed) {
      parts.addAll(toAmplitudes(factor, source(role, factor)));
    }
    for (Segment segment : segments.get(role)) {
      parts.addAll(products(role, segment));
    }
    return parts;
  }

  private static int source(int role, int factor) {
    return factor == first(role) ? VectorClass.A : VectorClass.B;
  }

  private List<Part> products(int role, Segment segment) {
    List<Part> parts = new ArrayList<>();
    List<Sums> some = new ArrayList<>();
    int cost = 0;
    for (Map.Entry<Integer, List<Term>> entry : terms(role, segment).entrySet()) {
      Sums next = new Sums(entry.getKey(), entry.getValue());
      some.add(next);
      int together = cost(role, some);
      if (some.size() > 1 && together > VectorCode.MAX_COST) {
        some.removeLast();
        parts.add(products(role, segment, some, cost));
        some = new ArrayList<>(List.of(next));
        together = cost(role, some);
      }
      cost = together;
    }
    if (!some.isEmpty()) {
      parts.add(products(role, segment, some, cost));
    }
    return parts;
  }

  /** The first and the second role of the factors of a result. */
  private static int first(int role) {
    return role == 0 ? 1 : 0;
  }

  private static int second(int role) {
    return role == 2 ? 1 : 2;
  }

  /** True where the amplitudes of both factors stay in registers from one order to the next. */
  private boolean holds(int role) {
    return plan.slots(first(role)) + plan.slots(second(role)) <= AMPLITUDES;
  }

  private int cost(int role, List<Sums> orders) {
    if (holds(role)) {
      return costAtOnce(role, orders);
    }
    return orders.stream().mapToInt(sums -> costAtOnce(role, List.of(sums))).sum();
  }

  private static int costAtOnce(int role, List<Sums> orders) {
    int cost = 0;
    for (int factor : new int[] {first(role), second(role)}) {
      cost +=
          VectorCode.MEMORY
              * (int)
                  orders.stream()
                      .flatMap(sums -> sums.terms.stream())
                      .mapToInt(term -> term.slot(factor))
                      .distinct()
                      .count();
    }
    for (Sums sums : orders) {
      cost += sums.terms.size() + 2 + VectorCode.MEMORY * 2;
    }
    return cost;
  }

  /** The sums of the terms of some orders of the result, at all nodes of a segment. */
  private Part products(int role, Segment segment, List<Sums> orders, int cost) {
    int from = segment.from;
    int to = segment.to;
    if (role == HybridPlan.PROJECTED) {
      // Of a result only what is needed.
      to = segment.from;
      for (Sums sums : orders) {
        Order order = plan.order(role, sums.order);
        to = Math.max(to, Math.min(segment.to, plan.equator + 2 * order.pairs()));
      }
    }
    int last = to;
    return new Part(cost, Set.of(GRID), code -> products(code, role, orders, from, last));
  }

  private void products(VectorCode code, int role, List<Sums> orders, int from, int to) {
    int[] at = {code.number(), code.number(), code.number()};
    boolean hold = holds(role);
    code.loop(
        from,
        to,
        node -> {
          for (int r = 0; r < 3; r++) {
            code.address(at[r], GRID_AT, node, nodeBytes(r), grid(r));
          }
          int[][] loaded = new int[3][];
          for (Sums sums : orders) {
            if (loaded[first(role)] == null || !hold) {
              loaded[first(role)] = new int[plan.slots(first(role))];
              loaded[second(role)] = new int[plan.slots(second(role))];
            }
            sums(code, role, at, sums, loaded);
          }
        });
  }

  private void sums(VectorCode code, int role, int[] at, Sums sums, int[][] loaded) {
    // For every slot the sums of terms with the factors 1, -1, 2 and -2.
    TreeMap<Integer, int[]> totals = new TreeMap<>();
    for (Term term : sums.terms) {
      int x = amplitude(code, first(role), at, term, loaded);
      int y = amplitude(code, second(role), at, term, loaded);
      int[] total = totals.computeIfAbsent(term.slot(role), s -> new int[4]);
      int kind = 2 * Math.abs(term.factor()) - (term.factor() > 0 ? 2 : 1);
      total[kind] = accumulate(code, total[kind], total[kind] == 0, x, y);
    }
    for (int slot : sums.slots()) {
      int[] total = totals.getOrDefault(slot, new int[4]);
      int value = total[0] != 0 ? total[0] : code.zero();
      if (total[1] != 0) {
        code.subtract(value, value, total[1]);
      }
      if (total[2] != 0) {
        code.add(total[2], total[2], total[2]);
        code.add(value, value, total[2]);
      }
      if (total[3] != 0) {
        code.add(total[3], total[3], total[3]);
        code.subtract(value, value, total[3]);
      }
      code.store(value, GRID, at[role], slot * width);
    }
  }

  private int amplitude(VectorCode code, int role, int[] at, Term term, int[][] loaded) {
    int slot = term.slot(role);
    if (loaded[role][slot] == 0) {
      loaded[role][slot] = code.load(GRID, at[role], slot * width);
    }
    return loaded[role][slot];
  }
}

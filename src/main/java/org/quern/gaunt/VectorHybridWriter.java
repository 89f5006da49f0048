package org.quern.gaunt;

import static java.lang.constant.ConstantDescs.CD_Object;
import static java.lang.constant.ConstantDescs.CD_int;
import static java.lang.constant.ConstantDescs.CD_long;
import static java.lang.constant.ConstantDescs.CD_void;

import java.lang.classfile.ClassBuilder;
import java.lang.classfile.ClassFile;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.Label;
import java.lang.classfile.instruction.SwitchCase;
import java.lang.constant.ClassDesc;
import java.lang.constant.ConstantDescs;
import java.lang.constant.MethodTypeDesc;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.quern.gaunt.HybridPlan.Order;
import org.quern.tensor.DType;

/**
 * Writes the class that runs a {@link HybridPlan} on vectors of channels.
 *
 * <p>Work is cut into pieces, one static method each, that are small enough for the compiler: an
 * order or a few of a transform, or an order or a few of the products of series. Within a piece a
 * loop runs over the nodes, and the operations at a node stand in a row, with amplitudes in
 * registers. Only the part of the nodes that an order needs is visited.
 */
final class VectorHybridWriter {
  private static final ClassDesc SEGMENT = ClassDesc.of("java.lang.foreign.MemorySegment");
  private static final ClassDesc TILE = ClassDesc.of("org.quern.gaunt.VectorTile");
  private static final ClassDesc SELF = ClassDesc.of("org.quern.gaunt.VectorHybridTile");

  // Parameters of a piece.
  private static final int X = 0;
  private static final int AT = 1;
  private static final int STEP = 3;
  private static final int GRID = 5;
  private static final int[] GRIDS = {6, 8, 10};
  private static final int TABLE = 12;

  /**
   * Accumulators of a step to coefficients: latency times rate, and registers left for the rest.
   */
  private static final int ACCUMULATORS = 12;

  /** Operands that are held in registers across the nodes. */
  private static final int HELD = 22;

  /** Amplitudes of inputs that are held in registers at a node. */
  private static final int AMPLITUDES = 26;

  private final HybridPlan plan;
  private final DType type;
  private final long width;
  private final ClassDesc tableType;
  private final List<Double> table = new ArrayList<>();

  /**
   * A writer.
   *
   * @param width bytes of a vector
   */
  VectorHybridWriter(HybridPlan plan, DType type, int width) {
    this.plan = plan;
    this.type = type;
    this.width = width;
    tableType = (type == DType.F32 ? ConstantDescs.CD_float : ConstantDescs.CD_double).arrayType();
  }

  /** The factors that the class wants, valid after {@link #write}. */
  double[] table() {
    return table.stream().mapToDouble(value -> value).toArray();
  }

  /** Bytes between the amplitudes of one node and of the next. */
  private long nodeBytes(int role) {
    return plan.slots(role) * width;
  }

  /** The class. */
  byte[] write() {
    return ClassFile.of()
        .build(
            SELF,
            builder -> {
              builder.withFlags(ClassFile.ACC_FINAL);
              builder.withInterfaceSymbols(TILE);
              builder.withMethodBody(
                  ConstantDescs.INIT_NAME,
                  ConstantDescs.MTD_void,
                  0,
                  code ->
                      code.aload(0)
                          .invokespecial(CD_Object, ConstantDescs.INIT_NAME, ConstantDescs.MTD_void)
                          .return_());
              List<List<String>> kernels = new ArrayList<>();
              for (int role = 0; role < 3; role++) {
                kernels.add(pieces(builder, "toAmplitudes" + role, toAmplitudes(role)));
              }
              for (int role = 0; role < 3; role++) {
                kernels.add(pieces(builder, "multiply" + role, multiply(role)));
              }
              for (int role = 0; role < 3; role++) {
                kernels.add(pieces(builder, "toCoefficients" + role, toCoefficients(role)));
              }
              builder.withMethodBody(
                  "run", runType(CD_Object, true), 1, code -> run(code, kernels));
            });
  }

  private static MethodTypeDesc runType(ClassDesc table, boolean kernel) {
    List<ClassDesc> parameters = new ArrayList<>();
    if (kernel) {
      parameters.add(CD_int);
    }
    parameters.addAll(
        List.of(SEGMENT, CD_long, CD_long, SEGMENT, CD_long, CD_long, CD_long, table));
    return MethodTypeDesc.of(CD_void, parameters);
  }

  private void run(CodeBuilder code, List<List<String>> kernels) {
    Label end = code.newLabel();
    List<SwitchCase> cases = new ArrayList<>();
    for (int i = 0; i < kernels.size(); i++) {
      cases.add(SwitchCase.of(i, code.newLabel()));
    }
    code.iload(1).tableswitch(0, kernels.size() - 1, end, cases);
    for (int i = 0; i < kernels.size(); i++) {
      code.labelBinding(cases.get(i).target());
      for (String piece : kernels.get(i)) {
        code.aload(2)
            .lload(3)
            .lload(5)
            .aload(7)
            .lload(8)
            .lload(10)
            .lload(12)
            .aload(14)
            .checkcast(tableType)
            .invokestatic(SELF, piece, runType(tableType, false));
      }
      code.return_();
    }
    code.labelBinding(end).return_();
  }

  /** A part of a piece, and the vector operations that it takes at most. */
  private record Part(int operations, Consumer<VectorCode> code) {}

  /** Writes parts into methods, as many into each as the compiler bears. */
  private List<String> pieces(ClassBuilder builder, String name, List<Part> parts) {
    List<String> names = new ArrayList<>();
    int from = 0;
    while (from < parts.size()) {
      int to = from;
      int operations = 0;
      while (to < parts.size()
          && (to == from || operations + parts.get(to).operations <= VectorCode.MAX_OPERATIONS)) {
        operations += parts.get(to++).operations;
      }
      List<Part> some = parts.subList(from, to);
      String piece = name + "_" + names.size();
      builder.withMethodBody(
          piece,
          runType(tableType, false),
          ClassFile.ACC_STATIC,
          body -> {
            VectorCode code = new VectorCode(body, type);
            code.base(X);
            code.base(GRID);
            code.bound(AT, VectorCode.FAR);
            code.bound(STEP, VectorCode.FAR_STEP);
            for (int grid : GRIDS) {
              code.bound(grid, VectorCode.FAR);
            }
            some.forEach(part -> part.code.accept(code));
            code.finish();
          });
      names.add(piece);
      from = to;
    }
    return names;
  }

  /** Index in the table of factors that a part is about to use. */
  private int reserve(double[] factors) {
    int at = table.size();
    for (double factor : factors) {
      table.add(factor);
    }
    return at;
  }

  private static int component(int l, int m, boolean sine) {
    return l * l + l + (sine ? -m : m);
  }

  private boolean hasEquator(Order order) {
    return plan.equator == 1 && order.first() == 0;
  }

  // Coefficients to amplitudes: for every pair of nodes the sums over even and over odd degrees;
  // the amplitudes are their sum and difference.

  private List<Part> toAmplitudes(int role) {
    List<Part> parts = new ArrayList<>();
    for (int m = 0; m <= plan.form.degree(role); m++) {
      int order = m;
      int rows = plan.form.degree(role) - m + 1;
      if (m == 0) {
        parts.add(toAmplitudes(role, m, rows, new boolean[] {false}));
      } else if (2 * rows <= HELD) {
        parts.add(toAmplitudes(role, m, rows, new boolean[] {false, true}));
      } else {
        parts.add(toAmplitudes(role, order, rows, new boolean[] {false}));
        parts.add(toAmplitudes(role, order, rows, new boolean[] {true}));
      }
    }
    return parts;
  }

  private Part toAmplitudes(int role, int m, int rows, boolean[] sines) {
    Order order = plan.order(role, m);
    int series = sines.length;
    int operations = rows * series + rows + rows * series + 4 * series;
    if (hasEquator(order)) {
      operations += (rows + 1) / 2 * (1 + series) + series;
    }
    return new Part(operations, code -> toAmplitudes(code, role, m, rows, sines));
  }

  private void toAmplitudes(VectorCode code, int role, int m, int rows, boolean[] sines) {
    Order order = plan.order(role, m);
    int[][] x = new int[sines.length][rows];
    for (int s = 0; s < sines.length; s++) {
      for (int i = 0; i < rows; i++) {
        x[s][i] = code.load(X, AT, STEP, component(m + i, m, sines[s]));
      }
    }
    if (hasEquator(order)) {
      double[] factors = new double[(rows + 1) / 2];
      for (int i = 0; i < factors.length; i++) {
        factors[i] = order.table()[2 * i][0];
      }
      int at = reserve(factors);
      int[] sums = new int[sines.length];
      for (int i = 0; i < factors.length; i++) {
        int factor = code.broadcast(TABLE, -1, 0, at + i);
        for (int s = 0; s < sines.length; s++) {
          sums[s] = accumulate(code, sums[s], i == 0, factor, x[s][2 * i]);
        }
      }
      for (int s = 0; s < sines.length; s++) {
        code.store(sums[s], GRID, GRIDS[role], slot(m, sines[s]) * width);
      }
    }
    if (order.pairs() == 0) {
      return;
    }
    double[] factors = new double[order.pairs() * rows];
    for (int p = 0; p < order.pairs(); p++) {
      for (int i = 0; i < rows; i++) {
        factors[p * rows + i] = order.table()[i][plan.equator + p];
      }
    }
    int at = reserve(factors);
    int node = code.number();
    code.loop(
        0,
        order.pairs(),
        pair -> {
          code.address(
              node, GRIDS[role], pair, 2 * nodeBytes(role), plan.equator * nodeBytes(role));
          int[][] sums = new int[2][sines.length];
          for (int i = 0; i < rows; i++) {
            int factor = code.broadcast(TABLE, pair, rows, at + i);
            for (int s = 0; s < sines.length; s++) {
              sums[i % 2][s] = accumulate(code, sums[i % 2][s], i < 2, factor, x[s][i]);
            }
          }
          for (int s = 0; s < sines.length; s++) {
            long offset = slot(m, sines[s]) * width;
            if (rows == 1) {
              code.store(sums[0][s], GRID, node, offset);
              code.store(sums[0][s], GRID, node, offset + nodeBytes(role));
              continue;
            }
            int upper = code.local();
            int lower = code.local();
            code.add(upper, sums[0][s], sums[1][s]);
            code.subtract(lower, sums[0][s], sums[1][s]);
            code.store(upper, GRID, node, offset);
            code.store(lower, GRID, node, offset + nodeBytes(role));
          }
        });
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
    int operations = series * 4 + count * (1 + series) + count * series;
    if (hasEquator(order)) {
      operations += series + count * (1 + series);
    }
    return new Part(operations, code -> toCoefficients(code, role, m, from, step, count, sines));
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
            reserve(even.stream().mapToDouble(j -> order.table()[from + j * step][0]).toArray());
        int[] v = new int[sines.length];
        for (int s = 0; s < sines.length; s++) {
          v[s] = code.load(GRID, GRIDS[role], slot(m, sines[s]) * width);
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
    int at = reserve(factors);
    if (order.pairs() > 0) {
      int node = code.number();
      code.loop(
          0,
          order.pairs(),
          pair -> {
            code.address(
                node, GRIDS[role], pair, 2 * nodeBytes(role), plan.equator * nodeBytes(role));
            int[][] combined = new int[2][sines.length];
            for (int s = 0; s < sines.length; s++) {
              long offset = slot(m, sines[s]) * width;
              int upper = code.load(GRID, node, offset);
              int lower = code.load(GRID, node, offset + nodeBytes(role));
              for (int parity = 0; parity < 2; parity++) {
                if (step == 2 ? from % 2 == parity : count > 1 || parity == 0) {
                  combined[parity][s] = code.local();
                  if (parity == 0) {
                    code.add(combined[0][s], upper, lower);
                  } else {
                    code.subtract(combined[1][s], upper, lower);
                  }
                }
              }
            }
            for (int j = 0; j < count; j++) {
              int factor = code.broadcast(TABLE, pair, count, at + j);
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
        code.store(sums[s][j], X, AT, STEP, component(l, m, sines[s]));
      }
    }
  }

  // The products of series at a node.

  /** Nodes at which a set of terms is summed. */
  private record Nodes(int from, int to) {}

  private Nodes nodes(Term term) {
    Order order = plan.order(HybridPlan.PROJECTED, (term.third() + 1) / 2);
    return new Nodes(order.first(), plan.equator + 2 * order.pairs());
  }

  private List<Part> multiply(int role) {
    return role == HybridPlan.PROJECTED ? multiplyInputs() : List.of();
  }

  private List<Part> multiplyInputs() {
    int degree = plan.form.degree(HybridPlan.PROJECTED);
    TreeMap<Integer, List<Term>> byOrder = new TreeMap<>();
    for (Term term : plan.terms()) {
      byOrder.computeIfAbsent((term.third() + 1) / 2, k -> new ArrayList<>()).add(term);
    }
    List<Part> parts = new ArrayList<>();
    List<List<Term>> some = new ArrayList<>();
    int operations = 0;
    for (int k = 0; k <= degree; k++) {
      List<Term> terms = byOrder.getOrDefault(k, List.of());
      int inputs = plan.slots(0) + plan.slots(1);
      if (!some.isEmpty() && operations + terms.size() + inputs + 6 > VectorCode.MAX_OPERATIONS) {
        parts.add(products(HybridPlan.PROJECTED, some, operations + inputs));
        some = new ArrayList<>();
        operations = 0;
      }
      some.add(terms);
      operations += terms.size() + 6;
    }
    parts.add(products(HybridPlan.PROJECTED, some, operations + plan.slots(0) + plan.slots(1)));
    return parts;
  }

  /** The sums of terms for some orders of the result, at all nodes that one of them needs. */
  private Part products(int role, List<List<Term>> orders, int operations) {
    int from = Integer.MAX_VALUE;
    int to = 0;
    for (List<Term> terms : orders) {
      for (Term term : terms) {
        from = Math.min(from, nodes(term).from);
        to = Math.max(to, nodes(term).to);
      }
    }
    int first = from;
    int last = to;
    return new Part(operations, code -> products(code, role, orders, first, last));
  }

  private void products(VectorCode code, int role, List<List<Term>> orders, int first, int last) {
    if (last <= first) {
      return;
    }
    int a = role == 0 ? 1 : 0;
    int b = role == 2 ? 1 : 2;
    int[] at = {code.number(), code.number(), code.number()};
    boolean hold = plan.slots(a) + plan.slots(b) <= AMPLITUDES;
    code.loop(
        first,
        last,
        node -> {
          for (int r = 0; r < 3; r++) {
            code.address(at[r], GRIDS[r], node, nodeBytes(r), 0);
          }
          int[][] loaded = {new int[plan.slots(a)], new int[plan.slots(b)]};
          for (List<Term> terms : orders) {
            if (!hold) {
              loaded = new int[][] {new int[plan.slots(a)], new int[plan.slots(b)]};
            }
            unit(code, role, a, b, at, terms, loaded);
          }
        });
  }

  private void unit(
      VectorCode code, int role, int a, int b, int[] at, List<Term> terms, int[][] loaded) {
    // For every slot the sums of terms with the factors 1, -1 and 2.
    TreeMap<Integer, int[]> sums = new TreeMap<>();
    for (Term term : terms) {
      int x = amplitude(code, a, at, term.slot(a), loaded[0]);
      int y = amplitude(code, b, at, term.slot(b), loaded[1]);
      int[] sum = sums.computeIfAbsent(term.slot(role), s -> new int[3]);
      int kind = term.factor() == 1 ? 0 : term.factor() == -1 ? 1 : 2;
      sum[kind] = accumulate(code, sum[kind], sum[kind] == 0, x, y);
    }
    sums.forEach((slot, sum) -> {
      int total = sum[0];
      if (sum[2] != 0) {
        code.add(sum[2], sum[2], sum[2]);
        code.add(total, total, sum[2]);
      }
      if (sum[1] != 0) {
        code.subtract(total, total, sum[1]);
      }
      code.store(total, GRID, at[role], slot * width);
    });
  }

  private int amplitude(VectorCode code, int role, int[] at, int slot, int[] loaded) {
    if (loaded[slot] == 0) {
      loaded[slot] = code.load(GRID, at[role], slot * width);
    }
    return loaded[slot];
  }
}

package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.gaunt.GauntConvolution.Form;
import org.quern.random.Philox;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Every form on every tier of this machine, against the sum over coefficients edge by edge. */
class GauntConvolutionContractTest {
  private static final int[][] DEGREES = {
    {0, 0, 0}, {1, 0, 1}, {0, 2, 2}, {2, 2, 2}, {3, 1, 2}, {1, 3, 4}, {2, 2, 5}, {4, 4, 4}
  };
  private static final int[] CHANNELS = {1, 15, 16, 17, 35};

  /** A way to compute. */
  private record Kind(Form form, Tier tier, DType type) {
    GauntConvolution plan(int[] d, int channels, int threads) {
      return GauntConvolution.builder(d[0], d[1], d[2])
          .form(form)
          .tier(tier)
          .type(type)
          .channels(channels)
          .threads(threads)
          .build();
    }

    double tolerance() {
      return type == DType.F64 ? 1e-12 : 2e-6;
    }
  }

  static Stream<Kind> kinds() {
    return Capabilities.get().available().stream()
        .filter(GauntConvolution.TIERS::contains)
        .flatMap(tier ->
            Stream.of(DType.F64, DType.F32)
                .flatMap(type -> Stream.of(Form.values()).map(form -> new Kind(form, tier, type))));
  }

  /** What belongs to the channels of an edge. */
  private enum Radial {
    /** Nothing. */
    SHARED,
    /** Scales. */
    SCALED,
    /** Radial values. */
    OWN
  }

  /** A random graph with what belongs to it. */
  private static final class Problem {
    final int[] degrees;
    final int[] source;
    final int[] destination;
    final ConvolutionInputs in;
    final Tensor out;
    final Tensor g;
    final Edges edges;

    Problem(
        Arena arena,
        long seed,
        DType type,
        int[] degrees,
        int nodes,
        int count,
        int channels,
        Radial radial) {
      Philox random = new Philox(seed, 0);
      this.degrees = degrees;
      source = new int[count];
      destination = new int[count];
      for (int e = 0; e < count; e++) {
        source[e] = random.nextInt(nodes);
        // The last node receives nothing.
        destination[e] = random.nextInt(Math.max(1, nodes - 1));
      }
      in =
          new ConvolutionInputs(
              SphereFunctions.normal(arena, type, random, nodes, n(degrees[0]), channels),
              SphereFunctions.normal(arena, type, random, count, 3),
              radial == Radial.OWN
                  ? SphereFunctions.normal(arena, type, random, count, degrees[1] + 1, channels)
                  : SphereFunctions.normal(arena, type, random, count, degrees[1] + 1),
              radial == Radial.SCALED
                  ? SphereFunctions.normal(arena, type, random, count, channels)
                  : null);
      out = SphereFunctions.normal(arena, type, random, nodes, n(degrees[2]), channels);
      g = SphereFunctions.normal(arena, type, random, nodes, n(degrees[2]), channels);
      edges = Edges.of(nodes, source, destination);
    }

    double[] expected() {
      return SphereFunctions.convolution(degrees, source, destination, in);
    }
  }

  private static int n(int degree) {
    return (degree + 1) * (degree + 1);
  }

  private static Tensor like(Arena arena, Tensor tensor) {
    return Tensor.allocate(arena, tensor.type(), tensor.shape());
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void agreesWithTheFormula(Kind kind) {
    long seed = 0;
    try (LayerWorkspace workspace = new LayerWorkspace()) {
      for (int i = 0; i < 3 * DEGREES.length; i++) {
        int[] degrees = DEGREES[i % DEGREES.length];
        int channels = CHANNELS[(int) (seed % CHANNELS.length)];
        int count = seed == 0 ? 1 : 23;
        Radial radial = Radial.values()[i / DEGREES.length];
        try (Arena arena = Arena.ofShared()) {
          Problem p = new Problem(arena, seed, kind.type, degrees, 5, count, channels, radial);
          kind.plan(degrees, channels, 1).forward(p.edges, p.in, p.out, workspace);
          double distance = SphereFunctions.distance(p.out, p.expected());
          assertTrue(distance <= kind.tolerance(), kind + " seed " + seed + ": " + distance);
        }
        seed++;
      }
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void gradientsAreThoseOfTheSum(Kind kind) {
    for (Radial radial : Radial.values()) {
      gradientsAreThoseOfTheSum(kind, radial);
    }
  }

  private static void gradientsAreThoseOfTheSum(Kind kind, Radial radial) {
    int[] degrees = {2, 3, 2};
    int channels = 18;
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Problem p = new Problem(arena, 11, kind.type, degrees, 4, 13, channels, radial);
      GauntConvolution plan = kind.plan(degrees, channels, 1);
      ConvolutionGradients gradients = targets(arena, kind.type, p);
      plan.backward(p.edges, p.in, p.g, gradients, workspace);
      // In double precision by central differences of the formula, along one random direction each.
      Philox random = new Philox(12, 0);
      Tensor[] inputs = {p.in.x(), p.in.r(), p.in.h(), p.in.a()};
      Tensor[] results = {gradients.x(), gradients.r(), gradients.h(), gradients.a()};
      for (int which = 0; which < (p.in.a() == null ? 3 : 4); which++) {
        Tensor direction = SphereFunctions.normal(arena, DType.F64, random, inputs[which].shape());
        double step = 1e-5;
        double slope =
            (moved(arena, p, which, direction, step) - moved(arena, p, which, direction, -step))
                / (2 * step);
        double got = SphereFunctions.dot(results[which], direction);
        double size =
            Math.sqrt(
                SphereFunctions.dot(results[which], results[which])
                    * SphereFunctions.dot(direction, direction));
        double tolerance = kind.type == DType.F64 ? 1e-8 : 1e-5;
        assertEquals(slope, got, tolerance * size, kind + " input " + which);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void secondGradientsAreTheChangeOfTheGradients(Kind kind) {
    for (Radial radial : Radial.values()) {
      secondGradientsAreTheChangeOfTheGradients(kind, radial, true);
    }
    secondGradientsAreTheChangeOfTheGradients(kind, Radial.SCALED, false);
  }

  /** Moves all inputs, or all but the edge vectors and features. */
  private static void secondGradientsAreTheChangeOfTheGradients(
      Kind kind, Radial radial, boolean places) {
    int[] degrees = {2, 3, 2};
    int channels = 18;
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Problem p = new Problem(arena, 71, kind.type, degrees, 4, 9, channels, radial);
      ConvolutionInputs along =
          new Problem(arena, 72, kind.type, degrees, 4, 9, channels, radial).in;
      ConvolutionGradients by =
          new ConvolutionGradients(
              places ? along.x() : null, places ? along.r() : null, along.h(), along.a());
      ConvolutionGradients got = targets(arena, kind.type, p);
      Tensor gg = like(arena, p.out);
      GauntConvolution plan = kind.plan(degrees, channels, 1);
      plan.secondGradients(p.edges, p.in, p.g, by, got, gg, workspace);
      double step = 1e-5;
      Tensor[] up = gradientsAt(arena, p, by, step, channels, workspace);
      Tensor[] down = gradientsAt(arena, p, by, -step, channels, workspace);
      Tensor[] results = {got.x(), got.r(), got.h(), gg, got.a()};
      for (int which = 0; which < (p.in.a() == null ? 4 : 5); which++) {
        double[] expected = up[which].toDoubleArray();
        double[] other = down[which].toDoubleArray();
        for (int i = 0; i < expected.length; i++) {
          expected[i] = (expected[i] - other[i]) / (2 * step);
        }
        double distance = SphereFunctions.distance(results[which], expected);
        double tolerance = kind.type == DType.F64 ? 1e-7 : 2e-5;
        assertTrue(
            distance <= tolerance, kind + " " + radial + " result " + which + ": " + distance);
      }
    }
  }

  private static ConvolutionGradients targets(Arena arena, DType type, Problem p) {
    return new ConvolutionGradients(
        Tensor.allocate(arena, type, p.in.x().shape()),
        Tensor.allocate(arena, type, p.in.r().shape()),
        Tensor.allocate(arena, type, p.in.h().shape()),
        p.in.a() == null ? null : Tensor.allocate(arena, type, p.in.a().shape()));
  }

  /** First gradients in double precision, and the output, at inputs moved along others. */
  private static Tensor[] gradientsAt(
      Arena arena,
      Problem p,
      ConvolutionGradients by,
      double step,
      int channels,
      LayerWorkspace workspace) {
    ConvolutionInputs in =
        new ConvolutionInputs(
            moved(arena, p.in.x(), by.x(), step),
            moved(arena, p.in.r(), by.r(), step),
            moved(arena, p.in.h(), by.h(), step),
            p.in.a() == null ? null : moved(arena, p.in.a(), by.a(), step));
    GauntConvolution plan =
        new Kind(Form.EDGE_MATRIX, Tier.SCALAR, DType.F64).plan(p.degrees, channels, 1);
    ConvolutionGradients results = targets(arena, DType.F64, p);
    Tensor out = Tensor.allocate(arena, DType.F64, p.out.shape());
    plan.backward(p.edges, in, p.g.to(DType.F64, arena), results, workspace);
    plan.forward(p.edges, in, out, workspace);
    return new Tensor[] {results.x(), results.r(), results.h(), out, results.a()};
  }

  private static Tensor moved(Arena arena, Tensor from, @Nullable Tensor along, double step) {
    double[] values = from.toDoubleArray();
    if (along != null) {
      double[] direction = along.toDoubleArray();
      for (int i = 0; i < values.length; i++) {
        values[i] += step * direction[i];
      }
    }
    return Tensor.copyOf(arena, values, from.shape());
  }

  private static double moved(Arena arena, Problem p, int which, Tensor direction, double step) {
    Tensor[] inputs = new Tensor[4];
    Tensor[] old = {p.in.x(), p.in.r(), p.in.h(), p.in.a()};
    for (int i = 0; i < (p.in.a() == null ? 3 : 4); i++) {
      double[] values = old[i].toDoubleArray();
      if (i == which) {
        double[] along = direction.toDoubleArray();
        for (int j = 0; j < values.length; j++) {
          values[j] += step * along[j];
        }
      }
      inputs[i] = Tensor.copyOf(arena, values, old[i].shape());
    }
    double[] out =
        SphereFunctions.convolution(
            p.degrees,
            p.source,
            p.destination,
            new ConvolutionInputs(inputs[0], inputs[1], inputs[2], inputs[3]));
    double[] g = p.g.toDoubleArray();
    double sum = 0;
    for (int i = 0; i < out.length; i++) {
      sum += out[i] * g[i];
    }
    return sum;
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void turnsAndInvertsWithItsInputs(Kind kind) {
    int[] degrees = {3, 4, 3};
    int channels = 16;
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Problem p = new Problem(arena, 21, kind.type, degrees, 4, 12, channels, Radial.SHARED);
      GauntConvolution plan = kind.plan(degrees, channels, 1);
      plan.forward(p.edges, p.in, p.out, workspace);
      double[] rotation = SphereFunctions.inverted(SphereFunctions.rotation(new Philox(22, 0)));
      ConvolutionInputs turned =
          new ConvolutionInputs(
              SphereFunctions.turnedFunctions(arena, rotation, degrees[0], p.in.x()),
              SphereFunctions.turned(arena, rotation, p.in.r()),
              p.in.h(),
              null);
      Tensor expected = SphereFunctions.turnedFunctions(arena, rotation, degrees[2], p.out);
      plan.forward(p.edges, turned, p.out, workspace);
      double distance = SphereFunctions.distance(p.out, expected.toDoubleArray());
      assertTrue(distance <= (kind.type == DType.F64 ? 1e-13 : 5e-6), kind + ": " + distance);
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void isTheSameWithAnyNumberOfThreads(Kind kind) {
    int[] degrees = {2, 2, 2};
    int channels = 20;
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Problem p = new Problem(arena, 31, kind.type, degrees, 50, 100, channels, Radial.SCALED);
      MemorySegment[] first = new MemorySegment[10];
      for (int threads = 1; threads <= 3; threads++) {
        GauntConvolution plan = kind.plan(degrees, channels, threads);
        plan.forward(p.edges, p.in, p.out, workspace);
        ConvolutionGradients gradients = targets(arena, kind.type, p);
        plan.backward(p.edges, p.in, p.g, gradients, workspace);
        ConvolutionGradients second = targets(arena, kind.type, p);
        Tensor gg = like(arena, p.out);
        plan.secondGradients(p.edges, p.in, p.g, gradients, second, gg, workspace);
        Tensor[] results = {
          p.out.to(kind.type, arena),
          gradients.x(),
          gradients.r(),
          gradients.h(),
          gradients.a(),
          second.x(),
          second.r(),
          second.h(),
          second.a(),
          gg
        };
        for (int i = 0; i < results.length; i++) {
          if (threads == 1) {
            first[i] = results[i].memory();
          }
          assertEquals(-1, first[i].mismatch(results[i].memory()), kind + " result " + i);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void takesEmptyGraphsAndRowsWithGaps(Kind kind) {
    int[] degrees = {1, 1, 1};
    int channels = 16;
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Problem none = new Problem(arena, 41, kind.type, degrees, 3, 0, channels, Radial.SCALED);
      kind.plan(degrees, channels, 1).forward(none.edges, none.in, none.out, workspace);
      assertArrayEquals(new double[3 * 4 * channels], none.out.toDoubleArray());
      Problem own = new Problem(arena, 44, kind.type, degrees, 3, 0, channels, Radial.OWN);
      own.out.fill(Double.NaN);
      kind.plan(degrees, channels, 1)
          .secondGradients(
              own.edges,
              own.in,
              own.g,
              new ConvolutionGradients(own.in.x(), own.in.r(), own.in.h(), null),
              targets(arena, kind.type, own),
              own.out,
              workspace);
      assertArrayEquals(new double[3 * 4 * channels], own.out.toDoubleArray());
      Problem empty = new Problem(arena, 42, kind.type, degrees, 0, 0, channels, Radial.SHARED);
      kind.plan(degrees, channels, 1).forward(empty.edges, empty.in, empty.out, workspace);

      Problem p = new Problem(arena, 43, kind.type, degrees, 3, 7, channels, Radial.SCALED);
      ConvolutionInputs gaps =
          new ConvolutionInputs(
              gaps(arena, p.in.x()),
              gaps(arena, p.in.r()),
              gaps(arena, p.in.h()),
              gaps(arena, p.in.a()));
      Tensor out = gaps(arena, p.out);
      kind.plan(degrees, channels, 1).forward(p.edges, gaps, out, workspace);
      double distance = SphereFunctions.distance(out, p.expected());
      assertTrue(distance <= kind.tolerance(), kind + ": " + distance);
      assertEquals(77, TileTable.get(out.memory(), kind.type, channels), "the gap");

      Problem q = new Problem(arena, 45, kind.type, degrees, 3, 7, channels, Radial.OWN);
      ConvolutionInputs ownGaps =
          new ConvolutionInputs(
              gaps(arena, q.in.x()), gaps(arena, q.in.r()), gaps(arena, q.in.h()), null);
      kind.plan(degrees, channels, 1).forward(q.edges, ownGaps, out, workspace);
      distance = SphereFunctions.distance(out, q.expected());
      assertTrue(distance <= kind.tolerance(), kind + " own radial values: " + distance);
    }
  }

  /** A copy whose rows are three elements apart, in memory that is not aligned to 64 bytes. */
  private static Tensor gaps(Arena arena, Tensor tensor) {
    long stride = tensor.rowLength() + 3;
    MemorySegment memory =
        arena
            .allocate((tensor.rows() * stride + 1) * tensor.type().bytes(), 64)
            .asSlice(tensor.type().bytes());
    for (long i = 0; i < tensor.rows() * stride; i++) {
      TileTable.set(memory, tensor.type(), i, 77);
    }
    for (long row = 0; row < tensor.rows(); row++) {
      for (long j = 0; j < tensor.rowLength(); j++) {
        double value = TileTable.get(tensor.memory(), tensor.type(), row * tensor.rowStride() + j);
        TileTable.set(memory, tensor.type(), row * stride + j, value);
      }
    }
    return Tensor.of(memory, tensor.type(), stride, tensor.shape());
  }

  @Test
  void forcesAreConservative() {
    // The energy of places: half the square of the convolution. Its Hessian comes out column by
    // column, as the change of the forces along a move; it is symmetric, and the slope of forces.
    for (boolean own : new boolean[] {false, true}) {
      try (Arena arena = Arena.ofShared();
          Pull pull = new Pull(arena, own)) {
        int size = 3 * Pull.NODES;
        double[] places = new double[size];
        Philox random = new Philox(51, 0);
        for (int i = 0; i < size; i++) {
          places[i] = random.nextGaussian();
        }
        double[][] hessian = new double[size][];
        double largest = 0;
        for (int k = 0; k < size; k++) {
          double[] move = new double[size];
          move[k] = 1;
          hessian[k] = pull.change(places, move);
          for (double entry : hessian[k]) {
            largest = Math.max(largest, Math.abs(entry));
          }
          double step = 1e-5;
          double[] up = places.clone();
          double[] down = places.clone();
          up[k] += step;
          down[k] -= step;
          double[] more = pull.slopes(up);
          double[] less = pull.slopes(down);
          for (int i = 0; i < size; i++) {
            double slope = (more[i] - less[i]) / (2 * step);
            assertEquals(slope, hessian[k][i], 1e-7 * largest, "row " + i + " column " + k);
          }
        }
        double worst = 0;
        for (int i = 0; i < size; i++) {
          for (int j = 0; j < size; j++) {
            worst = Math.max(worst, Math.abs(hessian[i][j] - hessian[j][i]));
          }
        }
        assertTrue(worst <= 1e-12 * largest, worst + " of " + largest);
      }
    }
  }

  /** Energy of a complete graph in double precision, by places: its slopes and their changes. */
  private static final class Pull implements AutoCloseable {
    static final int NODES = 4;
    private static final int CHANNELS = 2;
    private static final int DEGREE = 3;

    private final LayerWorkspace workspace = new LayerWorkspace();
    private final GauntConvolution plan =
        GauntConvolution.builder(2, DEGREE, 2).channels(CHANNELS).type(DType.F64).build();
    private final Arena arena;
    private final int[] source = new int[NODES * (NODES - 1)];
    private final int[] destination = new int[source.length];
    private final Edges edges;
    private final Tensor x;
    private final Tensor out;
    private final Tensor r;
    private final Tensor h;

    Pull(Arena arena, boolean own) {
      this.arena = arena;
      int e = 0;
      for (int i = 0; i < NODES; i++) {
        for (int j = 0; j < NODES; j++) {
          if (i != j) {
            source[e] = j;
            destination[e++] = i;
          }
        }
      }
      edges = Edges.of(NODES, source, destination);
      x = SphereFunctions.normal(arena, DType.F64, new Philox(52, 0), NODES, n(2), CHANNELS);
      out = like(arena, x);
      r = Tensor.allocate(arena, DType.F64, edges.size(), 3);
      h =
          own
              ? Tensor.allocate(arena, DType.F64, edges.size(), DEGREE + 1, CHANNELS)
              : Tensor.allocate(arena, DType.F64, edges.size(), DEGREE + 1);
    }

    /** Radial value i of an edge is the exponential of this rate times the square of its length. */
    private double rate(long i) {
      return -(1 + i) / 8.0;
    }

    private long values() {
      return h.size() / edges.size();
    }

    private static double get(Tensor tensor, long i) {
      return TileTable.get(tensor.memory(), DType.F64, i);
    }

    private double edge(double[] places, int e, int axis) {
      return places[3 * source[e] + axis] - places[3 * destination[e] + axis];
    }

    private ConvolutionInputs inputs(double[] places) {
      for (int e = 0; e < edges.size(); e++) {
        double square = 0;
        for (int axis = 0; axis < 3; axis++) {
          double d = edge(places, e, axis);
          r.setDouble(d, e, axis);
          square += d * d;
        }
        for (long i = 0; i < values(); i++) {
          TileTable.set(h.memory(), DType.F64, e * values() + i, Math.exp(rate(i) * square));
        }
      }
      return new ConvolutionInputs(x, r, h, null);
    }

    private ConvolutionGradients backward(ConvolutionInputs in, Tensor g) {
      ConvolutionGradients result =
          new ConvolutionGradients(null, like(arena, r), like(arena, h), null);
      plan.backward(edges, in, g, result, workspace);
      return result;
    }

    /** Slopes of the energy. */
    double[] slopes(double[] places) {
      ConvolutionInputs in = inputs(places);
      plan.forward(edges, in, out, workspace);
      ConvolutionGradients first = backward(in, out);
      double[] slopes = new double[3 * NODES];
      for (int e = 0; e < edges.size(); e++) {
        double along = 0;
        for (long i = 0; i < values(); i++) {
          long at = e * values() + i;
          along += 2 * rate(i) * get(h, at) * get(first.h(), at);
        }
        for (int axis = 0; axis < 3; axis++) {
          double slope = first.r().getDouble(e, axis) + along * r.getDouble(e, axis);
          slopes[3 * source[e] + axis] += slope;
          slopes[3 * destination[e] + axis] -= slope;
        }
      }
      return slopes;
    }

    /** Changes of the slopes when the places move. */
    double[] change(double[] places, double[] move) {
      ConvolutionInputs in = inputs(places);
      plan.forward(edges, in, out, workspace);
      ConvolutionGradients first = backward(in, out);
      Tensor dr = like(arena, r);
      Tensor dh = like(arena, h);
      double[] half = new double[edges.size()];
      for (int e = 0; e < edges.size(); e++) {
        for (int axis = 0; axis < 3; axis++) {
          dr.setDouble(edge(move, e, axis), e, axis);
          half[e] += edge(move, e, axis) * r.getDouble(e, axis);
        }
        for (long i = 0; i < values(); i++) {
          long at = e * values() + i;
          TileTable.set(dh.memory(), DType.F64, at, 2 * rate(i) * half[e] * get(h, at));
        }
      }
      ConvolutionGradients second =
          new ConvolutionGradients(null, like(arena, r), like(arena, h), null);
      Tensor dout = like(arena, out);
      ConvolutionGradients by = new ConvolutionGradients(null, dr, dh, null);
      plan.secondGradients(edges, in, out, by, second, dout, workspace);
      ConvolutionGradients through = backward(in, dout);
      double[] changes = new double[3 * NODES];
      for (int e = 0; e < edges.size(); e++) {
        double along = 0;
        double change = 0;
        for (long i = 0; i < values(); i++) {
          long at = e * values() + i;
          double radial = 2 * rate(i) * get(h, at);
          along += radial * get(first.h(), at);
          change += radial * (get(second.h(), at) + get(through.h(), at));
          change += 2 * rate(i) * get(dh, at) * get(first.h(), at);
        }
        for (int axis = 0; axis < 3; axis++) {
          double slope =
              second.r().getDouble(e, axis)
                  + through.r().getDouble(e, axis)
                  + change * r.getDouble(e, axis)
                  + along * dr.getDouble(e, axis);
          changes[3 * source[e] + axis] += slope;
          changes[3 * destination[e] + axis] -= slope;
        }
      }
      return changes;
    }

    @Override
    public void close() {
      workspace.close();
    }
  }

  @Test
  void refusesWhatDoesNotFit() {
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      assertSays(
          "destination", "7 at edge 1", () -> Edges.of(3, new int[] {0, 1}, new int[] {1, 7}));
      assertSays("source", "-1 at edge 0", () -> Edges.of(3, new int[] {-1}, new int[] {1}));
      assertSays("destination", "1", () -> Edges.of(3, new int[] {0, 1}, new int[] {1}));
      assertSays("nodes", "-1", () -> Edges.of(-1, new int[0], new int[0]));
      assertSays("degree1", "-1", () -> GauntConvolution.builder(-1, 1, 1));
      assertSays("degree3", "99", () -> GauntConvolution.builder(1, 1, 99));
      assertSays("channels", "0", () -> GauntConvolution.builder(1, 1, 1).channels(0));
      assertSays("type", "I32", () -> GauntConvolution.builder(1, 1, 1).type(DType.I32));

      int[] degrees = {1, 1, 1};
      Problem p = new Problem(arena, 61, DType.F64, degrees, 3, 4, 2, Radial.SHARED);
      for (Form form : Form.values()) {
        GauntConvolution plan =
            GauntConvolution.builder(1, 1, 1).channels(2).type(DType.F64).form(form).build();
        Tensor r = p.in.r().to(DType.F64, arena);
        ConvolutionInputs in = new ConvolutionInputs(p.in.x(), r, p.in.h(), null);
        r.setDouble(Double.NaN, 2, 1);
        assertSays("r", "edge 2", () -> plan.forward(p.edges, in, p.out, workspace));
        for (int axis = 0; axis < 3; axis++) {
          r.setDouble(0, 2, axis);
        }
        assertSays("r", "zero at edge 2", () -> plan.forward(p.edges, in, p.out, workspace));
        assertSays(
            "gradients.a",
            "none",
            () ->
                plan.backward(
                    p.edges,
                    p.in,
                    p.g,
                    new ConvolutionGradients(
                        null, null, null, Tensor.allocate(arena, DType.F64, 4, 2)),
                    workspace));
        ConvolutionInputs wrong =
            new ConvolutionInputs(
                p.in.x(), p.in.r(), Tensor.allocate(arena, DType.F64, 4, 3), null);
        ConvolutionInputs twice =
            new ConvolutionInputs(
                p.in.x(),
                p.in.r(),
                Tensor.allocate(arena, DType.F64, 4, 2, 2),
                Tensor.allocate(arena, DType.F64, 4, 2));
        assertSays("a", "[4, 2]", () -> plan.forward(p.edges, twice, p.out, workspace));
        ConvolutionInputs own = new ConvolutionInputs(p.in.x(), r, twice.h(), null);
        assertSays("r", "zero at edge 2", () -> plan.forward(p.edges, own, p.out, workspace));
        assertSays("h", "[4, 3]", () -> plan.forward(p.edges, wrong, p.out, workspace));
      }
      // A filter of degree 0 has no direction.
      GauntConvolution scalar =
          GauntConvolution.builder(1, 0, 1).channels(2).type(DType.F64).build();
      Tensor zero = Tensor.allocate(arena, DType.F64, 4, 3);
      ConvolutionInputs still =
          new ConvolutionInputs(p.in.x(), zero, Tensor.allocate(arena, DType.F64, 4, 1), null);
      scalar.forward(p.edges, still, p.out, workspace);
      Tensor gr = Tensor.allocate(arena, DType.F64, 4, 3);
      scalar.backward(
          p.edges, still, p.g, new ConvolutionGradients(null, gr, null, null), workspace);
      assertArrayEquals(new double[12], gr.toDoubleArray());
    }
  }

  private static void assertSays(String argument, String got, Runnable call) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(message.startsWith(argument + ": expected"), message);
    assertTrue(message.contains(got), message);
  }
}

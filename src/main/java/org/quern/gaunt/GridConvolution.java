package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.quern.gaunt.SampleKernels.LANES;
import static org.quern.gaunt.SampleKernels.POINTS;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.quern.gaunt.LayerWorkspace.Use;
import org.quern.runtime.Parallel;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Messages as products of samples on a grid (specification, section 8, scheme 4). The rule is exact
 * for degree L1+L2+L3, so the result is, too. Few points at a time: then the samples of a node take
 * a kilobyte per block of channels, and those of a neighbourhood stay in the caches.
 */
final class GridConvolution implements ConvolutionScheme {
  /** Nodes that one thread takes at a time. */
  private static final int GRAIN = 16;

  /** Blocks of channels that share the filters of a pass; more would crowd the caches. */
  private static final int BLOCKS_PER_PASS = 2;

  private final SampleKernels kernels;
  private final DType type;
  private final long row;
  private final int degree2;
  private final int threads;
  private final int chunks;

  /** x, y, z of {@link SampleKernels#POINTS} points, chunk after chunk. */
  private final MemorySegment points;

  private final OrbitTransform features;

  /** With the weights of the rule. */
  private final OrbitTransform results;

  GridConvolution(SampleKernels kernels, int degree1, int degree2, int degree3, int threads) {
    this.kernels = kernels;
    this.type = kernels.type();
    this.row = (long) LANES * type.bytes();
    this.degree2 = degree2;
    this.threads = threads;
    OrbitGrid grid = new OrbitGrid(degree1 + degree2 + degree3);
    chunks = OrbitTransform.chunks(grid);
    Arena arena = Arena.ofAuto();
    points = arena.allocate((long) chunks * 3 * POINTS * type.bytes(), Tensor.ALIGNMENT);
    for (int chunk = 0; chunk < chunks; chunk++) {
      for (int point = 0; point < POINTS; point++) {
        int orbit = OrbitTransform.orbit(chunk, point);
        if (orbit < grid.size()) {
          double[] place = grid.point(orbit, OrbitTransform.image(point));
          for (int axis = 0; axis < 3; axis++) {
            long at = (3L * chunk + axis) * POINTS + point;
            TileTable.set(points, type, at, place[axis]);
          }
        }
      }
    }
    features = new OrbitTransform(arena, kernels, grid, degree1, false);
    results = new OrbitTransform(arena, kernels, grid, degree3, true);
  }

  @Override
  public void forward(Edges edges, ConvolutionInputs in, Tensor out, LayerWorkspace workspace) {
    EdgeGeometry geometry = EdgeGeometry.of(in.r(), in.h(), degree2, type, workspace, threads);
    TileOperand x = operand(in.x(), workspace, Use.X, features.order()).read();
    TileOperand scale = in.a() == null ? null : operand(in.a(), workspace, Use.SCALE, null).read();
    TileOperand sums = operand(out, workspace, Use.OUT, results.order());
    int blocks = TileOperand.blocks(Math.toIntExact(out.rowLength()));
    MemorySegment samples =
        workspace.get(Use.SAMPLES, Math.min(BLOCKS_PER_PASS, blocks) * nodeBytes(edges));
    Scratch scratch = new Scratch(workspace, edges.byDestination().longest());
    for (int from = 0; from < blocks; from += BLOCKS_PER_PASS) {
      int to = Math.min(blocks, from + BLOCKS_PER_PASS);
      for (int chunk = 0; chunk < chunks; chunk++) {
        sample(edges, features, x, from, to, chunk, samples);
        messages(
            edges,
            edges.byDestination(),
            geometry,
            samples,
            scale,
            results,
            sums,
            from,
            to,
            chunk,
            scratch);
      }
    }
    sums.finish();
  }

  @Override
  public void backward(
      Edges edges,
      ConvolutionInputs in,
      Tensor g,
      ConvolutionGradients gradients,
      LayerWorkspace workspace) {
    EdgeGeometry geometry = EdgeGeometry.of(in.r(), in.h(), degree2, type, workspace, threads);
    int blocks = TileOperand.blocks(Math.toIntExact(g.rowLength()));
    TileOperand x = operand(in.x(), workspace, Use.X, features.order()).read();
    TileOperand upstream = operand(g, workspace, Use.GRADIENT, results.order()).read();
    TileOperand scale = in.a() == null ? null : operand(in.a(), workspace, Use.SCALE, null).read();
    TileOperand gx =
        gradients.x() == null
            ? null
            : operand(gradients.x(), workspace, Use.X_GRADIENT, features.order());
    TileOperand gscale =
        gradients.a() == null
            ? null
            : operand(gradients.a(), workspace, Use.SCALE_GRADIENT, null).zero();
    boolean byEdge = gradients.r() != null || gradients.h() != null || gscale != null;
    MemorySegment samples = workspace.get(Use.SAMPLES, byEdge ? blocks * nodeBytes(edges) : 0);
    MemorySegment gsamples = workspace.get(Use.GRADIENT_SAMPLES, blocks * nodeBytes(edges));
    long edgeBytes = (degree2 + 4L) * Double.BYTES;
    MemorySegment turns = workspace.get(Use.EDGE_GRADIENTS, edges.size() * edgeBytes);
    turns.fill((byte) 0);
    Scratch scratch =
        new Scratch(
            workspace, Math.max(edges.bySource().longest(), edges.byDestination().longest()));
    for (int chunk = 0; chunk < chunks; chunk++) {
      sample(edges, results, upstream, 0, blocks, chunk, gsamples);
      if (gx != null) {
        messages(
            edges,
            edges.bySource(),
            geometry,
            gsamples,
            scale,
            features,
            gx,
            0,
            blocks,
            chunk,
            scratch);
      }
      if (byEdge) {
        sample(edges, features, x, 0, blocks, chunk, samples);
        contract(edges, geometry, samples, gsamples, scale, gscale, blocks, chunk, turns, scratch);
      }
    }
    if (gx != null) {
      gx.finish();
    }
    if (gscale != null) {
      gscale.finish();
    }
    finishEdges(geometry, turns, gradients.r(), gradients.h(), edges.size());
  }

  private TileOperand operand(
      Tensor tensor, LayerWorkspace workspace, Use use, int @Nullable [] order) {
    return new TileOperand(tensor, kernels, workspace, use, threads, order);
  }

  private long nodeBytes(Edges edges) {
    return (long) edges.nodes() * POINTS * row;
  }

  /** Samples the blocks [from, to) of all nodes at the points of a chunk. */
  private void sample(
      Edges edges,
      OrbitTransform transform,
      TileOperand x,
      int from,
      int to,
      int chunk,
      MemorySegment samples) {
    Parallel.forRanges(
        edges.nodes(),
        GRAIN,
        threads,
        (first, end, worker) -> {
          for (int block = from; block < to; block++) {
            TileView view = x.view(block);
            for (long node = first; node < end; node++) {
              transform.sample(
                  chunk,
                  view.memory(),
                  view.item(node),
                  samples,
                  ((long) (block - from) * edges.nodes() + node) * POINTS);
            }
          }
        });
  }

  /** Gathers the samples of all neighbours and adds the projection of their sum. */
  private void messages(
      Edges edges,
      Edges.Groups list,
      EdgeGeometry geometry,
      MemorySegment samples,
      @Nullable TileOperand scale,
      OrbitTransform transform,
      TileOperand out,
      int from,
      int to,
      int chunk,
      Scratch scratch) {
    Parallel.forRanges(
        edges.nodes(),
        GRAIN,
        threads,
        (first, end, worker) -> {
          MemorySegment own = scratch.of(worker);
          for (long node = first; node < end; node++) {
            int start = list.start(node);
            int count = list.count(node);
            filters(geometry, count, list.edge(), start, chunk, own);
            for (int block = from; block < to; block++) {
              TileView scales = scale == null ? null : scale.view(block);
              kernels.gather(
                  count,
                  list.other(),
                  list.edge(),
                  start,
                  own,
                  Scratch.FILTERS * LANES,
                  scales == null ? own : scales.memory(),
                  scales == null ? 0 : scales.at(),
                  scales == null ? 0 : scales.itemStep(),
                  samples,
                  (long) (block - from) * edges.nodes() * POINTS,
                  own,
                  0);
              TileView view = out.view(block);
              transform.project(chunk, own, 0, view.memory(), view.item(node), chunk > 0);
            }
          }
        });
  }

  private void filters(
      EdgeGeometry geometry,
      int count,
      MemorySegment edge,
      long start,
      int chunk,
      MemorySegment own) {
    kernels.zonal(
        count,
        edge,
        start,
        geometry.directions(),
        geometry.coefficients(),
        degree2,
        points,
        3L * POINTS * chunk,
        own,
        Scratch.FILTERS * LANES);
  }

  /** Adds what the points of a chunk give to the gradients of the edges. */
  private void contract(
      Edges edges,
      EdgeGeometry geometry,
      MemorySegment samples,
      MemorySegment gsamples,
      @Nullable TileOperand scale,
      @Nullable TileOperand gscale,
      int blocks,
      int chunk,
      MemorySegment turns,
      Scratch scratch) {
    Edges.Groups list = edges.byDestination();
    Parallel.forRanges(
        edges.nodes(),
        GRAIN,
        threads,
        (first, end, worker) -> {
          MemorySegment own = scratch.of(worker);
          for (long node = first; node < end; node++) {
            int start = list.start(node);
            int count = list.count(node);
            filters(geometry, count, list.edge(), start, chunk, own);
            for (int i = 0; i < count; i++) {
              long edge = list.edge().getAtIndex(JAVA_INT, start + i);
              long source = list.other().getAtIndex(JAVA_INT, start + i);
              clear(own, Scratch.SUMS);
              products(
                  samples,
                  source,
                  gsamples,
                  node,
                  edges.nodes(),
                  own,
                  Scratch.FILTERS + i,
                  scale,
                  gscale,
                  edge,
                  blocks,
                  Scratch.SUMS);
              kernels.zonalBackward(
                  edge,
                  geometry.directions(),
                  geometry.coefficients(),
                  degree2,
                  points,
                  3L * POINTS * chunk,
                  own,
                  Scratch.SUMS * LANES,
                  turns,
                  edge * (degree2 + 4));
            }
          }
        });
  }

  private void clear(MemorySegment own, long ofRow) {
    own.asSlice(ofRow * row, row).fill((byte) 0);
  }

  /** Adds what an edge's samples give to a row of sums and to the gradient of its scales. */
  private void products(
      MemorySegment samples,
      long source,
      MemorySegment gsamples,
      long node,
      long nodes,
      MemorySegment own,
      long filterRow,
      @Nullable TileOperand scale,
      @Nullable TileOperand gscale,
      long edge,
      int blocks,
      long sumsRow) {
    int to;
    for (int from = 0; from < blocks; from = to) {
      to = scale == null ? blocks : scale.runEnd(from);
      TileView scales = scale == null ? null : scale.view(from);
      TileView gscales = gscale == null ? null : gscale.view(from);
      kernels.contract(
          to - from,
          samples,
          (from * nodes + source) * POINTS,
          gsamples,
          (from * nodes + node) * POINTS,
          nodes * POINTS,
          own,
          filterRow * LANES,
          scales != null,
          scales == null ? own : scales.memory(),
          scales == null ? 0 : scales.item(edge),
          scales == null ? 0 : Objects.requireNonNull(scale).blockStep(from),
          own,
          sumsRow * LANES,
          gscales == null ? own : gscales.memory(),
          gscales == null ? Scratch.SPARE * row : gscales.item(edge),
          gscales == null ? 0 : Objects.requireNonNull(gscale).blockStep(from));
    }
  }

  /** Turns gradients by filter coefficients and directions into those by h and r. */
  private void finishEdges(
      EdgeGeometry geometry,
      MemorySegment turns,
      @Nullable Tensor gr,
      @Nullable Tensor gh,
      int edges) {
    double[] factors = EdgeGeometry.factors(degree2);
    for (long edge = 0; edge < edges; edge++) {
      long at = edge * (degree2 + 4);
      if (gh != null) {
        for (int l = 0; l <= degree2; l++) {
          double value = turns.getAtIndex(JAVA_DOUBLE, at + l);
          TileTable.set(gh.memory(), gh.type(), edge * gh.rowStride() + l, value * factors[l]);
        }
      }
      if (gr != null) {
        geometry.storeAcross(edge, type, turns, at + degree2 + 1, gr);
      }
    }
  }

  /** Scratch memory of each thread: sums of samples, filters, and a few rows. */
  private final class Scratch {
    /** Row where the sums over lanes lie. */
    static final long SUMS = POINTS;

    /** Row that takes what nobody wants. */
    static final long SPARE = SUMS + 1;

    /** Row where the filters of a node's edges begin. */
    static final long FILTERS = SPARE + 1;

    private final MemorySegment memory;
    private final long bytes;

    Scratch(LayerWorkspace workspace, int longest) {
      bytes = (FILTERS + longest) * row;
      memory = workspace.get(Use.WORKERS, bytes * threads);
    }

    MemorySegment of(int worker) {
      return memory.asSlice(worker * bytes, bytes);
    }
  }
}

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
            null,
            samples,
            scale,
            results,
            sums,
            from,
            to,
            chunk,
            chunk > 0,
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
            null,
            gsamples,
            scale,
            features,
            gx,
            0,
            blocks,
            chunk,
            chunk > 0,
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

  /**
   * The gradients of the sum of the products of {@code by} and what {@link #backward} gives.
   *
   * @param gg receives the gradient by g, or null
   */
  void secondGradients(
      Edges edges,
      ConvolutionInputs in,
      Tensor g,
      ConvolutionGradients by,
      ConvolutionGradients gradients,
      @Nullable Tensor gg,
      LayerWorkspace workspace) {
    EdgeGeometry geometry = EdgeGeometry.of(in.r(), in.h(), degree2, type, workspace, threads);
    EdgeChanges changes =
        EdgeChanges.of(geometry, edges.size(), by.r(), by.h(), degree2, type, workspace, threads);
    Moved moved = new Moved(edges, in, g, by, geometry, changes, workspace);
    TileOperand gx =
        gradients.x() == null
            ? null
            : operand(gradients.x(), workspace, Use.X_GRADIENT, features.order()).zero();
    TileOperand out = gg == null ? null : operand(gg, workspace, Use.OUT, results.order()).zero();
    TileOperand gscale =
        gradients.a() == null
            ? null
            : operand(gradients.a(), workspace, Use.SCALE_GRADIENT, null).zero();
    long edgeElements = degree2 + 7L;
    MemorySegment turns =
        workspace.get(Use.EDGE_GRADIENTS, edges.size() * edgeElements * Double.BYTES);
    turns.fill((byte) 0);
    for (int chunk = 0; chunk < chunks; chunk++) {
      moved.sample(chunk);
      if (gx != null) {
        moved.add(edges.bySource(), true, moved.gsamples, moved.scale, features, gx, chunk);
        if (moved.dscale != null) {
          moved.add(edges.bySource(), false, moved.gsamples, moved.dscale, features, gx, chunk);
        }
      }
      if (out != null) {
        moved.add(edges.byDestination(), true, moved.samples, moved.scale, results, out, chunk);
        if (moved.dx != null) {
          moved.add(edges.byDestination(), false, moved.dsamples, moved.scale, results, out, chunk);
        }
        if (moved.dscale != null) {
          moved.add(edges.byDestination(), false, moved.samples, moved.dscale, results, out, chunk);
        }
      }
      if (gradients.r() != null || gradients.h() != null || gscale != null) {
        moved.contract(gscale, chunk, turns);
      }
    }
    if (gx != null) {
      gx.finish();
    }
    if (out != null) {
      out.finish();
    }
    if (gscale != null) {
      gscale.finish();
    }
    storeRadial(turns, edgeElements, gradients.h(), edges.size());
    Tensor gr = gradients.r();
    if (gr != null) {
      for (long edge = 0; edge < edges.size(); edge++) {
        changes.storeAcross(edge, type, turns, edge * edgeElements + degree2 + 1, gr);
      }
    }
  }

  /** The operands of a convolution, and how they change. */
  private final class Moved {
    private final Edges edges;
    private final EdgeGeometry geometry;
    private final EdgeChanges changes;
    private final int blocks;
    private final TileOperand x;
    private final TileOperand upstream;
    private final @Nullable TileOperand dx;
    private final @Nullable TileOperand scale;
    private final @Nullable TileOperand dscale;
    private final MemorySegment samples;
    private final MemorySegment gsamples;
    private final MemorySegment dsamples;
    private final Scratch scratch;

    /** Rows of the filters of the edges of a node, after which their changes lie. */
    private final long filterRows;

    Moved(
        Edges edges,
        ConvolutionInputs in,
        Tensor g,
        ConvolutionGradients by,
        EdgeGeometry geometry,
        EdgeChanges changes,
        LayerWorkspace workspace) {
      this.edges = edges;
      this.geometry = geometry;
      this.changes = changes;
      blocks = TileOperand.blocks(Math.toIntExact(g.rowLength()));
      x = operand(in.x(), workspace, Use.X, features.order()).read();
      upstream = operand(g, workspace, Use.GRADIENT, results.order()).read();
      dx = by.x() == null ? null : operand(by.x(), workspace, Use.FACTORS, features.order()).read();
      scale = in.a() == null ? null : operand(in.a(), workspace, Use.SCALE, null).read();
      dscale = by.a() == null ? null : operand(by.a(), workspace, Use.SCALE_FACTORS, null).read();
      samples = workspace.get(Use.SAMPLES, blocks * nodeBytes(edges));
      gsamples = workspace.get(Use.GRADIENT_SAMPLES, blocks * nodeBytes(edges));
      dsamples = workspace.get(Use.FACTOR_SAMPLES, dx == null ? 0 : blocks * nodeBytes(edges));
      filterRows = Math.max(edges.bySource().longest(), edges.byDestination().longest());
      scratch = new Scratch(workspace, 2 * filterRows);
    }

    void sample(int chunk) {
      GridConvolution.this.sample(edges, features, x, 0, blocks, chunk, samples);
      GridConvolution.this.sample(edges, results, upstream, 0, blocks, chunk, gsamples);
      if (dx != null) {
        GridConvolution.this.sample(edges, features, dx, 0, blocks, chunk, dsamples);
      }
    }

    /** Adds messages, with the filters of the edges or with their changes. */
    void add(
        Edges.Groups list,
        boolean changed,
        MemorySegment of,
        @Nullable TileOperand scales,
        OrbitTransform transform,
        TileOperand out,
        int chunk) {
      messages(
          edges,
          list,
          geometry,
          changed ? changes : null,
          of,
          scales,
          transform,
          out,
          0,
          blocks,
          chunk,
          true,
          scratch);
    }

    /** Adds what the points of a chunk give to the changes of the gradients of the edges. */
    void contract(@Nullable TileOperand gscale, int chunk, MemorySegment turns) {
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
              long changed = Scratch.FILTERS + filterRows;
              filters(geometry, count, list.edge(), start, chunk, own, Scratch.FILTERS);
              filters(changes, count, list.edge(), start, chunk, own, changed);
              for (int i = 0; i < count; i++) {
                long edge = list.edge().getAtIndex(JAVA_INT, start + i);
                long source = list.other().getAtIndex(JAVA_INT, start + i);
                clear(own, Scratch.SUMS);
                clear(own, Scratch.CHANGES);
                terms(samples, source, node, own, changed + i, scale, gscale, edge, Scratch.SUMS);
                long filter = Scratch.FILTERS + i;
                if (dx != null) {
                  terms(dsamples, source, node, own, filter, scale, gscale, edge, Scratch.CHANGES);
                }
                if (dscale != null) {
                  terms(samples, source, node, own, filter, dscale, null, edge, Scratch.CHANGES);
                }
                kernels.zonalBackwardChange(
                    edge,
                    geometry.directions(),
                    geometry.coefficients(),
                    changes.turns(),
                    changes.coefficients(),
                    degree2,
                    points,
                    3L * POINTS * chunk,
                    own,
                    Scratch.SUMS * LANES,
                    turns,
                    edge * (degree2 + 7));
              }
            }
          });
    }

    private void terms(
        MemorySegment of,
        long source,
        long node,
        MemorySegment own,
        long filterRow,
        @Nullable TileOperand scales,
        @Nullable TileOperand gscale,
        long edge,
        long sumsRow) {
      products(
          of,
          source,
          gsamples,
          node,
          edges.nodes(),
          own,
          filterRow,
          scales,
          gscale,
          edge,
          blocks,
          sumsRow);
    }
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

  /**
   * Gathers the samples of all neighbours and projects their sum.
   *
   * @param changes where they are given, the filters are the changes of those of the edges
   * @param add whether to add to what {@code out} holds
   */
  private void messages(
      Edges edges,
      Edges.Groups list,
      EdgeGeometry geometry,
      @Nullable EdgeChanges changes,
      MemorySegment samples,
      @Nullable TileOperand scale,
      OrbitTransform transform,
      TileOperand out,
      int from,
      int to,
      int chunk,
      boolean add,
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
            if (changes == null) {
              filters(geometry, count, list.edge(), start, chunk, own, Scratch.FILTERS);
            } else {
              filters(changes, count, list.edge(), start, chunk, own, Scratch.FILTERS);
            }
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
              transform.project(chunk, own, 0, view.memory(), view.item(node), add);
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
      MemorySegment own,
      long ownRow) {
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
        ownRow * LANES);
  }

  private void filters(
      EdgeChanges changes,
      int count,
      MemorySegment edge,
      long start,
      int chunk,
      MemorySegment own,
      long ownRow) {
    kernels.zonalChange(
        count,
        edge,
        start,
        changes.geometry().directions(),
        changes.geometry().coefficients(),
        changes.turns(),
        changes.coefficients(),
        degree2,
        points,
        3L * POINTS * chunk,
        own,
        ownRow * LANES);
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
            filters(geometry, count, list.edge(), start, chunk, own, Scratch.FILTERS);
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
    storeRadial(turns, degree2 + 4L, gh, edges);
    if (gr != null) {
      for (long edge = 0; edge < edges; edge++) {
        geometry.storeAcross(edge, type, turns, edge * (degree2 + 4) + degree2 + 1, gr);
      }
    }
  }

  /** Turns gradients by filter coefficients, {@code step} elements per edge, into those by h. */
  private void storeRadial(MemorySegment turns, long step, @Nullable Tensor gh, int edges) {
    if (gh == null) {
      return;
    }
    double[] factors = EdgeGeometry.factors(degree2);
    for (long edge = 0; edge < edges; edge++) {
      for (int l = 0; l <= degree2; l++) {
        double value = turns.getAtIndex(JAVA_DOUBLE, edge * step + l) * factors[l];
        TileTable.set(gh.memory(), gh.type(), edge * gh.rowStride() + l, value);
      }
    }
  }

  /** Scratch memory of each thread: sums of samples, filters, and a few rows. */
  private final class Scratch {
    /** Row where the sums over lanes lie. */
    static final long SUMS = POINTS;

    /** Row where their changes lie. */
    static final long CHANGES = SUMS + 1;

    /** Row that takes what nobody wants. */
    static final long SPARE = CHANGES + 1;

    /** Row where the filters of a node's edges begin. */
    static final long FILTERS = SPARE + 1;

    private final MemorySegment memory;
    private final long bytes;

    Scratch(LayerWorkspace workspace, long filters) {
      bytes = (FILTERS + filters) * row;
      memory = workspace.get(Use.WORKERS, bytes * threads);
    }

    MemorySegment of(int worker) {
      return memory.asSlice(worker * bytes, bytes);
    }
  }
}

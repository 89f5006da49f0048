package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.quern.gaunt.SampleKernels.LANES;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.gaunt.LayerWorkspace.Use;
import org.quern.runtime.Parallel;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Messages made edge by edge: the filter as a linear map that multiplies the features of the
 * source. The gradient by the filter goes through that by its matrix, {@code gM[k, i] = sum_c a g_k
 * x_i}.
 */
final class EdgeConvolution implements ConvolutionScheme {
  /** Nodes that one thread takes at a time. */
  private static final int GRAIN = 16;

  private final SampleKernels kernels;
  private final DType type;
  private final long row;
  private final int degree2;
  private final int components1;
  private final int components3;
  private final int threads;
  private final EdgeFilter filter;
  private final Couplings couplings;
  private final SphericalHarmonics harmonics;

  EdgeConvolution(
      SampleKernels kernels,
      int degree1,
      int degree2,
      int degree3,
      int threads,
      EdgeFilter filter,
      Couplings couplings) {
    this.kernels = kernels;
    this.type = kernels.type();
    this.row = (long) LANES * type.bytes();
    this.degree2 = degree2;
    this.components1 = (degree1 + 1) * (degree1 + 1);
    this.components3 = (degree3 + 1) * (degree3 + 1);
    this.threads = threads;
    this.filter = filter;
    this.couplings = couplings;
    // The geometry has refused what has no direction and needs one.
    this.harmonics =
        SphericalHarmonics.builder(degree2)
            .zeroVectors(ZeroVectors.CONSTANT)
            .threads(threads)
            .build();
  }

  /** Edge vectors and the harmonics of their directions, in double precision. */
  private record Directions(Tensor r, Tensor values) {}

  private Directions directions(ConvolutionInputs in, LayerWorkspace workspace) {
    EdgeGeometry.of(in.r(), in.h(), degree2, type, workspace, threads);
    long edges = in.r().dim(0);
    Tensor r = workspace.tensor(Use.DIRECTIONS, DType.F64, edges, 3);
    for (long edge = 0; edge < edges; edge++) {
      for (int axis = 0; axis < 3; axis++) {
        long at = edge * in.r().rowStride() + axis;
        double value = TileTable.get(in.r().memory(), in.r().type(), at);
        TileTable.set(r.memory(), DType.F64, 3 * edge + axis, value);
      }
    }
    Tensor values = workspace.tensor(Use.HARMONICS, DType.F64, edges, harmonics.components());
    harmonics.values(r, values, workspace.sphere());
    return new Directions(r, values);
  }

  @Override
  public void forward(Edges edges, ConvolutionInputs in, Tensor out, LayerWorkspace workspace) {
    Directions directions = directions(in, workspace);
    TileOperand x = operand(in.x(), workspace, Use.X).read();
    TileOperand scale = in.a() == null ? null : operand(in.a(), workspace, Use.SCALE).read();
    TileOperand sums = operand(out, workspace, Use.OUT).zero();
    int blocks = TileOperand.blocks(Math.toIntExact(out.rowLength()));
    messages(
        edges, edges.byDestination(), false, in, directions, x, scale, sums, blocks, workspace);
    sums.finish();
  }

  private TileOperand operand(Tensor tensor, LayerWorkspace workspace, Use use) {
    return new TileOperand(tensor, kernels, workspace, use, threads, null);
  }

  /** Adds the maps of all edges, or their transposes, times what their other ends hold. */
  private void messages(
      Edges edges,
      Edges.Groups list,
      boolean transposed,
      ConvolutionInputs in,
      Directions directions,
      TileOperand x,
      @Nullable TileOperand scale,
      TileOperand out,
      int blocks,
      LayerWorkspace workspace) {
    Scratch scratch = new Scratch(workspace);
    int rows = transposed ? components1 : components3;
    Parallel.forRanges(
        edges.nodes(),
        GRAIN,
        threads,
        (first, end, worker) -> {
          Filter own = new Filter(in, directions);
          for (long node = first; node < end; node++) {
            int start = list.start(node);
            for (int i = 0; i < list.count(node); i++) {
              long edge = list.edge().getAtIndex(JAVA_INT, start + i);
              long other = list.other().getAtIndex(JAVA_INT, start + i);
              own.prepare(edge, scratch.tables(worker));
              for (int block = 0; block < blocks; block++) {
                TileView source = x.view(block);
                TileView target = out.view(block);
                MemorySegment tiles = scratch.tiles(worker);
                apply(transposed, scratch, worker, source, other);
                TileView scales = scale == null ? scratch.ones(worker) : scale.view(block);
                kernels.scale(
                    rows,
                    tiles,
                    0,
                    row,
                    scales.memory(),
                    scales.item(edge),
                    target.memory(),
                    target.item(node),
                    target.rowStep(),
                    true);
              }
            }
          }
        });
  }

  private void apply(boolean transposed, Scratch scratch, int worker, TileView source, long node) {
    MemorySegment tiles = scratch.tiles(worker);
    filter.apply(
        kernels,
        transposed,
        scratch.tables(worker),
        source.memory(),
        source.item(node),
        source.rowStep(),
        tiles,
        0,
        tiles,
        scratch.spareAt());
  }

  @Override
  public void backward(
      Edges edges,
      ConvolutionInputs in,
      Tensor g,
      ConvolutionGradients gradients,
      LayerWorkspace workspace) {
    Directions directions = directions(in, workspace);
    int blocks = TileOperand.blocks(Math.toIntExact(g.rowLength()));
    TileOperand upstream = operand(g, workspace, Use.GRADIENT).read();
    TileOperand scale = in.a() == null ? null : operand(in.a(), workspace, Use.SCALE).read();
    if (gradients.x() != null) {
      TileOperand gx = operand(gradients.x(), workspace, Use.X_GRADIENT).zero();
      messages(
          edges, edges.bySource(), true, in, directions, upstream, scale, gx, blocks, workspace);
      gx.finish();
    }
    if (gradients.r() == null && gradients.h() == null && gradients.a() == null) {
      return;
    }
    Tensor gf =
        workspace.tensor(Use.FILTER_GRADIENTS, DType.F64, in.r().dim(0), harmonics.components());
    gf.fill(0);
    TileOperand x = operand(in.x(), workspace, Use.X).read();
    TileOperand ga =
        gradients.a() == null ? null : operand(gradients.a(), workspace, Use.SCALE_GRADIENT).zero();
    contract(edges, in, directions, x, upstream, scale, ga, blocks, gf, workspace);
    if (ga != null) {
      ga.finish();
    }
    finish(in, directions, gf, gradients, workspace);
  }

  /** Gradients by the scales, and by the filters' coefficients: {@code gf[e, j]}. */
  private void contract(
      Edges edges,
      ConvolutionInputs in,
      Directions directions,
      TileOperand x,
      TileOperand upstream,
      @Nullable TileOperand scale,
      @Nullable TileOperand ga,
      int blocks,
      Tensor gf,
      LayerWorkspace workspace) {
    Scratch scratch = new Scratch(workspace);
    Edges.Groups list = edges.byDestination();
    Parallel.forRanges(
        edges.nodes(),
        GRAIN,
        threads,
        (first, end, worker) -> {
          Filter own = new Filter(in, directions);
          double[] matrix = new double[components3 * components1];
          for (long node = first; node < end; node++) {
            int start = list.start(node);
            for (int i = 0; i < list.count(node); i++) {
              long edge = list.edge().getAtIndex(JAVA_INT, start + i);
              long source = list.other().getAtIndex(JAVA_INT, start + i);
              java.util.Arrays.fill(matrix, 0);
              if (ga != null) {
                own.prepare(edge, scratch.tables(worker));
              }
              for (int block = 0; block < blocks; block++) {
                TileView scales = scale == null ? scratch.ones(worker) : scale.view(block);
                outer(x.view(block), source, upstream.view(block), node, scales, edge, matrix);
                if (ga != null) {
                  apply(false, scratch, worker, x.view(block), source);
                  dot(scratch.tiles(worker), upstream.view(block), node, ga.view(block), edge);
                }
              }
              for (int entry = 0; entry < couplings.size(); entry++) {
                long at = edge * gf.rowStride() + couplings.second(entry);
                double term =
                    couplings.value(entry)
                        * matrix[couplings.out(entry) * components1 + couplings.first(entry)];
                double sum = TileTable.get(gf.memory(), DType.F64, at) + term;
                TileTable.set(gf.memory(), DType.F64, at, sum);
              }
            }
          }
        });
  }

  /** {@code matrix[k, i] += sum over lanes of a g[k] x[i]}. */
  private void outer(
      TileView x, long source, TileView g, long node, TileView scales, long edge, double[] matrix) {
    for (int k = 0; k < components3; k++) {
      for (int i = 0; i < components1; i++) {
        double sum = 0;
        for (int lane = 0; lane < LANES; lane++) {
          sum += get(scales, edge, 0, lane) * get(g, node, k, lane) * get(x, source, i, lane);
        }
        matrix[k * components1 + i] += sum;
      }
    }
  }

  /** {@code ga += sum_k g[k] message[k]} per lane. */
  private void dot(MemorySegment message, TileView g, long node, TileView ga, long edge) {
    for (int lane = 0; lane < LANES; lane++) {
      double sum = 0;
      for (int k = 0; k < components3; k++) {
        sum += get(g, node, k, lane) * TileTable.get(message, type, (long) k * LANES + lane);
      }
      TileTable.set(ga.memory(), type, ga.item(edge) / type.bytes() + lane, sum);
    }
  }

  private double get(TileView view, long item, int row, int lane) {
    long at = (view.item(item) + row * view.rowStep()) / type.bytes() + lane;
    return TileTable.get(view.memory(), type, at);
  }

  /** {@code f[l, m] = h[l] Y(l, m)(r)}, backward. */
  private void finish(
      ConvolutionInputs in,
      Directions directions,
      Tensor gf,
      ConvolutionGradients gradients,
      LayerWorkspace workspace) {
    Tensor gh = gradients.h();
    for (long edge = 0; edge < gf.dim(0); edge++) {
      for (int l = 0; l <= degree2; l++) {
        double radial = in.h().getDouble(edge, l);
        double sum = 0;
        for (int j = l * l; j < (l + 1) * (l + 1); j++) {
          sum += gf.getDouble(edge, j) * directions.values().getDouble(edge, j);
          gf.setDouble(gf.getDouble(edge, j) * radial, edge, j);
        }
        if (gh != null) {
          gh.setDouble(sum, edge, l);
        }
      }
    }
    Tensor gr = gradients.r();
    if (gr != null) {
      Tensor turned = workspace.tensor(Use.EDGE_GRADIENTS, DType.F64, gf.dim(0), 3);
      harmonics.pullback(directions.r(), gf, turned, workspace.sphere());
      for (long edge = 0; edge < gf.dim(0); edge++) {
        for (int axis = 0; axis < 3; axis++) {
          gr.setDouble(turned.getDouble(edge, axis), edge, axis);
        }
      }
    }
  }

  /** The filter of one edge after another, in memory of one thread. */
  private final class Filter {
    private final ConvolutionInputs in;
    private final Directions directions;
    private final double[] r = new double[3];
    private final double[] h = new double[degree2 + 1];
    private final double[] f = new double[harmonics.components()];

    Filter(ConvolutionInputs in, Directions directions) {
      this.in = in;
      this.directions = directions;
    }

    void prepare(long edge, MemorySegment tables) {
      for (int axis = 0; axis < 3; axis++) {
        r[axis] = directions.r().getDouble(edge, axis);
      }
      for (int l = 0; l <= degree2; l++) {
        h[l] = in.h().getDouble(edge, l);
        for (int j = l * l; j < (l + 1) * (l + 1); j++) {
          f[j] = h[l] * directions.values().getDouble(edge, j);
        }
      }
      filter.prepare(r, f, h, tables, type);
    }
  }

  /** Scratch memory of each thread: a message, a row of ones, what the filter needs, its tables. */
  private final class Scratch {
    private final MemorySegment memory;
    private final long tileBytes;
    private final long bytes;

    Scratch(LayerWorkspace workspace) {
      tileBytes = (Math.max(components1, components3) + 1L + filter.scratchRows()) * row;
      bytes =
          Math.ceilDiv(tileBytes + filter.tableElements() * type.bytes(), Tensor.ALIGNMENT)
              * (long) Tensor.ALIGNMENT;
      memory = workspace.get(Use.WORKERS, bytes * threads);
    }

    MemorySegment tiles(int worker) {
      return memory.asSlice(worker * bytes, tileBytes);
    }

    MemorySegment tables(int worker) {
      return memory.asSlice(worker * bytes + tileBytes, bytes - tileBytes);
    }

    long spareAt() {
      return onesAt() + row;
    }

    private long onesAt() {
      return Math.max(components1, components3) * row;
    }

    TileView ones(int worker) {
      for (int lane = 0; lane < LANES; lane++) {
        TileTable.set(tiles(worker), type, onesAt() / type.bytes() + lane, 1);
      }
      return new TileView(tiles(worker), onesAt(), 0, row);
    }
  }
}

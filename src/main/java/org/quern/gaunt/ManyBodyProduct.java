package org.quern.gaunt;

import static org.quern.gaunt.SampleKernels.LANES;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.gaunt.LayerWorkspace.Use;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The sum of powers of a function on the sphere, projected degree by degree:
 *
 * <pre>
 * out[b, l, :, c] = sum over k = 1..nu of W[k-1, species_b, c, l] P_l[f^k]
 * </pre>
 *
 * where f is the function with the coefficients x[b, :, c] in the orthonormal basis, and P_l takes
 * the coefficients of degree l. Powers are taken of samples on a grid that is exact for degree nu L
 * + Lout, and nothing is truncated between the factors. The value of a power grows like f to the
 * nu; what overflows becomes infinite or NaN.
 *
 * <p>A plan is immutable and may be shared by threads, each with a workspace of its own. Operands
 * are F32 or F64 in host memory; inputs, output and gradients must not overlap. Results do not
 * depend on the number of threads.
 *
 * <p>Source: the many-body block of MACE in the form of Luo, Chen, Krishnapriyan (ICLR 2024).
 */
public final class ManyBodyProduct {
  /** Highest degree that the grid may need to be exact for. */
  public static final int MAX_GRID_DEGREE = 2 * GaussLegendre.MAX_NODES - 1;

  /** Tiles that one thread takes at a time. */
  private static final int GRAIN = 32;

  /** Parts of a batch whose gradients by the weights are summed apart; fixed, for one result. */
  private static final int PARTS = 16;

  private final int degree;
  private final int order;
  private final int degreeOut;
  private final int species;
  private final int channels;
  private final int blocks;
  private final int threads;
  private final DType type;
  private final Tier tier;
  private final SampleKernels kernels;
  private final long row;
  private final int points;
  private final TileTable sampling;
  private final TileTable gathering;

  /** By degree of the output: projection, and its transpose. */
  private final TileTable[] projection;

  private final TileTable[] spreading;

  private ManyBodyProduct(Builder builder) {
    degree = builder.degree;
    order = builder.order;
    degreeOut = builder.degreeOut;
    species = builder.species;
    channels = builder.channels;
    blocks = TileOperand.blocks(channels);
    threads = builder.threads;
    type = builder.type;
    tier = Capabilities.get().choose(GauntConvolution.TIERS, builder.tier);
    kernels = GauntConvolution.kernels(tier, type);
    row = (long) LANES * kernels.type().bytes();
    Arena arena = Arena.ofAuto();
    SphereGrid grid = new SphereGrid(gridDegree());
    points = grid.size();
    double[][] samples = grid.values(degree);
    double[][] integrals = grid.integrals(degreeOut);
    sampling = TileTable.of(arena, kernels.type(), samples);
    gathering = TileTable.of(arena, kernels.type(), TileTable.transposed(samples));
    projection = new TileTable[degreeOut + 1];
    spreading = new TileTable[degreeOut + 1];
    for (int l = 0; l <= degreeOut; l++) {
      double[][] part = java.util.Arrays.copyOfRange(integrals, l * l, (l + 1) * (l + 1));
      projection[l] = TileTable.of(arena, kernels.type(), part);
      spreading[l] = TileTable.of(arena, kernels.type(), TileTable.transposed(part));
    }
  }

  /**
   * Starts a plan.
   *
   * @param degree highest degree L of the input
   * @param order highest power nu
   * @param degreeOut highest degree Lout of the output
   * @throws IllegalArgumentException where an argument is out of its range, or the grid would have
   *     to be exact for more than {@link #MAX_GRID_DEGREE}
   */
  public static Builder builder(int degree, int order, int degreeOut) {
    return new Builder(degree, order, degreeOut);
  }

  /** The degree nu L + Lout that the grid is exact for. */
  public int gridDegree() {
    return order * degree + degreeOut;
  }

  /** Points of the grid. */
  public int points() {
    return points;
  }

  /** The tier that this plan uses. */
  public Tier tier() {
    return tier;
  }

  /**
   * Computes the product.
   *
   * @param x [batch, n(L), channels]
   * @param speciesOf for each row of the batch a number from 0
   * @param w weights [nu, species, channels, Lout + 1]
   * @param out receives [batch, n(Lout), channels]
   * @param workspace scratch memory
   * @throws IllegalArgumentException where a shape, a type or a device does not suit, or a species
   *     is out of range
   */
  public void forward(Tensor x, int[] speciesOf, Tensor w, Tensor out, LayerWorkspace workspace) {
    check(x, speciesOf, w, "out", out);
    TileOperand in = new TileOperand(x, kernels, workspace, Use.X, threads, null).read();
    TileOperand sums = new TileOperand(out, kernels, workspace, Use.OUT, threads, null);
    MemorySegment weights = workspace.get(Use.WEIGHT, weightRows() * row);
    transfer(w, weights, true);
    long scratchBytes = 2L * points * row;
    MemorySegment scratch = workspace.get(Use.WORKERS, scratchBytes * threads);
    Parallel.forRanges(
        x.dim(0) * blocks,
        GRAIN,
        threads,
        (from, to, worker) -> {
          MemorySegment own = scratch.asSlice(worker * scratchBytes, scratchBytes);
          for (long tile = from; tile < to; tile++) {
            long item = tile / blocks;
            int block = (int) (tile % blocks);
            sample(in.view(block), item, own, 0);
            TileView target = sums.view(block);
            for (int l = 0; l <= degreeOut; l++) {
              long weightRow = weightRow(speciesOf[(int) item], block, l);
              kernels.powers(points, order, own, 0, weights, weightRow, own, points);
              project(l, own, points, target, item);
            }
          }
        });
    sums.finish();
  }

  /**
   * Computes the gradients of a scalar whose gradient by the output is known.
   *
   * @param x what {@link #forward} was given, as the next two
   * @param g gradient by the output, [batch, n(Lout), channels]
   * @param gx receives the gradient by x, or null
   * @param gw receives the gradient by the weights, or null
   * @param workspace scratch memory
   * @throws IllegalArgumentException as {@link #forward}
   */
  public void backward(
      Tensor x,
      int[] speciesOf,
      Tensor w,
      Tensor g,
      @Nullable Tensor gx,
      @Nullable Tensor gw,
      LayerWorkspace workspace) {
    check(x, speciesOf, w, "g", g);
    check("gx", gx, x);
    check("gw", gw, w);
    TileOperand in = new TileOperand(x, kernels, workspace, Use.X, threads, null).read();
    TileOperand upstream =
        new TileOperand(g, kernels, workspace, Use.GRADIENT, threads, null).read();
    TileOperand gin =
        gx == null ? null : new TileOperand(gx, kernels, workspace, Use.X_GRADIENT, threads, null);
    MemorySegment weights = workspace.get(Use.WEIGHT, weightRows() * row);
    transfer(w, weights, true);
    MemorySegment gweights = partWeights(workspace);
    forTiles(
        x.dim(0),
        3L * points,
        workspace,
        (item, block, part, own) -> {
          sample(in.view(block), item, own, 0);
          clear(own, 2L * points, points);
          for (int l = 0; l <= degreeOut; l++) {
            spread(l, upstream.view(block), item, own, points);
            long weightRow = weightRow(speciesOf[(int) item], block, l);
            kernels.powersBackward(
                points,
                order,
                own,
                0,
                own,
                points,
                weights,
                weightRow,
                own,
                2L * points,
                gweights,
                part * weightRows() + weightRow);
          }
          if (gin != null) {
            collect(own, 2L * points, gin.view(block), item);
          }
        });
    finish(gin, gw, gweights);
  }

  /**
   * Computes the gradients of {@code sum of hx gx + sum of hw gw}, where gx and gw are what {@link
   * #backward} gives for the same operands: what training on gradients needs, forces among them. By
   * symmetry it is also the change of these gradients when x and w change by hx and hw, and {@code
   * gg} that of the output.
   *
   * @param x what {@link #forward} was given, as the next two
   * @param g gradient by the output, [batch, n(Lout), channels]
   * @param hx factors of gx, of the shape of x, or null where they are zero
   * @param hw factors of gw, of the shape of w, or null where they are zero
   * @param gx receives the gradient by x, or null
   * @param gw receives the gradient by the weights, or null
   * @param gg receives the gradient by g, or null
   * @param workspace scratch memory
   * @throws IllegalArgumentException as {@link #forward}
   */
  public void secondGradients(
      Tensor x,
      int[] speciesOf,
      Tensor w,
      Tensor g,
      @Nullable Tensor hx,
      @Nullable Tensor hw,
      @Nullable Tensor gx,
      @Nullable Tensor gw,
      @Nullable Tensor gg,
      LayerWorkspace workspace) {
    check(x, speciesOf, w, "g", g);
    check("hx", hx, x);
    check("hw", hw, w);
    check("gx", gx, x);
    check("gw", gw, w);
    check("gg", gg, g);
    TileOperand in = new TileOperand(x, kernels, workspace, Use.X, threads, null).read();
    TileOperand change =
        hx == null
            ? null
            : new TileOperand(hx, kernels, workspace, Use.FACTORS, threads, null).read();
    TileOperand upstream =
        new TileOperand(g, kernels, workspace, Use.GRADIENT, threads, null).read();
    TileOperand gin =
        gx == null ? null : new TileOperand(gx, kernels, workspace, Use.X_GRADIENT, threads, null);
    TileOperand out =
        gg == null ? null : new TileOperand(gg, kernels, workspace, Use.OUT, threads, null);
    MemorySegment weights = workspace.get(Use.WEIGHT, weightRows() * row);
    transfer(w, weights, true);
    MemorySegment changes = workspace.get(Use.WEIGHT_FACTORS, weightRows() * row);
    if (hw == null) {
      changes.fill((byte) 0);
    } else {
      transfer(hw, changes, true);
    }
    MemorySegment gweights = partWeights(workspace);
    // Samples, their changes, what goes through the projections, sums; rows that nobody reads.
    long moved = points;
    long passed = 2L * points;
    long sums = 3L * points;
    long spare = 4L * points;
    forTiles(
        x.dim(0),
        spare + order,
        workspace,
        (item, block, part, own) -> {
          sample(in.view(block), item, own, 0);
          clear(own, moved, points);
          if (change != null) {
            sample(change.view(block), item, own, moved);
          }
          clear(own, sums, points + order);
          for (int l = 0; l <= degreeOut; l++) {
            long at = weightRow(speciesOf[(int) item], block, l);
            if (out != null) {
              kernels.powers(points, order, own, 0, changes, at, own, passed);
              kernels.powersBackward(
                  points, order, own, 0, own, moved, weights, at, own, passed, own, spare);
              project(l, own, passed, out.view(block), item);
            }
            spread(l, upstream.view(block), item, own, passed);
            kernels.powersBackwardChange(
                points,
                order,
                own,
                0,
                own,
                moved,
                own,
                passed,
                weights,
                at,
                changes,
                at,
                own,
                sums,
                gweights,
                part * weightRows() + at);
          }
          if (gin != null) {
            collect(own, sums, gin.view(block), item);
          }
        });
    if (out != null) {
      out.finish();
    }
    finish(gin, gw, gweights);
  }

  /** Work on one block of channels of one row of the batch. */
  private interface TileTask {
    /**
     * Does the work.
     *
     * @param part the part of the batch that the item is in
     * @param own rows of scratch memory
     */
    void run(long item, int block, long part, MemorySegment own);
  }

  /** Cuts a batch into the parts whose gradients by the weights are summed apart. */
  private void forTiles(long batch, long scratchRows, LayerWorkspace workspace, TileTask task) {
    long grain = Math.max(1, Math.ceilDiv(batch, PARTS));
    long scratchBytes = scratchRows * row;
    MemorySegment scratch = workspace.get(Use.WORKERS, scratchBytes * threads);
    Parallel.forRanges(
        batch,
        grain,
        threads,
        (from, to, worker) -> {
          MemorySegment own = scratch.asSlice(worker * scratchBytes, scratchBytes);
          for (long item = from; item < to; item++) {
            for (int block = 0; block < blocks; block++) {
              task.run(item, block, from / grain, own);
            }
          }
        });
  }

  private MemorySegment partWeights(LayerWorkspace workspace) {
    long bytes = PARTS * weightRows() * row;
    MemorySegment gweights = workspace.get(Use.WEIGHT_GRADIENT, bytes);
    gweights.asSlice(0, bytes).fill((byte) 0);
    return gweights;
  }

  private void finish(@Nullable TileOperand gin, @Nullable Tensor gw, MemorySegment gweights) {
    if (gin != null) {
      gin.finish();
    }
    if (gw != null) {
      addParts(gweights);
      transfer(gw, gweights, false);
    }
  }

  private void clear(MemorySegment own, long from, long rows) {
    own.asSlice(from * row, rows * row).fill((byte) 0);
  }

  /** The transpose of {@link #project}. */
  private void spread(int l, TileView g, long item, MemorySegment own, long to) {
    kernels.mix(
        spreading[l].memory(),
        0,
        points,
        2 * l + 1,
        g.memory(),
        g.item(item) + (long) l * l * g.rowStep(),
        g.rowStep(),
        own,
        to * row,
        row,
        false);
  }

  /** The coefficients of degree l of samples. */
  private void project(int l, MemorySegment own, long from, TileView out, long item) {
    kernels.mix(
        projection[l].memory(),
        0,
        projection[l].rows(),
        points,
        own,
        from * row,
        row,
        out.memory(),
        out.item(item) + (long) l * l * out.rowStep(),
        out.rowStep(),
        false);
  }

  /** The transpose of {@link #sample}. */
  private void collect(MemorySegment own, long from, TileView out, long item) {
    kernels.mix(
        gathering.memory(),
        0,
        gathering.rows(),
        points,
        own,
        from * row,
        row,
        out.memory(),
        out.item(item),
        out.rowStep(),
        false);
  }

  private void sample(TileView x, long item, MemorySegment own, long to) {
    kernels.mix(
        sampling.memory(),
        0,
        points,
        sampling.columns(),
        x.memory(),
        x.item(item),
        x.rowStep(),
        own,
        to * row,
        row,
        false);
  }

  // Weights as the kernels read them: by species, block of channels, degree and order a row.

  private long weightRows() {
    return (long) species * blocks * (degreeOut + 1) * order;
  }

  private long weightRow(int of, int block, int l) {
    return (((long) of * blocks + block) * (degreeOut + 1) + l) * order;
  }

  private void transfer(Tensor w, MemorySegment rows, boolean read) {
    DType inner = kernels.type();
    for (int s = 0; s < species; s++) {
      for (int k = 0; k < order; k++) {
        for (int c = 0; c < blocks * LANES; c++) {
          for (int l = 0; l <= degreeOut; l++) {
            long at = (weightRow(s, c / LANES, l) + k) * LANES + c % LANES;
            long place = (((long) k * species + s) * channels + c) * w.rowStride() + l;
            if (read) {
              double value = c < channels ? TileTable.get(w.memory(), type, place) : 0;
              TileTable.set(rows, inner, at, value);
            } else if (c < channels) {
              TileTable.set(w.memory(), type, place, TileTable.get(rows, inner, at));
            }
          }
        }
      }
    }
  }

  /** Sums the parts in double precision, in their order, into the first. */
  private void addParts(MemorySegment parts) {
    long elements = weightRows() * LANES;
    for (long i = 0; i < elements; i++) {
      double sum = 0;
      for (int part = 0; part < PARTS; part++) {
        sum += TileTable.get(parts, kernels.type(), part * elements + i);
      }
      TileTable.set(parts, kernels.type(), i, sum);
    }
  }

  private void check(String name, @Nullable Tensor tensor, Tensor like) {
    if (tensor != null) {
      TileOperand.check(name, tensor, type, like.shape());
    }
  }

  private void check(Tensor x, int[] speciesOf, Tensor w, String name, Tensor result) {
    TileOperand.check("x", x, type, speciesOf.length, components(degree), channels);
    TileOperand.check("w", w, type, order, species, channels, degreeOut + 1);
    TileOperand.check(name, result, type, speciesOf.length, components(degreeOut), channels);
    for (int i = 0; i < speciesOf.length; i++) {
      if (speciesOf[i] < 0 || speciesOf[i] >= species) {
        throw new IllegalArgumentException(
            "speciesOf: expected numbers from 0 to "
                + (species - 1)
                + ", got "
                + speciesOf[i]
                + " at row "
                + i);
      }
    }
  }

  private static int components(int degree) {
    return (degree + 1) * (degree + 1);
  }

  /** Collects what a plan needs. */
  public static final class Builder {
    private final int degree;
    private final int order;
    private final int degreeOut;
    private int species = 1;
    private int channels = 1;
    private DType type = DType.F32;
    private @Nullable Tier tier;
    private int threads = 1;

    private Builder(int degree, int order, int degreeOut) {
      this.degree = GauntConvolution.inRange("degree", degree, 0, GauntConvolution.MAX_DEGREE);
      this.order = GauntConvolution.inRange("order", order, 1, 16);
      this.degreeOut =
          GauntConvolution.inRange("degreeOut", degreeOut, 0, 2 * GauntConvolution.MAX_DEGREE);
      int needed = order * degree + degreeOut;
      if (needed > MAX_GRID_DEGREE) {
        throw new IllegalArgumentException(
            "order: expected order x degree + degreeOut up to "
                + MAX_GRID_DEGREE
                + ", got "
                + needed);
      }
    }

    /** Number of channels; 1 unless set. */
    public Builder channels(int channels) {
      this.channels = GauntConvolution.inRange("channels", channels, 1, 1 << 20);
      return this;
    }

    /** Number of species, each with weights of its own; 1 unless set. */
    public Builder species(int species) {
      this.species = GauntConvolution.inRange("species", species, 1, 1 << 20);
      return this;
    }

    /**
     * Element type of all operands; F32 unless set. F64 is computed in double precision by the
     * scalar tier.
     *
     * @throws IllegalArgumentException where it is neither F32 nor F64
     */
    public Builder type(DType type) {
      this.type = GauntConvolution.real("type", type);
      return this;
    }

    /** Demands a tier; without it the best one is chosen. */
    public Builder tier(Tier tier) {
      this.tier = tier;
      return this;
    }

    /** Threads to use at most; 1 unless set. */
    public Builder threads(int threads) {
      this.threads = GauntConvolution.inRange("threads", threads, 1, 1 << 12);
      return this;
    }

    /**
     * Makes the plan.
     *
     * @throws IllegalStateException where the demanded tier cannot run
     */
    public ManyBodyProduct build() {
      return new ManyBodyProduct(this);
    }
  }
}

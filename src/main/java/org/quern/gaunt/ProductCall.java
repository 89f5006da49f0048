package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Parallel;
import org.quern.tensor.DType;

/**
 * One call of a product or of its gradients: cuts the batch into tiles of channels, brings each
 * into the form that a {@link ProductAlgorithm} takes, and puts the results in place.
 *
 * <p>Where a row has at least as many channels as a tile, tiles do not cross rows; the last tile of
 * a row is moved back to end with it, and repeats what it shares with the one before. Where a row
 * has fewer, a tile holds the channels of several rows.
 */
final class ProductCall implements Parallel.RangeBody {
  /** Least tiles per chunk that a thread claims. */
  private static final long GRAIN = 64;

  /** Most chunks where each of them needs sums of its own. */
  private static final long MAX_PARTS = 32;

  /** A batch of more bytes than this comes from memory rather than from a cache. */
  private static final long STREAMED_BYTES = 16L << 20;

  /** Rows of more bytes than this, of all operands together, leave the second-level cache. */
  private static final long MOST_ROW_BYTES = 512 << 10;

  private final GauntWorkspace workspace;

  /** By operand: inputs, then the output or its gradient. */
  private final Operand[] x = {new Operand(), new Operand(), new Operand()};

  /** Weights by operand, and those by path. */
  private final Operand[] w = {new Operand(), new Operand(), new Operand(), new Operand()};

  /** Gradients of inputs. */
  private final Operand[] gx = {new Operand(), new Operand()};

  /** Gradients of weights. */
  private final Operand[] gw = {new Operand(), new Operand(), new Operand(), new Operand()};

  private ProductAlgorithm algorithm;
  private TileKernels kernels;
  private TrilinearForm form;
  private DType type = DType.F32;
  private final int[] degrees = new int[3];

  /** What multiplies by weights by path, where the product has them. */
  private @Nullable PathProduct paths;

  /** Rows of the weights of each operand and of those by path. */
  private final int[] weightRows = new int[4];

  private boolean gradients;
  private boolean add;
  private boolean addWeights;
  private long rows;
  private long channels;
  private int lanes;

  /** True where all lanes of a tile lie side by side in one row. */
  private boolean whole;

  /** Tiles of a row, or 0 where tiles cross rows. */
  private long tilesOfRow;

  /** True where the rows of direct operands are copied in and out, in the order of memory. */
  private boolean streamed;

  /** By slot of an operand or of its derivative: true where the algorithm takes it as it lies. */
  private final boolean[] direct = new boolean[PLACES];

  /** By slot, the byte of its row among all copied rows. */
  private final long[] stagedAt = new long[PLACES];

  private long stagedBytes;

  private long grain;
  private final long[] sumsAt = new long[4];
  private long sumsOfChunk;

  @SuppressWarnings("NullAway.Init") // bound by every call
  ProductCall(GauntWorkspace workspace) {
    this.workspace = workspace;
  }

  /** The operand that binds an input or the output, or the gradient of the output. */
  Operand x(int operand) {
    return x[operand];
  }

  /** The operand that binds weights. */
  Operand w(int operand) {
    return w[operand];
  }

  /** The operand that binds the gradient of an input. */
  Operand gx(int operand) {
    return gx[operand];
  }

  /** The operand that binds the gradient of weights. */
  Operand gw(int operand) {
    return gw[operand];
  }

  /** Forgets all memory. */
  void unbind() {
    for (int i = 0; i < 4; i++) {
      w[i].unbind();
      gw[i].unbind();
    }
    for (Operand operand : x) {
      operand.unbind();
    }
    gx[0].unbind();
    gx[1].unbind();
  }

  /**
   * Runs the call for which operands are bound.
   *
   * @param gradients true for the gradients, false for the product
   * @param add true to add to what is in the output, or in the gradients of weights
   */
  void run(GauntProduct product, boolean gradients, boolean add, long rows, long channels) {
    algorithm = product.kernel();
    kernels = product.tileKernels();
    form = product.form();
    type = product.type();
    this.gradients = gradients;
    this.add = add && !gradients;
    addWeights = add && gradients;
    this.rows = rows;
    this.channels = channels;
    lanes = algorithm.channels();
    whole = channels >= lanes;
    boolean sums = false;
    long sumBytes = 0;
    paths = algorithm instanceof PathProduct p ? p : null;
    for (int i = 0; i < 4; i++) {
      if (i < 3) {
        degrees[i] = product.degree(i);
      }
      weightRows[i] = i < 3 ? degrees[i] + 1 : paths == null ? 0 : paths.table().paths().size();
      if (gw[i].isBound() && gw[i].sharesRows()) {
        sums = true;
        sumsAt[i] = sumBytes;
        sumBytes += weightRows[i] * channels * Double.BYTES;
      }
    }
    sumsOfChunk = sumBytes;
    boolean sharedGradient = sharesChannels(gx[0]) || sharesChannels(gx[1]);
    tilesOfRow = whole ? Math.ceilDiv(channels, lanes) : sharedGradient ? 1 : 0;
    long tiles = tilesOfRow > 0 ? rows * tilesOfRow : Math.ceilDiv(rows * channels, lanes);
    grain = Math.max(GRAIN, sums ? Math.ceilDiv(tiles, MAX_PARTS) : 0);
    stagedBytes = 0;
    boolean dense = true;
    for (int i = 0; i < PLACES; i++) {
      place(i);
      // What lies in gaps between components is not for us to write.
      dense &= !direct[i] || step(i) == channels * type.bytes();
    }
    streamed = dense && stagedBytes <= MOST_ROW_BYTES && rows * stagedBytes > STREAMED_BYTES;
    if (sharedGradient || streamed) {
      grain = Math.ceilDiv(grain, tilesOfRow) * tilesOfRow;
    }
    long chunks = Math.ceilDiv(tiles, grain);
    int threads = (int) Math.min(product.threads(), Math.max(1, chunks));
    workspace.reserve(threads, scratchBytes(), Math.max(1, chunks * sumsOfChunk));
    Parallel.forRanges(tiles, grain, threads, this);
    if (sums) {
      for (int i = 0; i < 4; i++) {
        if (gw[i].isBound() && gw[i].sharesRows()) {
          addParts(i, chunks);
        }
      }
    }
  }

  private static boolean sharesChannels(Operand operand) {
    return operand.isBound() && operand.isShared();
  }

  private void addParts(int operand, long chunks) {
    for (int l = 0; l < weightRows[operand]; l++) {
      for (long c = 0; c < channels; c++) {
        double sum = 0;
        for (long chunk = 0; chunk < chunks; chunk++) {
          sum += Cells.get(workspace.sums(), DType.F64, sum(operand, chunk, l, c));
        }
        long at = gw[operand].at(0, l, l, c);
        Cells.set(
            gw[operand].memory(),
            type,
            at,
            addWeights ? sum + Cells.get(gw[operand].memory(), type, at) : sum);
      }
    }
  }

  private long sum(int operand, long chunk, int l, long channel) {
    return chunk * sumsOfChunk + sumsAt[operand] + (l * channels + channel) * Double.BYTES;
  }

  // Scratch memory of a thread: that of the algorithm, then slots of one tile each, then sums.

  /** Slots: the operands, the derivatives by them from this one on, and one input as it came. */
  private static final int GX = 3;

  private static final int RAW = 6;

  private static final int SLOTS = 7;

  /** Slots whose tiles may be taken where they lie: the operands, and the derivatives by inputs. */
  private static final int PLACES = 5;

  private long tileStep() {
    return (long) lanes * type.bytes();
  }

  private long slotBytes() {
    int most = mostDegrees();
    return (tileStep() * most * most + 63) / 64 * 64;
  }

  private long slot(int slot) {
    return (algorithm.scratchBytes() + 63) / 64 * 64 + slot * slotBytes();
  }

  private int mostDegrees() {
    return Math.max(degrees[0], Math.max(degrees[1], degrees[2])) + 1;
  }

  /** Sums of one tile by degree and lane, F64. */
  private long tileSums() {
    return slot(SLOTS);
  }

  /** Sums of one row by component, F64, for the gradient of an input that channels share. */
  private long rowSums(int operand) {
    int most = mostDegrees();
    return tileSums() + (long) Double.BYTES * most * (lanes + (long) operand * most);
  }

  /** Copies of one row of the direct operands. */
  private long staged() {
    return (rowSums(2) + 63) / 64 * 64;
  }

  private long scratchBytes() {
    return staged() + (streamed ? stagedBytes : 0);
  }

  @Override
  public void run(long from, long to, int worker) {
    MemorySegment scratch = workspace.scratch(worker);
    long chunk = from / grain;
    if (gradients && sumsOfChunk > 0) {
      workspace.sums().asSlice(chunk * sumsOfChunk, sumsOfChunk).fill((byte) 0);
    }
    for (long tile = from; tile < to; tile++) {
      long first;
      int skip = 0;
      int count;
      if (tilesOfRow > 0) {
        long row = tile / tilesOfRow;
        long channel = tile % tilesOfRow * lanes;
        long start = Math.max(0, Math.min(channel, channels - lanes));
        skip = (int) (channel - start);
        count = (int) Math.min(lanes, channels);
        first = row * channels + start;
      } else {
        first = tile * lanes;
        count = (int) Math.min(lanes, rows * channels - first);
      }
      if (streamed && tile % tilesOfRow == 0) {
        copyRow(tile / tilesOfRow, true, scratch);
      }
      if (gradients) {
        differentiate(first, skip, count, chunk, scratch);
      } else {
        multiply(first, skip, count, scratch);
      }
      if (streamed && (tile + 1) % tilesOfRow == 0) {
        copyRow(tile / tilesOfRow, false, scratch);
      }
    }
  }

  /** Decides where the algorithm takes the tiles of a slot. */
  private void place(int slot) {
    Operand operand = operand(slot);
    boolean adds = slot == 2 && add;
    direct[slot] =
        whole && operand.isBound() && operand.hasTiles() && !w[slot % 3].isBound() && !adds;
    stagedAt[slot] = stagedBytes;
    if (direct[slot]) {
      stagedBytes += (rowBytes(slot) + 63) / 64 * 64;
    }
  }

  /** What a slot holds a tile of: an operand, or the derivative by an input. */
  private Operand operand(int slot) {
    return slot < 3 ? x[slot] : gx[slot - 3];
  }

  /** Bytes from the first to the last coefficient of a row that the algorithm takes. */
  private long rowBytes(int slot) {
    int components = form.components(slot % 3);
    return (components - 1) * operand(slot).step() + channels * type.bytes();
  }

  private MemorySegment memory(int slot, MemorySegment scratch) {
    return direct[slot] && !streamed ? operand(slot).memory() : scratch;
  }

  private long at(int slot, long first) {
    if (!direct[slot]) {
      return slot(slot);
    }
    long channel = first % channels;
    return streamed
        ? staged() + stagedAt[slot] + channel * type.bytes()
        : operand(slot).at(first / channels, 0, 0, channel);
  }

  private long step(int slot) {
    return direct[slot] ? operand(slot).step() : tileStep();
  }

  /** Copies a row in, or out, of all direct operands that are read, or written. */
  private void copyRow(long row, boolean in, MemorySegment scratch) {
    for (int slot = 0; slot < PLACES; slot++) {
      boolean input = slot < (gradients ? 3 : 2);
      if (direct[slot] && input == in) {
        MemorySegment memory = operand(slot).memory();
        long at = operand(slot).at(row, 0, 0, 0);
        long copy = staged() + stagedAt[slot];
        if (in) {
          MemorySegment.copy(memory, at, scratch, copy, rowBytes(slot));
        } else {
          MemorySegment.copy(scratch, copy, memory, at, rowBytes(slot));
        }
      }
    }
  }

  private void multiply(long first, int skip, int count, MemorySegment scratch) {
    pack(0, first, count, scratch);
    pack(1, first, count, scratch);
    packPaths(first, count, scratch);
    algorithm.contract(
        2,
        memory(0, scratch),
        at(0, first),
        step(0),
        memory(1, scratch),
        at(1, first),
        step(1),
        memory(2, scratch),
        at(2, first),
        step(2),
        scratch);
    if (!direct[2]) {
      unpack(scratch, slot(2), w[2], x[2], form.degree(2), first, skip, count);
    }
    clear(x[2], 2, first, count);
  }

  private void differentiate(long first, int skip, int count, long chunk, MemorySegment scratch) {
    pack(0, first, count, scratch);
    pack(1, first, count, scratch);
    pack(2, first, count, scratch);
    packPaths(first, count, scratch);
    MemorySegment memory0 = memory(0, scratch);
    long at0 = at(0, first);
    long step0 = step(0);
    MemorySegment memory1 = memory(1, scratch);
    long at1 = at(1, first);
    long step1 = step(1);
    MemorySegment memory2 = memory(2, scratch);
    long at2 = at(2, first);
    long step2 = step(2);
    boolean wanted0 = gx[0].isBound() || gw[0].isBound();
    boolean wanted1 = gx[1].isBound() || gw[1].isBound();
    MemorySegment out0 = memory(GX, scratch);
    long outAt0 = at(GX, first);
    long outStep0 = step(GX);
    MemorySegment out1 = memory(GX + 1, scratch);
    long outAt1 = at(GX + 1, first);
    long outStep1 = step(GX + 1);
    if (wanted0 && wanted1) {
      algorithm.gradients(
          memory0, at0, step0, memory1, at1, step1, memory2, at2, step2, out0, outAt0, outStep0,
          out1, outAt1, outStep1, scratch);
    } else if (wanted0) {
      algorithm.contract(
          0, memory1, at1, step1, memory2, at2, step2, out0, outAt0, outStep0, scratch);
    } else if (wanted1) {
      algorithm.contract(
          1, memory0, at0, step0, memory2, at2, step2, out1, outAt1, outStep1, scratch);
    }
    if (gw[2].isBound()) {
      algorithm.contract(
          2, memory0, at0, step0, memory1, at1, step1, scratch, slot(5), tileStep(), scratch);
      weightGradient(2, scratch, slot(5), tileStep(), first, skip, count, chunk, scratch);
    }
    if (paths != null && gw[3].isBound()) {
      paths.weightGradients(memory0, at0, step0, memory1, at1, step1, memory2, at2, step2, scratch);
      addPathGradients(paths.gradientsAt(), first, skip, count, chunk, scratch);
    }
    if (gw[0].isBound()) {
      weightGradient(0, out0, outAt0, outStep0, first, skip, count, chunk, scratch);
    }
    if (gw[1].isBound()) {
      weightGradient(1, out1, outAt1, outStep1, first, skip, count, chunk, scratch);
    }
    for (int i = 0; i < 2; i++) {
      if (!gx[i].isBound()) {
        continue;
      }
      if (gx[i].isShared()) {
        unpackShared(i, scratch, slot(GX + i), first, skip, count);
        continue;
      }
      if (!direct[GX + i]) {
        unpack(scratch, slot(GX + i), w[i], gx[i], form.degree(i), first, skip, count);
      }
      clear(gx[i], i, first, count);
    }
  }

  /** Brings a tile of an operand into its slot, unless the algorithm takes it as it lies. */
  private void pack(int slot, long first, int count, MemorySegment scratch) {
    if (!direct[slot]) {
      pack(x[slot], w[slot], form.degree(slot), first, count, scratch, slot(slot));
    }
  }

  /** Brings a tile of an operand, times its weights, into a slot; lanes without a channel are 0. */
  private void pack(
      Operand operand,
      Operand weights,
      int degree,
      long first,
      int count,
      MemorySegment scratch,
      long slot) {
    long row = first / channels;
    long channel = first % channels;
    boolean weighted = weights.isBound();
    if (whole && operand.hasTiles()) {
      kernels.scale(
          operand.memory(),
          operand.at(row, 0, 0, channel),
          operand.step(),
          weighted,
          weights.memory(),
          weighted ? weights.at(row, 0, 0, channel) : 0,
          weights.step(),
          scratch,
          slot,
          tileStep(),
          false,
          degree,
          lanes);
      return;
    }
    for (int j = 0; j < lanes; j++) {
      row = (first + j) / channels;
      channel = (first + j) % channels;
      for (int l = 0; l <= degree; l++) {
        double weight =
            weighted && j < count
                ? Cells.get(weights.memory(), type, weights.at(row, l, l, channel))
                : 1;
        for (int i = l * l; i < (l + 1) * (l + 1); i++) {
          double value =
              j < count && operand.has(l)
                  ? weight * Cells.get(operand.memory(), type, operand.at(row, l, i, channel))
                  : 0;
          Cells.set(scratch, type, slot + i * tileStep() + (long) j * type.bytes(), value);
        }
      }
    }
  }

  /** Puts a tile, times weights, in its place, or adds it to what is there. */
  private void unpack(
      MemorySegment tile,
      long tileAt,
      Operand weights,
      Operand target,
      int degree,
      long first,
      int skip,
      int count) {
    boolean weighted = weights.isBound();
    if (whole && target.hasTiles() && (skip == 0 || !add)) {
      long row = first / channels;
      long channel = first % channels;
      kernels.scale(
          tile,
          tileAt,
          tileStep(),
          weighted,
          weights.memory(),
          weighted ? weights.at(row, 0, 0, channel) : 0,
          weights.step(),
          target.memory(),
          target.at(row, 0, 0, channel),
          target.step(),
          add,
          degree,
          lanes);
      return;
    }
    for (int j = skip; j < count; j++) {
      long row = (first + j) / channels;
      long channel = (first + j) % channels;
      for (int l = 0; l <= degree; l++) {
        if (!target.has(l)) {
          continue;
        }
        double weight =
            weighted ? Cells.get(weights.memory(), type, weights.at(row, l, l, channel)) : 1;
        for (int i = l * l; i < (l + 1) * (l + 1); i++) {
          double value =
              weight * Cells.get(tile, type, tileAt + i * tileStep() + (long) j * type.bytes());
          long at = target.at(row, l, i, channel);
          Cells.set(
              target.memory(),
              type,
              at,
              add ? value + Cells.get(target.memory(), type, at) : value);
        }
      }
    }
  }

  /** Zeroes the components that no product reaches: those above the sum of the other degrees. */
  private void clear(Operand target, int operand, long first, int count) {
    if (add || degrees[operand] == form.degree(operand)) {
      return;
    }
    for (int j = 0; j < count; j++) {
      long row = (first + j) / channels;
      long channel = (first + j) % channels;
      for (int l = form.degree(operand) + 1; l <= degrees[operand]; l++) {
        for (int i = l * l; i < (l + 1) * (l + 1) && target.has(l); i++) {
          Cells.set(target.memory(), type, target.at(row, l, i, channel), 0);
        }
      }
    }
  }

  /** Adds the tile of a gradient, times weights, to that of an operand that all channels share. */
  private void unpackShared(
      int operand, MemorySegment tile, long tileAt, long first, int skip, int count) {
    long row = first / channels;
    long start = first % channels;
    long sums = rowSums(operand);
    Operand target = gx[operand];
    for (int l = 0; l <= degrees[operand]; l++) {
      for (int i = l * l; i < (l + 1) * (l + 1); i++) {
        double sum = 0;
        if (start + skip > 0) {
          sum = Cells.get(tile, DType.F64, sums + (long) i * Double.BYTES);
        }
        for (int j = skip; j < count && l <= form.degree(operand); j++) {
          double value = Cells.get(tile, type, tileAt + i * tileStep() + (long) j * type.bytes());
          if (w[operand].isBound()) {
            value *= Cells.get(w[operand].memory(), type, w[operand].at(row, l, l, start + j));
          }
          sum += value;
        }
        Cells.set(tile, DType.F64, sums + (long) i * Double.BYTES, sum);
        if (start + count == channels) {
          Cells.set(target.memory(), type, target.at(row, l, i, 0), sum);
        }
      }
    }
  }

  /** {@code gw[l] += sum over m of x t}, where x is the operand as it came and t a tile. */
  private void weightGradient(
      int operand,
      MemorySegment tile,
      long tileAt,
      long tileStep,
      long first,
      int skip,
      int count,
      long chunk,
      MemorySegment scratch) {
    Operand raw = x[operand];
    int degree = form.degree(operand);
    boolean direct = whole && raw.hasTiles();
    if (!direct) {
      pack(raw, NONE, degree, first, count, scratch, slot(RAW));
    }
    long sums = tileSums();
    long sumStep = (long) lanes * Double.BYTES;
    for (long i = 0; i < (long) (degrees[operand] + 1) * lanes; i++) {
      Cells.set(scratch, DType.F64, sums + i * Double.BYTES, 0);
    }
    kernels.dot(
        direct ? raw.memory() : scratch,
        direct ? raw.at(first / channels, 0, 0, first % channels) : slot(RAW),
        direct ? raw.step() : tileStep(),
        tile,
        tileAt,
        tileStep,
        scratch,
        sums,
        sumStep,
        degree,
        lanes);
    for (int l = 0; l <= degrees[operand]; l++) {
      for (int j = skip; j < count; j++) {
        double sum = Cells.get(scratch, DType.F64, sums + l * sumStep + (long) j * Double.BYTES);
        addWeightGradient(operand, l, first + j, chunk, sum);
      }
    }
  }

  private void addWeightGradient(int operand, int row, long cell, long chunk, double value) {
    Operand target = gw[operand];
    long channel = cell % channels;
    if (target.sharesRows()) {
      Cells.add(workspace.sums(), DType.F64, sum(operand, chunk, row, channel), value);
    } else {
      long at = target.at(cell / channels, row, row, channel);
      Cells.set(
          target.memory(),
          type,
          at,
          addWeights ? value + Cells.get(target.memory(), type, at) : value);
    }
  }

  /** Brings the weights by path of a tile to the place where the algorithm wants them. */
  private void packPaths(long first, int count, MemorySegment scratch) {
    if (paths == null) {
      return;
    }
    for (int path = 0; path < weightRows[3]; path++) {
      for (int j = 0; j < lanes; j++) {
        double value = 0;
        if (j < count) {
          long at = w[3].at((first + j) / channels, path, path, (first + j) % channels);
          value = Cells.get(w[3].memory(), type, at);
        }
        Cells.set(scratch, type, path * tileStep() + (long) j * type.bytes(), value);
      }
    }
  }

  private void addPathGradients(
      long at, long first, int skip, int count, long chunk, MemorySegment scratch) {
    for (int path = 0; path < weightRows[3]; path++) {
      for (int j = skip; j < count; j++) {
        double value = Cells.get(scratch, type, at + path * tileStep() + (long) j * type.bytes());
        addWeightGradient(3, path, first + j, chunk, value);
      }
    }
  }

  /** Stands for weights that are not there. */
  private static final Operand NONE = new Operand();
}

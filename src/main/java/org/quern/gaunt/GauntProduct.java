package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Device;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The Gaunt tensor product: multiplies functions on the sphere that are given by coefficients of
 * real spherical harmonics, degrees 0 to L1 and 0 to L2, and gives the coefficients of degrees 0 to
 * L3 of the result. For every row of a batch and every channel,
 *
 * <pre>
 * {@code out[l3 m3] = w3[l3] * sum over l1 m1, l2 m2 of G (w1[l1] x1[l1 m1]) (w2[l2] x2[l2 m2])}
 * </pre>
 *
 * <p>where G is the integral of three harmonics over the sphere ({@link GauntCoefficients}). Paths
 * with odd l1 + l2 + l3 have G = 0, so that the product of operands of natural parity
 * (-1)<sup>l</sup> has natural parity.
 *
 * <pre>{@code
 * GauntProduct product = GauntProduct.builder(4, 4, 8).build();
 * product.multiply(x1, x2, out); // [B, 25, C] times [B, 25, C] gives [B, 81, C]
 * product.gradients(x1, x2, ProductWeights.NONE, g, ProductGradients.ofInputs(gx1, gx2), workspace);
 * }</pre>
 *
 * <p>The product is closed under differentiation. With T(x1, x2, g) = sum of out g, the gradients
 * are derivatives of T, which is linear in each argument; so the derivatives of S = sum of h1 gx1 +
 * sum of h2 gx2 are again products of this plan, with the same weights: by g it is the sum of
 * {@code multiply(h1, x2)} and {@code multiply(x1, h2)}; by x1 and by x2 the gradients of {@code
 * (x1, h2)} and {@code (h1, x2)}; by weights the sum of the gradients of both pairs. {@link
 * #secondGradients} does this.
 *
 * <p>Every algorithm is exact for every degree; which one runs is chosen among all by a measured
 * cost model and told by {@link #why()}. Immutable, and safe to share between threads. The result
 * is the same for any number of threads. NaN and infinities propagate.
 */
public final class GauntProduct {
  /** The tiers that products are implemented for. */
  static final Set<Tier> TIERS = Collections.unmodifiableSet(EnumSet.of(Tier.SCALAR, Tier.VECTOR));

  /** Highest degree of an operand. */
  public static final int MAX_DEGREE = 32;

  // Names in messages, made once: a call that does not fail allocates nothing.
  private static final String[] INPUT_GRADIENTS = {"gradient of x1", "gradient of x2"};
  private static final String[] WEIGHTS = {"w1", "w2", "w3", "paths"};
  private static final String[] WEIGHT_GRADIENTS = {
    "gradient of w1", "gradient of w2", "gradient of w3", "gradient of paths"
  };

  private final int[] degrees;
  private final DegreeBlocks[] blocks;
  private final Layout layout;
  private final DType type;
  private final Tier tier;
  private final int threads;
  private final TrilinearForm form;
  private final ProductAlgorithm kernel;
  private final TileKernels tileKernels;
  private final AlgorithmChoice choice;

  private GauntProduct(Builder builder) {
    degrees = builder.degrees.clone();
    blocks = builder.blocks.clone();
    layout = builder.layout;
    for (int i = 0; i < 3; i++) {
      if (layout != Layout.MUL_IR && !blocks[i].isComplete()) {
        throw new IllegalArgumentException(
            "layout: expected MUL_IR for irreps with "
                + blocks[i]
                + " alone or in another order, got "
                + layout);
      }
    }
    type = builder.type;
    threads = builder.threads;
    tier = Capabilities.get().choose(TIERS, builder.tier);
    form = builder.form();
    choice = AlgorithmChoice.of(form, type, tier, builder.algorithm, builder.resolution);
    kernel =
        builder.cross
            ? new CrossHybrid(form, type, tier)
            : builder.pathWeights
                ? new PathProduct(form, type, tier)
                : algorithm(choice.algorithm(), form, type, tier, builder.resolution);
    tileKernels = tier == Tier.VECTOR ? new VectorTileKernels(type) : new ScalarTileKernels(type);
  }

  /** The algorithm for tiles of a type. */
  static ProductAlgorithm algorithm(
      Algorithm algorithm, TrilinearForm form, DType type, Tier tier) {
    return algorithm(algorithm, form, type, tier, Resolution.LEAST);
  }

  private static ProductAlgorithm algorithm(
      Algorithm algorithm, TrilinearForm form, DType type, Tier tier, Resolution resolution) {
    return switch (algorithm) {
      case DIRECT ->
          tier == Tier.VECTOR && CostModel.coefficients(form) <= VectorDirect.MAX_COEFFICIENTS
              ? new VectorDirect(form, type)
              : new ScalarDirect(form, type);
      case FOURIER -> new FourierProduct(form, type, resolution.azimuths());
      case GRID -> new GridProduct(form, resolution.grid(form), type, tier);
      case HYBRID -> {
        HybridPlan plan = HybridPlan.of(form, resolution.rings(form));
        yield tier == Tier.VECTOR ? new VectorHybrid(plan, type) : new ScalarHybrid(plan, type);
      }
      case POINTS -> new PointProduct(form, type, tier);
    };
  }

  /**
   * A builder of products of degrees 0 to {@code degree1} and 0 to {@code degree2}, of whose result
   * degrees 0 to {@code degree3} are wanted; F32, {@link Layout#IR_MUL}, the orthonormal basis, the
   * best tier, one thread.
   *
   * @throws IllegalArgumentException where a degree is not 0 to {@link #MAX_DEGREE}
   */
  public static Builder builder(int degree1, int degree2, int degree3) {
    return new Builder(degree1, degree2, degree3);
  }

  /**
   * A builder of products of irreps, in {@link Layout#MUL_IR}: each operand has every degree once
   * or not at all, in any order, all with the same number of copies, and one parity throughout,
   * natural or pseudo. A degree that an input lacks is zero; the output has the degrees that are
   * asked for.
   *
   * @throws IllegalArgumentException where an operand is not of that form, the numbers of copies
   *     differ, the parity of the output is not the product of those of the inputs, or no path
   *     leads to a degree of the output
   */
  public static Builder builder(Irreps x1, Irreps x2, Irreps out) {
    return builder(x1, x2, out, false);
  }

  static Builder builder(Irreps x1, Irreps x2, Irreps out, boolean cross) {
    Irreps[] irreps = {x1, x2, out};
    DegreeBlocks[] blocks = new DegreeBlocks[3];
    for (int i = 0; i < 3; i++) {
      String name = i < 2 ? "x" + (i + 1) : "out";
      blocks[i] = DegreeBlocks.of(name, irreps[i]);
      if (blocks[i].copies() != blocks[0].copies()) {
        throw new IllegalArgumentException(
            name
                + ": expected "
                + blocks[0].copies()
                + " copies to meet x1 "
                + x1
                + ", got "
                + irreps[i]);
      }
    }
    boolean natural = (x1.isNatural() == x2.isNatural()) != cross;
    if (out.isNatural() != natural) {
      throw new IllegalArgumentException(
          "out: expected "
              + (natural ? "natural" : "pseudo")
              + " parity from "
              + x1
              + " and "
              + x2
              + ", got "
              + out
              + "; the other parity is that of "
              + (cross ? "GauntProduct" : "CrossProduct"));
    }
    for (Irreps.Block block : out.blocks()) {
      if (block.multiplicity() > 0 && !reaches(x1, x2, block.irrep(), cross)) {
        throw new IllegalArgumentException(
            "out: expected degrees with a path from "
                + x1
                + " and "
                + x2
                + ", got "
                + block.irrep()
                + ", for which l1 + l2 + l3 is "
                + (cross ? "even" : "odd")
                + " or no triangle throughout");
      }
    }
    Builder builder = builder(x1.maxDegree(), x2.maxDegree(), out.maxDegree());
    builder.blocks = blocks;
    return (cross ? builder.cross() : builder).layout(Layout.MUL_IR);
  }

  private static boolean reaches(Irreps x1, Irreps x2, Irrep out, boolean cross) {
    return x1.blocks().stream()
        .filter(first -> first.multiplicity() > 0)
        .anyMatch(first ->
            x2.blocks().stream()
                .filter(second -> second.multiplicity() > 0)
                .map(second ->
                    cross
                        ? first.irrep().crossTimes(second.irrep())
                        : first.irrep().gauntTimes(second.irrep()))
                .anyMatch(products -> products.contains(out)));
  }

  /** Highest degree of an operand: 0 and 1 are the inputs, 2 is the output. */
  public int degree(int operand) {
    return degrees[operand];
  }

  /** The order of coefficients in memory. */
  public Layout layout() {
    return layout;
  }

  /** Element type of all tensors. */
  public DType type() {
    return type;
  }

  /** The tier that runs. */
  public Tier tier() {
    return tier;
  }

  /** Greatest number of threads of a call. */
  public int threads() {
    return threads;
  }

  /** The algorithm that runs. */
  public Algorithm algorithm() {
    return choice.algorithm();
  }

  /**
   * Why this algorithm: a line that says whether it was demanded or costs the least, and then a
   * line for each that can compute this product with its estimated cost, the least first.
   */
  public String why() {
    return choice.why();
  }

  /**
   * The paths that weights by path are for, in the order of the rows of such weights: by l1, then
   * l2, then l3; none where the product was not built with path weights.
   */
  public List<ProductPath> paths() {
    return kernel instanceof PathProduct product ? product.table().paths() : List.of();
  }

  /** The form of the product, without degrees that cannot contribute. */
  TrilinearForm form() {
    return form;
  }

  ProductAlgorithm kernel() {
    return kernel;
  }

  TileKernels tileKernels() {
    return tileKernels;
  }

  /**
   * The product with scratch memory of its own.
   *
   * @see #multiply(Tensor, Tensor, ProductWeights, Tensor, GauntWorkspace)
   */
  public void multiply(Tensor x1, Tensor x2, Tensor out) {
    try (GauntWorkspace workspace = new GauntWorkspace()) {
      multiply(x1, x2, ProductWeights.NONE, out, workspace);
    }
  }

  /**
   * The product. Allocates nothing on the heap once the workspace has grown, with one thread on the
   * vector tier.
   *
   * @param x1 coefficients of degrees 0 to L1, in the layout of the plan; in {@link Layout#IR_MUL}
   *     also [B, (L1+1)<sup>2</sup>], one function for all channels
   * @param x2 coefficients of degrees 0 to L2, likewise
   * @param weights weights by degree
   * @param out coefficients of degrees 0 to L3; those above L1 + L2 are set to zero
   * @throws IllegalArgumentException where a type, a device or a shape does not fit, or {@code out}
   *     overlaps an input
   */
  public void multiply(
      Tensor x1, Tensor x2, ProductWeights weights, Tensor out, GauntWorkspace workspace) {
    multiply(x1, x2, weights, out, false, workspace);
  }

  /**
   * A sum of products with weights of their own, of rank R in the weights by path: {@code w[l1, l2,
   * l3] = sum over r of w1_r[l1] w2_r[l2] w3_r[l3]}. Costs R products.
   *
   * @param terms the weights of each product, at least one
   * @throws IllegalArgumentException as of a single product, or where {@code terms} is empty
   */
  public void multiply(
      Tensor x1, Tensor x2, List<ProductWeights> terms, Tensor out, GauntWorkspace workspace) {
    if (terms.isEmpty()) {
      throw new IllegalArgumentException("terms: expected at least one, got none");
    }
    for (int r = 0; r < terms.size(); r++) {
      multiply(x1, x2, terms.get(r), out, r > 0, workspace);
    }
  }

  private void multiply(
      Tensor x1,
      Tensor x2,
      ProductWeights weights,
      Tensor out,
      boolean add,
      GauntWorkspace workspace) {
    long rows = rows(x1, x2, "out", out);
    long channels = channels(out, 2);
    checkApart("out", out, "x1", x1);
    checkApart("out", out, "x2", x2);
    ProductCall call = workspace.call;
    call.unbind();
    try {
      bind(call, x1, x2, weights, "out", out, rows, channels);
      call.run(this, false, add, rows, channels);
    } finally {
      call.unbind();
      Reference.reachabilityFence(x1);
      Reference.reachabilityFence(x2);
      Reference.reachabilityFence(weights);
      Reference.reachabilityFence(out);
    }
  }

  /**
   * The gradients of {@code sum of g out} by the inputs and the weights of {@link #multiply}, as
   * many as are asked for.
   *
   * @param x1 the first input of the product
   * @param x2 the second input of the product
   * @param weights the weights of the product
   * @param g the gradient of the output, of its shape
   * @param gradients where the gradients go; they overlap nothing else
   * @throws IllegalArgumentException where a type, a device or a shape does not fit, or a gradient
   *     overlaps an operand
   */
  public void gradients(
      Tensor x1,
      Tensor x2,
      ProductWeights weights,
      Tensor g,
      ProductGradients gradients,
      GauntWorkspace workspace) {
    gradients(x1, x2, weights, g, gradients, false, workspace);
  }

  /**
   * The gradients of {@code sum of h1 gx1 + sum of h2 gx2}, where gx1 and gx2 are what {@link
   * #gradients} gives for the same operands: what training on gradients needs.
   *
   * @param h1 factors of gx1, of the shape of x1
   * @param h2 factors of gx2, of the shape of x2
   * @param second where the gradients by inputs and weights go
   * @param gg where the gradient by g goes, or null
   * @throws IllegalArgumentException where a type, a device or a shape does not fit, or a gradient
   *     overlaps an operand
   */
  public void secondGradients(
      Tensor x1,
      Tensor x2,
      ProductWeights weights,
      Tensor g,
      Tensor h1,
      Tensor h2,
      ProductGradients second,
      @Nullable Tensor gg,
      GauntWorkspace workspace) {
    // S = T(h1, x2, g) + T(x1, h2, g): each input occurs in one of the terms, the weights in both.
    gradients(
        x1,
        h2,
        weights,
        g,
        new ProductGradients(
            second.x1(), null, second.w1(), second.w2(), second.w3(), second.paths()),
        false,
        workspace);
    gradients(
        h1,
        x2,
        weights,
        g,
        new ProductGradients(
            null, second.x2(), second.w1(), second.w2(), second.w3(), second.paths()),
        true,
        workspace);
    if (gg != null) {
      multiply(h1, x2, weights, gg, false, workspace);
      multiply(x1, h2, weights, gg, true, workspace);
    }
  }

  private void gradients(
      Tensor x1,
      Tensor x2,
      ProductWeights weights,
      Tensor g,
      ProductGradients gradients,
      boolean addWeights,
      GauntWorkspace workspace) {
    long rows = rows(x1, x2, "g", g);
    long channels = channels(g, 2);
    ProductCall call = workspace.call;
    call.unbind();
    try {
      bind(call, x1, x2, weights, "g", g, rows, channels);
      for (int i = 0; i < 2; i++) {
        Tensor gx = gradients.input(i);
        if (gx != null) {
          Tensor x = i == 0 ? x1 : x2;
          String name = INPUT_GRADIENTS[i];
          if (!sameShape(gx, x)) {
            throw new IllegalArgumentException(
                name + ": expected the shape of " + x + ", got " + gx);
          }
          checkPlace(name, gx);
          checkApart(name, gx, x1, x2, g, weights);
          call.gx(i).bindCoefficients(gx, layout, blocks[i], channels);
        }
      }
      for (int i = 0; i < 4; i++) {
        Tensor gw = gradients.weight(i);
        if (gw != null) {
          String name = WEIGHT_GRADIENTS[i];
          checkWeights(name, gw, i, rows, channels);
          checkApart(name, gw, x1, x2, g, weights);
          call.gw(i).bindWeights(gw, weightRows(i));
        }
      }
      call.run(this, true, addWeights, rows, channels);
    } finally {
      call.unbind();
      Reference.reachabilityFence(x1);
      Reference.reachabilityFence(x2);
      Reference.reachabilityFence(weights);
      Reference.reachabilityFence(g);
      Reference.reachabilityFence(gradients);
    }
  }

  private void bind(
      ProductCall call,
      Tensor x1,
      Tensor x2,
      ProductWeights weights,
      String outName,
      Tensor out,
      long rows,
      long channels) {
    checkChannels("x1", x1, 0, outName, channels);
    checkChannels("x2", x2, 1, outName, channels);
    call.x(0).bindCoefficients(x1, layout, blocks[0], channels);
    call.x(1).bindCoefficients(x2, layout, blocks[1], channels);
    call.x(2).bindCoefficients(out, layout, blocks[2], channels);
    for (int i = 0; i < 4; i++) {
      Tensor w = weights.of(i);
      if (w != null) {
        checkWeights(WEIGHTS[i], w, i, rows, channels);
        call.w(i).bindWeights(w, weightRows(i));
      }
    }
    if (weights.paths() == null && !paths().isEmpty()) {
      throw new IllegalArgumentException(
          "weights: expected weights by path, for which the product was built, got none");
    }
  }

  /** Rows of the weights of an operand, 0 to 2, or of those by path, 3. */
  private int weightRows(int operand) {
    return operand < 3 ? degrees[operand] + 1 : paths().size();
  }

  private int components(int operand) {
    return blocks[operand].components();
  }

  /** Checks all but the channels of three operands, and gives the number of rows. */
  private long rows(Tensor x1, Tensor x2, String outName, Tensor out) {
    checkCoefficients("x1", x1, 0);
    checkCoefficients("x2", x2, 1);
    checkCoefficients(outName, out, 2);
    checkRows("x2", x2, x1);
    checkRows(outName, out, x1);
    return x1.dim(0);
  }

  private static boolean sameShape(Tensor a, Tensor b) {
    boolean same = a.rank() == b.rank();
    for (int i = 0; same && i < a.rank(); i++) {
      same = a.dim(i) == b.dim(i);
    }
    return same;
  }

  private static void checkRows(String name, Tensor tensor, Tensor x1) {
    if (tensor.dim(0) != x1.dim(0)) {
      throw new IllegalArgumentException(
          name + ": expected " + x1.dim(0) + " rows to meet x1 " + x1 + ", got " + tensor);
    }
  }

  private void checkPlace(String name, Tensor tensor) {
    if (tensor.type() != type) {
      throw new IllegalArgumentException(
          name + ": expected element type " + type + ", got " + tensor);
    }
    if (tensor.device().kind() != Device.Kind.CPU) {
      throw new IllegalArgumentException(
          name + ": expected a tensor in host memory, got " + tensor);
    }
  }

  private void checkCoefficients(String name, Tensor tensor, int operand) {
    checkPlace(name, tensor);
    int n = components(operand);
    boolean flat = layout == Layout.MUL_IR;
    boolean mayShare = !flat && operand < 2;
    boolean fits =
        flat
            ? tensor.rank() == 2 && tensor.dim(1) % n == 0
            : (tensor.rank() == 3 || (mayShare && tensor.rank() == 2)) && tensor.dim(1) == n;
    if (!fits) {
      throw new IllegalArgumentException(
          name
              + ": expected [B, "
              + n
              + (flat ? " C]" : ", C]" + (mayShare ? " or [B, " + n + "]" : ""))
              + " for "
              + blocks[operand]
              + " in layout "
              + layout
              + ", got "
              + tensor);
    }
  }

  private long channels(Tensor tensor, int operand) {
    return layout == Layout.MUL_IR ? tensor.dim(1) / components(operand) : tensor.dim(2);
  }

  private void checkChannels(
      String name, Tensor tensor, int operand, String outName, long channels) {
    if (layout == Layout.IR_MUL && tensor.rank() == 2) {
      return;
    }
    long own = channels(tensor, operand);
    if (own != channels) {
      throw new IllegalArgumentException(
          name
              + ": expected "
              + channels
              + " channels to meet "
              + outName
              + ", got "
              + own
              + " in "
              + tensor);
    }
  }

  private void checkWeights(String name, Tensor w, int operand, long rows, long channels) {
    checkPlace(name, w);
    int count = weightRows(operand);
    if (count == 0) {
      throw new IllegalArgumentException(
          name + ": expected none, as the product was not built with path weights, got " + w);
    }
    boolean shared = w.rank() == 2 && w.dim(0) == count && w.dim(1) == channels;
    boolean own = w.rank() == 3 && w.dim(0) == rows && w.dim(1) == count && w.dim(2) == channels;
    if (!shared && !own) {
      throw new IllegalArgumentException(
          name
              + ": expected ["
              + count
              + ", "
              + channels
              + "] or ["
              + rows
              + ", "
              + count
              + ", "
              + channels
              + "] for "
              + (operand < 3 ? "degrees 0 to " + degrees[operand] : count + " paths")
              + ", got "
              + w);
    }
  }

  private static void checkApart(
      String name, Tensor tensor, Tensor x1, Tensor x2, Tensor g, ProductWeights weights) {
    checkApart(name, tensor, "x1", x1);
    checkApart(name, tensor, "x2", x2);
    checkApart(name, tensor, "g", g);
    for (int i = 0; i < 4; i++) {
      Tensor w = weights.of(i);
      if (w != null) {
        checkApart(name, tensor, WEIGHTS[i], w);
      }
    }
  }

  private static void checkApart(String name, Tensor a, String otherName, Tensor b) {
    MemorySegment first = a.memory();
    MemorySegment second = b.memory();
    if (a.size() > 0
        && b.size() > 0
        && first.address() < second.address() + second.byteSize()
        && second.address() < first.address() + first.byteSize()) {
      throw new IllegalArgumentException(
          name + ": expected memory apart from " + otherName + ", got overlapping tensors");
    }
  }

  @Override
  public String toString() {
    return "GauntProduct("
        + degrees[0]
        + ", "
        + degrees[1]
        + " -> "
        + degrees[2]
        + ", "
        + type
        + ", "
        + layout
        + ", "
        + algorithm()
        + ", "
        + tier
        + ")";
  }

  /** Collects the settings of a product. */
  public static final class Builder {
    private final int[] degrees;
    private DegreeBlocks[] blocks = new DegreeBlocks[3];
    private final Normalization[] normalizations = {
      Normalization.INTEGRAL, Normalization.INTEGRAL, Normalization.INTEGRAL
    };
    private boolean projection;
    private Layout layout = Layout.IR_MUL;
    private DType type = DType.F32;
    private @Nullable Algorithm algorithm;
    private @Nullable Tier tier;
    private boolean cross;
    private boolean pathWeights;
    private Resolution resolution = Resolution.LEAST;
    private int threads = 1;

    private Builder(int... degrees) {
      for (int i = 0; i < 3; i++) {
        if (degrees[i] < 0 || degrees[i] > MAX_DEGREE) {
          throw new IllegalArgumentException(
              "degree" + (i + 1) + ": expected 0 to " + MAX_DEGREE + ", got " + degrees[i]);
        }
        blocks[i] = DegreeBlocks.all(degrees[i]);
      }
      this.degrees = degrees;
    }

    /** The order of coefficients in memory. */
    public Builder layout(Layout layout) {
      this.layout = layout;
      return this;
    }

    /**
     * The element type of all tensors.
     *
     * @throws IllegalArgumentException where it is not F32 or F64
     */
    public Builder type(DType type) {
      if (type != DType.F32 && type != DType.F64) {
        throw new IllegalArgumentException("type: expected F32 or F64, got " + type);
      }
      this.type = type;
      return this;
    }

    /** One basis for all three operands: {@code out = G(a x1, a x2) / a}, a by degree. */
    public Builder normalization(Normalization all) {
      return normalization(all, all, all);
    }

    /** The basis of each input and of the output: {@code out = G(a1 x1, a2 x2) / a3}. */
    public Builder normalization(Normalization x1, Normalization x2, Normalization out) {
      normalizations[0] = x1;
      normalizations[1] = x2;
      normalizations[2] = out;
      return this;
    }

    /**
     * Gives, in place of coefficients in the basis of the output, the integrals of the product with
     * its harmonics: {@code out = G(a1 x1, a2 x2) a3}. Without this the output multiplies its basis
     * to give the product; with it, and not with it, the two differ by a3<sup>2</sup>.
     */
    public Builder projection() {
      projection = true;
      return this;
    }

    /** Makes it the cross product, for {@link CrossProduct}. */
    Builder cross() {
      cross = true;
      return this;
    }

    /** Demands an algorithm; null, the default, chooses by cost. */
    public Builder algorithm(@Nullable Algorithm algorithm) {
      this.algorithm = algorithm;
      return this;
    }

    /**
     * Demands a number of nodes in the polar angle, and with it one of the algorithms that have
     * them, {@link Algorithm#HYBRID} or {@link Algorithm#GRID}; 0, the default, takes as few as are
     * exact.
     */
    public Builder nodes(int nodes) {
      resolution = new Resolution(nodes, resolution.azimuths());
      return this;
    }

    /**
     * Demands a number of points around each ring of {@link Algorithm#GRID}, or of frequencies of
     * the transforms of {@link Algorithm#FOURIER}, and with it one of these; 0, the default, takes
     * as few as are exact.
     */
    public Builder azimuths(int azimuths) {
      resolution = new Resolution(resolution.nodes(), azimuths);
      return this;
    }

    /**
     * Makes it a product with a weight for every path (l1, l2, l3), by the direct sum over
     * coefficients; see {@link ProductWeights#ofPaths} and {@link #paths}.
     */
    public Builder pathWeights() {
      pathWeights = true;
      algorithm = Algorithm.DIRECT;
      return this;
    }

    /** Demands a tier; null, the default, takes the best. */
    public Builder tier(@Nullable Tier tier) {
      this.tier = tier;
      return this;
    }

    /**
     * The greatest number of threads of a call. With more than one, all tensors must be open to all
     * threads, as those of a shared arena are.
     *
     * @throws IllegalArgumentException where it is below 1
     */
    public Builder threads(int threads) {
      if (threads < 1) {
        throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
      }
      this.threads = threads;
      return this;
    }

    /**
     * The product.
     *
     * @throws IllegalArgumentException where an algorithm is demanded that does not fit, or fewer
     *     nodes or azimuths than are exact
     * @throws IllegalStateException where the demanded tier cannot run here
     */
    public GauntProduct build() {
      return new GauntProduct(this);
    }

    /** Highest degree that meets a path, of the sum of the degrees of the two others. */
    private int most(int sum) {
      return cross ? Math.max(0, sum - 1) : sum;
    }

    private TrilinearForm form() {
      // A degree above the sum of the other two meets no path.
      int[] effective =
          IntStream.range(0, 3)
              .map(i -> Math.min(degrees[i], most(degrees[(i + 1) % 3] + degrees[(i + 2) % 3])))
              .toArray();
      double[][] scales = new double[3][];
      for (int i = 0; i < 3; i++) {
        int operand = i;
        scales[i] =
            IntStream.rangeClosed(0, effective[i])
                .mapToDouble(normalizations[i]::factor)
                .flatMap(a -> DoubleStream.of(operand == 2 && !projection ? 1 / a : a))
                .toArray();
      }
      return new TrilinearForm(effective, scales);
    }
  }
}

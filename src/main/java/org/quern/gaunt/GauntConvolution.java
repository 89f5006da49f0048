package org.quern.gaunt;

import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The equivariant convolution of features on a graph with filters along its edges:
 *
 * <pre>
 * out[dst_e, :, c] += a[e, c] Gaunt(x[src_e, :, c], f_e),   f_e[l, m] = h[e, l] Y(l, m)(r_e)
 * </pre>
 *
 * where Gaunt is the product of functions on the sphere, degrees (L1, L2 -> L3), in the orthonormal
 * basis. Radial values are shared by the channels, or each channel has its own, h[e, l, c]. A node
 * that receives nothing gets zeros; duplicate edges add; messages to a node add in the order of the
 * edges, so the result does not depend on the number of threads. It is differentiable by all
 * inputs, the edge vectors among them: forces are minus the gradient by r, and conservative. So are
 * the gradients, so that a model can be trained on forces.
 *
 * <p>A plan is immutable and may be shared by threads, each with a workspace of its own. It works
 * on host memory; inputs, output and gradients must not overlap.
 */
public final class GauntConvolution {
  /** The tiers that the family implements. */
  static final Set<Tier> TIERS = Set.of(Tier.SCALAR, Tier.VECTOR);

  /** Highest degree of features and filters. */
  public static final int MAX_DEGREE = 16;

  /** Ways to compute a convolution; all are exact, and they differ in cost alone. */
  public enum Form {
    /**
     * Features are sampled on a grid once per node, messages are products of samples, and the sums
     * of samples are transformed back once per node. Per edge and channel about (L1+L2+L3)<sup>2
     * </sup>/2 multiply-adds. The fastest form.
     */
    GRID,
    /** The filter of each edge is made a matrix, n(L3) x n(L1), that multiplies the features. */
    EDGE_MATRIX,
    /**
     * Features are rotated so that the edge is the polar axis, where orders do not mix, and rotated
     * back (Passaro and Zitnick, "Reducing SO(3) convolutions to SO(2) for efficient equivariant
     * GNNs", ICML 2023).
     */
    ROTATED
  }

  private final int degree1;
  private final int degree2;
  private final int degree3;
  private final int channels;
  private final DType type;
  private final Form form;
  private final Tier tier;
  private final ConvolutionScheme scheme;

  /** Serves every form where gradients are differentiated. */
  private final GridConvolution grid;

  private GauntConvolution(Builder builder) {
    degree1 = builder.degree1;
    degree2 = builder.degree2;
    degree3 = builder.degree3;
    channels = builder.channels;
    type = builder.type;
    form = builder.form;
    tier = Capabilities.get().choose(TIERS, builder.tier);
    SampleKernels kernels = kernels(tier, type);
    grid = new GridConvolution(kernels, degree1, degree2, degree3, builder.threads);
    scheme =
        switch (form) {
          case GRID -> grid;
          case EDGE_MATRIX, ROTATED -> edgeScheme(kernels, builder.threads);
        };
  }

  private ConvolutionScheme edgeScheme(SampleKernels kernels, int threads) {
    Couplings couplings = GauntCoefficients.table(degree1, degree2, degree3);
    EdgeFilter filter =
        form == Form.ROTATED
            ? new RotatedFilter(couplings, degree1, degree3)
            : new EdgeMatrices(couplings, components(degree1), components(degree3));
    return new EdgeConvolution(kernels, degree1, degree2, degree3, threads, filter, couplings);
  }

  /** The kernels of a tier for operands of a type. */
  static SampleKernels kernels(Tier tier, DType type) {
    return tier == Tier.VECTOR ? VectorSampleKernels.of(type) : new ScalarSampleKernels();
  }

  /**
   * Starts a plan.
   *
   * @param degree1 highest degree L1 of the features
   * @param degree2 highest degree L2 of the filter
   * @param degree3 highest degree L3 of the output; above L1 + L2 the components are zero
   */
  public static Builder builder(int degree1, int degree2, int degree3) {
    return new Builder(degree1, degree2, degree3);
  }

  /** The form that this plan uses. */
  public Form form() {
    return form;
  }

  /** The tier that this plan uses. */
  public Tier tier() {
    return tier;
  }

  /**
   * Computes the convolution.
   *
   * @param edges the graph
   * @param in features, edge vectors, radial values, scales
   * @param out receives [nodes, n(L3), channels], of the same element type
   * @param workspace scratch memory
   * @throws IllegalArgumentException where a shape, a type or a device does not suit, or an edge
   *     vector is not finite, or is zero although L2 &gt; 0
   */
  public void forward(Edges edges, ConvolutionInputs in, Tensor out, LayerWorkspace workspace) {
    check(edges, in);
    TileOperand.check("out", out, type, edges.nodes(), components(degree3), channels);
    if (perChannel(in)) {
      RadialChannels channels = new RadialChannels(edges, in, workspace);
      scheme.forward(channels.edges(), channels.inputs(), out, workspace);
    } else {
      scheme.forward(edges, in, out, workspace);
    }
  }

  /**
   * Computes the gradients of a scalar whose gradient by the output is known.
   *
   * @param edges the graph
   * @param in what {@link #forward} was given
   * @param g gradient by the output, [nodes, n(L3), channels]
   * @param gradients receives the gradients by the inputs
   * @param workspace scratch memory
   * @throws IllegalArgumentException as {@link #forward}, or where a gradient by scales is asked
   *     for and there are none
   */
  public void backward(
      Edges edges,
      ConvolutionInputs in,
      Tensor g,
      ConvolutionGradients gradients,
      LayerWorkspace workspace) {
    check(edges, in);
    TileOperand.check("g", g, type, edges.nodes(), components(degree3), channels);
    check("gradients", edges, in, gradients);
    if (perChannel(in)) {
      RadialChannels channels = new RadialChannels(edges, in, workspace);
      ConvolutionGradients targets = channels.targets(gradients, workspace);
      scheme.backward(channels.edges(), channels.inputs(), g, targets, workspace);
      channels.finish(targets, gradients);
    } else {
      scheme.backward(edges, in, g, gradients, workspace);
    }
  }

  /**
   * Computes the gradients of the sum of the products of {@code by} and what {@link #backward}
   * gives for the same operands: what training on forces needs. By symmetry it is also the change
   * of these gradients when the inputs change by {@code by}, and {@code gg} that of the output.
   * Every form samples on the grid here.
   *
   * @param edges the graph
   * @param in what {@link #forward} was given
   * @param g gradient by the output, [nodes, n(L3), channels]
   * @param by factors of the gradients by the inputs; null counts as zero
   * @param gradients receives the gradients by the inputs
   * @param gg receives the gradient by g, or null
   * @param workspace scratch memory
   * @throws IllegalArgumentException as {@link #backward}
   */
  public void secondGradients(
      Edges edges,
      ConvolutionInputs in,
      Tensor g,
      ConvolutionGradients by,
      ConvolutionGradients gradients,
      @Nullable Tensor gg,
      LayerWorkspace workspace) {
    check(edges, in);
    TileOperand.check("g", g, type, edges.nodes(), components(degree3), channels);
    check("by", edges, in, by);
    check("gradients", edges, in, gradients);
    check("gg", gg, edges.nodes(), components(degree3), channels);
    if (perChannel(in)) {
      RadialChannels own = new RadialChannels(edges, in, workspace);
      ConvolutionGradients targets = own.targets(gradients, workspace);
      ConvolutionGradients factors = own.factors(by, workspace);
      grid.secondGradients(own.edges(), own.inputs(), g, factors, targets, gg, workspace);
      own.finish(targets, gradients);
    } else {
      grid.secondGradients(edges, in, g, by, gradients, gg, workspace);
    }
  }

  /** Whether each channel has radial values of its own. */
  private static boolean perChannel(ConvolutionInputs in) {
    return in.h().rank() == 3;
  }

  private void check(Edges edges, ConvolutionInputs in) {
    TileOperand.check("x", in.x(), type, edges.nodes(), components(degree1), channels);
    TileOperand.check("r", in.r(), type, edges.size(), 3);
    if (perChannel(in)) {
      TileOperand.check("h", in.h(), type, edges.size(), degree2 + 1, channels);
      int most = Integer.MAX_VALUE / (degree2 + 1);
      if (edges.size() > most) {
        throw new IllegalArgumentException(
            "edges: expected at most "
                + most
                + " with radial values of each channel, got "
                + edges.size());
      }
      if (in.a() != null) {
        throw new IllegalArgumentException(
            "a: expected none, as each channel has radial values of its own, got " + in.a());
      }
    } else {
      TileOperand.check("h", in.h(), type, edges.size(), degree2 + 1);
      check("a", in.a(), edges.size(), channels);
    }
  }

  private void check(String name, Edges edges, ConvolutionInputs in, ConvolutionGradients of) {
    check(name + ".x", of.x(), edges.nodes(), components(degree1), channels);
    check(name + ".r", of.r(), edges.size(), 3);
    check(name + ".h", of.h(), in.h().shape());
    check(name + ".a", of.a(), edges.size(), channels);
    if (of.a() != null && in.a() == null) {
      throw new IllegalArgumentException(
          name + ".a: expected none, as there are no scales, got " + of.a());
    }
  }

  private void check(String name, @Nullable Tensor tensor, long... shape) {
    if (tensor != null) {
      TileOperand.check(name, tensor, type, shape);
    }
  }

  /** Checks that a number lies from {@code low} to {@code high}. */
  static int inRange(String name, int value, int low, int high) {
    if (value < low || value > high) {
      throw new IllegalArgumentException(
          name + ": expected " + low + " to " + high + ", got " + value);
    }
    return value;
  }

  /** Checks that a type is F32 or F64. */
  static DType real(String name, DType type) {
    if (type != DType.F32 && type != DType.F64) {
      throw new IllegalArgumentException(name + ": expected F32 or F64, got " + type);
    }
    return type;
  }

  private static int components(int degree) {
    return (degree + 1) * (degree + 1);
  }

  /** Collects what a plan needs. */
  public static final class Builder {
    private final int degree1;
    private final int degree2;
    private final int degree3;
    private int channels = 1;
    private DType type = DType.F32;
    private Form form = Form.GRID;
    private @Nullable Tier tier;
    private int threads = 1;

    private Builder(int degree1, int degree2, int degree3) {
      this.degree1 = inRange("degree1", degree1, 0, MAX_DEGREE);
      this.degree2 = inRange("degree2", degree2, 0, MAX_DEGREE);
      this.degree3 = inRange("degree3", degree3, 0, 2 * MAX_DEGREE);
    }

    /** Number of channels; 1 unless set. */
    public Builder channels(int channels) {
      this.channels = inRange("channels", channels, 1, 1 << 20);
      return this;
    }

    /**
     * Element type of all operands; F32 unless set. F64 is computed in double precision by the
     * scalar tier.
     *
     * @throws IllegalArgumentException where it is neither F32 nor F64
     */
    public Builder type(DType type) {
      this.type = real("type", type);
      return this;
    }

    /** How to compute; {@link Form#GRID} unless set. */
    public Builder form(Form form) {
      this.form = form;
      return this;
    }

    /** Demands a tier; without it the best one is chosen. */
    public Builder tier(Tier tier) {
      this.tier = tier;
      return this;
    }

    /** Threads to use at most; 1 unless set. */
    public Builder threads(int threads) {
      this.threads = inRange("threads", threads, 1, 1 << 12);
      return this;
    }

    /**
     * Makes the plan.
     *
     * @throws IllegalStateException where the demanded tier cannot run
     */
    public GauntConvolution build() {
      return new GauntConvolution(this);
    }
  }
}

package org.quern.kronecker;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;

/**
 * Preconditioning by one vector on each side, the case of rank one: with the running means a of the
 * inputs and g of the output gradients of a layer,
 *
 * <pre>{@code
 * P = (G - (g' G a) / (|g|^2 |a|^2 + damping) g a') / damping,
 * }</pre>
 *
 * which is {@code (g g' (x) a a' + damping I)^-1} applied to G; and one factor nu for all layers.
 * O(o + i) memory and two passes over G for each layer. A step is
 *
 * <pre>{@code
 * layer.observe(a, g)            // for each layer
 * layer.prepare(dW, db)          // for each layer: reads G
 * double nu = eva.scale(rate)    // over all layers that were prepared
 * layer.apply(dW, db, nu)        // for each layer: writes nu P over G
 * }</pre>
 *
 * <p>The released program takes for g the mean over the rows of the gradient of the mean loss: the
 * gradient of the bias divided by the number of rows. Serves one call at a time.
 *
 * <p>Source: Zhang, Shi and Li, "Eva: Practical Second-order Optimization with Kronecker-vectorized
 * Approximation", ICLR 2023, and its released program.
 */
public final class Eva {
  /** How the length of the preconditioned gradients is bounded. */
  public enum Scaling {
    /** {@code nu = sqrt(sum ||G||^2 / sum ||P||^2)}: the norm over all layers stays. */
    NORM,
    /** {@code nu = min(1, sqrt(clip / (rate^2 sum <P, G>)))}. */
    KL_CLIP,
    /** {@code nu = 1}. */
    NONE
  }

  private final double damping;
  private final double newWeight;
  private final Scaling scaling;
  private final double klClip;
  private final int threads;
  private final EvaKernels kernels;
  private final List<EvaLayer> layers = new ArrayList<>();

  private Eva(Builder builder) {
    this.damping = builder.damping;
    this.newWeight = builder.released ? builder.decay : 1 - builder.decay;
    this.scaling = builder.scaling;
    this.klClip = builder.klClip;
    this.threads = builder.threads;
    this.kernels =
        Capabilities.get().choose(InverseFactor.TIERS, builder.tier) == Tier.VECTOR
            ? VectorEvaKernels.INSTANCE
            : ScalarEvaKernels.INSTANCE;
  }

  /** Settings of the released program. */
  public static Builder builder() {
    return new Builder();
  }

  /** Settings; every one has a default. */
  public static final class Builder {
    private double damping = 0.03;
    private double decay = 0.95;
    private boolean released = true;
    private Scaling scaling = Scaling.KL_CLIP;
    private double klClip = 1e-3;
    private int threads = 1;
    private @Nullable Tier tier;

    private Builder() {}

    /** Damping, above 0; 0.03 unless set. */
    public Builder damping(double value) {
      if (!(value > 0) || !Double.isFinite(value)) {
        throw new IllegalArgumentException(
            "damping: expected a finite number above 0, got " + value);
      }
      damping = value;
      return this;
    }

    /**
     * Decay of the running vectors, in [0, 1]; 0.95 unless set.
     *
     * @param value the decay xi
     * @param asReleased true for {@code m <- (1-xi) m + xi new}, as the released program has it;
     *     false for {@code m <- xi m + (1-xi) new}, as the paper prints it
     */
    public Builder decay(double value, boolean asReleased) {
      if (!(value >= 0 && value <= 1)) {
        throw new IllegalArgumentException("decay: expected a number in [0, 1], got " + value);
      }
      decay = value;
      released = asReleased;
      return this;
    }

    /** Keeps the norm over all layers: the released program with a clip of 0. */
    public Builder keepNorm() {
      scaling = Scaling.NORM;
      return this;
    }

    /** Bounds the change of the loss's distribution, above 0; the default, with 0.001. */
    public Builder klClip(double value) {
      if (!(value > 0)) {
        throw new IllegalArgumentException("klClip: expected a number above 0, got " + value);
      }
      scaling = Scaling.KL_CLIP;
      klClip = value;
      return this;
    }

    /** Leaves P as it is. */
    public Builder noScaling() {
      scaling = Scaling.NONE;
      return this;
    }

    /** Greatest number of threads, at least 1; needs gradients in shared memory above 1. */
    public Builder threads(int value) {
      if (value < 1) {
        throw new IllegalArgumentException("threads: expected at least 1, got " + value);
      }
      threads = value;
      return this;
    }

    /** The tier to use, or null for the best. */
    public Builder tier(@Nullable Tier value) {
      tier = value;
      return this;
    }

    /**
     * The preconditioner, without layers.
     *
     * @throws IllegalStateException where the tier cannot run here
     */
    public Eva build() {
      return new Eva(this);
    }
  }

  /**
   * Adds a layer.
   *
   * @param name for messages
   * @param out outputs, at least 1
   * @param in inputs, at least 1; the entries of a patch for a convolution
   * @param bias whether the layer has one
   */
  public EvaLayer layer(String name, int out, int in, boolean bias) {
    EvaLayer layer = new EvaLayer(name, out, in, bias, damping, newWeight, threads, kernels);
    layers.add(layer);
    return layer;
  }

  /**
   * The factor nu for the layers that were prepared and not yet applied. 1 where it has no finite
   * value.
   *
   * @param rate learning rate, which only {@link Scaling#KL_CLIP} reads
   */
  public double scale(double rate) {
    double gradients = 0;
    double results = 0;
    double products = 0;
    for (EvaLayer layer : layers) {
      if (layer.isPrepared()) {
        gradients += layer.gradientSquares();
        results += layer.resultSquares();
        products += layer.product();
      }
    }
    double nu =
        switch (scaling) {
          case NORM -> Math.sqrt(gradients / results);
          case KL_CLIP -> Math.min(1, Math.sqrt(klClip / (rate * rate * products)));
          case NONE -> 1;
        };
    return Double.isFinite(nu) ? nu : 1;
  }
}

package org.quern.kronecker;

/**
 * How one vector changes an inverse factor. Every rule is
 *
 * <pre>{@code
 * w = J v,  y = alpha w + beta v,  s = v.y,  J <- p J + c I + q y y'
 * }</pre>
 *
 * with its own scalars. Source: Mozaffari et al., arXiv 2306.01685, and its released program.
 */
public enum UpdateRule {
  /**
   * The released rule: {@code J <- ((gamma J + (1-gamma) I)^-1 + v v')^-1}. From I it keeps 0 &lt;
   * J &le; I whatever the vectors.
   */
  CODE {
    @Override
    double alpha(double gamma) {
      return gamma;
    }

    @Override
    double beta(double gamma) {
      return 1 - gamma;
    }

    @Override
    double p(double gamma) {
      return gamma;
    }

    @Override
    double c(double gamma) {
      return 1 - gamma;
    }

    @Override
    double q(double gamma, double s) {
      return -1 / (1 + s);
    }
  },

  /**
   * The rule as printed, whose sign is not that of an inverse; it diverges on constant vectors. For
   * reproduction only.
   */
  PAPER {
    @Override
    double p(double gamma) {
      return gamma;
    }

    @Override
    double q(double gamma, double s) {
      return (1 - gamma) / (gamma * gamma * (1 + gamma * (1 - gamma) * s));
    }
  },

  /**
   * The inverse of an exponential mean: {@code J <- (gamma J^-1 + (1-gamma) v v')^-1}. Directions
   * that no vector touches grow as gamma^-t, so that it needs the stabiliser.
   */
  EXACT {
    @Override
    double p(double gamma) {
      return 1 / gamma;
    }

    @Override
    double q(double gamma, double s) {
      return -(1 - gamma) / (gamma * (gamma + (1 - gamma) * s));
    }
  },

  /**
   * {@link #EXACT} with the weight (1-gamma)^2 on the vector, as an early version of the released
   * program treats the output factor. For reproduction only.
   */
  LEGACY_LEFT {
    @Override
    double p(double gamma) {
      return 1 / gamma;
    }

    @Override
    double q(double gamma, double s) {
      double weight = (1 - gamma) * (1 - gamma);
      return -weight / (gamma * (gamma + weight * s));
    }
  };

  /** Weight of w in y. */
  double alpha(double gamma) {
    return 1;
  }

  /** Weight of v in y. */
  double beta(double gamma) {
    return 0;
  }

  /** Factor of J. */
  abstract double p(double gamma);

  /** Weight of the identity. */
  double c(double gamma) {
    return 0;
  }

  /** Weight of y y'. */
  abstract double q(double gamma, double s);
}

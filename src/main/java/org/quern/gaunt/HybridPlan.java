package org.quern.gaunt;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The tables of a product that is taken at nodes in the polar angle and in Fourier series in the
 * azimuth.
 *
 * <p>Each operand becomes, at every node, the amplitudes a(0), a(m), b(m) of {@code a(0) + sum over
 * m of 2 a(m) cos(m alpha) + 2 b(m) sin(m alpha)}: a transform per order m over the degrees l. Two
 * of the operands are evaluated, so that their tables hold the harmonics. The third, {@link
 * #PROJECTED}, is the coefficients of a product of two series, and its tables hold what recovers
 * coefficients from amplitudes.
 *
 * <p>Order k of a product of degree D is sin(theta)<sup>k</sup> times a polynomial of degree D - k
 * in cos(theta). Where a Gauss rule would need more nodes than that polynomial has coefficients,
 * {@code D - k + 1} of them are enough: the tables of order k solve for the coefficients from these
 * few. The nodes of one order are among those of the order below, dropped in pairs in the order
 * that keeps the solution best conditioned. For L3 = L1 + L2 this saves a third of the
 * multiplications of the plain rule, which every order would apply at all nodes.
 *
 * <p>The plans of a {@link #bracket} evaluate derivatives in place of values, whose polar angle
 * counts from the nearer pole, so that they have the symmetry of values. At the lower nodes this
 * changes the sign of a product of one derivative by the polar angle and one by the azimuth; there
 * the projected operand is {@link #mirrored}.
 *
 * <p>Nodes come in pairs of opposite cosines, so that each transform splits into even and odd
 * degrees. Nodes are numbered: the equator, where there is one; then the upper and the lower node
 * of each pair, the pairs dropped last first. Immutable.
 */
final class HybridPlan {
  /** An order is not left with fewer nodes where this would amplify rounding more than that. */
  private static final double MAX_AMPLIFICATION = 3;

  /** The role of the operand whose tables recover coefficients; roles 0 and 1 are evaluated. */
  static final int PROJECTED = 2;

  /** What of a function is evaluated. */
  private enum Part {
    /** Its values. */
    VALUE,
    /** Its derivative by the polar angle. */
    POLAR,
    /** Its derivative by the azimuth, over the sine of the polar angle. */
    AZIMUTH
  }

  /** The form, its operands in the order of their roles. */
  final TrilinearForm form;

  /** The operand in each role. */
  private final int[] operands;

  /** Number of nodes. */
  final int nodes;

  /** 1 where the first node is the equator, else 0. */
  final int equator;

  /** What of the roles 0 and 1 is evaluated. */
  private final Part[] parts;

  /** By role and order. */
  private final Order[][] orders;

  private final List<Term> terms;

  private final int multiplyAdds;

  /** The transform of one order of an operand. */
  static final class Order {
    private final int first;
    private final int pairs;
    private final double[][] table;

    private Order(int first, int pairs, double[][] table) {
      this.first = first;
      this.pairs = pairs;
      this.table = table;
    }

    /** First node: 0, or 1 where there is an equator and it is left out. */
    int first() {
      return first;
    }

    /** Number of pairs. */
    int pairs() {
      return pairs;
    }

    /**
     * By {@code l - m}: factors at the equator, where there is one, and at the upper node of each
     * pair; what takes amplitudes to coefficients applies them to sums and differences of a pair.
     * Not to be changed.
     */
    double[][] table() {
      return table;
    }
  }

  /**
   * A plan.
   *
   * @param highest highest degree of the product of what is evaluated
   * @param sign factor of the form
   * @param operands the operand in each role
   */
  private HybridPlan(
      TrilinearForm form, int nodes, int highest, Part[] parts, int sign, int... operands) {
    this.operands = operands.clone();
    this.parts = parts.clone();
    this.form = form.permuted(operands[0], operands[1], operands[2]);
    this.nodes = nodes;
    equator = nodes % 2;
    GaussLegendre rule = GaussLegendre.of(nodes);
    int half = nodes / 2 + equator;
    Legendre legendre =
        new Legendre(
            Math.max(
                Math.max(highest, this.form.degree(PROJECTED)),
                Math.max(this.form.degree(0), this.form.degree(1))));
    double[][] values = new double[half][Legendre.size(legendre.degree())];
    double[] weights = new double[half];
    for (int h = 0; h < half; h++) {
      // The nearest to the equator first.
      int node = half - 1 - h;
      weights[h] = rule.weight(node);
      legendre.values(Math.abs(rule.cos(node)), rule.sin(node), values[h]);
    }
    Projection[] projections = project(highest, values, weights);
    int[] columns = columns(projections, half);
    orders = new Order[3][];
    double[][][] functions = {
      values(parts[0], legendre, values), values(parts[1], legendre, values)
    };
    for (int role = 0; role < 3; role++) {
      orders[role] = new Order[this.form.degree(role) + 1];
      for (int m = 0; m < orders[role].length; m++) {
        orders[role][m] =
            role == PROJECTED
                ? projection(projections[m], m, columns)
                : evaluation(role, m, columns, functions[role], role == 0 ? sign : 1);
      }
    }
    List<Term> terms =
        Term.of(this.form.degree(0), this.form.degree(1), this.form.degree(PROJECTED));
    for (int role = 0; role < 2; role++) {
      terms = parts[role] == Part.AZIMUTH ? Term.differentiated(terms, role) : terms;
    }
    this.terms = terms;
    multiplyAdds = count();
  }

  private static double[][] values(Part part, Legendre legendre, double[][] values) {
    if (part == Part.VALUE) {
      return values;
    }
    double[][] derivatives = new double[values.length][values[0].length];
    for (int h = 0; h < values.length; h++) {
      if (part == Part.POLAR) {
        legendre.thetaDerivatives(values[h], derivatives[h]);
      } else {
        legendre.timesOrderOverSine(values[h], derivatives[h]);
      }
    }
    return derivatives;
  }

  /** The least number of nodes with which a rule integrates the form exactly. */
  static int leastNodes(TrilinearForm form) {
    return form.integrandDegree() / 2 + 1;
  }

  /** The plan with the fewest multiplications on a number of nodes, at least the least one. */
  static HybridPlan of(TrilinearForm form, int nodes) {
    int[] operands = operands(form);
    int highest = form.degree(operands[0]) + form.degree(operands[1]);
    return new HybridPlan(form, nodes, highest, new Part[] {Part.VALUE, Part.VALUE}, 1, operands);
  }

  /**
   * One of the two halves of the form {@code integral of (f_theta g_alpha - f_alpha g_theta) / sin
   * h} of the cross product; neither is a polynomial, their sum is.
   *
   * @param half 0 for the first product, 1 for the second with its sign
   */
  static HybridPlan bracket(TrilinearForm form, int half) {
    int[] operands = operands(form);
    int highest = Math.max(0, form.degree(operands[0]) + form.degree(operands[1]) - 1);
    // A node at the equator would belong to either pole.
    int nodes = Math.ceilDiv(Math.max(0, form.integrandDegree() - 1) / 2 + 1, 2) * 2;
    // The form changes its sign when two operands are exchanged, and not around a circle.
    boolean circle = (operands[1] - operands[0] + 3) % 3 == 1;
    return new HybridPlan(
        form,
        nodes,
        highest,
        half == 0 ? new Part[] {Part.POLAR, Part.AZIMUTH} : new Part[] {Part.AZIMUTH, Part.POLAR},
        circle == (half == 0) ? 1 : -1,
        operands);
  }

  /** The operands in the order of roles: orders of that with the highest degree need few nodes. */
  private static int[] operands(TrilinearForm form) {
    if (form.degree(0) > form.degree(1) && form.degree(0) > form.degree(2)) {
      return new int[] {1, 2, 0};
    }
    return form.degree(1) > form.degree(2) ? new int[] {0, 2, 1} : new int[] {0, 1, 2};
  }

  /** True where a role has the opposite sign at the lower node of every pair. */
  boolean mirrored(int role) {
    return role == PROJECTED && parts[0] != Part.VALUE;
  }

  /** The role that an operand plays. */
  int role(int operand) {
    return operands[0] == operand ? 0 : operands[1] == operand ? 1 : 2;
  }

  /** The transform of an order of the operand in a role. */
  Order order(int role, int m) {
    return orders[role][m];
  }

  /** The factor between the coefficient of degree m + i and the amplitude of order m at a node. */
  double factor(int role, int m, int i, int node) {
    int column = (node + equator) / 2;
    boolean lower = node >= equator && (node - equator) % 2 == 1;
    boolean middle = node < equator;
    double value = orders[role][m].table[i][column];
    if (middle) {
      return i % 2 == 0 ? value : 0;
    }
    return lower && (i % 2 == 1) != mirrored(role) ? -value : value;
  }

  /** Number of amplitudes at a node: 2 L + 1, in the order a(0), a(1), b(1), a(2), b(2), ... */
  int slots(int role) {
    return 2 * form.degree(role) + 1;
  }

  /** Multiply-adds of one product per channel. */
  int multiplyAdds() {
    return multiplyAdds;
  }

  private int count() {
    int sum = 0;
    for (int role = 0; role < 3; role++) {
      for (int m = 0; m <= form.degree(role); m++) {
        Order order = orders[role][m];
        int rows = form.degree(role) - m + 1;
        int parts = rows * order.pairs + (order.first < equator ? (rows + 1) / 2 : 0);
        sum += m == 0 ? parts : 2 * parts;
      }
    }
    for (Term term : terms) {
      Order order = orders[PROJECTED][(term.slot(PROJECTED) + 1) / 2];
      sum += equator - order.first + 2 * order.pairs;
    }
    return sum;
  }

  /** The products of amplitudes at a node. */
  List<Term> terms() {
    return terms;
  }

  /** The nodes that an order of the projected operand keeps, and the factors there by degree. */
  private static final class Projection {
    private final boolean[] kept;
    private final double[][] table;

    Projection(boolean[] kept, double[][] table) {
      this.kept = kept;
      this.table = table;
    }
  }

  private Projection[] project(int sum, double[][] values, double[] weights) {
    int degree = form.degree(PROJECTED);
    Projection[] projections = new Projection[degree + 1];
    boolean[] kept = new boolean[values.length];
    Arrays.fill(kept, equator, kept.length, true);
    for (int k = 0; k <= degree; k++) {
      int needed = sum - k + 1;
      if (needed <= 0) {
        // No path reaches this order.
        projections[k] =
            new Projection(new boolean[kept.length], new double[degree - k + 1][kept.length]);
        continue;
      }
      if (needed >= nodes) {
        boolean[] all = new boolean[kept.length];
        Arrays.fill(all, true);
        projections[k] = new Projection(all, gauss(degree, k, values, weights));
        continue;
      }
      boolean middle = equator == 1 && needed % 2 == 1;
      boolean[] fewer = fewer(kept, needed, middle, sum, k, values);
      if (equator == 1
          && !middle
          && solve(fewer, degree, sum, k, values, null) > MAX_AMPLIFICATION) {
        // Even a number that would do without the equator may need it for rounding's sake.
        middle = true;
        fewer = fewer(kept, needed, middle, sum, k, values);
      }
      double[][] table = new double[degree - k + 1][kept.length];
      solve(fewer, degree, sum, k, values, table);
      projections[k] = new Projection(fewer, table);
      System.arraycopy(fewer, equator, kept, equator, kept.length - equator);
    }
    return projections;
  }

  /** Without pairs that are not needed, as long as the solution stays well conditioned. */
  private boolean[] fewer(
      boolean[] kept, int needed, boolean middle, int sum, int k, double[][] values) {
    boolean[] fewer = kept.clone();
    int pairs = (needed + (equator == 1 && needed % 2 == 1 ? 0 : 1)) / 2;
    while (count(fewer) > pairs) {
      int drop = -1;
      double least = MAX_AMPLIFICATION;
      for (int h = equator; h < kept.length; h++) {
        if (fewer[h]) {
          boolean[] rest = fewer.clone();
          rest[h] = false;
          rest[0] |= middle;
          double amplification = solve(rest, form.degree(PROJECTED), sum, k, values, null);
          if (amplification < least) {
            least = amplification;
            drop = h;
          }
        }
      }
      if (drop < 0) {
        break;
      }
      fewer[drop] = false;
    }
    fewer[0] |= middle;
    return fewer;
  }

  private int count(boolean[] kept) {
    int count = 0;
    for (int h = equator; h < kept.length; h++) {
      count += kept[h] ? 1 : 0;
    }
    return count;
  }

  /** Weights of the rule times harmonics: exact where all nodes are used. */
  private static double[][] gauss(int degree, int k, double[][] values, double[] weights) {
    double[][] table = new double[degree - k + 1][values.length];
    double factor = k == 0 ? 2 * Math.PI : 2 * Math.sqrt(2) * Math.PI;
    for (int l = k; l <= degree; l++) {
      for (int h = 0; h < values.length; h++) {
        table[l - k][h] = factor * weights[h] * values[h][Legendre.index(l, k)];
      }
    }
    return table;
  }

  /**
   * Solves for the coefficients of order k from the amplitudes at the chosen nodes, with the least
   * factors where there are more nodes than coefficients. Even and odd degrees separately.
   *
   * @param table receives the factors, or null
   * @return how much random errors of the amplitudes grow, relative to their size
   */
  private double solve(
      boolean[] chosen,
      int degree,
      int sum,
      int k,
      double[][] values,
      double @Nullable [][] table) {
    double worst = 0;
    for (int parity = 0; parity < 2; parity++) {
      int rows = (sum - k - parity) / 2 + 1;
      if (sum - k < parity) {
        continue;
      }
      int[] at = new int[chosen.length];
      int columns = 0;
      for (int h = 0; h < chosen.length; h++) {
        if (chosen[h] && !(parity == 1 && equator == 1 && h == 0)) {
          at[columns++] = h;
        }
      }
      if (columns < rows) {
        return Double.POSITIVE_INFINITY;
      }
      double[][] m = new double[rows][columns];
      double factor = k == 0 ? 1 : Math.sqrt(0.5);
      for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
          // A pair counts twice in the least squares, the equator once.
          double twice = equator == 1 && at[c] == 0 ? 1 : Math.sqrt(2);
          m[r][c] = factor * twice * values[at[c]][Legendre.index(k + parity + 2 * r, k)];
        }
      }
      // Amplitudes at a node err in proportion to their size there, which falls like sin^k.
      double[] sizes = new double[columns];
      for (int c = 0; c < columns; c++) {
        for (int i = 0; i < rows; i++) {
          sizes[c] = Math.hypot(sizes[c], m[i][c]);
        }
        for (int i = 0; i < rows; i++) {
          m[i][c] /= sizes[c];
        }
      }
      double[][] inverse = rightInverse(m);
      for (int r = 0; r < rows && k + parity + 2 * r <= degree; r++) {
        double error = 0;
        for (int c = 0; c < columns; c++) {
          error += inverse[c][r] * inverse[c][r];
          if (table != null) {
            double twice = equator == 1 && at[c] == 0 ? 1 : Math.sqrt(0.5);
            table[parity + 2 * r][at[c]] = inverse[c][r] / sizes[c] * twice;
          }
        }
        worst = Math.max(worst, Math.sqrt(error));
      }
    }
    return worst;
  }

  /** {@code M^+ = Q R^-T} of a matrix of full row rank, where {@code M^T = Q R}. */
  private static double[][] rightInverse(double[][] m) {
    int rows = m.length;
    int columns = m[0].length;
    double[][] q = new double[rows][];
    double[][] r = new double[rows][rows];
    for (int i = 0; i < rows; i++) {
      double[] v = m[i].clone();
      // Orthogonal to working precision only the second time.
      for (int pass = 0; pass < 2; pass++) {
        for (int j = 0; j < i; j++) {
          double dot = dot(q[j], v);
          r[j][i] += dot;
          for (int c = 0; c < columns; c++) {
            v[c] -= dot * q[j][c];
          }
        }
      }
      r[i][i] = Math.sqrt(dot(v, v));
      for (int c = 0; c < columns; c++) {
        v[c] /= r[i][i];
      }
      q[i] = v;
    }
    // Column j of R^-T from the top down.
    double[][] inverse = new double[columns][rows];
    for (int j = 0; j < rows; j++) {
      double[] x = new double[rows];
      for (int i = j; i < rows; i++) {
        double sum = i == j ? 1 : 0;
        for (int k = j; k < i; k++) {
          sum -= r[k][i] * x[k];
        }
        x[i] = sum / r[i][i];
        for (int c = 0; c < columns; c++) {
          inverse[c][j] += q[i][c] * x[i];
        }
      }
    }
    return inverse;
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  /** For each column of the final tables the half node: the equator, then pairs dropped last. */
  private int[] columns(Projection[] projections, int half) {
    int[] kept = new int[half];
    for (Projection projection : projections) {
      for (int h = equator; h < half; h++) {
        kept[h] += projection.kept[h] ? 1 : 0;
      }
    }
    return IntStream.range(0, half)
        .boxed()
        .sorted(
            Comparator.<Integer, Boolean>comparing(h -> h >= equator)
                .thenComparing(h -> -kept[h])
                .thenComparing(h -> h))
        .mapToInt(h -> h)
        .toArray();
  }

  private Order projection(Projection projection, int k, int[] columns) {
    double[][] table = new double[projection.table.length][columns.length];
    int pairs = count(projection.kept);
    for (int i = 0; i < table.length; i++) {
      for (int c = 0; c < columns.length; c++) {
        // No bracket has a mean.
        double scale = mirrored(PROJECTED) && k + i == 0 ? 0 : form.scale(PROJECTED, k + i);
        table[i][c] = scale * projection.table[i][columns[c]];
      }
    }
    return new Order(equator == 1 && !projection.kept[0] ? 1 : 0, pairs, table);
  }

  private Order evaluation(int role, int m, int[] columns, double[][] values, int sign) {
    double[][] table = new double[form.degree(role) - m + 1][columns.length];
    double factor = sign * (m == 0 ? 1 : Math.sqrt(0.5));
    for (int i = 0; i < table.length; i++) {
      for (int c = 0; c < columns.length; c++) {
        table[i][c] =
            form.scale(role, m + i) * factor * values[columns[c]][Legendre.index(m + i, m)];
      }
    }
    return new Order(0, columns.length - equator, table);
  }
}

package org.quern.kronecker;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.quern.io.FormatException;
import org.quern.linalg.Gemm;
import org.quern.linalg.SymmetricEigen;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Replays single updates and products, whose reference is in binary64. */
final class KernelReplayer {
  /** Relative to the largest entry, for kernels in binary32. */
  private static final double TOLERANCE = 1e-5;

  private static final Pattern UPDATE = Pattern.compile("(d\\d+\\.)([a-z_]+)\\.[Js]");
  private static final Pattern STEP = Pattern.compile("(t)\\d+\\.([a-z_]+)");
  private static final Pattern SPECIAL = Pattern.compile("g([0-9.eE+-]+)\\.([A-Za-z_0-9]+)");
  private static final Pattern TRUNCATED = Pattern.compile("trunc(\\d+)to(\\d+)\\.err2");

  private final GoldenCase golden;
  private final Tier tier;
  private final Arena arena;
  private final Tally tally;

  KernelReplayer(GoldenCase golden, Tier tier, Arena arena, Tally tally) {
    this.golden = golden;
    this.tier = tier;
    this.arena = arena;
    this.tally = tally;
  }

  private InverseFactor factor(GoldenStorage storage, int d, UpdateRule rule, double gamma) {
    return InverseFactor.create(arena, d, storage.storage(), rule, gamma, tier);
  }

  private Tensor dense(InverseFactor factor) {
    Tensor dense = Tensor.allocate(arena, DType.F64, factor.dimension(), factor.dimension());
    factor.toDense(dense);
    return dense;
  }

  /** The rules in the names of tensors that begin with the prefix, by their names in the file. */
  private Map<String, UpdateRule> rules(Pattern pattern, String prefix) throws FormatException {
    Map<String, UpdateRule> rules = new TreeMap<>();
    for (String key : golden.tensors()) {
      Matcher matcher = pattern.matcher(key);
      if (matcher.matches() && matcher.group(1).equals(prefix)) {
        rules.put(matcher.group(2), rule(key, matcher.group(2)));
      }
    }
    return rules;
  }

  private UpdateRule rule(String key, String name) throws FormatException {
    try {
      return UpdateRule.valueOf(name.toUpperCase(Locale.ROOT));
    } catch (IllegalArgumentException e) {
      throw golden.error(key, "the name of a rule", name);
    }
  }

  void updateRules() throws IOException {
    double gamma = golden.number("gamma");
    for (int d : golden.counts("dims")) {
      String prefix = "d" + d + ".";
      Tensor start = golden.load(arena, prefix + "J", d, d);
      Tensor v = golden.load(arena, prefix + "v", d);
      Map<String, UpdateRule> rules = rules(UPDATE, prefix);
      if (rules.isEmpty()) {
        golden.load(arena, prefix + "code.J", d, d);
      }
      for (Map.Entry<String, UpdateRule> rule : rules.entrySet()) {
        compareUpdate(
            start, v, prefix + rule.getKey() + ".", rule.getKey(), rule.getValue(), gamma);
      }
    }
  }

  void updateSpecial() throws IOException {
    String name = golden.text("rule");
    UpdateRule rule = rule("rule", name);
    Tensor start = golden.square(arena, "J");
    for (JsonElement each : golden.list("keys")) {
      String key = golden.text("keys", each);
      Matcher matcher = SPECIAL.matcher(key);
      if (!matcher.matches()) {
        throw golden.error("keys", "names like g0.95.zero", key);
      }
      Tensor v = golden.load(arena, key + ".v", start.dim(0));
      double gamma = Double.parseDouble(matcher.group(1));
      compareUpdate(start, v, key + ".", matcher.group(2), rule, gamma);
    }
  }

  /** One update of J by v with every storage. */
  private void compareUpdate(
      Tensor start, Tensor v, String prefix, String what, UpdateRule rule, double gamma)
      throws IOException {
    int d = (int) start.dim(0);
    Tensor want = golden.load(arena, prefix + "J", d, d);
    double wantS = golden.scalar(arena, prefix + "s");
    double squares = 0;
    for (double x : v.toDoubleArray()) {
      squares += x * x;
    }
    for (GoldenStorage storage : GoldenStorage.of(rule, start)) {
      InverseFactor factor = factor(storage, d, rule, gamma);
      factor.fromDense(start);
      InverseFactor.Outcome outcome = factor.update(v.to(DType.F32, arena));
      double p = rule.p(gamma);
      storage.compareFactor(tally, what + " J", dense(factor), want, p, 1, TOLERANCE);
      tally.add(
          what + " outcome, " + storage.label(),
          outcome == InverseFactor.Outcome.APPLIED ? 0 : 1,
          0,
          "updates not applied");
      // An error of all elements of J changes v'Jv by no more than d of it times |v|^2.
      double bound = TOLERANCE * Math.abs(wantS) + d * storage.bound(start, p, 0, 0) * squares;
      double[] got = {factor.quadraticForm()};
      tally.share(what + " s, " + storage.label(), got, new double[] {wantS}, bound);
    }
  }

  void sequence() throws IOException {
    int d = golden.count("d");
    int n = golden.count("n");
    double gamma = golden.number("gamma");
    Tensor vectors = golden.floats(arena, "V", n, d);
    Map<String, UpdateRule> rules = rules(STEP, "t");
    if (rules.isEmpty()) {
      golden.load(arena, "t" + (n - 1) + ".code", d, d);
    }
    for (Map.Entry<String, UpdateRule> rule : rules.entrySet()) {
      for (GoldenStorage storage : GoldenStorage.of(rule.getValue(), d)) {
        compareSequence(rule.getKey(), rule.getValue(), storage, vectors, gamma);
      }
    }
    for (String key : golden.tensors()) {
      Matcher matcher = TRUNCATED.matcher(key);
      if (matcher.matches()) {
        compareTruncated(key, Integer.parseInt(matcher.group(1)), vectors, gamma);
      }
    }
  }

  private void compareSequence(
      String name, UpdateRule rule, GoldenStorage storage, Tensor vectors, double gamma)
      throws IOException {
    int d = (int) vectors.dim(1);
    int n = (int) vectors.dim(0);
    InverseFactor factor = factor(storage, d, rule, gamma);
    double p = rule.p(gamma);
    for (int t = 0; t < n; t++) {
      factor.update(vectors.row(t));
      String key = "t" + t + "." + name;
      if (golden.hasTensor(key)) {
        Tensor want = golden.load(arena, key, d, d);
        storage.compareFactor(tally, name + " J", dense(factor), want, p, t, TOLERANCE);
      }
    }
    if (rule == UpdateRule.CODE
        && (golden.hasTensor("lowrank.U") || golden.hasTensor("lowrank.c"))) {
      Tensor want = lowRank(golden.load(arena, "lowrank.U", d, -1));
      String label = name + " I - U diag(c) U'";
      storage.compareFactor(tally, label, dense(factor), want, p, n, TOLERANCE);
    }
  }

  /** The recorded I - U diag(c) U'. */
  private Tensor lowRank(Tensor u) throws IOException {
    int d = (int) u.dim(0);
    double[] c = golden.load(arena, "lowrank.c", u.dim(1)).toDoubleArray();
    double[] columns = u.toDoubleArray();
    double[] j = new double[d * d];
    for (int r = 0; r < d; r++) {
      for (int k = 0; k < d; k++) {
        double sum = r == k ? 1 : 0;
        for (int t = 0; t < c.length; t++) {
          sum -= columns[r * c.length + t] * c[t] * columns[k * c.length + t];
        }
        j[r * d + k] = sum;
      }
    }
    return Tensor.copyOf(arena, j, d, d);
  }

  /** The spectral errors of a form that keeps few columns. */
  private void compareTruncated(String key, int columns, Tensor vectors, double gamma)
      throws IOException {
    int d = (int) vectors.dim(1);
    int n = (int) vectors.dim(0);
    double[] want = golden.load(arena, key, n).toDoubleArray();
    InverseFactor truncated =
        InverseFactor.create(
            arena,
            d,
            Storage.lowRank(columns, Double.POSITIVE_INFINITY),
            UpdateRule.CODE,
            gamma,
            tier);
    InverseFactor exact =
        InverseFactor.create(arena, d, Storage.dense(), UpdateRule.CODE, gamma, Tier.SCALAR);
    SymmetricEigen eigen = new SymmetricEigen(d);
    double[] values = new double[d];
    for (int t = 0; t < n; t++) {
      truncated.update(vectors.row(t));
      exact.update(vectors.row(t));
      double[] difference = dense(truncated).toDoubleArray();
      double[] reference = dense(exact).toDoubleArray();
      for (int i = 0; i < difference.length; i++) {
        difference[i] -= reference[i];
      }
      eigen.decompose(d, difference, values);
      double error = Math.max(Math.abs(values[0]), Math.abs(values[d - 1]));
      tally.add(key + ", low rank", Math.abs(error - want[t]), TOLERANCE, "spectral error");
    }
  }

  void stabiliser() throws IOException {
    double zeta = golden.number("zeta");
    double eps = golden.number("eps");
    for (JsonElement each : golden.list("rows")) {
      JsonArray row = row(each, 4);
      String norm = golden.text("rows", row.get(1));
      String mode = golden.text("rows", row.get(2));
      String prefix = "c" + golden.count("rows", row.get(0));
      Tensor start = golden.square(arena, prefix + ".J");
      int d = (int) start.dim(0);
      Tensor want = golden.load(arena, prefix + "." + norm + "." + mode, d, d);
      for (GoldenStorage storage : GoldenStorage.of(UpdateRule.CODE, start)) {
        InverseFactor factor = factor(storage, d, UpdateRule.CODE, 0.95);
        factor.fromDense(start);
        boolean fires =
            switch (norm) {
              case "maxabs" -> factor.maxAbs() > eps;
              case "inf" -> factor.infinityNorm() > eps;
              default -> throw golden.error("rows", "maxabs or inf", norm);
            };
        if (fires) {
          switch (mode) {
            case "blend" -> factor.blend(zeta);
            case "reset" -> factor.reset();
            default -> throw golden.error("rows", "blend or reset", mode);
          }
        }
        tally.add(
            norm + " decision, " + storage.label(),
            fires == golden.flag("rows", row.get(3)) ? 0 : 1,
            0,
            "decisions");
        // The start is rounded, whose deviation from I is larger than that of what comes out.
        double bound = storage.bound(start, 1, 1, TOLERANCE);
        String label = norm + " " + mode + ", " + storage.label();
        if (storage.isRounded()) {
          tally.share(label, dense(factor).toDoubleArray(), want.toDoubleArray(), bound);
        } else {
          tally.relative(label, dense(factor), want, TOLERANCE);
        }
      }
    }
  }

  private JsonArray row(JsonElement element, int size) throws FormatException {
    if (element instanceof JsonArray array && array.size() == size) {
      return array;
    }
    throw golden.error("rows", "arrays of " + size, element);
  }

  void precondition() throws IOException {
    for (JsonElement each : golden.list("rows")) {
      JsonArray row = row(each, 4);
      String prefix = golden.text("rows", row.get(0)) + ".";
      int o = golden.count("rows", row.get(1));
      int i = golden.count("rows", row.get(2));
      boolean bias = golden.flag("rows", row.get(3));
      Tensor l = golden.load(arena, prefix + "L", o, o);
      Tensor r = golden.load(arena, prefix + "R", i, i);
      Tensor g = golden.load(arena, prefix + "G", o, i);
      for (Rescale rescale : Rescale.values()) {
        String name = rescale.name().toLowerCase(Locale.ROOT);
        Tensor want = golden.load(arena, prefix + name + ".P", o, i);
        double scale = golden.scalar(arena, prefix + name + ".scale");
        for (GoldenStorage storage : GoldenStorage.of(UpdateRule.CODE, l, r)) {
          comparePreconditioned(name, l, r, g, bias, rescale, storage, want, scale);
        }
      }
    }
  }

  private void comparePreconditioned(
      String name,
      Tensor l,
      Tensor r,
      Tensor g,
      boolean bias,
      Rescale rescale,
      GoldenStorage storage,
      Tensor want,
      double scale) {
    Gradient gradient = Gradient.of(arena, g, bias);
    InverseFactor left = factor(storage, (int) l.dim(0), UpdateRule.CODE, 0.95);
    InverseFactor right = factor(storage, (int) r.dim(0), UpdateRule.CODE, 0.95);
    left.fromDense(l);
    right.fromDense(r);
    Preconditioner preconditioner =
        Preconditioner.create(arena, left, right, bias, rescale, 1, tier);
    double nu = preconditioner.prepare(gradient.dw, gradient.db);
    preconditioner.apply(gradient.dw, gradient.db, 0, (int) l.dim(0));
    double[] got = gradient.join();
    for (int k = 0; k < got.length; k++) {
      got[k] *= nu;
    }
    compareProduct(storage, name + " P", got, want, l, g, r, scale);
    if (!storage.isRounded()) {
      double deviation = Math.abs(nu - scale) / scale;
      tally.add(name + " scale, " + storage.label(), deviation, TOLERANCE, "relative error");
    }
  }

  private void compareProduct(
      GoldenStorage storage,
      String name,
      double[] got,
      Tensor want,
      Tensor l,
      Tensor g,
      Tensor r,
      double scale) {
    storage.comparePreconditioned(
        tally,
        name,
        got,
        want.toDoubleArray(),
        l,
        storage.bound(l, 1, 0, 0),
        g,
        r,
        storage.bound(r, 1, 0, 0),
        scale,
        TOLERANCE);
  }

  void lowRankGradient() throws IOException {
    Tensor y = golden.load(arena, "Y", -1, -1);
    int o = (int) y.dim(1);
    Tensor a = golden.load(arena, "A", y.dim(0), -1);
    int i = (int) a.dim(1);
    Tensor l = golden.load(arena, "L", o, o);
    Tensor r = golden.load(arena, "R", i, i);
    Tensor g = golden.load(arena, "G", o, i);
    Tensor want = golden.load(arena, "P", o, i);
    Tensor product = product(y.to(DType.F32, arena), a.to(DType.F32, arena));
    tally.relative("Y'A", product, g, TOLERANCE);
    for (GoldenStorage storage : GoldenStorage.of(UpdateRule.CODE, l, r)) {
      comparePreconditioned(
          "L(Y'A)R:", l, r, product.to(DType.F64, arena), false, Rescale.NONE, storage, want, 1);
      InverseFactor left = factor(storage, o, UpdateRule.CODE, 0.95);
      InverseFactor right = factor(storage, i, UpdateRule.CODE, 0.95);
      left.fromDense(l);
      right.fromDense(r);
      Tensor factored = product(rows(left, y), rows(right, a));
      compareProduct(storage, "(YL)'(AR): P", factored.toDoubleArray(), want, l, g, r, 1);
    }
  }

  /** Every row times J. */
  private Tensor rows(InverseFactor factor, Tensor rows) {
    Tensor floats = rows.to(DType.F32, arena);
    Tensor out = Tensor.allocate(arena, DType.F32, rows.shape());
    for (long row = 0; row < rows.dim(0); row++) {
      factor.multiply(floats.row(row), out.row(row));
    }
    return out;
  }

  /** y'a. */
  private Tensor product(Tensor y, Tensor a) {
    Tensor out = Tensor.allocate(arena, DType.F32, y.dim(1), a.dim(1));
    Gemm.create(arena, 1, tier).multiply(true, false, 1, y, a, 0, out);
    return out;
  }

  /** [dW | db] in two tensors. */
  private record Gradient(Tensor dw, @Nullable Tensor db) {
    static Gradient of(Arena arena, Tensor g, boolean bias) {
      long columns = g.dim(1) - (bias ? 1 : 0);
      Tensor dw = Tensor.allocate(arena, DType.F32, g.dim(0), columns);
      Tensor db = bias ? Tensor.allocate(arena, DType.F32, g.dim(0)) : null;
      for (long row = 0; row < g.dim(0); row++) {
        for (long j = 0; j < columns; j++) {
          dw.setDouble(g.getDouble(row, j), row, j);
        }
        if (db != null) {
          db.setDouble(g.getDouble(row, columns), row);
        }
      }
      return new Gradient(dw, db);
    }

    double[] join() {
      int rows = (int) dw.dim(0);
      int columns = (int) dw.dim(1) + (db == null ? 0 : 1);
      double[] joined = new double[rows * columns];
      for (int row = 0; row < rows; row++) {
        for (int j = 0; j < columns; j++) {
          joined[row * columns + j] =
              db != null && j == columns - 1 ? db.getDouble(row) : dw.getDouble(row, j);
        }
      }
      return joined;
    }
  }
}

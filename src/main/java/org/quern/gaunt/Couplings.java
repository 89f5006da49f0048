package org.quern.gaunt;

import java.util.Arrays;

/**
 * The non-zero coefficients of a bilinear product of degrees (L1, L2 -> L3): out[k] is the sum of
 * value * x1[i] * x2[j] over the entries with that k. Entries ascend in i, then j, then k.
 * Immutable.
 */
public final class Couplings {
  /** Components of the first input; not to be changed, like the other arrays. */
  final int[] i;

  /** Components of the second input. */
  final int[] j;

  /** Components of the output. */
  final int[] k;

  /** Coefficients. */
  final double[] value;

  private Couplings(int size) {
    i = new int[size];
    j = new int[size];
    k = new int[size];
    value = new double[size];
  }

  /** The cross coefficients, or else the Gaunt coefficients, of degrees (0..L1, 0..L2 -> 0..L3). */
  static Couplings of(boolean cross, int degree1, int degree2, int degree3) {
    Unsorted found = new Unsorted();
    for (int l1 = 0; l1 <= degree1; l1++) {
      for (int l2 = 0; l2 <= degree2; l2++) {
        int lowest = Math.abs(l1 - l2) + (cross ? 1 : 0);
        for (int l3 = lowest; l3 <= Math.min(l1 + l2, degree3); l3 += 2) {
          addPath(found, new CouplingPath(l1, l2, l3), l1, l2, l3);
        }
      }
    }
    return found.sorted((degree1 + 1) * (degree1 + 1), (degree2 + 1) * (degree2 + 1));
  }

  /** Adds the coefficients of a path so that for equal i and j the outputs ascend. */
  private static void addPath(Unsorted found, CouplingPath path, int l1, int l2, int l3) {
    for (int a = 0; a <= l1; a++) {
      for (int b = 0; b <= l2; b++) {
        int near = Math.abs(a - b);
        int far = a + b;
        double valueNear = near <= l3 ? path.value(a, b, near) : 0;
        double valueFar = far <= l3 && far != near ? path.value(a, b, far) : 0;
        for (int m1 = -a; m1 <= a; m1 += Math.max(1, 2 * a)) {
          for (int m2 = -b; m2 <= b; m2 += Math.max(1, 2 * b)) {
            int i = l1 * l1 + l1 + m1;
            int j = l2 * l2 + l2 + m2;
            int k = l3 * l3 + l3;
            found.add(i, j, k - far, path.sign(m1, m2, -far) * valueFar);
            if (near > 0) {
              found.add(i, j, k - near, path.sign(m1, m2, -near) * valueNear);
            }
            found.add(i, j, k + near, path.sign(m1, m2, near) * valueNear);
            found.add(i, j, k + far, path.sign(m1, m2, far) * valueFar);
          }
        }
      }
    }
  }

  /** Entries by path. */
  private static final class Unsorted {
    private int[] i = new int[64];
    private int[] j = new int[64];
    private int[] k = new int[64];
    private double[] value = new double[64];
    private int size;

    void add(int i, int j, int k, double value) {
      if (value == 0) {
        return;
      }
      if (size == this.value.length) {
        this.i = Arrays.copyOf(this.i, 2 * size);
        this.j = Arrays.copyOf(this.j, 2 * size);
        this.k = Arrays.copyOf(this.k, 2 * size);
        this.value = Arrays.copyOf(this.value, 2 * size);
      }
      this.i[size] = i;
      this.j[size] = j;
      this.k[size] = k;
      this.value[size] = value;
      size++;
    }

    /** The entries in order of i, j and k: a counting sort by (i, j), which keeps that of k. */
    Couplings sorted(int firsts, int seconds) {
      int[] next = new int[firsts * seconds + 1];
      for (int entry = 0; entry < size; entry++) {
        next[i[entry] * seconds + j[entry] + 1]++;
      }
      for (int cell = 0; cell < firsts * seconds; cell++) {
        next[cell + 1] += next[cell];
      }
      Couplings table = new Couplings(size);
      for (int entry = 0; entry < size; entry++) {
        int to = next[i[entry] * seconds + j[entry]]++;
        table.i[to] = i[entry];
        table.j[to] = j[entry];
        table.k[to] = k[entry];
        table.value[to] = value[entry];
      }
      return table;
    }
  }

  /** Number of entries. */
  public int size() {
    return value.length;
  }

  /** Component l*l + l + m of the first input in an entry. */
  public int first(int entry) {
    return i[entry];
  }

  /** Component of the second input. */
  public int second(int entry) {
    return j[entry];
  }

  /** Component of the output. */
  public int out(int entry) {
    return k[entry];
  }

  /** The coefficient. */
  public double value(int entry) {
    return value[entry];
  }
}

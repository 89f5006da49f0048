package org.quern.kronecker.optim;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;
import org.quern.runtime.vector.VectorLanes;

/**
 * The updates on the Vector API, in float with fused multiply-adds; what is left behind the last
 * whole vector goes through {@link ScalarUpdateKernels}. Sums run in one float per lane and
 * accumulator over at most {@link #SPAN} elements, and in double above that.
 */
final class VectorUpdateKernels implements UpdateKernels {
  static final VectorUpdateKernels INSTANCE = new VectorUpdateKernels();

  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = SPECIES.length();
  private static final long STEP = 4L * LANES;
  private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;

  /** Elements whose sums stay in float: 64 additions per lane of 512-bit vectors. */
  private static final int SPAN = 64 * 16;

  private VectorUpdateKernels() {}

  private static long bytes(int n) {
    return 4L * n;
  }

  /** Elements in whole vectors. */
  private static int whole(int n) {
    return n / LANES * LANES;
  }

  @Override
  public void descend(Coefficients c, MemorySegment w, long wAt, MemorySegment g, long gAt, int n) {
    MemorySegment wBase = NativeViews.base(w);
    MemorySegment gBase = NativeViews.base(g);
    long wOffset = NativeViews.at(w, wAt, bytes(n));
    long gOffset = NativeViews.at(g, gAt, bytes(n));
    FloatVector nu = FloatVector.broadcast(SPECIES, c.nu);
    FloatVector decay = FloatVector.broadcast(SPECIES, c.decay);
    FloatVector rate = FloatVector.broadcast(SPECIES, -c.rate);
    FloatVector zero = FloatVector.zero(SPECIES);
    int whole = whole(n);
    for (int i = 0; i < whole; i += LANES) {
      long at = 4L * i;
      FloatVector weight = FloatVector.fromMemorySegment(SPECIES, wBase, wOffset + at, ORDER);
      FloatVector x = FloatVector.fromMemorySegment(SPECIES, gBase, gOffset + at, ORDER).mul(nu);
      FloatVector d = weight.fma(decay, x);
      d.fma(rate, weight).intoMemorySegment(wBase, wOffset + at, ORDER);
      zero.intoMemorySegment(gBase, gOffset + at, ORDER);
    }
    if (whole < n) {
      ScalarUpdateKernels.INSTANCE.descend(
          c, w, wAt + bytes(whole), g, gAt + bytes(whole), n - whole);
    }
  }

  @Override
  public void momentum(
      Coefficients c,
      MemorySegment w,
      long wAt,
      MemorySegment g,
      long gAt,
      MemorySegment m,
      long mAt,
      int n) {
    MemorySegment wBase = NativeViews.base(w);
    MemorySegment gBase = NativeViews.base(g);
    MemorySegment mBase = NativeViews.base(m);
    long wOffset = NativeViews.at(w, wAt, bytes(n));
    long gOffset = NativeViews.at(g, gAt, bytes(n));
    long mOffset = NativeViews.at(m, mAt, bytes(n));
    FloatVector nu = FloatVector.broadcast(SPECIES, c.nu);
    FloatVector decay = FloatVector.broadcast(SPECIES, c.decay);
    FloatVector beta = FloatVector.broadcast(SPECIES, c.beta1);
    // With d and the new moment, a step is -rate (onMoment m + onGradient d).
    FloatVector onMoment = FloatVector.broadcast(SPECIES, c.nesterov ? -c.rate * c.beta1 : -c.rate);
    FloatVector onGradient = FloatVector.broadcast(SPECIES, c.nesterov ? -c.rate : 0);
    FloatVector zero = FloatVector.zero(SPECIES);
    int whole = whole(n);
    for (int i = 0; i < whole; i += LANES) {
      long at = 4L * i;
      FloatVector weight = FloatVector.fromMemorySegment(SPECIES, wBase, wOffset + at, ORDER);
      FloatVector x = FloatVector.fromMemorySegment(SPECIES, gBase, gOffset + at, ORDER).mul(nu);
      FloatVector d = weight.fma(decay, x);
      FloatVector moment =
          FloatVector.fromMemorySegment(SPECIES, mBase, mOffset + at, ORDER).fma(beta, d);
      moment.intoMemorySegment(mBase, mOffset + at, ORDER);
      moment.fma(onMoment, d.fma(onGradient, weight)).intoMemorySegment(wBase, wOffset + at, ORDER);
      zero.intoMemorySegment(gBase, gOffset + at, ORDER);
    }
    if (whole < n) {
      ScalarUpdateKernels.INSTANCE.momentum(
          c, w, wAt + bytes(whole), g, gAt + bytes(whole), m, mAt + bytes(whole), n - whole);
    }
  }

  @Override
  public void adam(
      Coefficients c,
      MemorySegment w,
      long wAt,
      MemorySegment g,
      long gAt,
      MemorySegment m,
      long mAt,
      MemorySegment v,
      long vAt,
      int n) {
    MemorySegment wBase = NativeViews.base(w);
    MemorySegment gBase = NativeViews.base(g);
    MemorySegment mBase = NativeViews.base(m);
    MemorySegment vBase = NativeViews.base(v);
    long wOffset = NativeViews.at(w, wAt, bytes(n));
    long gOffset = NativeViews.at(g, gAt, bytes(n));
    long mOffset = NativeViews.at(m, mAt, bytes(n));
    long vOffset = NativeViews.at(v, vAt, bytes(n));
    FloatVector nu = FloatVector.broadcast(SPECIES, c.nu);
    FloatVector decay = FloatVector.broadcast(SPECIES, c.decay);
    FloatVector beta1 = FloatVector.broadcast(SPECIES, c.beta1);
    FloatVector rest1 = FloatVector.broadcast(SPECIES, c.rest1);
    FloatVector beta2 = FloatVector.broadcast(SPECIES, c.beta2);
    FloatVector rest2 = FloatVector.broadcast(SPECIES, c.rest2);
    FloatVector correction = FloatVector.broadcast(SPECIES, c.correction);
    FloatVector epsilon = FloatVector.broadcast(SPECIES, c.epsilon);
    FloatVector rate = FloatVector.broadcast(SPECIES, -c.rate);
    FloatVector keep = FloatVector.broadcast(SPECIES, c.keep);
    FloatVector zero = FloatVector.zero(SPECIES);
    int whole = whole(n);
    for (int i = 0; i < whole; i += LANES) {
      long at = 4L * i;
      FloatVector weight = FloatVector.fromMemorySegment(SPECIES, wBase, wOffset + at, ORDER);
      FloatVector x = FloatVector.fromMemorySegment(SPECIES, gBase, gOffset + at, ORDER).mul(nu);
      FloatVector d = weight.fma(decay, x);
      FloatVector first =
          FloatVector.fromMemorySegment(SPECIES, mBase, mOffset + at, ORDER)
              .mul(beta1)
              .add(d.mul(rest1));
      first.intoMemorySegment(mBase, mOffset + at, ORDER);
      FloatVector second =
          FloatVector.fromMemorySegment(SPECIES, vBase, vOffset + at, ORDER)
              .mul(beta2)
              .add(d.mul(d).mul(rest2));
      second.intoMemorySegment(vBase, vOffset + at, ORDER);
      FloatVector scale = second.lanewise(VectorOperators.SQRT).fma(correction, epsilon);
      first.div(scale).fma(rate, weight.mul(keep)).intoMemorySegment(wBase, wOffset + at, ORDER);
      zero.intoMemorySegment(gBase, gOffset + at, ORDER);
    }
    if (whole < n) {
      ScalarUpdateKernels.INSTANCE.adam(
          c,
          w,
          wAt + bytes(whole),
          g,
          gAt + bytes(whole),
          m,
          mAt + bytes(whole),
          v,
          vAt + bytes(whole),
          n - whole);
    }
  }

  @Override
  public void lambDirection(
      Coefficients c,
      MemorySegment w,
      long wAt,
      MemorySegment g,
      long gAt,
      MemorySegment m,
      long mAt,
      MemorySegment v,
      long vAt,
      int n,
      MemorySegment lanes,
      double[] norms) {
    long wOffset = NativeViews.at(w, wAt, bytes(n));
    long gOffset = NativeViews.at(g, gAt, bytes(n));
    long mOffset = NativeViews.at(m, mAt, bytes(n));
    long vOffset = NativeViews.at(v, vAt, bytes(n));
    int whole = whole(n);
    for (int i = 0; i < whole; i += SPAN) {
      lambSpan(
          c,
          w,
          wOffset + bytes(i),
          g,
          gOffset + bytes(i),
          m,
          mOffset + bytes(i),
          v,
          vOffset + bytes(i),
          Math.min(SPAN, whole - i),
          lanes,
          norms);
    }
    if (whole < n) {
      ScalarUpdateKernels.INSTANCE.lambDirection(
          c,
          w,
          wAt + bytes(whole),
          g,
          gAt + bytes(whole),
          m,
          mAt + bytes(whole),
          v,
          vAt + bytes(whole),
          n - whole,
          lanes,
          norms);
    }
  }

  private static void lambSpan(
      Coefficients c,
      MemorySegment w,
      long wOffset,
      MemorySegment g,
      long gOffset,
      MemorySegment m,
      long mOffset,
      MemorySegment v,
      long vOffset,
      int n,
      MemorySegment lanes,
      double[] norms) {
    MemorySegment wBase = NativeViews.base(w);
    MemorySegment gBase = NativeViews.base(g);
    MemorySegment mBase = NativeViews.base(m);
    MemorySegment vBase = NativeViews.base(v);
    FloatVector nu = FloatVector.broadcast(SPECIES, c.nu);
    FloatVector decay = FloatVector.broadcast(SPECIES, c.decay);
    FloatVector beta1 = FloatVector.broadcast(SPECIES, c.beta1);
    FloatVector rest1 = FloatVector.broadcast(SPECIES, c.rest1);
    FloatVector beta2 = FloatVector.broadcast(SPECIES, c.beta2);
    FloatVector rest2 = FloatVector.broadcast(SPECIES, c.rest2);
    FloatVector epsilon = FloatVector.broadcast(SPECIES, c.epsilon);
    FloatVector weights = FloatVector.zero(SPECIES);
    FloatVector directions = FloatVector.zero(SPECIES);
    for (int i = 0; i < n; i += LANES) {
      long at = 4L * i;
      FloatVector weight = FloatVector.fromMemorySegment(SPECIES, wBase, wOffset + at, ORDER);
      FloatVector d = FloatVector.fromMemorySegment(SPECIES, gBase, gOffset + at, ORDER).mul(nu);
      FloatVector first =
          FloatVector.fromMemorySegment(SPECIES, mBase, mOffset + at, ORDER)
              .mul(beta1)
              .add(d.mul(rest1));
      first.intoMemorySegment(mBase, mOffset + at, ORDER);
      FloatVector second =
          FloatVector.fromMemorySegment(SPECIES, vBase, vOffset + at, ORDER)
              .mul(beta2)
              .add(d.mul(d).mul(rest2));
      second.intoMemorySegment(vBase, vOffset + at, ORDER);
      FloatVector u =
          weight.fma(decay, first.div(second.lanewise(VectorOperators.SQRT).add(epsilon)));
      u.intoMemorySegment(gBase, gOffset + at, ORDER);
      weights = weight.fma(weight, weights);
      directions = u.fma(u, directions);
    }
    MemorySegment laneBase = NativeViews.base(lanes);
    long at = NativeViews.at(lanes, 0, LANES_BYTES);
    weights.intoMemorySegment(laneBase, at, ORDER);
    directions.intoMemorySegment(laneBase, at + STEP, ORDER);
    norms[0] += VectorLanes.sum(laneBase, at, LANES);
    norms[1] += VectorLanes.sum(laneBase, at + STEP, LANES);
  }

  @Override
  public void mix(float a, MemorySegment g, long gAt, float b, MemorySegment h, long hAt, int n) {
    int whole = whole(n);
    if (b == 0) {
      scale(a, g, gAt, whole);
    } else {
      MemorySegment gBase = NativeViews.base(g);
      MemorySegment hBase = NativeViews.base(h);
      long gOffset = NativeViews.at(g, gAt, bytes(n));
      long hOffset = NativeViews.at(h, hAt, bytes(n));
      FloatVector onG = FloatVector.broadcast(SPECIES, a);
      FloatVector onH = FloatVector.broadcast(SPECIES, b);
      for (int i = 0; i < whole; i += LANES) {
        long at = 4L * i;
        FloatVector.fromMemorySegment(SPECIES, gBase, gOffset + at, ORDER)
            .mul(onG)
            .add(FloatVector.fromMemorySegment(SPECIES, hBase, hOffset + at, ORDER).mul(onH))
            .intoMemorySegment(gBase, gOffset + at, ORDER);
      }
    }
    if (whole < n) {
      ScalarUpdateKernels.INSTANCE.mix(
          a, g, gAt + bytes(whole), b, h, hAt + bytes(whole), n - whole);
    }
  }

  private static void scale(float a, MemorySegment g, long gAt, int whole) {
    MemorySegment base = NativeViews.base(g);
    long offset = NativeViews.at(g, gAt, bytes(whole));
    FloatVector factor = FloatVector.broadcast(SPECIES, a);
    for (long at = offset; at < offset + bytes(whole); at += STEP) {
      FloatVector.fromMemorySegment(SPECIES, base, at, ORDER)
          .mul(factor)
          .intoMemorySegment(base, at, ORDER);
    }
  }

  @Override
  public void dots(
      MemorySegment g,
      long gAt,
      MemorySegment h,
      long hAt,
      int n,
      MemorySegment lanes,
      double[] sums) {
    long gOffset = NativeViews.at(g, gAt, bytes(n));
    long hOffset = NativeViews.at(h, hAt, bytes(n));
    int whole = whole(n);
    for (int i = 0; i < whole; i += SPAN) {
      dotSpan(g, gOffset + bytes(i), h, hOffset + bytes(i), Math.min(SPAN, whole - i), lanes, sums);
    }
    if (whole < n) {
      ScalarUpdateKernels.INSTANCE.dots(
          g, gAt + bytes(whole), h, hAt + bytes(whole), n - whole, lanes, sums);
    }
  }

  private static void dotSpan(
      MemorySegment g,
      long gOffset,
      MemorySegment h,
      long hOffset,
      int n,
      MemorySegment lanes,
      double[] sums) {
    MemorySegment gBase = NativeViews.base(g);
    MemorySegment hBase = NativeViews.base(h);
    FloatVector gh = FloatVector.zero(SPECIES);
    FloatVector gg = FloatVector.zero(SPECIES);
    FloatVector hh = FloatVector.zero(SPECIES);
    for (int i = 0; i < n; i += LANES) {
      FloatVector x = FloatVector.fromMemorySegment(SPECIES, gBase, gOffset + 4L * i, ORDER);
      FloatVector y = FloatVector.fromMemorySegment(SPECIES, hBase, hOffset + 4L * i, ORDER);
      gh = x.fma(y, gh);
      gg = x.fma(x, gg);
      hh = y.fma(y, hh);
    }
    MemorySegment laneBase = NativeViews.base(lanes);
    long at = NativeViews.at(lanes, 0, LANES_BYTES);
    gh.intoMemorySegment(laneBase, at, ORDER);
    gg.intoMemorySegment(laneBase, at + STEP, ORDER);
    hh.intoMemorySegment(laneBase, at + 2 * STEP, ORDER);
    sums[0] += VectorLanes.sum(laneBase, at, LANES);
    sums[1] += VectorLanes.sum(laneBase, at + STEP, LANES);
    sums[2] += VectorLanes.sum(laneBase, at + 2 * STEP, LANES);
  }

  @Override
  public double addRow(
      MemorySegment g, long gAt, MemorySegment sum, long sumAt, int n, MemorySegment lanes) {
    long gOffset = NativeViews.at(g, gAt, bytes(n));
    long sumOffset = NativeViews.at(sum, sumAt, bytes(n));
    int whole = whole(n);
    double total = 0;
    for (int i = 0; i < whole; i += SPAN) {
      total +=
          addSpan(
              g, gOffset + bytes(i), sum, sumOffset + bytes(i), Math.min(SPAN, whole - i), lanes);
    }
    return whole == n
        ? total
        : total
            + ScalarUpdateKernels.INSTANCE.addRow(
                g, gAt + bytes(whole), sum, sumAt + bytes(whole), n - whole, lanes);
  }

  private static double addSpan(
      MemorySegment g,
      long gOffset,
      MemorySegment sum,
      long sumOffset,
      int n,
      MemorySegment lanes) {
    MemorySegment gBase = NativeViews.base(g);
    MemorySegment sumBase = NativeViews.base(sum);
    FloatVector total = FloatVector.zero(SPECIES);
    for (int i = 0; i < n; i += LANES) {
      FloatVector x = FloatVector.fromMemorySegment(SPECIES, gBase, gOffset + 4L * i, ORDER);
      FloatVector.fromMemorySegment(SPECIES, sumBase, sumOffset + 4L * i, ORDER)
          .add(x)
          .intoMemorySegment(sumBase, sumOffset + 4L * i, ORDER);
      total = total.add(x);
    }
    MemorySegment laneBase = NativeViews.base(lanes);
    long at = NativeViews.at(lanes, 0, LANES_BYTES);
    total.intoMemorySegment(laneBase, at, ORDER);
    return VectorLanes.sum(laneBase, at, LANES);
  }
}

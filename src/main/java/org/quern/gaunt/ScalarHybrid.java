package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.quern.gaunt.HybridPlan.Order;
import org.quern.tensor.DType;

/**
 * {@link HybridPlan} step by step in double precision: the operands to amplitudes at the nodes, the
 * products of series there, and the amplitudes of the target back to coefficients. The step to
 * amplitudes and the step back are transposes of one another, in every role.
 */
final class ScalarHybrid implements ProductAlgorithm {
  private static final int CHANNELS = 16;

  private final DType type;
  private final HybridPlan plan;
  private final List<Term> terms;

  /** The algorithm for tiles of {@code type}, F32 or F64. */
  ScalarHybrid(HybridPlan plan, DType type) {
    this.plan = plan;
    this.type = type;
    terms = plan.terms();
  }

  @Override
  public int channels() {
    return CHANNELS;
  }

  @Override
  public long scratchBytes() {
    return grid(3);
  }

  /** Byte where the amplitudes of a role begin, by node and slot. */
  private long grid(int role) {
    long values = 0;
    for (int r = 0; r < role; r++) {
      values += (long) plan.nodes * plan.slots(r);
    }
    return values * Double.BYTES;
  }

  private long cell(int role, int node, int slot) {
    return grid(role) + ((long) node * plan.slots(role) + slot) * Double.BYTES;
  }

  @Override
  public void contract(
      int target,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment out,
      long outAt,
      long outStep,
      MemorySegment scratch) {
    int first = plan.role(target == 0 ? 1 : 0);
    int second = plan.role(target == 2 ? 1 : 2);
    int role = plan.role(target);
    for (int c = 0; c < CHANNELS; c++) {
      long channel = (long) c * type.bytes();
      toAmplitudes(first, x, xAt + channel, xStep, scratch);
      toAmplitudes(second, y, yAt + channel, yStep, scratch);
      multiply(role, scratch);
      fromAmplitudes(role, out, outAt + channel, outStep, scratch);
    }
  }

  /** Where the coefficient of a slot's order and degree is. */
  private static int component(int l, int slot) {
    int m = (slot + 1) / 2;
    return l * l + l + (slot % 2 == 1 ? m : -m);
  }

  private void toAmplitudes(int role, MemorySegment x, long at, long step, MemorySegment scratch) {
    for (int slot = 0; slot < plan.slots(role); slot++) {
      int m = (slot + 1) / 2;
      Order order = plan.order(role, m);
      for (int node = order.first(); node < plan.equator + 2 * order.pairs(); node++) {
        double sum = 0;
        for (int i = 0; i < order.table().length; i++) {
          sum +=
              plan.factor(role, m, i, node)
                  * Cells.get(x, type, at + component(m + i, slot) * step);
        }
        Cells.set(scratch, DType.F64, cell(role, node, slot), sum);
      }
    }
  }

  private void multiply(int role, MemorySegment scratch) {
    for (int node = 0; node < plan.nodes; node++) {
      for (int slot = 0; slot < plan.slots(role); slot++) {
        Cells.set(scratch, DType.F64, cell(role, node, slot), 0);
      }
    }
    int first = role == 0 ? 1 : 0;
    int second = role == 2 ? 1 : 2;
    for (Term term : terms) {
      Order order = plan.order(HybridPlan.PROJECTED, (term.third() + 1) / 2);
      for (int node = order.first(); node < plan.equator + 2 * order.pairs(); node++) {
        double product =
            term.factor()
                * Cells.get(scratch, DType.F64, cell(first, node, term.slot(first)))
                * Cells.get(scratch, DType.F64, cell(second, node, term.slot(second)));
        Cells.add(scratch, DType.F64, cell(role, node, term.slot(role)), product);
      }
    }
  }

  private void fromAmplitudes(
      int role, MemorySegment out, long at, long step, MemorySegment scratch) {
    for (int slot = 0; slot < plan.slots(role); slot++) {
      int m = (slot + 1) / 2;
      Order order = plan.order(role, m);
      for (int i = 0; i < order.table().length; i++) {
        double sum = 0;
        for (int node = order.first(); node < plan.equator + 2 * order.pairs(); node++) {
          sum +=
              plan.factor(role, m, i, node) * Cells.get(scratch, DType.F64, cell(role, node, slot));
        }
        Cells.set(out, type, at + component(m + i, slot) * step, sum);
      }
    }
  }
}

package org.quern.gaunt;

import org.jspecify.annotations.Nullable;
import org.quern.gaunt.LayerWorkspace.Use;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Radial values of each channel's own, brought back to shared ones: every edge becomes one edge per
 * degree of the filter, in a row, whose filter has that degree alone and whose scales are its
 * radial values.
 */
final class RadialChannels {
  private final int degrees;
  private final int size;
  private final DType type;
  private final Edges edges;
  private final ConvolutionInputs inputs;

  RadialChannels(Edges edges, ConvolutionInputs in, LayerWorkspace workspace) {
    Tensor h = in.h();
    this.degrees = Math.toIntExact(h.dim(1));
    this.size = edges.size();
    this.type = h.type();
    this.edges = edges.repeated(degrees);
    for (long edge = 0; edge < size; edge++) {
      EdgeGeometry.largest(in.r(), edge, degrees - 1);
    }
    Tensor only = workspace.tensor(Use.DEGREES, type, this.edges.size(), degrees);
    only.fill(0);
    for (long edge = 0; edge < this.edges.size(); edge++) {
      TileTable.set(only.memory(), type, edge * degrees + edge % degrees, 1);
    }
    Tensor r = repeated(in.r(), Use.VECTORS, workspace);
    inputs = new ConvolutionInputs(in.x(), r, only, scales(h));
  }

  /** Every edge once per degree. */
  Edges edges() {
    return edges;
  }

  /** The inputs that belong to them. */
  ConvolutionInputs inputs() {
    return inputs;
  }

  /** Where the gradients by those inputs go. */
  ConvolutionGradients targets(ConvolutionGradients gradients, LayerWorkspace workspace) {
    Tensor r =
        gradients.r() == null
            ? null
            : workspace.tensor(Use.VECTOR_GRADIENTS, type, edges.size(), 3);
    return new ConvolutionGradients(gradients.x(), r, null, optionalScales(gradients.h()));
  }

  /** Factors of gradients, as factors of the gradients by those inputs. */
  ConvolutionGradients factors(ConvolutionGradients factors, LayerWorkspace workspace) {
    Tensor r = factors.r() == null ? null : repeated(factors.r(), Use.VECTOR_FACTORS, workspace);
    return new ConvolutionGradients(factors.x(), r, null, optionalScales(factors.h()));
  }

  /** Brings together what {@link #targets} received. */
  void finish(ConvolutionGradients targets, ConvolutionGradients gradients) {
    Tensor from = targets.r();
    Tensor to = gradients.r();
    if (from == null || to == null) {
      return;
    }
    for (long edge = 0; edge < size; edge++) {
      for (int axis = 0; axis < 3; axis++) {
        double sum = 0;
        for (int l = 0; l < degrees; l++) {
          sum += TileTable.get(from.memory(), type, 3 * (edge * degrees + l) + axis);
        }
        TileTable.set(to.memory(), type, edge * to.rowStride() + axis, sum);
      }
    }
  }

  private Tensor repeated(Tensor vectors, Use use, LayerWorkspace workspace) {
    Tensor result = workspace.tensor(use, type, edges.size(), 3);
    for (long edge = 0; edge < edges.size(); edge++) {
      for (int axis = 0; axis < 3; axis++) {
        long at = edge / degrees * vectors.rowStride() + axis;
        double value = TileTable.get(vectors.memory(), type, at);
        TileTable.set(result.memory(), type, 3 * edge + axis, value);
      }
    }
    return result;
  }

  private @Nullable Tensor optionalScales(@Nullable Tensor h) {
    return h == null ? null : scales(h);
  }

  /** [edges, degrees, channels] as [edges degrees, channels], in place. */
  private static Tensor scales(Tensor h) {
    long[] shape = {h.rows(), h.rowLength()};
    return Tensor.of(h.memory(), h.type(), h.rowStride(), shape);
  }
}

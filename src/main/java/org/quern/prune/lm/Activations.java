package org.quern.prune.lm;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Memory for the intermediate results of one block over a chunk of sequences of one length, each
 * [sequences, length, width].
 */
final class Activations implements AutoCloseable {
  /** Tokens whose intermediate results are held at a time, at least one sequence per thread. */
  private static final int CHUNK_TOKENS = 2048;

  final int length;
  final int sequences;
  final RotaryTable angles;

  /** The normed stream that queries, keys and values are made of. */
  final MemorySegment attentionInput;

  final MemorySegment queries;
  final MemorySegment keys;
  final MemorySegment values;

  /** The joined heads; in a backward pass, once they were shown, their gradient. */
  final MemorySegment heads;

  /** The stream between attention and MLP. */
  final MemorySegment middle;

  final MemorySegment mlpInput;

  /** Outputs of the gate's layer, then their gradient. */
  final MemorySegment gate;

  /** Outputs of the values' layer, then their gradient. */
  final MemorySegment up;

  /** The gated values, then their gradient. */
  final MemorySegment gated;

  private final Arena arena = Arena.ofShared();
  private final DecoderShape shape;
  private @Nullable Gradients gradients;

  Activations(DecoderShape shape, int length, int threads) {
    this.shape = shape;
    this.length = length;
    sequences = Math.max(threads, CHUNK_TOKENS / Math.max(1, length));
    angles = RotaryTable.of(arena, shape, length);
    attentionInput = allocate(shape.hidden());
    queries = allocate(shape.queryWidth());
    keys = allocate(shape.keyWidth());
    values = allocate(shape.keyWidth());
    heads = allocate(shape.queryWidth());
    middle = allocate(shape.hidden());
    mlpInput = allocate(shape.hidden());
    gate = allocate(shape.mlp());
    up = allocate(shape.mlp());
    gated = allocate(shape.mlp());
  }

  /** What a backward pass needs beside. */
  final class Gradients {
    final MemorySegment queries = allocate(shape.queryWidth());
    final MemorySegment keys = allocate(shape.keyWidth());
    final MemorySegment values = allocate(shape.keyWidth());

    /** Of the output of a norm. */
    final MemorySegment normed = allocate(shape.hidden());
  }

  /** The memory of a backward pass, made when it is first asked for. */
  Gradients gradients() {
    if (gradients == null) {
      gradients = new Gradients();
    }
    return gradients;
  }

  /** The scratch memory of threads lives as long as this. */
  Arena arena() {
    return arena;
  }

  private MemorySegment allocate(int width) {
    return arena.allocate((long) sequences * length * width * Float.BYTES, Tensor.ALIGNMENT);
  }

  /** The part of one sequence of the chunk. */
  MemorySegment of(MemorySegment all, int slot, int width) {
    long bytes = (long) length * width * Float.BYTES;
    return all.asSlice(slot * bytes, bytes);
  }

  /** The first sequences of the chunk as a tensor. */
  Tensor view(MemorySegment all, long count, int width) {
    return Tensor.of(all, DType.F32, count, length, width);
  }

  @Override
  public void close() {
    arena.close();
  }
}

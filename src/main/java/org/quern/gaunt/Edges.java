package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The directed edges of a graph, in any order; duplicates and self-edges are allowed. Immutable;
 * sorted once, by destination and by source, so that every convolution over them adds in one fixed
 * order.
 */
public final class Edges {
  private final int nodes;
  private final int size;
  private final Groups byDestination;
  private final Groups bySource;

  /** What {@link #repeated} made last. */
  private volatile @Nullable Edges repeated;

  private Edges(int nodes, int[] source, int[] destination) {
    this.nodes = nodes;
    this.size = source.length;
    this.byDestination = new Groups(nodes, destination, source);
    this.bySource = new Groups(nodes, source, destination);
  }

  /**
   * Sorts edges.
   *
   * @param nodes number of nodes
   * @param source for each edge the node that sends, from 0 to {@code nodes - 1}
   * @param destination for each edge the node that receives
   * @throws IllegalArgumentException where a node is out of range, naming edge and node, or the
   *     lengths differ
   */
  public static Edges of(int nodes, int[] source, int[] destination) {
    if (nodes < 0) {
      throw new IllegalArgumentException("nodes: expected >= 0, got " + nodes);
    }
    if (source.length != destination.length) {
      throw new IllegalArgumentException(
          "destination: expected one node per edge, "
              + source.length
              + ", got "
              + destination.length);
    }
    check("source", nodes, source);
    check("destination", nodes, destination);
    return new Edges(nodes, source, destination);
  }

  /**
   * Sorts edges that are given as tensors.
   *
   * @param source I32 or I64 [edges]
   * @param destination I32 or I64 [edges]
   * @throws IllegalArgumentException as for arrays
   */
  public static Edges of(int nodes, Tensor source, Tensor destination) {
    return of(nodes, ints("source", source), ints("destination", destination));
  }

  private static int[] ints(String name, Tensor tensor) {
    if (tensor.rank() != 1 || (tensor.type() != DType.I32 && tensor.type() != DType.I64)) {
      throw new IllegalArgumentException(name + ": expected I32 or I64 [edges], got " + tensor);
    }
    int[] values = new int[Math.toIntExact(tensor.dim(0))];
    for (int i = 0; i < values.length; i++) {
      long value = tensor.getLong(i);
      // What no int holds is out of any range.
      values[i] = value == (int) value ? (int) value : -1;
      if (values[i] != value) {
        throw outOfRange(name, Integer.MAX_VALUE, i, value);
      }
    }
    return values;
  }

  private static void check(String name, int nodes, int[] values) {
    for (int i = 0; i < values.length; i++) {
      if (values[i] < 0 || values[i] >= nodes) {
        throw outOfRange(name, nodes, i, values[i]);
      }
    }
  }

  private static IllegalArgumentException outOfRange(String name, int nodes, int edge, long value) {
    return new IllegalArgumentException(
        name + ": expected nodes from 0 to " + (nodes - 1) + ", got " + value + " at edge " + edge);
  }

  /** Number of nodes. */
  public int nodes() {
    return nodes;
  }

  /** Number of edges. */
  public int size() {
    return size;
  }

  /** Every edge so many times in a row; kept, as the next call wants the same again. */
  Edges repeated(int times) {
    int count = size * times;
    Edges known = repeated;
    if (known == null || known.size != count) {
      int[] source = new int[count];
      int[] destination = new int[count];
      for (int node = 0; node < nodes; node++) {
        int end = byDestination.start(node) + byDestination.count(node);
        for (int i = byDestination.start(node); i < end; i++) {
          int first = byDestination.edge().getAtIndex(JAVA_INT, i) * times;
          Arrays.fill(source, first, first + times, byDestination.other().getAtIndex(JAVA_INT, i));
          Arrays.fill(destination, first, first + times, node);
        }
      }
      known = new Edges(nodes, source, destination);
      repeated = known;
    }
    return known;
  }

  /** The edges grouped by the node that receives. */
  Groups byDestination() {
    return byDestination;
  }

  /** The edges grouped by the node that sends. */
  Groups bySource() {
    return bySource;
  }

  /** Edges grouped by one of their ends, in a group by ascending number. */
  static final class Groups {
    /** Where the group of a node starts; one more entry than nodes. */
    private final int[] start;

    private final MemorySegment edge;
    private final MemorySegment other;
    private final int longest;

    private Groups(int nodes, int[] key, int[] otherEnd) {
      start = new int[nodes + 1];
      for (int node : key) {
        start[node + 1]++;
      }
      int most = 0;
      for (int i = 0; i < nodes; i++) {
        most = Math.max(most, start[i + 1]);
        start[i + 1] += start[i];
      }
      longest = most;
      int[] next = start.clone();
      Arena arena = Arena.ofAuto();
      edge = arena.allocate(JAVA_INT, Math.max(1, key.length));
      other = arena.allocate(JAVA_INT, Math.max(1, key.length));
      for (int i = 0; i < key.length; i++) {
        int place = next[key[i]]++;
        edge.setAtIndex(JAVA_INT, place, i);
        other.setAtIndex(JAVA_INT, place, otherEnd[i]);
      }
    }

    /** Where the group of a node starts. */
    int start(long node) {
      return start[(int) node];
    }

    /** Size of the group of a node. */
    int count(long node) {
      return start[(int) node + 1] - start[(int) node];
    }

    /** I32, numbers of the edges, group after group. */
    MemorySegment edge() {
      return edge;
    }

    /** I32, the other end of each. */
    MemorySegment other() {
      return other;
    }

    /** Size of the largest group. */
    int longest() {
      return longest;
    }
  }
}

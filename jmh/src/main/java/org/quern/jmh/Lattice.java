package org.quern.jmh;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.SplittableRandom;

/**
 * A graph as of atoms in a box that repeats itself: nodes on a lattice with jitter, each with edges
 * from the {@link #NEIGHBOURS} sites nearest to its own. Nodes are numbered cell by cell, so that
 * neighbours are near one another in memory.
 *
 * @param nodes number of nodes
 * @param source by edge, the node that it comes from
 * @param destination by edge, the node that it goes to; ascending
 * @param vectors by edge, x, y and z
 */
@SuppressWarnings("ArrayRecordComponent") // filled once and read
record Lattice(int nodes, int[] source, int[] destination, float[] vectors) {
  /** Edges to a node. */
  static final int NEIGHBOURS = 40;

  /** Sites of a cell in each direction. */
  private static final int CELL = 5;

  /** Extents of the lattice for 1000, 10000, 100000 and 1000000 edges. */
  private static final int[][] EXTENTS = {{5, 5, 1}, {10, 5, 5}, {25, 10, 10}, {40, 25, 25}};

  /** The lattice with a number of edges, a power of ten from 1000 to 1000000. */
  static Lattice of(int edges) {
    for (int[] extent : EXTENTS) {
      if (extent[0] * extent[1] * extent[2] * NEIGHBOURS == edges) {
        return of(extent);
      }
    }
    throw new IllegalArgumentException(
        "edges: expected a power of ten from 1000 to 1000000, got " + edges);
  }

  private static Lattice of(int[] extent) {
    List<int[]> sites = new ArrayList<>();
    int[][][] numbers = new int[extent[0]][extent[1]][extent[2]];
    for (int[] cell : box(new int[3], extent, CELL)) {
      int[] end = new int[3];
      for (int axis = 0; axis < 3; axis++) {
        end[axis] = Math.min(extent[axis], cell[axis] + CELL);
      }
      for (int[] site : box(cell, end, 1)) {
        numbers[site[0]][site[1]][site[2]] = sites.size();
        sites.add(site);
      }
    }
    List<int[]> offsets = box(new int[] {-2, -2, -2}, new int[] {3, 3, 3}, 1);
    offsets.sort(Comparator.comparingInt(o -> o[0] * o[0] + o[1] * o[1] + o[2] * o[2]));
    int edges = sites.size() * NEIGHBOURS;
    Lattice lattice =
        new Lattice(sites.size(), new int[edges], new int[edges], new float[3 * edges]);
    SplittableRandom random = new SplittableRandom(edges);
    for (int edge = 0; edge < edges; edge++) {
      int[] site = sites.get(edge / NEIGHBOURS);
      // The first of the offsets is the site itself.
      int[] offset = offsets.get(1 + edge % NEIGHBOURS);
      int[] other = new int[3];
      for (int axis = 0; axis < 3; axis++) {
        other[axis] = Math.floorMod(site[axis] + offset[axis], extent[axis]);
        lattice.vectors[3 * edge + axis] = offset[axis] + 0.6f * (random.nextFloat() - 0.5f);
      }
      lattice.source[edge] = numbers[other[0]][other[1]][other[2]];
      lattice.destination[edge] = edge / NEIGHBOURS;
    }
    return lattice;
  }

  private static List<int[]> box(int[] from, int[] to, int step) {
    List<int[]> sites = new ArrayList<>();
    for (int x = from[0]; x < to[0]; x += step) {
      for (int y = from[1]; y < to[1]; y += step) {
        for (int z = from[2]; z < to[2]; z += step) {
          sites.add(new int[] {x, y, z});
        }
      }
    }
    return sites;
  }
}

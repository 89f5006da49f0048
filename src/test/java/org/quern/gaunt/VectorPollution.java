package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;

/** Other code that reads and writes segments of any kind by the Vector API. */
final class VectorPollution {
  private VectorPollution() {}

  /** Touches the first vectors of a segment; returns what depends on all of it. */
  static float run(MemorySegment segment) {
    FloatVector single =
        FloatVector.fromMemorySegment(FloatVector.SPECIES_PREFERRED, segment, 0, VectorTile.ORDER);
    single.mul(0.5f).intoMemorySegment(segment, 0, VectorTile.ORDER);
    DoubleVector wide =
        DoubleVector.fromMemorySegment(
            DoubleVector.SPECIES_PREFERRED, segment, 0, VectorTile.ORDER);
    wide.intoMemorySegment(segment, 0, VectorTile.ORDER);
    return single.lane(0);
  }
}

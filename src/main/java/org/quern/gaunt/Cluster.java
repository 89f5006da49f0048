package org.quern.gaunt;

import org.quern.random.Philox;

/**
 * A small cluster of like atoms, with energy and forces of a potential that is known: of pairs, as
 * Morse's, and of angles, as that of Stillinger and Weber ("Computer simulation of local order in
 * condensed phases of silicon", Physical Review B 31, 1985).
 */
final class Cluster {
  /** Beyond this distance atoms do not meet. */
  static final double REACH = 3;

  private static final double WIDTH = 1.2;
  private static final double LEAST = 1.3;
  private static final double STIFFNESS = 0.8;
  private static final double STEP = 1e-5;

  private final double[] places;
  private final double energy;
  private final double[] forces;

  private Cluster(double[] places, double energy, double[] forces) {
    this.places = places;
    this.energy = energy;
    this.forces = forces;
  }

  /** Three coordinates per atom; not to be changed. */
  double[] places() {
    return places;
  }

  /** Sum of the potential. */
  double energy() {
    return energy;
  }

  /** Minus the slope of the energy by each coordinate; not to be changed. */
  double[] forces() {
    return forces;
  }

  /** A cluster at given places. */
  static Cluster of(double[] places) {
    double[] forces = new double[places.length];
    double[] moved = places.clone();
    for (int i = 0; i < places.length; i++) {
      moved[i] = places[i] + STEP;
      double above = energyOf(moved);
      moved[i] = places[i] - STEP;
      forces[i] = (energyOf(moved) - above) / (2 * STEP);
      moved[i] = places[i];
    }
    return new Cluster(places, energyOf(places), forces);
  }

  /** A cluster at random places that are not too close to one another. */
  static Cluster random(Philox random, int atoms) {
    double[] places = new double[3 * atoms];
    for (int i = 0; i < atoms; ) {
      for (int axis = 0; axis < 3; axis++) {
        places[3 * i + axis] = 2.4 * (random.nextDouble() - 0.5);
      }
      boolean apart = true;
      for (int j = 0; j < i; j++) {
        apart &= distance(places, i, j) > 0.95;
      }
      i += apart ? 1 : 0;
    }
    return of(places);
  }

  int atoms() {
    return places.length / 3;
  }

  /** Falls smoothly from 1 to 0 at {@link #REACH}. */
  static double fade(double distance) {
    if (distance >= REACH) {
      return 0;
    }
    double part = distance / REACH;
    double rest = 1 - part * part;
    return rest * rest * rest;
  }

  /** The derivative of {@link #fade}. */
  static double fadeSlope(double distance) {
    if (distance >= REACH) {
      return 0;
    }
    double part = distance / REACH;
    double rest = 1 - part * part;
    return -6 * part / REACH * rest * rest;
  }

  static double distance(double[] places, int i, int j) {
    double square = 0;
    for (int axis = 0; axis < 3; axis++) {
      double d = places[3 * j + axis] - places[3 * i + axis];
      square += d * d;
    }
    return Math.sqrt(square);
  }

  private static double energyOf(double[] places) {
    int atoms = places.length / 3;
    double energy = 0;
    for (int i = 0; i < atoms; i++) {
      for (int j = 0; j < atoms; j++) {
        if (j == i) {
          continue;
        }
        double r = distance(places, i, j);
        double well = 1 - Math.exp(-WIDTH * (r - LEAST));
        energy += 0.5 * (well * well - 1) * fade(r);
        for (int k = 0; k < j; k++) {
          if (k != i) {
            energy += STIFFNESS * bend(places, i, j, k) * fade(r) * fade(distance(places, i, k));
          }
        }
      }
    }
    return energy;
  }

  /** The square of the cosine's distance from that of the tetrahedron. */
  private static double bend(double[] places, int i, int j, int k) {
    double dot = 0;
    for (int axis = 0; axis < 3; axis++) {
      double a = places[3 * j + axis] - places[3 * i + axis];
      dot += a * (places[3 * k + axis] - places[3 * i + axis]);
    }
    double cosine = dot / (distance(places, i, j) * distance(places, i, k));
    return (cosine + 1.0 / 3) * (cosine + 1.0 / 3);
  }
}

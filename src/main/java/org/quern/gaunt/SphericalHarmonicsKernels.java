package org.quern.gaunt;

import java.lang.foreign.MemorySegment;

/**
 * Real spherical harmonics of the directions of many vectors, and their derivatives.
 *
 * <p>With the unit vector n = v/|v| and the columns q(l,m) of {@link SphereTables}, c_m + i s_m =
 * (z+ix)<sup>m</sup>: Y(l,m) = q c_m, Y(l,-m) = q s_m. A derivative is that of this polynomial, f =
 * (-m q s_{m-1}, q' c_m, m q c_{m-1}) or f = (m q c_{m-1}, q' s_m, m q s_{m-1}), made tangential
 * and divided by the length: dY/dv = (f - n (n.f)) / |v|, where q' follows from the derivative of
 * the recurrence. All arithmetic is binary64, also for F32 operands, which are rounded once at the
 * end.
 *
 * <p>Vectors are N x 3, results N x n(L) (values, pushforward), N x n(L) x 3 (jacobian), N x 3
 * (pullback). Work per component: 3 multiply-adds for values, about 12 for derivatives; traffic:
 * the operands once. Every method works on vectors {@code [from, to)}.
 *
 * <p>Where a vector is not finite, or zero and {@link SphereOperands#zeroAllowed} is false, the
 * number of the first such vector is returned; results of others may have been written.
 *
 * <p>Source: e3nn's convention; recurrences of the associated Legendre functions with sin(theta)
 * taken out, so that nothing is singular at the poles.
 */
interface SphericalHarmonicsKernels {
  /** All vectors had a direction, or were allowed to have none. */
  long ALL_GOOD = -1;

  /** Bytes of 64-byte aligned scratch memory that one call needs. */
  long scratchBytes(SphereTables tables);

  /** Y. Returns {@link #ALL_GOOD} or the first bad vector. */
  long values(SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch);

  /** dY[i]/dv[a]. Returns {@link #ALL_GOOD} or the first bad vector. */
  long jacobian(SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch);

  /** Sum over i of g[i] dY[i]/dv[a]. Returns {@link #ALL_GOOD} or the first bad vector. */
  long pullback(SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch);

  /** Sum over a of dY[i]/dv[a] t[a]. Returns {@link #ALL_GOOD} or the first bad vector. */
  long pushforward(
      SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch);
}

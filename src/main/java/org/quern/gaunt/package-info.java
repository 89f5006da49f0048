/**
 * Equivariant tensor products of spherical-harmonic coefficients (Luo, Chen, Krishnapriyan,
 * "Enabling Efficient Equivariant Operations in the Fourier Basis via Gaunt Tensor Products", ICLR
 * 2024, arXiv 2401.10216), and what they stand on: real spherical harmonics, their rotations and
 * coupling coefficients, irreps.
 *
 * <p>The conventions are those of e3nn: polar axis y, component {@code i = l*l + l + m} of degree l
 * and order m = -l..l, no Condon-Shortley phase, the components of degree 1 in the order x, y, z.
 * The basis is orthonormal on the sphere ({@link org.quern.gaunt.Normalization#INTEGRAL}) unless
 * something else is asked for. n(L) = (L+1)<sup>2</sup> counts the components of degrees 0 to L.
 */
@NullMarked
package org.quern.gaunt;

import org.jspecify.annotations.NullMarked;

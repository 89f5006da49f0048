/**
 * Products of functions on the sphere in the basis of real spherical harmonics: the Gaunt tensor
 * product of equivariant networks (Luo, Chen, Krishnapriyan, "Enabling Efficient Equivariant
 * Operations in the Fourier Basis via Gaunt Tensor Products", ICLR 2024, arXiv 2401.10216).
 */
@NullMarked
package org.quern.gaunt;

import org.jspecify.annotations.NullMarked;

/* SPDX-License-Identifier: MIT
 *
 * Making the matrices of a codec from its dimension and seed. Applying them is the kernels' work. */
#ifndef TQ_ROTATION_H
#define TQ_ROTATION_H

#include "kernels/kernels.h"

/* m if dim = m * 2^a with m in {1, 12, 20, 28, 36}, so that a Hadamard matrix of that order is made here; else 0. */
size_t tq_hadamard_order(size_t dim);

/* Makes a rotation: Hadamard (tq_hadamard_order(dim) is not 0), or dense. On failure nothing is left allocated.
 * TQ_OK or TQ_ERR_OUT_OF_MEMORY. */
tq_status tq_rotation_init(tq_rotation_plan *plan, const tq_allocator *allocator, size_t dim, tq_rotation kind,
                           uint64_t seed);

void tq_rotation_free(tq_rotation_plan *plan, const tq_allocator *allocator);

/* Fills [dim, dim] with independent standard normals: the projection S of the prod formats. */
void tq_random_projection(float *matrix, size_t dim, uint64_t seed);

#endif /* TQ_ROTATION_H */

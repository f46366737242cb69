/* SPDX-License-Identifier: MIT
 *
 * How a kernel cuts its queries and keys into tiles. */
#ifndef TQ_TILES_H
#define TQ_TILES_H

#include "compiler.h"

#include <stddef.h>

TQ_INLINE size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The largest tile for n_q queries: 1, 2, 4 or 8 of them, and at most `most`. */
TQ_INLINE size_t queries_of_tile(size_t n_q, size_t most)
{
    const size_t n = least(n_q, most);
    return n >= 8 ? 8 : (n >= 4 ? 4 : (n >= 2 ? 2 : 1));
}

#endif /* TQ_TILES_H */

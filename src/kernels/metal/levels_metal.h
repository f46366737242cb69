/* SPDX-License-Identifier: MIT
 *
 * What scores and attention share: queries, and levels from units, sixteen coordinates at a time (layout_metal.h). */
#ifndef TQ_LEVELS_METAL_H
#define TQ_LEVELS_METAL_H

#include "kernels/metal/vector_metal.h"

/* Units of a chunk; `before` is unit 0 of the chunk before, that of the last one for the first. */
struct tq_chunk {
    ushort unit[TQ_METAL_MAX_UNITS];
    ushort before;
};

inline uint tq_chunk_window(thread const tq_chunk &chunk)
{
    return tq_metal_window(chunk.unit[0], chunk.before);
}

inline void tq_chunk_levels(int format, thread const tq_chunk &chunk, threadgroup const float *table,
                            thread float *levels)
{
    const uint window = tq_chunk_window(chunk);
    for (int i = 0; i < TQ_METAL_CHUNK; i++) {
        levels[i] = table[tq_metal_index(format, chunk.unit, window, i)];
    }
}

inline int tq_chunk_before(int c)
{
    return (c == 0 ? tq_dim / TQ_METAL_CHUNK : c) - 1;
}

/* Chunk c of a row whose units begin at `units`. */
inline void tq_read_row_chunk(device const ushort *units, int c, thread tq_chunk &chunk)
{
    for (int v = 0; v < tq_metal_bits(tq_format); v++) {
        chunk.unit[v] = units[tq_metal_row_unit(tq_format, tq_dim, c, v)];
    }
    chunk.before = units[tq_metal_row_unit(tq_format, tq_dim, tq_chunk_before(c), 0)];
}

/* n query rows, side by side in memory, become the components of float4s in threadgroup memory. */
inline void tq_load_queries(device const float *queries, uint n, uint index, uint threads, threadgroup float4 *q)
{
    for (uint j = index; j < uint(tq_dim); j += threads) {
        for (uint i = 0; i < TQ_METAL_QUERIES; i++) {
            q[j][i] = i < n ? queries[i * uint(tq_dim) + j] : 0.0f;
        }
    }
}

/* The table of a code goes to threadgroup memory, where all threads look it up. */
inline void tq_load_levels(constant tq_metal_code &code, int format, uint index, uint threads, threadgroup float *table)
{
    const int bits = tq_metal_bits(format) + tq_metal_is_trellis(format);
    for (uint i = index; i < 1U << bits; i += threads) {
        table[i] = code.levels[i];
    }
}

#endif /* TQ_LEVELS_METAL_H */

/* SPDX-License-Identifier: MIT
 *
 * From the words of layout_cuda.h to signed bytes that tensor cores multiply. Compiles for the host, too.
 *
 * A level is (v + 1/2) step with v in -128..127; where one byte is too coarse (turbo3, turbo4), it is
 * that plus (w + 1/2) step / 240, from a second plane of tables with the same selectors. prmt looks up four codes at
 * once: each selector nibble picks one of eight bytes, or, with its bit 3 set, eight copies of that byte's sign. That
 * bit makes two tables of eight a table of sixteen without a select: a nibble I finds its byte in the first table if
 * bit 3 is clear, and in the second, which is given I ^ 8, if it is set; the other table contributes a sign, 0 or -1,
 * and the tables are made so that the sum of both is the level. The sum is taken by the matrix product: both registers
 * go into it (PAIRS = 2). Symmetric levels need magnitudes only, and a mask of signs that inverts them: -(v + 1/2) is
 * ~v + 1/2.
 *
 *     turbo1, 2, turbo2t      one prmt for four codes
 *     turbo3                  one for each plane
 *     turbo4                  one for each plane, of magnitudes, and one for the signs of both
 *     turbo3t                 two, summed
 *     turbo4t                 two, of magnitudes, or-ed, and one for the signs: 32 levels */
#ifndef TQ_LOOKUP_CUDA_H
#define TQ_LOOKUP_CUDA_H

#include "kernels/cuda/args_cuda.h"
#include "kernels/cuda/layout_cuda.h"

TQ_CUDA_HERE uint32_t tq_cuda_prmt(uint32_t low, uint32_t high, uint32_t selector)
{
#if defined(__CUDA_ARCH__)
    uint32_t r;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(low), "r"(high), "r"(selector));
    return r;
#else
    const uint64_t bytes = (uint64_t)high << 32 | low;
    uint32_t r = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned nibble = selector >> 4 * i & 15U;
        const uint32_t byte = (uint32_t)(bytes >> 8 * (nibble & 7U)) & 255U;
        r |= ((nibble & 8U) == 0 ? byte : (byte & 128U) != 0 ? 255U : 0U) << 8 * i;
    }
    return r;
#endif
}

TQ_CUDA_BOTH int tq_cuda_pairs(int format)
{
    return format == 33 ? 2 : 1;
}

/* The lane that holds the coordinates before those of `lane`. */
TQ_CUDA_BOTH int tq_cuda_lane_before(bool values, int lane)
{
    return values ? (lane + 28) % 32 : lane / 4 * 4 + (lane + 3) % 4;
}

/* x[6 + c] = word c of the plane of u, x[6 - d] = that word 0 d coordinates earlier: from the lane's own words and
 * those of the lane before. */
template <bool VALUES, int C> TQ_CUDA_HERE void tq_cuda_delay(const uint32_t *own, const uint32_t *before, uint32_t *x)
{
    TQ_CUDA_UNROLL
    for (int c = 0; c < C; c++) {
        x[6 + c] = own[c];
    }
    TQ_CUDA_UNROLL
    for (int d = 1; d <= 6; d++) {
        const int turns = (d + C - 1) / C;
        const int c = turns * C - d;
        if (VALUES) { /* The coordinate C earlier is one bit lower. */
            const uint32_t high = 0x11111111U * (15U & 15U << turns);
            x[6 - d] = (own[c] << turns & high) | (before[c] >> (4 - turns) & ~high);
        } else { /* It is one nibble lower. */
            x[6 - d] = own[c] << 4 * turns | before[c] >> (32 - 4 * turns);
        }
    }
}

/* Selectors of the four chunks of c; `x` is for trellis codes. */
template <int FORMAT, int C>
TQ_CUDA_HERE void tq_cuda_selectors(const uint32_t *words, const uint32_t *x, int c, uint32_t *select)
{
    const uint32_t M1 = 0x11111111U, M3 = 0x33333333U, M5 = 0x55555555U, M7 = 0x77777777U;
    if (FORMAT == 11) {
        TQ_CUDA_UNROLL
        for (int k = 0; k < 4; k++) {
            select[k] = words[c] >> k & M1;
        }
    } else if (FORMAT == 12) {
        TQ_CUDA_UNROLL
        for (int k = 0; k < 4; k++) {
            select[k] = words[2 * c + k % 2] >> (k / 2 * 2) & M3;
        }
    } else if (FORMAT == 13) {
        const uint32_t *w = words + 3 * c;
        select[0] = w[0] & M7;
        select[1] = w[1] & M7;
        select[2] = w[2] & M7;
        select[3] = (w[0] >> 3 & M1) | (w[1] >> 2 & M1 << 1) | (w[2] >> 1 & M1 << 2);
    } else if (FORMAT == 14) {
        TQ_CUDA_UNROLL
        for (int k = 0; k < 4; k++) {
            select[k] = words[4 * c + k];
        }
    } else { /* Two parities for each coordinate: 2 s1 + s0. */
        uint32_t s0 = x[5 + c] ^ x[4 + c] ^ x[2 + c];
        uint32_t s1 = x[6 + c] ^ x[1 + c] ^ x[c];
        if (FORMAT == 34) {
            s0 ^= words[3 * C + c];
            s1 ^= words[3 * C + c];
        }
        const uint32_t even = (s0 & M5) | (s1 << 1 & ~M5); /* Chunk 0 in bits 0 and 1, chunk 2 in bits 2 and 3. */
        const uint32_t odd = (s0 >> 1 & M5) | (s1 & ~M5);  /* Chunks 1 and 3. */
        if (FORMAT == 32) {
            const uint32_t n_even = words[C + c] & M5;
            const uint32_t n_odd = words[C + c] & ~M5;
            select[0] = (even & M3) | (n_even << 2 & ~M3);
            select[1] = (odd & M3) | (n_odd << 1 & ~M3);
            select[2] = (even >> 2 & M3) | (n_even & ~M3);
            select[3] = (odd >> 2 & M3) | (n_odd >> 1 & ~M3);
        } else {
            const uint32_t n_even = words[C + c];
            const uint32_t n_odd = words[2 * C + c];
            select[0] = (even & M3) | (n_even & ~M3);
            select[1] = (odd & M3) | (n_odd & ~M3);
            select[2] = (n_even & M3) | (even & ~M3);
            select[3] = (n_odd & M3) | (odd & ~M3);
        }
    }
}

/* One plane of the bytes of chunk (c, k): codes 0..3 in r[0], 4..7 in r[1]; with PAIRS = 2 to be added to r[2], r[3].
 */
template <int FORMAT, int C>
TQ_CUDA_HERE void tq_cuda_bytes(const tq_cuda_table &lookup, const uint32_t *words, int c, int k, int plane,
                                uint32_t select, uint32_t *r)
{
    const uint32_t *t = lookup.t[tq_cuda_is_trellis(FORMAT) ? k / 2 : plane];
    const uint32_t own = FORMAT == 14 ? select & 0x77777777U : select;
    r[0] = tq_cuda_prmt(t[0], t[1], own);
    r[1] = tq_cuda_prmt(t[0], t[1], own >> 16);
    if (FORMAT == 33 || FORMAT == 34) {
        const uint32_t other = select ^ 0x88888888U;
        r[2] = tq_cuda_prmt(t[2], t[3], other);
        r[3] = tq_cuda_prmt(t[2], t[3], other >> 16);
    }
    if (FORMAT == 34) {
        r[0] |= r[2];
        r[1] |= r[3];
    }
    if (FORMAT == 14 ||
        FORMAT == 34) { /* Signs: bit 3 of each nibble, or bit k of the plane of n2, spread over a byte. */
        const uint32_t signs = FORMAT == 14 ? select : words[3 * C + c] << (3 - k);
        const uint32_t even = FORMAT == 14 ? select << 4 : words[3 * C + c] << (7 - k);
        r[0] ^= tq_cuda_prmt(even, signs, 0xD9C8);
        r[1] ^= tq_cuda_prmt(even, signs, 0xFBEA);
    }
}

#endif /* TQ_LOOKUP_CUDA_H */

/* SPDX-License-Identifier: MIT
 *
 * Sums of a page of values, for the backends whose dot_*.h was included before:
 *
 *     for queries i, for dimensions j: sums[i][j] += sum over values k: w_ik s_k level_kj
 *
 * Values lie as pages_x86.h says: a register of levels holds 8 dimensions x 4 tokens, and is looked up once for all
 * queries. The weights w s of a query are rounded to integers for 32 tokens at a time, relative to the largest of them;
 * those of four tokens are loaded into all lanes:
 *
 *     levels       j0: k0 k1 k2 k3 | j1: k0 k1 k2 k3 | ... | j7: k0 k1 k2 k3       bytes
 *     weights      w0 w1 w2 w3     | w0 w1 w2 w3     | ... | w0 w1 w2 w3
 *     sums         j0              | j1              | ... | j7                    += four products
 *
 * Eight fields later the sums of 32 tokens become floats. Weights are unsigned bytes; where dot_bytes has no room for
 * any two products, those of neighbouring tokens add up to 255 at most.
 *
 * Tiles of 32 tokens are computed whole; tokens outside of first .. first + n - 1 have weight 0. The same
 * places of the page `next` are fetched meanwhile. Contract: within 4e-3 of the largest weight times the root of n. */
#ifndef TQ_PAGE_SUM_DOT_H
#define TQ_PAGE_SUM_DOT_H

#include "kernels/scalar/scalar.h"
#include "kernels/x86/fields_avx2.h"
#include "kernels/x86/page_calls_avx2.h"
#include "kernels/x86/x86.h"

#include <string.h>

enum { MOST_OF_BYTE = 255, MOST_LEVEL = 127 };

/* What a kernel is compiled for: constants. */
typedef struct shape {
    bool trellis;
    unsigned bits;
    size_t n_q;
    size_t halves; /* Of a block, at once: 1 or 2. */
} shape;

/* Weights of 32 tokens. Those of query i for tokens 4 k .. 4 k + 3 are dword [k * n + i], n as the kernel has it. */
typedef struct tile_weights {
    bool any;
    float unit[TQ_PAGE_QUERIES];    /* What an integer sum is multiplied with. */
    int32_t start[TQ_PAGE_QUERIES]; /* Of an integer sum: what the halves of levels add up to. */
    int32_t dwords[FIELDS * TQ_PAGE_QUERIES];
} tile_weights;

TQ_INLINE float largest_lane(__m256 x)
{
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

/* Tokens 8 a + l in lane l of integers[a] become consecutive bytes, and go to every n-th dword. */
TQ_INLINE void store_bytes(const __m256i *integers, size_t n, int32_t *dwords)
{
    const __m256i low = _mm256_packs_epi32(integers[0], integers[1]);
    const __m256i high = _mm256_packs_epi32(integers[2], integers[3]);
    const __m256i in_lanes = _mm256_packus_epi16(low, high);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    int32_t fours[FIELDS];
    _mm256_storeu_si256((void *)fours, _mm256_permutevar8x32_epi32(in_lanes, order));
    for (size_t k = 0; k < FIELDS; k++) {
        dwords[k * n] = fours[k];
    }
}

/* What must be a byte at most: a weight, or a weight and its neighbour's. Rounding both adds 1. */
TQ_INLINE __m256 what_must_fit(__m256 w)
{
    const bool any_pair_fits = 2 * MOST_OF_BYTE * MOST_LEVEL <= DOT_MOST;
    return any_pair_fits ? w : _mm256_add_ps(w, _mm256_permute_ps(w, 0xB1));
}
_Static_assert((MOST_OF_BYTE + 1) * MOST_LEVEL <= DOT_MOST, "a pair of weights that add up to a byte must fit");

/* The weights of tile h; n as the kernel has it. */
TQ_APART void weigh(const sum_call *call, size_t n, size_t h, tile_weights *to)
{
    const tq_levels levels = tq_integer_levels(call->code);
    const tile_scales scales = tile_scales_at(call, h);
    to->any = false;
    if (call->n_q < n) {
        memset(to, 0, sizeof *to);
    }
    for (size_t i = 0; i < call->n_q; i++) {
        __m256 w[QUARTERS];
        __m256i integers[QUARTERS];
        load_weights(call, &scales, i, h, w);
        const __m256 low = _mm256_max_ps(what_must_fit(w[0]), what_must_fit(w[1]));
        const __m256 high = _mm256_max_ps(what_must_fit(w[2]), what_must_fit(w[3]));
        const float largest = largest_lane(_mm256_max_ps(low, high));
        const float lift = largest < 0x1p-100F ? 0x1p100F : 1; /* So that the quotient is finite. */
        const __m256 per_unit = _mm256_set1_ps(largest > 0 ? MOST_OF_BYTE / (largest * lift) : 0);
        __m256i total = _mm256_setzero_si256();
        for (size_t a = 0; a < QUARTERS; a++) {
            const __m256 lifted = _mm256_mul_ps(w[a], _mm256_set1_ps(lift));
            integers[a] = _mm256_cvtps_epi32(_mm256_mul_ps(lifted, per_unit));
            total = _mm256_add_epi32(total, integers[a]);
        }
        to->any = to->any || largest > 0;
        to->unit[i] = largest / MOST_OF_BYTE * levels.step;
        to->start[i] = (int32_t)(levels.half * sum_of_lanes(_mm256_cvtepi32_ps(total)));
        store_bytes(integers, n, to->dwords + i);
    }
}

/* The coded bits of tile h, [dim] dwords behind the last LANES of them: what comes before the first dimension. */
TQ_INLINE void gather_coded(const sum_call *call, size_t h, uint8_t *coded)
{
    const size_t dim = call->code->dim;
    for (size_t g = 0; g < dim / TQ_VALUE_DIMS; g++) {
        memcpy(coded + FIELD_BYTES + g * TQ_ROW_BYTES, call->page + tq_value_block_at(call->code, g, h), TQ_ROW_BYTES);
    }
    memcpy(coded, coded + dim * 4, FIELD_BYTES);
}

/* The subset bits of eight dimensions; `u` are their coded bits, and those of the dimensions before come before. */
TQ_INLINE tq_subsets value_subsets(const uint8_t *u)
{
    __m256i ago[7];
    for (size_t i = 0; i < 7; i++) {
        ago[i] = _mm256_loadu_si256((const void *)(u - 4 * i));
    }
    return (tq_subsets){_mm256_xor_si256(_mm256_xor_si256(ago[1], ago[2]), ago[4]),
                        _mm256_xor_si256(_mm256_xor_si256(ago[0], ago[5]), ago[6])};
}

/* Adds the products of field k of the halves with all weights to the sums of a query, integers[i][half]. */
TQ_INLINE void add_field(shape s, const tq_fields *fields, const tq_tables *tables, unsigned k, const int32_t *w,
                         __m256i (*integers)[2])
{
    for (size_t half = 0; half < s.halves; half++) {
        const __m256i levels = field_levels(s.trellis, s.bits, &fields[half], tables, k);
        for (size_t i = 0; i < s.n_q; i++) {
            __m256i *sum = &integers[i][half];
            *sum = in_order(dot_bytes(*sum, in_all_lanes(w + k * s.n_q + i), levels));
        }
    }
}

/* Adds a block, from its half `from` on, to the sums of its 16 dimensions. */
TQ_INLINE void add_block(shape s, const sum_call *call, const tq_tables *tables, const tile_weights *w,
                         const uint8_t *block, const uint8_t *coded, size_t from, float *sums)
{
    tq_fields fields[2];
    __m256i integers[TQ_PAGE_QUERIES][2];
    for (size_t half = 0; half < s.halves; half++) {
        const uint8_t *rows = block + (from + half) * FIELD_BYTES;
        fields[half] = s.trellis ? trellis_fields(s.bits, rows, value_subsets(coded + (from + half) * FIELD_BYTES))
                                 : lloyd_fields(s.bits, rows);
        for (size_t i = 0; i < s.n_q; i++) {
            integers[i][half] = s.trellis ? in_all_lanes(w->start + i) : _mm256_setzero_si256();
        }
    }
    TQ_UNROLL
    for (unsigned k = 0; k < FIELDS; k++) {
        add_field(s, fields, tables, k, w->dwords, integers);
    }
    for (size_t i = 0; i < s.n_q; i++) {
        for (size_t half = 0; half < s.halves && i < call->n_q; half++) {
            float *to = sums + i * call->code->dim + (from + half) * LANES;
            const __m256 unit = _mm256_set1_ps(w->unit[i]);
            _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(integers[i][half]), unit, _mm256_loadu_ps(to)));
        }
    }
}

/* Some rows of this page are in `next` where they are in this page. */
TQ_INLINE void fetch(const sum_call *call, const uint8_t *block, unsigned n_rows)
{
    for (unsigned row = 0; row < n_rows && call->next != NULL; row++) {
        _mm_prefetch((const char *)call->next + (block - call->page) + (size_t)TQ_ROW_BYTES * row, _MM_HINT_T0);
    }
}

TQ_INLINE void sum_of(shape s, const sum_call *call)
{
    const size_t n_blocks = call->code->dim / TQ_VALUE_DIMS;
    const tq_tables tables = make_tables(s.trellis, s.bits, tq_integer_levels(call->code).k, 0);
    for (size_t h = call->first / TQ_VALUE_TOKENS; h * TQ_VALUE_TOKENS < call->first + call->n; h++) {
        const uint8_t *block = call->page + tq_value_block_at(call->code, 0, h);
        uint8_t coded[4 * TQ_MAX_DIM + FIELD_BYTES];
        tile_weights w;
        weigh(call, s.n_q, h, &w);
        fetch(call, call->page + tq_page_scales_at(call->code) + h * TQ_ROW_BYTES, 1);
        if (s.trellis && w.any) {
            gather_coded(call, h, coded);
        }
        for (size_t g = 0; w.any && g < n_blocks; g++, block += (size_t)TQ_ROW_BYTES * TQ_VALUE_TILES * s.bits) {
            fetch(call, block, s.bits);
            for (size_t from = 0; from < 2; from += s.halves) {
                add_block(s, call, &tables, &w, block, coded + FIELD_BYTES + g * TQ_ROW_BYTES, from,
                          call->sums + g * TQ_VALUE_DIMS);
            }
        }
    }
}

typedef void sum_kernel(const sum_call *call);

/* Kernels are made for 1, 2, 4 and 8 queries. */
#define TQ_SUM_KERNEL(trellis, bits, n_q)                                                                              \
    TQ_APART void sum_##trellis##bits##n_q(const sum_call *call)                                                       \
    {                                                                                                                  \
        sum_of((shape){trellis, bits, n_q, TQ_HALVES(n_q)}, call);                                                     \
    }
#define TQ_SUM_KERNELS(trellis, bits)                                                                                  \
    TQ_SUM_KERNEL(trellis, bits, 1)                                                                                    \
    TQ_SUM_KERNEL(trellis, bits, 2)                                                                                    \
    TQ_SUM_KERNEL(trellis, bits, 4)                                                                                    \
    TQ_SUM_KERNEL(trellis, bits, 8)
TQ_SUM_KERNELS(0, 1)
TQ_SUM_KERNELS(0, 2)
TQ_SUM_KERNELS(0, 3)
TQ_SUM_KERNELS(0, 4)
TQ_SUM_KERNELS(1, 2)
TQ_SUM_KERNELS(1, 3)
TQ_SUM_KERNELS(1, 4)

#define TQ_SUM_FOR(trellis, bits)                                                                                      \
    {                                                                                                                  \
        sum_##trellis##bits##1, sum_##trellis##bits##2, sum_##trellis##bits##4, sum_##trellis##bits##8                 \
    }

static sum_kernel *kernel_for(const tq_code *code, size_t n_q)
{
    static sum_kernel *const lloyd[4][4] = {TQ_SUM_FOR(0, 1), TQ_SUM_FOR(0, 2), TQ_SUM_FOR(0, 3), TQ_SUM_FOR(0, 4)};
    static sum_kernel *const trellis[3][4] = {TQ_SUM_FOR(1, 2), TQ_SUM_FOR(1, 3), TQ_SUM_FOR(1, 4)};
    const size_t n_at = n_q > 4 ? 3 : n_q > 2 ? 2 : n_q - 1;
    return code->trellis.bits != 0 ? trellis[code->bits - 2][n_at] : lloyd[code->bits - 1][n_at];
}

void TQ_KERNEL(page_sum)(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *page,
                         size_t first, size_t n, const uint8_t *mean, const uint8_t *next, float *sums)
{
    float centred[TQ_PAGE_QUERIES] = {0};
    const sum_call call = {code, w, w_stride, n_q, page, first, n, next, sums, mean != NULL ? centred : NULL};
    if (n_q == 0) {
        return;
    }
    if (code->bits == 0) {
        tq_half_sum_avx2(code->dim, w, w_stride, n_q, page + first * code->row_bytes, n, sums);
    } else if (!tq_page_is_tiled(code, TQ_PAGE_VALUES)) {
        tq_page_sum_scalar(code, w, w_stride, n_q, page, first, n, mean, next, sums);
    } else {
        (code->bits == 8 ? tq_eight_sum_avx2 : kernel_for(code, n_q))(&call);
        tq_half_sum_avx2(code->dim, centred, 1, n_q, mean, mean != NULL, sums);
    }
}

#endif /* TQ_PAGE_SUM_DOT_H */

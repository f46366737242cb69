/* SPDX-License-Identifier: MIT
 *
 * Sums of a page of values, for the backends whose dot_*.h was included before:
 *
 *     for queries i, for dimensions j: sums[i][j] += sum over values k: w_ik s_k level_kj
 *
 * Values lie as pages_x86.h says: a register of levels holds 4 dimensions x 4 tokens, and is looked up once for all
 * queries. The weights w s of a query are rounded to seven bits for 32 tokens at a time, relative to the largest of
 * them; those of four tokens are multiplied with a register:
 *
 *     levels       j0: k0 k1 k2 k3 | j1: k0 k1 k2 k3 | j2: .. | j3: ..       bytes
 *     weights      w0 w1 w2 w3     | the same in all lanes
 *     sums         j0              | j1              | j2     | j3           += four products
 *
 * Eight fields later the sums of 32 tokens become floats. The coded bits of a trellis are walked in the order of
 * dimensions, which are lanes: those of the four dimensions before stay in a register.
 *
 * Tiles of 32 tokens are computed whole; tokens outside of first .. first + n - 1 have weight 0. The same
 * places of the page `next` are fetched meanwhile. WITHIN 2.5e-2 units. */
#ifndef TQ_PAGE_SUM_DOT_NEON_H
#define TQ_PAGE_SUM_DOT_NEON_H

#include "kernels/neon/fields_neon.h"
#include "kernels/neon/neon.h"
#include "kernels/neon/pages_neon.h"

#include <string.h>

enum { LANES = 4, MOST_OF_WEIGHT = 127, EIGHTHS = TQ_VALUE_TOKENS / LANES };

/* How many quarters of a block are worked on at once, for each load of the weights of n queries: as many as leave room
 * for sums and levels. */
#define TQ_QUARTERS(trellis, n) ((n)*DOT_REGISTERS >= 8 ? 1 : (n)*DOT_REGISTERS == 4 || (trellis) ? 2 : QUARTERS)

/* The arguments of page_sum. */
typedef struct sum_call {
    const tq_code *code;
    const float *w;
    size_t w_stride;
    size_t n_q;
    const uint8_t *page;
    size_t first;
    size_t n;
    const uint8_t *next;
    float *sums;
    float *centred; /* Grow by the weights of tokens whose mean was taken off; null if the page has no mean. */
} sum_call;

/* What a kernel is compiled for: constants. */
typedef struct shape {
    bool trellis;
    unsigned bits;
    size_t n_q;
    size_t quarters; /* Of a block, at once: 1, 2 or 4. */
} shape;

/* Weights of 32 tokens. Those of query i for tokens 4 k .. 4 k + 3 are dword [k * n + i], n as the kernel has it. */
typedef struct tile_weights {
    bool any;
    float unit[TQ_PAGE_QUERIES]; /* What an integer sum is multiplied with. */
    float bias[TQ_PAGE_QUERIES]; /* What the halves of levels add up to. */
    int32_t dwords[FIELDS * TQ_PAGE_QUERIES];
} tile_weights;

/* Copies those weights of a row that belong to the 32 tokens from `begin` on and are wanted. */
TQ_APART void copy_weights(const sum_call *call, const float *row, size_t begin, float *copy)
{
    const size_t end = begin + TQ_VALUE_TOKENS;
    const size_t least = begin > call->first ? begin : call->first;
    const size_t most = end < call->first + call->n ? end : call->first + call->n;
    memset(copy, 0, TQ_VALUE_TOKENS * sizeof *copy);
    memcpy(copy + (least - begin), row + (least - call->first), (most - least) * sizeof *copy);
}

/* The weights of query i for the tokens of tile h, times their scales; 0 for tokens that are not wanted. */
TQ_INLINE void load_weights(const sum_call *call, size_t i, size_t h, float32x4_t *w)
{
    const size_t begin = h * TQ_VALUE_TOKENS;
    const float *row = call->w + i * call->w_stride;
    const uint8_t *scales_at = call->page + tq_page_scales_at(call->code) + 2 * begin;
    float copy[TQ_VALUE_TOKENS];
    const float *from = copy;
    float32x4_t centred = vdupq_n_f32(0);
    if (begin >= call->first && begin + TQ_VALUE_TOKENS <= call->first + call->n) {
        from = row + (begin - call->first);
    } else {
        copy_weights(call, row, begin, copy);
    }
    for (size_t a = 0; a < EIGHTHS; a++) {
        const float32x4_t scales = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(scales_at + 2 * a * LANES)));
        const uint32x4_t has_mean = vcgezq_s32(vreinterpretq_s32_f32(scales)); /* No sign bit. */
        const float32x4_t weights = vld1q_f32(from + a * LANES);
        const uint32x4_t kept = vandq_u32(vreinterpretq_u32_f32(weights), has_mean);
        centred = vaddq_f32(centred, vreinterpretq_f32_u32(kept));
        w[a] = vmulq_f32(weights, vabsq_f32(scales));
    }
    if (call->centred != NULL) {
        call->centred[i] += vaddvq_f32(centred);
    }
}

/* Rounds 32 weights; returns the sum of the integers. */
TQ_INLINE int32_t round_weights(const float32x4_t *w, float largest, int8_t *rounded)
{
    const float lift = largest < 0x1p-100F ? 0x1p100F : 1; /* So that the quotient is finite. */
    const float per_unit = largest > 0 ? MOST_OF_WEIGHT / (largest * lift) : 0;
    int32x4_t total = vdupq_n_s32(0);
    for (size_t a = 0; a < EIGHTHS; a += 2) {
        const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vmulq_n_f32(w[a], lift), per_unit));
        const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vmulq_n_f32(w[a + 1], lift), per_unit));
        total = vaddq_s32(total, vaddq_s32(low, high));
        vst1_s8(rounded + a * LANES, vqmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high))));
    }
    return vaddvq_s32(total);
}

/* The weights of tile h; n as the kernel has it. */
TQ_APART void weigh(const sum_call *call, size_t n, size_t h, tile_weights *to)
{
    const tq_levels levels = tq_integer_levels(call->code);
    memset(to, 0, sizeof *to);
    for (size_t i = 0; i < call->n_q; i++) {
        float32x4_t w[EIGHTHS];
        float32x4_t most = vdupq_n_f32(0);
        int32_t fours[FIELDS];
        load_weights(call, i, h, w);
        for (size_t a = 0; a < EIGHTHS; a++) {
            most = vmaxq_f32(most, w[a]);
        }
        const float largest = vmaxvq_f32(most);
        const int32_t total = round_weights(w, largest, (int8_t *)fours);
        to->any = to->any || largest > 0;
        to->unit[i] = largest / MOST_OF_WEIGHT * levels.step;
        to->bias[i] = to->unit[i] * levels.half * (float)total;
        for (size_t k = 0; k < FIELDS; k++) {
            to->dwords[k * n + i] = fours[k];
        }
    }
}

/* The coded bits of the four dimensions before, and v[t] = u[t-1] ^ u[t-2] of them. */
typedef struct coded_before {
    uint8x16_t u;
    uint8x16_t v;
} coded_before;

/* Lanes t - 1 and t - 2 added up, of a register and the one before. */
TQ_INLINE uint8x16_t two_before(uint8x16_t u, uint8x16_t before)
{
    return veorq_u8(vextq_u8(before, u, 12), vextq_u8(before, u, 8));
}

/* Before the first dimension come the last ones. */
TQ_INLINE coded_before last_coded(const sum_call *call, size_t h)
{
    const uint8_t *row = call->page + tq_value_block_at(call->code, call->code->dim / TQ_VALUE_DIMS - 1, h);
    const uint8x16_t last = vld1q_u8(row + 3 * FIELD_BYTES);
    return (coded_before){last, two_before(last, vld1q_u8(row + 2 * FIELD_BYTES))};
}

/* The subset bits of the four dimensions whose coded bits are u: v[t] ^ u[t-4], and u[t] ^ v[t-4]. */
TQ_INLINE tq_subsets value_subsets(uint8x16_t u, coded_before *before)
{
    const uint8x16_t v = two_before(u, before->u);
    const tq_subsets subsets = {veorq_u8(v, before->u), veorq_u8(u, before->v)};
    *before = (coded_before){u, v};
    return subsets;
}

/* Keeps gcc from loading all weights before a loop over blocks, for which there are no registers. */
TQ_INLINE const int32_t *loaded_here(const int32_t *dwords)
{
    __asm__("" : "+r"(dwords));
    return dwords;
}

/* Adds some quarters of a block, which begin at `block`, to the sums of their dimensions. */
TQ_INLINE void add_quarters(shape s, const sum_call *call, const tq_tables *tables, const tile_weights *w,
                            const uint8_t *block, coded_before *before, float *sums)
{
    const int32_t *dwords = loaded_here(w->dwords);
    tq_fields fields[QUARTERS];
    dot_sum integers[TQ_PAGE_QUERIES][QUARTERS];
    TQ_UNROLL
    for (size_t quarter = 0; quarter < s.quarters; quarter++) {
        const uint8_t *rows = block + quarter * FIELD_BYTES;
        fields[quarter] = s.trellis ? trellis_fields(s.bits, rows, value_subsets(vld1q_u8(rows), before))
                                    : lloyd_fields(s.bits, rows);
        TQ_UNROLL
        for (size_t i = 0; i < s.n_q; i++) {
            integers[i][quarter] = dot_zero();
        }
    }
    TQ_UNROLL
    for (unsigned k = 0; k < FIELDS; k += 2) {
        TQ_UNROLL
        for (size_t quarter = 0; quarter < s.quarters; quarter++) {
            const int8x16_t a = field_levels(s.trellis, s.bits, &fields[quarter], tables, k);
            const int8x16_t b = field_levels(s.trellis, s.bits, &fields[quarter], tables, k + 1);
            TQ_UNROLL
            for (size_t i = 0; i < s.n_q; i++) {
                dot_sum *sum = &integers[i][quarter];
                *sum = dot_two(*sum, a, b, dwords, k * s.n_q + i, (k + 1) * s.n_q + i);
            }
        }
    }
    TQ_UNROLL
    for (size_t i = 0; i < s.n_q; i++) {
        TQ_UNROLL
        for (size_t quarter = 0; quarter < s.quarters; quarter++) {
            float *to = sums + i * call->code->dim + quarter * LANES;
            if (i < call->n_q) {
                const float32x4_t inner = vcvtq_f32_s32(dot_total(integers[i][quarter]));
                const float32x4_t biased = vaddq_f32(vld1q_f32(to), vdupq_n_f32(w->bias[i]));
                vst1q_f32(to, vfmaq_n_f32(s.trellis ? biased : vld1q_f32(to), inner, w->unit[i]));
            }
        }
    }
}

/* Some rows of this page are in `next` where they are in this page. */
TQ_INLINE void fetch(const sum_call *call, const uint8_t *block, unsigned n_rows)
{
    for (unsigned row = 0; row < n_rows && call->next != NULL; row++) {
        TQ_PREFETCH((const char *)call->next + (block - call->page) + (size_t)TQ_ROW_BYTES * row);
    }
}

TQ_INLINE void sum_of(shape s, const sum_call *call)
{
    const size_t n_blocks = call->code->dim / TQ_VALUE_DIMS;
    const tq_tables tables = make_tables(s.trellis, s.bits, tq_integer_levels(call->code).k);
    for (size_t h = call->first / TQ_VALUE_TOKENS; h * TQ_VALUE_TOKENS < call->first + call->n; h++) {
        const uint8_t *block = call->page + tq_value_block_at(call->code, 0, h);
        coded_before before = last_coded(call, h);
        tile_weights w;
        weigh(call, s.n_q, h, &w);
        fetch(call, call->page + tq_page_scales_at(call->code) + h * TQ_ROW_BYTES, 1);
        for (size_t g = 0; w.any && g < n_blocks; g++, block += (size_t)TQ_ROW_BYTES * TQ_VALUE_TILES * s.bits) {
            fetch(call, block, s.bits);
            for (size_t from = 0; from < QUARTERS; from += s.quarters) {
                add_quarters(s, call, &tables, &w, block + from * FIELD_BYTES, &before,
                             call->sums + g * TQ_VALUE_DIMS + from * LANES);
            }
        }
    }
}

typedef void sum_kernel(const sum_call *call);

/* Kernels are made for 1, 2, 4 and 8 queries. */
#define TQ_SUM_KERNEL(trellis, bits, n_q)                                                                              \
    TQ_APART void sum_##trellis##bits##n_q(const sum_call *call)                                                       \
    {                                                                                                                  \
        sum_of((shape){trellis, bits, n_q, TQ_QUARTERS(trellis, n_q)}, call);                                          \
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
    if (tq_page_is_quartered(code, TQ_PAGE_VALUES)) {
        kernel_for(code, n_q)(&call);
        tq_half_sum_neon(code->dim, centred, 1, n_q, mean, mean != NULL, sums);
    } else {
        tq_page_sum_of_rows(code, w, w_stride, n_q, page, first, n, mean, sums);
    }
}

#endif /* TQ_PAGE_SUM_DOT_NEON_H */

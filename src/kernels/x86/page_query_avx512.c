/* SPDX-License-Identifier: MIT
 *
 * Queries become integers:
 *
 *     for i, for j: x[i][j] = 256 rint(q[i][j] * 127 / max |q[i]|)          one plane
 *                   x[i][j] = rint(q[i][j] * 32512 / max |q[i]|)            two planes
 *                   x[i][j] = 256 high + low
 *
 * and are laid out as page_query_avx512.h says. Once per group of queries, so it is short rather than fast. */
#include "kernels/x86/page_query_avx512.h"

#include "compiler.h"
#include "kernels/scalar/scalar.h"
#include "kernels/x86/levels_x86.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

/* Rounded queries reach from -32512 to 32512: 256 times -127 to 127. */
static const float MOST = 256 * 127;

/* A coordinate of more than this many rms makes a query exact. */
static const float PEAK = 4.5F;

typedef struct range {
    float largest;
    float rms;
} range;

static range range_of(const float *q, size_t dim)
{
    __m512 largest = _mm512_setzero_ps();
    __m512 squares = _mm512_setzero_ps();
    for (size_t j = 0; j < dim; j += 16) {
        const __m512 x = _mm512_loadu_ps(q + j);
        largest = _mm512_max_ps(largest, _mm512_abs_ps(x));
        squares = _mm512_fmadd_ps(x, x, squares);
    }
    return (range){_mm512_reduce_max_ps(largest), sqrtf(_mm512_reduce_add_ps(squares) / (float)dim)};
}

static bool needs_two_planes(const tq_code *code, range r)
{
    return code->bits == 8 || r.largest > PEAK * r.rms;
}

/* x = 256 high + low. */
typedef struct rounded_query {
    int8_t high[TQ_MAX_DIM];
    int8_t low[TQ_MAX_DIM];
    int32_t high_sum;
    int32_t low_sum;
} rounded_query;

static void round_query(const float *q, size_t dim, float largest, bool exact, rounded_query *rounded)
{
    const float lift = largest < 0x1p-100F ? 0x1p100F : 1; /* So that the quotient is finite. */
    const float quotient = largest > 0 ? (exact ? MOST : MOST / 256) / (largest * lift) : 0;
    const __m512 factor = _mm512_set1_ps(quotient);
    const __m128i shift = _mm_cvtsi32_si128(exact ? 0 : 8);
    __m512i high_sum = _mm512_setzero_si512();
    __m512i low_sum = _mm512_setzero_si512();
    for (size_t j = 0; j < dim; j += 16) {
        const __m512 lifted = _mm512_mul_ps(_mm512_loadu_ps(q + j), _mm512_set1_ps(lift));
        const __m512i x = _mm512_sll_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(lifted, factor)), shift);
        const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(x, _mm512_set1_epi32(128)), 8);
        const __m512i low = _mm512_sub_epi32(x, _mm512_slli_epi32(high, 8));
        _mm_storeu_si128((void *)(rounded->high + j), _mm512_cvtepi32_epi8(high));
        _mm_storeu_si128((void *)(rounded->low + j), _mm512_cvtepi32_epi8(low));
        high_sum = _mm512_add_epi32(high_sum, high);
        low_sum = _mm512_add_epi32(low_sum, low);
    }
    rounded->high_sum = _mm512_reduce_add_epi32(high_sum);
    rounded->low_sum = _mm512_reduce_add_epi32(low_sum);
}

/* A row of bytes, in the order of operands: field k of block r has dimensions 32 r + 8 j + k (4 j in a shared one). */
static void store_row(tq_prepared_query *p, size_t dim, size_t row, const int8_t *plane, int32_t sum)
{
    for (size_t o = 0; o < dim / 4; o++) {
        const size_t first = o / 8 * TQ_KEY_DIMS;
        const size_t step = first + TQ_KEY_DIMS <= dim ? 8 : 4;
        int8_t bytes[4];
        for (size_t j = 0; j < 4; j++) {
            bytes[j] = plane[first + step * j + o % 8];
        }
        memcpy(&p->dwords[o * p->n_rows + row], bytes, sizeof bytes);
    }
    p->start[row] = -128 * sum;
}

TQ_APART void prepare_query(const tq_code *code, const float *q, size_t i, range r, tq_prepared_query *p)
{
    const bool is_byte = code->bits == 8;
    const tq_levels levels = is_byte ? (tq_levels){NULL, p->tables.step, 0} : tq_integer_levels(code);
    rounded_query rounded;
    round_query(q, code->dim, r.largest, needs_two_planes(code, r), &rounded);
    p->factor[i] = r.largest / MOST * levels.step / (float)code->dim;
    p->bias[i] = p->factor[i] * levels.half * (float)(256 * rounded.high_sum + rounded.low_sum);
    store_row(p, code->dim, i * p->planes, rounded.high, rounded.high_sum);
    if (p->planes == 2) {
        /* The sum of low products of the 8-bit code has low levels times the high row as well. */
        store_row(p, code->dim, 2 * i + 1, rounded.low, rounded.low_sum + (is_byte ? rounded.high_sum : 0));
    }
}

void tq_page_query_avx512(const tq_code *code, const float *q, size_t n_q, void *prepared)
{
    tq_prepared_query *p = prepared;
    range ranges[TQ_PAGE_QUERIES];
    if (!tq_page_is_tiled(code, TQ_PAGE_KEYS)) {
        tq_page_query_scalar(code, q, n_q, prepared);
        return;
    }
    if (code->bits == 8) {
        make_byte_tables(code, 0x80, &p->tables);
    }
    p->planes = 1;
    for (size_t i = 0; i < n_q; i++) {
        ranges[i] = range_of(q + i * code->dim, code->dim);
        p->planes = needs_two_planes(code, ranges[i]) ? 2 : p->planes;
    }
    p->n_rows = n_q * p->planes;
    for (size_t i = 0; i < n_q; i++) {
        prepare_query(code, q + i * code->dim, i, ranges[i], p);
    }
}

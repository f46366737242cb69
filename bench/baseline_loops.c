/* SPDX-License-Identifier: MIT */
/* The inner loops of the baselines, compiled once per instruction set (bench/CMakeLists.txt gives each copy its flags).
 *
 * Encoding, decoding and the Hadamard transform are plain C that the compiler vectorises. The dot products are written
 * for AVX-512 with VNNI, for AVX2, and for anything else with vector extensions. All of them take four rows at a time
 * and reduce their partial sums together:
 *
 *     f16:   sum of q[j] * row[j] in f32
 *     q8_0:  the query is rounded to 8 bits in blocks of 32; per block, scale_q * scale_k * (integer dot product)
 *     q4_0:  the same; nibble j of a block's 16 bytes is element j, and element j + 16 in the high half; value - 8
 */
#include "baseline_loops.h"

#include "bandwidth.h"
#include "f16_attention.h"
#include "lanes.h"
#include "turboquant.h"

#if defined(__AVX512VNNI__)
#define NAME "AVX-512, f16 converted to f32, FMA"
#elif defined(__AVX2__)
#define NAME "AVX2, f16 converted to f32, FMA"
#else
#define NAME "portable C, f16 converted to f32"
#endif

enum { BLOCK = 32, Q8_0_BYTES = 2 + BLOCK, Q4_0_BYTES = 2 + BLOCK / 2 };

/* A query rounded to int8 in blocks of 32. */
struct block_query {
    int8_t codes[TQ_MAX_DIM];
    float scales[TQ_MAX_DIM / BLOCK];
    int32_t offsets[TQ_MAX_DIM / BLOCK][8]; /* -bias * (sum of four codes): what unsigned rows count too much */
};

#if defined(__AVX512VNNI__)
INLINE __m256i dot_unsigned(__m256i u, __m256i codes, __m256i start)
{
    return _mm256_dpbusd_epi32(start, u, codes);
}
#elif defined(__AVX2__)
/* Pairs of products must fit int16: |u| up to 128. */
INLINE __m256i dot_unsigned(__m256i u, __m256i codes, __m256i start)
{
    const __m256i pairs = _mm256_maddubs_epi16(u, codes);
    return _mm256_add_epi32(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)), start);
}
#endif

#if defined(__AVX2__)
INLINE __m256i load_block(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

INLINE __m256i q8_0_dot(const struct block_query *query, size_t block, const uint8_t *bytes)
{
    const __m256i codes = load_block(query->codes + block * BLOCK);
    const __m256i row = load_block(bytes);
#if defined(__AVX512VNNI__)
    return dot_unsigned(_mm256_xor_si256(row, _mm256_set1_epi8(-128)), codes, load_block(query->offsets[block]));
#else
    return dot_unsigned(_mm256_abs_epi8(row), _mm256_sign_epi8(codes, row), _mm256_setzero_si256());
#endif
}

INLINE __m256i q4_0_dot(const struct block_query *query, size_t block, const uint8_t *bytes)
{
    const __m256i codes = load_block(query->codes + block * BLOCK);
    const __m128i pairs = _mm_loadu_si128((const __m128i *)(const void *)bytes);
    const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(pairs), _mm_srli_epi16(pairs, 4), 1);
    const __m256i nibbles = _mm256_and_si256(both, _mm256_set1_epi8(15));
    return dot_unsigned(nibbles, codes, load_block(query->offsets[block]));
}

INLINE partial accumulate(partial sum, __m256i dot, float scale)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_set1_ps(scale), sum);
}

#else
INLINE int32_t q8_0_dot(const struct block_query *query, size_t block, const uint8_t *bytes)
{
    const int8_t *codes = query->codes + block * BLOCK;
    int32_t sum = 0;
    for (size_t j = 0; j < BLOCK; j++) {
        sum += codes[j] * (int8_t)bytes[j];
    }
    return sum;
}

INLINE int32_t q4_0_dot(const struct block_query *query, size_t block, const uint8_t *bytes)
{
    uint8_t values[BLOCK];
    for (size_t j = 0; j < BLOCK / 2; j++) {
        values[j] = (uint8_t)((bytes[j] & 15) - 8);
        values[j + BLOCK / 2] = (uint8_t)((bytes[j] >> 4) - 8);
    }
    return q8_0_dot(query, block, values);
}

INLINE partial accumulate(partial sum, int32_t dot, float scale)
{
    sum[0] += scale * (float)dot;
    return sum;
}
#endif

/* One row against a prepared query. */

INLINE partial f16_partial(const void *query, size_t dim, const uint8_t *row)
{
    const float *q = query;
    floats even = {0};
    floats odd = {0};
    size_t j = 0;
    for (; j + 2 * LANES <= dim; j += 2 * LANES) {
        even = multiply_add(load_halves(row + 2 * j), q + j, even);
        odd = multiply_add(load_halves(row + 2 * (j + LANES)), q + j + LANES, odd);
    }
    if (j < dim) { /* The last, incomplete step: zeros after the end. */
        uint8_t rest[4 * LANES] = {0};
        float q_rest[2 * LANES] = {0};
        memcpy(rest, row + 2 * j, 2 * (dim - j));
        memcpy(q_rest, q + j, (dim - j) * sizeof *q);
        even = multiply_add(load_halves(rest), q_rest, even);
        odd = multiply_add(load_halves(rest + 2 * LANES), q_rest + LANES, odd);
    }
    return fold(even, odd);
}

INLINE partial q8_0_partial(const void *query, size_t dim, const uint8_t *row)
{
    const struct block_query *q = query;
    partial sum = {0};
    for (size_t b = 0; b < dim / BLOCK; b++, row += Q8_0_BYTES) {
        sum = accumulate(sum, q8_0_dot(q, b, row + 2), q->scales[b] * load_half(row));
    }
    return sum;
}

INLINE partial q4_0_partial(const void *query, size_t dim, const uint8_t *row)
{
    const struct block_query *q = query;
    partial sum = {0};
    for (size_t b = 0; b < dim / BLOCK; b++, row += Q4_0_BYTES) {
        sum = accumulate(sum, q4_0_dot(q, b, row + 2), q->scales[b] * load_half(row));
    }
    return sum;
}

/* Four rows at a time; at the end, the last row stands in for the missing ones. */
INLINE void score_rows(partial (*row_partial)(const void *, size_t, const uint8_t *), const void *query, size_t dim,
                       size_t row_bytes, const uint8_t *rows, size_t n, float scale, float *scores)
{
    for (size_t i = 0; i < n; i += 4) {
        const size_t left = n - i;
        const uint8_t *row = rows + i * row_bytes;
        const partial a = row_partial(query, dim, row);
        const partial b = row_partial(query, dim, row + (left > 1 ? 1 : 0) * row_bytes);
        const partial c = row_partial(query, dim, row + (left > 2 ? 2 : 0) * row_bytes);
        const partial d = row_partial(query, dim, row + (left > 3 ? 3 : 0) * row_bytes);
        if (left >= 4) {
            store_sums(a, b, c, d, scale, scores + i);
        } else {
            float sums[4];
            store_sums(a, b, c, d, scale, sums);
            memcpy(scores + i, sums, left * sizeof *sums);
        }
    }
}

/* f16 */

static size_t f16_row_bytes(size_t dim)
{
    return 2 * dim;
}

static void f16_encode(const float *x, size_t dim, size_t n, uint8_t *rows)
{
    const size_t count = n * dim;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        store_halves(rows + 2 * i, x + i);
    }
    for (; i < count; i++) {
        tq_store_le16(rows + 2 * i, tq_f16_from_f32(x[i]));
    }
}

static void f16_decode(const uint8_t *rows, size_t dim, size_t n, float *x)
{
    const size_t count = n * dim;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        store_floats(x + i, load_halves(rows + 2 * i));
    }
    for (; i < count; i++) {
        x[i] = load_half(rows + 2 * i);
    }
}

static void f16_scores(const float *q, size_t dim, const uint8_t *rows, size_t n, float scale, float *scores)
{
    if (dim == 128) { /* The common case, with the inner loop unrolled. */
        score_rows(f16_partial, q, 128, f16_row_bytes(128), rows, n, scale, scores);
    } else {
        score_rows(f16_partial, q, dim, f16_row_bytes(dim), rows, n, scale, scores);
    }
}

/* Blocks of 32 */

/* The first element of largest magnitude, with its sign. On bit patterns, because a maximum of floats is not
 * associative to a compiler and would not be vectorised. */
INLINE float block_extreme(const float *x)
{
    uint32_t largest = 0;
    uint32_t first = BLOCK - 1;
    for (uint32_t j = 0; j < BLOCK; j++) {
        const uint32_t magnitude = tq_f32_bits(x[j]) & 0x7FFFFFFFU;
        largest = magnitude > largest ? magnitude : largest;
    }
    for (uint32_t j = 0; j < BLOCK; j++) {
        const uint32_t at = (tq_f32_bits(x[j]) & 0x7FFFFFFFU) == largest ? j : BLOCK - 1;
        first = at < first ? at : first;
    }
    return x[first];
}

/* codes = x / scale, rounded to nearest; returns the scale, absmax / 127. */
INLINE float round_block(const float *x, int8_t *codes)
{
    const float extreme = block_extreme(x);
    const float scale = (extreme < 0.0F ? -extreme : extreme) / 127.0F;
    const float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
    for (size_t j = 0; j < BLOCK; j++) { /* Adding 1.5 * 2^23 leaves the rounded integer in the low bits. */
        codes[j] = (int8_t)(uint8_t)tq_f32_bits(x[j] * inverse + 0x1.8p23F);
    }
    return scale;
}

static void round_query(const float *q, size_t dim, int32_t bias, struct block_query *query)
{
    for (size_t b = 0; b < dim / BLOCK; b++) {
        int8_t *codes = query->codes + b * BLOCK;
        query->scales[b] = round_block(q + b * BLOCK, codes);
        for (size_t j = 0; j < BLOCK / 4; j++) {
            query->offsets[b][j] = -bias * (codes[4 * j] + codes[4 * j + 1] + codes[4 * j + 2] + codes[4 * j + 3]);
        }
    }
}

static size_t q8_0_row_bytes(size_t dim)
{
    return dim / BLOCK * Q8_0_BYTES;
}

static void q8_0_encode(const float *x, size_t dim, size_t n, uint8_t *rows)
{
    for (size_t b = 0; b < n * dim / BLOCK; b++, x += BLOCK, rows += Q8_0_BYTES) {
        int8_t codes[BLOCK];
        tq_store_le16(rows, tq_f16_from_f32(round_block(x, codes)));
        memcpy(rows + 2, codes, sizeof codes);
    }
}

static void q8_0_decode(const uint8_t *rows, size_t dim, size_t n, float *x)
{
    for (size_t b = 0; b < n * dim / BLOCK; b++, x += BLOCK, rows += Q8_0_BYTES) {
        const float scale = load_half(rows);
        for (size_t j = 0; j < BLOCK; j++) {
            x[j] = scale * (float)(int8_t)rows[2 + j];
        }
    }
}

static void q8_0_scores(const float *q, size_t dim, const uint8_t *rows, size_t n, float scale, float *scores)
{
    struct block_query query;
    round_query(q, dim, 128, &query);
    if (dim == 128) {
        score_rows(q8_0_partial, &query, 128, q8_0_row_bytes(128), rows, n, scale, scores);
    } else {
        score_rows(q8_0_partial, &query, dim, q8_0_row_bytes(dim), rows, n, scale, scores);
    }
}

static size_t q4_0_row_bytes(size_t dim)
{
    return dim / BLOCK * Q4_0_BYTES;
}

static void q4_0_encode(const float *x, size_t dim, size_t n, uint8_t *rows)
{
    for (size_t b = 0; b < n * dim / BLOCK; b++, x += BLOCK, rows += Q4_0_BYTES) {
        const float scale = block_extreme(x) / -8.0F;
        const float inverse = scale < 0.0F || scale > 0.0F ? 1.0F / scale : 0.0F;
        uint8_t codes[BLOCK];
        for (size_t j = 0; j < BLOCK; j++) {
            const int32_t code = (int32_t)(x[j] * inverse + 8.5F);
            codes[j] = (uint8_t)(code > 15 ? 15 : code);
        }
        tq_store_le16(rows, tq_f16_from_f32(scale));
        for (size_t j = 0; j < BLOCK / 2; j++) {
            rows[2 + j] = (uint8_t)(codes[j] | codes[j + BLOCK / 2] << 4);
        }
    }
}

static void q4_0_decode(const uint8_t *rows, size_t dim, size_t n, float *x)
{
    for (size_t b = 0; b < n * dim / BLOCK; b++, x += BLOCK, rows += Q4_0_BYTES) {
        const float scale = load_half(rows);
        for (size_t j = 0; j < BLOCK / 2; j++) {
            x[j] = scale * (float)((rows[2 + j] & 15) - 8);
            x[j + BLOCK / 2] = scale * (float)((rows[2 + j] >> 4) - 8);
        }
    }
}

static void q4_0_scores(const float *q, size_t dim, const uint8_t *rows, size_t n, float scale, float *scores)
{
    struct block_query query;
    round_query(q, dim, 8, &query);
    if (dim == 128) {
        score_rows(q4_0_partial, &query, 128, q4_0_row_bytes(128), rows, n, scale, scores);
    } else {
        score_rows(q4_0_partial, &query, dim, q4_0_row_bytes(dim), rows, n, scale, scores);
    }
}

/* Around the rows */

/* One butterfly stage: pair i is (x[i], x[i + dim / 2]) and goes to (out[2 i], out[2 i + 1]). Every stage has the same
 * shape, and the order is natural again after log2(dim) of them. */
INLINE void butterfly(const float *restrict x, size_t dim, float factor, float *restrict out)
{
    for (size_t i = 0; i < dim / 2; i++) {
        out[2 * i] = factor * (x[i] + x[i + dim / 2]);
        out[2 * i + 1] = factor * (x[i] - x[i + dim / 2]);
    }
}

static void hadamard(float *x, size_t dim)
{
    float other[TQ_MAX_DIM];
    float *from = x;
    float *to = other;
    for (size_t stage = 1; stage < dim; stage *= 2) {
        butterfly(from, dim, 0.70710678F, to);
        float *const swap = from;
        from = to;
        to = swap;
    }
    if (from != x) {
        memcpy(x, from, dim * sizeof *x);
    }
}

static void add_scaled(float weight, const float *x, size_t dim, float *out)
{
    for (size_t i = 0; i < dim; i++) {
        out[i] += weight * x[i];
    }
}

const struct baseline_loops FOR_THIS_SET(baseline_loops) = {
    .name = NAME,
    .f16 = {f16_row_bytes, f16_encode, f16_decode, f16_scores},
    .q8_0 = {q8_0_row_bytes, q8_0_encode, q8_0_decode, q8_0_scores},
    .q4_0 = {q4_0_row_bytes, q4_0_encode, q4_0_decode, q4_0_scores},
    .hadamard = hadamard,
    .add_scaled = add_scaled,
    .f16_attend = FOR_THIS_SET(f16_attend),
    .read = FOR_THIS_SET(bandwidth_read),
};

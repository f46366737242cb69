/* SPDX-License-Identifier: MIT */
/* Attention on f16, compiled once per instruction set (bench/CMakeLists.txt).
 *
 *     for each chunk of keys:
 *         s[i][h] = scale * <q[h], k[i]>                              every key converted once for all heads
 *         m[h] grows to the largest s; what was added up before shrinks by exp(m_old - m)
 *         s[i][h] = exp(s[i][h] - m[h])
 *         out[h] += sum of s[i][h] * v[i]                             sums in registers over the chunk
 *     out[h] /= sum of weights
 *
 * Query heads are taken 8, 4, 2 or 1 at a time: a tile. Heads of a key lie side by side in s, so that four sums can
 * always be reduced together and stored at once, and one key's weights are read from one place. While the keys of a
 * chunk are read its values are prefetched, and while its values are read the next chunk's keys. If there are many
 * heads, as those of many query tokens, a stripe of keys and values that stays in the second-level cache is read by all
 * tiles before the next one. */
#include "f16_attention.h"

#include "lanes.h"
#include "turboquant.h"

#include <math.h>

enum {
    CHUNK = 32,         /* Keys. */
    STRIPE = 8 * CHUNK, /* Keys. */
    MOST_HEADS = 8,     /* Of a tile. */
    STRIPE_HEADS = 256, /* That read a stripe. Their queries and sums share the cache with it. */
    MOST_TILES = STRIPE_HEADS / MOST_HEADS + 3, /* All of eight, or one of 4, 2 and 1 in the end. */
    PERIOD = 16, /* Scores are softened in runs of this many; a multiple of every number of heads. */
    LINE = 64,
#if defined(__AVX512VNNI__)
    SUMS = 16 /* Vectors that are added up at the same time, about half the registers. */
#else
    SUMS = 8
#endif
};

/* The softmax so far. Score number i of a chunk belongs to head i % heads; entry j of these arrays is that of head
 * j % heads. */
struct softmax {
    float largest[PERIOD];
    float weight[PERIOD]; /* Sums of different keys: those of one head are added in the end. */
    float factor[PERIOD]; /* By which the last chunk shrank what was added up before it. */
};

/* sums[i] = scale * (the sum of the lanes of partial[i]), i < SUMS. */
#if defined(__AVX512VNNI__)
INLINE floats merge_pairs(floats a, floats b)
{
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
}

/* Of four vectors: in each quarter, one partial sum of each. */
INLINE floats merge_four(const floats *x)
{
    const __m512d low = _mm512_castps_pd(merge_pairs(x[0], x[1]));
    const __m512d high = _mm512_castps_pd(merge_pairs(x[2], x[3]));
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)),
                         _mm512_castpd_ps(_mm512_unpackhi_pd(low, high)));
}

INLINE floats merge_quarters(floats a, floats b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
}

INLINE void reduce(const floats *partial_sums, float scale, float *sums)
{
    const floats a = merge_quarters(merge_four(partial_sums), merge_four(partial_sums + 4));
    const floats b = merge_quarters(merge_four(partial_sums + 8), merge_four(partial_sums + 12));
    store_floats(sums, _mm512_mul_ps(merge_quarters(a, b), _mm512_set1_ps(scale)));
}
#else
INLINE void reduce(const floats *partial_sums, float scale, float *sums)
{
    for (size_t i = 0; i < SUMS; i += 4) {
        const floats *x = partial_sums + i;
        store_sums(x[0], x[1], x[2], x[3], scale, sums + i);
    }
}
#endif

/* scores[i][h] of keys first..first + SUMS / heads - 1; beyond the last key, the last one again. Prefetches their
 * values. */
INLINE void score_keys(const float *q, size_t heads, size_t dim, const uint8_t *k, const uint8_t *v, size_t first,
                       size_t n, float scale, float *scores)
{
    const size_t keys = SUMS / heads;
    floats sums[SUMS] = {0};
    size_t rows[SUMS]; /* Where keys and values lie. */
    for (size_t i = 0; i < keys; i++) {
        rows[i] = (first + i < n ? first + i : n - 1) * 2 * dim;
    }
#pragma GCC unroll 4
    for (size_t j = 0; j < dim; j += LANES) {
        for (size_t i = 0; i < keys; i++) {
            const floats key = load_halves(k + rows[i] + 2 * j);
            if (2 * j % LINE == 0) {
                __builtin_prefetch(v + rows[i] + 2 * j);
            }
            for (size_t h = 0; h < heads; h++) {
                sums[i * heads + h] = multiply_add(key, q + h * dim + j, sums[i * heads + h]);
            }
        }
    }
    reduce(sums, scale, scores + first * heads);
}

/* exp(x) for x <= 0, to 1e-5 of its size; below exp(-87) it stays there. */
INLINE float exp_of_negative(float x)
{
    const float bounded = x > -87.0F ? x : -87.0F;
    const float power = bounded * 1.44269504F;
    const float magic = power + 0x1.8p23F; /* Rounded to an integer, in the low bits. */
    const float rest = power - (magic - 0x1.8p23F);
    /* 2^rest on [-1/2, 1/2] */
    float result = 1.5403530e-4F;
    result = result * rest + 1.3333558e-3F;
    result = result * rest + 9.6181291e-3F;
    result = result * rest + 5.5504109e-2F;
    result = result * rest + 2.4022651e-1F;
    result = result * rest + 6.9314718e-1F;
    result = result * rest + 1.0F;
    return tq_f32_from_bits(tq_f32_bits(result) + (tq_f32_bits(magic) << 23));
}

/* Makes weights of a chunk's scores. */
INLINE void soften(struct softmax *softmax, size_t heads, size_t n, float *scores)
{
    const size_t end = (n * heads + PERIOD - 1) / PERIOD * PERIOD;
    float tops[PERIOD];
    float largest[PERIOD];
    for (size_t i = n * heads; i < end; i++) {
        scores[i] = -INFINITY;
    }
    memcpy(tops, softmax->largest, sizeof tops);
    for (size_t i = 0; i < end; i += PERIOD) {
        for (size_t j = 0; j < PERIOD; j++) {
            tops[j] = scores[i + j] > tops[j] ? scores[i + j] : tops[j];
        }
    }
    for (size_t j = 0; j < PERIOD; j++) {
        largest[j] = tops[j];
        for (size_t other = j % heads; other < PERIOD; other += heads) {
            largest[j] = tops[other] > largest[j] ? tops[other] : largest[j];
        }
    }
    for (size_t j = 0; j < PERIOD; j++) {
        softmax->factor[j] = exp_of_negative(softmax->largest[j] - largest[j]);
        softmax->weight[j] *= softmax->factor[j];
        softmax->largest[j] = largest[j];
    }
    for (size_t i = 0; i < end; i += PERIOD) {
        for (size_t j = 0; j < PERIOD; j++) {
            scores[i + j] = exp_of_negative(scores[i + j] - largest[j]);
            softmax->weight[j] += scores[i + j];
        }
    }
}

/* `vectors` vectors of coordinates, from `j` on, of all heads' sums. Prefetches the same ones of n rows `ahead`. */
INLINE void sum_columns(const float *weights, const float *factor, size_t heads, size_t dim, const uint8_t *v, size_t n,
                        size_t j, size_t vectors, const uint8_t *ahead, float *out)
{
    floats sums[SUMS];
    for (size_t h = 0; h < heads; h++) {
        for (size_t c = 0; c < vectors; c++) {
            const floats zero = {0};
            sums[h * vectors + c] = add_scaled_lanes(zero, factor[h], load_floats(out + h * dim + j + c * LANES));
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t byte = 0; byte < 2 * vectors * LANES; byte += LINE) {
            __builtin_prefetch(ahead + i * 2 * dim + 2 * j + byte);
        }
        for (size_t c = 0; c < vectors; c++) {
            const floats value = load_halves(v + i * 2 * dim + 2 * (j + c * LANES));
            for (size_t h = 0; h < heads; h++) {
                sums[h * vectors + c] = add_scaled_lanes(sums[h * vectors + c], weights[i * heads + h], value);
            }
        }
    }
    for (size_t h = 0; h < heads; h++) {
        for (size_t c = 0; c < vectors; c++) {
            store_floats(out + h * dim + j + c * LANES, sums[h * vectors + c]);
        }
    }
}

INLINE void sum_values(const float *weights, const float *factor, size_t heads, size_t dim, const uint8_t *v, size_t n,
                       const uint8_t *ahead, float *out)
{
    const size_t vectors = SUMS / heads;
    size_t j = 0;
    for (; j + vectors * LANES <= dim; j += vectors * LANES) {
        sum_columns(weights, factor, heads, dim, v, n, j, vectors, ahead, out);
    }
    for (; j < dim; j += LANES) {
        sum_columns(weights, factor, heads, dim, v, n, j, 1, ahead, out);
    }
}

/* A tile and the keys from `first` to `end` of n. */
INLINE void attend_tile(const float *q, size_t heads, size_t dim, const uint8_t *k, const uint8_t *v, size_t first,
                        size_t end, size_t n, float scale, struct softmax *softmax, float *out)
{
    float scores[CHUNK * MOST_HEADS];
    for (; first < end; first += CHUNK) {
        const size_t count = n - first < CHUNK ? n - first : CHUNK;
        const uint8_t *keys = k + first * 2 * dim;
        const uint8_t *values = v + first * 2 * dim;
        for (size_t i = 0; i < count; i += SUMS / heads) {
            score_keys(q, heads, dim, keys, values, i, count, scale, scores);
        }
        soften(softmax, heads, count, scores);
        const size_t next = first + CHUNK < n - count ? first + CHUNK : n - count;
        sum_values(scores, softmax->factor, heads, dim, values, count, k + next * 2 * dim, out);
    }
}

/* With constants for the usual dimension, loops over coordinates are unrolled. */
#define ATTEND_TILE(heads)                                                                                             \
    static void attend_##heads(const float *q, size_t dim, const uint8_t *k, const uint8_t *v, size_t first,           \
                               size_t end, size_t n, float scale, struct softmax *softmax, float *out)                 \
    {                                                                                                                  \
        if (dim == 128) {                                                                                              \
            attend_tile(q, heads, 128, k, v, first, end, n, scale, softmax, out);                                      \
        } else {                                                                                                       \
            attend_tile(q, heads, dim, k, v, first, end, n, scale, softmax, out);                                      \
        }                                                                                                              \
    }
ATTEND_TILE(8)
ATTEND_TILE(4)
ATTEND_TILE(2)
ATTEND_TILE(1)

/* Of the next tile, if so many heads are left. */
static size_t heads_of_tile(size_t left)
{
    return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* All tiles and a stripe. */
static void attend_stripe(const float *q, size_t heads, size_t dim, const uint8_t *k, const uint8_t *v, size_t first,
                          size_t end, size_t n, float scale, struct softmax *softmax, float *out)
{
    for (size_t h = 0; h < heads; h += heads_of_tile(heads - h), softmax++) {
        switch (heads_of_tile(heads - h)) {
        case 8:
            attend_8(q + h * dim, dim, k, v, first, end, n, scale, softmax, out + h * dim);
            break;
        case 4:
            attend_4(q + h * dim, dim, k, v, first, end, n, scale, softmax, out + h * dim);
            break;
        case 2:
            attend_2(q + h * dim, dim, k, v, first, end, n, scale, softmax, out + h * dim);
            break;
        default:
            attend_1(q + h * dim, dim, k, v, first, end, n, scale, softmax, out + h * dim);
            break;
        }
    }
}

static void divide_by_weights(const struct softmax *softmax, size_t heads, size_t dim, float *out)
{
    for (size_t first = 0; first < heads; first += heads_of_tile(heads - first), softmax++) {
        const size_t tile = heads_of_tile(heads - first);
        for (size_t h = 0; h < tile; h++) {
            float weight = 0;
            for (size_t j = h; j < PERIOD; j += tile) {
                weight += softmax->weight[j];
            }
            for (size_t j = 0; j < dim; j++) {
                out[(first + h) * dim + j] /= weight;
            }
        }
    }
}

/* heads <= STRIPE_HEADS */
static void attend_heads(const float *q, size_t heads, size_t dim, const uint8_t *k, const uint8_t *v, size_t n,
                         float scale, float *out)
{
    struct softmax softmax[MOST_TILES];
    memset(softmax, 0, sizeof softmax);
    for (size_t i = 0; i < MOST_TILES; i++) {
        for (size_t j = 0; j < PERIOD; j++) {
            softmax[i].largest[j] = -INFINITY;
        }
    }
    memset(out, 0, heads * dim * sizeof *out);
    for (size_t first = 0; first < n; first += STRIPE) {
        attend_stripe(q, heads, dim, k, v, first, n - first < STRIPE ? n : first + STRIPE, n, scale, softmax, out);
    }
    divide_by_weights(softmax, heads, dim, out);
}

void FOR_THIS_SET(f16_attend)(const float *q, size_t heads, size_t dim, const uint8_t *k, const uint8_t *v, size_t n,
                              float scale, float *out)
{
    for (size_t h = 0; h < heads; h += STRIPE_HEADS) {
        const size_t count = heads - h < STRIPE_HEADS ? heads - h : STRIPE_HEADS;
        attend_heads(q + h * dim, count, dim, k, v, n, scale, out + h * dim);
    }
}

/* SPDX-License-Identifier: MIT */
/* The yardstick of tq_bench attend: attention on keys and values in f16, as fast as we can write it. */
#ifndef TQ_BENCH_F16_ATTENTION_H
#define TQ_BENCH_F16_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

enum { F16_ATTENTION_STEP = 16 }; /* `dim` is a multiple of this. */

/* out[h] = sum over i < n of softmax(scale * <q[h], k[i]>) * v[i] for all query heads that read the same keys and
 * values: those of a group, of one query token or of many. q, out: [heads][dim]; k, v: [n][dim] in f16; n > 0. One copy
 * per instruction set. */
void f16_attend_portable(const float *q, size_t heads, size_t dim, const uint8_t *k, const uint8_t *v, size_t n,
                         float scale, float *out);
void f16_attend_avx2(const float *q, size_t heads, size_t dim, const uint8_t *k, const uint8_t *v, size_t n,
                     float scale, float *out);
void f16_attend_avx512(const float *q, size_t heads, size_t dim, const uint8_t *k, const uint8_t *v, size_t n,
                       float scale, float *out);

#endif /* TQ_BENCH_F16_ATTENTION_H */

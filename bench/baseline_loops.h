/* SPDX-License-Identifier: MIT */
/* The inner loops of the baselines. baseline_loops.c is compiled once for every instruction set worth telling apart;
 * each copy gives one of these tables. */
#ifndef TQ_BENCH_BASELINE_LOOPS_H
#define TQ_BENCH_BASELINE_LOOPS_H

#include <stddef.h>
#include <stdint.h>

/* One row format. Rows follow each other without gaps; `dim` is a multiple of 32 for the block formats. */
struct row_loops {
    size_t (*row_bytes)(size_t dim);
    void (*encode)(const float *x, size_t dim, size_t n, uint8_t *rows);
    void (*decode)(const uint8_t *rows, size_t dim, size_t n, float *x);
    /* scores[i] = scale * <q, row i> */
    void (*scores)(const float *q, size_t dim, const uint8_t *rows, size_t n, float scale, float *scores);
};

struct baseline_loops {
    const char *name; /* For people: instruction set and method of the f16 dot product. */
    struct row_loops f16;
    struct row_loops q8_0;
    struct row_loops q4_0;
    /* In place: the orthonormal Walsh-Hadamard transform of one vector; dim is a power of two. */
    void (*hadamard)(float *x, size_t dim);
    /* out += weight * x */
    void (*add_scaled)(float weight, const float *x, size_t dim, float *out);
    /* f16_attention.h */
    void (*f16_attend)(const float *q, size_t heads, size_t dim, const uint8_t *k, const uint8_t *v, size_t n,
                       float scale, float *out);
    /* bandwidth.h */
    uint64_t (*read)(const void *memory, size_t bytes);
};

extern const struct baseline_loops baseline_loops_portable;
extern const struct baseline_loops baseline_loops_avx2;
extern const struct baseline_loops baseline_loops_avx512;

#endif /* TQ_BENCH_BASELINE_LOOPS_H */

/* SPDX-License-Identifier: MIT
 *
 * What the launchers take: plain C structs of device pointers. A launcher allocates nothing, waits for nothing and
 * reads nothing that lies on the device, so its launches can be captured in a CUDA graph: lengths and tables are read
 * by the kernels. Every launcher returns a cudaError_t as int, or TQ_CUDA_NO_KERNEL if instances.def lacks the shape.
 */
#ifndef TQ_ARGS_CUDA_H
#define TQ_ARGS_CUDA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TQ_CUDA_NO_KERNEL = -1 };

/* As tq_dtype. */
enum { TQ_CUDA_F32 = 0, TQ_CUDA_F16 = 1, TQ_CUDA_BF16 = 2 };

/* A Hadamard rotation on the device: [dim] signs of +-1, and Paley's matrix [m, m] or null if m is 1. */
typedef struct tq_cuda_rotation {
    const float *signs;
    const float *paley;
} tq_cuda_rotation;

/* See lookup_cuda.h. */
typedef struct tq_cuda_table {
    uint32_t t[2][4];
    float step;
} tq_cuda_table;

/* Attention of the newest n_q_tokens tokens of each of n_seqs sequences over one layer. Tokens [0, n_encoded) of a
 * sequence are seen encoded, except its sinks, the others exact, with
 *
 *     n_encoded = max(64 * (floor((n_tokens - 1) / 64) - window_pages), encoded_at_least)
 *
 * which is the cache's rule for queries in the page of the newest token. */
typedef struct tq_cuda_attend_args {
    int n_seqs, n_kv_heads, group, n_q_tokens, dim; /* group: query heads of a KV head. */
    int k_format, v_format, k_mean, v_mean;
    int window_pages, sink_tokens, sliding_window; /* sliding_window: 0 is none. */
    float scale, soft_cap;                         /* soft_cap: 0 is none. */

    const int32_t *n_tokens;         /* [n_seqs], the new tokens counted. */
    const int32_t *encoded_at_least; /* [n_seqs], or null: what a deep cut left encoded. */

    const uint8_t *pages; /* Page p, head h: record at p * n_kv_heads + h. */
    const int32_t *page_table;
    int64_t page_table_stride; /* Between sequences. */

    const void *exact;          /* f16. Page p, head h: keys [64, dim], values [64, dim]. */
    const int32_t *exact_table; /* Page i of a sequence is exact_table[i % exact_slots]. */
    int64_t exact_table_stride;
    int exact_slots;
    const void *sinks; /* f16. Sequence s, head h: keys [sink_tokens, dim], values. Null if there are none. */

    tq_cuda_rotation k_rotation, v_rotation;
    tq_cuda_table k_table, v_table;

    const void *q; /* [n_seqs * n_q_tokens, heads, dim] by these strides, in elements. */
    int q_dtype;
    int64_t q_token_stride, q_head_stride;
    float *out;
    int64_t out_token_stride, out_head_stride;
    float *lse;               /* [n_seqs * n_q_tokens, heads], or null. */
    const float *sink_logits; /* [heads], or null. */

    float *partials; /* tq_cuda_partial_floats() of them. */
    int n_splits;    /* Of the encoded tokens of a sequence, as tq_cuda_plan_splits() says. */
    int exact_splits;
    int only_loads; /* For benchmarks: fetch the pages and do nothing with them. */
    void *stream;
} tq_cuda_attend_args;

/* How many splits fill the device: n_tokens is what the longest sequence may have, n_sms its multiprocessors. */
int tq_cuda_plan_splits(const tq_cuda_attend_args *args, int64_t n_tokens, int n_sms);
int64_t tq_cuda_partial_floats(const tq_cuda_attend_args *args);
int tq_cuda_attend(const tq_cuda_attend_args *args);

/* Rows of docs/format.md to records, and back. Record i takes keys 64 i .. 64 i + 63 of k_rows, and values; means are
 * [n_records, dim] f16, or null. */
typedef struct tq_cuda_pages_args {
    int n_records, dim, k_format, v_format;
    uint8_t *k_rows, *v_rows;
    uint16_t *k_means, *v_means;
    uint8_t *pages;
    const int32_t *record_of; /* [n_records] where record i lies, in records; null: at i. */
    void *stream;
} tq_cuda_pages_args;

int tq_cuda_rows_to_pages(const tq_cuda_pages_args *args);
int tq_cuda_pages_to_rows(const tq_cuda_pages_args *args);

/* Vectors to rows, as tq_encode does. Levels and thresholds as in tq_code, gains too. */
typedef struct tq_cuda_encode_args {
    int64_t n;
    int dim, format, dtype, scale_mode, n_gains;
    const void *x; /* [n, dim] dense. */
    uint8_t *rows;
    tq_cuda_rotation rotation;
    const float *centroids, *thresholds;
    float gains[9];
    float step; /* Of a trellis code, with k and target. */
    int8_t k[32];
    int16_t target[32];
    void *stream;
} tq_cuda_encode_args;

int tq_cuda_encode(const tq_cuda_encode_args *args);

#ifdef __cplusplus
}
#endif

#endif /* TQ_ARGS_CUDA_H */

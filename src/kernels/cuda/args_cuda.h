/* SPDX-License-Identifier: MIT
 *
 * What the kernels take: plain C structs, passed by value. Pages are given by their addresses, so they may lie anywhere
 * on the device. */
#ifndef TQ_ARGS_CUDA_H
#define TQ_ARGS_CUDA_H

#include <stdint.h>

/* Sequences of one launch, and pages: args must stay below 4 KB. */
enum { TQ_CUDA_SEQS = 64, TQ_CUDA_PAGES = 96, TQ_CUDA_CODES = 8 /* Formats with codes. */ };

/* As tq_dtype. */
enum { TQ_CUDA_F32 = 0, TQ_CUDA_F16 = 1, TQ_CUDA_BF16 = 2 };

/* A Hadamard rotation on the device: [dim] signs of +-1, and Paley's matrix [m, m] or null if m is 1. */
typedef struct tq_cuda_rotation {
    const float *signs;
    const float *paley;
} tq_cuda_rotation;

/* Tables of prmt, see lookup_cuda.h. t[1] is for chunks 2 and 3 of formats whose selectors have another order there,
 * and for the second plane of others. */
typedef struct tq_cuda_table {
    uint32_t t[2][4];
    float step;
} tq_cuda_table;

/* What is known of a page: its encoded block, [heads] records, and in which formats; its exact one, [heads][keys [64,
 * dim_k], values [64, dim_v]] f16. */
typedef struct tq_cuda_entry {
    const uint8_t *records;
    const void *exact;
    int32_t k_format, v_format;
} tq_cuda_entry;

/* Writes entries of tables. */
typedef struct tq_cuda_patch_args {
    int n;
    struct {
        tq_cuda_entry *at;
        tq_cuda_entry entry;
    } patches[TQ_CUDA_PAGES];
} tq_cuda_patch_args;

/* --- attention -----------------------------------------------------------------------------------------------------
 */

/* A sequence as it is attended to: tokens [0, n_encoded) are read from records, except its sinks, the others exact. */
typedef struct tq_cuda_view {
    const tq_cuda_entry *table; /* One entry for each page. */
    const void *sinks;          /* f16, as exact blocks have them, but sink_tokens of them; null if there are none. */
    int32_t n_tokens;
    int32_t n_encoded;
} tq_cuda_view;

/* Attention of the newest n_q_tokens tokens of each of n_seqs sequences over one layer. */
typedef struct tq_cuda_attend_args {
    int n_seqs, n_kv_heads, group, n_q_tokens, dim_v; /* group: query heads of a KV head. */
    int k_mean, v_mean;
    int sink_tokens, sliding_window; /* sliding_window: 0 is none. */
    float scale, soft_cap;           /* soft_cap: 0 is none. */
    int n_splits;                    /* Of the encoded tokens of a sequence. */
    int exact_splits;
    int only_loads; /* For benchmarks: fetch the pages and do nothing with them. */
    int q_dtype;
    int q_rotated, out_rotated; /* Not zero: by the orthogonal R. */
    tq_cuda_rotation k_rotation, v_rotation;
    tq_cuda_table k_table, v_table;
    const void *q; /* [n_seqs * n_q_tokens, heads, dim] by these strides, in elements. */
    int64_t q_token_stride, q_head_stride;
    float *out;
    int64_t out_token_stride, out_head_stride;
    float *lse;               /* [n_seqs * n_q_tokens, heads], or null. */
    const float *sink_logits; /* [heads], or null. */
    float *partials; /* For each query and split, exact ones first: dim_v sums, and a weight with its exponent. */
    /* Where the following lie decides whether the kernels of forms spill registers. */
    int all_exact; /* Of what the merge finds: there are exact splits alone. */
    int dim_k;
    const float *levels[2][TQ_CUDA_CODES]; /* Of keys and values, by tq_cuda_code_index. */
    tq_cuda_view views[TQ_CUDA_SEQS];
} tq_cuda_attend_args;

/* Puts together what some launches made of parts of the tokens: [n_parts] outputs [n_rows, dim] and log-sum-exps
 * [n_rows], where a row is (token, head). A part in which a row sees nothing has -infinity, and any output. */
typedef struct tq_cuda_combine_args {
    int n_parts, n_rows, n_heads, dim;
    const float *parts, *part_lse;
    float *out;
    int64_t token_stride, head_stride;
    float *lse; /* Or null. */
} tq_cuda_combine_args;

/* --- storing -------------------------------------------------------------------------------------------------------
 */

/* New tokens of some sequences, n_tokens each, to their exact blocks. */
typedef struct tq_cuda_store_args {
    int n_seqs, n_kv_heads, n_tokens, dim_k, dim_v, dtype, sink_tokens;
    const void *k, *v; /* [n_seqs * n_tokens, heads, dim] by these strides, in elements. */
    int64_t k_token_stride, k_head_stride, v_token_stride, v_head_stride;
    struct {
        void *exact;
        void *sinks;   /* Null, or where tokens below sink_tokens are kept, too. */
        int32_t first; /* Where in the page. */
        int32_t from;  /* Token of k and v. */
    } seqs[TQ_CUDA_SEQS];
} tq_cuda_store_args;

/* How one side is encoded: levels, thresholds and gains as in tq_code. */
typedef struct tq_cuda_code {
    int scale_mode, n_gains;
    const float *centroids, *thresholds;
    const float *levels; /* What codes stand for: centroids, or all levels of a trellis code. */
    float gains[9];
    float step; /* Of a trellis code, with k and target. */
    int8_t k[32];
    int16_t target[32];
    tq_cuda_rotation rotation;
} tq_cuda_code;

/* Vectors to rows, as tq_encode does. */
typedef struct tq_cuda_encode_args {
    int64_t n;
    int dtype;
    const void *x; /* [n, dim] dense. */
    uint8_t *rows;
    tq_cuda_code code;
} tq_cuda_encode_args;

/* Where one side lies in a record: words and scales are relative to a stage, the mean to the record. */
typedef struct tq_cuda_side_place {
    int words, scales, mean; /* mean: -1 if there is none. */
    int stage_bytes;         /* Of the first stage. */
    int record_bytes;
    int values; /* 1: values, 0: keys. */
} tq_cuda_side_place;

/* One side of pages to their records: tokens [first, 64), and the mean if first is 0. The tokens come from exact
 * blocks, or from a caller's arrays, and are rounded to f16. */
typedef struct tq_cuda_pages_args {
    int n_pages, n_kv_heads, dim_k, dim_v, dtype;
    tq_cuda_side_place place;
    tq_cuda_code code;
    int64_t token_stride, head_stride; /* In elements. */
    struct {
        const void *x; /* Token 0 of the page, head 0. */
        uint8_t *records;
        int32_t first;
        int32_t n_sinks; /* Keep tokens [first, n_sinks) in `sinks`. */
        void *sinks;
    } pages[TQ_CUDA_SEQS];
} tq_cuda_pages_args;

/* Tokens [first, first + n) of one side of a sequence, as vectors; what is encoded and what is exact as in
 * tq_cuda_view.
 */
typedef struct tq_cuda_decode_args {
    int first, n, n_encoded, dim_k, dim_v, sink_tokens, dtype;
    tq_cuda_side_place place;
    tq_cuda_code code;
    const tq_cuda_entry *table;
    const void *sinks;
    void *out; /* [n, heads, dim] by these strides, in elements. */
    int64_t token_stride, head_stride;
} tq_cuda_decode_args;

/* One side of records to rows of docs/format.md or back; means are [n_records, dim] f16, or null. Record i has the rows
 * 64 i .. 64 i + 63 and lies at records + at[i] * record_bytes, at i if `at` is null. */
typedef struct tq_cuda_rows_args {
    int format, dim;
    tq_cuda_side_place place;
    uint8_t *rows;
    uint16_t *means;
    uint8_t *records;
    const int32_t *at;
} tq_cuda_rows_args;

#endif /* TQ_ARGS_CUDA_H */

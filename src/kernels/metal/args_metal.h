/* SPDX-License-Identifier: MIT
 *
 * What the host and the kernels must agree on: names, places of arguments, sizes of threadgroups, structs. Compiled as
 * C on the host and as Metal Shading Language in every kernel; docs/metal.md says how they meet.
 *
 * A kernel is specialised by function constants (dimension and formats), and takes a small struct by value, tables and
 * buffers by index. Its threads number what the enumerators below say, whatever the arguments. */
#ifndef TQ_ARGS_METAL_H
#define TQ_ARGS_METAL_H

#include "kernels/metal/layout_metal.h"

/* X(name): kernel tq_<name> in <name>.metal. */
#define TQ_METAL_KERNELS(X)                                                                                            \
    X(encode)                                                                                                          \
    X(trellis_encode)                                                                                                  \
    X(decode)                                                                                                          \
    X(rotate)                                                                                                          \
    X(scores)                                                                                                          \
    X(append)                                                                                                          \
    X(attend)                                                                                                          \
    X(merge)

enum tq_metal_kernel {
#define X(name) tq_metal_##name##_kernel,
    TQ_METAL_KERNELS(X)
#undef X
        TQ_METAL_KERNEL_COUNT
};

/* Function constants: all int. */
enum { TQ_CONSTANT_DIM, TQ_CONSTANT_FORMAT, TQ_CONSTANT_V_FORMAT, TQ_METAL_CONSTANTS };

/* Buffers. The struct of arguments is always the first. */
enum { TQ_AT_ARGS };
enum { TQ_ENCODE_CODE = 1, TQ_ENCODE_X, TQ_ENCODE_PAGES, TQ_ENCODE_ROWS };
enum { TQ_DECODE_CODE = 1, TQ_DECODE_ROWS, TQ_DECODE_X };
enum { TQ_ROTATE_CODE = 1, TQ_ROTATE_X, TQ_ROTATE_Y };
enum { TQ_SCORES_CODE = 1, TQ_SCORES_Q, TQ_SCORES_ROWS, TQ_SCORES_SCORES };
enum { TQ_APPEND_K_ROWS = 1, TQ_APPEND_V_ROWS, TQ_APPEND_PAGES };
enum { TQ_ATTEND_K_CODE = 1, TQ_ATTEND_V_CODE, TQ_ATTEND_VIEWS, TQ_ATTEND_Q, TQ_ATTEND_ROTATED, TQ_ATTEND_PARTIALS };
enum { TQ_MERGE_CODE = 1, TQ_MERGE_PARTIALS, TQ_MERGE_SINK_LOGITS, TQ_MERGE_OUT, TQ_MERGE_LSE };
enum { TQ_METAL_BUFFERS = 7 }; /* Of a kernel, at most. */

/* Threads. Sixteen take a vector where the order of sums is prescribed (vector_metal.h). */
enum {
    TQ_METAL_SIMD = 32,
    TQ_METAL_VECTORS = 8, /* Of a threadgroup of encode, decode and rotate. */
    TQ_METAL_VECTOR_THREADS = 16 * TQ_METAL_VECTORS,
    TQ_SCORES_THREADS = 128, /* Rows of a threadgroup. */
    TQ_ATTEND_SIMDS = 4,
    TQ_ATTEND_THREADS = TQ_METAL_SIMD * TQ_ATTEND_SIMDS,
    TQ_METAL_QUERIES = 4 /* Query rows that read a code together: the components of a float4. */
};

/* Threadgroup memory in bytes; each kernel asserts that its struct has this size. */
enum {
    TQ_ENCODE_SHARED = TQ_METAL_VECTORS * TQ_METAL_MAX_DIM * 5,
    TQ_TRELLIS_SHARED = TQ_METAL_MAX_DIM * (8 + 8 + 8 + 2 + 1),
    TQ_DECODE_SHARED = TQ_METAL_VECTORS * TQ_METAL_MAX_DIM * 4,
    TQ_SCORES_SHARED = TQ_METAL_MAX_DIM * 16 + 256 * 4,
    TQ_ATTEND_SHARED = 2 * TQ_METAL_MAX_DIM * 16 + 2 * 256 * 4 + TQ_ATTEND_SIMDS * (TQ_METAL_PAGE + 2) * 16,
    TQ_MERGE_SHARED = 2 * TQ_METAL_MAX_DIM * 4
};

enum { TQ_METAL_MAX_GAINS = 9, TQ_METAL_MAX_PALEY = 36 };

/* A codec as kernels read it, made once for each. */
typedef struct tq_metal_code {
    float signs[TQ_METAL_MAX_DIM]; /* D of the rotation. */
    float paley[TQ_METAL_MAX_PALEY * TQ_METAL_MAX_PALEY];
    float levels[256];     /* In standard deviations, of an index or of a trellis's idx. */
    float thresholds[256]; /* [2^bits - 1] of a Lloyd-Max code. */
    float steps[32];       /* k + 1/2 of a trellis code, */
    int32_t targets[32];   /* and its levels in 1/8192. */
    float step;
    int32_t scale_mode; /* TQ_SCALE_* */
    int32_t n_gains;
    float gains[TQ_METAL_MAX_GAINS];
} tq_metal_code;

/* Kernels over dense vectors and rows. */
typedef struct tq_metal_rows_args {
    uint32_t n;
} tq_metal_rows_args;

/* Encoders take dense vectors, or the keys or values of pages: vector i is token i % 64 of head i / 64 % n_kv_heads of
 * page i / 64 / n_kv_heads, its norm is taken after the rotation, and its page's mean is taken off if that makes it
 * shorter. */
typedef struct tq_metal_encode_args {
    uint32_t n;
    uint32_t n_kv_heads; /* 0: dense vectors. */
    uint32_t values;     /* 0: keys. */
    uint32_t has_mean;
    uint32_t k_format; /* Of the record, */
    uint32_t record_words;
} tq_metal_encode_args;

/* A page of all heads: its exact tokens, f16, head by head, keys and values, [64, dim] each; its records, head by head,
 * whose means are there; and the first token that is to be encoded. */
typedef struct tq_metal_page {
    TQ_METAL_ADDRESS(const half) exact;
    TQ_METAL_ADDRESS(ushort) records;
    uint32_t first;
} tq_metal_page;

/* scores[i * stride + k] = scale <q_i, row_k> for n_q rotated queries and n rows. */
typedef struct tq_metal_scores_args {
    uint32_t n;
    uint32_t n_q;
    uint32_t stride;
    float scale;
} tq_metal_scores_args;

/* Rows of whole pages, [n_pages, n_kv_heads, 64], go to their places in the records. */
typedef struct tq_metal_append_args {
    uint32_t n_pages;
    uint32_t n_kv_heads;
} tq_metal_append_args;

/* Attention of n_queries tokens over one layer. */
typedef struct tq_metal_attend_args {
    uint32_t n_queries;
    uint32_t n_kv_heads;
    uint32_t group; /* Query heads of a KV head. */
    uint32_t n_sinks;
    uint32_t sliding_window; /* 0: none. */
    uint32_t n_splits;       /* Of the encoded pages of a sequence. */
    uint32_t exact_splits;
    float scale;
    float soft_cap; /* 0: none. */
} tq_metal_attend_args;

/* Of a page of a sequence: all heads. */
typedef struct tq_metal_entry {
    TQ_METAL_ADDRESS(const ushort) records;
    TQ_METAL_ADDRESS(const half) exact; /* By head: keys [64, dim], values. */
} tq_metal_entry;

/* What a query token sees of its sequence: tokens [0, n_encoded) encoded, but the first args.n_sinks of them exact if
 * there are sinks, like those from n_encoded on. Page p is table[p]. */
typedef struct tq_metal_view {
    TQ_METAL_ADDRESS(const tq_metal_entry) table;
    TQ_METAL_ADDRESS(const half) sinks; /* By head: keys [n_sinks, dim], values. Or null. */
    uint32_t n_tokens;                  /* At least one: the token that attends. */
    uint32_t n_encoded;
} tq_metal_view;

typedef struct tq_metal_merge_args {
    uint32_t n_q_heads;
    uint32_t slots; /* exact_splits + n_splits; the exact ones come first. */
    uint32_t exact_splits;
    uint32_t has_sink_logits;
    uint32_t has_lse;
} tq_metal_merge_args;

#endif /* TQ_ARGS_METAL_H */

/* SPDX-License-Identifier: MIT */
/* Reads a .qkv file: the keys, values and queries of a language model (bench/data/README.md describes the format). */
#ifndef TQ_BENCH_QKV_H
#define TQ_BENCH_QKV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct qkv {
    uint32_t layers;
    uint32_t q_heads;
    uint32_t kv_heads;
    uint32_t head_dim;
    uint32_t tokens;
    float *vectors; /* [layer][K of each KV head, V of each KV head, Q of each query head][token][head_dim] */
};

/* Reads a whole file. On failure returns false and writes one sentence that names the file to `error`; nothing is left
 * to free. The file is not trusted: its size must be exactly what its header says. */
bool qkv_read(const char *path, struct qkv *qkv, char *error, size_t error_size);

void qkv_free(struct qkv *qkv);

/* The [tokens][head_dim] vectors of one head. K and Q have passed RoPE; a logit is <q, k> / sqrt(head_dim). */
const float *qkv_keys(const struct qkv *qkv, uint32_t layer, uint32_t kv_head);
const float *qkv_values(const struct qkv *qkv, uint32_t layer, uint32_t kv_head);
const float *qkv_queries(const struct qkv *qkv, uint32_t layer, uint32_t q_head);

#endif /* TQ_BENCH_QKV_H */

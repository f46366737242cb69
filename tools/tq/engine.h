/* SPDX-License-Identifier: MIT */
/* The forward pass: tokens in, logits out, keys and values to a store. */
#ifndef TQ_TOOL_ENGINE_H
#define TQ_TOOL_ENGINE_H

#include "kv_store.h"
#include "model.h"
#include "threads.h"

/* Activations of up to ENGINE_CHUNK tokens; more tokens go through in several chunks. */
enum { ENGINE_CHUNK = 512 };

struct engine {
    const struct model *model;
    const struct threads *threads;
    size_t capacity;     /* Tokens that there is memory for. */
    float *x;            /* [token][width] The residual stream. */
    float *normed;       /* [token][width] */
    float *q;            /* [token][query head][head_dim] */
    float *k;            /* [token][KV head][head_dim] */
    float *v;            /* [token][KV head][head_dim_v] */
    float *attended;     /* [token][query head][head_dim_v] */
    float *gate;         /* [token][ffn_width] */
    float *up;           /* [token][ffn_width] */
    float *turns;        /* [token][n_dims / 2][2] Cosine and sine of RoPE. */
    double *frequencies; /* [n_dims / 2] */
    float *scratch;      /* [slot][scratch_stride] */
    size_t scratch_stride;
};

enum engine_logits {
    ENGINE_NO_LOGITS,
    ENGINE_LAST_LOGITS, /* Of the last token: [vocabulary]. */
    ENGINE_ALL_LOGITS   /* [token][vocabulary] */
};

/* The model and the threads must outlive the engine. One engine serves any number of stores, one at a time. */
bool engine_create(struct engine *engine, const struct model *model, const struct threads *threads,
                   struct error *error);

void engine_destroy(struct engine *engine);

/* Appends n >= 1 tokens to the store's sequence. If it fails, the store is as long as it was before. */
bool engine_forward(struct engine *engine, struct kv_store *store, const uint32_t *tokens, size_t n,
                    enum engine_logits wanted, float *logits, struct error *error);

#endif /* TQ_TOOL_ENGINE_H */

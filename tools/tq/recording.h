/* SPDX-License-Identifier: MIT */
/* Keys, values and queries of a run, as the model makes them: without a cache that changes them. */
#ifndef TQ_TOOL_RECORDING_H
#define TQ_TOOL_RECORDING_H

#include "session.h"

struct recording {
    uint32_t n_layers;
    uint32_t n_q_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim; /* Of queries and keys. */
    uint32_t head_dim_v;
    size_t n_tokens;
    float *k; /* [layer][token][KV head][head_dim], after RoPE */
    float *v; /* [layer][token][KV head][head_dim_v] */
    float *q; /* [layer][token][query head][head_dim], after RoPE, not scaled */
};

/* The first n tokens of a text. On failure nothing is left to free. */
bool recording_make(struct recording *recording, struct session *session, const struct tokens *tokens, size_t n,
                    struct error *error);

void recording_free(struct recording *recording);

/* One vector. */
const float *recording_k(const struct recording *recording, uint32_t layer, size_t token, uint32_t kv_head);
const float *recording_v(const struct recording *recording, uint32_t layer, size_t token, uint32_t kv_head);
const float *recording_q(const struct recording *recording, uint32_t layer, size_t token, uint32_t q_head);

#endif /* TQ_TOOL_RECORDING_H */

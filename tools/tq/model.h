/* SPDX-License-Identifier: MIT */
/* A transformer from a GGUF file: hyper-parameters and weights by name. */
#ifndef TQ_TOOL_MODEL_H
#define TQ_TOOL_MODEL_H

#include "gguf.h"
#include "tensor.h"
#include "turboquant.h"

/* A vector of weights as f32; null if the model has none. */
typedef float *weights;

struct layer {
    weights attention_norm;
    struct tensor q, k, v, attention_out;
    weights q_bias, k_bias, v_bias, attention_out_bias;
    weights q_norm, k_norm; /* Of each head: qwen3. */
    weights ffn_norm;
    struct tensor gate, up, down;
};

struct model {
    struct gguf_string name;
    struct gguf_string architecture;
    uint32_t n_layers;
    uint32_t n_q_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;   /* Of queries and keys. */
    uint32_t head_dim_v; /* Of values. */
    uint32_t width;
    uint32_t ffn_width;
    uint32_t n_vocabulary;
    uint32_t context_length;
    float norm_epsilon;
    tq_rope rope;
    weights frequency_factors; /* Those of `rope`, if there are any. */
    struct tensor token_embedding;
    weights output_norm;
    struct tensor output; /* The embedding's, if the file has none. */
    struct layer *layers;
    uint64_t n_parameters;
};

/* The model refers to the file, which must stay open. On failure nothing is left to free. */
bool model_load(struct model *model, const struct gguf *gguf, struct error *error);

void model_free(struct model *model);

#endif /* TQ_TOOL_MODEL_H */

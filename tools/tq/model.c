/* SPDX-License-Identifier: MIT */
/* What the architectures llama, qwen2 and qwen3 have in common, and where they differ: the pairing of RoPE, and which
 * biases and norms are there, which their tensors tell. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 1024, MAX_HEADS = 1024, MAX_WIDTH = 1 << 20, MAX_VOCABULARY = 1 << 24 };

/* What all steps of loading need. */
struct loader {
    struct model *model;
    const struct gguf *gguf;
    struct error *error;
};

/* The keys of an architecture begin with its name. */
static void make_key(const struct loader *loader, const char *suffix, char key[128])
{
    const struct gguf_string architecture = loader->model->architecture;
    snprintf(key, 128, "%.*s.%s", (int)architecture.size, architecture.data, suffix);
}

static bool get_size(const struct loader *loader, const char *suffix, uint32_t limit, uint32_t *value)
{
    char key[128];
    make_key(loader, suffix, key);
    if (!gguf_get_u32(loader->gguf, key, value, loader->error)) {
        return false;
    }
    return (*value >= 1 && *value <= limit) || error_input(loader->error, "%s: %s is missing, or outside of 1..%lu",
                                                           loader->gguf->path, key, (unsigned long)limit);
}

static bool get_positive(const struct loader *loader, const char *suffix, float *value)
{
    char key[128];
    make_key(loader, suffix, key);
    if (!gguf_get_float(loader->gguf, key, value, loader->error)) {
        return false;
    }
    return (isfinite(*value) && *value > 0.0F) ||
           error_input(loader->error, "%s: %s is missing, or not a positive number", loader->gguf->path, key);
}

static bool get_architecture(const struct loader *loader)
{
    static const struct {
        const char *name;
        tq_rope_pairing pairing;
    } known[] = {{"llama", TQ_ROPE_INTERLEAVED}, {"qwen2", TQ_ROPE_NEOX}, {"qwen3", TQ_ROPE_NEOX}};
    struct model *model = loader->model;
    if (!gguf_get_string(loader->gguf, "general.architecture", &model->architecture, loader->error) ||
        !gguf_get_string(loader->gguf, "general.name", &model->name, loader->error)) {
        return false;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (gguf_string_is(model->architecture, known[i].name)) {
            model->rope.pairing = known[i].pairing;
            return true;
        }
    }
    return error_input(loader->error, "%s: the architecture is '%.*s'; llama, qwen2 and qwen3 are supported",
                       loader->gguf->path, (int)(model->architecture.size < 32 ? model->architecture.size : 32),
                       model->architecture.data);
}

/* What would change the result, and is not implemented, is refused. */
static bool refuse(const struct loader *loader, const char *suffix)
{
    char key[128];
    uint32_t value = 0;
    make_key(loader, suffix, key);
    if (gguf_entry(loader->gguf, key) == NULL) {
        return true;
    }
    if (!gguf_get_u32(loader->gguf, key, &value, loader->error)) {
        return false;
    }
    return value == 0 || error_input(loader->error, "%s: %s is not supported", loader->gguf->path, key);
}

static bool get_rope(const struct loader *loader)
{
    tq_rope *rope = &loader->model->rope;
    char key[128];
    struct gguf_string scaling = {"none", 4};
    float factor = 1.0F;
    rope->struct_size = sizeof *rope;
    rope->theta = 10000.0F;
    rope->n_dims = loader->model->head_dim;
    make_key(loader, "rope.scaling.type", key);
    if (!get_positive(loader, "rope.freq_base", &rope->theta) ||
        !get_size(loader, "rope.dimension_count", loader->model->head_dim, &rope->n_dims) ||
        !gguf_get_string(loader->gguf, key, &scaling, loader->error)) {
        return false;
    }
    if (gguf_string_is(scaling, "linear")) {
        if (!get_positive(loader, "rope.scaling.factor", &factor)) {
            return false;
        }
    } else if (!gguf_string_is(scaling, "none")) {
        return error_input(loader->error, "%s: %s is not supported (none and linear are)", loader->gguf->path, key);
    }
    rope->freq_scale = 1.0F / factor;
    return (rope->n_dims % 2 == 0 && rope->freq_scale > 0.0F) ||
           error_input(loader->error, "%s: RoPE turns an odd number of coordinates, or not at all", loader->gguf->path);
}

static bool get_sizes(const struct loader *loader)
{
    struct model *m = loader->model;
    if (!get_size(loader, "block_count", MAX_LAYERS, &m->n_layers) ||
        !get_size(loader, "embedding_length", MAX_WIDTH, &m->width) ||
        !get_size(loader, "feed_forward_length", MAX_WIDTH, &m->ffn_width) ||
        !get_size(loader, "context_length", UINT32_MAX, &m->context_length) ||
        !get_size(loader, "attention.head_count", MAX_HEADS, &m->n_q_heads)) {
        return false;
    }
    m->n_kv_heads = m->n_q_heads;
    m->head_dim = m->width / m->n_q_heads;
    if (!get_size(loader, "attention.head_count_kv", MAX_HEADS, &m->n_kv_heads) ||
        !get_size(loader, "attention.key_length", TQ_MAX_DIM, &m->head_dim)) {
        return false;
    }
    m->head_dim_v = m->head_dim;
    if (!get_size(loader, "attention.value_length", TQ_MAX_DIM, &m->head_dim_v) ||
        !get_positive(loader, "attention.layer_norm_rms_epsilon", &m->norm_epsilon)) {
        return false;
    }
    return m->n_q_heads % m->n_kv_heads == 0 ||
           error_input(loader->error, "%s: %lu query heads cannot share %lu KV heads", loader->gguf->path,
                       (unsigned long)m->n_q_heads, (unsigned long)m->n_kv_heads);
}

/* `name` is a pattern if it has a "%zu". */
static void tensor_name(char out[64], const char *name, size_t layer)
{
    const char *number = strstr(name, "%zu");
    if (number == NULL) {
        snprintf(out, 64, "%s", name);
    } else {
        snprintf(out, 64, "%.*s%zu%s", (int)(number - name), name, layer, number + 3);
    }
}

enum presence { REQUIRED, OPTIONAL };

static const struct gguf_tensor *find(const struct loader *loader, const char *name, enum presence presence,
                                      bool *failed)
{
    const struct gguf_tensor *tensor = gguf_tensor(loader->gguf, name);
    if (tensor == NULL && presence == REQUIRED) {
        *failed = !error_input(loader->error, "%s: tensor %s is missing", loader->gguf->path, name);
    }
    return tensor;
}

static bool wrong_shape(const struct loader *loader, const char *name)
{
    return error_input(loader->error, "%s: tensor %s has the wrong shape", loader->gguf->path, name);
}

/* rows 0: as many as there are. */
static bool get_matrix(const struct loader *loader, const char *pattern, size_t layer, enum presence presence,
                       size_t rows, size_t cols, struct tensor *matrix)
{
    char name[64];
    bool failed = false;
    tensor_name(name, pattern, layer);
    const struct gguf_tensor *tensor = find(loader, name, presence, &failed);
    if (tensor == NULL) {
        return !failed;
    }
    if (tensor->dims[0] != cols || (rows != 0 && tensor->dims[1] != rows) || tensor->dims[2] != 1 ||
        tensor->dims[3] != 1) {
        return wrong_shape(loader, name);
    }
    *matrix = (struct tensor){tensor->type, tensor->data, tensor->dims[1], cols, tensor->bytes / tensor->dims[1]};
    loader->model->n_parameters += tensor->dims[1] * cols;
    return true;
}

static bool get_vector(const struct loader *loader, const char *pattern, size_t layer, enum presence presence,
                       size_t size, weights *vector)
{
    char name[64];
    bool failed = false;
    tensor_name(name, pattern, layer);
    const struct gguf_tensor *tensor = find(loader, name, presence, &failed);
    if (tensor == NULL) {
        return !failed;
    }
    if (tensor->dims[0] != size || tensor->n_dims != 1) {
        return wrong_shape(loader, name);
    }
    *vector = malloc(size * sizeof **vector);
    if (*vector == NULL) {
        return error_run(loader->error, "%s: not enough memory", loader->gguf->path);
    }
    const struct tensor row = {tensor->type, tensor->data, 1, size, tensor->bytes};
    tensor_row(&row, 0, *vector);
    loader->model->n_parameters += size;
    return true;
}

static bool get_layer(const struct loader *loader, size_t i)
{
    const struct model *m = loader->model;
    struct layer *layer = &m->layers[i];
    const size_t width = m->width;
    const size_t q = (size_t)m->n_q_heads * m->head_dim;
    const size_t k = (size_t)m->n_kv_heads * m->head_dim;
    const size_t v = (size_t)m->n_kv_heads * m->head_dim_v;
    const size_t out = (size_t)m->n_q_heads * m->head_dim_v;
    return get_vector(loader, "blk.%zu.attn_norm.weight", i, REQUIRED, width, &layer->attention_norm) &&
           get_matrix(loader, "blk.%zu.attn_q.weight", i, REQUIRED, q, width, &layer->q) &&
           get_matrix(loader, "blk.%zu.attn_k.weight", i, REQUIRED, k, width, &layer->k) &&
           get_matrix(loader, "blk.%zu.attn_v.weight", i, REQUIRED, v, width, &layer->v) &&
           get_matrix(loader, "blk.%zu.attn_output.weight", i, REQUIRED, width, out, &layer->attention_out) &&
           get_vector(loader, "blk.%zu.attn_q.bias", i, OPTIONAL, q, &layer->q_bias) &&
           get_vector(loader, "blk.%zu.attn_k.bias", i, OPTIONAL, k, &layer->k_bias) &&
           get_vector(loader, "blk.%zu.attn_v.bias", i, OPTIONAL, v, &layer->v_bias) &&
           get_vector(loader, "blk.%zu.attn_output.bias", i, OPTIONAL, width, &layer->attention_out_bias) &&
           get_vector(loader, "blk.%zu.attn_q_norm.weight", i, OPTIONAL, m->head_dim, &layer->q_norm) &&
           get_vector(loader, "blk.%zu.attn_k_norm.weight", i, OPTIONAL, m->head_dim, &layer->k_norm) &&
           get_vector(loader, "blk.%zu.ffn_norm.weight", i, REQUIRED, width, &layer->ffn_norm) &&
           get_matrix(loader, "blk.%zu.ffn_gate.weight", i, REQUIRED, m->ffn_width, width, &layer->gate) &&
           get_matrix(loader, "blk.%zu.ffn_up.weight", i, REQUIRED, m->ffn_width, width, &layer->up) &&
           get_matrix(loader, "blk.%zu.ffn_down.weight", i, REQUIRED, width, m->ffn_width, &layer->down);
}

static bool get_frequency_factors(const struct loader *loader)
{
    tq_rope *rope = &loader->model->rope;
    if (!get_vector(loader, "rope_freqs.weight", 0, OPTIONAL, rope->n_dims / 2, &loader->model->frequency_factors)) {
        return false;
    }
    const float *factors = loader->model->frequency_factors;
    rope->freq_factors = factors;
    for (size_t i = 0; factors != NULL && i < rope->n_dims / 2; i++) {
        if (!(isfinite(factors[i]) && factors[i] > 0.0F)) {
            return error_input(loader->error, "%s: rope_freqs.weight has a factor that is not positive",
                               loader->gguf->path);
        }
    }
    return true;
}

static bool load(const struct loader *loader)
{
    struct model *m = loader->model;
    if (!get_architecture(loader) || !get_sizes(loader) || !get_rope(loader) || !refuse(loader, "expert_count") ||
        !refuse(loader, "attention.sliding_window")) {
        return false;
    }
    if (!get_matrix(loader, "token_embd.weight", 0, REQUIRED, 0, m->width, &m->token_embedding)) {
        return false;
    }
    if (m->token_embedding.rows > MAX_VOCABULARY) {
        return wrong_shape(loader, "token_embd.weight");
    }
    m->n_vocabulary = (uint32_t)m->token_embedding.rows;
    m->output = m->token_embedding;
    m->layers = calloc(m->n_layers, sizeof *m->layers);
    if (m->layers == NULL) {
        return error_run(loader->error, "%s: not enough memory", loader->gguf->path);
    }
    bool ok = get_frequency_factors(loader) &&
              get_vector(loader, "output_norm.weight", 0, REQUIRED, m->width, &m->output_norm) &&
              get_matrix(loader, "output.weight", 0, OPTIONAL, m->n_vocabulary, m->width, &m->output);
    for (size_t i = 0; i < m->n_layers && ok; i++) {
        ok = get_layer(loader, i);
    }
    return ok;
}

bool model_load(struct model *model, const struct gguf *gguf, struct error *error)
{
    *model = (struct model){.n_layers = 0};
    const struct loader loader = {model, gguf, error};
    const bool ok = load(&loader);
    if (!ok) {
        model_free(model);
    }
    return ok;
}

void model_free(struct model *model)
{
    for (size_t i = 0; model->layers != NULL && i < model->n_layers; i++) {
        struct layer *layer = &model->layers[i];
        weights vectors[] = {layer->attention_norm,     layer->q_bias, layer->k_bias, layer->v_bias,
                             layer->attention_out_bias, layer->q_norm, layer->k_norm, layer->ffn_norm};
        for (size_t v = 0; v < sizeof vectors / sizeof *vectors; v++) {
            free(vectors[v]);
        }
    }
    free(model->layers);
    free(model->output_norm);
    free(model->frequency_factors);
    *model = (struct model){.n_layers = 0};
}

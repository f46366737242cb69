/* SPDX-License-Identifier: MIT */
/* A store that writes down what passes through it to another one. */
#include "recording.h"

#include <stdlib.h>
#include <string.h>

struct recorder {
    struct kv_store store;
    struct kv_store *inner;
    struct recording *recording;
};

static bool forward(struct kv_store *store, uint32_t layer, const tq_kv *kv, const tq_attention *attention,
                    struct error *error)
{
    struct recorder *self = (struct recorder *)store;
    struct recording *r = self->recording;
    const size_t k_row = (size_t)r->n_kv_heads * r->head_dim;
    const size_t v_row = (size_t)r->n_kv_heads * r->head_dim_v;
    const size_t q_row = (size_t)r->n_q_heads * r->head_dim;
    const size_t at = layer * r->n_tokens + store->n_tokens;
    memcpy(r->k + at * k_row, kv->k, kv->n_tokens * k_row * sizeof *r->k);
    memcpy(r->v + at * v_row, kv->v, kv->n_tokens * v_row * sizeof *r->v);
    memcpy(r->q + at * q_row, attention->q, kv->n_tokens * q_row * sizeof *r->q);
    const bool ok = self->inner->ops->forward(self->inner, layer, kv, attention, error);
    store->n_tokens = self->inner->n_tokens;
    return ok;
}

static bool truncate(struct kv_store *store, size_t n_tokens, struct error *error)
{
    struct recorder *self = (struct recorder *)store;
    const bool ok = self->inner->ops->truncate(self->inner, n_tokens, error);
    store->n_tokens = self->inner->n_tokens;
    return ok;
}

/* The engine needs no more of a store than these. */
static const struct kv_store_ops ops = {.forward = forward, .truncate = truncate};

static float *allocate(size_t n, size_t row)
{
    return n <= SIZE_MAX / sizeof(float) / row ? malloc(n * row * sizeof(float)) : NULL;
}

bool recording_make(struct recording *recording, struct session *session, const struct tokens *tokens, size_t n,
                    struct error *error)
{
    const struct model *m = &session->model;
    struct cache_config config;
    if (n == 0 || n > tokens->n || n > m->context_length) {
        return error_input(error, "%zu tokens cannot be taken: the text has %zu, the model's context %lu", n, tokens->n,
                           (unsigned long)m->context_length);
    }
    *recording = (struct recording){.n_layers = m->n_layers,
                                    .n_q_heads = m->n_q_heads,
                                    .n_kv_heads = m->n_kv_heads,
                                    .head_dim = m->head_dim,
                                    .head_dim_v = m->head_dim_v,
                                    .n_tokens = n};
    recording->k = allocate(n * m->n_layers, (size_t)m->n_kv_heads * m->head_dim);
    recording->v = allocate(n * m->n_layers, (size_t)m->n_kv_heads * m->head_dim_v);
    recording->q = allocate(n * m->n_layers, (size_t)m->n_q_heads * m->head_dim);
    bool ok = (recording->k != NULL && recording->v != NULL && recording->q != NULL) ||
              error_run(error, "not enough memory for %zu tokens", n);
    if (ok && cache_config_parse("f32", &config, error)) {
        struct recorder recorder = {{&ops, 0}, kv_store_create(&config, m, &session->threads, error), recording};
        ok = recorder.inner != NULL &&
             engine_forward(&session->engine, &recorder.store, tokens->ids, n, ENGINE_NO_LOGITS, NULL, error);
        kv_store_destroy(recorder.inner);
    }
    if (!ok) {
        recording_free(recording);
    }
    return ok;
}

void recording_free(struct recording *recording)
{
    free(recording->k);
    free(recording->v);
    free(recording->q);
    *recording = (struct recording){.n_layers = 0};
}

const float *recording_k(const struct recording *r, uint32_t layer, size_t token, uint32_t kv_head)
{
    return r->k + ((layer * r->n_tokens + token) * r->n_kv_heads + kv_head) * r->head_dim;
}

const float *recording_v(const struct recording *r, uint32_t layer, size_t token, uint32_t kv_head)
{
    return r->v + ((layer * r->n_tokens + token) * r->n_kv_heads + kv_head) * r->head_dim_v;
}

const float *recording_q(const struct recording *r, uint32_t layer, size_t token, uint32_t q_head)
{
    return r->q + ((layer * r->n_tokens + token) * r->n_q_heads + q_head) * r->head_dim;
}

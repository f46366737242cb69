/* SPDX-License-Identifier: MIT */
/* The forward pass of the Llama family:
 *
 *     x = embedding
 *     for each layer:  h = norm(x);  q, k, v = h W + b;  q, k = RoPE(norm(q)), RoPE(norm(k))
 *                      x += attention(q, all k, all v) W
 *                      h = norm(x);  x += (silu(h Wgate) * (h Wup)) Wdown
 *     logits = norm(x) W
 */
#include "engine.h"

#include <math.h>
#include <stdlib.h>

#include "blas.h"
#include "matmul.h"

/* Allocation: `ok` collects the failures of several. */
static void *allocate(size_t a, size_t b, size_t size, bool *ok)
{
    void *memory = b == 0 || a <= SIZE_MAX / size / b ? malloc(a * b * size + 1) : NULL;
    *ok = *ok && memory != NULL;
    return memory;
}

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void free_activations(struct engine *engine)
{
    float *const all[] = {engine->x,        engine->normed, engine->q,  engine->k,    engine->v,
                          engine->attended, engine->gate,   engine->up, engine->turns};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}

static bool reserve(struct engine *engine, size_t n, struct error *error)
{
    const struct model *m = engine->model;
    const size_t heads = m->n_q_heads;
    bool ok = true;
    if (n <= engine->capacity) {
        return true;
    }
    free_activations(engine);
    engine->capacity = n;
    engine->x = allocate(n, m->width, sizeof(float), &ok);
    engine->normed = allocate(n, m->width, sizeof(float), &ok);
    engine->q = allocate(n, heads * m->head_dim, sizeof(float), &ok);
    engine->k = allocate(n, (size_t)m->n_kv_heads * m->head_dim, sizeof(float), &ok);
    engine->v = allocate(n, (size_t)m->n_kv_heads * m->head_dim_v, sizeof(float), &ok);
    engine->attended = allocate(n, heads * m->head_dim_v, sizeof(float), &ok);
    engine->gate = allocate(n, m->ffn_width, sizeof(float), &ok);
    engine->up = allocate(n, m->ffn_width, sizeof(float), &ok);
    engine->turns = allocate(n, m->rope.n_dims, sizeof(float), &ok);
    engine->capacity = ok ? n : 0;
    return ok || error_run(error, "not enough memory for the activations of %zu tokens", n);
}

bool engine_create(struct engine *engine, const struct model *model, const struct threads *threads, struct error *error)
{
    const size_t cols = largest(largest(model->width, model->ffn_width), (size_t)model->n_q_heads * model->head_dim_v);
    const tq_rope *rope = &model->rope;
    bool ok = true;
    blas_use_one_thread();
    *engine = (struct engine){.model = model, .threads = threads, .scratch_stride = matmul_scratch(cols)};
    engine->scratch = allocate(threads->count, engine->scratch_stride, sizeof(float), &ok);
    engine->frequencies = allocate(rope->n_dims / 2, 1, sizeof(double), &ok);
    if (!ok) {
        engine_destroy(engine);
        return error_run(error, "not enough memory");
    }
    for (uint32_t j = 0; j < rope->n_dims / 2; j++) {
        const double factor = rope->freq_factors != NULL ? (double)rope->freq_factors[j] : 1.0;
        engine->frequencies[j] = (double)rope->freq_scale * pow((double)rope->theta, -2.0 * j / rope->n_dims) / factor;
    }
    return true;
}

void engine_destroy(struct engine *engine)
{
    free_activations(engine);
    free(engine->scratch);
    free(engine->frequencies);
    *engine = (struct engine){.capacity = 0};
}

/* Some tokens on their way through the layers; tasks take them one by one. */
struct chunk {
    const struct engine *engine;
    const struct layer *layer;
    const uint32_t *tokens;
    size_t n;
    size_t position; /* Of the first one. */
};

static void for_each_token(struct chunk *chunk, slot_task *task)
{
    threads_for(chunk->engine->threads, task, chunk, chunk->n);
}

static void multiply(const struct engine *engine, const struct tensor *w, const float *bias, const float *x, size_t n,
                     float *y)
{
    matmul(engine->threads, w, bias, x, n, engine->scratch, engine->scratch_stride, y);
}

/* out = x / rms(x) * weight; x and out may be the same. */
static void rms_norm(const float *x, const float *weight, size_t n, float epsilon, float *out)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    const float factor = (float)(1.0 / sqrt(sum / (double)n + (double)epsilon));
    for (size_t i = 0; i < n; i++) {
        out[i] = factor * x[i] * weight[i];
    }
}

static void embed(void *arg, size_t slot, size_t token)
{
    const struct chunk *chunk = arg;
    const struct engine *engine = chunk->engine;
    const tq_rope *rope = &engine->model->rope;
    const double position = (double)(chunk->position + token);
    float *turns = engine->turns + token * rope->n_dims;
    (void)slot;
    tensor_row(&engine->model->token_embedding, chunk->tokens[token], engine->x + token * engine->model->width);
    for (uint32_t j = 0; j < rope->n_dims / 2; j++) {
        turns[2 * j] = (float)cos(position * engine->frequencies[j]);
        turns[2 * j + 1] = (float)sin(position * engine->frequencies[j]);
    }
}

static void norm_token(const struct chunk *chunk, size_t token, const float *weight)
{
    const struct engine *engine = chunk->engine;
    const size_t width = engine->model->width;
    rms_norm(engine->x + token * width, weight, width, engine->model->norm_epsilon, engine->normed + token * width);
}

static void norm_before_attention(void *arg, size_t slot, size_t token)
{
    const struct chunk *chunk = arg;
    (void)slot;
    norm_token(chunk, token, chunk->layer->attention_norm);
}

static void norm_before_ffn(void *arg, size_t slot, size_t token)
{
    const struct chunk *chunk = arg;
    (void)slot;
    norm_token(chunk, token, chunk->layer->ffn_norm);
}

static void norm_before_output(void *arg, size_t slot, size_t token)
{
    const struct chunk *chunk = arg;
    (void)slot;
    norm_token(chunk, token, chunk->engine->model->output_norm);
}

static void turn(const tq_rope *rope, const float *turns, float *x)
{
    const size_t half = rope->n_dims / 2;
    const size_t step = rope->pairing == TQ_ROPE_INTERLEAVED ? 2 : 1;
    const size_t other = rope->pairing == TQ_ROPE_INTERLEAVED ? 1 : half;
    for (size_t j = 0; j < half; j++) {
        float *a = x + j * step;
        float *b = a + other;
        const float turned = turns[2 * j] * *a - turns[2 * j + 1] * *b;
        *b = turns[2 * j + 1] * *a + turns[2 * j] * *b;
        *a = turned;
    }
}

/* Norm (of architectures that have one) and RoPE of the heads of one token. */
static void place_heads(const struct engine *engine, const float *turns, const float *norm, size_t n_heads, float *x)
{
    const struct model *m = engine->model;
    for (size_t head = 0; head < n_heads; head++, x += m->head_dim) {
        if (norm != NULL) {
            rms_norm(x, norm, m->head_dim, m->norm_epsilon, x);
        }
        turn(&m->rope, turns, x);
    }
}

static void place_token(void *arg, size_t slot, size_t token)
{
    const struct chunk *chunk = arg;
    const struct engine *engine = chunk->engine;
    const struct model *m = engine->model;
    const float *turns = engine->turns + token * m->rope.n_dims;
    (void)slot;
    place_heads(engine, turns, chunk->layer->q_norm, m->n_q_heads, engine->q + token * m->n_q_heads * m->head_dim);
    place_heads(engine, turns, chunk->layer->k_norm, m->n_kv_heads, engine->k + token * m->n_kv_heads * m->head_dim);
}

static void add_residual(void *arg, size_t slot, size_t token)
{
    const struct chunk *chunk = arg;
    const size_t width = chunk->engine->model->width;
    float *x = chunk->engine->x + token * width;
    const float *addend = chunk->engine->normed + token * width;
    (void)slot;
    for (size_t i = 0; i < width; i++) {
        x[i] += addend[i];
    }
}

static void activate(void *arg, size_t slot, size_t token)
{
    const struct chunk *chunk = arg;
    const size_t width = chunk->engine->model->ffn_width;
    float *gate = chunk->engine->gate + token * width;
    const float *up = chunk->engine->up + token * width;
    (void)slot;
    for (size_t i = 0; i < width; i++) {
        gate[i] = gate[i] / (1.0F + expf(-gate[i])) * up[i];
    }
}

static bool run_layer(struct chunk *chunk, struct kv_store *store, uint32_t index, struct error *error)
{
    const struct engine *e = chunk->engine;
    const struct layer *layer = chunk->layer;
    const tq_kv kv = {.struct_size = sizeof kv, .k = e->k, .v = e->v, .n_tokens = chunk->n};
    const tq_attention attention = {.struct_size = sizeof attention,
                                    .q = e->q,
                                    .n_q_heads = e->model->n_q_heads,
                                    .n_tokens = chunk->n,
                                    .out = e->attended};
    for_each_token(chunk, norm_before_attention);
    multiply(e, &layer->q, layer->q_bias, e->normed, chunk->n, e->q);
    multiply(e, &layer->k, layer->k_bias, e->normed, chunk->n, e->k);
    multiply(e, &layer->v, layer->v_bias, e->normed, chunk->n, e->v);
    for_each_token(chunk, place_token);
    if (!store->ops->forward(store, index, &kv, &attention, error)) {
        return false;
    }
    multiply(e, &layer->attention_out, layer->attention_out_bias, e->attended, chunk->n, e->normed);
    for_each_token(chunk, add_residual);
    for_each_token(chunk, norm_before_ffn);
    multiply(e, &layer->gate, NULL, e->normed, chunk->n, e->gate);
    multiply(e, &layer->up, NULL, e->normed, chunk->n, e->up);
    for_each_token(chunk, activate);
    multiply(e, &layer->down, NULL, e->gate, chunk->n, e->normed);
    for_each_token(chunk, add_residual);
    return true;
}

static bool run_layers(struct chunk *chunk, struct kv_store *store, struct error *error)
{
    const struct model *m = chunk->engine->model;
    for_each_token(chunk, embed);
    for (uint32_t i = 0; i < m->n_layers; i++) {
        chunk->layer = &m->layers[i];
        if (!run_layer(chunk, store, i, error)) {
            return false;
        }
    }
    return true;
}

/* Weights that are not finite, or far too large, show here if attention has not refused them before. */
static bool make_logits(struct chunk *chunk, enum engine_logits wanted, float *logits, struct error *error)
{
    const struct engine *e = chunk->engine;
    const size_t first = wanted == ENGINE_ALL_LOGITS ? 0 : chunk->n - 1;
    const size_t n = chunk->n - first;
    for_each_token(chunk, norm_before_output);
    multiply(e, &e->model->output, NULL, e->normed + first * e->model->width, n, logits);
    for (size_t i = 0; i < n * e->model->n_vocabulary; i++) {
        if (!isfinite(logits[i])) {
            return error_input(error, "the model predicts something that is not a finite number");
        }
    }
    return true;
}

bool engine_forward(struct engine *engine, struct kv_store *store, const uint32_t *tokens, size_t n,
                    enum engine_logits wanted, float *logits, struct error *error)
{
    const size_t before = store->n_tokens;
    const uint32_t n_vocabulary = engine->model->n_vocabulary;
    bool ok = reserve(engine, n < ENGINE_CHUNK ? n : ENGINE_CHUNK, error);
    for (size_t i = 0; i < n && ok; i++) {
        ok = tokens[i] < n_vocabulary ||
             error_input(error, "token %lu is not in the vocabulary", (unsigned long)tokens[i]);
    }
    for (size_t done = 0; done < n && ok;) {
        const size_t left = n - done;
        struct chunk chunk = {.engine = engine,
                              .tokens = tokens + done,
                              .n = left < ENGINE_CHUNK ? left : ENGINE_CHUNK,
                              .position = before + done};
        ok = run_layers(&chunk, store, error);
        if (ok && wanted == ENGINE_ALL_LOGITS) {
            ok = make_logits(&chunk, wanted, logits + done * n_vocabulary, error);
        } else if (ok && wanted == ENGINE_LAST_LOGITS && chunk.n == left) {
            ok = make_logits(&chunk, wanted, logits, error);
        }
        done += chunk.n;
    }
    if (!ok) {
        struct error ignored; /* The first error is the one to tell. */
        store->ops->truncate(store, before, &ignored);
    }
    return ok;
}

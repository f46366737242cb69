/* SPDX-License-Identifier: MIT */
/* The yardsticks: f32, which is no compression at all, and the block formats of bench/baselines.h, which other engines
 * use for their caches. Rows lie one after the other, [layer][KV head][token], and attention is what the formula says:
 * all scores of a query, their softmax, the weighted sum. */
#include "kv_store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "baselines.h"
#include "tensor_loops.h"

/* Keys or values of one layer. */
struct rows {
    uint8_t *bytes;  /* [KV head][capacity] rows */
    size_t capacity; /* Tokens. */
    size_t n;        /* Tokens. */
};

/* How keys, or values, are stored. */
struct side {
    bool exact; /* f32; else `baseline` counts. */
    size_t dim;
    size_t row_bytes;
    struct baseline baseline;
};

struct kv_plain {
    struct kv_store store;
    const struct threads *threads;
    uint32_t n_layers;
    uint32_t n_kv_heads;
    struct side k, v;
    struct rows *k_rows; /* [n_layers] */
    struct rows *v_rows;
    float *scores; /* [slot][scores_stride] */
    size_t scores_stride;
};

static void side_init(struct side *side, enum plain_format format, size_t dim)
{
    static const enum baseline_kind kinds[] = {
        [PLAIN_Q8_0] = BASELINE_Q8_0, [PLAIN_Q4_0] = BASELINE_Q4_0, [PLAIN_Q4_0_ROT] = BASELINE_Q4_0_ROT};
    side->exact = format == PLAIN_F32;
    side->dim = dim;
    side->row_bytes = dim * sizeof(float);
    if (!side->exact) {
        baseline_init(&side->baseline, kinds[format], dim, 0, baseline_loops_best());
        side->row_bytes = side->baseline.row_bytes;
    }
}

static bool side_supports(enum plain_format format, size_t dim)
{
    return format == PLAIN_F32 || (dim % 32 == 0 && (format != PLAIN_Q4_0_ROT || (dim & (dim - 1)) == 0));
}

static void side_encode(const struct side *side, const float *x, uint8_t *row)
{
    if (side->exact) {
        memcpy(row, x, side->row_bytes);
    } else {
        baseline_encode(&side->baseline, x, 1, row);
    }
}

static void side_scores(const struct side *side, const float *q, const uint8_t *rows, size_t n, float scale,
                        float *scores)
{
    if (!side->exact) {
        baseline_scores(&side->baseline, q, rows, n, scale, scores);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        scores[i] = scale * tensor_loops_best()->dot(q, (const float *)(const void *)rows + i * side->dim, side->dim);
    }
}

static void side_weighted_sum(const struct side *side, const float *w, const uint8_t *rows, size_t n, float *out)
{
    if (!side->exact) {
        baseline_weighted_sum(&side->baseline, w, rows, n, out);
        return;
    }
    memset(out, 0, side->dim * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        tensor_loops_best()->add_scaled(w[i], (const float *)(const void *)rows + i * side->dim, side->dim, out);
    }
}

/* Moves the heads apart to make room for `n` tokens. */
static bool reserve(const struct kv_plain *self, struct rows *rows, const struct side *side, size_t n)
{
    if (n <= rows->capacity) {
        return true;
    }
    const size_t capacity = n < 2 * rows->capacity ? 2 * rows->capacity : n;
    uint8_t *bytes = malloc(self->n_kv_heads * capacity * side->row_bytes);
    if (bytes == NULL) {
        return false;
    }
    for (size_t head = 0; head < self->n_kv_heads && rows->n > 0; head++) {
        memcpy(bytes + head * capacity * side->row_bytes, rows->bytes + head * rows->capacity * side->row_bytes,
               rows->n * side->row_bytes);
    }
    free(rows->bytes);
    rows->bytes = bytes;
    rows->capacity = capacity;
    return true;
}

static bool reserve_scores(struct kv_plain *self, size_t n)
{
    if (n <= self->scores_stride) {
        return true;
    }
    const size_t stride = n < 2 * self->scores_stride ? 2 * self->scores_stride : n;
    float *scores = malloc(self->threads->count * stride * sizeof *scores);
    if (scores == NULL) {
        return false;
    }
    free(self->scores);
    self->scores = scores;
    self->scores_stride = stride;
    return true;
}

/* One layer of one step. */
struct step {
    struct kv_plain *self;
    const tq_kv *kv;
    const tq_attention *attention;
    struct rows *k_rows;
    struct rows *v_rows;
    size_t past; /* Tokens before the new ones. */
};

static void store_token(void *arg, size_t slot, size_t token)
{
    const struct step *step = arg;
    const struct kv_plain *self = step->self;
    const float *k = (const float *)step->kv->k + token * self->n_kv_heads * self->k.dim;
    const float *v = (const float *)step->kv->v + token * self->n_kv_heads * self->v.dim;
    (void)slot;
    for (size_t head = 0; head < self->n_kv_heads; head++) {
        const size_t k_row = head * step->k_rows->capacity + step->past + token;
        const size_t v_row = head * step->v_rows->capacity + step->past + token;
        side_encode(&self->k, k + head * self->k.dim, step->k_rows->bytes + k_row * self->k.row_bytes);
        side_encode(&self->v, v + head * self->v.dim, step->v_rows->bytes + v_row * self->v.row_bytes);
    }
}

static void softmax(float *scores, size_t n)
{
    float largest = scores[0];
    for (size_t i = 1; i < n; i++) {
        largest = scores[i] > largest ? scores[i] : largest;
    }
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        scores[i] = expf(scores[i] - largest);
        sum += (double)scores[i];
    }
    const float factor = (float)(1.0 / sum);
    for (size_t i = 0; i < n; i++) {
        scores[i] *= factor;
    }
}

static void attend_query(void *arg, size_t slot, size_t index)
{
    const struct step *step = arg;
    const struct kv_plain *self = step->self;
    const uint32_t n_q_heads = step->attention->n_q_heads;
    const size_t kv_head = index % n_q_heads / (n_q_heads / self->n_kv_heads);
    const size_t n = step->past + index / n_q_heads + 1;
    float *scores = self->scores + slot * self->scores_stride;
    side_scores(&self->k, (const float *)step->attention->q + index * self->k.dim,
                step->k_rows->bytes + kv_head * step->k_rows->capacity * self->k.row_bytes, n,
                1.0F / sqrtf((float)self->k.dim), scores);
    softmax(scores, n);
    side_weighted_sum(&self->v, scores, step->v_rows->bytes + kv_head * step->v_rows->capacity * self->v.row_bytes, n,
                      step->attention->out + index * self->v.dim);
}

/* The engine hands over dense f32 and asks for no option of tq_attention. */
static bool forward(struct kv_store *store, uint32_t layer, const tq_kv *kv, const tq_attention *attention,
                    struct error *error)
{
    struct kv_plain *self = (struct kv_plain *)store;
    struct step step = {self, kv, attention, &self->k_rows[layer], &self->v_rows[layer], self->k_rows[layer].n};
    const size_t total = step.past + kv->n_tokens;
    if (!reserve(self, step.k_rows, &self->k, total) || !reserve(self, step.v_rows, &self->v, total) ||
        !reserve_scores(self, total)) {
        return error_run(error, "not enough memory for %zu tokens", total);
    }
    threads_for(self->threads, store_token, &step, kv->n_tokens);
    threads_for(self->threads, attend_query, &step, kv->n_tokens * attention->n_q_heads);
    step.k_rows->n = total;
    step.v_rows->n = total;
    store->n_tokens = self->k_rows[self->n_layers - 1].n;
    return true;
}

static bool truncate(struct kv_store *store, size_t n_tokens, struct error *error)
{
    struct kv_plain *self = (struct kv_plain *)store;
    (void)error;
    for (uint32_t layer = 0; layer < self->n_layers; layer++) {
        self->k_rows[layer].n = n_tokens;
        self->v_rows[layer].n = n_tokens;
    }
    store->n_tokens = n_tokens;
    return true;
}

static size_t bytes(const struct kv_store *store)
{
    const struct kv_plain *self = (const struct kv_plain *)store;
    return self->n_layers * self->n_kv_heads * store->n_tokens * (self->k.row_bytes + self->v.row_bytes);
}

static void destroy(struct kv_store *store)
{
    struct kv_plain *self = (struct kv_plain *)store;
    for (uint32_t layer = 0; layer < self->n_layers; layer++) {
        free(self->k_rows != NULL ? self->k_rows[layer].bytes : NULL);
        free(self->v_rows != NULL ? self->v_rows[layer].bytes : NULL);
    }
    free(self->k_rows);
    free(self->v_rows);
    free(self->scores);
    free(self);
}

static const struct kv_store_ops ops = {forward, truncate, bytes, NULL, destroy};

static bool supported(const struct cache_config *config, const struct model *model, struct error *error)
{
    return (side_supports(config->k.plain, model->head_dim) && side_supports(config->v.plain, model->head_dim_v)) ||
           error_input(error, "the format does not exist for heads of %lu", (unsigned long)model->head_dim);
}

bool kv_plain_estimate(const struct cache_config *config, const struct model *model, size_t n_tokens, size_t *bytes,
                       struct error *error)
{
    struct side k;
    struct side v;
    if (!supported(config, model, error)) {
        return false;
    }
    side_init(&k, config->k.plain, model->head_dim);
    side_init(&v, config->v.plain, model->head_dim_v);
    const size_t row_pairs = (size_t)model->n_layers * model->n_kv_heads;
    if (n_tokens > SIZE_MAX / row_pairs / (k.row_bytes + v.row_bytes)) {
        return error_input(error, "%zu tokens are more than any memory holds", n_tokens);
    }
    *bytes = row_pairs * n_tokens * (k.row_bytes + v.row_bytes);
    return true;
}

struct kv_store *kv_plain_create(const struct cache_config *config, const struct model *model,
                                 const struct threads *threads, struct error *error)
{
    if (!supported(config, model, error)) {
        return NULL;
    }
    struct kv_plain *self = calloc(1, sizeof *self);
    if (self == NULL) {
        error_set(error, EXIT_RUN, "not enough memory");
        return NULL;
    }
    self->store.ops = &ops;
    self->threads = threads;
    self->n_layers = model->n_layers;
    self->n_kv_heads = model->n_kv_heads;
    side_init(&self->k, config->k.plain, model->head_dim);
    side_init(&self->v, config->v.plain, model->head_dim_v);
    self->k_rows = calloc(model->n_layers, sizeof *self->k_rows);
    self->v_rows = calloc(model->n_layers, sizeof *self->v_rows);
    if (self->k_rows == NULL || self->v_rows == NULL) {
        destroy(&self->store);
        error_set(error, EXIT_RUN, "not enough memory");
        return NULL;
    }
    return &self->store;
}

/* SPDX-License-Identifier: MIT */
/* The yardsticks: f32, which is no compression at all, and the block formats of bench/baselines.h, which other engines
 * use for their caches. Rows lie one after the other, [layer][KV head][token], and attention is what the formula says:
 * all scores of a query, their softmax, the weighted sum.
 *
 * With the option `recent`, the newest tokens are exact, as the library's cache has it, so that formats can be compared
 * without that difference. Exact rows of all tokens are kept for this; bytes() counts those that a cache would keep. */
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
    struct side exact_k, exact_v;
    size_t exact_pages;  /* The page that is being filled and those before it; 0: none is exact. */
    struct rows *k_rows; /* [n_layers] */
    struct rows *v_rows;
    struct rows *exact_k_rows;
    struct rows *exact_v_rows;
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
    struct rows *exact_k_rows;
    struct rows *exact_v_rows;
    size_t past; /* Tokens before the new ones. */
};

static const uint8_t *row_of(const struct side *side, const struct rows *rows, size_t head, size_t token)
{
    return rows->bytes + (head * rows->capacity + token) * side->row_bytes;
}

static void store_row(const struct side *side, const struct rows *rows, size_t head, size_t token, const float *x)
{
    side_encode(side, x, rows->bytes + (head * rows->capacity + token) * side->row_bytes);
}

static void store_token(void *arg, size_t slot, size_t token)
{
    const struct step *step = arg;
    const struct kv_plain *self = step->self;
    const float *k = (const float *)step->kv->k + token * self->n_kv_heads * self->k.dim;
    const float *v = (const float *)step->kv->v + token * self->n_kv_heads * self->v.dim;
    (void)slot;
    for (size_t head = 0; head < self->n_kv_heads; head++) {
        store_row(&self->k, step->k_rows, head, step->past + token, k + head * self->k.dim);
        store_row(&self->v, step->v_rows, head, step->past + token, v + head * self->v.dim);
        if (self->exact_pages > 0) {
            store_row(&self->exact_k, step->exact_k_rows, head, step->past + token, k + head * self->k.dim);
            store_row(&self->exact_v, step->exact_v_rows, head, step->past + token, v + head * self->v.dim);
        }
    }
}

/* The first token that the query behind n tokens sees exact; n if there is none. */
static size_t first_exact(const struct kv_plain *self, size_t n)
{
    const size_t page = (n - 1) / TQ_PAGE_TOKENS;
    if (self->exact_pages == 0) {
        return n;
    }
    return page < self->exact_pages ? 0 : (page + 1 - self->exact_pages) * TQ_PAGE_TOKENS;
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
    const size_t first = first_exact(self, n);
    const float scale = 1.0F / sqrtf((float)self->k.dim);
    const float *q = (const float *)step->attention->q + index * self->k.dim;
    float *out = step->attention->out + index * self->v.dim;
    float *scores = self->scores + slot * self->scores_stride;
    side_scores(&self->k, q, row_of(&self->k, step->k_rows, kv_head, 0), first, scale, scores);
    if (first < n) {
        side_scores(&self->exact_k, q, row_of(&self->exact_k, step->exact_k_rows, kv_head, first), n - first, scale,
                    scores + first);
    }
    softmax(scores, n);
    side_weighted_sum(&self->v, scores, row_of(&self->v, step->v_rows, kv_head, 0), first, out);
    for (size_t token = first; token < n; token++) {
        const uint8_t *v = row_of(&self->exact_v, step->exact_v_rows, kv_head, token);
        tensor_loops_best()->add_scaled(scores[token], (const float *)(const void *)v, self->v.dim, out);
    }
}

static void set_length(struct kv_plain *self, uint32_t layer, size_t n)
{
    self->k_rows[layer].n = n;
    self->v_rows[layer].n = n;
    self->exact_k_rows[layer].n = n;
    self->exact_v_rows[layer].n = n;
}

/* The engine hands over dense f32 and asks for no option of tq_attention. */
static bool forward(struct kv_store *store, uint32_t layer, const tq_kv *kv, const tq_attention *attention,
                    struct error *error)
{
    struct kv_plain *self = (struct kv_plain *)store;
    struct step step = {.self = self,
                        .kv = kv,
                        .attention = attention,
                        .k_rows = &self->k_rows[layer],
                        .v_rows = &self->v_rows[layer],
                        .exact_k_rows = &self->exact_k_rows[layer],
                        .exact_v_rows = &self->exact_v_rows[layer],
                        .past = self->k_rows[layer].n};
    const size_t total = step.past + kv->n_tokens;
    if (!reserve(self, step.k_rows, &self->k, total) || !reserve(self, step.v_rows, &self->v, total) ||
        (self->exact_pages > 0 && (!reserve(self, step.exact_k_rows, &self->exact_k, total) ||
                                   !reserve(self, step.exact_v_rows, &self->exact_v, total))) ||
        !reserve_scores(self, total)) {
        return error_run(error, "not enough memory for %zu tokens", total);
    }
    threads_for(self->threads, store_token, &step, kv->n_tokens);
    threads_for(self->threads, attend_query, &step, kv->n_tokens * attention->n_q_heads);
    set_length(self, layer, total);
    store->n_tokens = self->k_rows[self->n_layers - 1].n;
    return true;
}

static bool truncate(struct kv_store *store, size_t n_tokens, struct error *error)
{
    struct kv_plain *self = (struct kv_plain *)store;
    (void)error;
    for (uint32_t layer = 0; layer < self->n_layers; layer++) {
        set_length(self, layer, n_tokens);
    }
    store->n_tokens = n_tokens;
    return true;
}

/* Of one KV head: the exact tokens as f16, as a cache would have them, and the rows of the others. */
static size_t head_bytes(const struct kv_plain *self, size_t n)
{
    const size_t first = n > 0 ? first_exact(self, n) : 0;
    return first * (self->k.row_bytes + self->v.row_bytes) + (n - first) * 2 * (self->k.dim + self->v.dim);
}

static size_t bytes(const struct kv_store *store)
{
    const struct kv_plain *self = (const struct kv_plain *)store;
    return self->n_layers * self->n_kv_heads * head_bytes(self, store->n_tokens);
}

static void free_rows(struct rows *rows, uint32_t n_layers)
{
    for (uint32_t layer = 0; rows != NULL && layer < n_layers; layer++) {
        free(rows[layer].bytes);
    }
    free(rows);
}

static void destroy(struct kv_store *store)
{
    struct kv_plain *self = (struct kv_plain *)store;
    free_rows(self->k_rows, self->n_layers);
    free_rows(self->v_rows, self->n_layers);
    free_rows(self->exact_k_rows, self->n_layers);
    free_rows(self->exact_v_rows, self->n_layers);
    free(self->scores);
    free(self);
}

static const struct kv_store_ops ops = {forward, truncate, bytes, NULL, destroy};

/* Without rows. */
static struct kv_plain *create(const struct cache_config *config, const struct model *model, struct error *error)
{
    const size_t recent = config->recent_tokens == TQ_NO_RECENT_TOKENS ? 0 : config->recent_tokens;
    if (!side_supports(config->k.plain, model->head_dim) || !side_supports(config->v.plain, model->head_dim_v)) {
        error_set(error, EXIT_INPUT, "the format does not exist for heads of %lu", (unsigned long)model->head_dim);
        return NULL;
    }
    struct kv_plain *self = calloc(1, sizeof *self);
    if (self == NULL) {
        error_set(error, EXIT_RUN, "not enough memory");
        return NULL;
    }
    self->store.ops = &ops;
    self->n_layers = model->n_layers;
    self->n_kv_heads = model->n_kv_heads;
    if (config->recent_tokens != 0) {
        self->exact_pages = 1 + (recent + TQ_PAGE_TOKENS - 1) / TQ_PAGE_TOKENS;
    }
    side_init(&self->k, config->k.plain, model->head_dim);
    side_init(&self->v, config->v.plain, model->head_dim_v);
    side_init(&self->exact_k, PLAIN_F32, model->head_dim);
    side_init(&self->exact_v, PLAIN_F32, model->head_dim_v);
    return self;
}

bool kv_plain_estimate(const struct cache_config *config, const struct model *model, size_t n_tokens, size_t *bytes,
                       struct error *error)
{
    struct kv_plain *self = create(config, model, error);
    if (self == NULL) {
        return false;
    }
    const size_t heads = (size_t)model->n_layers * model->n_kv_heads;
    const bool ok = n_tokens <= SIZE_MAX / heads / (self->exact_k.row_bytes + self->exact_v.row_bytes) ||
                    error_input(error, "%zu tokens are more than any memory holds", n_tokens);
    *bytes = ok ? heads * head_bytes(self, n_tokens) : 0;
    destroy(&self->store);
    return ok;
}

struct kv_store *kv_plain_create(const struct cache_config *config, const struct model *model,
                                 const struct threads *threads, struct error *error)
{
    struct kv_plain *self = create(config, model, error);
    if (self == NULL) {
        return NULL;
    }
    self->threads = threads;
    self->k_rows = calloc(model->n_layers, sizeof *self->k_rows);
    self->v_rows = calloc(model->n_layers, sizeof *self->v_rows);
    self->exact_k_rows = calloc(model->n_layers, sizeof *self->exact_k_rows);
    self->exact_v_rows = calloc(model->n_layers, sizeof *self->exact_v_rows);
    if (self->k_rows == NULL || self->v_rows == NULL || self->exact_k_rows == NULL || self->exact_v_rows == NULL) {
        destroy(&self->store);
        error_set(error, EXIT_RUN, "not enough memory");
        return NULL;
    }
    return &self->store;
}

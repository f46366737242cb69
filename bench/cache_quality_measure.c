/* SPDX-License-Identifier: MIT */
/* tq_bench quality: feeds every layer through every cache that is compared. */
#include "cache_quality.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cache_bytes.h"
#include "cache_layer.h"

/* What is added up over all layers. */
struct sparse_sums {
    struct sums outputs;
    size_t pages;
    size_t passed_over;
};

struct policy_sums {
    struct sums sums;
    size_t encoded_bytes;
};

struct totals {
    struct sums pairs[PAIRS][VARIANTS];
    struct sparse_sums sparse[PAIRS][THRESHOLDS];
    struct policy_sums policies[POLICIES];
};

/* Pages that a query sees, and those of which it took no value. */
static void add_pages(const struct layer *layer, const float *exact, const float *out, struct sparse_sums *sums)
{
    for (size_t at = 0; at < layer_output_floats(layer); at += layer->head_dim_v) {
        for (size_t page = 0; page < layer->head_dim_v; page += TQ_PAGE_TOKENS) {
            bool seen = false;
            bool taken = false;
            for (size_t k = page; k < page + TQ_PAGE_TOKENS && k < layer->head_dim_v; k++) {
                seen = seen || exact[at + k] > 0;
                taken = taken || out[at + k] > 0;
            }
            sums->pages += seen;
            sums->passed_over += seen && !taken;
        }
    }
}

/* What is done to every layer, twice: with the file's values, and with others that show the weights. */
struct pass {
    const tq_context *context;
    uint64_t seed;
    const struct layer *layer;
    bool weights;
    float *exact;
    float *out;
};

/* Values that show the weights are not encoded. */
static tq_format v_format(const struct pass *pass, tq_format format)
{
    return pass->weights ? TQ_FORMAT_F16 : format;
}

static struct feed feed_of(const struct pass *pass, tq_layer_formats formats)
{
    struct feed feed = {.desc = TQ_CACHE_DESC_INIT};
    feed.desc.n_layers = 1;
    feed.desc.n_kv_heads = pass->layer->qkv->kv_heads;
    feed.desc.head_dim_k = pass->layer->qkv->head_dim;
    feed.desc.head_dim_v = pass->layer->head_dim_v;
    feed.desc.k_format = formats.k_format;
    feed.desc.v_format = v_format(pass, formats.v_format);
    feed.desc.seed = pass->seed;
    return feed;
}

static tq_status run(const struct pass *pass, const struct feed *feed, struct sums *sums, size_t *encoded_bytes)
{
    const tq_status status = layer_run(pass->context, pass->layer, feed, pass->out, encoded_bytes);
    if (pass->weights) {
        layer_add_divergence(pass->layer, pass->exact, pass->out, sums);
    } else {
        layer_add_error(pass->layer, pass->exact, pass->out, sums);
    }
    return status;
}

static tq_status run_variants(const struct pass *pass, struct sums sums[PAIRS][VARIANTS])
{
    tq_status status = TQ_OK;
    for (size_t i = 0; i < (size_t)PAIRS * VARIANTS && status == TQ_OK; i++) {
        const struct variant *variant = &variants[i % VARIANTS];
        struct feed feed = feed_of(pass, pairs[i / VARIANTS].formats);
        feed.desc.flags = variant->flags;
        feed.desc.recent_tokens = variant->recent_tokens;
        feed.desc.sink_tokens = variant->sink_tokens;
        status = run(pass, &feed, &sums[i / VARIANTS][i % VARIANTS], NULL);
    }
    return status;
}

static tq_status run_sparse(const struct pass *pass, struct sparse_sums sums[PAIRS][THRESHOLDS])
{
    tq_status status = TQ_OK;
    for (size_t i = 0; i < (size_t)PAIRS * THRESHOLDS && status == TQ_OK; i++) {
        struct sparse_sums *sum = &sums[i / THRESHOLDS][i % THRESHOLDS];
        struct feed feed = feed_of(pass, pairs[i / THRESHOLDS].formats);
        feed.skip_below = thresholds[i % THRESHOLDS];
        status = run(pass, &feed, &sum->outputs, NULL);
        if (pass->weights) {
            add_pages(pass->layer, pass->exact, pass->out, sum);
        }
    }
    return status;
}

static tq_status run_policy(const struct pass *pass, const struct policy *policy, struct policy_sums *sums)
{
    const size_t n_layers = pass->layer->qkv->layers;
    tq_layer_formats *formats = calloc(n_layers, sizeof *formats);
    tq_tier tiers[MOST_TIERS];
    size_t bytes = 0;
    if (formats == NULL) {
        return TQ_ERR_OUT_OF_MEMORY;
    }
    tq_status status = tq_policy_protect(formats, n_layers, policy->n_protected,
                                         (tq_layer_formats){policy->protected_format, policy->protected_format},
                                         (tq_layer_formats){policy->format, policy->format});
    struct feed feed = feed_of(pass, formats[pass->layer->index]);
    for (size_t t = 0; t < policy->n_tiers; t++) {
        const tq_format format = policy->tiers[t].format;
        tiers[t] = (tq_tier){policy->tiers[t].min_age, {format, pass->weights ? TQ_FORMAT_DEFAULT : format}};
    }
    feed.tiers = tiers;
    feed.n_tiers = policy->n_tiers;
    if (status == TQ_OK) {
        status = run(pass, &feed, &sums->sums, &bytes);
    }
    sums->encoded_bytes += pass->weights ? 0 : bytes;
    free(formats);
    return status;
}

static tq_status run_pass(const struct pass *pass, struct totals *totals)
{
    const struct feed exact = feed_of(pass, (tq_layer_formats){TQ_FORMAT_F16, TQ_FORMAT_F16});
    tq_status status = layer_run(pass->context, pass->layer, &exact, pass->exact, NULL);
    if (status == TQ_OK) {
        status = run_variants(pass, totals->pairs);
    }
    if (status == TQ_OK) {
        status = run_sparse(pass, totals->sparse);
    }
    for (size_t p = 0; p < POLICIES && status == TQ_OK; p++) {
        status = run_policy(pass, &policies[p], &totals->policies[p]);
    }
    return status;
}

/* One layer's share. Values that are the rows of the identity, exact in f16, make outputs of the softmax weights: the
 * keys, which alone decide about these, are the same. */
static tq_status measure_layer(const tq_context *context, const struct qkv *qkv, uint64_t seed, uint32_t index,
                               struct totals *totals)
{
    const size_t shown = qkv->tokens < TQ_MAX_DIM ? qkv->tokens : TQ_MAX_DIM;
    const struct layer layer = {.qkv = qkv,
                                .index = index,
                                .tokens = qkv->tokens,
                                .values = qkv_values(qkv, index, 0),
                                .head_dim_v = qkv->head_dim,
                                .v_head_stride = (size_t)qkv->tokens * qkv->head_dim};
    float *identity = calloc(shown * shown * qkv->kv_heads, sizeof *identity);
    const struct layer weights = {.qkv = qkv,
                                  .index = index,
                                  .tokens = shown,
                                  .values = identity,
                                  .head_dim_v = (uint32_t)shown,
                                  .v_head_stride = shown * shown};
    const size_t floats = layer_output_floats(&layer) > layer_output_floats(&weights) ? layer_output_floats(&layer)
                                                                                      : layer_output_floats(&weights);
    float *exact = calloc(2 * floats, sizeof *exact);
    tq_status status = TQ_ERR_OUT_OF_MEMORY;
    if (identity != NULL && exact != NULL) {
        for (size_t i = 0; i < shown * qkv->kv_heads; i++) {
            identity[i * shown + i % shown] = 1;
        }
        const struct pass outputs = {context, seed, &layer, false, exact, exact + floats};
        const struct pass shares = {context, seed, &weights, true, exact, exact + floats};
        status = run_pass(&outputs, totals);
        if (status == TQ_OK) {
            status = run_pass(&shares, totals);
        }
    }
    free(identity);
    free(exact);
    return status;
}

/* Of an encoded token and KV head. */
static tq_status measure_bytes(const tq_context *context, const struct qkv *qkv, tq_layer_formats formats,
                               double *per_token)
{
    const struct layer layer = {.qkv = qkv, .head_dim_v = qkv->head_dim};
    const struct pass pass = {.layer = &layer};
    const struct feed feed = feed_of(&pass, formats);
    size_t bytes = 0;
    const tq_status status = cache_page_bytes(context, &feed.desc, &bytes);
    *per_token = (double)bytes / TQ_PAGE_TOKENS / qkv->kv_heads;
    return status;
}

static void pair_result(const struct totals *totals, size_t p, struct pair_result *result)
{
    for (size_t v = 0; v < VARIANTS; v++) {
        result->error[v] = relative_error(&totals->pairs[p][v]);
        result->kl[v] = mean_divergence(&totals->pairs[p][v]);
    }
    for (size_t t = 0; t < THRESHOLDS; t++) {
        const struct sparse_sums *sum = &totals->sparse[p][t];
        result->sparse_error[t] = relative_error(&sum->outputs);
        result->passed_over[t] = sum->pages > 0 ? (double)sum->passed_over / (double)sum->pages : 0;
    }
}

/* Every policy encodes the same pages; the first one has the bytes of its one format for each token. */
static void policy_results(const struct totals *totals, double first_bytes, struct policy_result *results)
{
    for (size_t p = 0; p < POLICIES; p++) {
        const double first = (double)totals->policies[0].encoded_bytes;
        results[p].bytes = first > 0 ? first_bytes * (double)totals->policies[p].encoded_bytes / first : 0;
        results[p].error = relative_error(&totals->policies[p].sums);
        results[p].kl = mean_divergence(&totals->policies[p].sums);
    }
}

tq_status cache_quality_measure(const tq_context *context, const struct qkv *qkv, uint64_t seed,
                                struct cache_quality *results)
{
    double first_bytes;
    struct totals totals;
    memset(&totals, 0, sizeof totals);
    tq_status status =
        measure_bytes(context, qkv, (tq_layer_formats){policies[0].format, policies[0].format}, &first_bytes);
    for (size_t p = 0; p < PAIRS && status == TQ_OK; p++) {
        status = measure_bytes(context, qkv, pairs[p].formats, &results->pairs[p].bytes);
    }
    for (uint32_t index = 0; index < qkv->layers && status == TQ_OK; index++) {
        status = measure_layer(context, qkv, seed, index, &totals);
    }
    for (size_t p = 0; p < PAIRS; p++) {
        pair_result(&totals, p, &results->pairs[p]);
    }
    policy_results(&totals, first_bytes, results->policies);
    return status;
}

/* SPDX-License-Identifier: MIT */
/* One layer of a .qkv file fed through a cache, and what became of its attention. */
#include "cache_layer.h"

#include <float.h>
#include <math.h>

size_t layer_first_position(const struct layer *layer)
{
    return layer->tokens / 2;
}

size_t layer_output_floats(const struct layer *layer)
{
    return (layer->tokens - layer_first_position(layer)) * layer->qkv->q_heads * layer->head_dim_v;
}

/* Tokens [first, first + n); the file is head-major. */
static tq_kv tokens_of(const struct layer *layer, size_t first, size_t n)
{
    const struct qkv *qkv = layer->qkv;
    return (tq_kv){.struct_size = sizeof(tq_kv),
                   .k = qkv_keys(qkv, layer->index, 0) + first * qkv->head_dim,
                   .v = layer->values + first * layer->head_dim_v,
                   .n_tokens = n,
                   .k_token_stride = qkv->head_dim,
                   .k_head_stride = (size_t)qkv->tokens * qkv->head_dim,
                   .v_token_stride = layer->head_dim_v,
                   .v_head_stride = layer->v_head_stride};
}

static tq_status forward(tq_cache *cache, tq_seq *seq, const struct layer *layer, const struct feed *feed, size_t first,
                         size_t n, float *out)
{
    const struct qkv *qkv = layer->qkv;
    const tq_kv kv = tokens_of(layer, first, n);
    const tq_attention attention = {.struct_size = sizeof attention,
                                    .q = qkv_queries(qkv, layer->index, 0) + first * qkv->head_dim,
                                    .n_q_heads = qkv->q_heads,
                                    .n_tokens = n,
                                    .q_token_stride = qkv->head_dim,
                                    .q_head_stride = (size_t)qkv->tokens * qkv->head_dim,
                                    .out = out,
                                    .skip_below = feed->skip_below};
    return tq_cache_forward(cache, seq, 0, &kv, &attention);
}

static tq_status demote(tq_cache *cache, tq_seq *seq, const struct feed *feed)
{
    return feed->n_tiers == 0 ? TQ_OK : tq_cache_demote(cache, seq, feed->tiers, feed->n_tiers);
}

static tq_status fill(tq_cache *cache, const struct layer *layer, const struct feed *feed, float *out)
{
    const size_t first = layer_first_position(layer);
    const size_t step = feed->n_tiers == 0 ? layer->tokens - first : TQ_PAGE_TOKENS;
    const tq_kv past = tokens_of(layer, 0, first);
    tq_seq *seq = NULL;
    tq_status status = tq_seq_create(cache, &seq);
    if (status == TQ_OK) {
        status = tq_cache_append(cache, seq, 0, &past);
    }
    for (size_t at = first; at < layer->tokens && status == TQ_OK; at += step) {
        const size_t n = layer->tokens - at < step ? layer->tokens - at : step;
        status = demote(cache, seq, feed);
        if (status == TQ_OK) {
            status =
                forward(cache, seq, layer, feed, at, n, out + (at - first) * layer->qkv->q_heads * layer->head_dim_v);
        }
    }
    return status == TQ_OK ? demote(cache, seq, feed) : status;
}

tq_status layer_run(const tq_context *context, const struct layer *layer, const struct feed *feed, float *out,
                    size_t *encoded_bytes)
{
    tq_cache_stats_result stats = {.struct_size = sizeof stats};
    tq_cache *cache;
    tq_status status = tq_cache_create(context, &feed->desc, &cache);
    if (status != TQ_OK) {
        return status;
    }
    status = fill(cache, layer, feed, out);
    if (status == TQ_OK && encoded_bytes != NULL) {
        status = tq_cache_stats(cache, &stats);
        *encoded_bytes = stats.encoded_bytes;
    }
    tq_cache_destroy(cache);
    return status;
}

void layer_add_error(const struct layer *layer, const float *exact, const float *out, struct sums *sums)
{
    for (size_t i = 0; i < layer_output_floats(layer); i++) {
        sums->error += pow((double)exact[i] - (double)out[i], 2);
        sums->norm += pow((double)exact[i], 2);
    }
}

/* Sum over the keys of p log(p / q). A weight that is 0 in f32 counts as the smallest one. */
static double divergence(const float *p, const float *q, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] > 0) {
            sum += (double)p[i] * log((double)p[i] / fmax((double)q[i], (double)FLT_TRUE_MIN));
        }
    }
    return sum;
}

void layer_add_divergence(const struct layer *layer, const float *exact, const float *out, struct sums *sums)
{
    const size_t row = layer->head_dim_v;
    for (size_t at = 0; at < layer_output_floats(layer); at += row) {
        sums->divergence += divergence(exact + at, out + at, row);
        sums->queries++;
    }
}

double relative_error(const struct sums *sums)
{
    return sums->norm > 0 ? sqrt(sums->error / sums->norm) : 0;
}

double mean_divergence(const struct sums *sums)
{
    return sums->queries > 0 ? sums->divergence / (double)sums->queries : 0;
}

/* SPDX-License-Identifier: MIT
 *
 * What the tests of caches share; see cache_support.h. */
#include "cache_support.h"

#include <math.h>
#include <stdio.h>

tq_cache_desc cache_desc(uint32_t n_layers, uint32_t n_kv_heads, uint32_t head_dim_k, uint32_t head_dim_v)
{
    tq_cache_desc desc = TQ_CACHE_DESC_INIT;
    desc.n_layers = n_layers;
    desc.n_kv_heads = n_kv_heads;
    desc.head_dim_k = head_dim_k;
    desc.head_dim_v = head_dim_v;
    return desc;
}

tq_cache *open_cache(const tq_context *context, const tq_cache_desc *desc)
{
    tq_cache *cache = NULL;
    assert_status(tq_cache_create(context, desc, &cache), TQ_OK);
    assert_non_null(cache);
    return cache;
}

tq_seq *open_seq(tq_cache *cache)
{
    tq_seq *seq = NULL;
    assert_status(tq_seq_create(cache, &seq), TQ_OK);
    assert_non_null(seq);
    return seq;
}

tq_context *open_context_with(const tq_allocator *allocator, const tq_executor *executor)
{
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    if (allocator) {
        desc.allocator = *allocator;
    }
    if (executor) {
        desc.executor = *executor;
    }
    tq_context *context = NULL;
    assert_status(tq_context_create(&desc, &context), TQ_OK);
    return context;
}

tq_cache_stats_result stats_of(const tq_cache *cache)
{
    tq_cache_stats_result stats = {.struct_size = sizeof stats};
    assert_status(tq_cache_stats(cache, &stats), TQ_OK);
    assert_int_equal(stats.struct_size, sizeof stats);
    assert_int_equal(stats.encoded_bytes + stats.exact_bytes, stats.page_bytes);
    return stats;
}

void assert_stats_equal(const tq_cache_stats_result *a, const tq_cache_stats_result *b)
{
    assert_int_equal(a->n_sequences, b->n_sequences);
    assert_int_equal(a->page_bytes, b->page_bytes);
    assert_int_equal(a->encoded_bytes, b->encoded_bytes);
    assert_int_equal(a->exact_bytes, b->exact_bytes);
}

size_t estimate_of(const tq_context *context, const tq_cache_desc *desc, size_t n_tokens)
{
    size_t bytes = SIZE_MAX;
    assert_status(tq_cache_estimate(context, desc, n_tokens, &bytes), TQ_OK);
    return bytes;
}

size_t encoded_side_bytes(const tq_cache_desc *desc, int values, tq_format format)
{
    const size_t dim = values && desc->head_dim_v ? desc->head_dim_v : desc->head_dim_k;
    const uint32_t no_means = values ? TQ_CACHE_NO_V_MEANS : TQ_CACHE_NO_K_MEANS;
    const int mean = format != TQ_FORMAT_F16 && !(desc->flags & no_means);
    return TQ_PAGE_TOKENS * row_bytes(format, dim) + (mean ? (2 * dim + 63) / 64 * 64 : 0);
}

static void *must_alloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

/* Tokens */

static float *gauss(struct rng *rng, size_t n)
{
    float *x = must_alloc(n, sizeof *x);
    rng_fill_gauss(rng, x, n);
    return x;
}

struct tokens tokens_gauss(struct rng *rng, const tq_cache_desc *desc, uint32_t n_q_heads, size_t n)
{
    const uint32_t dim_v = desc->head_dim_v ? desc->head_dim_v : desc->head_dim_k;
    return (struct tokens){.n = n,
                           .n_kv_heads = desc->n_kv_heads,
                           .n_q_heads = n_q_heads,
                           .dim_k = desc->head_dim_k,
                           .dim_v = dim_v,
                           .k = gauss(rng, n * desc->n_kv_heads * desc->head_dim_k),
                           .v = gauss(rng, n * desc->n_kv_heads * dim_v),
                           .q = gauss(rng, n * n_q_heads * desc->head_dim_k)};
}

void tokens_free(struct tokens *tokens)
{
    free(tokens->k);
    free(tokens->v);
    free(tokens->q);
}

size_t tokens_out_size(const struct tokens *tokens)
{
    return tokens->n * tokens->n_q_heads * tokens->dim_v;
}

tq_kv tokens_kv(const struct tokens *tokens, size_t first, size_t n)
{
    tq_kv kv = TQ_KV_INIT;
    assert_true(first + n <= tokens->n);
    kv.k = tokens->k + first * tokens->n_kv_heads * tokens->dim_k;
    kv.v = tokens->v + first * tokens->n_kv_heads * tokens->dim_v;
    kv.n_tokens = n;
    return kv;
}

tq_attention tokens_attention(const struct tokens *tokens, size_t first, size_t n, float *out, float *lse)
{
    tq_attention attention = TQ_ATTENTION_INIT;
    assert_true(first + n <= tokens->n);
    attention.q = tokens->q + first * tokens->n_q_heads * tokens->dim_k;
    attention.n_q_heads = tokens->n_q_heads;
    attention.n_tokens = n;
    attention.out = out + first * tokens->n_q_heads * tokens->dim_v;
    attention.lse = lse ? lse + first * tokens->n_q_heads : NULL;
    return attention;
}

tq_status step(tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_kv *kv, const tq_attention *attention)
{
    return !kv          ? tq_cache_attend(cache, seq, layer, attention)
           : !attention ? tq_cache_append(cache, seq, layer, kv)
                        : tq_cache_forward(cache, seq, layer, kv, attention);
}

void feed(tq_cache *cache, tq_seq *seq, uint32_t layer, const struct tokens *tokens, size_t first, size_t end,
          float *out, float *lse)
{
    const tq_kv kv = tokens_kv(tokens, first, end - first);
    const tq_attention attention = tokens_attention(tokens, first, end - first, out, lse);
    assert_int_equal(tq_seq_length(seq, layer), first);
    assert_status(tq_cache_forward(cache, seq, layer, &kv, &attention), TQ_OK);
    assert_int_equal(tq_seq_length(seq, layer), end);
}

/* Sequences that tests compare */

/* Formats that together have every kind of page, with and without means, and that are quick to encode: the trellis of
 * 64 states costs a hundred times as much. */
static const tq_layer_formats mixed[] = {
    {TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO2}, {TQ_FORMAT_F16, TQ_FORMAT_TURBO3}, {TQ_FORMAT_TURBO1, TQ_FORMAT_F16}};

tq_cache_desc mixed_desc(void)
{
    tq_cache_desc desc = cache_desc(3, 2, 16, 24);
    desc.layers = mixed;
    desc.effort = TQ_EFFORT_FAST;
    return desc;
}

struct run open_run(tq_seq *seq, const struct tokens *t)
{
    return (struct run){seq, filled(tokens_out_size(t) * sizeof(float)), filled(t->n * t->n_q_heads * sizeof(float))};
}

void close_run(struct run *run)
{
    tq_seq_destroy(run->seq);
    free(run->out);
    free(run->lse);
}

void run_on(tq_cache *cache, struct run *run, const struct tokens *t, size_t first, size_t end)
{
    for (uint32_t layer = 0; layer < 3; layer++) {
        feed(cache, run->seq, layer, t, first, end, run->out, run->lse);
    }
}

void assert_runs_equal(const struct run *a, const struct run *b, const struct tokens *t, size_t first, size_t end)
{
    const size_t row = t->n_q_heads * t->dim_v;
    assert_memory_equal(a->out + first * row, b->out + first * row, (end - first) * row * sizeof(float));
    assert_memory_equal(a->lse + first * t->n_q_heads, b->lse + first * t->n_q_heads,
                        (end - first) * t->n_q_heads * sizeof(float));
}

/* Model */

/* Keys or values of one layer. */
struct side {
    tq_codec *codec;
    size_t dim;
};

struct model {
    tq_cache_desc desc;
    size_t window_pages;
    struct side *sides; /* [n_layers][keys, values] */
};

/* Vectors of all tokens, [n][head][dim]. */
struct vectors {
    uint16_t *f16; /* As they came. */
    float *exact;  /* The same. */
    float *coded;  /* What a codec made of them, once it did. */
};

struct track {
    size_t n;
    unsigned char *encoded; /* [n] Has the token been encoded? */
    unsigned char *gone;    /* [n] Is only the encoded form left? */
    struct vectors sides[2];
    double largest_value;
};

struct model_seq {
    const struct model *model;
    struct track *tracks;
};

static tq_format format_or_default(tq_format of_layer, tq_format of_cache, uint32_t dim)
{
    const tq_format format = of_layer ? of_layer : of_cache;
    return format ? format : dim % 8 == 0 ? TQ_FORMAT_TURBO4T : TQ_FORMAT_TURBO4;
}

static struct side open_side(const tq_context *context, const tq_cache_desc *desc, uint32_t layer, int values)
{
    const tq_layer_formats own = desc->layers ? desc->layers[layer] : (tq_layer_formats){0, 0};
    const uint32_t dim = values && desc->head_dim_v ? desc->head_dim_v : desc->head_dim_k;
    tq_codec_desc codec = codec_desc(dim, values ? format_or_default(own.v_format, desc->v_format, dim)
                                                 : format_or_default(own.k_format, desc->k_format, dim));
    codec.scale = values ? TQ_SCALE_UNBIASED : TQ_SCALE_NORM;
    codec.effort = desc->effort;
    codec.seed = desc->seed;
    return (struct side){open_codec_desc(context, &codec), dim};
}

struct model *model_open(const tq_context *context, const tq_cache_desc *desc)
{
    struct model *model = must_alloc(1, sizeof *model);
    model->desc = *desc;
    const size_t recent = desc->recent_tokens == TQ_NO_RECENT_TOKENS ? 0
                          : desc->recent_tokens == 0                 ? 64
                                                                     : desc->recent_tokens;
    model->window_pages = (recent + TQ_PAGE_TOKENS - 1) / TQ_PAGE_TOKENS;
    model->sides = must_alloc(2 * (size_t)desc->n_layers, sizeof *model->sides);
    for (uint32_t i = 0; i < 2 * desc->n_layers; i++) {
        model->sides[i] = open_side(context, desc, i / 2, (int)(i % 2));
    }
    return model;
}

void model_close(struct model *model)
{
    for (uint32_t i = 0; i < 2 * model->desc.n_layers; i++) {
        tq_codec_destroy(model->sides[i].codec);
    }
    free(model->sides);
    free(model);
}

struct model_seq *model_seq_open(const struct model *model)
{
    struct model_seq *seq = must_alloc(1, sizeof *seq);
    seq->model = model;
    seq->tracks = must_alloc(model->desc.n_layers, sizeof *seq->tracks);
    return seq;
}

void model_seq_close(struct model_seq *seq)
{
    for (uint32_t layer = 0; layer < seq->model->desc.n_layers; layer++) {
        for (int s = 0; s < 2; s++) {
            free(seq->tracks[layer].sides[s].f16);
            free(seq->tracks[layer].sides[s].exact);
            free(seq->tracks[layer].sides[s].coded);
        }
        free(seq->tracks[layer].encoded);
        free(seq->tracks[layer].gone);
    }
    free(seq->tracks);
    free(seq);
}

size_t model_seq_length(const struct model_seq *seq, uint32_t layer)
{
    return seq->tracks[layer].n;
}

static void *resized(void *memory, size_t count, size_t size)
{
    void *moved = realloc(memory, (count ? count : 1) * size);
    assert_non_null(moved);
    return moved;
}

/* Elements of one token. */
static size_t width_of(const struct model *model, uint32_t layer, int s)
{
    return model->desc.n_kv_heads * model->sides[2 * layer + (uint32_t)s].dim;
}

static void track_resize(const struct model *model, struct track *track, uint32_t layer, size_t n)
{
    for (int s = 0; s < 2; s++) {
        const size_t width = width_of(model, layer, s);
        track->sides[s].f16 = resized(track->sides[s].f16, n * width, sizeof *track->sides[s].f16);
        track->sides[s].exact = resized(track->sides[s].exact, n * width, sizeof *track->sides[s].exact);
        track->sides[s].coded = resized(track->sides[s].coded, n * width, sizeof *track->sides[s].coded);
    }
    track->encoded = resized(track->encoded, n, 1);
    track->gone = resized(track->gone, n, 1);
    track->n = n;
}

struct model_seq *model_seq_fork(const struct model_seq *parent, size_t n_tokens)
{
    struct model_seq *seq = model_seq_open(parent->model);
    for (uint32_t layer = 0; layer < parent->model->desc.n_layers; layer++) {
        const struct track *from = &parent->tracks[layer];
        struct track *to = &seq->tracks[layer];
        assert_true(n_tokens <= from->n);
        track_resize(parent->model, to, layer, n_tokens);
        for (int s = 0; s < 2 && n_tokens != 0; s++) {
            const size_t count = n_tokens * width_of(parent->model, layer, s);
            memcpy(to->sides[s].f16, from->sides[s].f16, count * sizeof *to->sides[s].f16);
            memcpy(to->sides[s].exact, from->sides[s].exact, count * sizeof *to->sides[s].exact);
            memcpy(to->sides[s].coded, from->sides[s].coded, count * sizeof *to->sides[s].coded);
        }
        if (n_tokens != 0) {
            memcpy(to->encoded, from->encoded, n_tokens);
            memcpy(to->gone, from->gone, n_tokens);
        }
        to->largest_value = from->largest_value;
    }
    return seq;
}

void model_seq_truncate(struct model_seq *seq, size_t n_tokens)
{
    for (uint32_t layer = 0; layer < seq->model->desc.n_layers; layer++) {
        assert_true(n_tokens <= seq->tracks[layer].n);
        seq->tracks[layer].n = n_tokens;
    }
}

/* What a codec makes of the vectors of a token. */
static void encode_token(const struct model *model, struct track *track, uint32_t layer, size_t token)
{
    for (int s = 0; s < 2; s++) {
        const struct side *side = &model->sides[2 * layer + (uint32_t)s];
        const size_t width = width_of(model, layer, s);
        const size_t size = model->desc.n_kv_heads * tq_codec_bytes(side->codec);
        unsigned char *codes = must_alloc(size, 1);
        assert_status(tq_encode(side->codec, track->sides[s].f16 + token * width, TQ_DTYPE_F16, 0,
                                model->desc.n_kv_heads, codes, size),
                      TQ_OK);
        assert_status(tq_decode(side->codec, codes, size, model->desc.n_kv_heads, track->sides[s].coded + token * width,
                                TQ_DTYPE_F32, 0),
                      TQ_OK);
        free(codes);
    }
    track->encoded[token] = 1;
}

/* Pages that the query at `position` sees encoded. The last of them keeps its exact tokens, in case the query's page is
 * taken back. */
static size_t encoded_pages(const struct model *model, size_t position)
{
    const size_t page = position / TQ_PAGE_TOKENS;
    return page > model->window_pages ? page - model->window_pages : 0;
}

/* Adds token `from` of `kv`, and encodes what has left the window now. */
static void track_append(const struct model *model, struct track *track, uint32_t layer, const tq_kv *kv, size_t from)
{
    const size_t token = track->n;
    track_resize(model, track, layer, token + 1);
    track->encoded[token] = 0;
    track->gone[token] = 0;
    for (int s = 0; s < 2; s++) {
        const size_t dim = model->sides[2 * layer + (uint32_t)s].dim;
        const size_t given_head = s ? kv->v_head_stride : kv->k_head_stride;
        const size_t given_token = s ? kv->v_token_stride : kv->k_token_stride;
        const size_t head_stride = given_head ? given_head : dim;
        const size_t token_stride = given_token ? given_token : model->desc.n_kv_heads * head_stride;
        for (size_t h = 0; h < model->desc.n_kv_heads; h++) {
            for (size_t i = 0; i < dim; i++) {
                const double x = element_of(s ? kv->v : kv->k, kv->dtype, from * token_stride + h * head_stride + i);
                const uint16_t half = f16_from_double(x);
                const size_t at = (token * model->desc.n_kv_heads + h) * dim + i;
                track->sides[s].f16[at] = half;
                track->sides[s].exact[at] = (float)f16_to_double(half);
                track->largest_value = s ? fmax(track->largest_value, fabs(x)) : track->largest_value;
            }
        }
    }
    const size_t encoded = TQ_PAGE_TOKENS * encoded_pages(model, token);
    for (size_t t = model->desc.sink_tokens; token % TQ_PAGE_TOKENS == 0 && t < encoded; t++) {
        if (!track->encoded[t]) {
            encode_token(model, track, layer, t);
        }
        track->gone[t] |= t + TQ_PAGE_TOKENS < encoded;
    }
}

/* A vector of a token as the query at `position` sees it. */
static const float *vector_seen(const struct model *model, const struct track *track, int s, size_t dim, size_t token,
                                size_t kv_head, size_t position)
{
    const int encoded = token >= model->desc.sink_tokens && token / TQ_PAGE_TOKENS < encoded_pages(model, position);
    const float *vectors = encoded || track->gone[token] ? track->sides[s].coded : track->sides[s].exact;
    return vectors + (token * model->desc.n_kv_heads + kv_head) * dim;
}

/* Attention of query `row`, head `head`, at `position`; returns the log of the sum. */
static double attend_one(const struct model *model, const struct track *track, uint32_t layer,
                         const tq_attention *attention, size_t row, size_t head, size_t position, double *out)
{
    const size_t dim_k = model->sides[2 * layer].dim;
    const size_t dim_v = model->sides[2 * layer + 1].dim;
    const size_t n_kv_heads = model->desc.n_kv_heads;
    const size_t kv_head = head / (attention->n_q_heads / n_kv_heads);
    const size_t head_stride = attention->q_head_stride ? attention->q_head_stride : dim_k;
    const size_t token_stride =
        attention->q_token_stride ? attention->q_token_stride : attention->n_q_heads * head_stride;
    const double scale = attention->scale != 0.0F ? (double)attention->scale : 1 / sqrt((double)dim_k);
    const double cap = (double)attention->soft_cap;
    const size_t window = attention->sliding_window;
    const size_t first = window != 0 && window <= position ? position + 1 - window : 0;

    double *q = must_alloc(dim_k, sizeof *q);
    double *scores = must_alloc(position + 1, sizeof *scores);
    for (size_t i = 0; i < dim_k; i++) {
        q[i] = element_of(attention->q, attention->q_dtype, row * token_stride + head * head_stride + i);
    }
    double largest = attention->sink_logits ? (double)attention->sink_logits[head] : -(double)INFINITY;
    for (size_t t = first; t <= position; t++) {
        const float *k = vector_seen(model, track, 0, dim_k, t, kv_head, position);
        double dot = 0;
        for (size_t i = 0; i < dim_k; i++) {
            dot += q[i] * (double)k[i];
        }
        scores[t] = cap > 0 ? cap * tanh(dot * scale / cap) : dot * scale;
        largest = fmax(largest, scores[t]);
    }
    double sum = attention->sink_logits ? exp((double)attention->sink_logits[head] - largest) : 0;
    memset(out, 0, dim_v * sizeof *out);
    for (size_t t = first; t <= position; t++) {
        const float *v = vector_seen(model, track, 1, dim_v, t, kv_head, position);
        const double weight = exp(scores[t] - largest);
        sum += weight;
        for (size_t i = 0; i < dim_v; i++) {
            out[i] += weight * (double)v[i];
        }
    }
    for (size_t i = 0; i < dim_v; i++) {
        out[i] /= sum;
    }
    free(scores);
    free(q);
    return largest + log(sum);
}

/* Compares what the cache wrote for one row of queries. */
static void compare_row(const struct model *model, const struct track *track, uint32_t layer,
                        const tq_attention *attention, size_t row, size_t position, double tolerance, const char *what)
{
    const size_t dim_v = model->sides[2 * layer + 1].dim;
    const size_t head_stride = attention->out_head_stride ? attention->out_head_stride : dim_v;
    const size_t token_stride =
        attention->out_token_stride ? attention->out_token_stride : attention->n_q_heads * head_stride;
    double *out = must_alloc(dim_v, sizeof *out);
    for (size_t head = 0; head < attention->n_q_heads; head++) {
        const double lse = attend_one(model, track, layer, attention, row, head, position, out);
        const float *got = attention->out + row * token_stride + head * head_stride;
        for (size_t i = 0; i < dim_v; i++) {
            assert_close((double)got[i], out[i], tolerance * track->largest_value,
                         "%s: layer %u, position %zu, query head %zu, coordinate %zu", what, layer, position, head, i);
        }
        if (attention->lse) {
            assert_close((double)attention->lse[row * attention->n_q_heads + head], lse, tolerance * fmax(1, fabs(lse)),
                         "%s: lse, layer %u, position %zu, query head %zu", what, layer, position, head);
        }
    }
    free(out);
}

void model_step(struct model_seq *seq, uint32_t layer, const tq_kv *kv, const tq_attention *attention, double tolerance,
                const char *what)
{
    struct track *track = &seq->tracks[layer];
    const size_t n = kv ? kv->n_tokens : attention->n_tokens;
    for (size_t row = 0; row < n; row++) {
        if (kv) {
            track_append(seq->model, track, layer, kv, row);
        }
        if (attention) {
            const size_t position = kv ? track->n - 1 : track->n - n + row;
            compare_row(seq->model, track, layer, attention, row, position, tolerance, what);
        }
    }
}

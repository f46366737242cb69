/* SPDX-License-Identifier: MIT
 *
 * A plain model of a cache; see cache_model.h. */
#include "cache_model.h"

#include <math.h>

enum { P = TQ_PAGE_TOKENS, FORMATS = 64 };

static void *must_alloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

struct model {
    const tq_context *context;
    tq_cache_desc desc;
    size_t window_pages;
    size_t dims[2];
    tq_layer_formats *layers;
    tq_codec *codecs[2][FORMATS]; /* Of keys and of values, by format; null: no page can have it. */
};

/* A token in a layer. */
struct state {
    unsigned char encoded; /* Has it been? */
    unsigned char gone;    /* Is only the encoded form left? */
    unsigned char sink;    /* Is it kept exact? */
    unsigned char fresh;   /* Has it been encoded anew since the last adoption? */
    unsigned char format[2];
};

/* Vectors of all tokens, [n][head][dim]. */
struct vectors {
    float *exact; /* As they came, in f16. */
    float *coded; /* What a codec made of them, once it did. */
};

struct track {
    size_t n;
    struct state *states;
    struct vectors sides[2];
    double largest_value;
};

struct model_seq {
    const struct model *model;
    struct track *tracks;
};

static tq_format format_or_default(tq_format of_layer, tq_format of_cache, size_t dim)
{
    const tq_format format = of_layer ? of_layer : of_cache;
    return format ? format : dim % 8 == 0 ? TQ_FORMAT_TURBO4T : TQ_FORMAT_TURBO4;
}

static tq_codec *open_side(const tq_context *context, const struct model *model, int values, tq_format format)
{
    tq_codec_desc desc = codec_desc((uint32_t)model->dims[values], format);
    desc.scale = values ? TQ_SCALE_UNBIASED : TQ_SCALE_NORM;
    desc.effort = model->desc.effort;
    desc.seed = model->desc.seed;
    return is_prod(format) || (is_trellis(format) && desc.dim % 8 != 0) ? NULL : open_codec_desc(context, &desc);
}

struct model *model_open(const tq_context *context, const tq_cache_desc *desc)
{
    struct model *model = must_alloc(1, sizeof *model);
    model->context = context;
    model->desc = *desc;
    const size_t recent = desc->recent_tokens == TQ_NO_RECENT_TOKENS ? 0
                          : desc->recent_tokens == 0                 ? 64
                                                                     : desc->recent_tokens;
    model->window_pages = (recent + P - 1) / P;
    model->dims[0] = desc->head_dim_k;
    model->dims[1] = desc->head_dim_v ? desc->head_dim_v : desc->head_dim_k;
    model->layers = must_alloc(desc->n_layers, sizeof *model->layers);
    for (uint32_t i = 0; i < desc->n_layers; i++) {
        const tq_layer_formats own = desc->layers ? desc->layers[i] : (tq_layer_formats){0, 0};
        model->layers[i].k_format = format_or_default(own.k_format, desc->k_format, model->dims[0]);
        model->layers[i].v_format = format_or_default(own.v_format, desc->v_format, model->dims[1]);
    }
    for (size_t i = 0; i < 2 * tq_format_count(); i++) {
        const tq_format format = tq_format_at(i / 2);
        model->codecs[i % 2][format] = open_side(context, model, (int)(i % 2), format);
    }
    return model;
}

void model_close(struct model *model)
{
    for (size_t i = 0; i < 2 * FORMATS; i++) {
        tq_codec_destroy(model->codecs[i % 2][i / 2]);
    }
    free(model->layers);
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
            free(seq->tracks[layer].sides[s].exact);
            free(seq->tracks[layer].sides[s].coded);
        }
        free(seq->tracks[layer].states);
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
static size_t width_of(const struct model *model, int s)
{
    return model->desc.n_kv_heads * model->dims[s];
}

static void track_resize(const struct model *model, struct track *track, size_t n)
{
    for (int s = 0; s < 2; s++) {
        const size_t width = width_of(model, s);
        track->sides[s].exact = resized(track->sides[s].exact, n * width, sizeof(float));
        track->sides[s].coded = resized(track->sides[s].coded, n * width, sizeof(float));
    }
    track->states = resized(track->states, n, sizeof *track->states);
    track->n = n;
}

/* Copies tokens [first, first + n) of a track to place `at` of another, or of the same. */
static void copy_tokens(const struct model *model, struct track *to, size_t at, const struct track *from, size_t first,
                        size_t n)
{
    for (int s = 0; s < 2 && n != 0; s++) {
        const size_t width = width_of(model, s);
        memmove(to->sides[s].exact + at * width, from->sides[s].exact + first * width, n * width * sizeof(float));
        memmove(to->sides[s].coded + at * width, from->sides[s].coded + first * width, n * width * sizeof(float));
    }
    if (n != 0) {
        memmove(to->states + at, from->states + first, n * sizeof *to->states);
    }
}

struct model_seq *model_seq_fork(const struct model_seq *parent, size_t n_tokens)
{
    struct model_seq *seq = model_seq_open(parent->model);
    for (uint32_t layer = 0; layer < parent->model->desc.n_layers; layer++) {
        assert_true(n_tokens <= parent->tracks[layer].n);
        track_resize(parent->model, &seq->tracks[layer], n_tokens);
        copy_tokens(parent->model, &seq->tracks[layer], 0, &parent->tracks[layer], 0, n_tokens);
        seq->tracks[layer].largest_value = parent->tracks[layer].largest_value;
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

void model_seq_remove(struct model_seq *seq, size_t first, size_t n_tokens)
{
    for (uint32_t layer = 0; layer < seq->model->desc.n_layers; layer++) {
        struct track *track = &seq->tracks[layer];
        assert_true(first + n_tokens <= track->n);
        copy_tokens(seq->model, track, first, track, first + n_tokens, track->n - first - n_tokens);
        track->n -= n_tokens;
    }
}

/* What a codec makes of one side of a token's vectors. */
static void encode_side(const struct model *model, struct track *track, size_t token, int s, const float *from)
{
    const tq_codec *codec = model->codecs[s][track->states[token].format[s]];
    const size_t n = model->desc.n_kv_heads;
    const size_t size = n * tq_codec_bytes(codec);
    unsigned char *codes = must_alloc(size, 1);
    float *coded = track->sides[s].coded + token * width_of(model, s);
    assert_status(tq_encode(codec, from, TQ_DTYPE_F32, 0, n, codes, size), TQ_OK);
    assert_status(tq_decode(codec, codes, size, n, coded, TQ_DTYPE_F32, 0), TQ_OK);
    free(codes);
}

/* Pages that the query at `position` sees encoded. The last of them keeps its exact tokens, in case the query's page is
 * taken back. */
static size_t encoded_pages(const struct model *model, size_t position)
{
    const size_t page = position / P;
    return page > model->window_pages ? page - model->window_pages : 0;
}

/* Encodes what is still exact in a page. */
static void encode_page(const struct model *model, struct track *track, uint32_t layer, size_t page)
{
    struct state *states = track->states + page * P;
    /* Sinks are kept unless the first tokens are gone, as after a removal and a cut. */
    const int keeps_sinks = page == 0 && (states[0].sink || !states[0].gone);
    int has_format = 0;
    for (size_t i = 0; i < P; i++) {
        has_format = has_format || states[i].encoded;
    }
    for (size_t i = 0; i < P; i++) {
        if (states[i].encoded) {
            continue;
        }
        for (int s = 0; s < 2; s++) {
            const tq_format own = s ? model->layers[layer].v_format : model->layers[layer].k_format;
            states[i].format[s] = has_format ? states[0].format[s] : (unsigned char)own;
            encode_side(model, track, page * P + i, s, track->sides[s].exact + (page * P + i) * width_of(model, s));
        }
        states[i].encoded = 1;
        states[i].sink = states[i].sink || (keeps_sinks && i < model->desc.sink_tokens);
    }
}

/* Adds token `from` of `kv`, and encodes what has left the window now. */
static void track_append(const struct model *model, struct track *track, uint32_t layer, const tq_kv *kv, size_t from)
{
    const size_t token = track->n;
    track_resize(model, track, token + 1);
    track->states[token] = (struct state){0};
    for (int s = 0; s < 2; s++) {
        const size_t dim = model->dims[s];
        const size_t given_head = s ? kv->v_head_stride : kv->k_head_stride;
        const size_t given_token = s ? kv->v_token_stride : kv->k_token_stride;
        const size_t head_stride = given_head ? given_head : dim;
        const size_t token_stride = given_token ? given_token : model->desc.n_kv_heads * head_stride;
        for (size_t i = 0; i < width_of(model, s); i++) {
            const size_t at = from * token_stride + i / dim * head_stride + i % dim;
            const double x = element_of(s ? kv->v : kv->k, kv->dtype, at);
            track->sides[s].exact[token * width_of(model, s) + i] = (float)f16_to_double(f16_from_double(x));
            track->largest_value = s ? fmax(track->largest_value, fabs(x)) : track->largest_value;
        }
    }
    for (size_t t = token / P * P; t < token; t++) { /* A page that grows again is encoded again, where it can be. */
        track->states[t].encoded = track->states[t].gone;
    }
    const size_t encoded = encoded_pages(model, token);
    for (size_t page = 0; token % P == 0 && page < encoded; page++) {
        encode_page(model, track, layer, page);
        for (size_t t = page * P; page + 1 < encoded && t < (page + 1) * P; t++) {
            track->states[t].gone = 1;
        }
    }
}

/* Tiers and positions */

void model_demote(struct model_seq *seq, const tq_tier *tiers, size_t n_tiers)
{
    const struct model *model = seq->model;
    for (size_t i = 0; i < model->desc.n_layers * n_tiers; i++) {
        struct track *track = &seq->tracks[i / n_tiers];
        const tq_tier *tier = &tiers[i % n_tiers];
        for (size_t t = 0; t < track->n; t++) {
            const size_t page_end = (t / P + 1) * P;
            if (page_end > track->n || track->n - page_end < tier->min_age || !track->states[page_end - 1].gone ||
                (i % n_tiers + 1 < n_tiers && track->n - page_end >= tier[1].min_age)) {
                continue;
            }
            for (int s = 0; s < 2; s++) {
                const tq_format wanted = s ? tier->formats.v_format : tier->formats.k_format;
                const size_t bytes = encoded_side_bytes(&model->desc, s, track->states[t].format[s]);
                if (wanted && encoded_side_bytes(&model->desc, s, wanted) < bytes) {
                    float *x = track->sides[s].coded + t * width_of(model, s);
                    track->states[t].format[s] = (unsigned char)wanted;
                    track->states[t].fresh = 1;
                    encode_side(model, track, t, s, x);
                }
            }
        }
    }
}

/* To f16, as the cache does between turning and encoding. */
static void turn_token(const struct model *model, const tq_rope *rope, int64_t delta, float *k)
{
    double x[TQ_MAX_DIM];
    const size_t dim = model->dims[0];
    for (size_t head = 0; head < model->desc.n_kv_heads; head++) {
        for (size_t j = 0; j < dim; j++) {
            x[j] = f16_to_double(f16_from_double((double)k[head * dim + j]));
        }
        turn_in_double(rope, dim, (double)delta, x);
        for (size_t j = 0; j < dim; j++) {
            k[head * dim + j] = (float)f16_to_double(f16_from_double(x[j]));
        }
    }
}

void model_rope_shift(struct model_seq *seq, uint32_t layer, size_t first, size_t end, int64_t delta,
                      const tq_rope *rope)
{
    const struct model *model = seq->model;
    struct track *track = &seq->tracks[layer];
    const size_t width = width_of(model, 0);
    for (size_t t = first / P * P; t < track->n && t / P * P < end && first < end && delta != 0; t++) {
        struct state *state = &track->states[t];
        float *exact = track->sides[0].exact + t * width;
        float *coded = track->sides[0].coded + t * width;
        const int moved = t >= first && t < end;
        if (moved) {
            turn_token(model, rope, delta, exact);
        }
        if (state->encoded && state->gone) {
            turn_token(model, rope, moved ? delta : 0, coded);
        }
        if (state->encoded) {
            encode_side(model, track, t, 0, state->gone ? coded : exact);
        }
        state->fresh = 1;
    }
}

/* Squared error, relative to the squared size, that a vector of a few coordinates may have at worst: one bit may even
 * point it away. */
static double worst_error(tq_format format)
{
    const double bits = (double)bits_of(format);
    return format == TQ_FORMAT_F16 ? 0x1p-18 : fmin(4, 16 * pow(4, -bits));
}

static void adopt_vector(float *own, const float *theirs, size_t dim, tq_format format, struct adoption *adoption)
{
    double error = 0;
    double power = 0;
    for (size_t j = 0; j < dim; j++) {
        error += pow((double)own[j] - (double)theirs[j], 2);
        power += pow((double)own[j], 2);
    }
    assert_close(error, 0, 4 * worst_error(format) * power, "a vector of format %d, encoded anew", (int)format);
    adoption->compared++;
    adoption->equal += error <= 0x1p-18 * power;
    memcpy(own, theirs, dim * sizeof *own);
}

void model_adopt(struct model_seq *seq, const struct saved *saved, struct adoption *adoption)
{
    const struct model *model = seq->model;
    for (uint32_t layer = 0; layer < model->desc.n_layers; layer++) {
        struct track *track = &seq->tracks[layer];
        for (size_t i = 0; i < 2 * track->n * model->desc.n_kv_heads; i++) {
            const int s = (int)(i % 2);
            const size_t token = i / 2 / model->desc.n_kv_heads;
            const uint32_t head = (uint32_t)(i / 2 % model->desc.n_kv_heads);
            const struct state *state = &track->states[token];
            const size_t at = token * width_of(model, s) + head * model->dims[s];
            float x[TQ_MAX_DIM];
            if (!state->fresh) {
                continue;
            }
            assert_true(!state->encoded || saved_vector(saved, layer, token, head, s, SAVED_ENCODED, x));
            if (state->encoded) {
                const tq_format format = saved->layers[layer].pages[token / P].formats[s];
                assert_int_equal(format, state->format[s]);
                adopt_vector(track->sides[s].coded + at, x, model->dims[s], format, adoption);
            }
            if (saved_vector(saved, layer, token, head, s, state->sink ? SAVED_SINKS : SAVED_EXACT, x)) {
                adopt_vector(track->sides[s].exact + at, x, model->dims[s], TQ_FORMAT_F16, adoption);
            }
        }
        for (size_t t = 0; t < track->n; t++) {
            track->states[t].fresh = 0;
        }
    }
}

/* Steps */

struct seen {
    const struct model *model;
    const struct track *track;
    size_t position;
};

static const float *vector_seen(const void *user, int values, size_t token, size_t kv_head)
{
    const struct seen *seen = user;
    const struct model *model = seen->model;
    const struct state *state = &seen->track->states[token];
    const int encoded = token / P < encoded_pages(model, seen->position) && state->encoded;
    const struct vectors *side = &seen->track->sides[values];
    return (!state->sink && (encoded || state->gone) ? side->coded : side->exact) +
           (token * model->desc.n_kv_heads + kv_head) * model->dims[values];
}

/* Compares what the cache wrote for one row of queries. */
static void compare_row(const struct model *model, const struct track *track, uint32_t layer,
                        const tq_attention *attention, size_t row, size_t position, double tolerance, const char *what)
{
    const size_t dim_v = model->dims[1];
    const size_t head_stride = attention->out_head_stride ? attention->out_head_stride : dim_v;
    const size_t token_stride =
        attention->out_token_stride ? attention->out_token_stride : attention->n_q_heads * head_stride;
    const struct seen seen = {model, track, position};
    const struct attended attended = {
        attention, {model->dims[0], model->dims[1]}, model->desc.n_kv_heads, vector_seen, &seen};
    double out[TQ_MAX_DIM];
    double *page_weights = must_alloc(position / P + 1, sizeof *page_weights);
    for (size_t head = 0; head < attention->n_q_heads; head++) {
        double score_error;
        const double lse = attend_in_double(&attended, row, head, position, out, page_weights);
        const double more = backend_error(model->context, &attended, row, head, position, page_weights, &score_error);
        const float *got = attention->out + row * token_stride + head * head_stride;
        for (size_t i = 0; i < dim_v; i++) {
            assert_close((double)got[i], out[i], tolerance * track->largest_value + more,
                         "%s: layer %u, position %zu, query head %zu, coordinate %zu", what, layer, position, head, i);
        }
        if (attention->lse) {
            assert_close((double)attention->lse[row * attention->n_q_heads + head], lse,
                         tolerance * fmax(1, fabs(lse)) + score_error,
                         "%s: lse, layer %u, position %zu, query head %zu", what, layer, position, head);
        }
    }
    free(page_weights);
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

/* SPDX-License-Identifier: MIT */
/* Statistics, prediction, measurement. */
#include "probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"

enum { QUERIES = 32, WINDOW = 64, SAMPLES = 512 /* Gaussian vectors, for D. */ };

static const tq_format formats[PROBE_FORMATS] = {TQ_FORMAT_TURBO8,  TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO4,
                                                 TQ_FORMAT_TURBO3T, TQ_FORMAT_TURBO3,  TQ_FORMAT_TURBO2T,
                                                 TQ_FORMAT_TURBO2,  TQ_FORMAT_TURBO1};

tq_format probe_format(size_t index)
{
    return formats[index];
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static double distance2(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double difference = (double)a[i] - (double)b[i];
        sum += difference * difference;
    }
    return sum;
}

/* Sums of 12 uniform numbers are normal enough for rotated vectors. */
static void fill_normal(float *x, size_t n)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        double sum = -6.0;
        for (size_t j = 0; j < 12; j++) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            sum += (double)(state >> 11) * 0x1p-53;
        }
        x[i] = (float)sum;
    }
}

static bool measure_distortion(const tq_context *context, tq_format format, tq_scale_mode scale, uint32_t dim,
                               const float *x, double *distortion, size_t *bytes)
{
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    tq_codec *codec = NULL;
    desc.dim = dim;
    desc.format = format;
    desc.scale = scale;
    if (tq_codec_create(context, &desc, &codec) != TQ_OK) {
        return false;
    }
    *bytes = tq_codec_bytes(codec);
    const size_t size = SAMPLES * *bytes;
    uint8_t *codes = malloc(size);
    float *decoded = malloc((size_t)SAMPLES * dim * sizeof *decoded);
    const bool ok = codes != NULL && decoded != NULL &&
                    tq_encode(codec, x, TQ_DTYPE_F32, 0, SAMPLES, codes, size) == TQ_OK &&
                    tq_decode(codec, codes, size, SAMPLES, decoded, TQ_DTYPE_F32, 0) == TQ_OK;
    *distortion = 0.0;
    for (size_t i = 0; i < SAMPLES && ok; i++) {
        const float *vector = x + i * dim;
        *distortion += distance2(vector, decoded + i * dim, dim) / dot(vector, vector, dim) / SAMPLES;
    }
    free(codes);
    free(decoded);
    tq_codec_destroy(codec);
    return ok;
}

static bool measure_distortions(struct probe *probe, struct error *error)
{
    const struct recording *r = probe->recording;
    tq_context *context = NULL;
    float *x = malloc((size_t)SAMPLES * TQ_MAX_DIM * sizeof *x);
    bool ok = x != NULL && tq_context_create(NULL, &context) == TQ_OK;
    if (ok) {
        fill_normal(x, (size_t)SAMPLES * TQ_MAX_DIM);
    }
    for (size_t f = 0; f < PROBE_FORMATS && ok; f++) {
        ok = measure_distortion(context, formats[f], TQ_SCALE_NORM, r->head_dim, x, &probe->k_distortion[f],
                                &probe->k_bytes[f]) &&
             measure_distortion(context, formats[f], TQ_SCALE_UNBIASED, r->head_dim_v, x, &probe->v_distortion[f],
                                &probe->v_bytes[f]);
    }
    tq_context_destroy(context);
    free(x);
    return ok || error_run(error, "the formats cannot be measured for heads of %lu", (unsigned long)r->head_dim);
}

typedef const float *vector_of(const struct recording *recording, uint32_t layer, size_t token, uint32_t head);

/* Means of pages, [page][dim], and of all tokens behind them. */
static void fill_means(const struct recording *r, vector_of *vector, uint32_t layer, uint32_t head, size_t dim,
                       float *means)
{
    const size_t n_pages = (r->n_tokens + TQ_PAGE_TOKENS - 1) / TQ_PAGE_TOKENS;
    memset(means, 0, (n_pages + 1) * dim * sizeof *means);
    for (size_t token = 0; token < r->n_tokens; token++) {
        const size_t page = token / TQ_PAGE_TOKENS;
        const size_t left = r->n_tokens - page * TQ_PAGE_TOKENS;
        const float in_page = left < TQ_PAGE_TOKENS ? (float)left : (float)TQ_PAGE_TOKENS;
        const float *x = vector(r, layer, token, head);
        for (size_t j = 0; j < dim; j++) {
            means[page * dim + j] += x[j] / in_page;
            means[n_pages * dim + j] += x[j] / (float)r->n_tokens;
        }
    }
}

static struct probe_side describe(const struct recording *r, vector_of *vector, uint32_t layer, uint32_t head,
                                  size_t dim, const float *means)
{
    const size_t n_pages = (r->n_tokens + TQ_PAGE_TOKENS - 1) / TQ_PAGE_TOKENS;
    const float *mean = means + n_pages * dim;
    double energies[TQ_MAX_DIM] = {0.0};
    double norms = 0.0;
    double left = 0.0;
    double energy = 0.0;
    double largest = 0.0;
    for (size_t token = 0; token < r->n_tokens; token++) {
        const float *x = vector(r, layer, token, head);
        norms += sqrt(dot(x, x, dim));
        left += distance2(x, means + token / TQ_PAGE_TOKENS * dim, dim);
        for (size_t j = 0; j < dim; j++) {
            energies[j] += (double)x[j] * (double)x[j];
        }
    }
    for (size_t j = 0; j < dim; j++) {
        energy += energies[j];
        largest = fmax(largest, energies[j]);
    }
    return (struct probe_side){.norm = norms / (double)r->n_tokens,
                               .bias = norms > 0.0 ? sqrt(dot(mean, mean, dim)) * (double)r->n_tokens / norms : 0.0,
                               .page = energy > 0.0 ? 1.0 - left / energy : 0.0,
                               .outlier = energy > 0.0 ? sqrt(largest * (double)dim / energy) : 0.0};
}

/* Positions whose queries are looked at: spread over the second half. */
static size_t position_of(const struct recording *r, size_t index)
{
    return r->n_tokens / 2 + (r->n_tokens - r->n_tokens / 2) * (2 * index + 1) / (2 * (size_t)QUERIES);
}

/* One KV head; tasks take them one by one. */
struct work {
    const struct recording *recording;
    struct probe_head *heads;
    float *outputs; /* [layer][query][query head][head_dim_v] Exact ones. */
    bool *failed;   /* [head] Out of memory. */
};

static float *output_of(const struct recording *r, float *outputs, uint32_t layer, size_t query, uint32_t q_head)
{
    return outputs + ((layer * (size_t)QUERIES + query) * r->n_q_heads + q_head) * r->head_dim_v;
}

/* Weights of the keys up to `position`. */
static void attention_weights(const struct recording *r, uint32_t layer, uint32_t kv_head, const float *q,
                              size_t position, double *p)
{
    const double scale = 1.0 / sqrt((double)r->head_dim);
    double largest = -HUGE_VAL;
    double sum = 0.0;
    for (size_t i = 0; i <= position; i++) {
        p[i] = scale * dot(q, recording_k(r, layer, i, kv_head), r->head_dim);
        largest = fmax(largest, p[i]);
    }
    for (size_t i = 0; i <= position; i++) {
        p[i] = exp(p[i] - largest);
        sum += p[i];
    }
    for (size_t i = 0; i <= position; i++) {
        p[i] /= sum;
    }
}

/* Adds one query: its output, and what the formula above says of its error. */
static void add_query(const struct work *work, uint32_t layer, uint32_t kv_head, size_t query, uint32_t q_head,
                      const float *k_means, const float *v_means, double *p)
{
    const struct recording *r = work->recording;
    struct probe_head *head = &work->heads[(size_t)layer * r->n_kv_heads + kv_head];
    const size_t position = position_of(r, query);
    const size_t page = position / TQ_PAGE_TOKENS;
    const size_t n_encoded =
        page > 1 ? (page - 1) * TQ_PAGE_TOKENS : 0; /* The default window is a page and this one. */
    const float *q = recording_q(r, layer, position, q_head);
    const double q2 = dot(q, q, r->head_dim) / ((double)r->head_dim * (double)r->head_dim);
    const uint32_t group = r->n_q_heads / r->n_kv_heads;
    const double n_queries = (double)QUERIES * group; /* Of this KV head. */
    float *out = output_of(r, work->outputs, layer, query, q_head);
    attention_weights(r, layer, kv_head, q, position, p);
    memset(out, 0, r->head_dim_v * sizeof *out);
    for (size_t i = 0; i <= position; i++) {
        const float *v = recording_v(r, layer, i, kv_head);
        for (size_t j = 0; j < r->head_dim_v; j++) {
            out[j] += (float)p[i] * v[j];
        }
        head->near += i + WINDOW > position ? p[i] / n_queries : 0.0;
    }
    for (size_t i = 0; i < n_encoded; i++) {
        const size_t at = i / TQ_PAGE_TOKENS;
        const float *k = recording_k(r, layer, i, kv_head);
        const float *v = recording_v(r, layer, i, kv_head);
        const double k2 = distance2(k, k_means + at * r->head_dim, r->head_dim);
        head->k_part += p[i] * p[i] * q2 * k2 * distance2(v, out, r->head_dim_v);
        head->v_part += p[i] * p[i] * distance2(v, v_means + at * r->head_dim_v, r->head_dim_v);
    }
    head->output += dot(out, out, r->head_dim_v);
}

static void probe_one_head(void *arg, size_t slot, size_t index)
{
    const struct work *work = arg;
    const struct recording *r = work->recording;
    const uint32_t layer = (uint32_t)(index / r->n_kv_heads);
    const uint32_t kv_head = (uint32_t)(index % r->n_kv_heads);
    const uint32_t group = r->n_q_heads / r->n_kv_heads;
    const size_t n_means = r->n_tokens / TQ_PAGE_TOKENS + 2;
    float *k_means = malloc(n_means * r->head_dim * sizeof *k_means);
    float *v_means = malloc(n_means * r->head_dim_v * sizeof *v_means);
    double *p = malloc(r->n_tokens * sizeof *p);
    (void)slot;
    work->failed[index] = k_means == NULL || v_means == NULL || p == NULL;
    if (!work->failed[index]) {
        fill_means(r, recording_k, layer, kv_head, r->head_dim, k_means);
        fill_means(r, recording_v, layer, kv_head, r->head_dim_v, v_means);
        work->heads[index].k = describe(r, recording_k, layer, kv_head, r->head_dim, k_means);
        work->heads[index].v = describe(r, recording_v, layer, kv_head, r->head_dim_v, v_means);
        for (size_t query = 0; query < QUERIES; query++) {
            for (uint32_t i = 0; i < group; i++) {
                add_query(work, layer, kv_head, query, kv_head * group + i, k_means, v_means, p);
            }
        }
    }
    free(k_means);
    free(v_means);
    free(p);
}

static bool probe_heads(struct probe *probe, struct error *error)
{
    bool *failed = calloc(probe->n_heads, sizeof *failed);
    bool ok = failed != NULL;
    if (ok) {
        struct work work = {probe->recording, probe->heads, probe->outputs, failed};
        threads_for(probe->threads, probe_one_head, &work, probe->n_heads);
    }
    for (size_t i = 0; i < probe->n_heads && ok; i++) {
        ok = !failed[i];
    }
    free(failed);
    return ok || error_run(error, "not enough memory");
}

/* Adds the squared errors of one layer's attention, out [token][query head][head_dim_v], to those of its heads. */
static void add_errors(const struct probe *probe, uint32_t layer, const float *out, double *errors)
{
    const struct recording *r = probe->recording;
    const uint32_t group = r->n_q_heads / r->n_kv_heads;
    for (size_t query = 0; query < QUERIES; query++) {
        for (uint32_t q_head = 0; q_head < r->n_q_heads; q_head++) {
            const float *exact = output_of(r, probe->outputs, layer, query, q_head);
            const float *got = out + (position_of(r, query) * r->n_q_heads + q_head) * r->head_dim_v;
            errors[(size_t)layer * r->n_kv_heads + q_head / group] += distance2(exact, got, r->head_dim_v);
        }
    }
}

/* All layers through a cache of their own; errors: [head] of the model. */
static bool measure_layers(const struct probe *probe, tq_context *context, tq_format k_format, tq_format v_format,
                           float *out, double *errors)
{
    const struct recording *r = probe->recording;
    bool ok = true;
    for (uint32_t layer = 0; layer < r->n_layers && ok; layer++) {
        tq_cache_desc desc = TQ_CACHE_DESC_INIT;
        tq_cache *cache = NULL;
        tq_seq *seq = NULL;
        desc.n_layers = 1;
        desc.n_kv_heads = r->n_kv_heads;
        desc.head_dim_k = r->head_dim;
        desc.head_dim_v = r->head_dim_v;
        desc.k_format = k_format;
        desc.v_format = v_format;
        const tq_kv kv = {.struct_size = sizeof kv,
                          .k = recording_k(r, layer, 0, 0),
                          .v = recording_v(r, layer, 0, 0),
                          .n_tokens = r->n_tokens};
        const tq_attention attention = {.struct_size = sizeof attention,
                                        .q = recording_q(r, layer, 0, 0),
                                        .n_q_heads = r->n_q_heads,
                                        .n_tokens = r->n_tokens,
                                        .out = out};
        ok = tq_cache_create(context, &desc, &cache) == TQ_OK && tq_seq_create(cache, &seq) == TQ_OK &&
             tq_cache_forward(cache, seq, 0, &kv, &attention) == TQ_OK;
        if (ok) {
            add_errors(probe, layer, out, errors);
        }
        tq_cache_destroy(cache);
    }
    return ok;
}

static bool measure(const struct probe *probe, tq_format k_format, tq_format v_format, double *errors,
                    struct error *error)
{
    const struct recording *r = probe->recording;
    const tq_context_desc desc = {.struct_size = sizeof desc, .executor = threads_executor(probe->threads)};
    tq_context *context = NULL;
    float *out = malloc(r->n_tokens * r->n_q_heads * r->head_dim_v * sizeof *out);
    const bool ok = out != NULL && tq_context_create(&desc, &context) == TQ_OK &&
                    measure_layers(probe, context, k_format, v_format, out, errors);
    tq_context_destroy(context);
    free(out);
    return ok || error_run(error, "attention with %s cannot be measured", tq_format_name(k_format));
}

static bool measure_formats(struct probe *probe, struct error *error)
{
    const struct progress progress = progress_start();
    double *errors = malloc(probe->n_heads * sizeof *errors);
    bool ok = errors != NULL || error_run(error, "not enough memory");
    for (size_t f = 0; f < PROBE_FORMATS && ok; f++) {
        progress_show(&progress, "formats", f, PROBE_FORMATS);
        memset(errors, 0, probe->n_heads * sizeof *errors);
        ok = measure(probe, formats[f], formats[f], errors, error);
        for (size_t i = 0; i < probe->n_heads && ok; i++) {
            probe->heads[i].measured[f] = errors[i];
        }
    }
    progress_end(&progress);
    free(errors);
    return ok;
}

bool probe_run(struct probe *probe, const struct recording *recording, const struct threads *threads,
               struct error *error)
{
    const size_t n_outputs = (size_t)recording->n_layers * QUERIES * recording->n_q_heads * recording->head_dim_v;
    *probe = (struct probe){
        .recording = recording, .threads = threads, .n_heads = (size_t)recording->n_layers * recording->n_kv_heads};
    probe->heads = calloc(probe->n_heads, sizeof *probe->heads);
    probe->outputs = calloc(n_outputs, sizeof *probe->outputs);
    return ((probe->heads != NULL && probe->outputs != NULL) || error_run(error, "not enough memory")) &&
           measure_distortions(probe, error) && probe_heads(probe, error) && measure_formats(probe, error);
}

void probe_free(struct probe *probe)
{
    free(probe->heads);
    free(probe->outputs);
    *probe = (struct probe){.n_heads = 0};
}

double probe_predicted(const struct probe *probe, const struct probe_head *heads, size_t n, size_t k_format,
                       size_t v_format)
{
    double error = 0.0;
    double output = 0.0;
    for (size_t i = 0; i < n; i++) {
        error += probe->k_distortion[k_format] * heads[i].k_part + probe->v_distortion[v_format] * heads[i].v_part;
        output += heads[i].output;
    }
    return output > 0.0 ? sqrt(error / output) : 0.0;
}

double probe_measured(const struct probe_head *heads, size_t n, size_t format)
{
    double error = 0.0;
    double output = 0.0;
    for (size_t i = 0; i < n; i++) {
        error += heads[i].measured[format];
        output += heads[i].output;
    }
    return output > 0.0 ? sqrt(error / output) : 0.0;
}

/* Means over the layers, whose outputs may differ in size. */
static double mean_predicted(const struct probe *probe, size_t k_format, size_t v_format)
{
    const struct recording *r = probe->recording;
    double sum = 0.0;
    for (uint32_t layer = 0; layer < r->n_layers; layer++) {
        const struct probe_head *heads = probe->heads + (size_t)layer * r->n_kv_heads;
        sum += probe_predicted(probe, heads, r->n_kv_heads, k_format, v_format);
    }
    return sum / r->n_layers;
}

static bool measure_pair(const struct probe *probe, size_t k_format, size_t v_format, double *mean, struct error *error)
{
    const struct recording *r = probe->recording;
    double *errors = calloc(probe->n_heads, sizeof *errors);
    const bool ok = (errors != NULL || error_run(error, "not enough memory")) &&
                    measure(probe, formats[k_format], formats[v_format], errors, error);
    *mean = 0.0;
    for (uint32_t layer = 0; layer < r->n_layers && ok; layer++) {
        double sum = 0.0;
        double output = 0.0;
        for (size_t i = (size_t)layer * r->n_kv_heads; i < ((size_t)layer + 1) * r->n_kv_heads; i++) {
            sum += errors[i];
            output += probe->heads[i].output;
        }
        *mean += output > 0.0 ? sqrt(sum / output) / r->n_layers : 0.0;
    }
    free(errors);
    return ok;
}

/* How many first and last layers cover all that are worse than `limit`; 0 if that is no small part of them. */
static uint32_t find_protect(const struct probe *probe, const struct probe_advice *advice, double limit)
{
    const struct recording *r = probe->recording;
    uint32_t protect = 0;
    for (uint32_t layer = 0; layer < r->n_layers; layer++) {
        const struct probe_head *heads = probe->heads + (size_t)layer * r->n_kv_heads;
        const uint32_t from_end = layer < r->n_layers - 1 - layer ? layer : r->n_layers - 1 - layer;
        if (probe_predicted(probe, heads, r->n_kv_heads, advice->k_format, advice->v_format) > limit &&
            from_end + 1 > protect) {
            protect = from_end + 1;
        }
    }
    return 4 * protect <= r->n_layers ? protect : 0;
}

static void find_worst(const struct probe *probe, struct probe_advice *advice)
{
    const struct recording *r = probe->recording;
    advice->worst_predicted = -1.0;
    for (uint32_t layer = 0; layer < r->n_layers; layer++) {
        const struct probe_head *heads = probe->heads + (size_t)layer * r->n_kv_heads;
        const double predicted = probe_predicted(probe, heads, r->n_kv_heads, advice->k_format, advice->v_format);
        if (predicted > advice->worst_predicted) {
            advice->worst_layer = layer;
            advice->worst_predicted = predicted;
        }
    }
}

bool probe_advise(const struct probe *probe, double target, struct probe_advice *advice, struct error *error)
{
    size_t best_bytes = SIZE_MAX;
    *advice = (struct probe_advice){.k_format = 0, .v_format = 0, .predicted = mean_predicted(probe, 0, 0)};
    for (size_t pair = 0; pair < (size_t)PROBE_FORMATS * PROBE_FORMATS; pair++) {
        const size_t k = pair / PROBE_FORMATS;
        const size_t v = pair % PROBE_FORMATS;
        const size_t bytes = probe->k_bytes[k] + probe->v_bytes[v];
        const double predicted = mean_predicted(probe, k, v);
        if (predicted <= target && (bytes < best_bytes || (bytes == best_bytes && predicted < advice->predicted))) {
            advice->k_format = k;
            advice->v_format = v;
            advice->predicted = predicted;
            best_bytes = bytes;
        }
    }
    struct probe exact_values = *probe; /* The same with one part of the error alone. */
    struct probe exact_keys = *probe;
    exact_values.v_distortion[advice->v_format] = 0.0;
    exact_keys.k_distortion[advice->k_format] = 0.0;
    advice->k_alone = mean_predicted(&exact_values, advice->k_format, advice->v_format);
    advice->v_alone = mean_predicted(&exact_keys, advice->k_format, advice->v_format);
    advice->protect = find_protect(probe, advice, 1.5 * target);
    find_worst(probe, advice);
    return measure_pair(probe, advice->k_format, advice->v_format, &advice->measured, error);
}

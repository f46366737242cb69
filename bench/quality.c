/* SPDX-License-Identifier: MIT */
/* Quality of every format on one .qkv file. */
#include "quality.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_POSITION = 32, STEP = 8, MOST_POSITIONS = 64 };

/* Running sums behind a struct quality. */
struct sums {
    double d_key;
    double d_value;
    double cosine_key;
    size_t keys;
    size_t values;
    double output_error; /* Squared. */
    double output_norm;  /* Squared. */
    double kl;
    size_t top1;
    size_t queries;
};

/* Attention of one query over n keys. */
struct attention {
    double *weights;
    double *output;
    double log_sum; /* Of exp(logits). */
    size_t top;     /* The heaviest key. */
};

struct work {
    const struct formats *formats;
    const struct qkv *qkv;
    uint8_t **key_rows;   /* Of one KV head: [format][token] */
    uint8_t **value_rows; /* The same. */
    float *decoded;       /* [token][head_dim] */
    double *exact_logits; /* [token] */
    double *logits;       /* [token] */
    float *scores;        /* [token], scores and then weights */
    float *output;        /* [head_dim] */
    struct attention exact;
    struct attention approximate;
    struct sums *sums; /* [format] */
};

struct query_positions quality_positions(const struct qkv *qkv)
{
    struct query_positions positions;
    positions.first = qkv->tokens > FIRST_POSITION ? FIRST_POSITION : qkv->tokens - 1;
    const size_t span = qkv->tokens - positions.first;
    const size_t needed = (span + MOST_POSITIONS - 1) / MOST_POSITIONS;
    positions.step = needed > STEP ? needed : STEP;
    positions.count = (span + positions.step - 1) / positions.step;
    return positions;
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static double squared_distance(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double difference = (double)a[i] - (double)b[i];
        sum += difference * difference;
    }
    return sum;
}

static void compare_keys(const float *keys, const float *decoded, size_t n, size_t dim, struct sums *sums)
{
    for (size_t i = 0; i < n; i++, keys += dim, decoded += dim) {
        const double norm = dot(keys, keys, dim);
        const double decoded_norm = dot(decoded, decoded, dim);
        if (norm > 0.0) {
            sums->d_key += squared_distance(keys, decoded, dim) / norm;
            sums->cosine_key += decoded_norm > 0.0 ? dot(keys, decoded, dim) / sqrt(norm * decoded_norm) : 0.0;
            sums->keys++;
        }
    }
}

static void compare_values(const float *values, const float *decoded, size_t n, size_t dim, struct sums *sums)
{
    for (size_t i = 0; i < n; i++, values += dim, decoded += dim) {
        const double norm = dot(values, values, dim);
        if (norm > 0.0) {
            sums->d_value += squared_distance(values, decoded, dim) / norm;
            sums->values++;
        }
    }
}

/* Encodes a KV head in every format and compares what comes back. */
static void encode_head(struct work *work, const float *keys, const float *values)
{
    const size_t n = work->qkv->tokens;
    const size_t dim = work->qkv->head_dim;
    for (size_t i = 0; i < work->formats->count; i++) {
        const struct format *format = &work->formats->items[i];
        format->calls->encode(format->keys, keys, n, work->key_rows[i]);
        format->calls->decode(format->keys, work->key_rows[i], n, work->decoded);
        compare_keys(keys, work->decoded, n, dim, &work->sums[i]);
        format->calls->encode(format->values, values, n, work->value_rows[i]);
        format->calls->decode(format->values, work->value_rows[i], n, work->decoded);
        compare_values(values, work->decoded, n, dim, &work->sums[i]);
    }
}

static void softmax(const double *logits, size_t n, struct attention *attention)
{
    attention->top = 0;
    for (size_t i = 1; i < n; i++) {
        attention->top = logits[i] > logits[attention->top] ? i : attention->top;
    }
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        attention->weights[i] = exp(logits[i] - logits[attention->top]);
        sum += attention->weights[i];
    }
    for (size_t i = 0; i < n; i++) {
        attention->weights[i] /= sum;
    }
    attention->log_sum = logits[attention->top] + log(sum);
}

static void attend_exactly(struct work *work, const float *q, const float *keys, const float *values, size_t n)
{
    const size_t dim = work->qkv->head_dim;
    for (size_t i = 0; i < n; i++) {
        work->exact_logits[i] = dot(q, keys + i * dim, dim) / sqrt((double)dim);
    }
    softmax(work->exact_logits, n, &work->exact);
    memset(work->exact.output, 0, dim * sizeof *work->exact.output);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < dim; j++) {
            work->exact.output[j] += work->exact.weights[i] * (double)values[i * dim + j];
        }
    }
}

/* Attention on the rows of a format; its softmax is ours, in double precision, so that only the format differs. */
static void attend_on_codes(struct work *work, size_t index, const float *q, size_t n)
{
    const struct format *format = &work->formats->items[index];
    const float scale = (float)(1.0 / sqrt((double)work->qkv->head_dim));
    format->calls->scores(format->keys, q, work->key_rows[index], n, scale, work->scores);
    for (size_t i = 0; i < n; i++) {
        work->logits[i] = (double)work->scores[i];
    }
    softmax(work->logits, n, &work->approximate);
    for (size_t i = 0; i < n; i++) {
        work->scores[i] = (float)work->approximate.weights[i];
    }
    format->calls->weighted_sum(format->values, work->scores, work->value_rows[index], n, work->output);
}

static void compare_attention(const struct work *work, size_t n, struct sums *sums)
{
    for (size_t j = 0; j < work->qkv->head_dim; j++) {
        const double error = work->exact.output[j] - (double)work->output[j];
        sums->output_error += error * error;
        sums->output_norm += work->exact.output[j] * work->exact.output[j];
    }
    /* From logits, not from weights: a weight that underflows to zero would make its logarithm infinite. */
    for (size_t i = 0; i < n; i++) {
        const double log_ratio =
            (work->exact_logits[i] - work->exact.log_sum) - (work->logits[i] - work->approximate.log_sum);
        sums->kl += work->exact.weights[i] * log_ratio;
    }
    sums->top1 += work->exact.top == work->approximate.top;
    sums->queries++;
}

static void measure_kv_head(struct work *work, uint32_t layer, uint32_t kv_head)
{
    const struct qkv *qkv = work->qkv;
    const uint32_t group = qkv->q_heads / qkv->kv_heads;
    const struct query_positions positions = quality_positions(qkv);
    const float *keys = qkv_keys(qkv, layer, kv_head);
    const float *values = qkv_values(qkv, layer, kv_head);
    encode_head(work, keys, values);
    for (uint32_t q_head = kv_head * group; q_head < (kv_head + 1) * group; q_head++) {
        const float *queries = qkv_queries(qkv, layer, q_head);
        for (size_t i = 0; i < positions.count; i++) {
            const size_t position = positions.first + i * positions.step;
            const float *q = queries + position * qkv->head_dim;
            attend_exactly(work, q, keys, values, position + 1);
            for (size_t format = 0; format < work->formats->count; format++) {
                attend_on_codes(work, format, q, position + 1);
                compare_attention(work, position + 1, &work->sums[format]);
            }
        }
    }
}

static struct quality finish(const struct sums *sums)
{
    const double keys = sums->keys > 0 ? (double)sums->keys : 1.0;
    const double values = sums->values > 0 ? (double)sums->values : 1.0;
    const double queries = (double)sums->queries;
    return (struct quality){
        .d_key = sums->d_key / keys,
        .d_value = sums->d_value / values,
        .cosine_key = sums->cosine_key / keys,
        .attn_output_error = sums->output_norm > 0.0 ? sqrt(sums->output_error / sums->output_norm) : 0.0,
        .attn_kl = sums->kl / queries,
        .attn_top1 = (double)sums->top1 / queries,
    };
}

static bool work_allocate(struct work *work)
{
    const size_t n = work->qkv->tokens;
    const size_t dim = work->qkv->head_dim;
    const size_t count = work->formats->count;
    work->key_rows = calloc(count, sizeof *work->key_rows);
    work->value_rows = calloc(count, sizeof *work->value_rows);
    work->decoded = calloc(n * dim, sizeof *work->decoded);
    work->exact_logits = calloc(n, sizeof *work->exact_logits);
    work->logits = calloc(n, sizeof *work->logits);
    work->scores = calloc(n, sizeof *work->scores);
    work->output = calloc(dim, sizeof *work->output);
    work->exact.weights = calloc(n, sizeof *work->exact.weights);
    work->exact.output = calloc(dim, sizeof *work->exact.output);
    work->approximate.weights = calloc(n, sizeof *work->approximate.weights);
    work->sums = calloc(count, sizeof *work->sums);
    bool ok = work->key_rows != NULL && work->value_rows != NULL && work->decoded != NULL &&
              work->exact_logits != NULL && work->logits != NULL && work->scores != NULL && work->output != NULL &&
              work->exact.weights != NULL && work->exact.output != NULL && work->approximate.weights != NULL &&
              work->sums != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        work->key_rows[i] = calloc(n, work->formats->items[i].row_bytes);
        work->value_rows[i] = calloc(n, work->formats->items[i].row_bytes);
        ok = work->key_rows[i] != NULL && work->value_rows[i] != NULL;
    }
    return ok;
}

static void work_free(struct work *work)
{
    for (size_t i = 0; i < work->formats->count; i++) {
        if (work->key_rows != NULL) {
            free(work->key_rows[i]);
        }
        if (work->value_rows != NULL) {
            free(work->value_rows[i]);
        }
    }
    free(work->key_rows);
    free(work->value_rows);
    free(work->decoded);
    free(work->exact_logits);
    free(work->logits);
    free(work->scores);
    free(work->output);
    free(work->exact.weights);
    free(work->exact.output);
    free(work->approximate.weights);
    free(work->sums);
}

bool quality_measure(const struct formats *formats, const struct qkv *qkv, const struct progress *progress,
                     struct quality *qualities)
{
    struct work work = {.formats = formats, .qkv = qkv};
    const bool ok = work_allocate(&work);
    for (uint32_t layer = 0; ok && layer < qkv->layers; layer++) {
        for (uint32_t kv_head = 0; kv_head < qkv->kv_heads; kv_head++) {
            progress_show(progress, "quality", (size_t)layer * qkv->kv_heads + kv_head,
                          (size_t)qkv->layers * qkv->kv_heads);
            measure_kv_head(&work, layer, kv_head);
        }
    }
    for (size_t i = 0; ok && i < formats->count; i++) {
        qualities[i] = finish(&work.sums[i]);
    }
    work_free(&work);
    return ok;
}

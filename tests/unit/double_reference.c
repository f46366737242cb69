/* SPDX-License-Identifier: MIT
 *
 * Attention and RoPE in double precision; see double_reference.h. */
#include "double_reference.h"

#include <math.h>

enum { P = TQ_PAGE_TOKENS };

static void *must_alloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

/* Softens the scores of a page, [begin, end), against the largest so far; zeros them if the page is passed over. */
static void weigh_page(double *scores, size_t begin, size_t end, double skip_below, double *largest)
{
    int kept = skip_below <= 0;
    for (size_t t = begin; t < end; t++) {
        *largest = fmax(*largest, scores[t]);
    }
    for (size_t t = begin; t < end; t++) {
        kept = kept || exp(scores[t] - *largest) >= skip_below;
    }
    for (size_t t = begin; t < end && !kept; t++) {
        scores[t] = (double)NAN; /* In the sum, but without a value. */
    }
}

static size_t query_at(const struct attended *a, size_t row, size_t head)
{
    const tq_attention *attention = a->attention;
    const size_t head_stride = attention->q_head_stride ? attention->q_head_stride : a->dims[0];
    const size_t token_stride =
        attention->q_token_stride ? attention->q_token_stride : attention->n_q_heads * head_stride;
    return row * token_stride + head * head_stride;
}

static double scale_of(const struct attended *a)
{
    return a->attention->scale != 0.0F ? (double)a->attention->scale : 1 / sqrt((double)a->dims[0]);
}

static size_t first_seen(const struct attended *a, size_t position)
{
    const size_t window = a->attention->sliding_window;
    return window != 0 && window <= position ? position + 1 - window : 0;
}

static size_t kv_head_of(const struct attended *a, size_t head)
{
    return head / (a->attention->n_q_heads / a->n_kv_heads);
}

/* Scores of tokens first .. position. */
static void score(const struct attended *a, size_t row, size_t head, size_t position, double *scores)
{
    const double cap = (double)a->attention->soft_cap;
    double *q = must_alloc(a->dims[0], sizeof *q);
    for (size_t i = 0; i < a->dims[0]; i++) {
        q[i] = element_of(a->attention->q, a->attention->q_dtype, query_at(a, row, head) + i) * scale_of(a);
    }
    for (size_t t = first_seen(a, position); t <= position; t++) {
        const float *k = a->lookup(a->user, 0, t, kv_head_of(a, head));
        double dot = 0;
        for (size_t i = 0; i < a->dims[0]; i++) {
            dot += q[i] * (double)k[i];
        }
        scores[t] = cap > 0 ? cap * tanh(dot / cap) : dot;
    }
    free(q);
}

double attend_in_double(const struct attended *a, size_t row, size_t head, size_t position, double *out,
                        double *page_weights)
{
    const tq_attention *attention = a->attention;
    const size_t first = first_seen(a, position);
    double *scores = must_alloc(position + 1, sizeof *scores);
    double *kept = must_alloc(position + 1, sizeof *kept);
    double largest = -(double)INFINITY;
    score(a, row, head, position, scores);
    memcpy(kept, scores, (position + 1) * sizeof *kept);
    for (size_t begin = first, end; begin <= position; begin = end) {
        end = (begin / P + 1) * P < position + 1 ? (begin / P + 1) * P : position + 1;
        weigh_page(kept, begin, end, (double)attention->skip_below, &largest);
    }
    const double logit = attention->sink_logits ? (double)attention->sink_logits[head] : -(double)INFINITY;
    largest = fmax(largest, logit);
    double sum = exp(logit - largest);
    memset(out, 0, a->dims[1] * sizeof *out);
    for (size_t t = first; t <= position; t++) {
        const float *v = a->lookup(a->user, 1, t, kv_head_of(a, head));
        const double weight = exp(scores[t] - largest);
        sum += weight;
        for (size_t i = 0; i < a->dims[1] && !isnan(kept[t]); i++) {
            out[i] += weight * (double)v[i];
        }
    }
    for (size_t i = 0; i < a->dims[1]; i++) {
        out[i] /= sum;
    }
    for (size_t page = 0; page_weights && page <= position / P; page++) {
        page_weights[page] = 0;
        for (size_t t = page * P; t <= position && t < (page + 1) * P; t++) {
            page_weights[page] = fmax(page_weights[page], t < first ? 0 : exp(scores[t] - largest) / sum);
        }
    }
    free(kept);
    free(scores);
    return largest + log(sum);
}

/* Tolerances of kernels.def, by name. */
#define EXACT                              0
#define WITHIN(tolerance)                  (tolerance)
#define X(name, contract, type, arguments) double name;
static const struct tolerances {
#include "kernels/kernels.def"
#undef X
} tolerances = {
#define X(name, contract, type, arguments) contract,
#include "kernels/kernels.def"
#undef X
};

double backend_error(const tq_context *context, const struct attended *a, size_t row, size_t head, size_t position,
                     const double *page_weights, double *score_error)
{
    double largest[2] = {0, 0}; /* Norms of keys and of values. */
    double power = 0;
    *score_error = 0;
    if (strcmp(tq_context_backend(context), "scalar") == 0) {
        return 0;
    }
    for (size_t i = 0; i < a->dims[0]; i++) {
        power += pow(element_of(a->attention->q, a->attention->q_dtype, query_at(a, row, head) + i), 2);
    }
    for (size_t t = first_seen(a, position); t <= position; t++) {
        for (int s = 0; s < 2; s++) {
            largest[s] = fmax(largest[s], norm_of(a->lookup(a->user, s, t, kv_head_of(a, head)), a->dims[s]));
        }
    }
    *score_error = tolerances.page_scores * scale_of(a) * sqrt(power) * largest[0];
    double error = 2 * *score_error * largest[1];
    for (size_t page = 0; page <= position / P; page++) {
        error += tolerances.page_sum * sqrt(P) * page_weights[page] * largest[1];
    }
    return error;
}

void turn_in_double(const tq_rope *rope, size_t dim, double delta, double *x)
{
    const size_t n_dims = rope->n_dims ? rope->n_dims : dim;
    const double theta = rope->theta != 0.0F ? (double)rope->theta : 10000;
    const double scale = rope->freq_scale != 0.0F ? (double)rope->freq_scale : 1;
    for (size_t j = 0; j < n_dims / 2; j++) {
        const size_t a = rope->pairing == TQ_ROPE_INTERLEAVED ? 2 * j : j;
        const size_t b = rope->pairing == TQ_ROPE_INTERLEAVED ? 2 * j + 1 : j + n_dims / 2;
        const double factor = rope->freq_factors ? (double)rope->freq_factors[j] : 1;
        const double angle = delta * scale * pow(theta, -2 * (double)j / (double)n_dims) / factor;
        const double turned = x[a] * cos(angle) - x[b] * sin(angle);
        x[b] = x[a] * sin(angle) + x[b] * cos(angle);
        x[a] = turned;
    }
}

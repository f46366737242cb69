/* SPDX-License-Identifier: MIT
 *
 * One step of attention on compressed keys and values, next to the exact one. */
#include <turboquant.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { DIM = 64, TOKENS = 200 };

static float key[TOKENS][DIM], value[TOKENS][DIM], query[DIM];
static float weights[TOKENS], out[DIM], exact[DIM];

static tq_codec *make_codec(const tq_context *context, tq_scale_mode scale)
{
    tq_codec_desc desc = {.struct_size = sizeof desc, .dim = DIM, .scale = scale};
    tq_codec *codec = NULL;
    tq_codec_create(context, &desc, &codec);
    return codec;
}

static void softmax(float x[TOKENS]) /* The scores here are small; an engine subtracts the largest first. */
{
    float sum = 0;
    for (size_t i = 0; i < TOKENS; i++) {
        sum += x[i] = expf(x[i]);
    }
    for (size_t i = 0; i < TOKENS; i++) {
        x[i] /= sum;
    }
}

int main(void)
{
    for (size_t i = 0; i < DIM; i++) {
        query[i] = (float)rand() / (float)RAND_MAX - 0.5F;
        for (size_t t = 0; t < TOKENS; t++) {
            key[t][i] = 4 * query[i] * (float)t / TOKENS + (float)rand() / (float)RAND_MAX - 0.5F;
            value[t][i] = (float)rand() / (float)RAND_MAX;
        }
    }

    tq_context *context;
    if (tq_context_create(NULL, &context) != TQ_OK) {
        return 1;
    }
    tq_codec *keys = make_codec(context, TQ_SCALE_NORM), *values = make_codec(context, TQ_SCALE_UNBIASED);
    const size_t size = TOKENS * tq_codec_bytes(keys);
    unsigned char *k = malloc(size), *v = malloc(size);
    const float scale = 1 / sqrtf(DIM);

    int failed = tq_encode(keys, key, TQ_DTYPE_F32, 0, TOKENS, k, size) ||
                 tq_encode(values, value, TQ_DTYPE_F32, 0, TOKENS, v, size) ||
                 tq_attention_scores(keys, query, TQ_DTYPE_F32, 0, 1, k, size, TOKENS, scale, weights, 0);
    softmax(weights);
    failed |= tq_weighted_sum(values, weights, 0, 1, v, size, TOKENS, out, 0) != TQ_OK;
    for (size_t t = 0; t < TOKENS; t++) { /* The same without compression. */
        weights[t] = 0;
        for (size_t i = 0; i < DIM; i++) {
            weights[t] += scale * query[i] * key[t][i];
        }
    }
    softmax(weights);
    float error = 0, norm = 0;
    for (size_t i = 0; i < DIM; i++) {
        for (size_t t = 0; t < TOKENS; t++) {
            exact[i] += weights[t] * value[t][i];
        }
        error += (out[i] - exact[i]) * (out[i] - exact[i]);
        norm += exact[i] * exact[i];
    }
    printf("%zu instead of %zu bytes; relative error of the output %.4f\n", 2 * size, sizeof key + sizeof value,
           (double)sqrtf(error / norm));
    failed |= !(error < 0.02F * 0.02F * norm);
    free(k), free(v);
    tq_codec_destroy(keys), tq_codec_destroy(values), tq_context_destroy(context);
    return failed;
}

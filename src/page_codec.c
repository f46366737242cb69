/* SPDX-License-Identifier: MIT
 *
 * What a page does when it leaves the window: its mean, its codes, its sinks. */
#include "cache.h"

#include "half.h"
#include "rows.h"

enum { P = TQ_PAGE_TOKENS };

typedef struct encode_work {
    const tq_layer *layer;
    tq_page *page;
} encode_work;

/* The vector of one exact token, rotated. */
static void rotated_token(const tq_side *side, const uint8_t *exact, size_t token, float *y)
{
    float x[TQ_MAX_DIM];
    side->codec->context->kernels.half_decode(exact + token * 2 * side->dim, side->dim, x);
    tq_rotate(side->codec, x, y);
}

/* The mean of a page's rotated vectors, rounded to f16, goes before the rows. Summed in the order of tokens. */
static void store_mean(const tq_side *side, const uint8_t *exact, uint8_t *encoded)
{
    float sum[TQ_MAX_DIM] = {0};
    for (size_t token = 0; token < P; token++) {
        float y[TQ_MAX_DIM];
        rotated_token(side, exact, token, y);
        for (size_t j = 0; j < side->dim; j++) {
            sum[j] += y[j];
        }
    }
    for (size_t j = 0; j < side->dim; j++) {
        tq_store_le16(encoded + 2 * j, tq_f16_from_f32(sum[j] * (1.0F / P)));
    }
}

/* Takes the mean off a rotated vector if that makes it shorter; true if it did. */
static bool centre(const tq_side *side, const uint8_t *mean, float *y, float *sum_squares)
{
    const tq_kernels *kernels = &side->codec->context->kernels;
    float centred[TQ_MAX_DIM];
    for (size_t j = 0; j < side->dim; j++) {
        centred[j] = y[j] - tq_f32_from_f16(tq_load_le16(mean + 2 * j));
    }
    const float shorter = kernels->sum_squares(centred, side->dim);
    if (!(shorter < *sum_squares)) {
        return false;
    }
    *sum_squares = shorter;
    memcpy(y, centred, side->dim * sizeof *y);
    return true;
}

/* Encodes tokens [first, 64) of one head's keys or values. */
static void encode_side(const tq_side *side, const uint8_t *exact, size_t first, uint8_t *encoded)
{
    const tq_kernels *kernels = &side->codec->context->kernels;
    const tq_code *code = &side->codec->code;
    uint8_t *page = encoded + side->rows_at;
    if (side->codec->family == TQ_FAMILY_HALF) {
        kernels->page_write(code, exact + first * code->row_bytes, first, P - first, page);
        return;
    }
    if (side->has_mean && first == 0) {
        store_mean(side, exact, encoded);
    }
    for (size_t token = first; token < P; token++) {
        float y[TQ_MAX_DIM];
        uint8_t row[2 * TQ_MAX_DIM];
        rotated_token(side, exact, token, y);
        float sum_squares = kernels->sum_squares(y, side->dim);
        const bool uncentred = side->has_mean && !centre(side, encoded, y, &sum_squares);
        sum_squares /= (float)side->dim;
        tq_rotated_encode(side->codec, y, &sum_squares, 1, row);
        if (uncentred) {
            tq_store_le16(row, tq_load_le16(row) | TQ_ROW_UNCENTRED);
        }
        kernels->page_write(code, row, token, 1, page);
    }
}

static void encode_head(void *arg, size_t head)
{
    const encode_work *work = arg;
    const tq_layer *layer = work->layer;
    const uint8_t *exact = work->page->blocks[TQ_BLOCK_EXACT];
    uint8_t *encoded = work->page->blocks[TQ_BLOCK_ENCODED];
    const size_t first = work->page->exact_from;
    encode_side(&layer->k, exact + tq_exact_keys_at(layer, P, head), first, encoded + tq_encoded_keys_at(layer, head));
    encode_side(&layer->v, exact + tq_exact_values_at(layer, P, head), first,
                encoded + tq_encoded_values_at(layer, head));
}

void tq_page_keep_sinks(const tq_cache *cache, const tq_layer *layer, tq_page *page)
{
    const size_t n_sinks = cache->desc.sink_tokens;
    for (size_t head = 0; head < cache->desc.n_kv_heads; head++) {
        for (size_t token = page->exact_from; token < n_sinks; token++) {
            const size_t key = 2 * layer->k.dim;
            const size_t value = 2 * layer->v.dim;
            memcpy(page->blocks[TQ_BLOCK_SINKS] + tq_exact_keys_at(layer, n_sinks, head) + token * key,
                   page->blocks[TQ_BLOCK_EXACT] + tq_exact_keys_at(layer, P, head) + token * key, key);
            memcpy(page->blocks[TQ_BLOCK_SINKS] + tq_exact_values_at(layer, n_sinks, head) + token * value,
                   page->blocks[TQ_BLOCK_EXACT] + tq_exact_values_at(layer, P, head) + token * value, value);
        }
    }
}

void tq_page_encode(const tq_cache *cache, const tq_layer *layer, tq_page *page)
{
    encode_work work = {layer, page};
    tq_run(cache->context, encode_head, &work, cache->desc.n_kv_heads);
    page->n_encoded = P;
}

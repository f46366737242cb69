/* SPDX-License-Identifier: MIT
 *
 * What a page does when it leaves the window: its mean, its codes, its sinks. */
#include "cache.h"

#include "compiler.h"
#include "half.h"
#include "rows.h"

enum { P = TQ_PAGE_TOKENS };

/* A page's vectors on their way between floats and rows: as many as rows.c takes at once. */
typedef struct batch {
    float y[TQ_BATCH_FLOATS]; /* Rotated, the mean taken off if that made the vector shorter. */
    float sum_squares[TQ_BATCH_ROWS];
    bool uncentred[TQ_BATCH_ROWS];
} batch;

/* --- encoding ------------------------------------------------------------------------------------------------------
 */

void tq_side_mean(const tq_side *side, const uint8_t *exact, size_t n, uint8_t *mean)
{
    const size_t dim = side->codec->code.dim;
    float sum[TQ_MAX_DIM] = {0};
    float y[TQ_MAX_DIM];
    for (size_t token = 0; token < n; token++) {
        float x[TQ_MAX_DIM];
        side->codec->context->kernels.half_decode(exact + token * 2 * dim, dim, x);
        for (size_t j = 0; j < dim; j++) {
            sum[j] += x[j];
        }
    }
    tq_rotate_vector(side->codec, sum, y);
    for (size_t j = 0; j < dim; j++) {
        y[j] *= 1.0F / (float)n;
    }
    side->codec->context->kernels.half_encode(y, dim, mean);
}

/* Takes the mean off a rotated vector if that makes it shorter; true if it did. */
TQ_APART bool centre(const tq_side *side, const float *mean, float *y, float *sum_squares)
{
    const size_t dim = side->codec->code.dim;
    float centred[TQ_MAX_DIM];
    for (size_t j = 0; j < dim; j++) {
        centred[j] = y[j] - mean[j];
    }
    const float shorter = side->codec->context->kernels.sum_squares(centred, dim);
    if (!(shorter < *sum_squares)) {
        return false;
    }
    *sum_squares = shorter;
    memcpy(y, centred, dim * sizeof *y);
    return true;
}

/* Encodes tokens [first, first + n) of a page. */
TQ_APART void write_batch(const tq_side *side, const batch *b, size_t first, size_t n, uint8_t *page)
{
    const tq_code *code = &side->codec->code;
    uint8_t rows[TQ_BATCH_FLOATS + 2 * TQ_BATCH_ROWS]; /* A coordinate takes a byte at most, a scale two. */
    tq_rotated_encode(side->codec, b->y, b->sum_squares, n, rows);
    for (size_t i = 0; i < n; i++) {
        uint8_t *row = rows + i * code->row_bytes;
        if (b->uncentred[i]) {
            tq_store_le16(row, tq_load_le16(row) | TQ_ROW_UNCENTRED);
        }
    }
    side->codec->context->kernels.page_write(code, side->kind, rows, first, n, page);
}

static size_t batch_length(const tq_side *side, size_t first, size_t end)
{
    const size_t most = tq_batch_rows(side->codec);
    return end - first < most ? end - first : most;
}

void tq_side_encode(const tq_side *side, const uint8_t *exact, size_t first, size_t end, uint8_t *encoded)
{
    const tq_kernels *kernels = &side->codec->context->kernels;
    const size_t dim = side->codec->code.dim;
    uint8_t *page = encoded + side->rows_at;
    float mean[TQ_MAX_DIM];
    if (side->codec->family == TQ_FAMILY_HALF) {
        kernels->page_write(&side->codec->code, side->kind, exact + first * 2 * dim, first, end - first, page);
        return;
    }
    if (side->has_mean && first == 0) {
        tq_side_mean(side, exact, end, encoded); /* It goes before the rows. */
    }
    if (side->has_mean) {
        kernels->half_decode(encoded, dim, mean);
    }
    while (first < end) {
        batch b;
        const size_t n = batch_length(side, first, end);
        for (size_t i = 0; i < n; i++) {
            float x[TQ_MAX_DIM];
            float *y = b.y + i * dim;
            kernels->half_decode(exact + (first + i) * 2 * dim, dim, x);
            tq_rotate_vector(side->codec, x, y);
            b.sum_squares[i] = kernels->sum_squares(y, dim);
            b.uncentred[i] = side->has_mean && !centre(side, mean, y, &b.sum_squares[i]);
            b.sum_squares[i] /= (float)dim;
        }
        write_batch(side, &b, first, n, page);
        first += n;
    }
}

/* --- decoding and recoding -----------------------------------------------------------------------------------------
 */

static void read_row(const tq_side *side, const uint8_t *encoded, size_t token, uint8_t *row)
{
    side->codec->context->kernels.page_read(&side->codec->code, side->kind, encoded + side->rows_at, token, 1, row);
}

/* Reads the rotated vector of one token, without its mean; true if the page's mean was taken off. */
static bool read_token(const tq_side *side, const uint8_t *encoded, size_t token, float *y)
{
    uint8_t row[TQ_MAX_DIM + 2];
    read_row(side, encoded, token, row);
    const uint16_t scale = tq_load_le16(row);
    tq_store_le16(row, scale & (uint16_t)~TQ_ROW_UNCENTRED);
    tq_rotated_decode(side->codec, row, y);
    return side->has_mean && (scale & TQ_ROW_UNCENTRED) == 0;
}

void tq_side_vector(const tq_side *side, const uint8_t *encoded, size_t token, float *x)
{
    const tq_kernels *kernels = &side->codec->context->kernels;
    const size_t dim = side->codec->code.dim;
    if (side->codec->family == TQ_FAMILY_HALF) {
        uint8_t row[2 * TQ_MAX_DIM];
        read_row(side, encoded, token, row);
        kernels->half_decode(row, dim, x);
        return;
    }
    float y[TQ_MAX_DIM];
    if (read_token(side, encoded, token, y)) {
        float mean[TQ_MAX_DIM];
        kernels->half_decode(encoded, dim, mean);
        for (size_t j = 0; j < dim; j++) {
            y[j] += mean[j];
        }
    }
    tq_unrotate_vector(side->codec, y, x);
}

void tq_side_decode(const tq_side *side, const uint8_t *encoded, size_t end, uint8_t *exact)
{
    const size_t dim = side->codec->code.dim;
    for (size_t token = 0; token < end; token++) {
        float x[TQ_MAX_DIM];
        tq_side_vector(side, encoded, token, x);
        side->codec->context->kernels.half_encode(x, dim, exact + token * 2 * dim);
    }
}

void tq_side_recode(const tq_side *from, const uint8_t *encoded, size_t end, const tq_side *to, uint8_t *recoded,
                    uint8_t *exact)
{
    const size_t dim = from->codec->code.dim;
    if (from->codec->family == TQ_FAMILY_HALF || to->codec->family == TQ_FAMILY_HALF) {
        tq_side_decode(from, encoded, end, exact);
        tq_side_encode(to, exact, 0, end, recoded);
        return;
    }
    memcpy(recoded, encoded, from->has_mean ? 2 * dim : 0);
    for (size_t first = 0; first < end;) {
        batch b;
        const size_t n = batch_length(to, first, end);
        for (size_t i = 0; i < n; i++) {
            float *y = b.y + i * dim;
            b.uncentred[i] = !read_token(from, encoded, first + i, y) && from->has_mean;
            b.sum_squares[i] = to->codec->context->kernels.sum_squares(y, dim) / (float)dim;
        }
        write_batch(to, &b, first, n, recoded + to->rows_at);
        first += n;
    }
}

/* --- pages ---------------------------------------------------------------------------------------------------------
 */

typedef struct encode_work {
    const tq_cache *cache;
    tq_page *page;
} encode_work;

static void encode_head(void *arg, size_t head)
{
    const encode_work *work = arg;
    const tq_page *page = work->page;
    const uint8_t *exact = page->blocks[TQ_BLOCK_EXACT];
    uint8_t *encoded = page->blocks[TQ_BLOCK_ENCODED];
    tq_side_encode(page->form.k, exact + tq_exact_keys_at(work->cache, P, head), page->exact_from, P,
                   encoded + tq_encoded_keys_at(page->form, head));
    tq_side_encode(page->form.v, exact + tq_exact_values_at(work->cache, P, head), page->exact_from, P,
                   encoded + tq_encoded_values_at(page->form, head));
}

void tq_page_encode(const tq_cache *cache, tq_page *page)
{
    encode_work work = {cache, page};
    if (page->blocks[TQ_BLOCK_SINKS] != NULL) {
        tq_page_keep_sinks(cache, page);
    }
    tq_run(cache->context, encode_head, &work, cache->desc.n_kv_heads);
}

void tq_page_keep_sinks(const tq_cache *cache, tq_page *page)
{
    const size_t n_sinks = cache->desc.sink_tokens;
    const size_t key = (size_t)2 * cache->desc.head_dim_k;
    const size_t value = (size_t)2 * cache->desc.head_dim_v;
    const uint8_t *exact = page->blocks[TQ_BLOCK_EXACT];
    uint8_t *sinks = page->blocks[TQ_BLOCK_SINKS];
    for (size_t head = 0; head < cache->desc.n_kv_heads; head++) {
        for (size_t token = page->exact_from; token < n_sinks; token++) {
            memcpy(sinks + tq_exact_keys_at(cache, n_sinks, head) + token * key,
                   exact + tq_exact_keys_at(cache, P, head) + token * key, key);
            memcpy(sinks + tq_exact_values_at(cache, n_sinks, head) + token * value,
                   exact + tq_exact_values_at(cache, P, head) + token * value, value);
        }
    }
}

/* SPDX-License-Identifier: MIT
 *
 * The public calls over vectors: check the arguments, cut the work into blocks for the executor, hand blocks to rows.c.
 * Each call looks at all of its floats before it writes the first byte, so that an error leaves no trace. */
#include "checked.h"
#include "rows.h"

#include <math.h>
#include <stdatomic.h>

enum { ROWS_PER_BLOCK = 64 }; /* Enough work for a task, and few enough that a long call spreads over many threads. */

static size_t blocks_of(size_t n, size_t per_block)
{
    return n / per_block + (n % per_block != 0);
}

static size_t block_length(size_t n, size_t per_block, size_t index)
{
    const size_t left = n - index * per_block;
    return left < per_block ? left : per_block;
}

static size_t dtype_bytes(tq_dtype dtype)
{
    switch (dtype) {
    case TQ_DTYPE_F32:
        return 4;
    case TQ_DTYPE_F16:
    case TQ_DTYPE_BF16:
        return 2;
    default:
        return 0;
    }
}

/* Rows of floats in the caller's memory. */
typedef struct float_rows {
    const tq_kernels *kernels;
    const char *first;
    tq_dtype dtype;
    size_t length;
    size_t stride; /* In bytes. */
    size_t n;
    atomic_int nonfinite;
} float_rows;

static const void *row_at(const float_rows *rows, size_t index)
{
    return rows->first + index * rows->stride;
}

static bool is_dense(const float_rows *rows)
{
    return rows->stride == rows->length * dtype_bytes(rows->dtype);
}

static void find_nonfinite(void *arg, size_t index)
{
    float_rows *rows = arg;
    const size_t begin = index * ROWS_PER_BLOCK;
    const size_t count = block_length(rows->n, ROWS_PER_BLOCK, index);
    const size_t at_once = is_dense(rows) ? count : 1;
    for (size_t done = 0; done < count; done += at_once) {
        if (!rows->kernels->all_finite(row_at(rows, begin + done), rows->dtype, at_once * rows->length)) {
            atomic_store(&rows->nonfinite, 1);
            return;
        }
    }
}

/* The rows as they lie there, if they are dense floats: nothing has to be converted. */
static const float *as_floats(const float_rows *rows)
{
    const bool aligned = (uintptr_t)rows->first % _Alignof(float) == 0;
    return rows->dtype == TQ_DTYPE_F32 && is_dense(rows) && aligned ? (const void *)rows->first : NULL;
}

/* Describes n rows of `length` floats; false if they cannot be: a null pointer, an unknown type, a short stride. */
static bool describe_rows(const tq_codec *codec, float_rows *rows, const void *x, tq_dtype dtype, size_t stride,
                          size_t length, size_t n)
{
    const size_t element = dtype_bytes(dtype);
    const size_t step = stride == 0 ? length : stride;
    if (element == 0 || !tq_rows_fit(n, length, step, element) || (x == NULL && n > 0 && length > 0)) {
        return false;
    }
    *rows = (float_rows){.kernels = &codec->context->kernels,
                         .first = x,
                         .dtype = dtype,
                         .length = length,
                         .stride = step * element,
                         .n = length == 0 ? 0 : n}; /* Empty rows need not exist. */
    return true;
}

static bool all_finite(const tq_codec *codec, float_rows *rows)
{
    tq_run(codec->context, find_nonfinite, rows, blocks_of(rows->n, ROWS_PER_BLOCK));
    return atomic_load(&rows->nonfinite) == 0;
}

/* Checks a buffer of n encoded rows. */
static tq_status check_codes(const tq_codec *codec, const void *codes, size_t codes_size, size_t n)
{
    size_t needed;
    if (!tq_multiply_fits(n, codec->code.row_bytes, &needed) || (codes == NULL && n > 0)) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    return codes_size < needed ? TQ_ERR_BUFFER_TOO_SMALL : TQ_OK;
}

/* Logs a failed check of `call`; every call tells its own name, so the sentences are written out. */
#define FAIL_CODES(codec, status, call)                                                                                \
    tq_fail((codec)->context, status,                                                                                  \
            (status) == TQ_ERR_BUFFER_TOO_SMALL ? call ": codes_size is smaller than the rows need"                    \
                                                : call ": codes is null or the number of rows overflows")

/* --- encode --------------------------------------------------------------------------------------------------------
 */

typedef struct encode_work {
    const tq_codec *codec;
    const float_rows *x;
    uint8_t *codes;
} encode_work;

static void encode_block(void *arg, size_t index)
{
    const encode_work *work = arg;
    const tq_codec *codec = work->codec;
    const float_rows *rows = work->x;
    const size_t per_batch = tq_rows_in(codec, TQ_ENCODE_FLOATS);
    const size_t begin = index * ROWS_PER_BLOCK;
    const size_t count = block_length(rows->n, ROWS_PER_BLOCK, index);
    const float *floats = as_floats(rows);
    for (size_t done = 0; done < count; done += per_batch) {
        float widened[TQ_ENCODE_FLOATS];
        const size_t first = begin + done;
        const size_t n = block_length(count, per_batch, done / per_batch);
        for (size_t i = 0; floats == NULL && i < n; i++) {
            rows->kernels->widen(row_at(rows, first + i), rows->dtype, rows->length, widened + i * rows->length);
        }
        tq_rows_encode(codec, floats != NULL ? floats + first * rows->length : widened, n,
                       work->codes + first * codec->code.row_bytes);
    }
}

tq_status tq_encode(const tq_codec *codec, const void *x, tq_dtype dtype, size_t x_stride, size_t n, void *codes,
                    size_t codes_size)
{
    if (codec == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    float_rows rows;
    if (!describe_rows(codec, &rows, x, dtype, x_stride, codec->code.dim, n)) {
        return tq_fail(codec->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_encode: x is null, dtype is unknown, or x_stride and n make no array");
    }
    const tq_status status = check_codes(codec, codes, codes_size, n);
    if (status != TQ_OK) {
        return FAIL_CODES(codec, status, "tq_encode");
    }
    if (!all_finite(codec, &rows)) {
        return tq_fail(codec->context, TQ_ERR_NONFINITE, "tq_encode: x contains a NaN or an infinity");
    }
    encode_work work = {codec, &rows, codes};
    tq_run(codec->context, encode_block, &work, blocks_of(n, ROWS_PER_BLOCK));
    return TQ_OK;
}

/* --- decode --------------------------------------------------------------------------------------------------------
 */

typedef struct decode_work {
    const tq_codec *codec;
    const uint8_t *codes;
    const float_rows *x; /* Where to write. */
    char *first;
} decode_work;

static void decode_block(void *arg, size_t index)
{
    const decode_work *work = arg;
    const tq_codec *codec = work->codec;
    const float_rows *rows = work->x;
    const size_t begin = index * ROWS_PER_BLOCK;
    const size_t end = begin + block_length(rows->n, ROWS_PER_BLOCK, index);
    for (size_t i = begin; i < end; i++) {
        float x[TQ_MAX_DIM];
        tq_row_decode(codec, work->codes + i * codec->code.row_bytes, x);
        rows->kernels->narrow(x, rows->length, rows->dtype, work->first + i * rows->stride);
    }
}

tq_status tq_decode(const tq_codec *codec, const void *codes, size_t codes_size, size_t n, void *x, tq_dtype dtype,
                    size_t x_stride)
{
    if (codec == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    float_rows rows;
    if (!describe_rows(codec, &rows, x, dtype, x_stride, codec->code.dim, n)) {
        return tq_fail(codec->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_decode: x is null, dtype is unknown, or x_stride and n make no array");
    }
    const tq_status status = check_codes(codec, codes, codes_size, n);
    if (status != TQ_OK) {
        return FAIL_CODES(codec, status, "tq_decode");
    }
    const uint8_t *bytes = codes;
    for (size_t i = 0; i < n; i++) {
        if (!tq_row_is_sound(codec, bytes + i * codec->code.row_bytes)) {
            return tq_fail(codec->context, TQ_ERR_CORRUPT,
                           "tq_decode: a row holds a scale that is negative or not finite");
        }
    }
    decode_work work = {codec, bytes, &rows, x};
    tq_run(codec->context, decode_block, &work, blocks_of(n, ROWS_PER_BLOCK));
    return TQ_OK;
}

/* --- scores --------------------------------------------------------------------------------------------------------
 */

typedef struct scores_work {
    const tq_codec *codec;
    const float *rotated;
    const float *projected;
    size_t n_q;
    const uint8_t *codes;
    size_t n_keys;
    float *scores;
    size_t stride;
} scores_work;

static void scores_block(void *arg, size_t index)
{
    const scores_work *work = arg;
    const size_t begin = index * ROWS_PER_BLOCK;
    tq_rows_scores(work->codec, work->rotated, work->projected, work->n_q,
                   work->codes + begin * work->codec->code.row_bytes, block_length(work->n_keys, ROWS_PER_BLOCK, index),
                   work->scores + begin, work->stride);
}

tq_status tq_attention_scores(const tq_codec *codec, const void *q, tq_dtype q_dtype, size_t q_stride, size_t n_q,
                              const void *codes, size_t codes_size, size_t n_keys, float scale, float *scores,
                              size_t scores_stride)
{
    if (codec == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (n_q == 0 || n_keys == 0) {
        return TQ_OK;
    }
    float_rows queries;
    float_rows outputs;
    if (!describe_rows(codec, &queries, q, q_dtype, q_stride, codec->code.dim, n_q)) {
        return tq_fail(codec->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_attention_scores: q is null, q_dtype is unknown, or q_stride and n_q make no array");
    }
    if (!describe_rows(codec, &outputs, scores, TQ_DTYPE_F32, scores_stride, n_keys, n_q)) {
        return tq_fail(codec->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_attention_scores: scores is null, or scores_stride, n_q and n_keys make no array");
    }
    const tq_status status = check_codes(codec, codes, codes_size, n_keys);
    if (status != TQ_OK) {
        return FAIL_CODES(codec, status, "tq_attention_scores");
    }
    if (!isfinite(scale) || !all_finite(codec, &queries)) {
        return tq_fail(codec->context, TQ_ERR_NONFINITE,
                       "tq_attention_scores: scale or q contains a NaN or an infinity");
    }
    const size_t dim = codec->code.dim;
    const size_t per_block = tq_batch_rows(codec);
    const size_t stride = outputs.stride / sizeof *scores;
    for (size_t begin = 0; begin < n_q; begin += per_block) {
        float rotated[TQ_BATCH_FLOATS];
        float projected[TQ_BATCH_FLOATS];
        const size_t count = block_length(n_q, per_block, begin / per_block);
        for (size_t i = 0; i < count; i++) {
            float x[TQ_MAX_DIM];
            queries.kernels->widen(row_at(&queries, begin + i), q_dtype, dim, x);
            tq_query_prepare(codec, x, scale, rotated + i * dim, projected + i * dim);
        }
        scores_work work = {codec, rotated, projected, count, codes, n_keys, scores + begin * stride, stride};
        tq_run(codec->context, scores_block, &work, blocks_of(n_keys, ROWS_PER_BLOCK));
    }
    return TQ_OK;
}

/* --- weighted sum --------------------------------------------------------------------------------------------------
 */

typedef struct sum_work {
    const tq_codec *codec;
    const float *w;
    size_t w_stride;
    size_t n_q;
    const uint8_t *codes;
    size_t n;
    float *out;
    size_t out_stride;
} sum_work;

/* One block of output rows over all encoded rows, so that the order of additions depends on nothing. */
static void sum_block(void *arg, size_t index)
{
    const sum_work *work = arg;
    const tq_codec *codec = work->codec;
    const size_t dim = codec->code.dim;
    const size_t per_block = tq_batch_rows(codec);
    const size_t begin = index * per_block;
    const size_t count = block_length(work->n_q, per_block, index);
    float sums[TQ_BATCH_FLOATS] = {0};
    float sign_sums[TQ_BATCH_FLOATS] = {0};
    if (work->n > 0) { /* Else w and codes may be null. */
        tq_rows_sum(codec, work->w + begin * work->w_stride, work->w_stride, count, work->codes, work->n, sums,
                    sign_sums);
    }
    for (size_t i = 0; i < count; i++) {
        tq_sum_finish(codec, sums + i * dim, sign_sums + i * dim, work->out + (begin + i) * work->out_stride);
    }
}

tq_status tq_weighted_sum(const tq_codec *codec, const float *w, size_t w_stride, size_t n_q, const void *codes,
                          size_t codes_size, size_t n, float *out, size_t out_stride)
{
    if (codec == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (n_q == 0) {
        return TQ_OK;
    }
    float_rows weights;
    float_rows outputs;
    if (!describe_rows(codec, &weights, w, TQ_DTYPE_F32, w_stride, n, n_q)) {
        return tq_fail(codec->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_weighted_sum: w is null, or w_stride, n_q and n make no array");
    }
    if (!describe_rows(codec, &outputs, out, TQ_DTYPE_F32, out_stride, codec->code.dim, n_q)) {
        return tq_fail(codec->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_weighted_sum: out is null, or out_stride and n_q make no array");
    }
    const tq_status status = check_codes(codec, codes, codes_size, n);
    if (status != TQ_OK) {
        return FAIL_CODES(codec, status, "tq_weighted_sum");
    }
    if (!all_finite(codec, &weights)) {
        return tq_fail(codec->context, TQ_ERR_NONFINITE, "tq_weighted_sum: w contains a NaN or an infinity");
    }
    sum_work work = {codec, w, weights.stride / sizeof *w, n_q, codes, n, out, outputs.stride / sizeof *out};
    tq_run(codec->context, sum_block, &work, blocks_of(n_q, tq_batch_rows(codec)));
    return TQ_OK;
}

/* --- rotation ------------------------------------------------------------------------------------------------------
 */

typedef struct rotate_work {
    const tq_codec *codec;
    bool back;
    const float *x;
    size_t x_stride;
    size_t n;
    float *y;
    size_t y_stride;
} rotate_work;

/* Rotations of the library are sqrt(dim) times orthogonal ones. */
static void rotate_block(void *arg, size_t index)
{
    const rotate_work *work = arg;
    const size_t dim = work->codec->code.dim;
    const size_t begin = index * ROWS_PER_BLOCK;
    const size_t end = begin + block_length(work->n, ROWS_PER_BLOCK, index);
    const float root = sqrtf((float)dim);
    for (size_t i = begin; i < end; i++) {
        const float *x = work->x + i * work->x_stride;
        float *y = work->y + i * work->y_stride;
        if (work->back) {
            tq_unrotate_vector(work->codec, x, y);
        } else {
            tq_rotate_vector(work->codec, x, y);
        }
        for (size_t j = 0; j < dim; j++) {
            y[j] = work->back ? y[j] * root : y[j] / root;
        }
    }
}

static tq_status rotate(const tq_codec *codec, bool back, const float *x, size_t x_stride, size_t n, float *y,
                        size_t y_stride)
{
    float_rows inputs;
    float_rows outputs;
    if (codec == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (codec->family == TQ_FAMILY_HALF) {
        return tq_fail(codec->context, TQ_ERR_UNSUPPORTED, "tq_rotate: f16 has no rotation");
    }
    if (!describe_rows(codec, &inputs, x, TQ_DTYPE_F32, x_stride, codec->code.dim, n) ||
        !describe_rows(codec, &outputs, y, TQ_DTYPE_F32, y_stride, codec->code.dim, n)) {
        return tq_fail(codec->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_rotate: x or y is null, or the strides and n make no array");
    }
    if (!all_finite(codec, &inputs)) {
        return tq_fail(codec->context, TQ_ERR_NONFINITE, "tq_rotate: x contains a NaN or an infinity");
    }
    rotate_work work = {codec, back, x, inputs.stride / sizeof *x, n, y, outputs.stride / sizeof *y};
    tq_run(codec->context, rotate_block, &work, blocks_of(n, ROWS_PER_BLOCK));
    return TQ_OK;
}

tq_status tq_rotate(const tq_codec *codec, const float *x, size_t x_stride, size_t n, float *y, size_t y_stride)
{
    return rotate(codec, false, x, x_stride, n, y, y_stride);
}

tq_status tq_unrotate(const tq_codec *codec, const float *x, size_t x_stride, size_t n, float *y, size_t y_stride)
{
    return rotate(codec, true, x, x_stride, n, y, y_stride);
}

/* SPDX-License-Identifier: MIT
 *
 * What bench_attend.py needs of the library, as a C interface for ctypes: a codec's tables, and the scalar backend's
 * rows and levels. */
extern "C" {
#include "codec.h"
}
#include "kernels/cuda/args_cuda.h"
#include "kernels/cuda/tables_cuda.h"

#include <cstdlib>
#include <cstring>

namespace
{

tq_codec *codecs[64][8];

tq_codec *codec_of(int format, int dim)
{
    tq_context *context = nullptr;
    tq_codec *codec = nullptr;
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    const int slot = dim == 64    ? 0
                     : dim == 80  ? 1
                     : dim == 96  ? 2
                     : dim == 112 ? 3
                     : dim == 128 ? 4
                     : dim == 192 ? 5
                                  : 6;
    if (codecs[format][slot] != nullptr) {
        return codecs[format][slot];
    }
    desc.dim = (size_t)dim;
    desc.format = (tq_format)format;
    tq_context_desc scalar = TQ_CONTEXT_DESC_INIT;
    scalar.backend = "scalar";
    if (tq_context_create(&scalar, &context) != TQ_OK || tq_codec_create(context, &desc, &codec) != TQ_OK) {
        abort();
    }
    return codecs[format][slot] = codec;
}

} // namespace

extern "C" {

/* signs: [dim]; paley: [m * m] or untouched. */
void harness_tables(int format, int dim, tq_cuda_table *table, float *signs, float *paley)
{
    const tq_codec *codec = codec_of(format, dim);
    if (codec->code.bits <= 4) {
        const tq_cuda_lookup lookup = tq_cuda_make_lookup(&codec->code);
        memcpy(table, &lookup, sizeof lookup);
    }
    memcpy(signs, codec->rotation.signs, (size_t)dim * sizeof *signs);
    if (codec->rotation.paley != nullptr) {
        const size_t m = codec->rotation.paley_order;
        memcpy(paley, codec->rotation.paley, m * m * sizeof *paley);
    }
}

/* Everything tq_cuda_encode wants of a codec; centroids and thresholds are copied to the given arrays. */
void harness_encode_args(int format, int dim, tq_cuda_encode_args *args, float *centroids, float *thresholds)
{
    const tq_code *code = &codec_of(format, dim)->code;
    args->scale_mode = (int)code->scale;
    args->n_gains = (int)code->n_gains;
    memcpy(args->gains, code->gains, code->n_gains * sizeof *code->gains);
    args->step = code->trellis.step;
    memcpy(args->k, code->trellis.k, sizeof args->k);
    memcpy(args->target, code->trellis.target, sizeof args->target);
    if (code->centroids != nullptr) {
        memcpy(centroids, code->centroids, sizeof(float) << code->bits);
        memcpy(thresholds, code->thresholds, (sizeof(float) << code->bits) - sizeof(float));
    }
}

int harness_row_bytes(int format, int dim)
{
    return (int)codec_of(format, dim)->code.row_bytes;
}

int harness_encode(int format, int dim, const void *x, int dtype, size_t n, uint8_t *rows)
{
    const tq_codec *codec = codec_of(format, dim);
    return tq_encode(codec, x, (tq_dtype)dtype, 0, n, rows, n * tq_codec_bytes(codec));
}

/* Rotated vectors of rows, in units where the vector is D H^T y / dim, by the scalar backend; sign bits of scales are
 * ignored. With `device` the levels are those the device computes with. */
void harness_levels(int format, int dim, const uint8_t *rows, size_t n, int device, float *y)
{
    const tq_code *code = &codec_of(format, dim)->code;
    tq_kernels kernels;
    tq_kernels_select("scalar", &kernels);
    tq_code own = *code;
    float levels[256];
    if (device && code->trellis.bits == 0) {
        for (int i = 0; i < 1 << code->bits; i++) {
            levels[i] = tq_cuda_level(code, format, i);
        }
        own.centroids = levels;
    }
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = rows + i * code->row_bytes;
        (code->trellis.bits != 0 ? kernels.trellis_decode : kernels.lloyd_decode)(&own, row, y + i * (size_t)dim);
    }
}
}

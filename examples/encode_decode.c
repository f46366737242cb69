/* SPDX-License-Identifier: MIT
 *
 * Encodes vectors in every format, decodes them, and prints what it costs in bytes and in error. */
#include <turboquant.h>

#include <stdio.h>
#include <stdlib.h>

enum { DIM = 128, COUNT = 256 };

static float x[COUNT][DIM], decoded[COUNT][DIM];

/* Squared error of all vectors, divided by their squared norms: the D of the paper. */
static double relative_error(void)
{
    double error = 0, norm = 0;
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < DIM; j++) {
            const double e = (double)decoded[i][j] - (double)x[i][j];
            error += e * e;
            norm += (double)x[i][j] * (double)x[i][j];
        }
    }
    return error / norm;
}

/* Returns the error of one format, or a negative status. */
static double round_trip(const tq_context *context, tq_format format, size_t *bytes)
{
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    desc.dim = DIM;
    desc.format = format;
    tq_codec *codec;
    tq_status status = tq_codec_create(context, &desc, &codec);
    if (status != TQ_OK) {
        return status;
    }
    *bytes = tq_codec_bytes(codec);
    void *codes = malloc(COUNT * *bytes);
    status = codes == NULL ? TQ_ERR_OUT_OF_MEMORY : TQ_OK;
    if (status == TQ_OK) {
        status = tq_encode(codec, x, TQ_DTYPE_F32, 0, COUNT, codes, COUNT * *bytes);
    }
    if (status == TQ_OK) {
        status = tq_decode(codec, codes, COUNT * *bytes, COUNT, decoded, TQ_DTYPE_F32, 0);
    }
    free(codes);
    tq_codec_destroy(codec);
    return status == TQ_OK ? relative_error() : status;
}

int main(void)
{
    for (size_t i = 0; i < COUNT * DIM; i++) {
        x[i / DIM][i % DIM] = (float)rand() / (float)RAND_MAX - 0.5F;
    }
    tq_context *context;
    if (tq_context_create(NULL, &context) != TQ_OK) {
        return 1;
    }
    int failed = 0;
    for (size_t i = 0; i < tq_format_count(); i++) {
        const tq_format format = tq_format_at(i);
        size_t bytes = 0;
        const double error = round_trip(context, format, &bytes);
        printf("%-12s %3zu bytes  relative squared error %.6f\n", tq_format_name(format), bytes, error);
        failed |= error < 0 || error > 0.7 || (format == TQ_FORMAT_TURBO4 && error > 0.011);
    }
    tq_context_destroy(context);
    return failed;
}

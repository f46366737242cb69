/* SPDX-License-Identifier: MIT */
/* A vector format under measurement, whoever implements it: a baseline of this bench or a codec of the library. */
#ifndef TQ_BENCH_FORMATS_H
#define TQ_BENCH_FORMATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "turboquant.h"

/* What a format can do with rows; `codec` is the format's `keys` or `values`. */
struct format_calls {
    void (*encode)(const void *codec, const float *x, size_t n, uint8_t *rows);
    void (*decode)(const void *codec, const uint8_t *rows, size_t n, float *x);
    /* scores[i] = scale * <q, row i> */
    void (*scores)(const void *codec, const float *q, const uint8_t *rows, size_t n, float scale, float *scores);
    /* out = sum of w[i] * row i */
    void (*weighted_sum)(const void *codec, const float *w, const uint8_t *rows, size_t n, float *out);
    void (*destroy)(void *codec);
};

struct format {
    const char *name;
    size_t row_bytes;
    const struct format_calls *calls;
    void *keys;   /* The codec for keys: of the library, one with TQ_SCALE_NORM. */
    void *values; /* The codec for values: of the library, one with TQ_SCALE_UNBIASED. Baselines have one for both. */
};

struct formats {
    size_t count;
    struct format *items; /* f16, the yardstick, comes first. */
    const char *f16_name; /* The loop behind f16. */
};

/* How the library's formats encode, and their rotations. All zero is the default. */
struct format_options {
    uint64_t seed;
    tq_effort effort;
};

/* All formats for vectors of `dim` in the order of the table: the baselines that exist for `dim`, then the library's by
 * falling size, the prod formats last. With a filter (a POSIX extended regular expression, found anywhere in the name)
 * only those that match, and f16. On failure returns false, writes one sentence to `error` and leaves nothing to
 * free. */
bool formats_create(const tq_context *context, size_t dim, const struct format_options *options, const char *filter,
                    struct formats *formats, char *error, size_t error_size);

void formats_destroy(struct formats *formats);

/* One format of the library; the status is that of tq_codec_create. */
tq_status format_from_library(const tq_context *context, tq_format id, size_t dim, const struct format_options *options,
                              struct format *format);

/* A struct of zeros is ignored. */
void format_destroy(struct format *format);

#endif /* TQ_BENCH_FORMATS_H */

/* SPDX-License-Identifier: MIT */
/* The formats of a run: the baselines and every format the library knows, behind one set of calls. */
#define _POSIX_C_SOURCE 200809L
#include "formats.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "baselines.h"

/* The calls below cannot fail on data that was checked when it was read, so that a failure is a fault of the library
 * and ends the program. */
static void check(tq_status status, const char *call)
{
    if (status != TQ_OK) {
        fprintf(stderr, "tq_bench: %s failed: %s\n", call, tq_status_string(status));
        exit(EXIT_FAILURE);
    }
}

static void library_encode(const void *codec, const float *x, size_t n, uint8_t *rows)
{
    check(tq_encode(codec, x, TQ_DTYPE_F32, 0, n, rows, n * tq_codec_bytes(codec)), "tq_encode");
}

static void library_decode(const void *codec, const uint8_t *rows, size_t n, float *x)
{
    check(tq_decode(codec, rows, n * tq_codec_bytes(codec), n, x, TQ_DTYPE_F32, 0), "tq_decode");
}

static void library_scores(const void *codec, const float *q, const uint8_t *rows, size_t n, float scale, float *scores)
{
    const size_t size = n * tq_codec_bytes(codec);
    check(tq_attention_scores(codec, q, TQ_DTYPE_F32, 0, 1, rows, size, n, scale, scores, 0), "tq_attention_scores");
}

static void library_weighted_sum(const void *codec, const float *w, const uint8_t *rows, size_t n, float *out)
{
    check(tq_weighted_sum(codec, w, 0, 1, rows, n * tq_codec_bytes(codec), n, out, 0), "tq_weighted_sum");
}

static void library_destroy(void *codec)
{
    tq_codec_destroy(codec);
}

static const struct format_calls library_calls = {library_encode, library_decode, library_scores, library_weighted_sum,
                                                  library_destroy};

tq_status format_from_library(const tq_context *context, tq_format id, size_t dim, const struct format_options *options,
                              struct format *format)
{
    tq_codec *keys = NULL;
    tq_codec *values = NULL;
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    desc.dim = (uint32_t)dim;
    desc.format = id;
    desc.seed = options->seed;
    desc.effort = options->effort;
    desc.scale = TQ_SCALE_NORM;
    tq_status status = tq_codec_create(context, &desc, &keys);
    if (status == TQ_OK) {
        desc.scale = TQ_SCALE_UNBIASED;
        status = tq_codec_create(context, &desc, &values);
    }
    if (status != TQ_OK) {
        tq_codec_destroy(keys);
        return status;
    }
    *format = (struct format){.name = tq_format_name(id),
                              .row_bytes = tq_codec_bytes(keys),
                              .calls = &library_calls,
                              .keys = keys,
                              .values = values};
    return TQ_OK;
}

static void bench_encode(const void *codec, const float *x, size_t n, uint8_t *rows)
{
    baseline_encode(codec, x, n, rows);
}

static void bench_decode(const void *codec, const uint8_t *rows, size_t n, float *x)
{
    baseline_decode(codec, rows, n, x);
}

static void bench_scores(const void *codec, const float *q, const uint8_t *rows, size_t n, float scale, float *scores)
{
    baseline_scores(codec, q, rows, n, scale, scores);
}

static void bench_weighted_sum(const void *codec, const float *w, const uint8_t *rows, size_t n, float *out)
{
    baseline_weighted_sum(codec, w, rows, n, out);
}

static const struct format_calls baseline_calls = {bench_encode, bench_decode, bench_scores, bench_weighted_sum, free};

static bool format_from_baseline(enum baseline_kind kind, size_t dim, uint64_t seed, struct format *format)
{
    struct baseline *baseline = malloc(sizeof *baseline);
    if (baseline == NULL) {
        return false;
    }
    baseline_init(baseline, kind, dim, seed, baseline_loops_best());
    *format = (struct format){.name = baseline_name(kind),
                              .row_bytes = baseline->row_bytes,
                              .calls = &baseline_calls,
                              .keys = baseline,
                              .values = baseline};
    return true;
}

void format_destroy(struct format *format)
{
    if (format->calls == NULL) {
        return;
    }
    format->calls->destroy(format->keys);
    if (format->values != format->keys) {
        format->calls->destroy(format->values);
    }
}

/* The order of the table: prod formats last; within a kind, larger rows first, then the library's order. */
static bool comes_before(const struct format *a, const struct format *b)
{
    const bool a_prod = strstr(a->name, "-prod") != NULL;
    const bool b_prod = strstr(b->name, "-prod") != NULL;
    return a_prod != b_prod ? b_prod : a->row_bytes > b->row_bytes;
}

/* Inserts a format into `count` ordered ones. */
static void insert(struct format *items, size_t count, const struct format *format)
{
    size_t at = count;
    for (; at > 0 && comes_before(format, &items[at - 1]); at--) {
        items[at] = items[at - 1];
    }
    items[at] = *format;
}

/* The library's formats that exist for `dim`, but for its f16: that row is the bench's own, written for speed. */
static bool add_library(const tq_context *context, size_t dim, const struct format_options *options,
                        const regex_t *filter, struct formats *formats)
{
    const size_t first = formats->count;
    for (size_t i = 0; i < tq_format_count(); i++) {
        struct format format;
        const tq_format id = tq_format_at(i);
        if (id == TQ_FORMAT_F16 || (filter != NULL && regexec(filter, tq_format_name(id), 0, NULL, 0) != 0)) {
            continue;
        }
        const tq_status status = format_from_library(context, id, dim, options, &format);
        if (status == TQ_ERR_UNSUPPORTED) {
            continue;
        }
        if (status != TQ_OK) {
            return false;
        }
        insert(formats->items + first, formats->count - first, &format);
        formats->count++;
    }
    return true;
}

static bool add_baselines(size_t dim, uint64_t seed, const regex_t *filter, struct formats *formats)
{
    for (enum baseline_kind kind = 0; kind < BASELINE_COUNT; kind++) {
        const bool wanted = filter == NULL || regexec(filter, baseline_name(kind), 0, NULL, 0) == 0;
        if (!baseline_supports(kind, dim) || !(wanted || kind == BASELINE_F16)) {
            continue;
        }
        if (!format_from_baseline(kind, dim, seed, &formats->items[formats->count])) {
            return false;
        }
        formats->count++;
    }
    return true;
}

/* Whether any name matches, also of formats that do not exist for the dimension. */
static bool matches_any(const regex_t *filter)
{
    for (enum baseline_kind kind = 0; kind < BASELINE_COUNT; kind++) {
        if (regexec(filter, baseline_name(kind), 0, NULL, 0) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < tq_format_count(); i++) {
        if (regexec(filter, tq_format_name(tq_format_at(i)), 0, NULL, 0) == 0) {
            return true;
        }
    }
    return false;
}

static bool compile_filter(const char *filter, regex_t *regex, char *error, size_t error_size)
{
    const int code = regcomp(regex, filter, REG_EXTENDED | REG_NOSUB);
    if (code != 0) {
        char reason[128];
        regerror(code, regex, reason, sizeof reason);
        snprintf(error, error_size, "--filter %s: %s", filter, reason);
        return false;
    }
    if (!matches_any(regex)) {
        snprintf(error, error_size, "--filter %s: no format has such a name", filter);
        regfree(regex);
        return false;
    }
    return true;
}

bool formats_create(const tq_context *context, size_t dim, const struct format_options *options, const char *filter,
                    struct formats *formats, char *error, size_t error_size)
{
    regex_t regex;
    *formats = (struct formats){.f16_name = baseline_loops_best()->name};
    if (filter != NULL && !compile_filter(filter, &regex, error, error_size)) {
        return false;
    }
    const regex_t *match = filter != NULL ? &regex : NULL;
    formats->items = calloc(BASELINE_COUNT + tq_format_count(), sizeof *formats->items);
    const bool ok = formats->items != NULL && add_baselines(dim, options->seed, match, formats) &&
                    add_library(context, dim, options, match, formats);
    if (filter != NULL) {
        regfree(&regex);
    }
    if (!ok) {
        snprintf(error, error_size, "not enough memory for the formats");
        formats_destroy(formats);
    }
    return ok;
}

void formats_destroy(struct formats *formats)
{
    for (size_t i = 0; formats->items != NULL && i < formats->count; i++) {
        format_destroy(&formats->items[i]);
    }
    free(formats->items);
    *formats = (struct formats){0};
}

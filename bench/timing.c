/* SPDX-License-Identifier: MIT */
/* Interleaved timing of encode, decode and scores. */
#include "timing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stopwatch.h"

#define SLICE_NS 2e6 /* Long against the clock's resolution, short against a machine's changes of speed. */

enum operation { ENCODE, ENCODE_SINGLE, DECODE, SCORES, OPERATIONS };

static const size_t operation_items[OPERATIONS] = {TIMING_VECTORS, TIMING_VECTORS, TIMING_VECTORS, TIMING_KEYS};

/* One format's rows, and what was measured on it. */
struct lane {
    const struct format *format;
    uint8_t *rows;              /* TIMING_KEYS keys */
    size_t repeats[OPERATIONS]; /* Calls in a slice. */
    double *ns[OPERATIONS];     /* Per vector or key: [round] */
};

struct work {
    struct lane *lanes;
    size_t lane_count;
    size_t rounds;
    size_t dim;
    float *keys; /* [TIMING_KEYS][head_dim] */
    const float *query;
    float scale;
    float *decoded; /* [TIMING_VECTORS][head_dim] */
    float *scores;  /* [TIMING_KEYS] */
    uint8_t *encoded;
};

static void call(const struct work *work, const struct lane *lane, enum operation operation)
{
    const struct format *format = lane->format;
    switch (operation) {
    case ENCODE:
        format->calls->encode(format->keys, work->keys, TIMING_VECTORS, work->encoded);
        break;
    case ENCODE_SINGLE:
        for (size_t i = 0; i < TIMING_VECTORS; i++) {
            format->calls->encode(format->keys, work->keys + i * work->dim, 1, work->encoded);
        }
        break;
    case DECODE:
        format->calls->decode(format->keys, lane->rows, TIMING_VECTORS, work->decoded);
        break;
    case SCORES:
    default:
        format->calls->scores(format->keys, work->query, lane->rows, TIMING_KEYS, work->scale, work->scores);
        break;
    }
}

static double slice_ns(const struct work *work, const struct lane *lane, enum operation operation, size_t repeats)
{
    const double start = thread_cpu_ns();
    for (size_t i = 0; i < repeats; i++) {
        call(work, lane, operation);
    }
    return thread_cpu_ns() - start;
}

/* Finds how many calls fill a slice; the calls also warm the caches and the branch predictors. */
static size_t calibrate(const struct work *work, const struct lane *lane, enum operation operation)
{
    for (size_t repeats = 1;; repeats *= 2) {
        const double ns = slice_ns(work, lane, operation, repeats);
        if (ns >= SLICE_NS / 4) {
            return (size_t)fmax(1.0, (double)repeats * SLICE_NS / ns);
        }
    }
}

static void measure_round(const struct work *work, size_t round)
{
    for (int operation = 0; operation < OPERATIONS; operation++) {
        for (size_t i = 0; i < work->lane_count; i++) {
            /* Each round starts elsewhere, so that no format always follows the same one. */
            const struct lane *lane = &work->lanes[(i + round) % work->lane_count];
            const size_t repeats = lane->repeats[operation];
            const double calls_ns = slice_ns(work, lane, (enum operation)operation, repeats);
            lane->ns[operation][round] = calls_ns / (double)repeats / (double)operation_items[operation];
        }
    }
}

static void finish(const struct work *work, double *ratios, struct timing *timings)
{
    for (size_t i = 0; i < work->lane_count; i++) { /* Before any sorting: ratios pair the slices of one round. */
        for (size_t round = 0; round < work->rounds; round++) {
            ratios[round] = work->lanes[0].ns[SCORES][round] / work->lanes[i].ns[SCORES][round];
        }
        timings[i].score_vs_f16 = median(ratios, work->rounds);
    }
    for (size_t i = 0; i < work->lane_count; i++) {
        timings[i].encode_ns = median(work->lanes[i].ns[ENCODE], work->rounds);
        timings[i].encode_single_ns = median(work->lanes[i].ns[ENCODE_SINGLE], work->rounds);
        timings[i].decode_ns = median(work->lanes[i].ns[DECODE], work->rounds);
        timings[i].score_ns = median(work->lanes[i].ns[SCORES], work->rounds);
    }
}

/* The keys of all heads one after the other, from the start again if they are too few. */
static void gather_keys(const struct qkv *qkv, float *keys)
{
    const size_t dim = qkv->head_dim;
    const size_t heads = (size_t)qkv->layers * qkv->kv_heads;
    for (size_t i = 0; i < TIMING_KEYS; i++) {
        const size_t head = i / qkv->tokens % heads;
        const float *head_keys = qkv_keys(qkv, (uint32_t)(head / qkv->kv_heads), (uint32_t)(head % qkv->kv_heads));
        memcpy(keys + i * dim, head_keys + i % qkv->tokens * dim, dim * sizeof *keys);
    }
}

static bool lane_prepare(const struct work *work, const struct format *format, struct lane *lane)
{
    lane->format = format;
    lane->rows = malloc(TIMING_KEYS * format->row_bytes);
    bool ok = lane->rows != NULL;
    for (int operation = 0; operation < OPERATIONS; operation++) {
        lane->ns[operation] = calloc(work->rounds, sizeof *lane->ns[operation]);
        ok = ok && lane->ns[operation] != NULL;
    }
    if (ok) {
        format->calls->encode(format->keys, work->keys, TIMING_KEYS, lane->rows);
        for (int operation = 0; operation < OPERATIONS; operation++) {
            lane->repeats[operation] = calibrate(work, lane, (enum operation)operation);
        }
    }
    return ok;
}

static size_t largest_row(const struct formats *formats)
{
    size_t bytes = 0;
    for (size_t i = 0; i < formats->count; i++) {
        bytes = formats->items[i].row_bytes > bytes ? formats->items[i].row_bytes : bytes;
    }
    return bytes;
}

bool timing_measure(const struct formats *formats, const struct qkv *qkv, size_t rounds,
                    const struct progress *progress, struct timing *timings)
{
    const size_t dim = qkv->head_dim;
    struct work work = {
        .lanes = calloc(formats->count, sizeof *work.lanes),
        .lane_count = formats->count,
        .rounds = rounds,
        .dim = dim,
        .keys = malloc(TIMING_KEYS * dim * sizeof *work.keys),
        .query = qkv_queries(qkv, 0, 0) + (qkv->tokens - 1) * dim,
        .scale = (float)(1.0 / sqrt((double)dim)),
        .decoded = malloc(TIMING_VECTORS * dim * sizeof *work.decoded),
        .scores = malloc(TIMING_KEYS * sizeof *work.scores),
        .encoded = malloc(TIMING_VECTORS * largest_row(formats)),
    };
    double *ratios = calloc(rounds, sizeof *ratios);
    bool ok = work.lanes != NULL && work.keys != NULL && work.decoded != NULL && work.scores != NULL &&
              work.encoded != NULL && ratios != NULL;
    if (ok) {
        gather_keys(qkv, work.keys);
    }
    for (size_t i = 0; ok && i < formats->count; i++) {
        ok = lane_prepare(&work, &formats->items[i], &work.lanes[i]);
    }
    for (size_t round = 0; ok && round < rounds; round++) {
        progress_show(progress, "timing round", round, rounds);
        measure_round(&work, round);
    }
    if (ok) {
        finish(&work, ratios, timings);
    }
    for (size_t i = 0; work.lanes != NULL && i < formats->count; i++) {
        free(work.lanes[i].rows);
        for (int operation = 0; operation < OPERATIONS; operation++) {
            free(work.lanes[i].ns[operation]);
        }
    }
    free(work.lanes);
    free(work.keys);
    free(work.decoded);
    free(work.scores);
    free(work.encoded);
    free(ratios);
    return ok;
}

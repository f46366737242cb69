/* SPDX-License-Identifier: MIT */
/* Interleaved timing of attention. */
#include "attend_timing.h"

#include <math.h>
#include <stdlib.h>

#include "stopwatch.h"

enum lane_name { SUBJECT, F16, BEST_F16, READ, ONE_THREAD, LANE_COUNT };

/* What all lanes share. */
struct attend_work {
    const struct attend_setup *setup;
    const struct attend_shape *shape;
    const struct dense_memory *dense;
    uint32_t gqa;
    float *q;   /* [query token][query head][head_dim]; the f16 attention has the KV head's first. */
    float *out; /* The same. */
};

/* Something that goes through its layers, one at a step. */
struct lane {
    const struct attend_work *work;
    tq_status (*step)(const struct lane *lane);
    const struct filled_cache *filled; /* Null for those that read `dense`. */
    size_t layers;
    size_t layer;
    size_t steps; /* In a slice. */
    double *ns;   /* Of a step: [round] */
};

/* Queries that are attended in one call must be in the newest page: so many at a time. */
static size_t queries_of_call(const struct attend_work *work)
{
    const size_t newest_page = (work->shape->context - 1) % TQ_PAGE_TOKENS + 1;
    return work->setup->queries < newest_page ? work->setup->queries : newest_page;
}

static tq_status step_cache(const struct lane *lane)
{
    const struct attend_work *work = lane->work;
    const struct filled_cache *filled = lane->filled;
    const size_t floats = (size_t)work->shape->kv_heads * work->gqa * work->shape->head_dim; /* Of a token. */
    const size_t at_once = queries_of_call(work);
    tq_status status = TQ_OK;
    for (size_t done = 0; status == TQ_OK && done < work->setup->queries; done += at_once) {
        const size_t left = work->setup->queries - done;
        const tq_attention attention = {.struct_size = sizeof attention,
                                        .q = work->q + done * floats,
                                        .n_q_heads = work->shape->kv_heads * work->gqa,
                                        .n_tokens = left < at_once ? left : at_once,
                                        .out = work->out + done * floats};
        status = tq_cache_attend(filled->cache, filled->seq, (uint32_t)lane->layer, &attention);
    }
    return status;
}

static tq_status step_cache_alone(const struct lane *lane)
{
    struct thread_pool *pool = lane->work->setup->pool;
    thread_pool_set_alone(pool, true);
    const tq_status status = step_cache(lane);
    thread_pool_set_alone(pool, false);
    return status;
}

static void best_f16_head(void *arg, size_t head)
{
    const struct lane *lane = arg;
    const struct attend_work *work = lane->work;
    const struct attend_shape *shape = work->shape;
    const size_t dim = shape->head_dim;
    const size_t bytes = shape->context * 2 * dim;
    const uint8_t *k = work->dense->data + lane->layer * work->dense->layer_bytes + 2 * head * bytes;
    const size_t heads = work->setup->queries * work->gqa;
    const size_t first = head * heads * dim;
    work->setup->loops->f16_attend(work->q + first, heads, dim, k, k + bytes, shape->context, 1.0F / sqrtf((float)dim),
                                   work->out + first);
}

static tq_status step_best_f16(const struct lane *lane)
{
    thread_pool_run(lane->work->setup->pool, best_f16_head, (void *)lane, lane->work->shape->kv_heads);
    return TQ_OK;
}

static void read_part(void *arg, size_t part)
{
    const struct lane *lane = arg;
    const struct dense_memory *dense = lane->work->dense;
    const size_t bytes = dense->layer_bytes / lane->work->setup->threads;
    lane->work->setup->loops->read(dense->data + lane->layer * dense->layer_bytes + part * bytes, bytes);
}

static tq_status step_read(const struct lane *lane)
{
    thread_pool_run(lane->work->setup->pool, read_part, (void *)lane, lane->work->setup->threads);
    return TQ_OK;
}

/* Half of the layer to the other half. */
static tq_status step_copy(const struct lane *lane)
{
    const struct dense_memory *dense = lane->work->dense;
    uint8_t *layer = dense->data + lane->layer * dense->layer_bytes;
    const size_t half = dense->layer_bytes / 2;
    return device_move(dense->device, layer + half, layer, half) ? TQ_OK : TQ_ERR_BACKEND;
}

static tq_status slice(struct lane *lane, double *ns)
{
    const struct device *device = lane->work->shape->device;
    double (*const clock_ns)(void) = lane->work->setup->threads == 1 && device == NULL ? thread_cpu_ns : wall_ns;
    tq_status status = TQ_OK;
    const double start = clock_ns();
    for (size_t i = 0; status == TQ_OK && i < lane->steps; i++) {
        status = lane->step(lane);
        lane->layer = (lane->layer + 1) % lane->layers;
    }
    if (device != NULL && !device_wait(device)) {
        status = TQ_ERR_BACKEND;
    }
    *ns = (clock_ns() - start) / (double)lane->steps;
    return status;
}

/* How many steps fill a slice; the first step is left out. */
static tq_status calibrate(struct lane *lane)
{
    double ns = 0;
    tq_status status = TQ_OK;
    for (int i = 0; status == TQ_OK && i < 2; i++) {
        lane->steps = 1;
        status = slice(lane, &ns);
    }
    lane->steps = (size_t)fmax(1.0, lane->work->setup->slice_ns / fmax(ns, 1.0));
    return status;
}

static tq_status measure_rounds(struct lane *lanes, size_t count, size_t rounds)
{
    tq_status status = TQ_OK;
    for (size_t i = 0; status == TQ_OK && i < count; i++) {
        status = lanes[i].step == NULL ? TQ_OK : calibrate(&lanes[i]);
    }
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; status == TQ_OK && i < count; i++) {
            status = lanes[i].step == NULL ? TQ_OK : slice(&lanes[i], &lanes[i].ns[round]);
        }
    }
    return status;
}

/* The median over the rounds of what a lane takes / what another takes. */
static double median_ratio(const struct lane *lane, const struct lane *other, size_t rounds, double *scratch)
{
    for (size_t i = 0; i < rounds; i++) {
        scratch[i] = lane->ns[i] / other->ns[i];
    }
    return median(scratch, rounds);
}

static void finish(struct lane *lanes, size_t count, size_t rounds, double *scratch, struct attend_speed *speed)
{
    const double read_bytes = (double)lanes[READ].work->dense->layer_bytes;
    const double share = (double)lanes[SUBJECT].filled->layer_bytes / read_bytes;
    speed->vs_f16 = median_ratio(&lanes[F16], &lanes[SUBJECT], rounds, scratch);
    if (lanes[BEST_F16].step != NULL) {
        speed->vs_best_f16 = median_ratio(&lanes[BEST_F16], &lanes[SUBJECT], rounds, scratch);
        speed->best_f16_step_ns = median(lanes[BEST_F16].ns, rounds);
    }
    speed->read_share = share * median_ratio(&lanes[READ], &lanes[SUBJECT], rounds, scratch);
    speed->vs_one_thread = count > ONE_THREAD ? median_ratio(&lanes[ONE_THREAD], &lanes[SUBJECT], rounds, scratch) : 0;
    speed->step_ns = median(lanes[SUBJECT].ns, rounds);
    speed->read_gb_per_s = read_bytes / median(lanes[READ].ns, rounds);
}

tq_status attend_measure(const struct attend_setup *setup, const struct attend_shape *shape, uint32_t gqa,
                         const struct filled_cache *subject, const struct filled_cache *f16,
                         const struct dense_memory *dense, struct attend_speed *speed)
{
    const size_t rounds = setup->rounds;
    const size_t floats = setup->queries * shape->kv_heads * gqa * shape->head_dim;
    float *vectors = calloc(2 * floats, sizeof *vectors);
    double *ns = calloc((LANE_COUNT + 1) * rounds, sizeof *ns);
    tq_status status = TQ_ERR_OUT_OF_MEMORY;
    float *queries = vectors;
    if (vectors != NULL) {
        fill_normal(vectors, floats, 3);
    }
    if (vectors != NULL && shape->device != NULL) {
        queries = device_copy(shape->device, vectors, 2 * floats * sizeof *vectors);
    }
    if (queries != NULL && ns != NULL) {
        const struct attend_work work = {setup, shape, dense, gqa, queries, queries + floats};
        struct lane lanes[LANE_COUNT] = {
            [SUBJECT] = {.step = step_cache, .filled = subject, .layers = subject->layers},
            [F16] = {.step = step_cache, .filled = f16, .layers = f16->layers},
            [BEST_F16] = {.step = shape->device == NULL ? step_best_f16 : NULL, .layers = dense->layers},
            [READ] = {.step = shape->device == NULL ? step_read : step_copy, .layers = dense->layers},
            [ONE_THREAD] = {.step = step_cache_alone, .filled = subject, .layers = subject->layers},
        };
        const size_t count = setup->threads > 1 ? LANE_COUNT : ONE_THREAD;
        for (size_t i = 0; i < LANE_COUNT; i++) {
            lanes[i].work = &work;
            lanes[i].ns = ns + i * rounds;
        }
        status = measure_rounds(lanes, count, rounds);
        if (status == TQ_OK) {
            finish(lanes, count, rounds, ns + LANE_COUNT * rounds, speed);
        }
    }
    if (shape->device != NULL) {
        device_free(shape->device, queries);
    }
    free(vectors);
    free(ns);
    return status;
}

/* SPDX-License-Identifier: MIT */
/* Interleaved timing of decode attention. */
#include "attend_timing.h"

#include <math.h>
#include <stdlib.h>

#include "stopwatch.h"

enum lane_name { SUBJECT, F16, BEST_F16, READ, LANE_COUNT };

/* What all lanes share. */
struct attend_work {
    const struct attend_setup *setup;
    const struct attend_shape *shape;
    const struct dense_memory *dense;
    uint32_t gqa;
    float *q;   /* [query head][head_dim] */
    float *out; /* [query head][head_dim] */
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

static tq_status step_cache(const struct lane *lane)
{
    const struct attend_work *work = lane->work;
    const tq_attention attention = {.struct_size = sizeof attention,
                                    .q = work->q,
                                    .n_q_heads = work->shape->kv_heads * work->gqa,
                                    .n_tokens = 1,
                                    .out = work->out};
    return tq_cache_attend(lane->filled->cache, lane->filled->seq, (uint32_t)lane->layer, &attention);
}

static void best_f16_head(void *arg, size_t head)
{
    const struct lane *lane = arg;
    const struct attend_work *work = lane->work;
    const struct attend_shape *shape = work->shape;
    const size_t dim = shape->head_dim;
    const size_t bytes = shape->context * 2 * dim;
    const uint8_t *k = work->dense->data + lane->layer * work->dense->layer_bytes + 2 * head * bytes;
    const size_t first = head * work->gqa * dim;
    work->setup->loops->f16_attend(work->q + first, work->gqa, dim, k, k + bytes, shape->context,
                                   1.0F / sqrtf((float)dim), work->out + first);
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

static tq_status slice(struct lane *lane, double *ns)
{
    double (*const clock_ns)(void) = lane->work->setup->threads == 1 ? thread_cpu_ns : wall_ns;
    tq_status status = TQ_OK;
    const double start = clock_ns();
    for (size_t i = 0; status == TQ_OK && i < lane->steps; i++) {
        status = lane->step(lane);
        lane->layer = (lane->layer + 1) % lane->layers;
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

static tq_status measure_rounds(struct lane *lanes, size_t rounds)
{
    tq_status status = TQ_OK;
    for (size_t i = 0; status == TQ_OK && i < LANE_COUNT; i++) {
        status = calibrate(&lanes[i]);
    }
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; status == TQ_OK && i < LANE_COUNT; i++) {
            status = slice(&lanes[i], &lanes[i].ns[round]);
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

static void finish(struct lane *lanes, size_t rounds, double *scratch, struct attend_speed *speed)
{
    const double read_bytes = (double)lanes[READ].work->dense->layer_bytes;
    const double share = (double)lanes[SUBJECT].filled->layer_bytes / read_bytes;
    speed->vs_f16 = median_ratio(&lanes[F16], &lanes[SUBJECT], rounds, scratch);
    speed->vs_best_f16 = median_ratio(&lanes[BEST_F16], &lanes[SUBJECT], rounds, scratch);
    speed->read_share = share * median_ratio(&lanes[READ], &lanes[SUBJECT], rounds, scratch);
    speed->step_ns = median(lanes[SUBJECT].ns, rounds);
    speed->best_f16_step_ns = median(lanes[BEST_F16].ns, rounds);
    speed->read_gb_per_s = read_bytes / median(lanes[READ].ns, rounds);
}

tq_status attend_measure(const struct attend_setup *setup, const struct attend_shape *shape, uint32_t gqa,
                         const struct filled_cache *subject, const struct filled_cache *f16,
                         const struct dense_memory *dense, struct attend_speed *speed)
{
    const size_t rounds = setup->rounds;
    const size_t floats = (size_t)shape->kv_heads * gqa * shape->head_dim;
    float *vectors = calloc(2 * floats, sizeof *vectors);
    double *ns = calloc((LANE_COUNT + 1) * rounds, sizeof *ns);
    tq_status status = TQ_ERR_OUT_OF_MEMORY;
    if (vectors != NULL && ns != NULL) {
        const struct attend_work work = {setup, shape, dense, gqa, vectors, vectors + floats};
        struct lane lanes[LANE_COUNT] = {
            [SUBJECT] = {.step = step_cache, .filled = subject, .layers = subject->layers},
            [F16] = {.step = step_cache, .filled = f16, .layers = f16->layers},
            [BEST_F16] = {.step = step_best_f16, .layers = dense->layers},
            [READ] = {.step = step_read, .layers = dense->layers},
        };
        for (size_t i = 0; i < LANE_COUNT; i++) {
            lanes[i].work = &work;
            lanes[i].ns = ns + i * rounds;
        }
        fill_normal(vectors, floats, 3);
        status = measure_rounds(lanes, rounds);
        if (status == TQ_OK) {
            finish(lanes, rounds, ns + LANE_COUNT * rounds, speed);
        }
    }
    free(vectors);
    free(ns);
    return status;
}

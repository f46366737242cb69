/* SPDX-License-Identifier: MIT */
/* How long a step of attention takes: decoding, or many query tokens. On a device, steps are queued, and a slice ends
 * when they are done. */
#ifndef TQ_BENCH_ATTEND_TIMING_H
#define TQ_BENCH_ATTEND_TIMING_H

#include "attend_memory.h"
#include "thread_pool.h"

struct attend_setup {
    const struct baseline_loops *loops;
    struct thread_pool *pool; /* That the context of the caches runs on, too. */
    size_t threads;
    size_t queries; /* Query tokens of a step. */
    size_t rounds;
    double slice_ns;
};

/* Medians over the rounds. Ratios pair the slices of one round. */
struct attend_speed {
    double step_ns;          /* All query tokens, all heads of one layer. */
    double best_f16_step_ns; /* The same for the bench's own f16 attention; 0: it does not run there. */
    double read_gb_per_s;    /* Reading memory and nothing else; on a device copying, reads and writes counted. */
    double vs_f16;           /* Time with the cache of f16 / time. */
    double vs_best_f16;      /* Time of the bench's own f16 attention / time; 0 likewise. */
    double vs_one_thread;    /* Time on one of the threads / time; 0 if there is but one. */
    double read_share;       /* (Bytes that a step must read / time) / reading. */
};

/* Measures `subject` interleaved with a cache of f16, the bench's own f16 attention on `dense`, and reading `dense`.
 * gqa: query heads for each KV head. */
tq_status attend_measure(const struct attend_setup *setup, const struct attend_shape *shape, uint32_t gqa,
                         const struct filled_cache *subject, const struct filled_cache *f16,
                         const struct dense_memory *dense, struct attend_speed *speed);

#endif /* TQ_BENCH_ATTEND_TIMING_H */

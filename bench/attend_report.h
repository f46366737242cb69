/* SPDX-License-Identifier: MIT */
/* The results of tq_bench attend, for people and for scripts. */
#ifndef TQ_BENCH_ATTEND_REPORT_H
#define TQ_BENCH_ATTEND_REPORT_H

#include <stdio.h>

#include "attend_timing.h"

struct attend_row {
    tq_format k_format;
    tq_format v_format;
    struct attend_shape shape;
    uint32_t gqa;
    uint32_t layers;
    size_t layer_bytes;
    size_t resident_bytes;
    size_t estimated_bytes;
    struct attend_speed speed;
};

/* What is known before the run. */
void attend_report_head(const tq_context *context, const struct attend_setup *setup, const struct attend_shape *shape);

/* A line of the table; a heading before the first of a context and a gqa, of which `previous`, or null, tells. */
void attend_report_row(const struct attend_setup *setup, const struct attend_row *row,
                       const struct attend_row *previous);

void attend_report_foot(const struct attend_setup *setup);

void attend_report_json(FILE *out, const tq_context *context, const struct attend_setup *setup,
                        const struct attend_row *rows, size_t count);

#endif /* TQ_BENCH_ATTEND_REPORT_H */

/* SPDX-License-Identifier: MIT */
/* The results of a run, for people (a table), for scripts (JSON) and for spreadsheets (CSV). */
#ifndef TQ_BENCH_REPORT_H
#define TQ_BENCH_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include "formats.h"
#include "machine.h"
#include "qkv.h"
#include "quality.h"
#include "timing.h"

struct report {
    struct machine machine;
    const tq_context *context;
    const char *data_path;
    const struct qkv *qkv;
    uint64_t seed;
    const char *effort; /* Null: the default. */
    size_t rounds;      /* Of the timing. */
    const struct formats *formats;
    const struct quality *qualities; /* [formats->count] */
    const struct timing *timings;    /* [formats->count] */
};

/* What is known before the run. */
void report_head(FILE *out, const struct report *report);

void report_table(FILE *out, const struct report *report);

/* The keys are frozen: scripts rely on them. New ones may be added. */
void report_json(FILE *out, const struct report *report);

/* A line of column names, the JSON keys of a row, and one line per format. */
void report_csv(FILE *out, const struct report *report);

#endif /* TQ_BENCH_REPORT_H */

/* SPDX-License-Identifier: MIT */
/* The configurations that tq ppl --sweep compares, and their order. */
#ifndef TQ_TOOL_SWEEP_H
#define TQ_TOOL_SWEEP_H

#include "perplexity.h"

/* Kinds of configurations, as charts tell them apart. */
enum sweep_family { SWEEP_TRELLIS, SWEEP_LLOYD_MAX, SWEEP_OPTIONS, SWEEP_YARDSTICKS, SWEEP_FAMILIES };

const char *sweep_family_name(enum sweep_family family);

/* Of a configuration, as a string. */
enum sweep_family sweep_family_of(const char *text);

/* Configuration `index`, null beyond the last one; f16, the reference, is not among them. */
const char *sweep_config(size_t index);

/* False if a format does not exist for the model's dimensions. */
bool sweep_supports(const struct model *model, const char *config);

/* Those whose decoding is timed, f16 first. */
const char *sweep_speed_config(size_t index);

/* By bytes per token, most first, and then by divergence. The reference does not stay the first row. */
void sweep_sort(struct perplexity *perplexity);

/* True if no other configuration has less divergence at the same bytes or fewer. */
bool sweep_on_front(const struct perplexity *perplexity, size_t index);

#endif /* TQ_TOOL_SWEEP_H */

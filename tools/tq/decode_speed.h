/* SPDX-License-Identifier: MIT */
/* How fast a model generates, by the length of the context. */
#ifndef TQ_TOOL_DECODE_SPEED_H
#define TQ_TOOL_DECODE_SPEED_H

#include "session.h"

enum { SPEED_MAX_CONTEXTS = 8, SPEED_MAX_CONFIGS = 16 };

struct decode_speed {
    size_t n_configs;
    const char *configs[SPEED_MAX_CONFIGS];
    size_t n_contexts;
    size_t contexts[SPEED_MAX_CONTEXTS]; /* Tokens, ascending. */
    double per_second[SPEED_MAX_CONFIGS][SPEED_MAX_CONTEXTS];
};

/* Doubling contexts up to the model's and the text's. */
void decode_speed_contexts(struct decode_speed *speed, const struct session *session, const struct tokens *tokens);

/* All caches take their steps in turns, so that they meet the same noise; medians of the processor's time. */
bool decode_speed_measure(struct decode_speed *speed, struct session *session, const struct tokens *tokens,
                          struct error *error);

#endif /* TQ_TOOL_DECODE_SPEED_H */

/* SPDX-License-Identifier: MIT */
/* The perplexity of a text with different caches, and how far each is from the f16 cache. */
#ifndef TQ_TOOL_PERPLEXITY_H
#define TQ_TOOL_PERPLEXITY_H

#include "divergence.h"
#include "session.h"

/* One configuration and what came out. */
struct perplexity_row {
    const char *config;
    double bytes_per_token; /* Keys and values of all layers, at the end of a window. */
    struct divergence_summary summary;
    /* While it is measured. */
    struct kv_store *store;
    struct divergence divergence;
};

struct perplexity {
    size_t window;    /* Tokens. Windows know nothing of each other. */
    size_t n_windows; /* 0: as many as the text has; set to what was taken. */
    size_t n_rows;
    struct perplexity_row *rows; /* [n_rows] with their configurations; the first one is what the others are compared
                                    with. */
};

/* Shows its progress on a terminal. */
bool perplexity_measure(struct perplexity *perplexity, struct session *session, const struct tokens *tokens,
                        struct error *error);

#endif /* TQ_TOOL_PERPLEXITY_H */

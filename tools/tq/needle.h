/* SPDX-License-Identifier: MIT */
/* Facts planted in a text, and whether a model with a cache still knows them at its end.
 *
 * A context has NEEDLE_DEPTHS facts of one kind, one in the middle of each of as many equal parts:
 *
 *     "\n\nThe access code for Lisbon is 48213.\n\n"
 *
 * and ends with the beginning of one of them, "\n\nThe access code for Lisbon is". An answer is correct if every one of
 * its tokens, " 48213", is the most probable one: the model would say it. It is ranked first if it is more probable
 * than the codes of the other facts, which a small model may still know when it would rather say something else; one in
 * NEEDLE_DEPTHS is so by chance. All facts are asked for in turn, and the tokens of a question are taken back before
 * the next one. */
#ifndef TQ_TOOL_NEEDLE_H
#define TQ_TOOL_NEEDLE_H

#include "session.h"

enum { NEEDLE_DEPTHS = 4, NEEDLE_MIN_CONTEXT = 256 };

struct needle_result {
    size_t asked[NEEDLE_DEPTHS];
    size_t correct[NEEDLE_DEPTHS];
    size_t ranked[NEEDLE_DEPTHS]; /* First. */
    double loss;                  /* Sum over all answers of -log probability. */
};

/* Plants facts in `trials` places of a text and asks for them. `n_context` tokens include the longest question and its
 * answer. */
bool needle_measure(struct session *session, struct kv_store *store, const struct tokens *text, size_t n_context,
                    size_t trials, uint64_t seed, struct needle_result *result, struct error *error);

#endif /* TQ_TOOL_NEEDLE_H */

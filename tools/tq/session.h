/* SPDX-License-Identifier: MIT */
/* What every subcommand that runs a model needs: the file, the model in it, its tokenizer, threads, an engine. */
#ifndef TQ_TOOL_SESSION_H
#define TQ_TOOL_SESSION_H

#include "engine.h"
#include "gguf.h"
#include "model.h"
#include "threads.h"
#include "tokenizer.h"

struct session {
    struct gguf gguf;
    struct model model;
    struct tokenizer tokenizer;
    struct threads threads;
    struct engine engine;
};

/* n_threads 0: one per core. After a failure, session_close is still to be called. A session must not be moved. */
bool session_open(struct session *session, const char *path, size_t n_threads, struct error *error);

void session_close(struct session *session);

/* A whole file, or the standard input for "-". */
bool session_read_text(const char *path, char **text, size_t *size, struct error *error);

/* The tokens of a file. */
bool session_read_tokens(const struct session *session, const char *path, struct tokens *tokens, struct error *error);

/* Appends a prompt to `tokens`, which has what went before. A text begins with the first token of the vocabulary's
 * choice, if it wants one or nothing else is there. */
bool session_add_prompt(const struct session *session, const char *prompt, struct tokens *tokens, struct error *error);

/* Time as it passes, in seconds. */
double session_clock(void);

#endif /* TQ_TOOL_SESSION_H */

/* SPDX-License-Identifier: MIT */
/* A generation in a file: the cache as tq_cache_save writes it, then the tokens,
 *
 *     "TQTOKENS"  u64 n  u32 ids[n]
 *
 * little-endian. The last token, at least, is not in the cache yet: whoever goes on begins with it. */
#ifndef TQ_TOOL_SAVED_RUN_H
#define TQ_TOOL_SAVED_RUN_H

#include "kv_store.h"
#include "tokenizer.h"

/* The file appears under its name when it is complete. */
bool saved_run_write(const char *path, const struct kv_store *store, const struct tokens *tokens, struct error *error);

/* Null on failure; `tokens` receives what is in the file. */
struct kv_store *saved_run_read(const char *path, const struct model *model, const struct threads *threads,
                                struct tokens *tokens, struct error *error);

/* The part behind the cache; `path` is for messages. */
bool saved_run_read_tokens(FILE *file, const char *path, struct tokens *tokens, struct error *error);

#endif /* TQ_TOOL_SAVED_RUN_H */

/* SPDX-License-Identifier: MIT */
/* Byte-level BPE (tokenizer.ggml.model "gpt2") with the pre-tokenizers of qwen2 and llama-bpe. */
#ifndef TQ_TOOL_TOKENIZER_H
#define TQ_TOOL_TOKENIZER_H

#include "gguf.h"

struct tokenizer_piece {
    char *bytes; /* What the token stands for, in the tokenizer's memory. */
    size_t size;
    bool special; /* Found in text before anything else; its bytes are its name. */
};

struct tokenizer {
    size_t n_tokens;
    struct tokenizer_piece *pieces; /* [n_tokens] */
    char *memory;                   /* Of all pieces. */
    uint32_t byte_tokens[256];
    struct string_table *ids; /* Bytes of a token to its number. */
    struct merge_table *merges;
    uint32_t *specials; /* The longest one first. */
    size_t n_specials;
    size_t max_digits;
    bool whole_words; /* A word that is a token is not put together by merges. */
    bool add_bos;
    uint32_t bos;
    uint32_t eos;
};

#define TOKENIZER_NONE 0xFFFFFFFFU /* In bos and eos: there is none. */

/* The file may be closed afterwards. On failure nothing is left to free. */
bool tokenizer_load(struct tokenizer *tokenizer, const struct gguf *gguf, struct error *error);

void tokenizer_free(struct tokenizer *tokenizer);

struct tokens {
    uint32_t *ids;
    size_t n;
    size_t capacity;
};

/* Appends the tokens of a text, of any bytes, to `tokens`. Names of special tokens in it stand for them. */
bool tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t size, struct tokens *tokens,
                      struct error *error);

bool tokens_append(struct tokens *tokens, uint32_t id, struct error *error);
void tokens_free(struct tokens *tokens);

/* The bytes of a token; they may be a part of a character. */
const struct tokenizer_piece *tokenizer_decode(const struct tokenizer *tokenizer, uint32_t token);

/* The text of n tokens, without the names of special ones; the caller frees it. */
bool tokenizer_text(const struct tokenizer *tokenizer, const uint32_t *ids, size_t n, char **text, size_t *size,
                    struct error *error);

#endif /* TQ_TOOL_TOKENIZER_H */

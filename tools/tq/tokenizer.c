/* SPDX-License-Identifier: MIT */
/* Byte-level BPE. In the file, every byte of a token is written as a printable character: those that are printable in
 * Latin-1 as themselves, the other 68 as U+0100, U+0101, ... Here tokens are bytes. */
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "hash_table.h"
#include "pretokenizer.h"
#include "unicode.h"

enum { TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, SHIFTED = 0x100, N_CHARACTERS = 0x200 };

struct loader {
    struct tokenizer *tokenizer;
    const struct gguf *gguf;
    struct error *error;
    int16_t byte_of[N_CHARACTERS]; /* -1: stands for no byte. */
};

static bool is_printable(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

static void make_bytes(struct loader *loader)
{
    unsigned shifted = SHIFTED;
    memset(loader->byte_of, -1, sizeof loader->byte_of);
    for (unsigned byte = 0; byte < 256; byte++) {
        loader->byte_of[is_printable(byte) ? byte : shifted++] = (int16_t)byte;
    }
}

/* Writes the bytes that a token's characters stand for, never more than there are in the text, and returns their
 * number. What stands for no byte is taken as it is. */
static size_t to_bytes(const struct loader *loader, struct gguf_string text, char *out)
{
    size_t n = 0;
    size_t length;
    for (size_t at = 0; at < text.size; at += length) {
        const uint32_t point = unicode_decode(text.data + at, text.size - at, &length);
        if (point < N_CHARACTERS && loader->byte_of[point] >= 0) {
            out[n++] = (char)(unsigned char)loader->byte_of[point];
        } else {
            memcpy(out + n, text.data + at, length);
            n += length;
        }
    }
    return n;
}

static bool out_of_memory(const struct loader *loader)
{
    return error_run(loader->error, "%s: not enough memory for the vocabulary", loader->gguf->path);
}

/* Types are optional: without them no token is special. */
static bool find_types(const struct loader *loader, const struct gguf_entry **types)
{
    static const char key[] = "tokenizer.ggml.token_type";
    *types = NULL;
    if (gguf_entry(loader->gguf, key) == NULL) {
        return true;
    }
    if (!gguf_get_array(loader->gguf, key, GGUF_I32, types, loader->error)) {
        return false;
    }
    return (*types)->count == loader->tokenizer->n_tokens ||
           error_input(loader->error, "%s: %zu tokens, but %zu types", loader->gguf->path, loader->tokenizer->n_tokens,
                       (*types)->count);
}

static void add_piece(const struct loader *loader, uint32_t id, struct gguf_string text, int32_t type, char **memory)
{
    struct tokenizer *t = loader->tokenizer;
    struct tokenizer_piece *piece = &t->pieces[id];
    piece->bytes = *memory;
    piece->special = (type == TYPE_CONTROL || type == TYPE_USER_DEFINED) && text.size > 0;
    if (piece->special) {
        memcpy(piece->bytes, text.data, text.size);
        piece->size = text.size;
        t->specials[t->n_specials++] = id;
    } else {
        piece->size = to_bytes(loader, text, piece->bytes);
        string_table_add(t->ids, piece->bytes, piece->size, id);
    }
    *memory += piece->size;
}

static bool load_pieces(const struct loader *loader)
{
    struct tokenizer *t = loader->tokenizer;
    const struct gguf_entry *tokens;
    const struct gguf_entry *types;
    if (!gguf_get_array(loader->gguf, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, loader->error)) {
        return false;
    }
    t->n_tokens = tokens->count;
    if (t->n_tokens == 0 || t->n_tokens >= TOKENIZER_NONE) {
        return error_input(loader->error, "%s: %zu tokens cannot be", loader->gguf->path, t->n_tokens);
    }
    if (!find_types(loader, &types)) {
        return false;
    }
    size_t bytes = 0;
    const uint8_t *at = tokens->at;
    for (size_t i = 0; i < t->n_tokens; i++) {
        bytes += gguf_next_string(&at).size;
    }
    t->pieces = calloc(t->n_tokens, sizeof *t->pieces);
    t->specials = calloc(t->n_tokens, sizeof *t->specials);
    t->memory = malloc(bytes + 1);
    t->ids = string_table_create(t->n_tokens);
    if (t->pieces == NULL || t->specials == NULL || t->memory == NULL || t->ids == NULL) {
        return out_of_memory(loader);
    }
    char *memory = t->memory;
    at = tokens->at;
    for (size_t i = 0; i < t->n_tokens; i++) {
        const int32_t type = types != NULL ? gguf_i32_at(types, i) : 0;
        add_piece(loader, (uint32_t)i, gguf_next_string(&at), type, &memory);
    }
    return true;
}

static bool find_byte_tokens(const struct loader *loader)
{
    struct tokenizer *t = loader->tokenizer;
    for (unsigned byte = 0; byte < 256; byte++) {
        const char text = (char)(unsigned char)byte;
        if (!string_table_find(t->ids, &text, 1, &t->byte_tokens[byte])) {
            return error_input(loader->error, "%s: the vocabulary has no token for byte %u", loader->gguf->path, byte);
        }
    }
    return true;
}

/* "left right", of which both and their union must be tokens. */
static bool add_merge(const struct loader *loader, struct gguf_string text, uint32_t rank, char *scratch)
{
    const struct tokenizer *t = loader->tokenizer;
    const char *blank = text.size > 1 ? memchr(text.data + 1, ' ', text.size - 1) : NULL;
    if (blank == NULL) {
        return false;
    }
    const size_t before = (size_t)(blank - text.data);
    const struct gguf_string rest = {blank + 1, text.size - before - 1};
    const size_t left = to_bytes(loader, (struct gguf_string){text.data, before}, scratch);
    const size_t right = to_bytes(loader, rest, scratch + left);
    struct merge merge = {.rank = rank};
    if (!string_table_find(t->ids, scratch, left, &merge.left) ||
        !string_table_find(t->ids, scratch + left, right, &merge.right) ||
        !string_table_find(t->ids, scratch, left + right, &merge.merged)) {
        return false;
    }
    merge_table_add(t->merges, merge);
    return true;
}

static bool load_merges(const struct loader *loader)
{
    struct tokenizer *t = loader->tokenizer;
    const struct gguf_entry *merges;
    if (!gguf_get_array(loader->gguf, "tokenizer.ggml.merges", GGUF_STRING, &merges, loader->error)) {
        return false;
    }
    size_t longest = 0;
    const uint8_t *at = merges->at;
    for (size_t i = 0; i < merges->count; i++) {
        const size_t size = gguf_next_string(&at).size;
        longest = size > longest ? size : longest;
    }
    char *scratch = malloc(longest + 1);
    t->merges = merge_table_create(merges->count);
    bool ok = scratch != NULL && t->merges != NULL;
    if (!ok) {
        out_of_memory(loader);
    }
    at = merges->at;
    for (size_t i = 0; i < merges->count && ok; i++) {
        ok = add_merge(loader, gguf_next_string(&at), (uint32_t)i, scratch) ||
             error_input(loader->error, "%s: merge %zu is not of two tokens that make a third", loader->gguf->path, i);
    }
    free(scratch);
    return ok;
}

static bool load_kind(const struct loader *loader)
{
    struct tokenizer *t = loader->tokenizer;
    struct gguf_string model = {"", 0};
    struct gguf_string pre = {"", 0};
    if (!gguf_get_string(loader->gguf, "tokenizer.ggml.model", &model, loader->error) ||
        !gguf_get_string(loader->gguf, "tokenizer.ggml.pre", &pre, loader->error)) {
        return false;
    }
    if (!gguf_string_is(model, "gpt2")) {
        return error_input(loader->error, "%s: the tokenizer is no byte-level BPE (tokenizer.ggml.model gpt2)",
                           loader->gguf->path);
    }
    t->whole_words = gguf_string_is(pre, "llama-bpe");
    t->max_digits = t->whole_words ? 3 : 1;
    return t->whole_words || gguf_string_is(pre, "qwen2") ||
           error_input(loader->error, "%s: tokenizer.ggml.pre must be qwen2 or llama-bpe", loader->gguf->path);
}

static bool load_ends(const struct loader *loader)
{
    struct tokenizer *t = loader->tokenizer;
    t->bos = TOKENIZER_NONE;
    t->eos = TOKENIZER_NONE;
    if (!gguf_get_u32(loader->gguf, "tokenizer.ggml.bos_token_id", &t->bos, loader->error) ||
        !gguf_get_u32(loader->gguf, "tokenizer.ggml.eos_token_id", &t->eos, loader->error) ||
        !gguf_get_bool(loader->gguf, "tokenizer.ggml.add_bos_token", &t->add_bos, loader->error)) {
        return false;
    }
    const bool ok = (t->bos == TOKENIZER_NONE || t->bos < t->n_tokens) &&
                    (t->eos == TOKENIZER_NONE || t->eos < t->n_tokens) && !(t->add_bos && t->bos == TOKENIZER_NONE);
    return ok ||
           error_input(loader->error, "%s: the first or the last token is none of the vocabulary", loader->gguf->path);
}

/* Insertion: there are few. */
static void sort_specials(struct tokenizer *t)
{
    for (size_t i = 1; i < t->n_specials; i++) {
        const uint32_t id = t->specials[i];
        size_t at = i;
        for (; at > 0 && t->pieces[t->specials[at - 1]].size < t->pieces[id].size; at--) {
            t->specials[at] = t->specials[at - 1];
        }
        t->specials[at] = id;
    }
}

bool tokenizer_load(struct tokenizer *tokenizer, const struct gguf *gguf, struct error *error)
{
    struct loader loader = {.tokenizer = tokenizer, .gguf = gguf, .error = error};
    *tokenizer = (struct tokenizer){.n_tokens = 0};
    make_bytes(&loader);
    const bool ok = load_kind(&loader) && load_pieces(&loader) && find_byte_tokens(&loader) && load_merges(&loader) &&
                    load_ends(&loader);
    if (!ok) {
        tokenizer_free(tokenizer);
        return false;
    }
    sort_specials(tokenizer);
    return true;
}

void tokenizer_free(struct tokenizer *tokenizer)
{
    free(tokenizer->pieces);
    free(tokenizer->specials);
    free(tokenizer->memory);
    string_table_free(tokenizer->ids);
    merge_table_free(tokenizer->merges);
    *tokenizer = (struct tokenizer){.n_tokens = 0};
}

bool tokens_append(struct tokens *tokens, uint32_t id, struct error *error)
{
    if (tokens->n == tokens->capacity) {
        const size_t capacity = 2 * tokens->capacity + 64;
        uint32_t *ids = realloc(tokens->ids, capacity * sizeof *ids);
        if (ids == NULL) {
            return error_run(error, "not enough memory for %zu tokens", capacity);
        }
        tokens->ids = ids;
        tokens->capacity = capacity;
    }
    tokens->ids[tokens->n++] = id;
    return true;
}

void tokens_free(struct tokens *tokens)
{
    free(tokens->ids);
    *tokens = (struct tokens){NULL, 0, 0};
}

/* Joins neighbours in ids[0..n), the pair of lowest rank first and wherever it occurs, and returns how many are
 * left. */
static size_t merge_tokens(const struct tokenizer *t, uint32_t *ids, size_t n)
{
    for (;;) {
        const struct merge *best = NULL;
        for (size_t i = 0; i + 1 < n; i++) {
            const struct merge *merge = merge_table_find(t->merges, ids[i], ids[i + 1]);
            best = merge != NULL && (best == NULL || merge->rank < best->rank) ? merge : best;
        }
        if (best == NULL) {
            return n;
        }
        size_t left = 0;
        for (size_t i = 0; i < n; i++) {
            if (i + 1 < n && ids[i] == best->left && ids[i + 1] == best->right) {
                ids[left++] = best->merged;
                i++;
            } else {
                ids[left++] = ids[i];
            }
        }
        n = left;
    }
}

static bool encode_word(const struct tokenizer *t, const char *word, size_t size, struct tokens *tokens,
                        struct error *error)
{
    uint32_t id;
    if (t->whole_words && string_table_find(t->ids, word, size, &id)) {
        return tokens_append(tokens, id, error);
    }
    const size_t first = tokens->n;
    for (size_t i = 0; i < size; i++) {
        if (!tokens_append(tokens, t->byte_tokens[(unsigned char)word[i]], error)) {
            return false;
        }
    }
    tokens->n = first + merge_tokens(t, tokens->ids + first, size);
    return true;
}

/* The special token that begins here, or TOKENIZER_NONE. */
static uint32_t special_at(const struct tokenizer *t, const char *text, size_t size)
{
    for (size_t i = 0; i < t->n_specials; i++) {
        const struct tokenizer_piece *piece = &t->pieces[t->specials[i]];
        if (piece->bytes[0] == text[0] && piece->size <= size && memcmp(piece->bytes, text, piece->size) == 0) {
            return t->specials[i];
        }
    }
    return TOKENIZER_NONE;
}

bool tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t size, struct tokens *tokens,
                      struct error *error)
{
    size_t special = 0; /* Where the next special token begins, or the end. */
    bool ok = true;
    for (size_t at = 0; at < size && ok;) {
        while (special < size && special_at(tokenizer, text + special, size - special) == TOKENIZER_NONE) {
            special++;
        }
        if (at < special) {
            const size_t length = pretokenizer_word(text + at, special - at, tokenizer->max_digits);
            ok = encode_word(tokenizer, text + at, length, tokens, error);
            at += length;
        } else {
            const uint32_t id = special_at(tokenizer, text + at, size - at);
            ok = tokens_append(tokens, id, error);
            at += tokenizer->pieces[id].size;
            special = at;
        }
    }
    return ok;
}

const struct tokenizer_piece *tokenizer_decode(const struct tokenizer *tokenizer, uint32_t token)
{
    static const struct tokenizer_piece nothing = {NULL, 0, false}; /* Embeddings may be padded. */
    return token < tokenizer->n_tokens ? &tokenizer->pieces[token] : &nothing;
}

bool tokenizer_text(const struct tokenizer *tokenizer, const uint32_t *ids, size_t n, char **text, size_t *size,
                    struct error *error)
{
    size_t room = 1;
    for (size_t i = 0; i < n; i++) {
        room += tokenizer_decode(tokenizer, ids[i])->size;
    }
    *size = 0;
    *text = malloc(room);
    if (*text == NULL) {
        return error_run(error, "not enough memory");
    }
    for (size_t i = 0; i < n; i++) {
        const struct tokenizer_piece *piece = tokenizer_decode(tokenizer, ids[i]);
        if (!piece->special && piece->bytes != NULL) {
            memcpy(*text + *size, piece->bytes, piece->size);
            *size += piece->size;
        }
    }
    return true;
}

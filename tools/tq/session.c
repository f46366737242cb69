/* SPDX-License-Identifier: MIT */
/* Opening and closing, in order; text. */
#define _POSIX_C_SOURCE 200809L
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool session_open(struct session *session, const char *path, size_t n_threads, struct error *error)
{
    memset(session, 0, sizeof *session);
    return gguf_open(&session->gguf, path, error) && model_load(&session->model, &session->gguf, error) &&
           tokenizer_load(&session->tokenizer, &session->gguf, error) &&
           threads_start(&session->threads, n_threads, error) &&
           engine_create(&session->engine, &session->model, &session->threads, error);
}

void session_close(struct session *session)
{
    engine_destroy(&session->engine);
    threads_stop(&session->threads);
    tokenizer_free(&session->tokenizer);
    model_free(&session->model);
    gguf_close(&session->gguf);
}

/* To the end, in steps that double. */
static bool read_all(FILE *file, const char *path, char **text, size_t *size, struct error *error)
{
    size_t capacity = 1 << 16;
    *size = 0;
    *text = malloc(capacity);
    while (*text != NULL) {
        *size += fread(*text + *size, 1, capacity - *size, file);
        if (*size < capacity) {
            break;
        }
        capacity *= 2;
        char *larger = realloc(*text, capacity);
        if (larger == NULL) {
            free(*text);
        }
        *text = larger;
    }
    if (*text == NULL) {
        return error_run(error, "%s: not enough memory", path);
    }
    if (ferror(file)) {
        free(*text);
        *text = NULL;
        return error_input(error, "%s: cannot be read", path);
    }
    return true;
}

bool session_read_text(const char *path, char **text, size_t *size, struct error *error)
{
    *text = NULL;
    if (strcmp(path, "-") == 0) {
        return read_all(stdin, "the standard input", text, size, error);
    }
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return error_input(error, "%s: cannot be opened: %s", path, strerror(errno));
    }
    const bool ok = read_all(file, path, text, size, error);
    fclose(file);
    return ok;
}

bool session_read_tokens(const struct session *session, const char *path, struct tokens *tokens, struct error *error)
{
    char *text;
    size_t size;
    if (!session_read_text(path, &text, &size, error)) {
        return false;
    }
    const bool ok = tokenizer_encode(&session->tokenizer, text, size, tokens, error);
    free(text);
    return ok;
}

bool session_add_prompt(const struct session *session, const char *prompt, struct tokens *tokens, struct error *error)
{
    const struct tokenizer *tokenizer = &session->tokenizer;
    const uint32_t room = session->model.context_length;
    if (tokens->n == 0 && tokenizer->bos != TOKENIZER_NONE && (tokenizer->add_bos || *prompt == '\0') &&
        !tokens_append(tokens, tokenizer->bos, error)) {
        return false;
    }
    if (!tokenizer_encode(tokenizer, prompt, strlen(prompt), tokens, error)) {
        return false;
    }
    if (tokens->n == 0) {
        return error_input(error, "the prompt is empty");
    }
    return tokens->n <= room ||
           error_input(error, "the prompt has %zu tokens, the model takes %lu", tokens->n, (unsigned long)room);
}

double session_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

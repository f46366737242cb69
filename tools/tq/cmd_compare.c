/* SPDX-License-Identifier: MIT */
/* tq compare: the text that a model generates with an f16 cache and with another one, side by side. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "commands.h"
#include "divergence.h"
#include "json.h"
#include "sampler.h"
#include "session.h"
#include "side_by_side.h"

static const char usage[] = "usage: tq compare MODEL PROMPT [OPTIONS]\n"
                            "  --config STRING   the cache to compare with f16 (the library's default)\n"
                            "  -n N              tokens to generate (128), each the most probable one\n"
                            "  -t N              threads (one per core)\n"
                            "  --json            for scripts\n";

/* One cache and the text generated with it. */
struct column {
    const char *config;
    struct kv_store *store;
    struct tokens tokens; /* The prompt and what was generated. */
    size_t bytes;
};

struct comparison {
    struct session session;
    struct column f16;
    struct column other;
    size_t n_prompt;
    size_t n_common;              /* Tokens generated before the two part. */
    float *logits;                /* [n][vocabulary] Of every token of f16's text. */
    float *others;                /* [vocabulary] */
    struct divergence divergence; /* Of the other cache along f16's text. */
    struct divergence_summary summary;
    /* Where they part: the choice of each, and how probable each cache finds it. */
    uint32_t choices[2];
    double probabilities[2][2]; /* [f16, other][choice] */
};

static bool open_column(struct comparison *c, struct column *column, const char *prompt, struct error *error)
{
    struct cache_config config;
    if (!cache_config_parse(column->config, &config, error)) {
        return false;
    }
    column->store = kv_store_create(&config, &c->session.model, &c->session.threads, error);
    return column->store != NULL && session_add_prompt(&c->session, prompt, &column->tokens, error);
}

/* Logits after all of the tokens that the store does not have yet. */
static bool predict(struct comparison *c, struct column *column, const struct tokens *tokens, float *logits,
                    struct error *error)
{
    const size_t done = column->store->n_tokens;
    return engine_forward(&c->session.engine, column->store, tokens->ids + done, tokens->n - done, ENGINE_LAST_LOGITS,
                          logits, error);
}

/* Generates up to n tokens; `logits` moves on by `stride` with each. */
static bool generate(struct comparison *c, struct column *column, size_t n, float *logits, size_t stride,
                     struct error *error)
{
    for (size_t i = 0; i < n && column->tokens.n < c->session.model.context_length; i++, logits += stride) {
        if (!predict(c, column, &column->tokens, logits, error)) {
            return false;
        }
        const uint32_t token = sampler_most_probable(logits, c->session.model.n_vocabulary);
        if (!tokens_append(&column->tokens, token, error)) {
            return false;
        }
        if (token == c->session.tokenizer.eos) {
            break;
        }
    }
    column->bytes = column->store->ops->bytes(column->store);
    return true;
}

/* The other cache on f16's text: how far it is, and what it says where the two part. */
static bool follow(struct comparison *c, struct error *error)
{
    const size_t n_vocabulary = c->session.model.n_vocabulary;
    const size_t n = c->f16.tokens.n - c->n_prompt;
    struct tokens tokens = c->f16.tokens; /* A shorter view of it. */
    if (!c->other.store->ops->truncate(c->other.store, 0, error) || !divergence_create(&c->divergence, n, error)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const float *reference = c->logits + i * n_vocabulary;
        tokens.n = c->n_prompt + i;
        if (!predict(c, &c->other, &tokens, c->others, error)) {
            return false;
        }
        divergence_add(&c->divergence, &c->session.threads, reference, c->others, tokens.ids + tokens.n, 1,
                       n_vocabulary);
        for (size_t choice = 0; choice < 2 && i == c->n_common; choice++) {
            c->probabilities[0][choice] = divergence_probability(reference, n_vocabulary, c->choices[choice]);
            c->probabilities[1][choice] = divergence_probability(c->others, n_vocabulary, c->choices[choice]);
        }
    }
    c->summary = divergence_summarise(&c->divergence);
    return true;
}

static bool parted(const struct comparison *c)
{
    const size_t end = c->n_prompt + c->n_common;
    return end < c->f16.tokens.n && end < c->other.tokens.n;
}

static void find_parting(struct comparison *c)
{
    const struct tokens *a = &c->f16.tokens;
    const struct tokens *b = &c->other.tokens;
    size_t at = c->n_prompt;
    while (at < a->n && at < b->n && a->ids[at] == b->ids[at]) {
        at++;
    }
    c->n_common = at - c->n_prompt;
    if (parted(c)) {
        c->choices[0] = a->ids[at];
        c->choices[1] = b->ids[at];
    }
}

static bool compare(struct comparison *c, const char *prompt, size_t n, struct error *error)
{
    const size_t n_vocabulary = c->session.model.n_vocabulary;
    if (n == 0 || n > c->session.model.context_length) {
        return error_input(error, "-n must be from 1 to the model's context");
    }
    if (!open_column(c, &c->f16, prompt, error) || !open_column(c, &c->other, prompt, error)) {
        return false;
    }
    c->n_prompt = c->f16.tokens.n;
    if (c->n_prompt == c->session.model.context_length) {
        return error_input(error, "the prompt leaves no room in the model's context");
    }
    c->logits = malloc(n * n_vocabulary * sizeof *c->logits);
    c->others = malloc(n_vocabulary * sizeof *c->others);
    if (c->logits == NULL || c->others == NULL) {
        return error_run(error, "not enough memory");
    }
    if (!generate(c, &c->f16, n, c->logits, n_vocabulary, error) || !generate(c, &c->other, n, c->others, 0, error)) {
        return false;
    }
    find_parting(c);
    return follow(c, error);
}

static bool column_text(const struct comparison *c, const struct column *column, char **text, size_t *size,
                        struct error *error)
{
    return tokenizer_text(&c->session.tokenizer, column->tokens.ids + c->n_prompt, column->tokens.n - c->n_prompt, text,
                          size, error);
}

static void report_piece(const struct comparison *c, uint32_t token)
{
    const struct tokenizer_piece *piece = tokenizer_decode(&c->session.tokenizer, token);
    json_text(stdout, piece->bytes, piece->size);
}

static bool report(const struct comparison *c, struct error *error)
{
    char headings[2][64];
    char *texts[2] = {NULL, NULL};
    size_t sizes[2];
    bool ok = true;
    for (size_t i = 0; i < 2 && ok; i++) {
        const struct column *column = i == 0 ? &c->f16 : &c->other;
        snprintf(headings[i], sizeof headings[i], "%.38s, %zu bytes", column->config, column->bytes);
        ok = column_text(c, column, &texts[i], &sizes[i], error);
    }
    if (ok) {
        side_by_side(stdout, headings[0], texts[0], sizes[0], headings[1], texts[1], sizes[1]);
        printf("\n");
        if (parted(c)) {
            printf("They part after %zu tokens:", c->n_common);
            for (size_t choice = 0; choice < 2; choice++) {
                printf(" ");
                report_piece(c, c->choices[choice]);
                printf(" (f16 %.1f %%, other %.1f %%)%s", 100.0 * c->probabilities[0][choice],
                       100.0 * c->probabilities[1][choice], choice == 0 ? " or" : ".\n");
            }
        } else {
            printf("They do not part in %zu tokens.\n", c->n_common);
        }
        printf("Along f16's text: mean KL divergence %.6f, the same first choice for %.1f %% of the tokens.\n",
               c->summary.kl_mean, 100.0 * c->summary.top1);
    }
    free(texts[0]);
    free(texts[1]);
    return ok;
}

static bool report_json_column(const struct comparison *c, const char *key, const struct column *column,
                               struct error *error)
{
    char *text;
    size_t size;
    if (!column_text(c, column, &text, &size, error)) {
        return false;
    }
    printf(" \"%s\": {\"config\": ", key);
    json_string(stdout, column->config);
    printf(", \"cache_bytes\": %zu, \"tokens\": [", column->bytes);
    for (size_t i = c->n_prompt; i < column->tokens.n; i++) {
        printf("%s%" PRIu32, i > c->n_prompt ? ", " : "", column->tokens.ids[i]);
    }
    printf("], \"text\": ");
    json_text(stdout, text, size);
    printf("},\n");
    free(text);
    return true;
}

static bool report_json(const struct comparison *c, struct error *error)
{
    printf("{\"prompt_tokens\": %zu,\n", c->n_prompt);
    if (!report_json_column(c, "f16", &c->f16, error) || !report_json_column(c, "other", &c->other, error)) {
        return false;
    }
    printf(" \"common_tokens\": %zu, \"kl_mean\": ", c->n_common);
    json_number(stdout, c->summary.kl_mean);
    printf(", \"top1\": ");
    json_number(stdout, c->summary.top1);
    if (parted(c)) {
        printf(",\n \"parting\": [");
        for (size_t choice = 0; choice < 2; choice++) {
            printf("%s{\"token\": %" PRIu32 ", \"f16\": ", choice > 0 ? ", " : "", c->choices[choice]);
            json_number(stdout, c->probabilities[0][choice]);
            printf(", \"other\": ");
            json_number(stdout, c->probabilities[1][choice]);
            printf("}");
        }
        printf("]");
    }
    printf("}\n");
    return true;
}

int compare_main(int argc, char **argv)
{
    static struct comparison comparison; /* A session must not be moved. */
    struct comparison *c = &comparison;
    uint64_t n = 128;
    uint64_t n_threads = 0;
    bool json = false;
    int exit_code;
    const struct option options[] = {{"-n", NULL, &n, NULL},
                                     {"-t", NULL, &n_threads, NULL},
                                     {"--json", NULL, NULL, &json},
                                     {NULL, NULL, NULL, NULL}};
    const struct command_line line = {usage, "compare takes MODEL, PROMPT and at most one --config", 2, 2, 1, options};
    struct arguments arguments;
    struct error error;
    if (!arguments_parse(&arguments, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    c->f16.config = "f16";
    c->other.config = arguments.n_configs > 0 ? arguments.configs[0] : "default";
    const bool ok = session_open(&c->session, arguments.unnamed[0], n_threads, &error) &&
                    compare(c, arguments.unnamed[1], n, &error) && (json ? report_json : report)(c, &error);
    exit_code = ok ? 0 : error_report(&error);
    free(c->logits);
    free(c->others);
    divergence_destroy(&c->divergence);
    tokens_free(&c->f16.tokens);
    tokens_free(&c->other.tokens);
    kv_store_destroy(c->f16.store);
    kv_store_destroy(c->other.store);
    session_close(&c->session);
    arguments_free(&arguments);
    return exit_code;
}

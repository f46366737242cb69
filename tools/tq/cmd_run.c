/* SPDX-License-Identifier: MIT */
/* tq run: generates text. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "commands.h"
#include "json.h"
#include "sampler.h"
#include "saved_run.h"
#include "session.h"

static const char usage[] =
    "usage: tq run MODEL PROMPT [OPTIONS]\n"
    "  --config STRING   how to store keys and values: turbo4t, "
    "k=turbo4t,v=turbo3t,sink=4,recent=64,means=on,protect=2,\n"
    "                    f16, f32, q8_0, q4_0, q4_0-rot\n"
    "  -n N              tokens to generate (128)\n"
    "  --temp T          temperature (0: always the most probable token)\n"
    "  --top-k K         choose among the K most probable tokens (0: all)\n"
    "  --top-p P         choose among those whose probabilities add up to P (1: all)\n"
    "  --seed S          of the choice (0)\n"
    "  --save FILE       save the generation to go on later\n"
    "  --load FILE       go on with a saved generation; PROMPT is added to it and may be left out\n"
    "  -t N              threads (one per core)\n"
    "  --json            a report instead of the text\n";

struct run {
    struct session session;
    struct kv_store *store;
    struct sampler sampler;
    struct tokens tokens; /* Prompt and what was generated. The store has all but the last ones. */
    size_t n_prompt;
    float *logits;
    double prefill_seconds;
    double decode_seconds;
    size_t n_prefilled; /* Tokens of the first step. */
    bool json;
};

struct run_options {
    const char *config;
    const char *prompt;
    const char *temperature;
    const char *top_p;
    const char *save;
    const char *load;
    uint64_t n;
    uint64_t top_k;
    uint64_t seed;
    uint64_t n_threads;
};

static bool open_store(struct run *run, const struct run_options *options, struct error *error)
{
    struct cache_config config;
    if (options->load != NULL) {
        if (options->config != NULL) {
            return error_input(error, "--load brings its configuration with it: leave --config out");
        }
        run->store = saved_run_read(options->load, &run->session.model, &run->session.threads, &run->tokens, error);
    } else if (cache_config_parse(options->config != NULL ? options->config : "default", &config, error)) {
        run->store = kv_store_create(&config, &run->session.model, &run->session.threads, error);
    }
    return run->store != NULL;
}

static bool start(struct run *run, const char *model, const struct run_options *options, struct error *error)
{
    float temperature = 0.0F;
    float top_p = 1.0F;
    if (!arguments_real("--temp", options->temperature, &temperature, error) ||
        !arguments_real("--top-p", options->top_p, &top_p, error) ||
        !session_open(&run->session, model, options->n_threads, error) || !open_store(run, options, error) ||
        !session_add_prompt(&run->session, options->prompt, &run->tokens, error)) {
        return false;
    }
    run->n_prompt = run->tokens.n;
    const size_t n_vocabulary = run->session.model.n_vocabulary;
    run->logits = malloc(n_vocabulary * sizeof *run->logits);
    return (run->logits != NULL || error_run(error, "not enough memory")) &&
           sampler_create(&run->sampler, temperature, options->top_k, top_p, options->seed, n_vocabulary, error);
}

/* Brings the store up to the first `n` tokens. */
static bool advance(struct run *run, size_t n, enum engine_logits wanted, struct error *error)
{
    const size_t done = run->store->n_tokens;
    return n <= done || engine_forward(&run->session.engine, run->store, run->tokens.ids + done, n - done, wanted,
                                       run->logits, error);
}

static void show(const struct run *run, uint32_t token)
{
    const struct tokenizer_piece *piece = tokenizer_decode(&run->session.tokenizer, token);
    if (!run->json && !piece->special) {
        fwrite(piece->bytes, 1, piece->size, stdout);
        fflush(stdout);
    }
}

static bool generate(struct run *run, size_t n, struct error *error)
{
    const uint32_t room = run->session.model.context_length;
    run->n_prefilled = run->n_prompt - run->store->n_tokens;
    if (n == 0) { /* The last token stays out, as saved generations have it. */
        return advance(run, run->n_prompt - 1, ENGINE_NO_LOGITS, error);
    }
    for (size_t i = 0; i < n && run->tokens.n <= room; i++) {
        const double begin = session_clock();
        if (!advance(run, run->tokens.n, ENGINE_LAST_LOGITS, error)) {
            return false;
        }
        const uint32_t token = sampler_choose(&run->sampler, run->logits, run->tokens.n);
        *(i == 0 ? &run->prefill_seconds : &run->decode_seconds) += session_clock() - begin;
        if (!tokens_append(&run->tokens, token, error)) {
            return false;
        }
        if (token == run->session.tokenizer.eos) {
            break;
        }
        show(run, token);
    }
    return true;
}

/* Tokens per second; 0 if nothing was measured. */
static double rate(double tokens, double seconds)
{
    return tokens > 0.0 && seconds > 0.0 ? tokens / seconds : 0.0;
}

static void report(const struct run *run)
{
    const size_t generated = run->tokens.n - run->n_prompt;
    fprintf(stderr, "\nprompt: %zu tokens, %.0f per second; generated: %zu tokens, %.1f per second; cache: %zu bytes\n",
            run->n_prompt, rate((double)run->n_prefilled, run->prefill_seconds), generated,
            rate((double)generated - 1.0, run->decode_seconds), run->store->ops->bytes(run->store));
}

static bool report_json(const struct run *run, struct error *error)
{
    const size_t generated = run->tokens.n - run->n_prompt;
    char *text;
    size_t size;
    if (!tokenizer_text(&run->session.tokenizer, run->tokens.ids + run->n_prompt, generated, &text, &size, error)) {
        return false;
    }
    printf("{\"prompt_tokens\": %zu, \"generated_tokens\": %zu, \"threads\": %zu, \"cache_bytes\": %zu,\n"
           " \"prefill_tokens_per_second\": ",
           run->n_prompt, generated, run->session.threads.count, run->store->ops->bytes(run->store));
    json_number(stdout, rate((double)run->n_prefilled, run->prefill_seconds));
    printf(", \"decode_tokens_per_second\": ");
    json_number(stdout, rate((double)generated - 1.0, run->decode_seconds));
    printf(",\n \"tokens\": [");
    for (size_t i = run->n_prompt; i < run->tokens.n; i++) {
        printf("%s%" PRIu32, i > run->n_prompt ? ", " : "", run->tokens.ids[i]);
    }
    printf("],\n \"text\": ");
    json_text(stdout, text, size);
    printf("}\n");
    free(text);
    return true;
}

static bool run_all(struct run *run, const char *model, const struct run_options *options, struct error *error)
{
    if (!start(run, model, options, error) || !generate(run, options->n, error)) {
        return false;
    }
    if (run->json) {
        if (!report_json(run, error)) {
            return false;
        }
    } else {
        report(run);
    }
    return options->save == NULL || saved_run_write(options->save, run->store, &run->tokens, error);
}

int run_main(int argc, char **argv)
{
    static struct run run; /* A session must not be moved. */
    struct run_options values = {.n = 128};
    int exit_code;
    const struct option options[] = {{"-n", NULL, &values.n, NULL},
                                     {"-t", NULL, &values.n_threads, NULL},
                                     {"--temp", &values.temperature, NULL, NULL},
                                     {"--top-k", NULL, &values.top_k, NULL},
                                     {"--top-p", &values.top_p, NULL, NULL},
                                     {"--seed", NULL, &values.seed, NULL},
                                     {"--save", &values.save, NULL, NULL},
                                     {"--load", &values.load, NULL, NULL},
                                     {"--json", NULL, NULL, &run.json},
                                     {NULL, NULL, NULL, NULL}};
    const struct command_line line = {usage, "run takes MODEL, PROMPT and at most one --config", 1, 2, 1, options};
    struct arguments arguments;
    struct error error;
    if (!arguments_parse(&arguments, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    values.prompt = arguments.n_unnamed > 1 ? arguments.unnamed[1] : "";
    values.config = arguments.n_configs > 0 ? arguments.configs[0] : NULL;
    const bool ok = arguments.n_unnamed < 2 && values.load == NULL
                        ? error_input(&error, "%s", line.takes)
                        : run_all(&run, arguments.unnamed[0], &values, &error);
    exit_code = ok ? 0 : error_report(&error);
    free(run.logits);
    tokens_free(&run.tokens);
    sampler_destroy(&run.sampler);
    kv_store_destroy(run.store);
    session_close(&run.session);
    arguments_free(&arguments);
    return exit_code;
}

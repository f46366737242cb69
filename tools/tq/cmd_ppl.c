/* SPDX-License-Identifier: MIT */
/* tq ppl: the perplexity of a text with different caches, and how far each is from the f16 cache.
 *
 * The text is cut into windows that know nothing of each other. All caches go through a window side by side, in steps
 * of STEP tokens, so that the logits of one step are all that has to be kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "commands.h"
#include "divergence.h"
#include "json.h"
#include "progress.h"
#include "session.h"

enum { STEP = 256 };

static const char usage[] =
    "usage: tq ppl MODEL TEXT [OPTIONS]   (TEXT is a file; - is the standard input)\n"
    "  --config STRING   a cache to compare with f16; may be given several times: turbo4t,\n"
    "                    k=turbo4t,v=turbo3t,sink=4,recent=64,means=on,protect=2, f32, q8_0, q4_0, q4_0-rot\n"
    "  --window N        tokens of a window (2048)\n"
    "  --windows N       take only the first N windows (0: all)\n"
    "  -t N              threads (one per core)\n"
    "  --json            for scripts\n";

/* One configuration on its way through the text. */
struct row {
    const char *config;
    struct kv_store *store;
    struct divergence divergence;
    double bytes_per_token; /* Keys and values of all layers at the end of a window. */
    struct divergence_summary summary;
};

struct ppl {
    struct session session;
    struct tokens tokens;
    size_t window;
    size_t n_windows;
    size_t n_rows;
    struct row *rows; /* The first one is the reference. */
    float *reference; /* [STEP][vocabulary] */
    float *logits;
};

static bool open_rows(struct ppl *ppl, const struct arguments *arguments, struct error *error)
{
    ppl->rows = calloc(arguments->n_configs + 1, sizeof *ppl->rows);
    if (ppl->rows == NULL) {
        return error_run(error, "not enough memory");
    }
    ppl->n_rows = arguments->n_configs + 1;
    for (size_t i = 0; i < ppl->n_rows; i++) {
        struct cache_config config;
        struct row *row = &ppl->rows[i];
        row->config = i == 0 ? "f16" : arguments->configs[i - 1];
        if (!cache_config_parse(row->config, &config, error)) {
            return false;
        }
        row->store = kv_store_create(&config, &ppl->session.model, &ppl->session.threads, error);
        if (row->store == NULL || !divergence_create(&row->divergence, ppl->n_windows * ppl->window, error)) {
            return false;
        }
    }
    return true;
}

/* A window of n tokens predicts n: the last one's is the first token of the next window. */
static bool cut(struct ppl *ppl, uint64_t window, uint64_t limit, struct error *error)
{
    const uint32_t context = ppl->session.model.context_length;
    if (window < 1 || window > context) {
        return error_input(error, "--window must be from 1 to the model's %lu", (unsigned long)context);
    }
    ppl->window = (size_t)window;
    ppl->n_windows = ppl->tokens.n > 0 ? (ppl->tokens.n - 1) / ppl->window : 0;
    if (ppl->n_windows == 0) {
        return error_input(error, "the text has %zu tokens, too few for a window of %zu and one more", ppl->tokens.n,
                           ppl->window);
    }
    ppl->n_windows = limit > 0 && limit < ppl->n_windows ? (size_t)limit : ppl->n_windows;
    return true;
}

static bool start(struct ppl *ppl, const struct arguments *arguments, uint64_t n_threads, uint64_t window,
                  uint64_t windows, struct error *error)
{
    if (!session_open(&ppl->session, arguments->unnamed[0], n_threads, error) ||
        !session_read_tokens(&ppl->session, arguments->unnamed[1], &ppl->tokens, error) ||
        !cut(ppl, window, windows, error) || !open_rows(ppl, arguments, error)) {
        return false;
    }
    const size_t size = (size_t)STEP * ppl->session.model.n_vocabulary * sizeof(float);
    ppl->reference = malloc(size);
    ppl->logits = malloc(size);
    return (ppl->reference != NULL && ppl->logits != NULL) || error_run(error, "not enough memory");
}

/* n tokens, through all caches. */
static bool step(struct ppl *ppl, size_t first, size_t n, struct error *error)
{
    const uint32_t *tokens = ppl->tokens.ids + first;
    for (size_t i = 0; i < ppl->n_rows; i++) {
        struct row *row = &ppl->rows[i];
        float *logits = i == 0 ? ppl->reference : ppl->logits;
        if (!engine_forward(&ppl->session.engine, row->store, tokens, n, ENGINE_ALL_LOGITS, logits, error)) {
            return false;
        }
        divergence_add(&row->divergence, &ppl->session.threads, ppl->reference, logits, tokens + 1, n,
                       ppl->session.model.n_vocabulary);
    }
    return true;
}

static bool measure(struct ppl *ppl, struct error *error)
{
    const struct progress progress = progress_start();
    bool ok = true;
    for (size_t w = 0; w < ppl->n_windows && ok; w++) {
        for (size_t done = 0; done < ppl->window && ok; done += STEP) {
            const size_t n = ppl->window - done < STEP ? ppl->window - done : STEP;
            progress_show(&progress, "tokens", w * ppl->window + done, ppl->n_windows * ppl->window);
            ok = step(ppl, w * ppl->window + done, n, error);
        }
        for (size_t i = 0; i < ppl->n_rows && ok; i++) {
            struct row *row = &ppl->rows[i];
            row->bytes_per_token = (double)row->store->ops->bytes(row->store) / (double)ppl->window;
            ok = row->store->ops->truncate(row->store, 0, error);
        }
    }
    progress_end(&progress);
    for (size_t i = 0; i < ppl->n_rows && ok; i++) {
        ppl->rows[i].summary = divergence_summarise(&ppl->rows[i].divergence);
    }
    return ok;
}

static void report(const struct ppl *ppl)
{
    printf("%zu windows of %zu tokens\n\n%-48s %9s %9s %10s %10s %10s %7s\n", ppl->n_windows, ppl->window, "config",
           "B/token", "ppl", "KL mean", "median", "99.9 %", "top-1");
    for (size_t i = 0; i < ppl->n_rows; i++) {
        const struct row *row = &ppl->rows[i];
        const struct divergence_summary *s = &row->summary;
        printf("%-48s %9.1f %9.4f %10.6f %10.6f %10.6f %6.2f%%\n", row->config, row->bytes_per_token, s->perplexity,
               s->kl_mean, s->kl_median, s->kl_p999, 100.0 * s->top1);
    }
}

static void report_json(const struct ppl *ppl, const struct arguments *arguments)
{
    printf("{\"model\": ");
    json_string(stdout, arguments->unnamed[0]);
    printf(", \"text\": ");
    json_string(stdout, arguments->unnamed[1]);
    printf(", \"window\": %zu, \"windows\": %zu,\n \"rows\": [", ppl->window, ppl->n_windows);
    for (size_t i = 0; i < ppl->n_rows; i++) {
        const struct row *row = &ppl->rows[i];
        const struct {
            const char *key;
            double value;
        } numbers[] = {{"bytes_per_token", row->bytes_per_token}, {"ppl", row->summary.perplexity},
                       {"kl_mean", row->summary.kl_mean},         {"kl_median", row->summary.kl_median},
                       {"kl_p999", row->summary.kl_p999},         {"top1", row->summary.top1}};
        printf("%s\n  {\"config\": ", i > 0 ? "," : "");
        json_string(stdout, row->config);
        for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++) {
            printf(", \"%s\": ", numbers[j].key);
            json_number(stdout, numbers[j].value);
        }
        printf("}");
    }
    printf("\n ]}\n");
}

static void finish(struct ppl *ppl)
{
    for (size_t i = 0; i < ppl->n_rows; i++) {
        kv_store_destroy(ppl->rows[i].store);
        divergence_destroy(&ppl->rows[i].divergence);
    }
    free(ppl->rows);
    free(ppl->reference);
    free(ppl->logits);
    tokens_free(&ppl->tokens);
    session_close(&ppl->session);
}

int ppl_main(int argc, char **argv)
{
    static struct ppl ppl; /* A session must not be moved. */
    uint64_t n_threads = 0;
    uint64_t window = 2048;
    uint64_t windows = 0;
    bool json = false;
    bool help = false;
    const struct option options[] = {{"--window", NULL, &window, NULL}, {"--windows", NULL, &windows, NULL},
                                     {"-t", NULL, &n_threads, NULL},    {"--json", NULL, NULL, &json},
                                     {"--help", NULL, NULL, &help},     {NULL, NULL, NULL, NULL}};
    struct arguments arguments;
    struct error error;
    bool ok = arguments_parse(&arguments, argc, argv, 2, options, &error);
    if (ok && help) {
        fputs(usage, stdout);
        arguments_free(&arguments);
        return 0;
    }
    if (ok && arguments.n_unnamed != 2) {
        ok = error_input(&error, "ppl takes MODEL and TEXT (--help says more)");
    }
    ok = ok && start(&ppl, &arguments, n_threads, window, windows, &error) && measure(&ppl, &error);
    if (ok && json) {
        report_json(&ppl, &arguments);
    } else if (ok) {
        report(&ppl);
    }
    const int exit_code = ok ? 0 : error_report(&error);
    finish(&ppl);
    arguments_free(&arguments);
    return exit_code;
}

/* SPDX-License-Identifier: MIT */
/* All caches go through a window side by side, in steps of STEP tokens, so that the logits of one step are all that has
 * to be kept. */
#include "perplexity.h"

#include <stdlib.h>

#include "progress.h"

enum { STEP = 256 };

struct measurement {
    struct perplexity *perplexity;
    struct session *session;
    const uint32_t *tokens;
    float *reference; /* [STEP][vocabulary] Logits of the first row. */
    float *logits;
};

/* A window of n tokens predicts n: the last one's is the first token of the next window. */
static bool cut(struct perplexity *perplexity, const struct session *session, size_t n_tokens, struct error *error)
{
    const uint32_t context = session->model.context_length;
    if (perplexity->window < 1 || perplexity->window > context) {
        return error_input(error, "a window must have from 1 to the model's %lu tokens", (unsigned long)context);
    }
    const size_t n = n_tokens > 0 ? (n_tokens - 1) / perplexity->window : 0;
    if (n == 0) {
        return error_input(error, "the text has %zu tokens, too few for a window of %zu and one more", n_tokens,
                           perplexity->window);
    }
    perplexity->n_windows = perplexity->n_windows > 0 && perplexity->n_windows < n ? perplexity->n_windows : n;
    return true;
}

static bool open_row(struct perplexity_row *row, const struct session *session, size_t n_predictions,
                     struct error *error)
{
    struct cache_config config;
    if (!cache_config_parse(row->config, &config, error)) {
        return false;
    }
    row->store = kv_store_create(&config, &session->model, &session->threads, error);
    return row->store != NULL && divergence_create(&row->divergence, n_predictions, error);
}

/* n tokens, through all caches. */
static bool step(const struct measurement *m, size_t first, size_t n, struct error *error)
{
    for (size_t i = 0; i < m->perplexity->n_rows; i++) {
        struct perplexity_row *row = &m->perplexity->rows[i];
        float *logits = i == 0 ? m->reference : m->logits;
        if (!engine_forward(&m->session->engine, row->store, m->tokens + first, n, ENGINE_ALL_LOGITS, logits, error)) {
            return false;
        }
        divergence_add(&row->divergence, &m->session->threads, m->reference, logits, m->tokens + first + 1, n,
                       m->session->model.n_vocabulary);
    }
    return true;
}

static bool end_window(struct perplexity *perplexity, struct error *error)
{
    bool ok = true;
    for (size_t i = 0; i < perplexity->n_rows && ok; i++) {
        struct perplexity_row *row = &perplexity->rows[i];
        row->bytes_per_token = (double)row->store->ops->bytes(row->store) / (double)perplexity->window;
        ok = row->store->ops->truncate(row->store, 0, error);
    }
    return ok;
}

static bool run_windows(const struct measurement *m, struct error *error)
{
    const struct progress progress = progress_start();
    const size_t window = m->perplexity->window;
    bool ok = true;
    for (size_t w = 0; w < m->perplexity->n_windows && ok; w++) {
        for (size_t done = 0; done < window && ok; done += STEP) {
            progress_show(&progress, "tokens", w * window + done, m->perplexity->n_windows * window);
            ok = step(m, w * window + done, window - done < STEP ? window - done : STEP, error);
        }
        ok = ok && end_window(m->perplexity, error);
    }
    progress_end(&progress);
    return ok;
}

bool perplexity_measure(struct perplexity *perplexity, struct session *session, const struct tokens *tokens,
                        struct error *error)
{
    const size_t step_size = (size_t)STEP * session->model.n_vocabulary * sizeof(float);
    bool ok = cut(perplexity, session, tokens->n, error);
    for (size_t i = 0; i < perplexity->n_rows && ok; i++) {
        ok = open_row(&perplexity->rows[i], session, perplexity->n_windows * perplexity->window, error);
    }
    const struct measurement m = {perplexity, session, tokens->ids, malloc(step_size), malloc(step_size)};
    if (ok && (m.reference == NULL || m.logits == NULL)) {
        ok = error_run(error, "not enough memory");
    }
    ok = ok && run_windows(&m, error);
    for (size_t i = 0; i < perplexity->n_rows; i++) {
        struct perplexity_row *row = &perplexity->rows[i];
        if (ok) {
            row->summary = divergence_summarise(&row->divergence);
        }
        kv_store_destroy(row->store);
        divergence_destroy(&row->divergence);
        row->store = NULL;
    }
    free(m.reference);
    free(m.logits);
    return ok;
}

/* SPDX-License-Identifier: MIT */
/* Planting and asking. */
#include "needle.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "divergence.h"
#include "sampler.h"

static const char *const things[] = {"access code",      "serial number",  "room number",  "locker code",
                                     "reference number", "account number", "magic number", "build number"};
static const char *const cities[] = {"Lisbon", "Oslo", "Vienna", "Dublin",   "Prague", "Athens", "Madrid",  "Berlin",
                                     "Paris",  "Rome", "Warsaw", "Helsinki", "Cairo",  "Tokyo",  "Toronto", "Sydney"};

enum {
    N_THINGS = sizeof things / sizeof *things,
    N_CITIES = sizeof cities / sizeof *cities,
    SENTENCE_SIZE = 96,
    MAX_QUESTION = 64 /* Tokens of a question and its answer. */
};

struct fact {
    const char *thing;
    const char *city;
    unsigned code;
};

struct trial {
    struct session *session;
    struct kv_store *store;
    struct fact facts[NEEDLE_DEPTHS];
    struct tokens context;
    struct tokens question;
    float *logits; /* [MAX_QUESTION][vocabulary] */
};

/* SplitMix64. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15U);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return z ^ z >> 31;
}

/* Of one kind, for different cities. */
static void make_facts(struct fact *facts, uint64_t *random)
{
    const char *thing = things[next_random(random) % N_THINGS];
    const size_t first_city = next_random(random) % N_CITIES;
    for (size_t i = 0; i < NEEDLE_DEPTHS; i++) {
        const char *city = cities[(first_city + i * (N_CITIES / NEEDLE_DEPTHS)) % N_CITIES];
        facts[i] = (struct fact){thing, city, 10000 + (unsigned)(next_random(random) % 90000)};
    }
}

static bool append_text(struct trial *trial, const char *text, struct tokens *tokens, struct error *error)
{
    return tokenizer_encode(&trial->session->tokenizer, text, strlen(text), tokens, error);
}

static bool append_fact(struct trial *trial, const struct fact *fact, struct error *error)
{
    char sentence[SENTENCE_SIZE];
    snprintf(sentence, sizeof sentence, "\n\nThe %s for %s is %u.\n\n", fact->thing, fact->city, fact->code);
    return append_text(trial, sentence, &trial->context, error);
}

/* n tokens of text and facts, the text from `first` on and, where it ends, from its beginning. */
static bool make_context(struct trial *trial, const struct tokens *text, size_t first, size_t n, struct error *error)
{
    trial->context.n = 0;
    for (size_t i = 0; i < NEEDLE_DEPTHS; i++) {
        const size_t at = (2 * i + 1) * n / (2 * NEEDLE_DEPTHS);
        while (trial->context.n < at) {
            if (!tokens_append(&trial->context, text->ids[(first + trial->context.n) % text->n], error)) {
                return false;
            }
        }
        if (!append_fact(trial, &trial->facts[i], error)) {
            return false;
        }
    }
    while (trial->context.n < n) {
        if (!tokens_append(&trial->context, text->ids[(first + trial->context.n) % text->n], error)) {
            return false;
        }
    }
    return true;
}

/* A question and an answer; *n_question receives how many tokens the question alone has. */
static bool make_question(struct trial *trial, const struct fact *fact, unsigned code, size_t *n_question,
                          struct error *error)
{
    char question[SENTENCE_SIZE];
    char answer[SENTENCE_SIZE];
    trial->question.n = 0;
    snprintf(question, sizeof question, "\n\nThe %s for %s is", fact->thing, fact->city);
    snprintf(answer, sizeof answer, " %u", code);
    if (!append_text(trial, question, &trial->question, error)) {
        return false;
    }
    *n_question = trial->question.n;
    if (!append_text(trial, answer, &trial->question, error)) {
        return false;
    }
    return trial->question.n <= MAX_QUESTION ||
           error_input(error, "this vocabulary needs more than %d tokens for a question", MAX_QUESTION);
}

/* How a code does as the answer to the question for a fact: -log of its probability, and whether the model says it. */
static bool try_answer(struct trial *trial, const struct fact *fact, unsigned code, double *loss, bool *said,
                       struct error *error)
{
    const size_t n_vocabulary = trial->session->model.n_vocabulary;
    const struct tokens *question = &trial->question;
    const size_t before = trial->store->n_tokens;
    size_t n_question = 0;
    if (!make_question(trial, fact, code, &n_question, error) ||
        !engine_forward(&trial->session->engine, trial->store, question->ids, question->n - 1, ENGINE_ALL_LOGITS,
                        trial->logits, error)) {
        return false;
    }
    *loss = 0.0;
    *said = true;
    for (size_t i = n_question; i < question->n; i++) {
        const float *logits = trial->logits + (i - 1) * n_vocabulary;
        *said = *said && sampler_most_probable(logits, n_vocabulary) == question->ids[i];
        *loss -= log(divergence_probability(logits, n_vocabulary, question->ids[i]));
    }
    return trial->store->ops->truncate(trial->store, before, error);
}

static bool ask(struct trial *trial, size_t depth, struct needle_result *result, struct error *error)
{
    double losses[NEEDLE_DEPTHS];
    bool said[NEEDLE_DEPTHS];
    bool first = true;
    for (size_t i = 0; i < NEEDLE_DEPTHS; i++) {
        if (!try_answer(trial, &trial->facts[depth], trial->facts[i].code, &losses[i], &said[i], error)) {
            return false;
        }
    }
    for (size_t i = 0; i < NEEDLE_DEPTHS; i++) {
        first = first && (i == depth || losses[depth] < losses[i]);
    }
    result->asked[depth]++;
    result->correct[depth] += said[depth];
    result->ranked[depth] += first;
    result->loss += losses[depth];
    return true;
}

static bool run(struct trial *trial, const struct tokens *text, size_t n_context, uint64_t *random,
                struct needle_result *result, struct error *error)
{
    make_facts(trial->facts, random);
    if (!trial->store->ops->truncate(trial->store, 0, error) ||
        !make_context(trial, text, next_random(random) % text->n, n_context - MAX_QUESTION, error) ||
        !engine_forward(&trial->session->engine, trial->store, trial->context.ids, trial->context.n, ENGINE_NO_LOGITS,
                        NULL, error)) {
        return false;
    }
    for (size_t depth = 0; depth < NEEDLE_DEPTHS; depth++) {
        if (!ask(trial, depth, result, error)) {
            return false;
        }
    }
    return true;
}

bool needle_measure(struct session *session, struct kv_store *store, const struct tokens *text, size_t n_context,
                    size_t trials, uint64_t seed, struct needle_result *result, struct error *error)
{
    struct trial trial = {.session = session,
                          .store = store,
                          .logits = malloc((size_t)MAX_QUESTION * session->model.n_vocabulary * sizeof(float))};
    uint64_t random = seed;
    bool ok = trial.logits != NULL || error_run(error, "not enough memory");
    *result = (struct needle_result){.loss = 0.0};
    for (size_t i = 0; i < trials && ok; i++) {
        ok = run(&trial, text, n_context, &random, result, error);
    }
    free(trial.logits);
    tokens_free(&trial.context);
    tokens_free(&trial.question);
    return ok;
}

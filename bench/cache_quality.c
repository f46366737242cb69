/* SPDX-License-Identifier: MIT */
/* tq_bench quality: what each option of the cache is worth, on the attention outputs of one .qkv file. */
#include "cache_quality.h"

#include <stdbool.h>
#include <stdlib.h>

#include "commands.h"
#include "options.h"

static const char help[] = "usage: tq_bench quality [OPTIONS]\n"
                           "\n"
                           "Feeds a .qkv file through the cache with different options and prints what becomes of "
                           "attention, against a cache\n"
                           "of f16 and over the second half of the positions: the relative error of the outputs and "
                           "the KL divergence of\n"
                           "the weights (of the first 1024 tokens, if there are more).\n"
                           "\n"
                           "  --data FILE  a .qkv file; default: the sample that comes with it\n"
                           "  --seed N     seed of the rotations; default 0\n"
                           "  --json FILE  write the results as JSON, too\n"
                           "  --help       print this\n";

const struct variant variants[VARIANTS] = {
    {"plain", "plain", TQ_CACHE_NO_K_MEANS | TQ_CACHE_NO_V_MEANS, TQ_NO_RECENT_TOKENS, 0},
    {"k_means", "K means", TQ_CACHE_NO_V_MEANS, TQ_NO_RECENT_TOKENS, 0},
    {"means", "means", 0, TQ_NO_RECENT_TOKENS, 0},
    {"means_recent64", "+ 64 exact", 0, 64, 0},
    {"means_recent128", "+ 128 exact", 0, 128, 0},
    {"means_recent64_sinks4", "64 + 4 sinks", 0, 64, 4},
};

const struct pair pairs[PAIRS] = {
    {"turbo4t/turbo4t", {TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO4T}},
    {"turbo4/turbo4", {TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4}},
    {"turbo4t/turbo3t", {TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO3T}},
    {"turbo3t/turbo4t", {TQ_FORMAT_TURBO3T, TQ_FORMAT_TURBO4T}},
    {"turbo3t/turbo3t", {TQ_FORMAT_TURBO3T, TQ_FORMAT_TURBO3T}},
    {"turbo3/turbo3", {TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO3}},
    {"turbo2t/turbo2t", {TQ_FORMAT_TURBO2T, TQ_FORMAT_TURBO2T}},
    {"turbo2/turbo2", {TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO2}},
};

const float thresholds[THRESHOLDS] = {1e-4F, 1e-3F, 1e-2F};

const struct policy policies[POLICIES] = {
    {.name = "turbo4t", .format = TQ_FORMAT_TURBO4T},
    {.name = "turbo4t, 3t from 128", .format = TQ_FORMAT_TURBO4T, .n_tiers = 1, .tiers = {{128, TQ_FORMAT_TURBO3T}}},
    {.name = "turbo4t, 3t from 128, 2t from 256",
     .format = TQ_FORMAT_TURBO4T,
     .n_tiers = 2,
     .tiers = {{128, TQ_FORMAT_TURBO3T}, {256, TQ_FORMAT_TURBO2T}}},
    {.name = "turbo3t, end layers turbo4t",
     .format = TQ_FORMAT_TURBO3T,
     .n_protected = 1,
     .protected_format = TQ_FORMAT_TURBO4T},
    {.name = "turbo3t", .format = TQ_FORMAT_TURBO3T},
    {.name = "turbo2t", .format = TQ_FORMAT_TURBO2T},
};

static int run(const struct qkv *qkv, const char *data, uint64_t seed, FILE *json)
{
    struct cache_quality results;
    tq_context *context;
    tq_status status = tq_context_create(NULL, &context);
    if (status == TQ_OK) {
        status = cache_quality_measure(context, qkv, seed, &results);
        if (status == TQ_OK) {
            cache_quality_print(context, qkv, data, &results);
            if (json != NULL) {
                cache_quality_write(json, context, &results);
            }
        }
        tq_context_destroy(context);
    }
    return status == TQ_OK ? EXIT_SUCCESS : complain(tq_status_string(status), EXIT_FAILURE);
}

int cache_quality_main(int argc, char **argv, int first)
{
    const char *data = TQ_BENCH_DATA;
    const char *json_path = NULL;
    uint64_t seed = 0;
    bool wants_help = false;
    char error[1024];
    struct qkv qkv;
    const struct option options[] = {{.name = "--data", .text = &data},
                                     {.name = "--seed", .number = &seed},
                                     {.name = "--json", .text = &json_path},
                                     {.name = "--help", .flag = &wants_help},
                                     {.name = NULL}};
    if (!options_parse(argc, argv, first, options, error, sizeof error)) {
        return complain(error, EXIT_USAGE);
    }
    if (wants_help) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    if (!qkv_read(data, &qkv, error, sizeof error)) {
        return complain(error, EXIT_USAGE);
    }
    FILE *json = json_path != NULL ? fopen(json_path, "w") : NULL;
    int exit_code = json_path != NULL && json == NULL ? complain("the JSON file cannot be written", EXIT_USAGE)
                                                      : run(&qkv, data, seed, json);
    if (json != NULL && fclose(json) != 0) {
        exit_code = complain("the JSON file could not be written in full", EXIT_FAILURE);
    }
    qkv_free(&qkv);
    return exit_code;
}

/* SPDX-License-Identifier: MIT */
/* The results of tq_bench quality as tables and JSON. */
#include "cache_quality.h"

#include "operations.h"

/* A line for each pair; `column` says which numbers. */
static void print_rows(const char *title, const struct pair_result *results,
                       const double *(*column)(const struct pair_result *))
{
    printf("\n%s\n%-17s %6s", title, "K/V", "bytes");
    for (size_t v = 0; v < VARIANTS; v++) {
        printf(" %12s", variants[v].heading);
    }
    for (size_t p = 0; p < PAIRS; p++) {
        printf("\n%-17s %6.0f", pairs[p].name, results[p].bytes);
        for (size_t v = 0; v < VARIANTS; v++) {
            printf(" %12.5f", column(&results[p])[v]);
        }
    }
    putchar('\n');
}

static const double *errors_of(const struct pair_result *result)
{
    return result->error;
}

static const double *kls_of(const struct pair_result *result)
{
    return result->kl;
}

static void print_sparse(const struct pair_result *results)
{
    printf("\nSparse values, with means and 64 exact: error of the outputs, and pages passed over\n%-24s", "K/V");
    for (size_t t = 0; t < THRESHOLDS; t++) {
        printf("  skip_below %9g", (double)thresholds[t]);
    }
    for (size_t p = 0; p < PAIRS; p++) {
        printf("\n%-24s", pairs[p].name);
        for (size_t t = 0; t < THRESHOLDS; t++) {
            printf("  %12.5f %5.1f %%", results[p].sparse_error[t], 100 * results[p].passed_over[t]);
        }
    }
    putchar('\n');
}

static void print_policies(const struct policy_result *results)
{
    printf("\nFormats by layer and by age (in tokens), with means and 64 exact\n%-34s %6s %12s %12s\n", "K and V",
           "bytes", "error", "KL");
    for (size_t p = 0; p < POLICIES; p++) {
        printf("%-34s %6.1f %12.5f %12.5f\n", policies[p].name, results[p].bytes, results[p].error, results[p].kl);
    }
}

void cache_quality_print(const tq_context *context, const struct qkv *qkv, const char *data,
                         const struct cache_quality *results)
{
    printf("turboquant %s, backend %s\n", tq_version_string(), tq_context_backend(context));
    operations_print(stdout, context);
    printf("cache on %s\n%u layers, %u KV heads, head_dim %u, %u tokens; against a cache of f16, positions"
           " %u and above\n",
           data, qkv->layers, qkv->kv_heads, qkv->head_dim, qkv->tokens, qkv->tokens / 2);
    print_rows("Relative error of the attention outputs", results->pairs, errors_of);
    print_rows("KL divergence of the attention weights, nats, mean over queries and heads", results->pairs, kls_of);
    print_sparse(results->pairs);
    print_policies(results->policies);
    printf("\nbytes: of an encoded token and KV head, K and V with their means (4 at head_dim 128 less without each);\n"
           "       by layer and age: mean of the tokens that are encoded in the end.\n");
    if (qkv->tokens > TQ_MAX_DIM) {
        printf("The divergence is that of the first %d tokens, positions %d and above.\n", TQ_MAX_DIM, TQ_MAX_DIM / 2);
    }
}

static void write_pair(FILE *json, const struct pair *pair, const struct pair_result *result)
{
    fprintf(json, "  {\"formats\": \"%s\", \"bytes\": %.9g", pair->name, result->bytes);
    for (size_t v = 0; v < VARIANTS; v++) {
        fprintf(json, ", \"%s\": %.9g", variants[v].name, result->error[v]);
    }
    for (size_t v = 0; v < VARIANTS; v++) {
        fprintf(json, "%s\"%s\": %.9g", v == 0 ? ", \"kl\": {" : ", ", variants[v].name, result->kl[v]);
    }
    fputs("}", json);
    for (size_t t = 0; t < THRESHOLDS; t++) {
        fprintf(json, "%s{\"skip_below\": %.9g, \"error\": %.9g, \"passed_over\": %.9g}",
                t == 0 ? ", \"sparse\": [" : ", ", (double)thresholds[t], result->sparse_error[t],
                result->passed_over[t]);
    }
    fputs("]}", json);
}

void cache_quality_write(FILE *json, const tq_context *context, const struct cache_quality *results)
{
    fprintf(json, "{\"version\": \"%s\",\n", tq_version_string());
    operations_json(json, " ", context);
    fputs(" \"quality\": [\n", json);
    for (size_t p = 0; p < PAIRS; p++) {
        write_pair(json, &pairs[p], &results->pairs[p]);
        fputs(p + 1 < PAIRS ? ",\n" : "\n], \"policies\": [\n", json);
    }
    for (size_t p = 0; p < POLICIES; p++) {
        fprintf(json, "  {\"policy\": \"%s\", \"bytes\": %.9g, \"error\": %.9g, \"kl\": %.9g}%s\n", policies[p].name,
                results->policies[p].bytes, results->policies[p].error, results->policies[p].kl,
                p + 1 < POLICIES ? "," : "");
    }
    fputs("]}\n", json);
}

/* SPDX-License-Identifier: MIT */
/* The results of tq_bench attend as table and JSON. */
#include "attend_report.h"

#include <inttypes.h>

#include "json.h"
#include "machine.h"
#include "operations.h"

/* Tokens of the context that a step's queries attend to, for all query tokens and heads. */
static double token_heads(const struct attend_setup *setup, const struct attend_row *row)
{
    return (double)setup->queries * (double)row->shape.context * row->shape.kv_heads * row->gqa;
}

/* A multiplication and an addition for each coordinate of a key, and of a value. Nothing is taken off for tokens of
 * the newest page that are newer than a query, which are neither scored nor summed up for it. */
static double gflops(const struct attend_setup *setup, const struct attend_row *row, double step_ns)
{
    return 4 * token_heads(setup, row) * row->shape.head_dim / step_ns;
}

void attend_report_head(const tq_context *context, const struct attend_setup *setup, const struct attend_shape *shape)
{
    const struct machine machine = machine_describe();
    printf("turboquant %s, attention on a filled cache, backend %s\n", tq_version_string(),
           tq_context_backend(context));
    printf("machine:  %s, %ld cores\n", machine.cpu, machine.cores);
    if (shape->device != NULL) {
        printf("device:   %s\n", device_name(shape->device));
    }
    printf("built by: %s, flags %s\n", machine.compiler, machine.flags);
    operations_print(stdout, context);
    printf("step:     %zu query token%s against a context, %" PRIu32 " KV heads, head_dim %" PRIu32 ", %zu thread%s;\n",
           setup->queries, setup->queries == 1 ? "" : "s", shape->kv_heads, shape->head_dim, setup->threads,
           setup->threads == 1 ? "" : "s");
    printf("          every step takes the next layer; each cache has as many as are larger than the processor's\n"
           "          caches by far (MiB)\n");
    printf("time:     medians of %zu interleaved rounds, %s\n", setup->rounds,
           setup->threads == 1 && shape->device == NULL ? "CPU time of the thread" : "as it passes");
    if (shape->device != NULL) {
        printf("reading:  is copying within the device's memory, reads and writes counted\n");
        return;
    }
    printf("best f16: attention of this bench on keys and values in f16: %s\n", setup->loops->name);
}

void attend_report_row(const struct attend_setup *setup, const struct attend_row *row,
                       const struct attend_row *previous)
{
    const struct attend_speed *speed = &row->speed;
    char name[64];
    if (previous == NULL || previous->shape.context != row->shape.context || previous->gqa != row->gqa) {
        const double dense_bytes = (double)row->shape.context * row->shape.kv_heads * 4 * row->shape.head_dim;
        printf("\ncontext %zu, GQA %" PRIu32 "; reading %.1f GB/s", row->shape.context, row->gqa, speed->read_gb_per_s);
        if (speed->best_f16_step_ns > 0) {
            printf(", best f16 %.1f GB/s, %.1f GFLOP/s", dense_bytes / speed->best_f16_step_ns,
                   gflops(setup, row, speed->best_f16_step_ns));
        }
        putchar('\n');
        printf("%-16s %7s %9s %8s %7s %8s %7s %6s %10s%s\n", "K/V", "bytes", "ns", "GB/s", "of read", "GFLOP/s",
               "x f16", "x best", "MiB", setup->threads > 1 ? "  x one" : "");
    }
    snprintf(name, sizeof name, "%s/%s", tq_format_name(row->k_format), tq_format_name(row->v_format));
    printf("%-16s %7.1f %9.4f %8.2f %6.1f%% %8.1f %7.2f ", name,
           (double)row->layer_bytes / (double)row->shape.context / row->shape.kv_heads,
           speed->step_ns / token_heads(setup, row), (double)row->layer_bytes / speed->step_ns, 100 * speed->read_share,
           gflops(setup, row, speed->step_ns), speed->vs_f16);
    if (speed->vs_best_f16 > 0) {
        printf("%6.2f", speed->vs_best_f16);
    } else {
        printf("%6s", "-");
    }
    printf(" %10.1f", (double)row->resident_bytes / 0x1p20);
    if (setup->threads > 1) {
        printf(" %6.2f", speed->vs_one_thread);
    }
    putchar('\n');
    fflush(stdout);
}

void attend_report_foot(const struct attend_setup *setup)
{
    printf("\nbytes: that a query must read of a token and KV head, exact tokens and means included; GB/s: these, once "
           "in a\n"
           "step / time; of read: of what reading memory and nothing else reaches. ns: per query token, query head and "
           "token\n"
           "of the context. GFLOP/s: 4 head_dim operations in each of these ns, as if every query saw the whole "
           "context. x\n"
           "f16: time of a cache of f16 / time (of f16 itself: the noise); x best: time of the best f16 / time. MiB: "
           "of all\n"
           "layers.");
    printf(setup->threads > 1 ? " x one: time on one thread / time.\n" : "\n");
}

static void json_row(FILE *out, const char *backend, const struct attend_setup *setup, const struct attend_row *row)
{
    const struct attend_speed *speed = &row->speed;
    fprintf(out,
            "{\"backend\": \"%s\", \"k_format\": \"%s\", \"v_format\": \"%s\", \"context\": %zu, \"kv_heads\": %" PRIu32
            ", \"gqa\": %" PRIu32 ", \"head_dim\": %" PRIu32
            ", \"threads\": %zu, \"queries\": %zu, \"layers\": %" PRIu32,
            backend, tq_format_name(row->k_format), tq_format_name(row->v_format), row->shape.context,
            row->shape.kv_heads, row->gqa, row->shape.head_dim, setup->threads, setup->queries, row->layers);
    fprintf(out, ", \"ns_per_token_head\": %.9g, \"gb_per_s\": %.9g, \"vs_f16\": %.9g, \"gflops\": %.9g",
            speed->step_ns / token_heads(setup, row), (double)row->layer_bytes / speed->step_ns, speed->vs_f16,
            gflops(setup, row, speed->step_ns));
    if (speed->best_f16_step_ns > 0) {
        fprintf(out, ", \"vs_best_f16\": %.9g, \"best_f16_gflops\": %.9g, \"best_f16_ns_per_token_head\": %.9g",
                speed->vs_best_f16, gflops(setup, row, speed->best_f16_step_ns),
                speed->best_f16_step_ns / token_heads(setup, row));
    }
    if (setup->threads > 1) {
        fprintf(out, ", \"vs_one_thread\": %.9g", speed->vs_one_thread);
    }
    fprintf(out, ", \"read_bandwidth_share\": %.9g, \"read_gb_per_s\": %.9g", speed->read_share, speed->read_gb_per_s);
    fprintf(out, ", \"step_bytes\": %zu, \"resident_bytes\": %zu, \"estimated_bytes\": %zu}", row->layer_bytes,
            row->resident_bytes, row->estimated_bytes);
}

void attend_report_json(FILE *out, const tq_context *context, const struct attend_setup *setup,
                        const struct attend_row *rows, size_t count)
{
    const struct machine machine = machine_describe();
    fputs("{\n", out);
    json_text(out, "  ", "version", tq_version_string());
    json_text(out, "  ", "best_f16_loop", setup->loops->name);
    json_machine(out, "  ", &machine);
    operations_json(out, "  ", context);
    fprintf(out, "  \"rounds\": %zu,\n  \"attend\": [", setup->rounds);
    for (size_t i = 0; i < count; i++) {
        fputs(i == 0 ? "\n    " : ",\n    ", out);
        json_row(out, tq_context_backend(context), setup, &rows[i]);
    }
    fputs("\n  ]\n}\n", out);
}

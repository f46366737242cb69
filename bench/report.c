/* SPDX-License-Identifier: MIT */
/* The results of a run as table, JSON and CSV. */
#include "report.h"

#include "json.h"
#include "operations.h"
#include "turboquant.h"

/* One row, ready to print. Names, headings and digits stand here once. */
struct column {
    const char *key;     /* In JSON and CSV. */
    const char *heading; /* In the table. */
    int width;
    int decimals;
};

enum { COLUMNS = 12 };

static const struct column columns[COLUMNS] = {
    {"bytes_per_vector", "bytes", 6, 0},
    {"d_key", "D(K)", 9, 6},
    {"d_value", "D(V)", 9, 6},
    {"cosine_key", "cos(K)", 8, 5},
    {"attn_output_error", "out err", 8, 5},
    {"attn_kl", "attn KL", 9, 6},
    {"attn_top1", "top-1", 6, 3},
    {"encode_ns", "enc ns", 8, 1},
    {"encode_single_ns", "enc1 ns", 8, 1},
    {"decode_ns", "dec ns", 7, 1},
    {"score_ns", "score ns", 8, 2},
    {"score_vs_f16", "x f16", 6, 2},
};

static void row_values(const struct report *report, size_t row, double values[COLUMNS])
{
    const struct quality *quality = &report->qualities[row];
    const struct timing *timing = &report->timings[row];
    const double in_order[COLUMNS] = {(double)report->formats->items[row].row_bytes,
                                      quality->d_key,
                                      quality->d_value,
                                      quality->cosine_key,
                                      quality->attn_output_error,
                                      quality->attn_kl,
                                      quality->attn_top1,
                                      timing->encode_ns,
                                      timing->encode_single_ns,
                                      timing->decode_ns,
                                      timing->score_ns,
                                      timing->score_vs_f16};
    for (size_t i = 0; i < COLUMNS; i++) {
        values[i] = in_order[i];
    }
}

void report_head(FILE *out, const struct report *report)
{
    const struct machine *machine = &report->machine;
    const struct qkv *qkv = report->qkv;
    const struct query_positions positions = quality_positions(qkv);
    const struct format *f16 = &report->formats->items[0];
    fprintf(out, "turboquant %s, backend %s\n", tq_version_string(), tq_context_backend(report->context));
    fprintf(out, "machine:  %s, %ld cores; one thread is used\n", machine->cpu, machine->cores);
    fprintf(out, "built by: %s, flags %s\n", machine->compiler, machine->flags);
    operations_print(out, report->context);
    fprintf(out, "data:     %s\n", report->data_path);
    fprintf(out, "          head_dim %u, %u tokens, %u layers, %u query heads, %u KV heads\n", (unsigned)qkv->head_dim,
            (unsigned)qkv->tokens, (unsigned)qkv->layers, (unsigned)qkv->q_heads, (unsigned)qkv->kv_heads);
    fprintf(out, "quality:  causal attention of every query head at %zu positions, against double precision\n",
            positions.count);
    fprintf(out, "speed:    median of %zu interleaved rounds; enc, dec: %d vectors in a call, enc1: one;\n",
            report->rounds, TIMING_VECTORS);
    fprintf(out, "          score: 1 query against %d keys, the same ones every time (in cache; %zu KiB in f16)\n",
            TIMING_KEYS, TIMING_KEYS * f16->row_bytes / 1024);
    if (report->effort != NULL) {
        fprintf(out, "effort:   %s\n", report->effort);
    }
    fprintf(out, "x f16:    scores of f16 in this run / scores of the format (over 1 is faster);\n");
    fprintf(out, "          the loops of f16, q8_0 and q4_0 are this bench's own: %s\n\n", report->formats->f16_name);
}

void report_table(FILE *out, const struct report *report)
{
    const double f16_bytes = (double)report->formats->items[0].row_bytes;
    fprintf(out, "%-12s", "format");
    for (size_t i = 0; i < COLUMNS; i++) {
        fprintf(out, " %*s", columns[i].width, columns[i].heading);
        if (i == 0) {
            fprintf(out, " %6s", "ratio");
        }
    }
    fputc('\n', out);
    for (size_t row = 0; row < report->formats->count; row++) {
        double values[COLUMNS];
        row_values(report, row, values);
        fprintf(out, "%-12s", report->formats->items[row].name);
        for (size_t i = 0; i < COLUMNS; i++) {
            fprintf(out, " %*.*f", columns[i].width, columns[i].decimals, values[i]);
            if (i == 0) {
                fprintf(out, " %6.2f", f16_bytes / values[i]);
            }
        }
        fputc('\n', out);
    }
    fprintf(
        out,
        "\nbytes: of one encoded vector; ratio: f16's bytes / these. D: mean of |x - x'|^2 / |x|^2. out err: relative\n"
        "error of the attention outputs. attn KL: divergence of the attention weights, nats. top-1: queries whose\n"
        "heaviest key stays the heaviest. ns: per vector for enc, enc1 and dec, per key for score.\n");
}

void report_json(FILE *out, const struct report *report)
{
    const struct qkv *qkv = report->qkv;
    const struct query_positions positions = quality_positions(qkv);
    fputs("{\n", out);
    json_text(out, "  ", "version", tq_version_string());
    json_text(out, "  ", "backend", tq_context_backend(report->context));
    operations_json(out, "  ", report->context);
    json_text(out, "  ", "f16_loop", report->formats->f16_name);
    json_machine(out, "  ", &report->machine);
    fputs("  \"data\": {\n", out);
    json_text(out, "    ", "path", report->data_path);
    fprintf(out, "    \"head_dim\": %u,\n    \"tokens\": %u,\n    \"layers\": %u,\n", (unsigned)qkv->head_dim,
            (unsigned)qkv->tokens, (unsigned)qkv->layers);
    fprintf(out, "    \"q_heads\": %u,\n    \"kv_heads\": %u,\n", (unsigned)qkv->q_heads, (unsigned)qkv->kv_heads);
    fprintf(out, "    \"queries\": %zu\n  },\n", positions.count * qkv->layers * qkv->q_heads);
    fprintf(out,
            "  \"settings\": {\n    \"seed\": %llu,\n    \"effort\": \"%s\",\n    \"rounds\": %zu,\n    "
            "\"score_keys\": %d\n  },\n",
            (unsigned long long)report->seed, report->effort != NULL ? report->effort : "default", report->rounds,
            TIMING_KEYS);
    fputs("  \"rows\": [", out);
    for (size_t row = 0; row < report->formats->count; row++) {
        double values[COLUMNS];
        row_values(report, row, values);
        fprintf(out, "%s\n    {\"format\": ", row == 0 ? "" : ",");
        json_string(out, report->formats->items[row].name);
        for (size_t i = 0; i < COLUMNS; i++) {
            fprintf(out, ", \"%s\": %.9g", columns[i].key, values[i]);
        }
        fputc('}', out);
    }
    fputs("\n  ]\n}\n", out);
}

void report_csv(FILE *out, const struct report *report)
{
    fputs("format", out);
    for (size_t i = 0; i < COLUMNS; i++) {
        fprintf(out, ",%s", columns[i].key);
    }
    fputc('\n', out);
    for (size_t row = 0; row < report->formats->count; row++) {
        double values[COLUMNS];
        row_values(report, row, values);
        fputs(report->formats->items[row].name, out);
        for (size_t i = 0; i < COLUMNS; i++) {
            fprintf(out, ",%.9g", values[i]);
        }
        fputc('\n', out);
    }
}

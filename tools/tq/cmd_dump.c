/* SPDX-License-Identifier: MIT */
/* tq dump: keys, values and queries of a run as a .qkv file, which tq_bench reads (bench/data/README.md has the
 * format). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "commands.h"
#include "json.h"
#include "recording.h"
#include "turboquant.h"

static const char usage[] = "usage: tq dump MODEL TEXT FILE [OPTIONS]\n"
                            "  --tokens N        of the text (2048, or as many as there are)\n"
                            "  --layers LIST     0,2,5 (all)\n"
                            "  --ids             write what the tokens were, too: the text can be read from that\n"
                            "  -t N              threads (one per core)\n"
                            "  --json            a report for scripts\n";

enum { HEADER_BYTES = 64, VERSION = 1, MAX_TOKENS = 2048 };

struct dump {
    struct session session;
    struct recording recording;
    size_t layers[MAX_NUMBERS];
    size_t n_layers;
    bool all_layers;
    bool ids;
    struct tokens tokens;
    FILE *file;
    tq_context *context;
    tq_codec *f16; /* The library's rows of f16 are what the file has. */
};

static uint32_t layer_at(const struct dump *dump, size_t index)
{
    return dump->all_layers ? (uint32_t)index : (uint32_t)dump->layers[index];
}

static void store_le32(uint8_t *bytes, uint32_t value)
{
    for (size_t i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
}

static bool write_header(const struct dump *dump)
{
    uint8_t header[HEADER_BYTES] = {'T', 'Q', 'K', 'V', 'D', 'U', 'M', 'P'};
    const struct recording *r = &dump->recording;
    const uint32_t numbers[] = {VERSION,     (uint32_t)dump->n_layers, r->n_q_heads, r->n_kv_heads,
                                r->head_dim, (uint32_t)r->n_tokens};
    uint32_t theta;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        store_le32(header + 8 + 4 * i, numbers[i]);
    }
    memcpy(&theta, &dump->session.model.rope.theta, sizeof theta);
    store_le32(header + 32, theta);
    return fwrite(header, 1, sizeof header, dump->file) == sizeof header;
}

static bool write_vector(const struct dump *dump, const float *x)
{
    uint8_t row[2 * TQ_MAX_DIM];
    const size_t size = 2 * (size_t)dump->recording.head_dim;
    return tq_encode(dump->f16, x, TQ_DTYPE_F32, 0, 1, row, size) == TQ_OK && fwrite(row, 1, size, dump->file) == size;
}

typedef const float *vector_of(const struct recording *recording, uint32_t layer, size_t token, uint32_t head);

static bool write_heads(const struct dump *dump, vector_of *vector, uint32_t layer, uint32_t n_heads)
{
    for (uint32_t head = 0; head < n_heads; head++) {
        for (size_t token = 0; token < dump->recording.n_tokens; token++) {
            if (!write_vector(dump, vector(&dump->recording, layer, token, head))) {
                return false;
            }
        }
    }
    return true;
}

static bool write_bias(const struct dump *dump, uint32_t layer)
{
    static const float none[TQ_MAX_DIM];
    const float *bias = dump->session.model.layers[layer].k_bias;
    for (uint32_t head = 0; head < dump->recording.n_kv_heads; head++) {
        if (!write_vector(dump, bias != NULL ? bias + (size_t)head * dump->recording.head_dim : none)) {
            return false;
        }
    }
    return true;
}

static bool write_ids(const struct dump *dump)
{
    for (size_t i = 0; i < dump->recording.n_tokens; i++) {
        const uint32_t id = dump->ids && dump->tokens.ids[i] <= UINT16_MAX ? dump->tokens.ids[i] : 0;
        const uint8_t bytes[2] = {(uint8_t)id, (uint8_t)(id >> 8)};
        if (fwrite(bytes, 1, sizeof bytes, dump->file) != sizeof bytes) {
            return false;
        }
    }
    return true;
}

static bool write_all(const struct dump *dump)
{
    const struct recording *r = &dump->recording;
    bool ok = write_header(dump);
    for (size_t i = 0; i < dump->n_layers && ok; i++) {
        const uint32_t layer = layer_at(dump, i);
        ok = write_heads(dump, recording_k, layer, r->n_kv_heads) &&
             write_heads(dump, recording_v, layer, r->n_kv_heads) &&
             write_heads(dump, recording_q, layer, r->n_q_heads);
    }
    for (size_t i = 0; i < dump->n_layers && ok; i++) {
        ok = write_bias(dump, layer_at(dump, i));
    }
    return ok && write_ids(dump);
}

static bool write_file(struct dump *dump, const char *path, struct error *error)
{
    dump->file = fopen(path, "wb");
    if (dump->file == NULL) {
        return error_run(error, "%s: cannot be written: %s", path, strerror(errno));
    }
    const bool written = write_all(dump);
    if (fclose(dump->file) != 0 || !written) {
        remove(path);
        return error_run(error, "%s: cannot be written", path);
    }
    return true;
}

static bool start_f16(struct dump *dump, struct error *error)
{
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    desc.dim = dump->recording.head_dim;
    desc.format = TQ_FORMAT_F16;
    return (tq_context_create(NULL, &dump->context) == TQ_OK &&
            tq_codec_create(dump->context, &desc, &dump->f16) == TQ_OK) ||
           error_run(error, "the library cannot start");
}

static bool take_layers(struct dump *dump, const char *list, struct error *error)
{
    dump->all_layers = list == NULL;
    dump->n_layers = dump->session.model.n_layers;
    return arguments_numbers("--layers", list, 0, dump->n_layers - 1, dump->layers, &dump->n_layers, error);
}

static bool run(struct dump *dump, const struct arguments *arguments, const char *layers, size_t n_tokens,
                size_t n_threads, struct error *error)
{
    if (!session_open(&dump->session, arguments->unnamed[0], n_threads, error) || !take_layers(dump, layers, error) ||
        !session_read_tokens(&dump->session, arguments->unnamed[1], &dump->tokens, error)) {
        return false;
    }
    if (dump->session.model.head_dim != dump->session.model.head_dim_v) {
        return error_input(error, "a .qkv file cannot hold keys and values of different dimensions");
    }
    if (n_tokens == 0) {
        n_tokens = dump->tokens.n < MAX_TOKENS ? dump->tokens.n : MAX_TOKENS;
    }
    return recording_make(&dump->recording, &dump->session, &dump->tokens, n_tokens, error) && start_f16(dump, error) &&
           write_file(dump, arguments->unnamed[2], error);
}

static void report(const struct dump *dump, const char *path, bool json)
{
    if (!json) {
        printf("%s: %zu layers, %zu tokens\n", path, dump->n_layers, dump->recording.n_tokens);
        return;
    }
    printf("{\"file\": ");
    json_string(stdout, path);
    printf(", \"layers\": %zu, \"tokens\": %zu}\n", dump->n_layers, dump->recording.n_tokens);
}

int dump_main(int argc, char **argv)
{
    static struct dump dump; /* A session must not be moved. */
    const char *layers = NULL;
    uint64_t n_tokens = 0;
    uint64_t n_threads = 0;
    bool json = false;
    int exit_code;
    const struct option options[] = {{"--tokens", NULL, &n_tokens, NULL}, {"--layers", &layers, NULL, NULL},
                                     {"--ids", NULL, NULL, &dump.ids},    {"-t", NULL, &n_threads, NULL},
                                     {"--json", NULL, NULL, &json},       {NULL, NULL, NULL, NULL}};
    const struct command_line line = {usage, "dump takes MODEL, TEXT and FILE", 3, 3, 0, options};
    struct arguments arguments;
    struct error error;
    if (!arguments_parse(&arguments, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    const bool ok = run(&dump, &arguments, layers, n_tokens, n_threads, &error);
    if (ok) {
        report(&dump, arguments.unnamed[2], json);
    }
    exit_code = ok ? 0 : error_report(&error);
    tq_codec_destroy(dump.f16);
    tq_context_destroy(dump.context);
    recording_free(&dump.recording);
    tokens_free(&dump.tokens);
    session_close(&dump.session);
    arguments_free(&arguments);
    return exit_code;
}

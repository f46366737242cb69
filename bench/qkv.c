/* SPDX-License-Identifier: MIT */
/* Reads a .qkv file. */
#define _POSIX_C_SOURCE 200809L
#include "qkv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "half.h"
#include "turboquant.h"

enum { HEADER_BYTES = 64, FORMAT_VERSION = 1 };

struct reader {
    const char *path;
    FILE *file;
    uint64_t file_bytes;
    char *error;
    size_t error_size;
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct reader *reader, const char *format, ...)
{
    const int prefix = snprintf(reader->error, reader->error_size, "%s: ", reader->path);
    if (prefix > 0 && (size_t)prefix < reader->error_size) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(reader->error + prefix, reader->error_size - (size_t)prefix, format, arguments);
        va_end(arguments);
    }
    return false;
}

static uint32_t load_le32(const uint8_t *bytes)
{
    return (uint32_t)tq_load_le16(bytes) | (uint32_t)tq_load_le16(bytes + 2) << 16;
}

static bool multiply(uint64_t *product, uint64_t factor)
{
    if (factor != 0 && *product > UINT64_MAX / factor) {
        return false;
    }
    *product *= factor;
    return true;
}

/* The number of vectors, and the size of the file in bytes; false if they do not fit 64 bits. */
static bool measure(const struct qkv *qkv, uint64_t *n_vectors, uint64_t *bytes)
{
    uint64_t bias = 2U * (uint64_t)qkv->head_dim; /* f16 k_proj bias: [layer][kv head][head_dim] */
    uint64_t vectors = 2U * (uint64_t)qkv->kv_heads + qkv->q_heads;
    if (!multiply(&bias, qkv->layers) || !multiply(&bias, qkv->kv_heads) || !multiply(&vectors, qkv->layers) ||
        !multiply(&vectors, qkv->tokens)) {
        return false;
    }
    uint64_t total = vectors;
    if (!multiply(&total, 2U * (uint64_t)qkv->head_dim)) {
        return false;
    }
    const uint64_t rest = HEADER_BYTES + 2U * (uint64_t)qkv->tokens; /* u16 token ids: [tokens] */
    if (total > UINT64_MAX - bias || total + bias > UINT64_MAX - rest) {
        return false;
    }
    *n_vectors = vectors;
    *bytes = total + bias + rest;
    return true;
}

static bool read_header(const struct reader *reader, struct qkv *qkv)
{
    static const uint8_t magic[8] = {'T', 'Q', 'K', 'V', 'D', 'U', 'M', 'P'};
    uint8_t header[HEADER_BYTES];
    if (fread(header, 1, sizeof header, reader->file) != sizeof header || memcmp(header, magic, sizeof magic) != 0) {
        return fail(reader, "not a .qkv file (it does not begin with a TQKVDUMP header)");
    }
    const uint32_t version = load_le32(header + 8);
    if (version != FORMAT_VERSION) {
        return fail(reader, ".qkv version %lu is unknown (this program reads version %d)", (unsigned long)version,
                    FORMAT_VERSION);
    }
    qkv->layers = load_le32(header + 12);
    qkv->q_heads = load_le32(header + 16);
    qkv->kv_heads = load_le32(header + 20);
    qkv->head_dim = load_le32(header + 24);
    qkv->tokens = load_le32(header + 28);
    if (qkv->layers == 0 || qkv->kv_heads == 0 || qkv->tokens == 0) {
        return fail(reader, "the header says there are no layers, no heads or no tokens");
    }
    if (qkv->q_heads == 0 || qkv->q_heads % qkv->kv_heads != 0) {
        return fail(reader, "%lu query heads cannot share %lu KV heads evenly", (unsigned long)qkv->q_heads,
                    (unsigned long)qkv->kv_heads);
    }
    if (qkv->head_dim == 0 || qkv->head_dim > TQ_MAX_DIM) {
        return fail(reader, "head_dim %lu is outside 1..%d", (unsigned long)qkv->head_dim, TQ_MAX_DIM);
    }
    return true;
}

/* Reads n f16 vectors to newly allocated f32. */
static bool read_vectors(const struct reader *reader, struct qkv *qkv, uint64_t n)
{
    const size_t dim = qkv->head_dim;
    uint8_t row[2 * TQ_MAX_DIM];
    if (n > SIZE_MAX / sizeof(float) / dim || (qkv->vectors = malloc((size_t)n * dim * sizeof(float))) == NULL) {
        return fail(reader, "not enough memory for %llu vectors", (unsigned long long)n);
    }
    for (size_t i = 0; i < (size_t)n; i++) {
        if (fread(row, 2, dim, reader->file) != dim) {
            return fail(reader, "cannot be read (vector %zu of %llu)", i, (unsigned long long)n);
        }
        for (size_t j = 0; j < dim; j++) {
            const uint16_t half = tq_load_le16(row + 2 * j);
            if ((half & TQ_F16_INFINITY) == TQ_F16_INFINITY) {
                return fail(reader, "vector %zu holds a NaN or an infinity", i);
            }
            qkv->vectors[i * dim + j] = tq_f32_from_f16(half);
        }
    }
    return true;
}

static bool read_all(const struct reader *reader, struct qkv *qkv)
{
    uint64_t n_vectors;
    uint64_t expected;
    if (!read_header(reader, qkv)) {
        return false;
    }
    if (!measure(qkv, &n_vectors, &expected)) {
        return fail(reader, "the header describes more data than any file can hold");
    }
    if (expected != reader->file_bytes) {
        return fail(reader, "the file has %llu bytes, but its header describes %llu",
                    (unsigned long long)reader->file_bytes, (unsigned long long)expected);
    }
    return read_vectors(reader, qkv, n_vectors);
}

bool qkv_read(const char *path, struct qkv *qkv, char *error, size_t error_size)
{
    struct reader reader = {.path = path, .error_size = error_size};
    struct stat status;
    reader.error = error;
    *qkv = (struct qkv){0};
    if (stat(path, &status) != 0 || (S_ISREG(status.st_mode) && (reader.file = fopen(path, "rb")) == NULL)) {
        return fail(&reader, "cannot be opened: %s", strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return fail(&reader, "not a regular file");
    }
    reader.file_bytes = (uint64_t)status.st_size;
    const bool ok = read_all(&reader, qkv);
    fclose(reader.file);
    if (!ok) {
        qkv_free(qkv);
    }
    return ok;
}

void qkv_free(struct qkv *qkv)
{
    free(qkv->vectors);
    *qkv = (struct qkv){0};
}

/* Blocks of a layer: K of each KV head, V of each KV head, Q of each query head. */
static const float *block(const struct qkv *qkv, uint32_t layer, uint32_t index)
{
    const size_t blocks_per_layer = 2U * (size_t)qkv->kv_heads + qkv->q_heads;
    return qkv->vectors + (layer * blocks_per_layer + index) * qkv->tokens * qkv->head_dim;
}

const float *qkv_keys(const struct qkv *qkv, uint32_t layer, uint32_t kv_head)
{
    return block(qkv, layer, kv_head);
}

const float *qkv_values(const struct qkv *qkv, uint32_t layer, uint32_t kv_head)
{
    return block(qkv, layer, qkv->kv_heads + kv_head);
}

const float *qkv_queries(const struct qkv *qkv, uint32_t layer, uint32_t q_head)
{
    return block(qkv, layer, 2 * qkv->kv_heads + q_head);
}

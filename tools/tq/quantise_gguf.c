/* SPDX-License-Identifier: MIT */
/* quantise_gguf IN OUT: copies a GGUF file; matrices of F32, F16 or BF16 become Q8_0. The metadata is copied byte by
 * byte but for general.file_type, which changes where it stands. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf.h"
#include "tensor.h"

enum { BLOCK = 32, BLOCK_BYTES = 34, TYPE_Q8_0 = 8, FILE_TYPE_MOSTLY_Q8_0 = 7 };

static void put(FILE *out, uint64_t number, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        fputc((int)(number >> 8 * i & 0xFF), out);
    }
}

/* Rounds to nearest, ties to even. The scales of weights are far from the limits of f16; 0 stays 0. */
static uint16_t half_of(float x)
{
    if (x <= 0.0F) {
        return 0;
    }
    int exponent;
    const float fraction = frexpf(x, &exponent); /* 0.5 <= fraction < 1 */
    const int unit = exponent - 11 > -24 ? exponent - 11 : -24;
    const long mantissa = lrintf(ldexpf(fraction, exponent - unit));
    return (uint16_t)(mantissa + (unit + 24) * 1024L);
}

static bool becomes_q8_0(const struct gguf_tensor *tensor)
{
    return tensor->n_dims == 2 && tensor->type->block == 1 && tensor->dims[0] % BLOCK == 0;
}

static uint64_t bytes_of(const struct gguf_tensor *tensor)
{
    return becomes_q8_0(tensor) ? (uint64_t)tensor->dims[0] / BLOCK * BLOCK_BYTES * tensor->dims[1] : tensor->bytes;
}

static uint64_t padded(const struct gguf *gguf, uint64_t size)
{
    return (size + gguf->alignment - 1) / gguf->alignment * gguf->alignment;
}

static void pad(FILE *out, uint64_t size)
{
    for (; size > 0; size--) {
        fputc(0, out);
    }
}

static void write_block(FILE *out, const float *x)
{
    float largest = 0.0F;
    for (size_t i = 0; i < BLOCK; i++) {
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    }
    const float scale = largest / 127.0F;
    put(out, half_of(scale), 2);
    for (size_t i = 0; i < BLOCK; i++) {
        const long q = scale > 0.0F ? lrintf(x[i] / scale) : 0;
        put(out, (uint64_t)q, 1);
    }
}

static bool write_tensor(FILE *out, const struct gguf_tensor *tensor)
{
    const size_t cols = tensor->dims[0];
    if (!becomes_q8_0(tensor)) {
        return fwrite(tensor->data, 1, tensor->bytes, out) == tensor->bytes;
    }
    const struct tensor rows = {tensor->type, tensor->data, tensor->dims[1], cols, tensor->bytes / tensor->dims[1]};
    float *row = malloc(cols * sizeof *row);
    for (size_t r = 0; row != NULL && r < rows.rows; r++) {
        tensor_row(&rows, r, row);
        for (size_t i = 0; i < cols; i += BLOCK) {
            write_block(out, row + i);
        }
    }
    free(row);
    return row != NULL;
}

static void write_metadata(FILE *out, const struct gguf *gguf)
{
    const uint8_t *begin = gguf->n_entries > 0 ? (const uint8_t *)gguf->entries[0].key.data - 8 : gguf->bytes + 24;
    const uint8_t *end =
        gguf->n_tensors > 0 ? (const uint8_t *)gguf->tensors[0].name.data - 8 : gguf->bytes + gguf->size;
    const struct gguf_entry *type = gguf_entry(gguf, "general.file_type");
    if (type != NULL && type->type == GGUF_U32 && !type->array) {
        fwrite(begin, 1, (size_t)(type->at - begin), out);
        put(out, FILE_TYPE_MOSTLY_Q8_0, 4);
        begin = type->at + 4;
    }
    fwrite(begin, 1, (size_t)(end - begin), out);
}

static void write_tensor_table(FILE *out, const struct gguf *gguf)
{
    uint64_t offset = 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *tensor = &gguf->tensors[i];
        put(out, tensor->name.size, 8);
        fwrite(tensor->name.data, 1, tensor->name.size, out);
        put(out, tensor->n_dims, 4);
        for (uint32_t d = 0; d < tensor->n_dims; d++) {
            put(out, tensor->dims[d], 8);
        }
        put(out, becomes_q8_0(tensor) ? TYPE_Q8_0 : tensor->type->id, 4);
        put(out, offset, 8);
        offset += padded(gguf, bytes_of(tensor));
    }
}

static bool write_file(FILE *out, const struct gguf *gguf)
{
    fwrite("GGUF", 1, 4, out);
    put(out, 3, 4);
    put(out, gguf->n_tensors, 8);
    put(out, gguf->n_entries, 8);
    write_metadata(out, gguf);
    write_tensor_table(out, gguf);
    const uint64_t end = (uint64_t)ftell(out);
    pad(out, padded(gguf, end) - end);
    bool ok = true;
    for (size_t i = 0; i < gguf->n_tensors && ok; i++) {
        const struct gguf_tensor *tensor = &gguf->tensors[i];
        ok = write_tensor(out, tensor);
        pad(out, padded(gguf, bytes_of(tensor)) - bytes_of(tensor));
    }
    return ok && !ferror(out);
}

int main(int argc, char **argv)
{
    struct gguf gguf;
    struct error error;
    if (argc != 3) {
        fprintf(stderr, "usage: quantise_gguf IN OUT\n");
        return EXIT_INPUT;
    }
    if (!gguf_open(&gguf, argv[1], &error)) {
        return error_report(&error);
    }
    FILE *out = fopen(argv[2], "wb");
    bool ok = out != NULL && write_file(out, &gguf);
    ok = out != NULL && fclose(out) == 0 && ok;
    gguf_close(&gguf);
    if (!ok) {
        error_set(&error, EXIT_RUN, "%s: cannot be written", argv[2]);
        return error_report(&error);
    }
    return 0;
}

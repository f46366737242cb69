/* SPDX-License-Identifier: MIT */
/* The layout of a GGUF file, little-endian throughout:
 *
 *     "GGUF"  u32 version  u64 tensors  u64 entries
 *     entries:  string key, u32 type, value       string: u64 size, bytes     array: u32 type, u64 count, elements
 *     tensors:  string name, u32 n_dims, u64 dims[n_dims], u32 type, u64 offset
 *     zeros up to a multiple of general.alignment (32), then the data that the offsets count from
 */
#define _POSIX_C_SOURCE 200809L
#include "gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEADER_BYTES = 24,
    SMALLEST_ENTRY = 8 + 4 + 1,          /* An empty key and one byte. */
    SMALLEST_TENSOR = 8 + 4 + 8 + 4 + 8, /* An empty name and one dimension. */
    DEFAULT_ALIGNMENT = 32,
    LARGEST_ALIGNMENT = 1 << 16
};

static uint32_t load_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t load_u64(const uint8_t *at)
{
    return load_u32(at) | (uint64_t)load_u32(at + 4) << 32;
}

/* What has not been read yet. Reading beyond the end gives zeros and clears `ok`, so that one check after several
 * reads is enough. */
struct cursor {
    const uint8_t *at;
    size_t left;
    bool ok;
};

static const uint8_t *take(struct cursor *cursor, uint64_t size)
{
    static const uint8_t zeros[8];
    if (!cursor->ok || size > cursor->left) {
        cursor->ok = false;
        return zeros;
    }
    const uint8_t *at = cursor->at;
    cursor->at += size;
    cursor->left -= (size_t)size;
    return at;
}

static uint32_t take_u32(struct cursor *cursor)
{
    return load_u32(take(cursor, 4));
}

static uint64_t take_u64(struct cursor *cursor)
{
    return load_u64(take(cursor, 8));
}

static struct gguf_string take_string(struct cursor *cursor)
{
    const uint64_t size = take_u64(cursor);
    const uint8_t *data = take(cursor, size);
    return (struct gguf_string){(const char *)data, cursor->ok ? (size_t)size : 0};
}

/* Bytes of a value of fixed size; 0 for strings, arrays and what is no type. */
static size_t scalar_bytes(uint32_t type)
{
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof bytes ? bytes[type] : 0;
}

/* What a "%.*s" takes for a string of any size. */
static int shown(struct gguf_string string)
{
    return string.size < 64 ? (int)string.size : 64;
}

static bool truncated(const struct gguf *gguf, const char *what, size_t index, struct error *error)
{
    return error_input(error, "%s: the file ends, or a size in it is wrong, at %s %zu", gguf->path, what, index);
}

static bool read_value(const struct gguf *gguf, struct cursor *cursor, struct gguf_entry *entry, struct error *error)
{
    entry->type = take_u32(cursor);
    entry->array = entry->type == GGUF_ARRAY;
    uint64_t count = 1;
    if (entry->array) {
        entry->type = take_u32(cursor);
        count = take_u64(cursor);
    }
    const size_t bytes = scalar_bytes(entry->type);
    if (cursor->ok && bytes == 0 && entry->type != GGUF_STRING) {
        return error_input(error, "%s: %.*s has a value of type %" PRIu32 ", which is not known", gguf->path,
                           shown(entry->key), entry->key.data, entry->type);
    }
    if (count > cursor->left) { /* Every element has a byte or more. */
        cursor->ok = false;
        count = 0;
    }
    entry->count = (size_t)count;
    entry->at = cursor->at;
    if (bytes != 0) {
        take(cursor, count * bytes); /* No overflow: count is at most the size of the file. */
    } else {
        for (size_t i = 0; i < entry->count && cursor->ok; i++) {
            take_string(cursor);
        }
    }
    return true;
}

static bool read_entries(struct gguf *gguf, struct cursor *cursor, struct error *error)
{
    for (size_t i = 0; i < gguf->n_entries; i++) {
        struct gguf_entry *entry = &gguf->entries[i];
        entry->key = take_string(cursor);
        if (!read_value(gguf, cursor, entry, error)) {
            return false;
        }
        if (!cursor->ok) {
            return truncated(gguf, "metadata entry", i, error);
        }
    }
    return true;
}

/* Dimensions and type; `bytes` follows from them. */
static bool check_shape(const struct gguf *gguf, struct gguf_tensor *tensor, uint32_t type, struct error *error)
{
    tensor->type = tensor_type_find(type);
    if (tensor->type == NULL) {
        return error_input(error, "%s: tensor %.*s has type %" PRIu32 ", which is not supported", gguf->path,
                           shown(tensor->name), tensor->name.data, type);
    }
    size_t blocks = tensor->dims[0] / tensor->type->block;
    bool ok = tensor->dims[0] % tensor->type->block == 0 && blocks <= gguf->size / tensor->type->block_bytes;
    for (size_t d = 1; d < GGUF_MAX_DIMS && ok; d++) { /* More elements than the file has bytes do not fit. */
        ok = tensor->dims[d] != 0 && blocks <= gguf->size / tensor->dims[d];
        blocks *= tensor->dims[d];
    }
    tensor->bytes = ok && blocks <= gguf->size / tensor->type->block_bytes ? blocks * tensor->type->block_bytes : 0;
    return tensor->bytes != 0 || error_input(error, "%s: tensor %.*s has a shape that cannot be", gguf->path,
                                             shown(tensor->name), tensor->name.data);
}

/* Names and shapes; `data` is the offset until place_tensors. */
static bool read_tensors(struct gguf *gguf, struct cursor *cursor, uint64_t *offsets, struct error *error)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        struct gguf_tensor *tensor = &gguf->tensors[i];
        tensor->name = take_string(cursor);
        tensor->n_dims = take_u32(cursor);
        if (cursor->ok && (tensor->n_dims < 1 || tensor->n_dims > GGUF_MAX_DIMS)) {
            return error_input(error, "%s: tensor %.*s has %" PRIu32 " dimensions", gguf->path, shown(tensor->name),
                               tensor->name.data, tensor->n_dims);
        }
        for (uint32_t d = 0; d < GGUF_MAX_DIMS; d++) {
            const uint64_t dim = d < tensor->n_dims ? take_u64(cursor) : 1;
            tensor->dims[d] = dim <= SIZE_MAX ? (size_t)dim : 0;
        }
        const uint32_t type = take_u32(cursor);
        offsets[i] = take_u64(cursor);
        if (!cursor->ok) {
            return truncated(gguf, "tensor", i, error);
        }
        if (!check_shape(gguf, tensor, type, error)) {
            return false;
        }
    }
    return true;
}

static bool place_tensors(struct gguf *gguf, const struct cursor *cursor, const uint64_t *offsets, struct error *error)
{
    const size_t end = (size_t)(cursor->at - gguf->bytes);
    const size_t padding = (gguf->alignment - end % gguf->alignment) % gguf->alignment;
    const size_t room = cursor->left > padding ? cursor->left - padding : 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        struct gguf_tensor *tensor = &gguf->tensors[i];
        if (offsets[i] % gguf->alignment != 0 || offsets[i] > room || tensor->bytes > room - offsets[i]) {
            return error_input(error, "%s: tensor %.*s lies outside of the file", gguf->path, shown(tensor->name),
                               tensor->name.data);
        }
        tensor->data = gguf->bytes + end + padding + offsets[i];
    }
    return true;
}

static bool parse(struct gguf *gguf, struct error *error)
{
    struct cursor cursor = {gguf->bytes, gguf->size, true};
    if (gguf->size < HEADER_BYTES || memcmp(take(&cursor, 4), "GGUF", 4) != 0) {
        return error_input(error, "%s: not a GGUF file", gguf->path);
    }
    const uint32_t version = take_u32(&cursor);
    if (version != 2 && version != 3) {
        return error_input(error, "%s: GGUF version %" PRIu32 " is not known (2 and 3 are)", gguf->path, version);
    }
    const uint64_t n_tensors = take_u64(&cursor);
    const uint64_t n_entries = take_u64(&cursor);
    if (n_entries > cursor.left / SMALLEST_ENTRY || n_tensors > cursor.left / SMALLEST_TENSOR) {
        return error_input(error, "%s: the header promises more than the file can hold", gguf->path);
    }
    gguf->n_entries = (size_t)n_entries;
    gguf->n_tensors = (size_t)n_tensors;
    gguf->entries = calloc(gguf->n_entries + 1, sizeof *gguf->entries);
    gguf->tensors = calloc(gguf->n_tensors + 1, sizeof *gguf->tensors);
    uint64_t *offsets = calloc(gguf->n_tensors + 1, sizeof *offsets);
    bool ok = (gguf->entries != NULL && gguf->tensors != NULL && offsets != NULL) ||
              error_run(error, "%s: not enough memory", gguf->path);
    ok = ok && read_entries(gguf, &cursor, error);
    gguf->alignment = DEFAULT_ALIGNMENT;
    ok = ok && gguf_get_u32(gguf, "general.alignment", &gguf->alignment, error);
    if (ok && (gguf->alignment % 8 != 0 || gguf->alignment > LARGEST_ALIGNMENT || gguf->alignment == 0)) {
        ok = error_input(error, "%s: general.alignment %" PRIu32 " cannot be", gguf->path, gguf->alignment);
    }
    ok = ok && read_tensors(gguf, &cursor, offsets, error) && place_tensors(gguf, &cursor, offsets, error);
    free(offsets);
    return ok;
}

bool gguf_parse(struct gguf *gguf, const char *path, const uint8_t *bytes, size_t size, struct error *error)
{
    *gguf = (struct gguf){.path = path, .bytes = bytes, .size = size};
    const bool ok = parse(gguf, error);
    if (!ok) {
        gguf_close(gguf);
    }
    return ok;
}

bool gguf_open(struct gguf *gguf, const char *path, struct error *error)
{
    struct stat status;
    *gguf = (struct gguf){0};
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* A FIFO must not stop the program. */
    if (file < 0 || fstat(file, &status) != 0) {
        error_set(error, EXIT_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
        if (file >= 0) {
            close(file);
        }
        return false;
    }
    const bool regular = S_ISREG(status.st_mode) && status.st_size > 0;
    const size_t size = regular ? (size_t)status.st_size : 0;
    void *bytes = regular ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
    close(file);
    if (!regular) {
        return error_input(error, "%s: not a GGUF file", path);
    }
    if (bytes == MAP_FAILED) {
        return error_run(error, "%s: cannot be mapped: %s", path, strerror(errno));
    }
    if (!gguf_parse(gguf, path, bytes, size, error)) {
        munmap(bytes, size);
        return false;
    }
    gguf->mapping = bytes;
    return true;
}

void gguf_close(struct gguf *gguf)
{
    if (gguf->mapping != NULL) {
        munmap(gguf->mapping, gguf->size);
    }
    free(gguf->entries);
    free(gguf->tensors);
    *gguf = (struct gguf){0};
}

bool gguf_string_is(struct gguf_string string, const char *text)
{
    return string.size == strlen(text) && memcmp(string.data, text, string.size) == 0;
}

const struct gguf_entry *gguf_entry(const struct gguf *gguf, const char *key)
{
    for (size_t i = 0; i < gguf->n_entries; i++) {
        if (gguf_string_is(gguf->entries[i].key, key)) {
            return &gguf->entries[i];
        }
    }
    return NULL;
}

const struct gguf_tensor *gguf_tensor(const struct gguf *gguf, const char *name)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        if (gguf_string_is(gguf->tensors[i].name, name)) {
            return &gguf->tensors[i];
        }
    }
    return NULL;
}

static bool wrong_type(const struct gguf *gguf, const char *key, const char *wanted, struct error *error)
{
    return error_input(error, "%s: %s is not %s", gguf->path, key, wanted);
}

bool gguf_get_u32(const struct gguf *gguf, const char *key, uint32_t *value, struct error *error)
{
    const struct gguf_entry *entry = gguf_entry(gguf, key);
    if (entry == NULL) {
        return true;
    }
    uint64_t number = 0;
    const size_t bytes = entry->array || entry->type > GGUF_I64 ? 0 : scalar_bytes(entry->type);
    for (size_t i = 0; i < bytes; i++) {
        number |= (uint64_t)entry->at[i] << 8 * i;
    }
    const bool is_integer = bytes != 0 && entry->type != GGUF_F32 && entry->type != GGUF_BOOL;
    const bool is_signed =
        entry->type == GGUF_I8 || entry->type == GGUF_I16 || entry->type == GGUF_I32 || entry->type == GGUF_I64;
    if (!is_integer || number > UINT32_MAX || (is_signed && number >> (8 * bytes - 1) != 0)) {
        return wrong_type(gguf, key, "a number from 0 to 2^32-1", error);
    }
    *value = (uint32_t)number;
    return true;
}

bool gguf_get_float(const struct gguf *gguf, const char *key, float *value, struct error *error)
{
    const struct gguf_entry *entry = gguf_entry(gguf, key);
    if (entry == NULL) {
        return true;
    }
    if (entry->array || (entry->type != GGUF_F32 && entry->type != GGUF_F64)) {
        return wrong_type(gguf, key, "a floating-point number", error);
    }
    if (entry->type == GGUF_F64) {
        const uint64_t bits = load_u64(entry->at);
        double number;
        memcpy(&number, &bits, sizeof number);
        *value = (float)number;
    } else {
        const uint32_t bits = load_u32(entry->at);
        memcpy(value, &bits, sizeof *value);
    }
    return true;
}

bool gguf_get_bool(const struct gguf *gguf, const char *key, bool *value, struct error *error)
{
    const struct gguf_entry *entry = gguf_entry(gguf, key);
    if (entry == NULL) {
        return true;
    }
    if (entry->array || entry->type != GGUF_BOOL) {
        return wrong_type(gguf, key, "true or false", error);
    }
    *value = *entry->at != 0;
    return true;
}

bool gguf_get_string(const struct gguf *gguf, const char *key, struct gguf_string *value, struct error *error)
{
    const struct gguf_entry *entry = gguf_entry(gguf, key);
    if (entry == NULL) {
        return true;
    }
    if (entry->array || entry->type != GGUF_STRING) {
        return wrong_type(gguf, key, "a text", error);
    }
    const uint8_t *at = entry->at;
    *value = gguf_next_string(&at);
    return true;
}

bool gguf_get_array(const struct gguf *gguf, const char *key, enum gguf_type type, const struct gguf_entry **array,
                    struct error *error)
{
    const struct gguf_entry *entry = gguf_entry(gguf, key);
    if (entry == NULL || !entry->array || entry->type != type) {
        return error_input(error, "%s: %s is missing, or not an array of the right type", gguf->path, key);
    }
    *array = entry;
    return true;
}

struct gguf_string gguf_next_string(const uint8_t **at)
{
    const struct gguf_string string = {(const char *)*at + 8, (size_t)load_u64(*at)};
    *at += 8 + string.size;
    return string;
}

int32_t gguf_i32_at(const struct gguf_entry *array, size_t index)
{
    const uint32_t bits = load_u32(array->at + 4 * index);
    int32_t number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

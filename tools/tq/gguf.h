/* SPDX-License-Identifier: MIT */
/* Reads a GGUF file, version 2 or 3: metadata (typed key/value pairs) and tensors, in place. The file is not trusted:
 * everything is checked against its size before it is used. */
#ifndef TQ_TOOL_GGUF_H
#define TQ_TOOL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "tensor.h"

/* Types of metadata, as the file numbers them. */
enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12
};

/* Text inside the file, without a zero at its end. */
struct gguf_string {
    const char *data;
    size_t size;
};

struct gguf_entry {
    struct gguf_string key;
    uint32_t type;     /* Of the value, or of the elements of an array. */
    bool array;        /* Then `count` elements. */
    size_t count;      /* 1 for a single value. */
    const uint8_t *at; /* The value, or the first element. */
};

enum { GGUF_MAX_DIMS = 4 };

struct gguf_tensor {
    struct gguf_string name;
    uint32_t n_dims;
    size_t dims[GGUF_MAX_DIMS]; /* The first one is contiguous; 1 beyond n_dims. */
    const struct tensor_type *type;
    const uint8_t *data;
    size_t bytes;
};

struct gguf {
    const char *path;
    const uint8_t *bytes;
    size_t size;
    void *mapping;      /* Of the file; null if the bytes are somebody else's. */
    uint32_t alignment; /* Of tensors. */
    size_t n_entries;
    struct gguf_entry *entries;
    size_t n_tensors;
    struct gguf_tensor *tensors;
};

/* Maps a file into memory. On failure nothing is left to close. */
bool gguf_open(struct gguf *gguf, const char *path, struct error *error);

/* The same for bytes that are in memory and stay there; `path` is for messages. */
bool gguf_parse(struct gguf *gguf, const char *path, const uint8_t *bytes, size_t size, struct error *error);

void gguf_close(struct gguf *gguf);

/* Null if there is none of that name. */
const struct gguf_entry *gguf_entry(const struct gguf *gguf, const char *key);
const struct gguf_tensor *gguf_tensor(const struct gguf *gguf, const char *name);

/* Each leaves `value` alone if there is no such key, and fails if it has another type or does not fit. */
bool gguf_get_u32(const struct gguf *gguf, const char *key, uint32_t *value, struct error *error);
bool gguf_get_float(const struct gguf *gguf, const char *key, float *value, struct error *error);
bool gguf_get_bool(const struct gguf *gguf, const char *key, bool *value, struct error *error);
bool gguf_get_string(const struct gguf *gguf, const char *key, struct gguf_string *value, struct error *error);

/* An array of elements of one type, which must be there. */
bool gguf_get_array(const struct gguf *gguf, const char *key, enum gguf_type type, const struct gguf_entry **array,
                    struct error *error);

/* The string at `*at`, which moves on to the next one: for arrays of strings, at most `count` times. */
struct gguf_string gguf_next_string(const uint8_t **at);

/* Element `index` of an array of GGUF_I32. */
int32_t gguf_i32_at(const struct gguf_entry *array, size_t index);

bool gguf_string_is(struct gguf_string string, const char *text);

#endif /* TQ_TOOL_GGUF_H */

/* SPDX-License-Identifier: MIT */
/* Weights: matrices whose rows are stored in one of ggml's types. */
#ifndef TQ_TOOL_TENSOR_H
#define TQ_TOOL_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor_loops.h"

/* A ggml type: elements come in blocks. */
struct tensor_type {
    const char *name;
    uint32_t id; /* In GGUF files. */
    enum tensor_layout layout;
    size_t block;
    size_t block_bytes;
};

/* Null for a type that is not supported. */
const struct tensor_type *tensor_type_find(uint32_t id);

struct tensor {
    const struct tensor_type *type;
    const uint8_t *data; /* [rows] of row_bytes; null if the model has no such tensor. */
    size_t rows;
    size_t cols; /* A multiple of type->block. */
    size_t row_bytes;
};

/* The loops for this machine. */
const struct tensor_loops *tensor_loops_best(void);

/* Row `row` as f32. */
void tensor_row(const struct tensor *tensor, size_t row, float *x);

#endif /* TQ_TOOL_TENSOR_H */

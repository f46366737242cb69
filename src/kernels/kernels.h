/* SPDX-License-Identifier: MIT
 *
 * The dispatch table, and what a kernel may know: three plain structs, made by codec.c and rotation.c, read by every
 * backend. */
#ifndef TQ_KERNELS_H
#define TQ_KERNELS_H

#include "codebook/trellis.h"
#include "turboquant.h"

/* An orthogonal rotation. Kernels see Hadamard rotations only; the dense matrix goes through `multiply`. */
typedef struct tq_rotation_plan {
    size_t dim;
    size_t paley_order; /* m of dim = m * 2^a: 1, 12, 20, 28 or 36. */
    float *signs;       /* D: [dim] of +-1. Null for a dense rotation. */
    float *paley;       /* P: [m, m] of +-1. Null if m is 1. */
    float *dense;       /* sqrt(dim) R: [dim, dim]. Null for a Hadamard rotation. */
} tq_rotation_plan;

/* A code and where its parts lie in a row: fp16 scale at byte 0, indices or bit-planes at `codes_at`; in prod rows also
 * the fp16 length of the residual at byte 2 and its signs at `signs_at`. */
typedef struct tq_code {
    size_t dim;
    unsigned bits; /* Of one Lloyd-Max index, or of one coordinate of a trellis code. */
    size_t row_bytes;
    size_t codes_at;
    size_t signs_at;
    const float *centroids; /* [2^bits], ascending, in units of a coordinate's standard deviation. Null in a trellis. */
    const float *thresholds; /* [2^bits - 1], the midpoints. Null in a trellis. */
    tq_trellis trellis;      /* All zero in a Lloyd-Max code. */
    tq_scale_mode scale;
    const float *gains; /* [n_gains] multipliers of the vector that the encoder tries; the first is 1. */
    size_t n_gains;
} tq_code;

enum { TQ_CODE_RESIDUAL_AT = 2 };

/* What a page holds: backends may lay out keys and values in different ways. */
typedef enum tq_page_kind { TQ_PAGE_KEYS, TQ_PAGE_VALUES } tq_page_kind;

/* Queries that read a page together, and the room that page_query may use: 4 bytes per coordinate and 64 per query. */
enum { TQ_PAGE_QUERIES = 8, TQ_PREPARED_BYTES = 4 * TQ_MAX_DIM + 128 * TQ_PAGE_QUERIES };

/* The operations' numbers, in the order of kernels.def. */
enum {
#define X(name, contract, result, arguments) TQ_OPERATION_##name,
#include "kernels/kernels.def"
#undef X
    TQ_OPERATION_COUNT
};

typedef struct tq_kernels {
    const char *backend;                       /* The strongest backend that contributed. */
    const char *served_by[TQ_OPERATION_COUNT]; /* The backend of each operation. */
#define X(name, contract, result, arguments) result(*name) arguments;
#include "kernels/kernels.def"
#undef X
} tq_kernels;

/* Fills `kernels` with the backend called `name`, or with the best one if `name` is null.
 * TQ_ERR_UNSUPPORTED if there is no such backend, or if it cannot run here. */
tq_status tq_kernels_select(const char *name, tq_kernels *kernels);

/* Every backend's table: writes the operations the backend has over those that are there. */
#define X(name, usable) void tq_kernels_##name(tq_kernels *kernels);
#include "kernels/backends.def"
#undef X

#endif /* TQ_KERNELS_H */

/* SPDX-License-Identifier: MIT */
/* Blocks of rows are dequantised to scratch memory and multiplied: by OpenBLAS if there are many tokens, by dot
 * products, which read each row once while it is in the nearest cache, if there are few. */
#include "matmul.h"

#include <cblas.h>

enum {
    BLOCK_ROWS = 64,
    FEW_TOKENS = 4 /* From here on packing x for OpenBLAS is worth its time. */
};

size_t matmul_scratch(size_t cols)
{
    return BLOCK_ROWS * cols;
}

struct product {
    const struct tensor *w;
    const float *bias;
    const float *x;
    size_t n;
    float *scratch;
    size_t scratch_stride;
    float *y;
};

static void multiply_rows(const struct product *p, size_t first, size_t end, float *row)
{
    const struct tensor_loops *loops = tensor_loops_best();
    for (size_t r = first; r < end; r++) {
        tensor_row(p->w, r, row);
        for (size_t t = 0; t < p->n; t++) {
            p->y[t * p->w->rows + r] = loops->dot(row, p->x + t * p->w->cols, p->w->cols);
        }
    }
}

static void multiply_block(const struct product *p, size_t first, size_t end, float *block)
{
    const size_t cols = p->w->cols;
    for (size_t r = first; r < end; r++) {
        tensor_row(p->w, r, block + (r - first) * cols);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p->n, (int)(end - first), (int)cols, 1.0F, p->x,
                (int)cols, block, (int)cols, 0.0F, p->y + first, (int)p->w->rows);
}

static void multiply(void *arg, size_t slot, size_t index)
{
    const struct product *p = arg;
    const size_t first = index * BLOCK_ROWS;
    const size_t end = p->w->rows - first < BLOCK_ROWS ? p->w->rows : first + BLOCK_ROWS;
    float *scratch = p->scratch + slot * p->scratch_stride;
    if (p->n < FEW_TOKENS) {
        multiply_rows(p, first, end, scratch);
    } else {
        multiply_block(p, first, end, scratch);
    }
    for (size_t t = 0; t < p->n && p->bias != NULL; t++) {
        for (size_t r = first; r < end; r++) {
            p->y[t * p->w->rows + r] += p->bias[r];
        }
    }
}

void matmul(const struct threads *threads, const struct tensor *w, const float *bias, const float *x, size_t n,
            float *scratch, size_t scratch_stride, float *y)
{
    struct product product = {w, bias, x, n, scratch, scratch_stride, y};
    threads_for(threads, multiply, &product, (w->rows + BLOCK_ROWS - 1) / BLOCK_ROWS);
}

/* SPDX-License-Identifier: MIT
 *
 * Queries become integers:
 *
 *     for i, for j: x[i][j] = 128 * rint(q[i][j] * most / max |q[i]|)         one row
 *                   x[i][j] = rint(q[i][j] * 128 * most / max |q[i]|)         two rows
 *                   x[i][j] = 128 high + low
 *
 * and are laid out as page_query_avx2.h says. Plain loops: it is done once for many pages. */
#include "kernels/x86/page_query_avx2.h"

#include "kernels/x86/pages_x86.h"

#include <math.h>
#include <string.h>

enum { MOST_OF_BYTE = 127 };

/* A step of more than this many rms makes a query exact. */
static const float MOST_STEP = 5.0F / 127;

bool tq_page_query_is_integer(const tq_code *code)
{
    return tq_page_is_tiled(code, TQ_PAGE_KEYS) && code->bits <= 4;
}

/* Byte b of field f of the blocks of keys belongs to this dimension. */
static size_t dimension_at(size_t dim, size_t f, size_t b)
{
    const size_t block = f / 8 * TQ_KEY_DIMS;
    const size_t step = block + TQ_KEY_DIMS <= dim ? 8 : 4; /* From one byte of the field to the next. */
    return block + f % 8 + step * b;
}

static float largest_of(const float *q, size_t dim)
{
    float largest = 0;
    for (size_t j = 0; j < dim; j++) {
        const float size = fabsf(q[j]);
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* How a query becomes integers. Everything is relative to the largest coordinate, so that nothing overflows or
 * vanishes. */
typedef struct query_scale {
    float largest;
    float most; /* What the largest coordinate becomes. */
    bool exact;
} query_scale;

static query_scale scale_of(const tq_code *code, tq_query_form form, const float *q)
{
    query_scale scale = {largest_of(q, code->dim), MOST_OF_BYTE, false};
    float sum = 0;
    float pair = 0;
    for (size_t f = 0; f < code->dim / 4 && scale.largest > 0; f++) {
        for (size_t b = 0; b < 4; b += 2) {
            const float x = q[dimension_at(code->dim, f, b)] / scale.largest;
            const float y = q[dimension_at(code->dim, f, b + 1)] / scale.largest;
            sum += x * x + y * y;
            pair = fabsf(x + y) > pair ? fabsf(x + y) : pair;
        }
    }
    if (pair * MOST_OF_BYTE > (float)form.most_of_pair) {
        scale.most = (float)form.most_of_pair / pair;
    }
    const float most_step = MOST_STEP * scale.most;
    scale.exact = (float)code->dim > most_step * most_step * sum && scale.largest > 0;
    return scale;
}

static int32_t round_to(float x, float largest, float most)
{
    return largest > 0 ? (int32_t)rintf(x / largest * most) : 0;
}

static int32_t *dword_at(tq_prepared *p, size_t f, size_t r)
{
    const size_t n = p->rows_of_a_group;
    return p->dwords + r / n * p->dwords_of_a_group + f * n + r % n;
}

/* x is for byte b of field f, in row r. */
static void store_byte(tq_prepared *p, size_t f, size_t b, size_t r, int32_t x, int offset)
{
    ((int8_t *)dword_at(p, f, r))[b] = (int8_t)x;
    p->start[r] -= offset * x;
}

static void store_query(const tq_code *code, tq_query_form form, const float *q, size_t i, tq_prepared *p)
{
    const query_scale scale = scale_of(code, form, q);
    const float unit = scale.largest / scale.most / TQ_QUERY_RADIX * form.levels.step / (float)code->dim;
    int32_t sum = 0;
    for (size_t f = 0; f < code->dim / 4; f++) {
        for (size_t b = 0; b < 4; b++) {
            const float y = q[dimension_at(code->dim, f, b)];
            const int32_t x = scale.exact ? round_to(y, scale.largest, scale.most * TQ_QUERY_RADIX)
                                          : TQ_QUERY_RADIX * round_to(y, scale.largest, scale.most);
            const int32_t high = (x + TQ_QUERY_RADIX / 2) >> 7;
            sum += x;
            store_byte(p, f, b, i * p->rows_of_a_query, high, form.offset);
            if (p->rows_of_a_query == 2) {
                store_byte(p, f, b, 2 * i + 1, x - TQ_QUERY_RADIX * high, form.offset);
            }
        }
    }
    p->factor[i] = p->rows_of_a_query == 2 ? unit : TQ_QUERY_RADIX * unit;
    p->bias[i] = unit * form.levels.half * (float)sum;
}

void tq_page_query_round(const tq_code *code, tq_query_form form, const float *q, size_t n_q, void *prepared)
{
    tq_prepared *p = prepared;
    memset(p, 0, sizeof *p);
    p->rows_of_a_query = 1;
    for (size_t i = 0; i < n_q; i++) {
        p->rows_of_a_query = scale_of(code, form, q + i * code->dim).exact ? 2 : p->rows_of_a_query;
    }
    p->n_rows = n_q * p->rows_of_a_query;
    p->rows_of_a_group = 1;
    while (p->rows_of_a_group < p->n_rows && p->rows_of_a_group < TQ_QUERY_GROUP) {
        p->rows_of_a_group *= 2;
    }
    p->dwords_of_a_group = code->dim / 4 * p->rows_of_a_group;
    const size_t n_groups = (p->n_rows + TQ_QUERY_GROUP - 1) / TQ_QUERY_GROUP;
    memset(p->dwords, 0, n_groups * p->dwords_of_a_group * sizeof *p->dwords);
    for (size_t i = 0; i < n_q; i++) {
        store_query(code, form, q + i * code->dim, i, p);
    }
}

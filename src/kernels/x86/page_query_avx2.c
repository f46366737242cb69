/* SPDX-License-Identifier: MIT
 *
 * Queries become integers:
 *
 *     for i, for j: x[i][j] = 256 * rint(q[i][j] * 127 / max |q[i]|)          one row
 *                   x[i][j] = rint(q[i][j] * most / max |q[i]|)             two rows, words
 *                   x[i][j] = 256 high + low
 *
 * and are laid out as page_query_avx2.h says. Plain loops: it is done once for many pages. */
#include "kernels/x86/page_query_avx2.h"

#include "kernels/x86/pages_x86.h"

#include <math.h>
#include <string.h>

enum {
    MOST_OF_BYTE = 127,
    MOST_OF_ROWS = 256 * MOST_OF_BYTE,
    WORDS_LIMIT = 1 << 24 /* Of dim times a word, so that products with levels add up in 32 bits. */
};

/* A coordinate of more than this many rms makes a query exact. */
static const float PEAK = 4.5F;

bool tq_page_query_is_integer(const tq_code *code)
{
    return tq_page_is_tiled(code, TQ_PAGE_KEYS) && code->bits <= 4;
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

static bool has_peak(const float *q, size_t dim)
{
    const float largest = largest_of(q, dim);
    float sum = 0; /* Relative to the largest: squares neither overflow nor vanish. */
    for (size_t j = 0; j < dim && largest > 0; j++) {
        sum += (q[j] / largest) * (q[j] / largest);
    }
    return (float)dim > PEAK * PEAK * sum && largest > 0;
}

static int32_t round_to(float x, float largest, int most)
{
    return largest > 0 ? (int32_t)rintf(x / largest * (float)most) : 0;
}

static int32_t *dword_at(tq_prepared *p, size_t f, size_t r)
{
    const size_t n = p->rows_of_a_group;
    return p->dwords + r / n * p->dwords_of_a_group + f * n + r % n;
}

/* x is for byte b of field f, in row r: words. */
static void store_word(tq_prepared *p, size_t f, size_t b, size_t r, int32_t x)
{
    const int16_t word = (int16_t)x;
    memcpy((char *)dword_at(p, 2 * f + b % 2, r) + b / 2 * sizeof word, &word, sizeof word);
}

/* The same for bytes. */
static void store_byte(tq_prepared *p, size_t f, size_t b, size_t r, int32_t x, int offset)
{
    ((int8_t *)dword_at(p, f, r))[b] = (int8_t)x;
    p->start[r] -= offset * x;
}

static void store_query(const tq_code *code, tq_query_form form, const float *q, size_t i, tq_prepared *p)
{
    const size_t dim = code->dim;
    const bool one_row = !form.words && !has_peak(q, dim);
    const int fitting = WORDS_LIMIT / (int)dim;
    const int most = form.words && fitting < MOST_OF_ROWS ? fitting : MOST_OF_ROWS;
    const float largest = largest_of(q, dim);
    int32_t sum = 0;
    for (size_t f = 0; f < dim / 4; f++) {
        const size_t block = f / 8 * TQ_KEY_DIMS;
        const size_t step = block + TQ_KEY_DIMS <= dim ? 8 : 4; /* From one byte of the field to the next. */
        for (size_t b = 0; b < 4; b++) {
            const float y = q[block + f % 8 + step * b];
            const int32_t x = one_row ? 256 * round_to(y, largest, MOST_OF_BYTE) : round_to(y, largest, most);
            const int32_t high = (x + 128) >> 8;
            sum += x;
            if (form.words) {
                store_word(p, f, b, i, x);
                continue;
            }
            store_byte(p, f, b, i * p->rows_of_a_query, high, form.offset);
            if (p->rows_of_a_query == 2) {
                store_byte(p, f, b, 2 * i + 1, x - 256 * high, form.offset);
            }
        }
    }
    const float unit = largest / (float)most * form.levels.step / (float)dim;
    p->factor[i] = form.words || p->rows_of_a_query == 2 ? unit : 256 * unit;
    p->bias[i] = unit * form.levels.half * (float)sum;
}

void tq_page_query_round(const tq_code *code, tq_query_form form, const float *q, size_t n_q, void *prepared)
{
    tq_prepared *p = prepared;
    memset(p, 0, sizeof *p);
    p->rows_of_a_query = 1;
    for (size_t i = 0; i < n_q && !form.words; i++) {
        p->rows_of_a_query = has_peak(q + i * code->dim, code->dim) ? 2 : p->rows_of_a_query;
    }
    p->n_rows = n_q * p->rows_of_a_query;
    p->rows_of_a_group = 1;
    while (p->rows_of_a_group < p->n_rows && p->rows_of_a_group < TQ_QUERY_GROUP) {
        p->rows_of_a_group *= 2;
    }
    p->dwords_of_a_group = code->dim / 4 * p->rows_of_a_group * (form.words ? 2 : 1);
    const size_t n_groups = (p->n_rows + TQ_QUERY_GROUP - 1) / TQ_QUERY_GROUP;
    memset(p->dwords, 0, n_groups * p->dwords_of_a_group * sizeof *p->dwords);
    for (size_t i = 0; i < n_q; i++) {
        store_query(code, form, q + i * code->dim, i, p);
    }
}

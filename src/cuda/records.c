/* SPDX-License-Identifier: MIT
 *
 * Records to rows of docs/format.md, and back. */
#include "cuda/cuda.h"
#include "kernels/cuda/layout_cuda.h"

#include <string.h>

/* Where a side's parts lie in a record. */
typedef struct parts {
    tq_cuda_side_place place;
    int n_words; /* Of a lane. */
} parts;

static parts parts_of(tq_form form, bool values)
{
    const tq_side *side = values ? form.v : form.k;
    const int dim = (int)side->codec->code.dim;
    return (parts){tq_cuda_place_of_side(form, values),
                   tq_cuda_padded(dim) / 32 * tq_cuda_bits(side->codec->desc.format)};
}

/* Puts bits [0, width) of a value at bit `at` of a row. */
static void put_bits(uint8_t *row, size_t at, unsigned value, unsigned width)
{
    row[at / 8] |= (uint8_t)((value & ((1U << width) - 1)) << at % 8);
}

/* A code as a row stores it: the inverse of tq_cuda_row_code. */
static void put_code(int format, size_t dim, uint8_t *codes, size_t j, unsigned code)
{
    const unsigned bits = (unsigned)tq_cuda_bits(format);
    if (tq_cuda_is_trellis(format) || bits == 1) {
        for (unsigned plane = 0; plane < bits; plane++) {
            put_bits(codes + plane * ((dim + 7) / 8), j, code >> plane, 1);
        }
    } else if (bits == 3) {
        put_bits(codes, 2 * j, code, 2);
        put_bits(codes + (dim + 3) / 4, j, code >> 2, 1);
    } else {
        put_bits(codes, bits * j, code, bits);
    }
}

void tq_cuda_rows_from_record(tq_form form, bool values, const uint8_t *record, uint8_t *rows)
{
    const tq_side *side = values ? form.v : form.k;
    const tq_code *code = &side->codec->code;
    const int format = side->codec->desc.format;
    const parts p = parts_of(form, values);
    memset(rows, 0, TQ_CUDA_PAGE * code->row_bytes);
    for (int t = 0; t < TQ_CUDA_PAGE; t++) {
        const uint8_t *stage = record + t / TQ_CUDA_STAGE * p.place.stage_bytes;
        const int token = t % TQ_CUDA_STAGE;
        uint8_t *row = rows + (size_t)t * code->row_bytes;
        memcpy(row, stage + p.place.scales + 2 * token, 2);
        for (size_t j = 0; j < code->dim; j++) {
            put_code(format, code->dim, row + 2, j,
                     tq_cuda_unpack_code(format, (int)code->dim, values, stage + p.place.words, token, (int)j));
        }
    }
}

void tq_cuda_rows_to_record(tq_form form, bool values, const uint8_t *rows, uint8_t *record)
{
    const tq_side *side = values ? form.v : form.k;
    const tq_code *code = &side->codec->code;
    const int row_bytes = (int)code->row_bytes;
    const parts p = parts_of(form, values);
    for (int stage = 0; stage < 2; stage++) {
        const uint8_t *own = rows + stage * TQ_CUDA_STAGE * row_bytes;
        uint8_t *at = record + stage * p.place.stage_bytes;
        for (int i = 0; i < 32 * p.n_words; i++) {
            const uint32_t word = tq_cuda_pack_word(side->codec->desc.format, (int)code->dim, values, own, row_bytes,
                                                    i / p.n_words, i % p.n_words);
            memcpy(at + p.place.words + tq_cuda_word_at(p.n_words, i / p.n_words, i % p.n_words), &word, sizeof word);
        }
        for (int token = 0; token < TQ_CUDA_STAGE; token++) {
            memcpy(at + p.place.scales + 2 * token, own + token * row_bytes, 2);
        }
    }
}

size_t tq_cuda_mean_at(tq_form form, bool values)
{
    return (size_t)tq_cuda_place_of_side(form, values).mean;
}

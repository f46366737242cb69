/* SPDX-License-Identifier: MIT
 *
 * Records (layout_metal.h) to rows of docs/format.md, and back. */
#include "metal/metal.h"

#include <string.h>

size_t tq_metal_mean_of_record(tq_form form, bool values)
{
    return 2 * (size_t)tq_metal_mean_at(form.k->codec->desc.format, (int)form.k->codec->code.dim, values);
}

/* Copies the words of 64 rows, to or from a record's side. */
static void copy_words(const tq_side *side, bool values, uint8_t *rows, uint8_t *record, bool to_record)
{
    const int format = side->codec->desc.format;
    const int dim = (int)side->codec->code.dim;
    const int bits = tq_metal_bits(format);
    for (int t = 0; t < TQ_METAL_PAGE; t++) {
        uint8_t *row = rows + (size_t)t * side->codec->code.row_bytes;
        for (int u = -1; u < tq_metal_row_units(format, dim); u++) { /* -1 is the scale. */
            const int from = u < 0 ? 0 : 1 + tq_metal_row_unit(format, dim, u / bits, u % bits);
            const int to =
                u < 0 ? tq_metal_scales_at(dim) + t
                      : tq_metal_units_at(dim) + tq_metal_page_unit(format, dim, values, t, u / bits, u % bits);
            if (to_record) {
                memcpy(record + 2 * (size_t)to, row + 2 * (size_t)from, 2);
            } else {
                memcpy(row + 2 * (size_t)from, record + 2 * (size_t)to, 2);
            }
        }
    }
}

void tq_metal_rows_from_record(tq_form form, bool values, const uint8_t *record, uint8_t *rows)
{
    copy_words(values ? form.v : form.k, values, rows, (uint8_t *)record + tq_metal_mean_of_record(form, values),
               false);
}

void tq_metal_rows_to_record(tq_form form, bool values, const uint8_t *rows, uint8_t *record)
{
    copy_words(values ? form.v : form.k, values, (uint8_t *)rows, record + tq_metal_mean_of_record(form, values), true);
}

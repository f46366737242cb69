/* SPDX-License-Identifier: MIT
 *
 * Sizes that come from a caller, multiplied and added without wrapping round. */
#ifndef TQ_CHECKED_H
#define TQ_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if a * b fits a size_t; the product goes to *result. */
static inline bool tq_multiply_fits(size_t a, size_t b, size_t *result)
{
    if (b != 0 && a > SIZE_MAX / b) {
        return false;
    }
    *result = a * b;
    return true;
}

/* True if `rows` rows of `row` elements of `element` bytes, `stride` elements apart, can exist in memory: the stride is
 * no shorter than a row, and the last byte has an address distance that fits. */
static inline bool tq_rows_fit(size_t rows, size_t row, size_t stride, size_t element)
{
    size_t elements;
    size_t bytes;
    return stride >= row && tq_multiply_fits(rows, stride, &elements) && tq_multiply_fits(elements, element, &bytes) &&
           bytes <= PTRDIFF_MAX;
}

#endif /* TQ_CHECKED_H */

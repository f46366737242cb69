/* SPDX-License-Identifier: MIT
 *
 * What each format is made of. */
#ifndef TQ_FORMAT_H
#define TQ_FORMAT_H

#include "turboquant.h"

#include <stddef.h>

typedef enum tq_family {
    TQ_FAMILY_HALF,    /* fp16 elements */
    TQ_FAMILY_LLOYD,   /* scale and Lloyd-Max indices */
    TQ_FAMILY_TRELLIS, /* scale and the bit-planes of a trellis code */
    TQ_FAMILY_PROD     /* the same with one bit less, and a QJL sign of the residual per coordinate */
} tq_family;

typedef struct tq_format_info {
    tq_format format;
    const char *name;
    tq_family family;
    unsigned bits; /* Of one Lloyd-Max index, or of one coordinate of a trellis code. */
} tq_format_info;

enum { TQ_FORMATS = 12 }; /* How many there are, TQ_FORMAT_DEFAULT not counted. */

/* Null for a value that is no format, and for TQ_FORMAT_DEFAULT. */
const tq_format_info *tq_format_find(tq_format format);

/* Where a format stands in the list of tq_format_at; TQ_FORMATS if it is none. */
size_t tq_format_index(tq_format format);

#endif /* TQ_FORMAT_H */

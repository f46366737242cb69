/* SPDX-License-Identifier: MIT
 *
 * A codec: one vector format, with everything its kernels need. */
#ifndef TQ_CODEC_H
#define TQ_CODEC_H

#include "context.h"
#include "format.h"

struct tq_codec {
    const tq_context *context;
    tq_codec_desc desc; /* With defaults resolved. */
    tq_family family;
    tq_rotation_plan rotation; /* Empty for TQ_FAMILY_HALF. */
    tq_code code;              /* For TQ_FAMILY_HALF only dim and row_bytes. */
    float *projection;         /* S: [dim, dim], for TQ_FAMILY_PROD; else null. */
};

/* Bytes of a row of the codec that `desc` describes, by arithmetic alone; fails as tq_codec_create would. */
tq_status tq_codec_row_bytes(const tq_context *context, const tq_codec_desc *desc, size_t *bytes);

#endif /* TQ_CODEC_H */

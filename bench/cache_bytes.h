/* SPDX-License-Identifier: MIT */
/* What an encoded page of a cache takes. */
#ifndef TQ_BENCH_CACHE_BYTES_H
#define TQ_BENCH_CACHE_BYTES_H

#include "turboquant.h"

/* Bytes of one encoded page, all layers and heads of `desc`: what one page more adds to a sequence that is long enough
 * to have a full window. */
tq_status cache_page_bytes(const tq_context *context, const tq_cache_desc *desc, size_t *bytes);

#endif /* TQ_BENCH_CACHE_BYTES_H */

/* SPDX-License-Identifier: MIT */
/* What an encoded page of a cache takes, by its own estimate. */
#include "cache_bytes.h"

tq_status cache_page_bytes(const tq_context *context, const tq_cache_desc *desc, size_t *bytes)
{
    size_t shorter = 0;
    size_t longer = 0;
    tq_cache_desc windowless = *desc;
    windowless.recent_tokens = TQ_NO_RECENT_TOKENS;
    tq_status status = tq_cache_estimate(context, &windowless, (size_t)8 * TQ_PAGE_TOKENS, &shorter);
    if (status == TQ_OK) {
        status = tq_cache_estimate(context, &windowless, (size_t)9 * TQ_PAGE_TOKENS, &longer);
    }
    *bytes = longer - shorter;
    return status;
}

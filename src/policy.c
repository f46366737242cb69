/* SPDX-License-Identifier: MIT
 *
 * Which layer has which formats. */
#include "turboquant.h"

tq_status tq_policy_set(tq_layer_formats *layers, size_t n_layers, size_t first, size_t n, tq_layer_formats formats)
{
    if ((layers == NULL && n > 0) || first > n_layers || n > n_layers - first) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    for (size_t i = first; i < first + n; i++) {
        layers[i] = formats;
    }
    return TQ_OK;
}

tq_status tq_policy_protect(tq_layer_formats *layers, size_t n_layers, size_t protect,
                            tq_layer_formats protected_formats, tq_layer_formats other_formats)
{
    if (layers == NULL && n_layers > 0) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    for (size_t i = 0; i < n_layers; i++) {
        layers[i] = i < protect || n_layers - 1 - i < protect ? protected_formats : other_formats;
    }
    return TQ_OK;
}

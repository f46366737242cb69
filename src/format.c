/* SPDX-License-Identifier: MIT
 *
 * The list of formats. */
#include "format.h"

#include <string.h>

static const tq_format_info FORMATS[TQ_FORMATS] = {
    {TQ_FORMAT_F16, "f16", TQ_FAMILY_HALF, 0},
    {TQ_FORMAT_TURBO1, "turbo1", TQ_FAMILY_LLOYD, 1},
    {TQ_FORMAT_TURBO2, "turbo2", TQ_FAMILY_LLOYD, 2},
    {TQ_FORMAT_TURBO3, "turbo3", TQ_FAMILY_LLOYD, 3},
    {TQ_FORMAT_TURBO4, "turbo4", TQ_FAMILY_LLOYD, 4},
    {TQ_FORMAT_TURBO8, "turbo8", TQ_FAMILY_LLOYD, 8},
    {TQ_FORMAT_TURBO2_PROD, "turbo2-prod", TQ_FAMILY_PROD, 1},
    {TQ_FORMAT_TURBO3_PROD, "turbo3-prod", TQ_FAMILY_PROD, 2},
    {TQ_FORMAT_TURBO4_PROD, "turbo4-prod", TQ_FAMILY_PROD, 3},
    {TQ_FORMAT_TURBO2T, "turbo2t", TQ_FAMILY_TRELLIS, 2},
    {TQ_FORMAT_TURBO3T, "turbo3t", TQ_FAMILY_TRELLIS, 3},
    {TQ_FORMAT_TURBO4T, "turbo4t", TQ_FAMILY_TRELLIS, 4},
};

size_t tq_format_index(tq_format format)
{
    size_t i = 0;
    while (i < TQ_FORMATS && FORMATS[i].format != format) {
        i++;
    }
    return i;
}

const tq_format_info *tq_format_find(tq_format format)
{
    const size_t index = tq_format_index(format);
    return index < TQ_FORMATS ? &FORMATS[index] : NULL;
}

size_t tq_format_count(void)
{
    return TQ_FORMATS;
}

tq_format tq_format_at(size_t index)
{
    return index < TQ_FORMATS ? FORMATS[index].format : TQ_FORMAT_DEFAULT;
}

const char *tq_format_name(tq_format format)
{
    const tq_format_info *info = tq_format_find(format);
    return info == NULL ? NULL : info->name;
}

tq_status tq_format_parse(const char *name, tq_format *format)
{
    if (name == NULL || format == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    for (size_t i = 0; i < TQ_FORMATS; i++) {
        if (strcmp(FORMATS[i].name, name) == 0) {
            *format = FORMATS[i].format;
            return TQ_OK;
        }
    }
    return TQ_ERR_UNSUPPORTED;
}

/* SPDX-License-Identifier: MIT
 *
 * Status sentences and the version. */
#include "turboquant.h"

#define TEXT_OF(number) #number
#define TEXT(number)    TEXT_OF(number)

const char *tq_status_string(tq_status status)
{
    switch (status) {
    case TQ_OK:
        return "success";
    case TQ_ERR_INVALID_ARGUMENT:
        return "an argument is invalid";
    case TQ_ERR_UNSUPPORTED:
        return "this build or this machine does not support what was asked for";
    case TQ_ERR_OUT_OF_MEMORY:
        return "out of memory";
    case TQ_ERR_BUFFER_TOO_SMALL:
        return "a buffer is too small";
    case TQ_ERR_NONFINITE:
        return "the input contains a NaN or an infinity";
    case TQ_ERR_CORRUPT:
        return "stored data is corrupt";
    case TQ_ERR_BAD_VERSION:
        return "stored data has a version this library does not read";
    case TQ_ERR_BACKEND:
        return "the backend failed";
    case TQ_ERR_CAPACITY:
        return "a limit set by the caller has been reached";
    case TQ_ERR_IO:
        return "a file or a callback of the caller could not be read or written";
    default:
        return "unknown status";
    }
}

uint32_t tq_version_number(void)
{
    return TQ_VERSION_MAJOR * 10000 + TQ_VERSION_MINOR * 100 + TQ_VERSION_PATCH;
}

const char *tq_version_string(void)
{
    return TEXT(TQ_VERSION_MAJOR) "." TEXT(TQ_VERSION_MINOR) "." TEXT(TQ_VERSION_PATCH);
}

/* SPDX-License-Identifier: MIT
 *
 * Reading descriptions across versions. Every public desc begins with its size as the caller knew it: an older caller's
 * is shorter and the missing fields are zero, which means default; a newer caller's is longer and is accepted if it
 * asks for nothing this library does not know, that is if the rest is zero. */
#ifndef TQ_DESC_H
#define TQ_DESC_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Copies a caller's desc to `copy`, which has `known` bytes. `first` is the size of the desc in the first version that
 * had it; no caller can have less. False if struct_size makes no sense. */
static inline bool tq_desc_read(const void *desc, void *copy, size_t known, size_t first)
{
    size_t size;
    memcpy(&size, desc, sizeof size);
    if (size < first || size > 4096) {
        return false;
    }
    for (size_t i = known; i < size; i++) {
        if (((const char *)desc)[i] != 0) {
            return false;
        }
    }
    memset(copy, 0, known);
    memcpy(copy, desc, size < known ? size : known);
    return true;
}

/* Copies `known` bytes of a desc to the caller, as many as his struct_size allows; his struct_size stays. */
static inline bool tq_desc_write(const void *copy, void *desc, size_t known, size_t first)
{
    size_t size;
    memcpy(&size, desc, sizeof size);
    if (size < first || size > 4096) {
        return false;
    }
    const size_t used = size < known ? size : known;
    memcpy((char *)desc + sizeof size, (const char *)copy + sizeof size, used - sizeof size);
    memset((char *)desc + used, 0, size - used);
    return true;
}

#endif /* TQ_DESC_H */

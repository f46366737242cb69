/* SPDX-License-Identifier: MIT
 *
 * What the checked files use of Apple's C library, whose headers are not here. */
#ifndef TQ_STUB_STRING_H
#define TQ_STUB_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
size_t strlcpy(char *restrict to, const char *restrict from, size_t room);

#endif

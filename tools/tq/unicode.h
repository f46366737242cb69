/* SPDX-License-Identifier: MIT */
/* UTF-8, and the classes of characters that pre-tokenizers tell apart. */
#ifndef TQ_TOOL_UNICODE_H
#define TQ_TOOL_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unicode_range {
    uint32_t first;
    uint32_t last;
};

/* Ascending, not overlapping. */
extern const struct unicode_range unicode_letters[];
extern const size_t unicode_letters_count;
extern const struct unicode_range unicode_numbers[];
extern const size_t unicode_numbers_count;

/* What decoding gives for a byte that is no UTF-8: beyond all characters. */
#define UNICODE_INVALID 0xFFFFFFFFU

/* The character that begins text[0], of size >= 1 bytes; `*length` receives its bytes: 1 for what is no UTF-8. */
uint32_t unicode_decode(const char *text, size_t size, size_t *length);

bool unicode_is_letter(uint32_t point);
bool unicode_is_number(uint32_t point);
bool unicode_is_space(uint32_t point);

#endif /* TQ_TOOL_UNICODE_H */

/* SPDX-License-Identifier: MIT */
/* Cuts text into words, which are tokenised one by one. */
#ifndef TQ_TOOL_PRETOKENIZER_H
#define TQ_TOOL_PRETOKENIZER_H

#include <stddef.h>

/* Bytes of the word that text[0] begins, at least 1; size >= 1. Digits form groups of up to max_digits. */
size_t pretokenizer_word(const char *text, size_t size, size_t max_digits);

#endif /* TQ_TOOL_PRETOKENIZER_H */

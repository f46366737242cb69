/* SPDX-License-Identifier: MIT */
/* Values of JSON. */
#ifndef TQ_TOOL_JSON_H
#define TQ_TOOL_JSON_H

#include <stddef.h>
#include <stdio.h>

/* Text in quotes; bytes that are no UTF-8 become U+FFFD. */
void json_text(FILE *out, const char *text, size_t size);
void json_string(FILE *out, const char *text);

/* A number; null if it is not finite. */
void json_number(FILE *out, double number);

#endif /* TQ_TOOL_JSON_H */

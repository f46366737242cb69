/* SPDX-License-Identifier: MIT */
/* Two texts in columns. */
#ifndef TQ_TOOL_SIDE_BY_SIDE_H
#define TQ_TOOL_SIDE_BY_SIDE_H

#include <stddef.h>
#include <stdio.h>

/* Wraps both; between lines that differ stands a '*', else a '|'. */
void side_by_side(FILE *out, const char *left_heading, const char *left, size_t left_size, const char *right_heading,
                  const char *right, size_t right_size);

#endif /* TQ_TOOL_SIDE_BY_SIDE_H */

/* SPDX-License-Identifier: MIT */
/* Which backend does which operation of a context. */
#ifndef TQ_BENCH_OPERATIONS_H
#define TQ_BENCH_OPERATIONS_H

#include <stdio.h>

#include "turboquant.h"

/* A few lines: each backend with its operations. */
void operations_print(FILE *out, const tq_context *context);

/* A line with a comma: the key "kernels", an object that has a backend for each operation. */
void operations_json(FILE *out, const char *indent, const tq_context *context);

#endif /* TQ_BENCH_OPERATIONS_H */

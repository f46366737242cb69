/* SPDX-License-Identifier: MIT */
/* Which backend does which operation of a context, for people and for scripts. */
#include "operations.h"

#include <string.h>

#include "json.h"

enum { LONG_LINE = 100 };

/* One backend's operations, in lines of about equal length; nothing for a backend that has none. */
static void print_backend(FILE *out, const tq_context *context, const char *backend, const char **heading)
{
    const char *served_by;
    const char *operation;
    int length = 0; /* Of the line so far; 0 before the first. */
    for (size_t i = 0; (operation = tq_context_operation(context, i, &served_by)) != NULL; i++) {
        if (strcmp(served_by, backend) != 0) {
            continue;
        }
        if (length == 0) {
            length = fprintf(out, "%-9s %s:", *heading, backend);
            *heading = "";
        } else if (length > LONG_LINE) {
            length = fprintf(out, "\n%-9s", "");
        }
        length += fprintf(out, " %s", operation);
    }
    if (length > 0) {
        fputc('\n', out);
    }
}

void operations_print(FILE *out, const tq_context *context)
{
    const char *heading = "kernels:";
    for (size_t i = tq_backend_count(); i-- > 0;) {
        print_backend(out, context, tq_backend_name(i, NULL), &heading);
    }
}

void operations_json(FILE *out, const char *indent, const tq_context *context)
{
    const char *backend;
    const char *operation;
    fprintf(out, "%s\"kernels\": {", indent);
    for (size_t i = 0; (operation = tq_context_operation(context, i, &backend)) != NULL; i++) {
        fprintf(out, "%s\"%s\": \"%s\"", i == 0 ? "" : ", ", operation, backend);
    }
    fputs("},\n", out);
}

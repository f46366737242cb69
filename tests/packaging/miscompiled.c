/* SPDX-License-Identifier: MIT
 *
 * Exits with 0 if tq_context_create returns EXPECTED. */
#include <turboquant.h>

#include <stdio.h>

int main(void)
{
    tq_context *context = NULL;
    const tq_status status = tq_context_create(NULL, &context);
    tq_context_destroy(context);
    printf("tq_context_create: %s\n", tq_status_string(status));
    return status == EXPECTED ? 0 : 1;
}

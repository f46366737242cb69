/* SPDX-License-Identifier: MIT
 *
 * The context: the caller's memory, threads and log, and the kernels chosen for this machine. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* secure_getenv */
#endif

#include "context.h"
#include "desc.h"

#include <stdint.h>
#include <stdlib.h>

#if defined(_WIN32)
#include <malloc.h>
#endif

#include "checked.h"

enum { ALIGNMENT = 64 };

static void *default_alloc(void *user, size_t alignment, size_t size)
{
    (void)user;
#if defined(_WIN32)
    return _aligned_malloc(size, alignment);
#else
    const size_t rounded = (size + alignment - 1) / alignment * alignment;
    return rounded < size ? NULL : aligned_alloc(alignment, rounded);
#endif
}

static void default_free(void *user, void *memory)
{
    (void)user;
#if defined(_WIN32)
    _aligned_free(memory);
#else
    free(memory);
#endif
}

void *tq_allocate(const tq_allocator *allocator, size_t rows, size_t size)
{
    size_t bytes;
    if (!tq_multiply_fits(rows, size, &bytes) || bytes == 0) {
        return NULL;
    }
    void *memory = allocator->alloc(allocator->user, ALIGNMENT, bytes);
    if (memory != NULL) {
        memset(memory, 0, bytes);
    }
    return memory;
}

void tq_release(const tq_allocator *allocator, void *memory)
{
    if (memory != NULL) {
        allocator->free(allocator->user, memory);
    }
}

tq_status tq_fail(const tq_context *context, tq_status status, const char *sentence)
{
    if (context->log.message != NULL) {
        context->log.message(context->log.user, status, sentence);
    }
    return status;
}

void tq_run(const tq_context *context, tq_task task, void *arg, size_t count)
{
    if (context->executor.run != NULL && count > 1) {
        context->executor.run(context->executor.user, task, arg, count);
        return;
    }
    for (size_t index = 0; index < count; index++) {
        task(arg, index);
    }
}

/* The backend to ask for: the caller's choice, then the environment's, then null for the best. A program with raised
 * privileges does not listen to its environment. */
static const char *wanted_backend(const tq_context_desc *desc)
{
    if (desc->backend != NULL || (desc->flags & TQ_CONTEXT_IGNORE_ENV) != 0) {
        return desc->backend;
    }
#if defined(__GLIBC__)
    return secure_getenv("TURBOQUANT_BACKEND");
#else
    return getenv("TURBOQUANT_BACKEND");
#endif
}

tq_status tq_context_create(const tq_context_desc *desc, tq_context **context)
{
    tq_context_desc wish = TQ_CONTEXT_DESC_INIT;
    tq_context made = {{default_alloc, default_free, NULL}, {NULL, NULL}, {NULL, NULL}, {0}};
    if (context == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (desc != NULL && !tq_desc_read(desc, &wish, sizeof wish, sizeof(tq_context_desc))) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    made.log = wish.log;
    made.executor = wish.executor;
    if ((wish.allocator.alloc == NULL) != (wish.allocator.free == NULL)) {
        return tq_fail(&made, TQ_ERR_INVALID_ARGUMENT,
                       "tq_context_create: the allocator needs both functions or neither");
    }
    if ((wish.flags & ~(uint32_t)TQ_CONTEXT_IGNORE_ENV) != 0) {
        return tq_fail(&made, TQ_ERR_INVALID_ARGUMENT, "tq_context_create: unknown flag");
    }
    if (wish.allocator.alloc != NULL) {
        made.allocator = wish.allocator;
    }
    tq_status status = tq_kernels_select(wanted_backend(&wish), &made.kernels);
    if (status != TQ_OK) {
        return tq_fail(&made, status,
                       "tq_context_create: the backend asked for (desc.backend or TURBOQUANT_BACKEND) is unknown or "
                       "cannot run on this machine");
    }
    status = tq_selftest(&made);
    if (status != TQ_OK) {
        return tq_fail(&made, status,
                       status == TQ_ERR_BACKEND
                           ? "tq_context_create: the self-test encoded other bytes than it must; the library was "
                             "compiled with floating-point shortcuts such as -ffp-contract=fast"
                           : "tq_context_create: out of memory");
    }
    tq_context *result = tq_allocate(&made.allocator, 1, sizeof made);
    if (result == NULL) {
        return tq_fail(&made, TQ_ERR_OUT_OF_MEMORY, "tq_context_create: out of memory");
    }
    *result = made;
    *context = result;
    return TQ_OK;
}

void tq_context_destroy(tq_context *context)
{
    if (context != NULL) {
        const tq_allocator allocator = context->allocator;
        tq_release(&allocator, context);
    }
}

const char *tq_context_backend(const tq_context *context)
{
    return context == NULL ? NULL : context->kernels.backend;
}

const char *tq_context_operation(const tq_context *context, size_t index, const char **backend)
{
    static const char *const names[TQ_OPERATION_COUNT] = {
#define X(name, contract, result, arguments) #name,
#include "kernels/kernels.def"
#undef X
    };
    if (context == NULL || index >= TQ_OPERATION_COUNT) {
        return NULL;
    }
    if (backend != NULL) {
        *backend = context->kernels.served_by[index];
    }
    return names[index];
}

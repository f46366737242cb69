/* SPDX-License-Identifier: MIT */
#include "device_pair.h"

#include <stdio.h>

static void print_failure(void *user, tq_status status, const char *sentence)
{
    (void)user;
    printf("  %d: %s\n", (int)status, sentence);
}

tq_context *open_backend(const char *name)
{
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    tq_context *context = NULL;
    desc.backend = name;
    desc.log.message = print_failure;
    assert_status(tq_context_create(&desc, &context), TQ_OK);
    assert_string_equal(tq_context_backend(context), name);
    return context;
}

struct pair open_pair(const char *device, const tq_cache_desc *desc)
{
    struct pair pair = {{open_backend("scalar"), open_backend(device)}, {NULL, NULL}, *desc};
    for (int i = 0; i < 2; i++) {
        pair.caches[i] = open_cache(pair.contexts[i], desc);
    }
    return pair;
}

void close_pair(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        tq_cache_destroy(pair->caches[i]);
        tq_context_destroy(pair->contexts[i]);
    }
}

void open_seqs(struct pair *pair, tq_seq *seqs[2])
{
    for (int i = 0; i < 2; i++) {
        seqs[i] = open_seq(pair->caches[i]);
    }
}

void assert_stored_alike(struct pair *pair, tq_seq *const seqs[2])
{
    struct bytes files[2];
    for (int i = 0; i < 2; i++) {
        files[i] = save_bytes(pair->caches[i], seqs[i]);
    }
    assert_bytes_equal(&files[1], &files[0], "saved on the device");
    bytes_free(&files[0]);
    bytes_free(&files[1]);
}

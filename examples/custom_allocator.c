/* SPDX-License-Identifier: MIT
 *
 * Gives the library an allocator that counts: what handles cost, and that encoding allocates nothing. */
#include <turboquant.h>

#include <stdio.h>
#include <stdlib.h>

enum { DIM = 128 };

typedef struct counter {
    size_t bytes, allocations, frees;
} counter;

static void *counted_alloc(void *user, size_t alignment, size_t size)
{
    counter *count = user;
    count->allocations++;
    count->bytes += size;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void counted_free(void *user, void *memory)
{
    counter *count = user;
    count->frees++;
    free(memory);
}

int main(void)
{
    counter count = {0, 0, 0};
    tq_context_desc context_desc = TQ_CONTEXT_DESC_INIT;
    context_desc.allocator.alloc = counted_alloc;
    context_desc.allocator.free = counted_free;
    context_desc.allocator.user = &count;

    tq_context *context;
    if (tq_context_create(&context_desc, &context) != TQ_OK) {
        return 1;
    }
    printf("context: %zu bytes\n", count.bytes);

    const size_t before = count.bytes;
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    desc.dim = DIM;
    desc.format = TQ_FORMAT_TURBO3;
    tq_codec *codec;
    if (tq_codec_create(context, &desc, &codec) != TQ_OK) {
        return 1;
    }
    printf("codec:   %zu bytes\n", count.bytes - before);

    const size_t created = count.allocations;
    const float x[DIM] = {1, 2, 3};
    unsigned char code[DIM];
    int failed = tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, code, sizeof code) != TQ_OK;
    printf("encode:  %zu allocations\n", count.allocations - created);
    failed |= created == 0 || count.allocations != created;

    tq_codec_destroy(codec);
    tq_context_destroy(context);
    printf("%zu allocations, %zu frees\n", count.allocations, count.frees);
    return failed || count.allocations != count.frees;
}

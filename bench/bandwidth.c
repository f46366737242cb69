/* SPDX-License-Identifier: MIT */
/* Reads memory with the widest loads of the instruction set that this file is compiled for, prefetched. */
#include "bandwidth.h"

#include "lanes.h"

enum { WIDTH = LANES * sizeof(float), LOADS = BANDWIDTH_STEP / WIDTH, LINE = 64, AHEAD = 4096 };

typedef uint64_t register_words __attribute__((vector_size(WIDTH)));

uint64_t FOR_THIS_SET(bandwidth_read)(const void *memory, size_t bytes)
{
    const uint8_t *p = memory;
    register_words seen[4] = {{0}}; /* Several, so that no load waits for the one before it. */
    for (size_t i = 0; i + BANDWIDTH_STEP <= bytes; i += BANDWIDTH_STEP) {
        const size_t ahead = i + AHEAD + BANDWIDTH_STEP <= bytes ? i + AHEAD : i;
        for (size_t j = 0; j < BANDWIDTH_STEP; j += LINE) {
            __builtin_prefetch(p + ahead + j);
        }
        for (size_t j = 0; j < LOADS; j++) {
            register_words x;
            memcpy(&x, p + i + j * WIDTH, sizeof x);
            seen[j % 4] ^= x;
        }
    }
    const register_words all = (seen[0] ^ seen[1]) ^ (seen[2] ^ seen[3]);
    uint64_t folded = 0;
    for (size_t j = 0; j < WIDTH / sizeof folded; j++) {
        folded ^= all[j];
    }
    return folded;
}

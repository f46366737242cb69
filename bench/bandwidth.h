/* SPDX-License-Identifier: MIT */
/* How fast memory can be read: the roof over every attention that must read its cache. */
#ifndef TQ_BENCH_BANDWIDTH_H
#define TQ_BENCH_BANDWIDTH_H

#include <stddef.h>
#include <stdint.h>

enum { BANDWIDTH_STEP = 256 }; /* What is left over after a multiple of this many bytes is not read. */

/* Reads memory once, from its beginning to its end, and does nothing else; returns something that depends on every
 * byte. One copy per instruction set. */
uint64_t bandwidth_read_portable(const void *memory, size_t bytes);
uint64_t bandwidth_read_avx2(const void *memory, size_t bytes);
uint64_t bandwidth_read_avx512(const void *memory, size_t bytes);

#endif /* TQ_BENCH_BANDWIDTH_H */

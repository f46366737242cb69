/* SPDX-License-Identifier: MIT
 *
 * What the unit tests share: deterministic numbers, guarded buffers, a failing allocator, a log, an executor, and
 * half-precision conversions that owe nothing to the library.
 *
 * cmocka's assertions may be used on the main thread only; worker threads count what is wrong instead. */
#ifndef TQ_TESTS_SUPPORT_H
#define TQ_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "turboquant.h"

/* Builds with sanitisers set TQ_QUICK=1, people may set the environment variable TQ_TEST_QUICK: both ask for fewer
 * vectors. Bands that are statistical widen with the standard error, nothing else changes. */
int quick(void);

/* Bytes that guarded buffers keep from the inaccessible page behind them: none, except that with TQ_TEST_EMULATED in
 * the environment they are those of a masked load. qemu 7.2 loads what the mask leaves out, which processors do not. */
size_t guard_distance(void);

/* Statuses. */

#define assert_status(call, expected) support_assert_status((call), (expected), #call, __FILE__, __LINE__)
void support_assert_status(tq_status got, tq_status expected, const char *call, const char *file, int line);

/* Fails, with both numbers in the message, unless |value - expected| <= tolerance. NaN fails. */
#define assert_close(value, expected, tolerance, ...)                                                                  \
    support_assert_close((value), (expected), (tolerance), __FILE__, __LINE__, __VA_ARGS__)
void support_assert_close(double value, double expected, double tolerance, const char *file, int line,
                          const char *format, ...) __attribute__((format(printf, 6, 7)));

/* Numbers: SplitMix64, and Gaussians by Box and Muller. */

struct rng {
    uint64_t state;
    double spare;
    int has_spare;
};

struct rng rng_seeded(uint64_t seed);
uint64_t rng_word(struct rng *rng);
double rng_uniform(struct rng *rng); /* (0, 1) */
double rng_gauss(struct rng *rng);
void rng_fill_gauss(struct rng *rng, float *x, size_t n);
void rng_fill_bytes(struct rng *rng, void *memory, size_t size);

/* Double-precision references. */

double norm_of(const float *x, size_t n);
double dot_of(const float *a, const float *b, size_t n);

uint16_t f16_from_double(double value); /* to nearest even, saturating at +-65504 */
double f16_to_double(uint16_t half);
uint16_t bf16_from_double(double value); /* to nearest even, saturating */
double bf16_to_double(uint16_t half);

size_t dtype_size(tq_dtype dtype);
/* Element i of an array of `dtype`. */
double element_of(const void *array, tq_dtype dtype, size_t i);
void element_set(void *array, tq_dtype dtype, size_t i, double value);

/* Buffers that fault. size may be 0. The rest of the page holds a pattern that guarded_check compares. */

struct guarded {
    unsigned char *data;
    size_t size;
    unsigned char *map;
    size_t map_size;
};

/* Data ends where an inaccessible page begins (guard_distance). */
struct guarded guarded_end(size_t size);
/* Data begins where an inaccessible page ends. */
struct guarded guarded_start(size_t size);
/* Releases the pages; fails if a byte of them beside the data was written. */
void guarded_release(struct guarded *buffer);

/* An array of heap memory, filled with a pattern; never null, also for size 0. */
void *filled(size_t size);
#define FILL_BYTE 0xA5
/* 1 if every byte is still FILL_BYTE. */
int still_filled(const void *memory, size_t size);

/* An allocator that counts, checks the promises of tq_allocator, and fails on request. It returns memory that is not
 * aligned better than it was asked for. */

struct counting_allocator {
    size_t calls;       /* of alloc, so far */
    size_t fail_at;     /* 1: the first call fails; 0: none does */
    int fail_from;      /* also all calls after it */
    size_t live_blocks; /* allocated, not yet freed */
    size_t live_bytes;
    size_t broken_promises; /* size 0, a strange alignment, null freed */
};

tq_allocator counting_allocator_hooks(struct counting_allocator *counting);

/* A log that remembers its last message. */

struct log_record {
    size_t calls;
    tq_status status;
    char sentence[512];
};

tq_log log_record_hooks(struct log_record *record);

/* An executor that runs the tasks on 4 threads. */
tq_executor threaded_executor(void);

/* Objects. */

tq_context *open_context(void);
tq_codec_desc codec_desc(uint32_t dim, tq_format format);
tq_codec *open_codec_desc(const tq_context *context, const tq_codec_desc *desc);
tq_codec *open_codec(const tq_context *context, uint32_t dim, tq_format format);

int is_prod(tq_format format);
int is_trellis(tq_format format);
/* Bits of codes and signs per coordinate; 16 for f16. */
unsigned bits_of(tq_format format);
/* Bytes of a row, from docs/format.md and not from the library. */
size_t row_bytes(tq_format format, size_t dim);

/* Dimensions that the tests walk: what models use, and what breaks kernels. */
extern const uint32_t TEST_DIMS[];
extern const size_t N_TEST_DIMS;
/* A dense rotation of 1000 dimensions takes long to draw, so only three formats are walked there; trellis formats exist
 * for multiples of 8. */
int is_walked(uint32_t dim, tq_format format);

/* Group fixture: *state is a context. */
int setup_context(void **state);
int teardown_context(void **state);

#endif

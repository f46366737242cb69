/* SPDX-License-Identifier: MIT
 *
 * What the unit tests share; see support.h. */
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int quick(void)
{
#if defined(TQ_QUICK) && TQ_QUICK
    return 1;
#else
    return getenv("TQ_TEST_QUICK") != NULL;
#endif
}

size_t guard_distance(void)
{
    return getenv("TQ_TEST_EMULATED") != NULL ? 64 : 0;
}

void support_assert_status(tq_status got, tq_status expected, const char *call, const char *file, int line)
{
    if (got != expected) {
        print_error("%s\n    returned %d (%s)\n    expected %d (%s)\n", call, (int)got, tq_status_string(got),
                    (int)expected, tq_status_string(expected));
        _fail(file, line);
    }
}

void support_assert_close(double value, double expected, double tolerance, const char *file, int line,
                          const char *format, ...)
{
    if (!(fabs(value - expected) <= tolerance)) {
        char what[256];
        va_list args;
        va_start(args, format);
        vsnprintf(what, sizeof what, format, args);
        va_end(args);
        print_error("%s: %.9g, expected %.9g +- %.3g\n", what, value, expected, tolerance);
        _fail(file, line);
    }
}

/* Numbers */

struct rng rng_seeded(uint64_t seed)
{
    return (struct rng){.state = seed};
}

uint64_t rng_word(struct rng *rng)
{
    uint64_t z = rng->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

double rng_uniform(struct rng *rng)
{
    return ((double)(rng_word(rng) >> 12) + 0.5) * 0x1p-52;
}

double rng_gauss(struct rng *rng)
{
    if (rng->has_spare) {
        rng->has_spare = 0;
        return rng->spare;
    }
    const double radius = sqrt(-2.0 * log(rng_uniform(rng)));
    const double angle = 6.283185307179586 * rng_uniform(rng);
    rng->spare = radius * sin(angle);
    rng->has_spare = 1;
    return radius * cos(angle);
}

void rng_fill_gauss(struct rng *rng, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)rng_gauss(rng);
    }
}

void rng_fill_bytes(struct rng *rng, void *memory, size_t size)
{
    unsigned char *bytes = memory;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(rng_word(rng) >> 56);
    }
}

/* References */

double norm_of(const float *x, size_t n)
{
    return sqrt(dot_of(x, x, n));
}

double dot_of(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

/* Rounds |value| to a float of `mantissa` explicit bits and smallest normal exponent `min_exponent`, and packs it. The
 * quotient and its rounding are exact in double, whose rounding mode is to nearest even. */
static uint16_t pack_half(double value, int mantissa, int min_exponent, double largest)
{
    const unsigned sign = signbit(value) ? 0x8000u : 0u;
    double magnitude = fmin(fabs(value), largest);
    int exponent = min_exponent;
    if (magnitude >= ldexp(1.0, min_exponent)) {
        exponent = ilogb(magnitude);
    }
    const double steps = nearbyint(ldexp(magnitude, mantissa - exponent));
    /* Adding, not or-ing, carries a rounding up into the next exponent; subnormals have no implicit one. */
    const unsigned biased = (unsigned)(exponent - min_exponent) << mantissa;
    unsigned magnitude_bits = biased + (unsigned)steps;
    const unsigned largest_bits = mantissa == 10 ? 0x7BFFu : 0x7F7Fu;
    if (magnitude_bits > largest_bits) {
        magnitude_bits = largest_bits;
    }
    return (uint16_t)(sign | magnitude_bits);
}

static double unpack_half(uint16_t half, int mantissa, int min_exponent)
{
    const unsigned magnitude = half & 0x7FFFu;
    const unsigned field = magnitude >> mantissa;
    const unsigned fraction = magnitude & ((1u << mantissa) - 1u);
    const unsigned field_max = 0x7FFFu >> mantissa;
    double value;
    if (field == field_max) {
        value = fraction ? (double)NAN : (double)INFINITY;
    } else if (field == 0) {
        value = ldexp((double)fraction, min_exponent - mantissa);
    } else {
        value = ldexp((double)(fraction + (1u << mantissa)), min_exponent - mantissa + (int)field - 1);
    }
    return half & 0x8000u ? -value : value;
}

uint16_t f16_from_double(double value)
{
    return pack_half(value, 10, -14, 65504.0);
}

double f16_to_double(uint16_t half)
{
    return unpack_half(half, 10, -14);
}

uint16_t bf16_from_double(double value)
{
    return pack_half(value, 7, -126, 0x1.FEp127);
}

double bf16_to_double(uint16_t half)
{
    return unpack_half(half, 7, -126);
}

size_t dtype_size(tq_dtype dtype)
{
    return dtype == TQ_DTYPE_F32 ? 4 : 2;
}

double element_of(const void *array, tq_dtype dtype, size_t i)
{
    if (dtype == TQ_DTYPE_F32) {
        float value;
        memcpy(&value, (const char *)array + 4 * i, sizeof value);
        return (double)value;
    }
    uint16_t half;
    memcpy(&half, (const char *)array + 2 * i, sizeof half);
    return dtype == TQ_DTYPE_F16 ? f16_to_double(half) : bf16_to_double(half);
}

void element_set(void *array, tq_dtype dtype, size_t i, double value)
{
    if (dtype == TQ_DTYPE_F32) {
        const float single = (float)value;
        memcpy((char *)array + 4 * i, &single, sizeof single);
        return;
    }
    const uint16_t half = dtype == TQ_DTYPE_F16 ? f16_from_double(value) : bf16_from_double(value);
    memcpy((char *)array + 2 * i, &half, sizeof half);
}

/* Buffers */

static struct guarded guarded_map(size_t size, int at_end)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t distance = at_end ? guard_distance() : 0;
    const size_t body = (size + distance + page - 1) / page * page;
    struct guarded buffer = {.size = size, .map_size = body + 2 * page};
    void *map = mmap(NULL, buffer.map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    buffer.map = map;
    memset(buffer.map, FILL_BYTE, buffer.map_size);
    assert_int_equal(mprotect(buffer.map, page, PROT_NONE), 0);
    assert_int_equal(mprotect(buffer.map + page + body, page, PROT_NONE), 0);
    buffer.data = buffer.map + page + (at_end ? body - size - distance : 0);
    return buffer;
}

struct guarded guarded_end(size_t size)
{
    return guarded_map(size, 1);
}

struct guarded guarded_start(size_t size)
{
    return guarded_map(size, 0);
}

void guarded_release(struct guarded *buffer)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const unsigned char *body = buffer->map + page;
    const size_t before = (size_t)(buffer->data - body);
    assert_true(still_filled(body, before));
    assert_true(still_filled(buffer->data + buffer->size, buffer->map_size - 2 * page - before - buffer->size));
    munmap(buffer->map, buffer->map_size);
    *buffer = (struct guarded){0};
}

void *filled(size_t size)
{
    void *memory = malloc(size ? size : 1);
    assert_non_null(memory);
    memset(memory, FILL_BYTE, size);
    return memory;
}

int still_filled(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != FILL_BYTE) {
            return 0;
        }
    }
    return 1;
}

/* Allocator. A block is: the base that free wants, padding, the size, the bytes of the caller. */

static void *counting_alloc(void *user, size_t alignment, size_t size)
{
    struct counting_allocator *counting = user;
    counting->calls++;
    if (size == 0 || alignment == 0 || alignment > 64 || (alignment & (alignment - 1)) != 0) {
        counting->broken_promises++;
    }
    if (counting->fail_at != 0 &&
        (counting->calls == counting->fail_at || (counting->fail_from && counting->calls > counting->fail_at))) {
        return NULL;
    }
    void *base;
    if (posix_memalign(&base, 128, 128 + size) != 0) {
        return NULL;
    }
    /* At an odd multiple of the alignment. */
    char *memory = (char *)base + (alignment < 64 ? 64 + alignment : 64);
    memset(memory, FILL_BYTE, size);
    memcpy(memory - sizeof base, &base, sizeof base);
    memcpy(memory - sizeof base - sizeof size, &size, sizeof size);
    counting->live_blocks++;
    counting->live_bytes += size;
    return memory;
}

static void counting_free(void *user, void *memory)
{
    struct counting_allocator *counting = user;
    if (memory == NULL) {
        counting->broken_promises++;
        return;
    }
    void *base;
    size_t size;
    memcpy(&base, (char *)memory - sizeof base, sizeof base);
    memcpy(&size, (char *)memory - sizeof base - sizeof size, sizeof size);
    counting->live_blocks--;
    counting->live_bytes -= size;
    free(base);
}

tq_allocator counting_allocator_hooks(struct counting_allocator *counting)
{
    return (tq_allocator){counting_alloc, counting_free, counting};
}

/* Log */

static void record_message(void *user, tq_status status, const char *sentence)
{
    struct log_record *record = user;
    record->calls++;
    record->status = status;
    snprintf(record->sentence, sizeof record->sentence, "%s", sentence);
}

tq_log log_record_hooks(struct log_record *record)
{
    return (tq_log){record_message, record};
}

/* Executor */

struct job {
    tq_task task;
    void *arg;
    size_t count;
    atomic_size_t next;
};

static void *job_worker(void *user)
{
    struct job *job = user;
    for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->count;) {
        job->task(job->arg, i);
    }
    return NULL;
}

static void run_threaded(void *user, tq_task task, void *arg, size_t count)
{
    (void)user;
    enum { N_THREADS = 4 };
    struct job job = {.task = task, .arg = arg, .count = count};
    pthread_t threads[N_THREADS];
    int started = 0;
    while (started < N_THREADS && pthread_create(&threads[started], NULL, job_worker, &job) == 0) {
        started++;
    }
    job_worker(&job);
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
}

tq_executor threaded_executor(void)
{
    return (tq_executor){run_threaded, NULL};
}

/* Objects */

tq_context *open_context(void)
{
    tq_context *context = NULL;
    assert_status(tq_context_create(NULL, &context), TQ_OK);
    assert_non_null(context);
    return context;
}

tq_codec_desc codec_desc(uint32_t dim, tq_format format)
{
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    desc.dim = dim;
    desc.format = format;
    return desc;
}

tq_codec *open_codec_desc(const tq_context *context, const tq_codec_desc *desc)
{
    tq_codec *codec = NULL;
    assert_status(tq_codec_create(context, desc, &codec), TQ_OK);
    assert_non_null(codec);
    return codec;
}

tq_codec *open_codec(const tq_context *context, uint32_t dim, tq_format format)
{
    const tq_codec_desc desc = codec_desc(dim, format);
    return open_codec_desc(context, &desc);
}

int is_prod(tq_format format)
{
    return format == TQ_FORMAT_TURBO2_PROD || format == TQ_FORMAT_TURBO3_PROD || format == TQ_FORMAT_TURBO4_PROD;
}

int is_trellis(tq_format format)
{
    return format == TQ_FORMAT_TURBO2T || format == TQ_FORMAT_TURBO3T || format == TQ_FORMAT_TURBO4T;
}

unsigned bits_of(tq_format format)
{
    switch (format) {
    case TQ_FORMAT_F16:
        return 16;
    case TQ_FORMAT_TURBO1:
        return 1;
    case TQ_FORMAT_TURBO2:
    case TQ_FORMAT_TURBO2_PROD:
    case TQ_FORMAT_TURBO2T:
        return 2;
    case TQ_FORMAT_TURBO3:
    case TQ_FORMAT_TURBO3_PROD:
    case TQ_FORMAT_TURBO3T:
        return 3;
    case TQ_FORMAT_TURBO4:
    case TQ_FORMAT_TURBO4_PROD:
    case TQ_FORMAT_TURBO4T:
        return 4;
    case TQ_FORMAT_TURBO8:
        return 8;
    default:
        fail_msg("format %d is new: teach the tests its size", (int)format);
        return 0;
    }
}

static size_t plane(size_t dim, size_t bits)
{
    return (dim * bits + 7) / 8;
}

size_t row_bytes(tq_format format, size_t dim)
{
    const unsigned bits = bits_of(format);
    if (format == TQ_FORMAT_F16) {
        return 2 * dim;
    }
    if (is_trellis(format)) {
        return 2 + bits * plane(dim, 1);
    }
    if (is_prod(format)) {
        return 2 + row_bytes(TQ_FORMAT_TURBO1 + (tq_format)bits - 2, dim) + plane(dim, 1);
    }
    return 2 + (bits == 3 ? plane(dim, 2) + plane(dim, 1) : plane(dim, bits));
}

const uint32_t TEST_DIMS[] = {1,   2,   3,   5,   7,   8,   15,  16,  17,  64,  80,   96,
                              112, 128, 144, 160, 192, 224, 256, 320, 512, 576, 1000, 1024};
const size_t N_TEST_DIMS = sizeof TEST_DIMS / sizeof TEST_DIMS[0];

int is_walked(uint32_t dim, tq_format format)
{
    if (is_trellis(format) && dim % 8 != 0) {
        return 0;
    }
    return dim != 1000 || format == TQ_FORMAT_F16 || format == TQ_FORMAT_TURBO3 || format == TQ_FORMAT_TURBO4_PROD;
}

int setup_context(void **state)
{
    *state = open_context();
    return 0;
}

int teardown_context(void **state)
{
    tq_context_destroy(*state);
    return 0;
}

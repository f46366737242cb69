/* SPDX-License-Identifier: MIT
 *
 * Drawing, guarding and comparing the arguments of kernels; see trial.h. */
#include "trial.h"

#include "half.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* --- drawing ----------------------------------------------------------------------------------------------------- */

size_t draw(trial *t, size_t below)
{
    return (size_t)(rng_word(&t->rng) % below);
}

float draw_bell(trial *t)
{
    const uint64_t word = rng_word(&t->rng);
    const int sum = (int)((word & 0xFFFF) + (word >> 16 & 0xFFFF) + (word >> 32 & 0xFFFF) + (word >> 48)) - 0x1FFFE;
    return (float)sum * 0x1.BB68p-16F; /* The variance of four uniform numbers is 1/3. */
}

/* Cuts off what does not fit. */
static void append(char *text, size_t size, const char *format, va_list args)
{
    const size_t used = strlen(text);
    vsnprintf(text + used, size - used, format, args);
}

void describe(trial *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    append(t->shape, sizeof t->shape, format, args);
    va_end(args);
}

void label(trial *t, const char *format, ...)
{
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    append(t->shape, sizeof t->shape, format, args);
    append(t->label, sizeof t->label, format, again);
    va_end(again);
    va_end(args);
}

size_t draw_rows(trial *t, size_t most)
{
    static const size_t counts[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, MAX_ROWS};
    size_t n;
    do {
        n = t->bench != NULL ? BENCH_ROWS : counts[draw(t, sizeof counts / sizeof *counts)];
    } while (n > most);
    describe(t, ", %zu rows", n);
    t->elements *= n;
    return n;
}

size_t draw_queries(trial *t, size_t most)
{
    const size_t n = t->bench != NULL ? bench_queries(t) : draw(t, most + 1);
    label(t, ", %zu queries", n);
    t->elements *= n;
    return n;
}

size_t draw_stride(trial *t, size_t n)
{
    const size_t stride = t->bench != NULL ? n : n + draw(t, 2) * draw(t, 20);
    describe(t, ", stride %zu", stride);
    return stride;
}

void fill_floats(trial *t, float *x, size_t n)
{
    const float small_or_large = draw(t, 2) ? 0x1p93F : 0x1p-93F;
    const float scale = t->class == EXTREMES ? small_or_large : ldexpf(1, (int)draw(t, 20) - 10);
    const bool all_zero = draw(t, 2);
    for (size_t i = 0; i < n; i++) {
        const float value = scale * draw_bell(t);
        const uint32_t bits = (uint32_t)rng_word(&t->rng);
        switch (t->class) {
        case ZEROS:
            x[i] = all_zero || bits & 1 ? (bits & 2 ? -0.0F : 0.0F) : value;
            break;
        case DENORMALS:
            x[i] = tq_f32_from_bits(bits & 0x807FFFFF);
            break;
        case TIES: /* Few bits: sums are exact, and often equal. */
            x[i] = scale * (float)((int)(bits % 9) - 4);
            break;
        default:
            x[i] = value;
            break;
        }
    }
    if (t->class == OUTLIER && n > 0) {
        x[draw(t, n)] *= 0x1p20F;
    }
}

/* --- buffers ----------------------------------------------------------------------------------------------------- */

/* Regions of memory between inaccessible pages, mapped once. */
enum { REGIONS = 32, REGION_BYTES = 8 << 20, SLACK = 512, CANARY = 0xA5 };

typedef struct region {
    const char *name;
    unsigned char *body;
    unsigned char *data;
    size_t bytes;
} region;

static region regions[REGIONS];
static size_t regions_used;

static unsigned char *map_body(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *map =
        mmap(NULL, REGION_BYTES + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED || mprotect(map, page, PROT_NONE) != 0 ||
        mprotect(map + page + REGION_BYTES, page, PROT_NONE) != 0) {
        perror("test_kernels: mmap");
        exit(2);
    }
    return map + page;
}

static size_t slack_before(const region *r)
{
    const size_t before = (size_t)(r->data - r->body);
    return before < SLACK ? before : SLACK;
}

static size_t slack_behind(const region *r)
{
    const size_t behind = (size_t)(r->body + REGION_BYTES - (r->data + r->bytes));
    return behind < SLACK ? behind : SLACK;
}

void *input(trial *t, const char *name, size_t bytes, size_t alignment)
{
    if (regions_used == REGIONS || bytes + 2 * alignment + guard_distance() > REGION_BYTES) {
        fprintf(stderr, "test_kernels: %s needs more buffers, or larger ones, than trial.c has\n", t->op);
        exit(2);
    }
    region *r = &regions[regions_used++];
    if (r->body == NULL) {
        r->body = map_body();
    }
    const size_t places[] = {0, alignment, (REGION_BYTES - guard_distance() - bytes) / alignment * alignment};
    r->name = name;
    r->bytes = bytes;
    r->data = r->body + places[t->bench != NULL ? 0 : draw(t, 3)];
    memset(r->data - slack_before(r), CANARY, slack_before(r));
    memset(r->data + bytes, CANARY, slack_behind(r));
    return r->data;
}

float *input_floats(trial *t, const char *name, size_t n)
{
    return input_matrix(t, name, 1, n, n);
}

size_t matrix_floats(size_t n_rows, size_t n, size_t stride)
{
    return n_rows == 0 ? 0 : (n_rows - 1) * stride + n;
}

float *input_matrix(trial *t, const char *name, size_t n_rows, size_t n, size_t stride)
{
    const size_t count = matrix_floats(n_rows, n, stride);
    float *x = input(t, name, count * sizeof *x, sizeof *x);
    for (size_t i = 0; i < count; i++) {
        x[i] = NAN;
    }
    for (size_t i = 0; i < n_rows; i++) {
        fill_floats(t, x + i * stride, n);
    }
    return x;
}

const void *input_copy(trial *t, const char *name, const void *from, size_t bytes, size_t alignment)
{
    void *copy = input(t, name, bytes, alignment);
    memcpy(copy, from, bytes);
    return copy;
}

output *output_bytes(trial *t, const char *name, size_t bytes, size_t alignment)
{
    output *out = &t->outputs[t->n_outputs++];
    out->name = name;
    out->bytes = bytes;
    out->expected = input(t, name, bytes, alignment);
    out->actual = input(t, name, bytes, alignment);
    out->unit = NULL;
    out->data = out->expected;
    memset(out->data, CANARY, bytes);
    return out;
}

output *output_floats(trial *t, const char *name, size_t n)
{
    output *out = output_bytes(t, name, n * sizeof(float), sizeof(float));
    out->unit = calloc(n + 1, sizeof *out->unit);
    return out;
}

static void complain(trial *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(trial *t, const char *format, ...)
{
    if (t->problem[0] == '\0') {
        va_list args;
        va_start(args, format);
        vsnprintf(t->problem, PROBLEM_BYTES, format, args);
        va_end(args);
    }
}

static void check_canaries(trial *t)
{
    for (size_t i = 0; i < regions_used; i++) {
        const region *r = &regions[i];
        for (size_t before = slack_before(r); before > 0; before--) {
            if (r->data[-(ptrdiff_t)before] != CANARY) {
                complain(t, "wrote %zu bytes before %s", before, r->name);
            }
        }
        for (size_t behind = 0; behind < slack_behind(r); behind++) {
            if (r->data[r->bytes + behind] != CANARY) {
                complain(t, "wrote %zu bytes behind the end of %s", behind, r->name);
            }
        }
    }
}

/* --- calling ----------------------------------------------------------------------------------------------------- */

bool next_backend(trial *t)
{
    if (t->bench != NULL) {
        return bench_next_backend(t);
    }
    const size_t turn = t->turn++;
    for (size_t i = 0; i < t->n_outputs; i++) {
        output *out = &t->outputs[i];
        if (turn == 0) {
            memcpy(out->actual, out->expected, out->bytes);
        }
        out->data = turn == 0 ? out->expected : out->actual;
    }
    t->kernels = turn == 0 ? t->scalar : t->tested;
    return turn < 2;
}

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double started_at;

size_t timing_start(trial *t)
{
    if (t->bench == NULL) {
        return 1;
    }
    const size_t repeats = bench_repeats(t);
    started_at = now_ns();
    return repeats;
}

void timing_stop(trial *t)
{
    if (t->bench != NULL) {
        bench_add(t, now_ns() - started_at);
    }
}

/* --- comparing --------------------------------------------------------------------------------------------------- */

double length_of(const float *x, size_t n)
{
    const double length = norm_of(x, n);
    return length == 0 ? 0 : fmax(length, 0x1p-100);
}

void expect_bytes(trial *t, const output *out, const void *expected, size_t bytes)
{
    const unsigned char *wanted = expected;
    const unsigned char *got = out->data;
    for (size_t i = 0; t->bench == NULL && i < bytes; i++) {
        if (got[i] != wanted[i]) {
            complain(t, "byte %zu of %zu of %s is 0x%02X, not 0x%02X", i, bytes, out->name, got[i], wanted[i]);
            return;
        }
    }
}

static void expect_close(trial *t, const output *out)
{
    for (size_t i = 0; i < out->bytes / sizeof(float); i++) {
        float wanted;
        float got;
        memcpy(&wanted, out->expected + i * sizeof wanted, sizeof wanted);
        memcpy(&got, out->actual + i * sizeof got, sizeof got);
        const double allowed = t->tolerance * out->unit[i];
        const double difference = fabs((double)got - (double)wanted);
        if (!(difference <= allowed) && tq_f32_bits(got) != tq_f32_bits(wanted)) {
            complain(t, "%s[%zu] is %.9g, scalar's is %.9g: off by %.3g, or %.3g units, the contract is %.3g",
                     out->name, i, (double)got, (double)wanted, difference, difference / out->unit[i], t->tolerance);
            return;
        }
    }
}

void expect(trial *t, const output *out)
{
    if (t->bench != NULL) {
        return;
    }
    if (t->tolerance > 0 && out->unit != NULL) {
        expect_close(t, out);
    } else {
        expect_bytes(t, out, out->expected, out->bytes);
    }
}

/* --- trials ------------------------------------------------------------------------------------------------------ */

static trial *running;

const char *class_name(input_class class)
{
    static const char *const names[N_CLASSES] = {"normal", "zeros", "denormals", "outlier", "extremes", "ties"};
    return names[class];
}

bool run_trial(trial *t, void (*check)(trial *t))
{
    regions_used = 0;
    t->n_outputs = 0;
    t->turn = 0;
    t->elements = t->dim;
    t->problem[0] = '\0';
    t->label[0] = '\0';
    snprintf(t->shape, sizeof t->shape, "class %s, dim %zu", class_name(t->class), t->dim);
    running = t;
    check(t);
    running = NULL;
    check_canaries(t);
    for (size_t i = 0; i < t->n_outputs; i++) {
        free(t->outputs[i].unit);
    }
    return t->problem[0] == '\0';
}

/* Where an address lies that must not be touched. */
static void locate(const unsigned char *address, char *text, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < regions_used; i++) {
        const region *r = &regions[i];
        const unsigned char *end = r->body + REGION_BYTES;
        if (address >= r->body - page && address < r->body) {
            snprintf(text, bytes, "touched %td bytes before %s", r->data - address, r->name);
        } else if (address >= end && address < end + page) {
            snprintf(text, bytes, "touched %td bytes behind the end of %s", address - (r->data + r->bytes), r->name);
        }
    }
}

/* The fault came from a kernel, not from within the C library, so that printing is safe. */
static void report_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (running == NULL) {
        signal(number, SIG_DFL);
        return;
    }
    char where[200] = "no buffer of this trial is near";
    locate(info->si_addr, where, sizeof where);
    printf("FAILED: %s of %s: signal %d: %s\n    %s\n", running->op, running->kernels->backend, number, where,
           running->shape);
    fflush(stdout);
    _exit(1);
}

void catch_faults(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = report_fault;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sigaction(numbers[i], &action, NULL);
    }
}

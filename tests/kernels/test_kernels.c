/* SPDX-License-Identifier: MIT
 *
 * Every kernel of every backend against the scalar one, and its time.
 *
 * The list of operations and their tolerances are those of kernels.def. Each operation has a checker (check.h) that
 * makes one trial (trial.h); this program repeats it for all dimensions and classes of input.
 *
 * Exit status: 0 if all is well, 1 if a kernel is wrong, 2 if the arguments are, 77 if the backend asked for cannot run
 * here. */
#include "check.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define EXACT                                0.0
#define WITHIN(e)                            (e)
#define X(name, contract, result, arguments) {#name, contract, check_##name},
static const operation OPERATIONS[] = {
#include "kernels/kernels.def"
};
#undef X

enum {
    N_OPERATIONS = sizeof OPERATIONS / sizeof *OPERATIONS,
    MAX_BACKENDS = 16,
    EXIT_WRONG = 1,
    EXIT_USAGE = 2,
    EXIT_SKIPPED = 77
};

static const size_t DIMS[] = {1,   2,   3,   5,   8,   16,  24,  40,  64,  80,   96,
                              100, 112, 128, 160, 192, 224, 256, 512, 576, 1000, 1024};

typedef struct options {
    const char *backend; /* Null: all that can run here. */
    const char *broken;
    const operation *operations; /* All, or one. */
    size_t n_operations;
    uint64_t seed;
    size_t rounds; /* Of all dimensions and classes. 0: some, see `enough`. */
    bool bench;
    bool list;
} options;

static int usage(void)
{
    fputs("usage: test_kernels [--backend NAME] [--op NAME] [--seed N] [--rounds N]   compare with the scalar backend\n"
          "       test_kernels --bench [--backend NAME] [--op NAME]                  print times\n"
          "       test_kernels --list [--backend NAME]                               print backends and their "
          "operations\n"
          "       test_kernels --broken NAME                                         test a wrong kernel: exits 1\n",
          stderr);
    return EXIT_USAGE;
}

static bool choose_operation(const char *name, options *o)
{
    for (size_t i = 0; name != NULL && i < N_OPERATIONS; i++) {
        if (strcmp(name, OPERATIONS[i].name) == 0) {
            o->operations = &OPERATIONS[i];
            o->n_operations = 1;
            return true;
        }
    }
    return false;
}

/* --- comparing --------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const char *name)
{
    uint64_t hash = 0xCBF29CE484222325U;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * 0x100000001B3U;
    }
    return hash;
}

/* Trial `index` of an operation depends on nothing else than seed, name and index. */
static bool compare_once(trial *t, const operation *op, uint64_t seed, size_t index)
{
    const size_t n_dims = sizeof DIMS / sizeof *DIMS;
    t->op = op->name;
    t->tolerance = op->tolerance;
    t->dim = DIMS[index % n_dims];
    t->class = (input_class)(index / n_dims % N_CLASSES);
    t->rng = rng_seeded(seed ^ hash_of(op->name) ^ (uint64_t)index << 40);
    return run_trial(t, op->check);
}

static double now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* True after the rounds asked for; if none were, after a few of them and a third of a second. */
static bool enough(const options *o, size_t rounds, double started)
{
    if (o->rounds > 0) {
        return rounds == o->rounds;
    }
    return rounds >= (quick() ? 1 : 3) && now_s() - started > (quick() ? 0.02 : 0.3);
}

/* Trials until enough or until one is wrong: then false, and `rounds` includes it. */
static bool compare_operation(const options *o, trial *t, const operation *op, size_t *rounds)
{
    const size_t trials = N_CLASSES * (sizeof DIMS / sizeof *DIMS);
    const double started = now_s();
    bool right = true;
    for (*rounds = 0; right && !enough(o, *rounds, started); ++*rounds) {
        for (size_t i = 0; right && i < trials; i++) {
            right = compare_once(t, op, o->seed, *rounds * trials + i);
        }
    }
    return right;
}

/* Number of operations that are wrong. */
static size_t compare_backend(const options *o, const tq_kernels *scalar, const tq_kernels *tested)
{
    static char problem[PROBLEM_BYTES];
    static trial t;
    size_t wrong = 0;
    t.scalar = scalar;
    t.tested = tested;
    t.problem = problem;
    for (size_t i = 0; i < o->n_operations; i++) {
        size_t rounds;
        if (!compare_operation(o, &t, &o->operations[i], &rounds)) {
            wrong++;
            printf("FAILED: %s of %s: %s\n    %s\n    in round %zu\n", t.op, tested->backend, t.problem, t.shape,
                   rounds);
            fflush(stdout);
        }
    }
    printf("%s: %zu of %zu operations are wrong\n", tested->backend, wrong, o->n_operations);
    return wrong;
}

static int compare(const options *o, const tq_kernels *scalar, const tq_kernels *backends, size_t n)
{
    size_t wrong = 0;
    /* First, so that a crash leaves it on the screen. */
    printf("test_kernels: --seed %" PRIu64 "\n", o->seed);
    fflush(stdout);
    for (size_t i = 0; i < n; i++) {
        wrong += compare_backend(o, scalar, &backends[i]);
    }
    return wrong == 0 ? EXIT_SUCCESS : EXIT_WRONG;
}

static int compare_broken(options *o, const tq_kernels *scalar)
{
    tq_kernels broken = *scalar;
    broken.backend = o->broken;
    return choose_operation(break_kernels(o->broken, &broken), o) ? compare(o, scalar, &broken, 1) : usage();
}

/* --- backends ---------------------------------------------------------------------------------------------------- */

/* Fills the tables of the backends asked for; their number. */
static size_t choose_backends(const options *o, tq_kernels *backends)
{
    size_t n = 0;
    for (size_t i = 0; i < tq_backend_count() && n < MAX_BACKENDS; i++) {
        int usable;
        const char *name = tq_backend_name(i, &usable);
        if (usable && (o->backend == NULL || strcmp(o->backend, name) == 0)) {
            n += tq_kernels_select(name, &backends[n]) == TQ_OK;
        }
    }
    return n;
}

/* The operations in which a backend's table differs from the next weaker one's. */
static void print_operations(const tq_kernels *kernels, const tq_kernels *weaker)
{
#define X(name, contract, result, arguments)                                                                           \
    if (kernels->name != weaker->name) {                                                                               \
        printf(" %s", #name);                                                                                          \
    }
#include "kernels/kernels.def"
#undef X
    putchar('\n');
}

static void list(const options *o)
{
    tq_kernels weaker = {0};
    tq_kernels kernels;
    for (size_t i = 0; i < tq_backend_count(); i++) {
        int usable;
        const char *name = tq_backend_name(i, &usable);
        const bool shown = o->backend == NULL || strcmp(o->backend, name) == 0;
        if (!usable || tq_kernels_select(name, &kernels) != TQ_OK) {
            if (shown) {
                printf("%s: not on this machine\n", name);
            }
            continue;
        }
        if (shown) {
            printf("%s:", name);
            print_operations(&kernels, &weaker);
        }
        weaker = kernels;
    }
    if (o->backend == NULL && tq_kernels_select(NULL, &kernels) == TQ_OK) {
        printf("default: %s\n", kernels.backend);
    }
}

/* --- the program ------------------------------------------------------------------------------------------------- */

/* The value of the option at *i, which is then that of the value; null if there is none. */
static const char *value_of(int argc, char **argv, int *i)
{
    return *i + 1 < argc ? argv[++*i] : NULL;
}

static bool read_number(const char *text, uint64_t *number)
{
    char *end = NULL;
    if (text == NULL || *text < '0' || *text > '9') {
        return false;
    }
    *number = strtoull(text, &end, 10);
    return *end == '\0';
}

static bool read_options(int argc, char **argv, options *o)
{
    bool ok = true;
    uint64_t rounds = o->rounds;
    for (int i = 1; ok && i < argc; i++) {
        const char *option = argv[i];
        if (strcmp(option, "--bench") == 0) {
            o->bench = true;
        } else if (strcmp(option, "--list") == 0) {
            o->list = true;
        } else if (strcmp(option, "--seed") == 0) {
            ok = read_number(value_of(argc, argv, &i), &o->seed);
        } else if (strcmp(option, "--rounds") == 0) {
            ok = read_number(value_of(argc, argv, &i), &rounds);
        } else if (strcmp(option, "--backend") == 0) {
            ok = (o->backend = value_of(argc, argv, &i)) != NULL;
        } else if (strcmp(option, "--op") == 0) {
            ok = choose_operation(value_of(argc, argv, &i), o);
        } else if (strcmp(option, "--broken") == 0) {
            ok = (o->broken = value_of(argc, argv, &i)) != NULL;
        } else {
            ok = false;
        }
    }
    o->rounds = (size_t)rounds;
    return ok;
}

int main(int argc, char **argv)
{
    tq_kernels scalar;
    tq_kernels backends[MAX_BACKENDS];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    options o = {.seed = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
                 .operations = OPERATIONS,
                 .n_operations = N_OPERATIONS};
    if (!read_options(argc, argv, &o) || tq_kernels_select("scalar", &scalar) != TQ_OK) {
        return usage();
    }
    catch_faults();
    if (o.broken != NULL) {
        return compare_broken(&o, &scalar);
    }
    const size_t n = choose_backends(&o, backends);
    if (n == 0) {
        printf("test_kernels: no backend called %s is in this build and can run on this machine\n", o.backend);
        return EXIT_SKIPPED;
    }
    if (o.list) {
        list(&o);
        return EXIT_SUCCESS;
    }
    if (o.bench) {
        bench_operations(o.operations, o.n_operations, backends, n);
        return EXIT_SUCCESS;
    }
    return compare(&o, &scalar, backends, n);
}

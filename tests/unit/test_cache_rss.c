/* SPDX-License-Identifier: MIT
 *
 * The memory of a cache as the operating system sees it: resident pages of this process, which nobody can forget to
 * count. */
#include "cache_support.h"

#include <stdio.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

enum { LAYERS = 8, HEADS = 8, DIM = 128, AT_ONCE = 1024, MIB = 1 << 20 };

/* A line of /proc/self/status in bytes, as "VmRSS:"; 0 where there is none. */
static size_t status_bytes(const char *name)
{
    char line[128];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && kib == 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kib = strtoul(line + strlen(name), NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kib * 1024;
}

static size_t resident(void)
{
    return status_bytes("VmRSS:");
}

/* The C library keeps what is freed; a measurement starts without. */
static size_t resident_before(void)
{
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
    return resident();
}

static void skip_where_rss_means_nothing(void)
{
#if defined(TQ_QUICK) /* Sanitizers keep what is freed, and books on all memory. */
    skip();
#endif
    if (resident() == 0) {
        skip();
    }
}

/* What the C library adds to blocks, the cache's own lists, and other small things. */
static size_t tolerance_for(size_t bytes)
{
    return bytes * 3 / 100 + 4 * (size_t)MIB;
}

static tq_cache_desc rss_desc(tq_format format)
{
    tq_cache_desc desc = cache_desc(LAYERS, HEADS, DIM, DIM);
    desc.k_format = format;
    desc.v_format = format;
    desc.effort = TQ_EFFORT_FAST;
    return desc;
}

/* Tokens 0..n-1 of all layers, the same numbers over and over. */
static void fill_layers(tq_cache *cache, tq_seq *seq, const struct tokens *t, size_t n)
{
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        for (size_t i = 0; i < n; i += t->n) {
            const tq_kv kv = tokens_kv(t, 0, n - i < t->n ? n - i : t->n);
            assert_status(tq_cache_append(cache, seq, layer, &kv), TQ_OK);
        }
    }
}

/* The measurement would see a copy in f16: it sees one of f16 alone. */
static void test_f16_is_seen(void **state)
{
    skip_where_rss_means_nothing();
    const size_t n = 1024; /* Few, for the peak of the other test. */
    struct rng rng = rng_seeded(91);
    const tq_cache_desc desc = rss_desc(TQ_FORMAT_F16);
    struct tokens t = tokens_gauss(&rng, &desc, HEADS, AT_ONCE);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = open_seq(cache);
    const size_t estimate = estimate_of(*state, &desc, n);
    const size_t before = resident_before();
    fill_layers(cache, seq, &t, n);
    const size_t growth = resident() - before;
    assert_true(estimate >= (size_t)LAYERS * HEADS * n * 2 * DIM * 2);
    assert_close((double)growth, (double)estimate, (double)tolerance_for(estimate), "resident bytes of f16");
    tq_cache_destroy(cache);
    tokens_free(&t);
}

/* What takes 1 GiB in f16 takes what the estimate says, at no time more, and forks take next to nothing. */
static void test_resident_bytes(void **state)
{
    skip_where_rss_means_nothing();
    enum { FORKS = 20, HUGE_PAGE = 2 << 20 }; /* By which qemu's translations grow, in the same process. */
    const size_t n = quick() ? 4096 : 32768;
    const size_t f16_bytes = (size_t)LAYERS * HEADS * n * 2 * DIM * 2;
    struct rng rng = rng_seeded(92);
    const tq_cache_desc desc = rss_desc(TQ_FORMAT_TURBO4);
    struct tokens t = tokens_gauss(&rng, &desc, HEADS, AT_ONCE);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = open_seq(cache);
    const size_t estimate = estimate_of(*state, &desc, n);
    const size_t tolerance = tolerance_for(estimate);
    const size_t before = resident_before();
    fill_layers(cache, seq, &t, n);
    const size_t growth = resident() - before;
    printf("f16 %zu MiB, estimate %zu MiB, resident %zu MiB\n", f16_bytes / MIB, estimate / MIB, growth / MIB);
    assert_int_equal(stats_of(cache).page_bytes, estimate);
    assert_close((double)growth, (double)estimate, (double)tolerance, "resident bytes of turbo4");
    assert_true(growth < f16_bytes / 3);
    assert_true(status_bytes("VmHWM:") <= before + estimate + tolerance);

    tq_seq *forks[FORKS];
    const size_t unforked = resident();
    for (size_t i = 0; i < FORKS; i++) {
        assert_status(tq_seq_fork(seq, n - i, &forks[i]), TQ_OK);
    }
    assert_int_equal(stats_of(cache).page_bytes, estimate);
    const size_t for_forks = resident() - unforked;
    printf("%d forks: %zu KiB\n", FORKS, for_forks >> 10);
    assert_true(for_forks < estimate / FORKS + HUGE_PAGE);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16_is_seen),
        cmocka_unit_test(test_resident_bytes),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}

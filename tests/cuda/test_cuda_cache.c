/* SPDX-License-Identifier: MIT
 *
 * Caches on a CUDA device against caches of the scalar backend: what is stored is equal byte for byte, as saved
 * sequences show, and what attention returns agrees to 5e-4 of its norm. Skipped where there is no device. */
#include "device_memory.h"
#include "device_pair.h"

#include <math.h>
#include <stdio.h>

#if !defined(TQ_TEST_DIM)
#define TQ_TEST_DIM       128 /* head_dim where it does not matter. */
#define TQ_TEST_OTHER_DIM 64
#endif

enum { SKIP = 77, HEADS = 2, Q_HEADS = 8, DIM = TQ_TEST_DIM, OTHER_DIM = TQ_TEST_OTHER_DIM };

static const double LIMIT = 5e-4;

/* --- caches and what goes into them ---------------------------------------------------------------------------------
 */

static tq_cache_desc small_desc(uint32_t dim, tq_format k, tq_format v)
{
    tq_cache_desc desc = cache_desc(1, HEADS, dim, dim);
    desc.k_format = k;
    desc.v_format = v;
    return desc;
}

/* Tokens on the device, f16, as the host has them: rounded. */
struct inputs {
    struct tokens host;
    void *k, *v, *q;
};

static void *rounded_copy(float *x, size_t n)
{
    uint16_t *halves = malloc(n * sizeof *halves);
    for (size_t i = 0; i < n; i++) {
        halves[i] = f16_from_double((double)x[i]);
        x[i] = (float)f16_to_double(halves[i]);
    }
    void *copy = device_copy(halves, n * sizeof *halves);
    free(halves);
    return copy;
}

static struct inputs open_inputs(struct rng *rng, const tq_cache_desc *desc, size_t n)
{
    struct inputs in = {.host = tokens_gauss(rng, desc, Q_HEADS, n)};
    const size_t k_floats = (size_t)HEADS * desc->head_dim_k;
    const size_t v_floats = (size_t)HEADS * desc->head_dim_v;
    for (size_t i = 0; i < n * k_floats; i++) { /* A mean, which pages take off. */
        in.host.k[i] += 1.5F * sinf((float)(i % k_floats));
    }
    for (size_t i = 0; i < n * v_floats; i++) {
        in.host.v[i] += 0.5F * cosf((float)(i % v_floats));
    }
    in.k = rounded_copy(in.host.k, n * k_floats);
    in.v = rounded_copy(in.host.v, n * v_floats);
    in.q = rounded_copy(in.host.q, n * Q_HEADS * desc->head_dim_k);
    return in;
}

static void close_inputs(struct inputs *in)
{
    device_free(in->k);
    device_free(in->v);
    device_free(in->q);
    tokens_free(&in->host);
}

/* What a call is made with, beside its tokens. */
struct options {
    size_t sliding_window;
    float soft_cap;
    int sink_logits;
    uint32_t flags;
    float skip_below; /* A device passes over nothing. */
};

static tq_kv device_kv(const struct inputs *in, size_t first, size_t n)
{
    tq_kv kv = TQ_KV_INIT;
    kv.k = (const char *)in->k + first * HEADS * in->host.dim_k * 2;
    kv.v = (const char *)in->v + first * HEADS * in->host.dim_v * 2;
    kv.dtype = TQ_DTYPE_F16;
    kv.n_tokens = n;
    return kv;
}

static void assert_agree(const float *x, const float *expected, size_t n, const char *what, size_t first)
{
    double error = 0;
    double norm = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)x[i] - (double)expected[i]) * ((double)x[i] - (double)expected[i]);
        norm += (double)expected[i] * (double)expected[i];
    }
    assert_close(sqrt(error / norm), 0, LIMIT, "%s of tokens from %zu on", what, first);
}

/* Tokens [first, end) to a sequence of each cache, and their attention compared. */
static void step_both(struct pair *pair, tq_seq *const seqs[2], const struct inputs *in, size_t first, size_t end,
                      const struct options *options)
{
    const size_t n = end - first;
    const size_t floats = n * Q_HEADS * in->host.dim_v;
    float *out = calloc(2 * floats, sizeof *out);
    float *lse = calloc(2 * n * Q_HEADS, sizeof *lse);
    float logits[Q_HEADS];
    for (int i = 0; i < Q_HEADS; i++) {
        logits[i] = (float)i - 3;
    }
    tq_kv kv = tokens_kv(&in->host, first, n);
    tq_attention attention = tokens_attention(&in->host, first, n, out, lse);
    attention.out = out;
    attention.lse = lse;
    attention.soft_cap = options->soft_cap;
    attention.sliding_window = options->sliding_window;
    attention.sink_logits = options->sink_logits ? logits : NULL;
    attention.flags = options->flags;
    attention.skip_below = options->skip_below;
    assert_status(tq_cache_forward(pair->caches[0], seqs[0], 0, &kv, &attention), TQ_OK);

    float *device_out = device_new(floats * sizeof *out);
    float *device_lse = device_new(n * Q_HEADS * sizeof *lse);
    float *device_logits = device_copy(logits, sizeof logits);
    kv = device_kv(in, first, n);
    attention.q = (const char *)in->q + first * Q_HEADS * in->host.dim_k * 2;
    attention.q_dtype = TQ_DTYPE_F16;
    attention.out = device_out;
    attention.lse = device_lse;
    attention.sink_logits = options->sink_logits ? device_logits : NULL;
    assert_status(tq_cache_forward(pair->caches[1], seqs[1], 0, &kv, &attention), TQ_OK);
    device_read(out + floats, device_out, floats * sizeof *out);
    device_read(lse + n * Q_HEADS, device_lse, n * Q_HEADS * sizeof *lse);
    assert_agree(out + floats, out, floats, "attention", first);
    for (size_t i = 0; i < n * Q_HEADS; i++) {
        assert_close((double)lse[n * Q_HEADS + i], (double)lse[i], 2e-3, "lse %zu of tokens from %zu on", i, first);
    }
    device_free(device_out);
    device_free(device_lse);
    device_free(device_logits);
    free(out);
    free(lse);
}

/* Tokens first .. first + n - 1 of each, keys and values, as f32. */
static void assert_decoded_alike(struct pair *pair, tq_seq *const seqs[2], size_t first, size_t n)
{
    const size_t k_floats = n * HEADS * pair->desc.head_dim_k;
    const size_t floats = k_floats + n * HEADS * pair->desc.head_dim_v;
    float *x = calloc(2 * floats, sizeof *x);
    float *copy = device_new(floats * sizeof *x);
    tq_kv_out kv = TQ_KV_OUT_INIT;
    kv.k = x;
    kv.v = x + k_floats;
    kv.n_tokens = n;
    assert_status(tq_cache_decode(pair->caches[0], seqs[0], 0, first, &kv), TQ_OK);
    kv.k = copy;
    kv.v = copy + k_floats;
    assert_status(tq_cache_decode(pair->caches[1], seqs[1], 0, first, &kv), TQ_OK);
    device_read(x + floats, copy, floats * sizeof *x);
    for (size_t i = 0; i < floats; i++) {
        assert_close((double)x[floats + i], (double)x[i], 1e-5, "decoded float %zu of tokens from %zu on", i, first);
    }
    device_free(copy);
    free(x);
}

/* --- tests ---------------------------------------------------------------------------------------------------------
 */

enum { MOST_STEPS = 12 };

static const size_t STEPS[MOST_STEPS] = {1, 5, 60, 130, 3, 1, 200, 63, 1, 1, 2, 20};
static const size_t FEW_STEPS[MOST_STEPS] = {1, 65, 70, 2, 64, 1, 50, 3};

static void run_steps(struct pair *pair, const struct options *options, uint64_t seed)
{
    const size_t *steps = quick() ? FEW_STEPS : STEPS;
    struct rng rng = rng_seeded(seed);
    tq_seq *seqs[2];
    size_t n = 0;
    size_t first = 0;
    for (size_t i = 0; i < MOST_STEPS; i++) {
        n += steps[i];
    }
    struct inputs in = open_inputs(&rng, &pair->desc, n);
    open_seqs(pair, seqs);
    for (size_t i = 0; i < MOST_STEPS && steps[i] > 0; i++) {
        step_both(pair, seqs, &in, first, first + steps[i], options);
        first += steps[i];
    }
    assert_stored_alike(pair, seqs);
    assert_decoded_alike(pair, seqs, 0, n);
    assert_decoded_alike(pair, seqs, 70, n - 80);
    close_inputs(&in);
}

static void formats_agree(void **state)
{
    (void)state;
    static const tq_format formats[][2] = {
        {TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4},   {TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO3},
        {TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO2},   {TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO4T},
        {TQ_FORMAT_TURBO3T, TQ_FORMAT_TURBO3T}, {TQ_FORMAT_TURBO2T, TQ_FORMAT_TURBO2T},
        {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1},   {TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO2},
        {TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO3T}, {TQ_FORMAT_F16, TQ_FORMAT_F16},
        {TQ_FORMAT_TURBO8, TQ_FORMAT_TURBO8},   {TQ_FORMAT_F16, TQ_FORMAT_TURBO3},
        {TQ_FORMAT_TURBO2, TQ_FORMAT_F16},      {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO4T}};
    const struct options plain = {0};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        for (int means = quick() ? (int)i % 2 : 0; means < 2; means += quick() ? 2 : 1) {
            tq_cache_desc desc = small_desc(DIM, formats[i][0], formats[i][1]);
            desc.flags = means ? 0 : NO_MEANS;
            struct pair pair = open_pair("cuda", &desc);
            printf("  %s %s %s\n", tq_format_name(formats[i][0]), tq_format_name(formats[i][1]), means ? "means" : "");
            run_steps(&pair, &plain, i);
            close_pair(&pair);
        }
    }
}

static void options_agree(void **state)
{
    (void)state;
    enum { Q = TQ_ATTENTION_Q_ROTATED, OUT = TQ_ATTENTION_OUT_ROTATED };
    const struct options options[] = {{.soft_cap = 5},
                                      {.sliding_window = 100},
                                      {.sink_logits = 1},
                                      {300, 3, 1, 0, 0},
                                      {.flags = Q | OUT, .skip_below = 1e-6F},
                                      {300, 3, 1, Q, 0},
                                      {.flags = OUT}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        tq_cache_desc desc = small_desc(DIM, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO3);
        desc.sink_tokens = 4 * (uint32_t)i;
        desc.recent_tokens = i == 1 ? TQ_NO_RECENT_TOKENS : 64 * (uint32_t)i;
        struct pair pair = open_pair("cuda", &desc);
        run_steps(&pair, &options[i], 100 + i);
        close_pair(&pair);
    }
}

/* Forks, cuts at all depths, removal, saving and loading: then on as before. */
static void histories_agree(void **state)
{
    (void)state;
    static const size_t cuts[] = {455, 390, 260, 130, 70, 3, 0};
    tq_cache_desc desc = quick() ? small_desc(DIM, TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO4)
                                 : small_desc(DIM, TQ_FORMAT_TURBO3T, TQ_FORMAT_TURBO4T);
    desc.sink_tokens = 6;
    struct pair pair = open_pair("cuda", &desc);
    struct rng rng = rng_seeded(7);
    struct inputs in = open_inputs(&rng, &desc, 900);
    const struct options plain = {0};
    tq_seq *seqs[2];
    open_seqs(&pair, seqs);
    step_both(&pair, seqs, &in, 0, 460, &plain);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i += quick() ? 5 : 1) {
        tq_seq *forks[2];
        for (int c = 0; c < 2; c++) {
            assert_status(tq_seq_fork(seqs[c], cuts[i], &forks[c]), TQ_OK);
        }
        step_both(&pair, forks, &in, 500, 510, &plain);
        step_both(&pair, forks, &in, 510, 700, &plain);
        for (int c = 0; c < 2; c++) {
            assert_status(tq_seq_truncate(forks[c], cuts[i] + 100), TQ_OK);
        }
        step_both(&pair, forks, &in, 700, 760, &plain);
        assert_stored_alike(&pair, forks);
        assert_decoded_alike(&pair, forks, 0, tq_seq_length(forks[0], 0));
        if (cuts[i] >= 260) {
            for (int c = 0; c < 2; c++) {
                assert_status(tq_seq_remove(forks[c], 64, 128), TQ_OK);
            }
            step_both(&pair, forks, &in, 760, 900, &plain);
            assert_stored_alike(&pair, forks);
        }
        for (int c = 0; c < 2; c++) {
            tq_seq_destroy(forks[c]);
        }
    }
    step_both(&pair, seqs, &in, 460, 500, &plain); /* The forks left nothing behind. */
    const tq_rope rope = {.struct_size = sizeof rope};
    for (int c = 0; c < 2; c++) {
        assert_status(tq_cache_rope_shift(pair.caches[c], seqs[c], 0, 10, 400, -7, &rope), TQ_OK);
    }
    step_both(&pair, seqs, &in, 500, 530, &plain);
    struct bytes file = save_bytes(pair.caches[0], seqs[0]);
    tq_seq_destroy(seqs[1]);
    seqs[1] = load_bytes(pair.caches[1], &file);
    step_both(&pair, seqs, &in, 530, 650, &plain);
    assert_stored_alike(&pair, seqs);
    bytes_free(&file);
    close_inputs(&in);
    close_pair(&pair);
}

/* Long appends, whose pages do not become exact first: stored as ever. */
static void appends_agree(void **state)
{
    (void)state;
    const size_t lengths[] = {30, quick() ? 330 : 700, 1, 128, 64, 133, quick() ? 200 : 6000};
    for (size_t i = 0; i < (quick() ? 2 : 4); i++) {
        const tq_format format = i == 3 ? TQ_FORMAT_TURBO4 : i % 2 ? TQ_FORMAT_TURBO3T : TQ_FORMAT_TURBO3;
        tq_cache_desc desc = small_desc(DIM, format, format);
        desc.sink_tokens = 5 * (uint32_t)i;
        desc.recent_tokens = i == 2 ? TQ_NO_RECENT_TOKENS : 64 * (uint32_t)i;
        desc.effort = TQ_EFFORT_FAST;
        struct pair pair = open_pair("cuda", &desc);
        struct rng rng = rng_seeded(20 + i);
        struct inputs in = open_inputs(&rng, &desc, 6000);
        const struct options plain = {0};
        tq_seq *seqs[2];
        open_seqs(&pair, seqs);
        for (size_t l = i == 0 ? 1 : 0; l < sizeof lengths / sizeof *lengths; l++) {
            const tq_kv kv[2] = {tokens_kv(&in.host, 0, lengths[l]), device_kv(&in, 0, lengths[l])};
            for (int c = 0; c < 2; c++) {
                assert_status(tq_cache_append(pair.caches[c], seqs[c], 0, &kv[c]), TQ_OK);
            }
            step_both(&pair, seqs, &in, 100, 102, &plain);
        }
        assert_stored_alike(&pair, seqs);
        tq_cache_stats_result stats[2];
        for (int c = 0; c < 2; c++) {
            stats[c] = stats_of(pair.caches[c]);
        }
        assert_int_equal(stats[0].exact_bytes, stats[1].exact_bytes);
        close_inputs(&in);
        close_pair(&pair);
    }
}

static void demote_both(struct pair *pair, tq_seq *const seqs[2], size_t min_age, tq_layer_formats formats)
{
    const tq_tier tier = {min_age, formats};
    for (int c = 0; c < 2; c++) {
        assert_status(tq_cache_demote(pair->caches[c], seqs[c], &tier, 1), TQ_OK);
    }
}

/* An engine's batch: sequences of different lengths in one call, more of them than one launch takes, some
 * with demoted pages. */
static void batches_agree(void **state)
{
    (void)state;
    enum { SEQS = 70, MOST = 400 };
    tq_cache_desc desc = small_desc(DIM, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4);
    struct pair pair = open_pair("cuda", &desc);
    struct rng rng = rng_seeded(11);
    struct inputs in = open_inputs(&rng, &desc, MOST);
    tq_seq *seqs[2][SEQS];
    const size_t floats = (size_t)SEQS * Q_HEADS * DIM;
    float *out = calloc(2 * floats, sizeof *out);
    float *device_out = device_new(floats * sizeof *out);
    for (size_t i = 0; i < SEQS; i++) {
        const size_t length = i == 0 ? 1 : i == 1 ? 61 : 5 * i + i % 7;
        for (int c = 0; c < 2; c++) {
            seqs[c][i] = open_seq(pair.caches[c]);
            const tq_kv kv = c == 0 ? tokens_kv(&in.host, 0, length) : device_kv(&in, 0, length);
            assert_status(tq_cache_append(pair.caches[c], seqs[c][i], 0, &kv), TQ_OK);
        }
    }
    for (size_t turn = 0; turn < 3; turn++) { /* The last with two tokens each: some cross the end of a page. */
        for (size_t i = 0; turn == 1 && i < SEQS; i += 3) {
            tq_seq *const both[2] = {seqs[0][i], seqs[1][i]};
            const tq_layer_formats cold = {TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO2};
            demote_both(&pair, both, i, cold);
        }
        const size_t n = turn == 2 ? 2 * (SEQS / 2) : SEQS;
        const size_t n_seqs = turn == 2 ? SEQS / 2 : SEQS;
        tq_kv kv = tokens_kv(&in.host, 100, n);
        tq_attention attention = tokens_attention(&in.host, 100, n, out, NULL);
        attention.out = out;
        assert_status(tq_cache_forward_batch(pair.caches[0], seqs[0], n_seqs, 0, &kv, &attention), TQ_OK);
        kv = device_kv(&in, 100, n);
        attention.q = (const char *)in.q + (size_t)100 * Q_HEADS * DIM * 2;
        attention.q_dtype = TQ_DTYPE_F16;
        attention.out = device_out;
        assert_status(tq_cache_forward_batch(pair.caches[1], seqs[1], n_seqs, 0, &kv, &attention), TQ_OK);
        const size_t used = n * Q_HEADS * DIM;
        device_read(out + floats, device_out, used * sizeof *out);
        assert_agree(out + floats, out, used, "a batch", turn);
        assert_status(tq_cache_forward_batch(pair.caches[1], seqs[1], n_seqs, 0, NULL, &attention),
                      turn == 2 ? TQ_ERR_UNSUPPORTED : TQ_OK);
    }
    for (size_t i = 0; i < SEQS; i += 9) {
        tq_seq *const both[2] = {seqs[0][i], seqs[1][i]};
        assert_stored_alike(&pair, both);
    }
    device_free(device_out);
    free(out);
    close_inputs(&in);
    close_pair(&pair);
}

/* False, with a line, if the library was built without kernels of a head_dim. */
static int is_supported(const tq_cache_desc *desc)
{
    tq_context *context = open_backend("cuda");
    tq_cache *cache;
    const tq_status status = tq_cache_create(context, desc, &cache);
    if (status == TQ_OK) {
        tq_cache_destroy(cache);
    } else {
        assert_status(status, TQ_ERR_UNSUPPORTED);
        printf("  this build has no kernels of head_dim %u or %u\n", desc->head_dim_k, desc->head_dim_v);
    }
    tq_context_destroy(context);
    return status == TQ_OK;
}

static void dims_agree(void **state)
{
    (void)state;
    static const uint32_t dims[] = {64, 80, 96, 112, 192, 256};
    const struct options plain = {0};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        tq_cache_desc desc = small_desc(dims[i], i % 2 ? TQ_FORMAT_TURBO4T : TQ_FORMAT_TURBO3,
                                        i % 2 ? TQ_FORMAT_TURBO4T : TQ_FORMAT_TURBO3);
        if (!is_supported(&desc)) {
            continue;
        }
        struct pair pair = open_pair("cuda", &desc);
        run_steps(&pair, &plain, 300 + i);
        close_pair(&pair);
    }
}

/* Keys and values of different head_dim, with every kind of page. */
static void two_dims_agree(void **state)
{
    (void)state;
    static const tq_format formats[][2] = {
        {TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO3T}, {TQ_FORMAT_F16, TQ_FORMAT_F16}, {TQ_FORMAT_TURBO2T, TQ_FORMAT_F16}};
    const struct options options[] = {{0}, {.soft_cap = 5, .sink_logits = 1}, {.sliding_window = 90}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        tq_cache_desc desc = small_desc(DIM, formats[i][0], formats[i][1]);
        desc.head_dim_k = i % 2 ? DIM : OTHER_DIM;
        desc.head_dim_v = i % 2 ? OTHER_DIM : DIM;
        desc.sink_tokens = 4 * (uint32_t)i;
        if (!is_supported(&desc)) {
            continue;
        }
        struct pair pair = open_pair("cuda", &desc);
        run_steps(&pair, &options[i], 400 + i);
        close_pair(&pair);
    }
}

/* Pages of several forms in one sequence: demoted again and again, forked, cut, encoded anew, saved and loaded. */
static void demoted_pages_agree(void **state)
{
    (void)state;
    /* The first has kernels for all forms, the others have not. */
    static const struct {
        tq_layer_formats hot, warm, cold;
        struct options options;
    } cases[] = {{{TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4},
                  {TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO3},
                  {TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO2},
                  {.sliding_window = 290, .soft_cap = 4, .sink_logits = 1}},
                 {{TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4},
                  {TQ_FORMAT_TURBO2, TQ_FORMAT_DEFAULT},
                  {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO3},
                  {.sink_logits = 1}},
                 {{TQ_FORMAT_F16, TQ_FORMAT_F16},
                  {TQ_FORMAT_TURBO4, TQ_FORMAT_DEFAULT},
                  {TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO8},
                  {.soft_cap = 4}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tq_cache_desc desc = small_desc(DIM, cases[i].hot.k_format, cases[i].hot.v_format);
        const struct options options = cases[i].options;
        desc.sink_tokens = 5;
        struct pair pair = open_pair("cuda", &desc);
        struct rng rng = rng_seeded(500 + i);
        struct inputs in = open_inputs(&rng, &desc, 700);
        tq_seq *seqs[2];
        tq_seq *forks[2];
        open_seqs(&pair, seqs);
        step_both(&pair, seqs, &in, 0, 430, &options);
        for (int c = 0; c < 2; c++) {
            assert_status(tq_seq_fork(seqs[c], 300, &forks[c]), TQ_OK);
        }
        demote_both(&pair, seqs, 200, cases[i].warm);
        step_both(&pair, seqs, &in, 430, 433, &options);
        demote_both(&pair, seqs, 300, cases[i].cold);
        step_both(&pair, seqs, &in, 433, 500, &options);
        assert_stored_alike(&pair, seqs);
        assert_decoded_alike(&pair, seqs, 0, 500);
        assert_decoded_alike(&pair, seqs, 50, 300);
        for (int c = 0; c < 2; c++) { /* The end in a demoted page, which keeps its form. */
            assert_status(tq_seq_truncate(seqs[c], 150), TQ_OK);
        }
        step_both(&pair, seqs, &in, 500, 700, &options);
        assert_stored_alike(&pair, seqs);
        struct bytes file = save_bytes(pair.caches[0], seqs[0]);
        tq_seq_destroy(seqs[1]);
        seqs[1] = load_bytes(pair.caches[1], &file);
        step_both(&pair, seqs, &in, 0, 3, &options);
        step_both(&pair, forks, &in, 430, 460, &options); /* The fork has its pages as they were. */
        assert_stored_alike(&pair, forks);
        bytes_free(&file);
        close_inputs(&in);
        close_pair(&pair);
    }
}

static void errors_are_statuses(void **state)
{
    (void)state;
    tq_context_desc far = TQ_CONTEXT_DESC_INIT;
    tq_context *context = NULL;
    tq_cache *cache = NULL;
    far.backend = "cuda";
    far.device = 1000;
    assert_status(tq_context_create(&far, &context), TQ_ERR_UNSUPPORTED);
    context = open_backend("cuda");
    tq_cache_desc desc = small_desc(1000, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4);
    assert_status(tq_cache_create(context, &desc, &cache), TQ_ERR_UNSUPPORTED);
    desc = small_desc(DIM, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4);
    desc.memory_limit = 1 << 20;
    cache = open_cache(context, &desc);
    tq_seq *seq = open_seq(cache);
    struct rng rng = rng_seeded(3);
    struct inputs in = open_inputs(&rng, &desc, 64);
    tq_kv kv = tokens_kv(&in.host, 0, 10); /* The host's memory. */
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_ERR_INVALID_ARGUMENT);
    kv = device_kv(&in, 0, 10);
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_OK);
    kv.n_tokens = 100000; /* Refused before anything is read. */
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_ERR_CAPACITY);
    assert_int_equal(tq_seq_length(seq, 0), 10);
    size_t bytes;
    kv.n_tokens = 54;
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_OK);
    assert_status(tq_cache_estimate(context, &desc, 64, &bytes), TQ_OK);
    assert_int_equal(stats_of(cache).page_bytes, bytes);
    tq_cache_destroy(cache);

    desc.memory_limit = 0;
    desc.n_kv_heads = 1024;
    cache = open_cache(context, &desc);
    seq = open_seq(cache);
    kv = device_kv(&in, 0, 20000000); /* More than any device has; nothing is read. */
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_ERR_OUT_OF_MEMORY);
    assert_int_equal(tq_seq_length(seq, 0), 0);
    tq_cache_destroy(cache);
    close_inputs(&in);
    tq_context_destroy(context);
}

/* test_cuda_cache [FILTER]: the tests whose names match. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(formats_agree),      cmocka_unit_test(options_agree),
                                       cmocka_unit_test(appends_agree),      cmocka_unit_test(histories_agree),
                                       cmocka_unit_test(batches_agree),      cmocka_unit_test(dims_agree),
                                       cmocka_unit_test(two_dims_agree),     cmocka_unit_test(demoted_pages_agree),
                                       cmocka_unit_test(errors_are_statuses)};
    if (!device_begin()) {
        puts("skipped: no CUDA driver, or no device");
        return SKIP;
    }
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

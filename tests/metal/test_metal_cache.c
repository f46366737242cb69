/* SPDX-License-Identifier: MIT
 *
 * Caches on the Metal device against caches of the scalar backend, through the public API: what is stored is equal byte
 * for byte, as saved sequences show, and what attention returns agrees to 1e-5 of the norm of the largest value. On
 * Apple systems this runs on the GPU, elsewhere on the shim. */
#include "device_pair.h"

#include <math.h>
#include <stdio.h>

enum { SKIP = 77, HEADS = 2, Q_HEADS = 6 };

static const double TOLERANCE = 1e-5;

static tq_cache_desc small_desc(uint32_t dim, tq_format k, tq_format v)
{
    tq_cache_desc desc = cache_desc(1, HEADS, dim, dim);
    desc.k_format = k;
    desc.v_format = v;
    desc.effort = TQ_EFFORT_FAST;
    return desc;
}

/* Keys and values have a mean, which pages take off. */
static struct tokens biased_tokens(struct rng *rng, const tq_cache_desc *desc, size_t n)
{
    struct tokens t = tokens_gauss(rng, desc, Q_HEADS, n);
    const size_t dim = desc->head_dim_k;
    for (size_t i = 0; i < n * HEADS * dim; i++) {
        t.k[i] += 1.5F * sinf((float)(i % (HEADS * dim)));
        t.v[i] += 0.5F * cosf((float)(i % (HEADS * dim)));
    }
    return t;
}

/* What a call is made with, beside its tokens. */
struct options {
    size_t sliding_window;
    float soft_cap;
    int sink_logits;
    uint32_t flags;
};

static double largest_norm(const struct tokens *t)
{
    double largest = 0;
    for (size_t i = 0; i < t->n * HEADS; i++) {
        largest = fmax(largest, norm_of(t->v + i * t->dim_v, t->dim_v));
    }
    return largest;
}

/* Tokens [first, end) to a sequence of each cache, and the attention of a few of them compared: all would take minutes
 * on the shim. Outputs are dense, or have room between heads. */
static void step_both(struct pair *pair, tq_seq *const seqs[2], const struct tokens *t, size_t first, size_t end,
                      const struct options *options)
{
    enum { FEW = 4 };
    if (end - first > FEW) {
        const tq_kv kv = tokens_kv(t, first, end - first - FEW);
        for (int i = 0; i < 2; i++) {
            assert_status(tq_cache_append(pair->caches[i], seqs[i], 0, &kv), TQ_OK);
        }
        first = end - FEW;
    }
    const size_t n = end - first;
    const size_t gap = n % 2 == 0 ? 3 : 0; /* Behind each head of the output. */
    const size_t floats = n * Q_HEADS * (t->dim_v + gap);
    float *out[2];
    float *lse[2];
    float logits[Q_HEADS];
    for (int i = 0; i < Q_HEADS; i++) {
        logits[i] = (float)i - 3;
    }
    for (int i = 0; i < 2; i++) {
        out[i] = calloc(floats, sizeof *out[i]);
        lse[i] = calloc(n * Q_HEADS, sizeof *lse[i]);
        const tq_kv kv = tokens_kv(t, first, n);
        tq_attention attention = tokens_attention(t, first, n, out[i], lse[i]);
        attention.out = out[i];
        attention.out_head_stride = t->dim_v + gap;
        attention.lse = lse[i];
        attention.soft_cap = options->soft_cap;
        attention.sliding_window = options->sliding_window;
        attention.sink_logits = options->sink_logits ? logits : NULL;
        attention.flags = options->flags;
        assert_status(tq_cache_forward(pair->caches[i], seqs[i], 0, &kv, &attention), TQ_OK);
    }
    const double unit = largest_norm(t);
    for (size_t i = 0; i < floats; i++) {
        assert_close((double)out[1][i], (double)out[0][i], TOLERANCE * unit, "output %zu of tokens from %zu on", i,
                     first);
    }
    for (size_t i = 0; i < n * Q_HEADS; i++) {
        assert_close((double)lse[1][i], (double)lse[0][i], 1e-4, "lse %zu of tokens from %zu on", i, first);
    }
    for (int i = 0; i < 2; i++) {
        free(out[i]);
        free(lse[i]);
    }
}

/* All tokens decoded, from the same bytes by other kernels of the host. */
static void assert_decoded_alike(struct pair *pair, tq_seq *const seqs[2])
{
    const size_t n = tq_seq_length(seqs[0], 0);
    const size_t floats = n * HEADS * pair->desc.head_dim_k;
    float *x[2];
    for (int i = 0; i < 2; i++) {
        tq_kv_out kv = TQ_KV_OUT_INIT;
        x[i] = calloc(2 * floats, sizeof *x[i]);
        kv.k = x[i];
        kv.v = x[i] + floats;
        kv.n_tokens = n;
        assert_status(tq_cache_decode(pair->caches[i], seqs[i], 0, 0, &kv), TQ_OK);
    }
    for (size_t i = 0; i < 2 * floats; i++) {
        assert_close((double)x[1][i], (double)x[0][i], TOLERANCE, "decoded float %zu", i);
    }
    free(x[0]);
    free(x[1]);
}

/* Stored and decoded. */
static void assert_alike(struct pair *pair, tq_seq *const seqs[2])
{
    assert_stored_alike(pair, seqs);
    assert_decoded_alike(pair, seqs);
}

/* --- tests ---------------------------------------------------------------------------------------------------------
 */

static const size_t STEPS[] = {1, 5, 60, 3, 1, 64, 2};

static void run_steps(const tq_cache_desc *desc, const struct options *options, uint64_t seed)
{
    struct pair pair = open_pair("metal", desc);
    struct rng rng = rng_seeded(seed);
    struct tokens t = biased_tokens(&rng, desc, 136);
    tq_seq *seqs[2];
    size_t first = 0;
    open_seqs(&pair, seqs);
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++) {
        step_both(&pair, seqs, &t, first, first + STEPS[i], options);
        first += STEPS[i];
    }
    assert_alike(&pair, seqs);
    tokens_free(&t);
    close_pair(&pair);
}

static void formats_agree(void **state)
{
    (void)state;
    static const struct {
        uint32_t dim;
        tq_format k, v;
    } cases[] = {{64, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4},  {112, TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO2},
                 {128, TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO3}, {48, TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO4T},
                 {80, TQ_FORMAT_TURBO3T, TQ_FORMAT_TURBO8}, {48, TQ_FORMAT_TURBO8, TQ_FORMAT_TURBO2T},
                 {16, TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO4},  {64, TQ_FORMAT_F16, TQ_FORMAT_F16},
                 {256, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO1}};
    const struct options plain = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i += quick() ? 4 : 1) {
        tq_cache_desc desc = small_desc(cases[i].dim, cases[i].k, cases[i].v);
        desc.recent_tokens = TQ_NO_RECENT_TOKENS;
        desc.flags = i % 3 == 1 ? NO_MEANS : i % 3 == 2 ? TQ_CACHE_NO_V_MEANS : 0;
        run_steps(&desc, &plain, i);
    }
}

static void options_agree(void **state)
{
    (void)state;
    enum { Q = TQ_ATTENTION_Q_ROTATED, OUT = TQ_ATTENTION_OUT_ROTATED };
    const struct options options[] = {{.soft_cap = 5},    {.sliding_window = 70}, {.sink_logits = 1},
                                      {.flags = Q | OUT}, {150, 3, 1, Q},         {.flags = OUT}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        tq_cache_desc desc = small_desc(32, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO3);
        desc.sink_tokens = 4 * (uint32_t)i;
        desc.recent_tokens = i % 2 == 1 ? TQ_NO_RECENT_TOKENS : 64;
        run_steps(&desc, &options[i], 100 + i);
    }
}

/* However tokens are cut into calls, what is stored and returned is the same (to rounding). */
static void chunks_agree(void **state)
{
    (void)state;
    enum { N = 140 };
    static const size_t cuts[][6] = {{N}, {1, 64, 65, 128, 139, N}, {63, 66, 67, 130, N}};
    tq_cache_desc desc = small_desc(48, TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO4);
    desc.recent_tokens = TQ_NO_RECENT_TOKENS;
    desc.sink_tokens = 3;
    tq_context *context = open_backend("metal");
    tq_cache *cache = open_cache(context, &desc);
    struct rng rng = rng_seeded(3);
    struct tokens t = biased_tokens(&rng, &desc, N);
    struct bytes whole = {0};
    float *out[2];
    for (int i = 0; i < 2; i++) {
        out[i] = calloc(tokens_out_size(&t), sizeof *out[i]);
    }
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts - (size_t)quick(); i++) {
        tq_seq *seq = open_seq(cache);
        for (size_t first = 0, c = 0; first < N; first = cuts[i][c++]) {
            feed(cache, seq, 0, &t, first, cuts[i][c], out[i > 0], NULL);
        }
        struct bytes bytes = save_bytes(cache, seq);
        for (size_t j = 0; i > 0 && j < tokens_out_size(&t); j++) {
            assert_close((double)out[1][j], (double)out[0][j], TOLERANCE * largest_norm(&t), "output %zu", j);
        }
        if (i == 0) {
            whole = bytes;
        } else {
            assert_bytes_equal(&bytes, &whole, "in other chunks");
            bytes_free(&bytes);
        }
    }
    bytes_free(&whole);
    free(out[0]);
    free(out[1]);
    tokens_free(&t);
    tq_cache_destroy(cache);
    tq_context_destroy(context);
}

/* Forks, cuts at all depths, removal, shifts, saving on one and loading on the other: then on as before. */
static void histories_agree(void **state)
{
    (void)state;
    static const size_t cuts[] = {255, 190, 70, 0};
    const struct options plain = {0};
    tq_cache_desc desc = small_desc(32, TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO4);
    desc.sink_tokens = 6;
    desc.recent_tokens = TQ_NO_RECENT_TOKENS;
    struct pair pair = open_pair("metal", &desc);
    struct rng rng = rng_seeded(7);
    struct tokens t = biased_tokens(&rng, &desc, 500);
    tq_seq *seqs[2];
    open_seqs(&pair, seqs);
    step_both(&pair, seqs, &t, 0, 260, &plain);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i += quick() ? 2 : 1) {
        tq_seq *forks[2];
        for (int c = 0; c < 2; c++) {
            assert_status(tq_seq_fork(seqs[c], cuts[i], &forks[c]), TQ_OK);
        }
        step_both(&pair, forks, &t, 300, 310, &plain);
        step_both(&pair, forks, &t, 310, 400, &plain);
        for (int c = 0; c < 2; c++) {
            assert_status(tq_seq_truncate(forks[c], cuts[i] + 50), TQ_OK);
        }
        step_both(&pair, forks, &t, 400, 430, &plain);
        assert_alike(&pair, forks);
        if (cuts[i] >= 190) {
            for (int c = 0; c < 2; c++) {
                assert_status(tq_seq_remove(forks[c], 64, 128), TQ_OK);
            }
            step_both(&pair, forks, &t, 430, 500, &plain);
            assert_alike(&pair, forks);
        }
        for (int c = 0; c < 2; c++) {
            tq_seq_destroy(forks[c]);
        }
    }
    step_both(&pair, seqs, &t, 260, 300, &plain); /* The forks left nothing behind. */
    const tq_rope rope = {.struct_size = sizeof rope};
    for (int c = 0; c < 2; c++) {
        assert_status(tq_cache_rope_shift(pair.caches[c], seqs[c], 0, 10, 200, -7, &rope), TQ_OK);
    }
    step_both(&pair, seqs, &t, 300, 330, &plain);
    for (int from = 0; from < 2; from++) { /* Saved here, loaded there. */
        struct bytes file = save_bytes(pair.caches[from], seqs[from]);
        tq_seq_destroy(seqs[1 - from]);
        seqs[1 - from] = load_bytes(pair.caches[1 - from], &file);
        bytes_free(&file);
        const size_t first = from == 0 ? 330 : 400;
        step_both(&pair, seqs, &t, first, first + 70, &plain);
        assert_alike(&pair, seqs);
    }
    tokens_free(&t);
    close_pair(&pair);
}

/* An engine's batch: sequences of different lengths in one call. */
static void batches_agree(void **state)
{
    (void)state;
    enum { SEQS = 66, MOST = 160, DIM = 16 };
    const size_t most = quick() ? 10 : SEQS;
    tq_cache_desc desc = small_desc(DIM, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4);
    desc.recent_tokens = TQ_NO_RECENT_TOKENS;
    struct pair pair = open_pair("metal", &desc);
    struct rng rng = rng_seeded(11);
    struct tokens t = biased_tokens(&rng, &desc, MOST);
    tq_seq *seqs[2][SEQS];
    float *out[2];
    for (int c = 0; c < 2; c++) {
        out[c] = calloc((size_t)SEQS * Q_HEADS * DIM, sizeof *out[c]);
        for (size_t i = 0; i < most; i++) {
            seqs[c][i] = open_seq(pair.caches[c]);
            const tq_kv kv = tokens_kv(&t, 0, i == 0 ? 1 : 61 + i);
            assert_status(tq_cache_append(pair.caches[c], seqs[c][i], 0, &kv), TQ_OK);
        }
    }
    for (size_t turn = 0; turn < 3; turn++) { /* The last with two tokens each: some cross the end of a page. */
        const size_t n_seqs = turn == 2 ? most / 2 : most;
        const size_t n = turn == 2 ? 2 * n_seqs : n_seqs;
        for (int c = 0; c < 2; c++) {
            const tq_kv kv = tokens_kv(&t, 60, n);
            tq_attention attention = tokens_attention(&t, 60, n, out[c], NULL);
            attention.out = out[c];
            assert_status(tq_cache_forward_batch(pair.caches[c], seqs[c], n_seqs, 0, &kv, &attention), TQ_OK);
        }
        for (size_t i = 0; i < n * Q_HEADS * DIM; i++) {
            assert_close((double)out[1][i], (double)out[0][i], TOLERANCE * largest_norm(&t), "turn %zu, output %zu",
                         turn, i);
        }
    }
    for (size_t i = 0; i < most; i++) {
        tq_seq *both[2] = {seqs[0][i], seqs[1][i]};
        assert_alike(&pair, both);
    }
    free(out[0]);
    free(out[1]);
    tokens_free(&t);
    close_pair(&pair);
}

/* Steps, forks, cuts, and ways through a file, as they come. */
static void random_calls_agree(void **state)
{
    (void)state;
    const struct options plain = {0};
    const size_t calls = quick() ? 25 : 100;
    tq_cache_desc desc = small_desc(16, TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO4);
    desc.sink_tokens = 2;
    desc.recent_tokens = TQ_NO_RECENT_TOKENS;
    struct pair pair = open_pair("metal", &desc);
    struct rng rng = rng_seeded(13);
    struct tokens t = biased_tokens(&rng, &desc, 400);
    tq_seq *seqs[2];
    open_seqs(&pair, seqs);
    for (size_t i = 0; i < calls; i++) {
        const size_t length = tq_seq_length(seqs[0], 0);
        const size_t cut = rng_word(&rng) % (length + 1);
        tq_seq *made[2];
        switch (rng_word(&rng) % 8) {
        case 0:
            for (int c = 0; c < 2; c++) {
                assert_status(tq_seq_fork(seqs[c], cut, &made[c]), TQ_OK);
                tq_seq_destroy(seqs[c]);
                seqs[c] = made[c];
            }
            break;
        case 1:
            for (int c = 0; c < 2; c++) {
                assert_status(tq_seq_truncate(seqs[c], cut), TQ_OK);
            }
            break;
        case 2:
            for (int c = 0; c < 2; c++) {
                struct bytes file = save_bytes(pair.caches[c], seqs[c]);
                made[1 - c] = load_bytes(pair.caches[1 - c], &file);
                bytes_free(&file);
            }
            for (int c = 0; c < 2; c++) {
                tq_seq_destroy(seqs[c]);
                seqs[c] = made[c];
            }
            break;
        default: {
            const size_t first = rng_word(&rng) % 300;
            const size_t n = 1 + rng_word(&rng) % (length < 400 ? 100 : 3);
            step_both(&pair, seqs, &t, first, first + n, &plain);
            break;
        }
        }
        assert_int_equal(tq_seq_length(seqs[0], 0), tq_seq_length(seqs[1], 0));
    }
    assert_alike(&pair, seqs);
    tokens_free(&t);
    close_pair(&pair);
}

/* Host memory is read before anything is stored, as on a CPU. */
static void refusals(void **state)
{
    (void)state;
    tq_context *context = open_backend("metal");
    tq_context_desc context_desc = TQ_CONTEXT_DESC_INIT;
    tq_context *other = NULL;
    context_desc.backend = "metal";
    context_desc.device = 1;
    assert_status(tq_context_create(&context_desc, &other), TQ_ERR_UNSUPPORTED);
    tq_cache_desc bad[] = {
        small_desc(24, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4), small_desc(272, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4),
        small_desc(64, TQ_FORMAT_F16, TQ_FORMAT_TURBO4), small_desc(64, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4)};
    bad[3].head_dim_v = 32;
    tq_cache *cache = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(tq_cache_create(context, &bad[i], &cache), TQ_ERR_UNSUPPORTED);
    }
    const tq_cache_desc desc = small_desc(16, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4);
    float x[HEADS * 16] = {INFINITY};
    const tq_kv kv = {.struct_size = sizeof kv, .k = x, .v = x, .n_tokens = 1};
    cache = open_cache(context, &desc);
    tq_seq *seq = open_seq(cache);
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_ERR_NONFINITE);
    assert_int_equal(tq_seq_length(seq, 0), 0);
    tq_cache_destroy(cache);
    tq_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_agree),   cmocka_unit_test(options_agree), cmocka_unit_test(chunks_agree),
        cmocka_unit_test(histories_agree), cmocka_unit_test(batches_agree), cmocka_unit_test(random_calls_agree),
        cmocka_unit_test(refusals),
    };
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    tq_context *context = NULL;
    desc.backend = "metal";
    if (tq_context_create(&desc, &context) != TQ_OK) {
        puts("skipped: no Metal device on this machine");
        return SKIP;
    }
    tq_context_destroy(context);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

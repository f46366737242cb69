/* SPDX-License-Identifier: MIT
 *
 * The calls of a cache: what each accepts and refuses, with which status, and that a refused call changes nothing. */
#include "cache_support.h"

#include <math.h>

enum { DIM_K = 16, DIM_V = 8, N_KV_HEADS = 2, N_Q_HEADS = 4, N_LAYERS = 2, N = 200, STORED = 100, NEW = 5 };

/* Descriptions of caches */

static void assert_desc_refused(const tq_context *context, const tq_cache_desc *desc, tq_status expected)
{
    tq_cache *const untouched = (tq_cache *)(uintptr_t)64;
    tq_cache *cache = untouched;
    assert_status(tq_cache_create(context, desc, &cache), expected);
    assert_ptr_equal(cache, untouched);
    size_t bytes = 77;
    assert_status(tq_cache_estimate(context, desc, 1000, &bytes), expected);
    assert_int_equal(bytes, 77);
}

static void test_create_statuses(void **state)
{
    const tq_cache_desc good = cache_desc(2, 3, 64, 0);
    tq_cache *cache = NULL;
    assert_status(tq_cache_create(NULL, &good, &cache), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_create(*state, NULL, &cache), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_create(*state, &good, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_null(cache);
    size_t bytes = 77;
    assert_status(tq_cache_estimate(NULL, &good, 10, &bytes), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_estimate(*state, NULL, 10, &bytes), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_estimate(*state, &good, 10, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_estimate(*state, &good, SIZE_MAX, &bytes), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_estimate(*state, &good, SIZE_MAX / 64, &bytes), TQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(bytes, 77);

    static const struct {
        uint32_t layers, heads, dim_k, dim_v;
    } bad_sizes[] = {{0, 1, 16, 0},         {65537, 1, 16, 0},      {1, 0, 16, 0},    {1, 1025, 16, 0},
                     {1, 1, 0, 0},          {1, 1, 0, 16},          {1, 1, 1025, 0},  {1, 1, 1025, 16},
                     {1, 1, 16, 1025},      {UINT32_MAX, 1, 16, 0}, {1, 1025, 16, 0}, {1, UINT32_MAX, 16, 0},
                     {1, 1, 16, UINT32_MAX}};
    for (size_t i = 0; i < sizeof bad_sizes / sizeof bad_sizes[0]; i++) {
        const tq_cache_desc desc =
            cache_desc(bad_sizes[i].layers, bad_sizes[i].heads, bad_sizes[i].dim_k, bad_sizes[i].dim_v);
        assert_desc_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
    }

    tq_cache_desc desc = good;
    desc.sink_tokens = 65;
    assert_desc_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
    desc = good;
    desc.flags = NO_MEANS + 1;
    assert_desc_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
    desc = good;
    desc.effort = 4;
    assert_desc_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
    desc.effort = -1;
    assert_desc_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
}

/* Every format in every place: keys, values, of the cache, of a layer. */
static void test_create_formats(void **state)
{
    static const struct {
        tq_format format;
        uint32_t dim;
        tq_status expected;
    } cases[] = {
        {TQ_FORMAT_F16, 7, TQ_OK},
        {TQ_FORMAT_TURBO1, 7, TQ_OK},
        {TQ_FORMAT_TURBO8, 64, TQ_OK},
        {TQ_FORMAT_DEFAULT, 7, TQ_OK},
        {TQ_FORMAT_TURBO4T, 8, TQ_OK},
        {TQ_FORMAT_TURBO2T, 12, TQ_ERR_UNSUPPORTED},
        {TQ_FORMAT_TURBO2_PROD, 64, TQ_ERR_UNSUPPORTED},
        {TQ_FORMAT_TURBO3_PROD, 64, TQ_ERR_UNSUPPORTED},
        {TQ_FORMAT_TURBO4_PROD, 64, TQ_ERR_UNSUPPORTED},
        {99, 64, TQ_ERR_INVALID_ARGUMENT},
        {-1, 64, TQ_ERR_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < 4 * sizeof cases / sizeof cases[0]; i++) {
        const tq_format format = cases[i / 4].format;
        const uint32_t dim = cases[i / 4].dim;
        const int values = (int)(i % 2);
        const int of_layer = (int)(i / 2 % 2);
        tq_layer_formats layers[3] = {{0, 0}, {0, 0}, {0, 0}};
        tq_cache_desc desc = cache_desc(3, 1, values ? 32 : dim, values ? dim : 32);
        *(of_layer ? values ? &layers[2].v_format : &layers[2].k_format
          : values ? &desc.v_format
                   : &desc.k_format) = format;
        desc.layers = of_layer ? layers : NULL;
        if (cases[i / 4].expected != TQ_OK) {
            assert_desc_refused(*state, &desc, cases[i / 4].expected);
            continue;
        }
        tq_cache *cache = open_cache(*state, &desc);
        memset(layers, FILL_BYTE, sizeof layers); /* Copied. */
        tq_layer_formats got;
        assert_status(tq_cache_layer_formats(cache, 2, &got), TQ_OK);
        const tq_format resolved = format ? format : dim % 8 == 0 ? TQ_FORMAT_TURBO4T : TQ_FORMAT_TURBO4;
        assert_int_equal(values ? got.v_format : got.k_format, resolved);
        assert_int_equal(values ? got.k_format : got.v_format, TQ_FORMAT_TURBO4T);
        tq_cache_destroy(cache);
    }
}

static void test_struct_sizes(void **state)
{
    struct {
        tq_cache_desc desc;
        unsigned char tail[16];
    } later;
    memset(&later, 0, sizeof later);
    later.desc = cache_desc(1, 1, 16, 0);
    for (size_t size = 0; size < sizeof later.desc; size++) {
        later.desc.struct_size = size;
        assert_desc_refused(*state, &later.desc, TQ_ERR_INVALID_ARGUMENT);
    }
    later.desc.struct_size = sizeof later;
    tq_cache *cache = open_cache(*state, &later.desc);
    later.tail[15] = 1;
    assert_desc_refused(*state, &later.desc, TQ_ERR_INVALID_ARGUMENT);

    struct {
        tq_cache_stats_result stats;
        unsigned char tail[16];
    } result;
    for (size_t size = 0; size < sizeof result.stats; size++) {
        memset(&result, FILL_BYTE, sizeof result);
        result.stats.struct_size = size;
        assert_status(tq_cache_stats(cache, &result.stats), TQ_ERR_INVALID_ARGUMENT);
        assert_true(still_filled((char *)&result + sizeof(size_t), sizeof result - sizeof(size_t)));
    }
    result.stats.struct_size = sizeof result;
    assert_status(tq_cache_stats(cache, &result.stats), TQ_OK);
    assert_int_equal(result.stats.struct_size, sizeof result);
    assert_int_equal(result.stats.n_sequences, 0);
    assert_int_equal(result.stats.page_bytes, 0);
    for (size_t i = 0; i < sizeof result.tail; i++) {
        assert_int_equal(result.tail[i], 0);
    }
    tq_cache_destroy(cache);
}

static void test_policy(void **state)
{
    (void)state;
    const tq_layer_formats good = {TQ_FORMAT_TURBO8, TQ_FORMAT_F16};
    const tq_layer_formats other = {TQ_FORMAT_TURBO3T, TQ_FORMAT_TURBO2};
    static const size_t lengths[] = {0, 1, 2, 3, 5, 8};
    static const size_t protects[] = {0, 1, 2, 3, 100, SIZE_MAX};
    for (size_t a = 0; a < 6; a++) {
        for (size_t b = 0; b < 6; b++) {
            tq_layer_formats layers[9];
            memset(layers, FILL_BYTE, sizeof layers);
            const size_t n = lengths[a];
            assert_status(tq_policy_protect(layers, n, protects[b], good, other), TQ_OK);
            for (size_t i = 0; i < n; i++) {
                const tq_layer_formats *expected = i < protects[b] || n - 1 - i < protects[b] ? &good : &other;
                assert_int_equal(layers[i].k_format, expected->k_format);
                assert_int_equal(layers[i].v_format, expected->v_format);
            }
            assert_true(still_filled(layers + n, sizeof layers - n * sizeof layers[0]));
        }
    }
    assert_status(tq_policy_protect(NULL, 3, 1, good, other), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_policy_protect(NULL, 0, 1, good, other), TQ_OK);
}

/* Calls on a sequence */

struct fixture {
    struct log_record log;
    tq_context *context;
    tq_cache *cache;
    tq_cache *other_cache;
    tq_seq *seq; /* Holds STORED tokens in layer 0 and one fewer in layer 1. */
    tq_seq *other_seq;
    struct tokens t;
    float *out;
    float *lse;
    size_t out_size;
    size_t lse_size;
    tq_kv kv; /* NEW good tokens, and their queries. */
    tq_attention attention;
};

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tq_context_desc context = TQ_CONTEXT_DESC_INIT;
    context.log = log_record_hooks(&f->log);
    assert_status(tq_context_create(&context, &f->context), TQ_OK);
    const tq_cache_desc desc = cache_desc(N_LAYERS, N_KV_HEADS, DIM_K, DIM_V);
    struct rng rng = rng_seeded(61);
    f->t = tokens_gauss(&rng, &desc, N_Q_HEADS, N);
    f->out_size = tokens_out_size(&f->t) * sizeof(float);
    f->lse_size = (size_t)N * N_Q_HEADS * sizeof(float);
    f->out = filled(f->out_size);
    f->lse = filled(f->lse_size);
    f->cache = open_cache(f->context, &desc);
    f->other_cache = open_cache(f->context, &desc);
    f->seq = open_seq(f->cache);
    f->other_seq = open_seq(f->other_cache);
    feed(f->cache, f->seq, 0, &f->t, 0, STORED, f->out, f->lse);
    feed(f->cache, f->seq, 1, &f->t, 0, STORED - 1, f->out, f->lse);
    memset(f->out, FILL_BYTE, f->out_size);
    memset(f->lse, FILL_BYTE, f->lse_size);
    f->kv = tokens_kv(&f->t, STORED, NEW);
    f->attention = tokens_attention(&f->t, STORED, NEW, f->out, f->lse);
    *state = f;
    return 0;
}

/* What is stored must be what was stored: the rest of the tokens give what they give a sequence that nobody disturbed.
 */
static int close_fixture(void **state)
{
    struct fixture *f = *state;
    tq_seq *calm = open_seq(f->cache);
    float *out = filled(f->out_size);
    float *lse = filled(f->lse_size);
    feed(f->cache, calm, 0, &f->t, 0, STORED, f->out, f->lse);
    feed(f->cache, calm, 0, &f->t, STORED, N, f->out, f->lse);
    feed(f->cache, f->seq, 0, &f->t, STORED, N, out, lse);
    const size_t first = (size_t)STORED * N_Q_HEADS;
    assert_memory_equal(out + first * DIM_V, f->out + first * DIM_V, f->out_size - first * DIM_V * sizeof *out);
    assert_memory_equal(lse + first, f->lse + first, f->lse_size - first * sizeof *lse);
    free(lse);
    free(out);
    free(f->lse);
    free(f->out);
    tokens_free(&f->t);
    tq_cache_destroy(f->other_cache);
    tq_cache_destroy(f->cache);
    tq_context_destroy(f->context);
    free(f);
    return 0;
}

/* A call that must fail with `expected`, say why, and change nothing. */
static void assert_refused_on(struct fixture *f, tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_kv *kv,
                              const tq_attention *attention, tq_status expected)
{
    const tq_cache_stats_result stats = stats_of(f->cache);
    const size_t logged = f->log.calls;
    assert_status(step(cache, seq, layer, kv, attention), expected);
    assert_true(still_filled(f->out, f->out_size));
    assert_true(still_filled(f->lse, f->lse_size));
    assert_int_equal(tq_seq_length(f->seq, 0), STORED);
    assert_int_equal(tq_seq_length(f->seq, 1), STORED - 1);
    const tq_cache_stats_result now = stats_of(f->cache);
    assert_stats_equal(&now, &stats);
    if (cache) { /* Without one there is no log. */
        assert_int_equal(f->log.calls, logged + 1);
        assert_int_equal(f->log.status, expected);
        assert_true(strlen(f->log.sentence) > 10);
    }
}

/* Bad keys and values: to forward and to append. */
static void refuse_kv(struct fixture *f, const tq_kv *kv, tq_status expected)
{
    assert_refused_on(f, f->cache, f->seq, 0, kv, &f->attention, expected);
    assert_refused_on(f, f->cache, f->seq, 0, kv, NULL, expected);
}

/* Bad queries: to forward and to attend. */
static void refuse_attention(struct fixture *f, const tq_attention *attention, tq_status expected)
{
    assert_refused_on(f, f->cache, f->seq, 0, &f->kv, attention, expected);
    assert_refused_on(f, f->cache, f->seq, 0, NULL, attention, expected);
}

static void test_null_and_foreign(void **state)
{
    struct fixture *f = *state;
    const struct {
        const tq_kv *kv;
        const tq_attention *attention;
    } calls[] = {{&f->kv, &f->attention}, {&f->kv, NULL}, {NULL, &f->attention}};
    for (size_t c = 0; c < 3; c++) {
        const tq_kv *kv = calls[c].kv;
        const tq_attention *attention = calls[c].attention;
        assert_refused_on(f, NULL, f->seq, 0, kv, attention, TQ_ERR_INVALID_ARGUMENT);
        assert_refused_on(f, f->cache, NULL, 0, kv, attention, TQ_ERR_INVALID_ARGUMENT);
        assert_refused_on(f, f->cache, f->other_seq, 0, kv, attention, TQ_ERR_INVALID_ARGUMENT);
        assert_refused_on(f, f->other_cache, f->seq, 0, kv, attention, TQ_ERR_INVALID_ARGUMENT);
        assert_refused_on(f, f->cache, f->seq, N_LAYERS, kv, attention, TQ_ERR_INVALID_ARGUMENT);
        assert_refused_on(f, f->cache, f->seq, UINT32_MAX, kv, attention, TQ_ERR_INVALID_ARGUMENT);
    }
    assert_status(tq_cache_forward(f->cache, f->seq, 0, NULL, &f->attention), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_forward(f->cache, f->seq, 0, &f->kv, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_append(f->cache, f->seq, 0, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_attend(f->cache, f->seq, 0, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_true(still_filled(f->out, f->out_size));
}

static void test_bad_kv(void **state)
{
    struct fixture *f = *state;
    static const struct {
        size_t k_token, k_head, v_token, v_head;
    } strides[] = {{0, DIM_K - 1, 0, 0},   {0, 0, 0, DIM_V - 1}, {0, 1, 0, 0},
                   {0, 0, 0, 1},           {1, 0, 0, 0},         {0, 0, 1, 0},
                   {SIZE_MAX, 0, 0, 0},    {0, SIZE_MAX, 0, 0},  {0, 0, SIZE_MAX / 4, 0},
                   {0, 0, 0, SIZE_MAX / 2}};
    tq_kv kv;
#define REFUSE(field, value, status)                                                                                   \
    do {                                                                                                               \
        kv = f->kv;                                                                                                    \
        kv.field = (value);                                                                                            \
        refuse_kv(f, &kv, status);                                                                                     \
    } while (0)
    REFUSE(k, NULL, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(v, NULL, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(dtype, 3, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(dtype, -1, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(n_tokens, SIZE_MAX, TQ_ERR_INVALID_ARGUMENT);
    for (size_t size = 0; size < sizeof kv; size++) {
        REFUSE(struct_size, size, TQ_ERR_INVALID_ARGUMENT);
    }
#undef REFUSE
    for (size_t i = 0; i < sizeof strides / sizeof strides[0]; i++) {
        kv = f->kv;
        kv.k_token_stride = strides[i].k_token;
        kv.k_head_stride = strides[i].k_head;
        kv.v_token_stride = strides[i].v_token;
        kv.v_head_stride = strides[i].v_head;
        refuse_kv(f, &kv, TQ_ERR_INVALID_ARGUMENT);
    }
    struct {
        tq_kv kv;
        unsigned char tail[16];
    } later;
    memset(&later, 0, sizeof later);
    later.kv = f->kv;
    later.kv.struct_size = sizeof later;
    later.tail[3] = 1;
    refuse_kv(f, &later.kv, TQ_ERR_INVALID_ARGUMENT);
    kv = f->kv;
    kv.n_tokens = NEW - 1;
    assert_refused_on(f, f->cache, f->seq, 0, &kv, &f->attention, TQ_ERR_INVALID_ARGUMENT);
}

static void test_bad_attention(void **state)
{
    struct fixture *f = *state;
    const struct {
        size_t q_token, q_head, out_token, out_head;
    } strides[] = {{0, DIM_K - 1, 0, 0}, {0, 0, 0, DIM_V - 1},
                   {0, 1, 0, 0},         {0, 0, 0, 1},
                   {1, 0, 0, 0},         {0, 0, 1, 0},
                   {0, 0, DIM_V, DIM_V}, {0, 0, DIM_V, DIM_V + 1}, /* Rows would overlap. */
                   {SIZE_MAX, 0, 0, 0},  {0, SIZE_MAX, 0, 0},
                   {0, 0, SIZE_MAX, 0},  {0, 0, 0, SIZE_MAX / 2}};
    float logits[N_Q_HEADS] = {0, 1, 2, 3};
    tq_attention a;
#define REFUSE(field, value, status)                                                                                   \
    do {                                                                                                               \
        a = f->attention;                                                                                              \
        a.field = (value);                                                                                             \
        refuse_attention(f, &a, status);                                                                               \
    } while (0)
    REFUSE(q, NULL, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(out, NULL, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(q_dtype, 3, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(q_dtype, -1, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(n_q_heads, 0, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(n_q_heads, 1, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(n_q_heads, 5, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(n_q_heads, UINT32_MAX, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(n_tokens, SIZE_MAX, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(soft_cap, -1.0F, TQ_ERR_INVALID_ARGUMENT);
    REFUSE(soft_cap, NAN, TQ_ERR_NONFINITE);
    REFUSE(soft_cap, INFINITY, TQ_ERR_NONFINITE);
    REFUSE(scale, NAN, TQ_ERR_NONFINITE);
    REFUSE(scale, INFINITY, TQ_ERR_NONFINITE);
    REFUSE(scale, -INFINITY, TQ_ERR_NONFINITE);
    for (size_t size = 0; size < sizeof a; size++) {
        REFUSE(struct_size, size, TQ_ERR_INVALID_ARGUMENT);
    }
    for (size_t h = 0; h < N_Q_HEADS; h++) {
        static const float bad[] = {NAN, INFINITY, -INFINITY};
        for (size_t b = 0; b < 3; b++) {
            logits[h] = bad[b];
            REFUSE(sink_logits, logits, TQ_ERR_NONFINITE);
        }
        logits[h] = 0;
    }
#undef REFUSE
    for (size_t i = 0; i < sizeof strides / sizeof strides[0]; i++) {
        a = f->attention;
        a.q_token_stride = strides[i].q_token;
        a.q_head_stride = strides[i].q_head;
        a.out_token_stride = strides[i].out_token;
        a.out_head_stride = strides[i].out_head;
        refuse_attention(f, &a, TQ_ERR_INVALID_ARGUMENT);
    }
    a = f->attention;
    a.n_tokens = NEW + 1;
    assert_refused_on(f, f->cache, f->seq, 0, &f->kv, &a, TQ_ERR_INVALID_ARGUMENT);
}

/* One number that is none, anywhere in k, v or q, in any type. */
static void test_nonfinite(void **state)
{
    struct fixture *f = *state;
    static const float f32[] = {NAN, INFINITY, -INFINITY};
    static const uint16_t halves[3][3] = {{0}, {0x7E01, 0x7C00, 0xFC00}, {0x7FC1, 0x7F80, 0xFF80}};
    const size_t sizes[] = {NEW * N_KV_HEADS * DIM_K, NEW * N_KV_HEADS * DIM_V, NEW * N_Q_HEADS * DIM_K};
    const float *sources[] = {f->kv.k, f->kv.v, f->attention.q};
    for (tq_dtype dtype = TQ_DTYPE_F32; dtype <= TQ_DTYPE_BF16; dtype++) {
        float arrays[3][NEW * N_Q_HEADS * DIM_K];
        for (size_t a = 0; a < 3; a++) {
            for (size_t i = 0; i < sizes[a]; i++) {
                element_set(arrays[a], dtype, i, (double)sources[a][i]);
            }
        }
        tq_kv kv = f->kv;
        kv.k = arrays[0];
        kv.v = arrays[1];
        kv.dtype = dtype;
        tq_attention attention = f->attention;
        attention.q = arrays[2];
        attention.q_dtype = dtype;
        for (size_t a = 0; a < 3; a++) {
            const size_t places[] = {0, 17, sizes[a] / 2 + 3, sizes[a] - 1};
            for (size_t c = 0; c < 12; c++) {
                const size_t place = places[c / 3];
                const double before = element_of(arrays[a], dtype, place);
                if (dtype == TQ_DTYPE_F32) {
                    arrays[a][place] = f32[c % 3];
                } else {
                    memcpy((char *)arrays[a] + 2 * place, &halves[dtype][c % 3], 2);
                }
                assert_refused_on(f, f->cache, f->seq, 0, &kv, &attention, TQ_ERR_NONFINITE);
                assert_refused_on(f, f->cache, f->seq, 0, a == 2 ? NULL : &kv, a == 2 ? &attention : NULL,
                                  TQ_ERR_NONFINITE);
                element_set(arrays[a], dtype, place, before);
            }
        }
    }
}

/* Queries of tq_cache_attend must be stored, and in the page of the newest token. */
static void test_attend_needs_newest_page(void **state)
{
    struct fixture *f = *state;
    static const size_t lengths[] = {0, 1, 2, 63, 64, 65, 66, 127, 128, 129, 200};
    float *out = filled(f->out_size);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const size_t n = lengths[i];
        tq_seq *seq = open_seq(f->cache);
        tq_kv kv = tokens_kv(&f->t, 0, n);
        assert_status(tq_cache_append(f->cache, seq, 0, &kv), TQ_OK);
        const size_t in_page = n == 0 ? 0 : (n - 1) % TQ_PAGE_TOKENS + 1;
        for (size_t queries = 0; queries <= N; queries++) {
            tq_attention a = tokens_attention(&f->t, 0, queries, out, NULL);
            const tq_status expected = queries > n         ? TQ_ERR_INVALID_ARGUMENT
                                       : queries > in_page ? TQ_ERR_UNSUPPORTED
                                                           : TQ_OK;
            memset(out, FILL_BYTE, f->out_size);
            assert_status(tq_cache_attend(f->cache, seq, 0, &a), expected);
            assert_int_equal(still_filled(out, f->out_size), expected != TQ_OK || queries == 0);
        }
        tq_seq_destroy(seq);
    }
    free(out);
}

/* With a count of 0 no pointer is read. */
static void test_no_tokens(void **state)
{
    struct fixture *f = *state;
    tq_kv kv = TQ_KV_INIT;
    tq_attention attention = TQ_ATTENTION_INIT;
    attention.n_q_heads = N_Q_HEADS;
    const float unread[N_Q_HEADS] = {NAN, NAN, NAN, NAN};
    attention.sink_logits = unread;
    const tq_cache_stats_result stats = stats_of(f->cache);
    assert_status(step(f->cache, f->seq, 0, &kv, &attention), TQ_OK);
    assert_status(step(f->cache, f->seq, 0, &kv, NULL), TQ_OK);
    assert_status(step(f->cache, f->seq, 0, NULL, &attention), TQ_OK);
    assert_status(step(f->other_cache, f->other_seq, 0, &kv, &attention), TQ_OK);
    assert_status(step(f->other_cache, f->other_seq, 0, NULL, &attention), TQ_OK);
    assert_int_equal(tq_seq_length(f->seq, 0), STORED);
    const tq_cache_stats_result now = stats_of(f->cache);
    assert_stats_equal(&now, &stats);
}

static void test_handles(void **state)
{
    struct fixture *f = *state;
    tq_seq *const untouched = (tq_seq *)(uintptr_t)64;
    tq_seq *seq = untouched;
    tq_layer_formats formats = {-5, -5};
    assert_status(tq_seq_create(NULL, &seq), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_seq_create(f->cache, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_seq_fork(NULL, 0, &seq), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_seq_fork(f->seq, 0, NULL), TQ_ERR_INVALID_ARGUMENT);
    /* The shortest layer decides. */
    assert_status(tq_seq_fork(f->seq, STORED, &seq), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_seq_fork(f->seq, SIZE_MAX, &seq), TQ_ERR_INVALID_ARGUMENT);
    assert_ptr_equal(seq, untouched);
    assert_status(tq_seq_truncate(NULL, 0), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_seq_truncate(f->seq, STORED), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_seq_truncate(f->seq, SIZE_MAX), TQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(tq_seq_length(f->seq, 0), STORED);
    assert_int_equal(tq_seq_length(f->seq, 1), STORED - 1);
    assert_int_equal(tq_seq_length(f->seq, N_LAYERS), 0);
    assert_int_equal(tq_seq_length(f->seq, UINT32_MAX), 0);
    assert_int_equal(tq_seq_length(NULL, 0), 0);
    assert_status(tq_cache_stats(NULL, &(tq_cache_stats_result){sizeof(tq_cache_stats_result), 0, 0, 0, 0}),
                  TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_stats(f->cache, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_layer_formats(NULL, 0, &formats), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_layer_formats(f->cache, N_LAYERS, &formats), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_layer_formats(f->cache, 0, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(formats.k_format, -5);
    tq_seq_destroy(NULL);
    tq_cache_destroy(NULL);
    assert_int_equal(stats_of(f->cache).n_sequences, 1);
    assert_status(tq_seq_fork(f->seq, STORED - 1, &seq), TQ_OK);
    assert_int_equal(tq_seq_length(seq, 0), STORED - 1);
    assert_int_equal(stats_of(f->cache).n_sequences, 2);
    tq_seq_destroy(seq);
    assert_int_equal(stats_of(f->cache).n_sequences, 1);
}

#define ON_FIXTURE(test) cmocka_unit_test_setup_teardown(test, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest descs[] = {
        cmocka_unit_test(test_create_statuses),
        cmocka_unit_test(test_create_formats),
        cmocka_unit_test(test_struct_sizes),
        cmocka_unit_test(test_policy),
    };
    const struct CMUnitTest calls[] = {
        ON_FIXTURE(test_null_and_foreign), ON_FIXTURE(test_bad_kv),    ON_FIXTURE(test_bad_attention),
        ON_FIXTURE(test_nonfinite),        ON_FIXTURE(test_no_tokens), ON_FIXTURE(test_attend_needs_newest_page),
        ON_FIXTURE(test_handles),
    };
    return cmocka_run_group_tests(descs, setup_context, teardown_context) + cmocka_run_group_tests(calls, NULL, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * The trellis encoder: against an exhaustive search on short vectors, one vector against batches, symmetry, distortion,
 * and the properties of the code that codebook/trellis.h claims. */
#include "support.h"

#include <limits.h>
#include <math.h>

#include "codec.h"
#include "kernels/pack.h"

static const tq_format FORMATS[] = {TQ_FORMAT_TURBO2T, TQ_FORMAT_TURBO3T, TQ_FORMAT_TURBO4T};
enum { N_FORMATS = 3, SHORT = 16 };

/* What the encoder minimises, written without regard to its own code: cost[t][s] of subset s at coordinate t. */
static void integer_costs(const tq_trellis *trellis, const float *y, float norm, size_t dim, long cost[][4])
{
    const float factor = 8192.0F / norm;
    for (size_t t = 0; t < dim; t++) {
        long x = lrintf(y[t] * factor);
        x = x > 32767 ? 32767 : x < -32767 ? -32767 : x;
        for (size_t s = 0; s < 4; s++) {
            long least = 65535;
            for (size_t idx = s; idx < (size_t)2 << trellis->bits; idx += 4) {
                const long target = lrint((2 * trellis->k[idx] + 1) * (double)trellis->step * 4096);
                least = labs(x - target) < least ? labs(x - target) : least;
            }
            least <<= trellis->bits - 2;
            least = least > 65535 ? 65535 : least;
            cost[t][s] = least * least >> 16;
        }
    }
}

/* Total cost of coded bits, from the formulae of docs/format.md. */
static long cost_of(const unsigned char *u, size_t dim, long cost[][4])
{
    long sum = 0;
    for (size_t t = 0; t < dim; t++) {
        unsigned past[7];
        for (size_t i = 0; i < 7; i++) {
            past[i] = u[(t + dim - i) % dim];
        }
        const unsigned s0 = past[1] ^ past[2] ^ past[4];
        const unsigned s1 = past[0] ^ past[5] ^ past[6];
        sum += cost[t][2 * s1 + s0];
    }
    return sum;
}

/* The least cost of any tail-biting sequence, by a plain Viterbi search for each of the 64 states at the seam. */
static long least_cost(size_t dim, long cost[][4])
{
    long least = LONG_MAX;
    for (unsigned seam = 0; seam < 64; seam++) {
        long metric[64];
        for (unsigned n = 0; n < 64; n++) {
            metric[n] = n == seam ? 0 : LONG_MAX / 2;
        }
        for (size_t t = 0; t < dim; t++) {
            long next[64];
            for (unsigned n = 0; n < 64; n++) {
                next[n] = LONG_MAX / 2;
                for (unsigned oldest = 0; oldest < 2; oldest++) {
                    const unsigned window = n | oldest << 6;
                    const unsigned s0 = (window >> 1 ^ window >> 2 ^ window >> 4) & 1;
                    const unsigned s1 = (window ^ window >> 5 ^ window >> 6) & 1;
                    const long through = metric[window >> 1] + cost[t][2 * s1 + s0];
                    next[n] = through < next[n] ? through : next[n];
                }
            }
            memcpy(metric, next, sizeof metric);
        }
        least = metric[seam] < least ? metric[seam] : least;
    }
    return least;
}

/* A random vector, sometimes with a coordinate far beyond the outermost level, and what encoding it costs. */
static long encode_one(const tq_context *context, const tq_code *code, struct rng *rng, int vector, long cost[][4],
                       unsigned char *coded)
{
    float y[TQ_MAX_DIM];
    uint8_t row[2 + 4 * TQ_MAX_DIM / 8];
    rng_fill_gauss(rng, y, code->dim);
    if (vector % 5 == 4) {
        y[(size_t)vector % code->dim] *= 6;
    }
    const double norm = norm_of(y, code->dim) / sqrt((double)code->dim);
    const float sum_squares = (float)(norm * norm);
    context->kernels.trellis_encode(code, y, &sum_squares, 1, row);
    integer_costs(&code->trellis, y, sqrtf(sum_squares), code->dim, cost);
    for (size_t t = 0; t < code->dim; t++) {
        coded[t] = row[2 + t / 8] >> t % 8 & 1;
    }
    return cost_of(coded, code->dim, cost);
}

static tq_code code_with_dim(const tq_codec *codec, size_t dim)
{
    tq_code code = codec->code;
    code.dim = dim;
    code.row_bytes = 2 + code.bits * tq_plane_bytes(dim, 1);
    return code;
}

/* Short vectors: no sequence of coded bits at all costs less, by trying every one. */
static void test_exhaustive(void **state)
{
    struct rng rng = rng_seeded(11);
    for (size_t f = 0; f < N_FORMATS; f++) {
        tq_codec *codec = open_codec(*state, 16, FORMATS[f]);
        for (size_t dim = 8; dim <= SHORT; dim++) {
            const tq_code code = code_with_dim(codec, dim);
            for (int vector = 0; vector < (quick() ? 2 : 10); vector++) {
                long cost[SHORT][4];
                unsigned char coded[SHORT];
                const long found = encode_one(*state, &code, &rng, vector, cost, coded);
                for (unsigned u = 0; u < 1U << dim; u++) {
                    for (size_t t = 0; t < dim; t++) {
                        coded[t] = u >> t & 1;
                    }
                    if (cost_of(coded, dim, cost) < found) {
                        fail_msg("turbo%ut, dim %zu: cost %ld found, but bits %x cost %ld", code.bits, dim, found, u,
                                 cost_of(coded, dim, cost));
                    }
                }
            }
        }
        tq_codec_destroy(codec);
    }
}

/* Long vectors: exact below dim 40; from there on the seam is a good guess, and what it costs is bounded. */
static void test_seam(void **state)
{
    static const struct {
        size_t dim;
        double excess;
    } cases[] = {{24, 0}, {32, 0}, {40, 0.10}, {64, 0.05}, {128, 0.02}};
    enum { N = 40 };
    struct rng rng = rng_seeded(12);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double found = 0;
        double least = 0;
        for (int vector = 0; vector < N; vector++) {
            long cost[128][4];
            unsigned char coded[128];
            tq_codec *codec = open_codec(*state, 128, FORMATS[vector % N_FORMATS]);
            const tq_code code = code_with_dim(codec, cases[c].dim);
            found += (double)encode_one(*state, &code, &rng, vector, cost, coded);
            least += (double)least_cost(cases[c].dim, cost);
            tq_codec_destroy(codec);
        }
        print_message("dim %zu: cost %.4f times the least\n", cases[c].dim, found / least);
        assert_true(found >= least);
        assert_true(found <= least * (1 + cases[c].excess));
    }
}

/* One vector at a time and batches take different paths through a backend. */
static void test_batches(void **state)
{
    enum { N = 37 };
    for (size_t f = 0; f < N_FORMATS; f++) {
        for (uint32_t dim = 8; dim <= 256; dim += dim < 64 ? 8 : 64) {
            tq_codec *codec = open_codec(*state, dim, FORMATS[f]);
            struct rng rng = rng_seeded(dim);
            float *x = filled(N * dim * sizeof *x);
            const size_t bytes = tq_codec_bytes(codec);
            uint8_t *together = filled(N * bytes);
            uint8_t *apart = filled(N * bytes);
            rng_fill_gauss(&rng, x, (size_t)N * dim);
            memset(x + (size_t)3 * dim, 0, dim * sizeof *x);
            assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, N, together, N * bytes), TQ_OK);
            for (size_t i = 0; i < N; i++) {
                assert_status(tq_encode(codec, x + i * dim, TQ_DTYPE_F32, 0, 1, apart + i * bytes, bytes), TQ_OK);
            }
            assert_memory_equal(together, apart, N * bytes);
            free(x);
            free(together);
            free(apart);
            tq_codec_destroy(codec);
        }
    }
}

/* Both parities have an odd number of taps and levels are antisymmetric, so the code of -x is the complement of that of
 * x, unless a tie is broken. */
static void test_symmetry(void **state)
{
    enum { N = 200, DIM = 64 };
    for (size_t f = 0; f < N_FORMATS; f++) {
        tq_codec *codec = open_codec(*state, DIM, FORMATS[f]);
        struct rng rng = rng_seeded(5);
        uint8_t row[2][2 + 4 * DIM / 8];
        const size_t bytes = tq_codec_bytes(codec);
        size_t mirrored = 0;
        for (int i = 0; i < N; i++) {
            float x[DIM];
            rng_fill_gauss(&rng, x, DIM);
            assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, row[0], bytes), TQ_OK);
            for (size_t j = 0; j < DIM; j++) {
                x[j] = -x[j];
            }
            assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, row[1], bytes), TQ_OK);
            size_t complements = 0;
            for (size_t k = 2; k < bytes; k++) {
                complements += (row[0][k] ^ row[1][k]) == 0xFF;
            }
            mirrored += complements == bytes - 2;
        }
        print_message("%s: %zu of %d vectors mirrored exactly\n", tq_format_name(FORMATS[f]), mirrored, N);
        assert_true(mirrored * 10 >= N * 8);
        tq_codec_destroy(codec);
    }
}

static double distortion(const tq_context *context, tq_format format, uint32_t dim, tq_effort effort, size_t n)
{
    tq_codec_desc desc = codec_desc(dim, format);
    desc.scale = TQ_SCALE_LSQ;
    desc.effort = effort;
    tq_codec *codec = open_codec_desc(context, &desc);
    struct rng rng = rng_seeded(3);
    uint8_t row[2 + 4 * 128 / 8];
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        float x[128];
        float decoded[128];
        rng_fill_gauss(&rng, x, dim);
        assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, row, sizeof row), TQ_OK);
        assert_status(tq_decode(codec, row, sizeof row, 1, decoded, TQ_DTYPE_F32, 0), TQ_OK);
        const double length = norm_of(x, dim);
        for (size_t j = 0; j < dim; j++) {
            decoded[j] -= x[j];
        }
        const double error = norm_of(decoded, dim);
        sum += error * error / (length * length);
    }
    tq_codec_destroy(codec);
    return sum / (double)n;
}

/* The targets of the formats, with scale lsq and one rounding; other dimensions within 2 %. */
static void test_distortion(void **state)
{
    static const double limit[N_FORMATS] = {0.0806, 0.0219, 0.0059};
    const size_t n = quick() ? 1 << 10 : 1 << 16;
    const double slack = quick() ? 1.02 : 1; /* Three standard errors of the smaller sample. */
    for (size_t f = 0; f < N_FORMATS; f++) {
        const double d = distortion(*state, FORMATS[f], 128, TQ_EFFORT_FAST, n);
        print_message("%s: D %.5f\n", tq_format_name(FORMATS[f]), d);
        assert_true(d <= limit[f] * slack);
        assert_true(d > limit[f] * 0.95); /* Less would mean that the measurement is wrong. */
        for (uint32_t dim = 64; dim <= 96; dim += 32) {
            assert_true(distortion(*state, FORMATS[f], dim, TQ_EFFORT_FAST, n / 4) <= limit[f] * 1.02 * slack);
        }
    }
}

/* More effort is never worse by more than noise, and worth at least one per cent at every step. */
static void test_effort(void **state)
{
    const size_t n = quick() ? 256 : 2048;
    for (size_t f = 0; f < N_FORMATS; f++) {
        const double fast = distortion(*state, FORMATS[f], 128, TQ_EFFORT_FAST, n);
        const double balanced = distortion(*state, FORMATS[f], 128, TQ_EFFORT_BALANCED, n);
        const double best = distortion(*state, FORMATS[f], 128, TQ_EFFORT_BEST, n);
        print_message("%s: D %.5f, balanced %.5f, best %.5f\n", tq_format_name(FORMATS[f]), fast, balanced, best);
        assert_true(balanced < 0.99 * fast);
        assert_true(best < balanced);
    }
}

static void test_tables(void **state)
{
    (void)state;
    for (unsigned bits = 2; bits <= 4; bits++) {
        tq_trellis trellis;
        const size_t n_levels = (size_t)2 << bits;
        size_t seen[4] = {0};
        tq_trellis_init(&trellis, bits);
        for (size_t idx = 0; idx < n_levels; idx++) {
            assert_int_equal(trellis.k[n_levels - 1 - idx], ~trellis.k[idx]);
            assert_true(idx == 0 || trellis.k[idx] > trellis.k[idx - 1]);
        }
        for (size_t window = 0; window < TQ_TRELLIS_WINDOWS; window++) {
            seen[trellis.subset[window]]++;
        }
        for (size_t s = 0; s < 4; s++) {
            assert_int_equal(seen[s], TQ_TRELLIS_WINDOWS / 4);
        }
    }
}

static void test_dimensions(void **state)
{
    for (size_t f = 0; f < N_FORMATS; f++) {
        for (uint32_t dim = 1; dim <= 40; dim++) {
            const tq_codec_desc desc = codec_desc(dim, FORMATS[f]);
            tq_codec *codec = NULL;
            assert_status(tq_codec_create(*state, &desc, &codec), dim % 8 == 0 ? TQ_OK : TQ_ERR_UNSUPPORTED);
            assert_int_equal(codec != NULL, dim % 8 == 0);
            tq_codec_destroy(codec);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exhaustive), cmocka_unit_test(test_seam),       cmocka_unit_test(test_batches),
        cmocka_unit_test(test_symmetry),   cmocka_unit_test(test_distortion), cmocka_unit_test(test_effort),
        cmocka_unit_test(test_tables),     cmocka_unit_test(test_dimensions),
    };
    return cmocka_run_group_tests_name("trellis", tests, setup_context, teardown_context);
}

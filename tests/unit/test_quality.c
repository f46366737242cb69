/* SPDX-License-Identifier: MIT
 *
 * Quality: the distortion D = E |x - x'|^2 / |x|^2 of every format, bit width, scale mode, effort and dimension on
 * Gaussian vectors, against theory; slopes and norms; bias and variance of the prod formats.
 *
 * All numbers are deterministic. A band is what the expected value is known to, or, where fewer vectors are measured,
 * four standard errors if that is more. */
#include "support.h"

#include <math.h>
#include <stdio.h>

#include "codebook/codebook.h"

static const double PI = 3.14159265358979324;

static const tq_format PLAIN[] = {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO4,
                                  TQ_FORMAT_TURBO8};
enum { N_PLAIN = 5 };

/* Head dimensions of models. */
static const uint32_t DIMS[] = {64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320, 512, 576};
enum { N_DIMS = 13 };

static size_t count_of(size_t n)
{
    return quick() ? n / 16 : n;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* Mean and its standard error. */

struct mean {
    double sum, squares, n;
};

static void mean_add(struct mean *mean, double value)
{
    mean->sum += value;
    mean->squares += value * value;
    mean->n++;
}

static double mean_of(const struct mean *mean)
{
    return mean->sum / mean->n;
}

static double error_of(const struct mean *mean)
{
    const double average = mean_of(mean);
    return sqrt(larger(0, mean->squares / mean->n - average * average) / (mean->n - 1));
}

/* What decoding the encoded vectors gives, against the vectors. */

struct quality {
    struct mean distortion;  /* |x - x'|^2 / |x|^2 */
    struct mean slope;       /* <x, x'> / |x|^2 */
    double worst_slope;      /* the largest |slope - 1| */
    double worst_norm;       /* the largest ||x'| / |x| - 1| */
    struct mean from_cos[3]; /* 2 (1 - cos), 1 - cos^2, 1 / cos^2 - 1 */
    double *per_vector;      /* distortion of each vector, if not null */
};

static float *gaussian_vectors(size_t n, size_t dim, uint64_t seed)
{
    float *x = filled(n * dim * sizeof *x);
    struct rng rng = rng_seeded(seed);
    rng_fill_gauss(&rng, x, n * dim);
    return x;
}

static void measure(const tq_codec *codec, const float *x, size_t n, size_t dim, struct quality *quality)
{
    enum { CHUNK = 256 };
    const size_t size = CHUNK * tq_codec_bytes(codec);
    unsigned char *codes = filled(size);
    float *decoded = filled(CHUNK * dim * sizeof *decoded);
    for (size_t begin = 0; begin < n; begin += CHUNK) {
        const size_t count = n - begin < CHUNK ? n - begin : CHUNK;
        assert_status(tq_encode(codec, x + begin * dim, TQ_DTYPE_F32, 0, count, codes, size), TQ_OK);
        assert_status(tq_decode(codec, codes, size, count, decoded, TQ_DTYPE_F32, 0), TQ_OK);
        for (size_t i = 0; i < count; i++) {
            const float *a = x + (begin + i) * dim;
            const float *b = decoded + i * dim;
            const double aa = dot_of(a, a, dim);
            const double ab = dot_of(a, b, dim);
            const double bb = dot_of(b, b, dim);
            double error = 0; /* Not aa - 2 ab + bb, which cancels. */
            for (size_t j = 0; j < dim; j++) {
                const double difference = (double)a[j] - (double)b[j];
                error += difference * difference;
            }
            const double cosine_squared = ab * ab / (aa * bb);
            mean_add(&quality->distortion, error / aa);
            mean_add(&quality->slope, ab / aa);
            mean_add(&quality->from_cos[0], 2 * (1 - sqrt(cosine_squared)));
            mean_add(&quality->from_cos[1], 1 - cosine_squared);
            mean_add(&quality->from_cos[2], 1 / cosine_squared - 1);
            quality->worst_slope = larger(quality->worst_slope, fabs(ab / aa - 1));
            quality->worst_norm = larger(quality->worst_norm, fabs(sqrt(bb / aa) - 1));
            if (quality->per_vector) {
                quality->per_vector[begin + i] = error / aa;
            }
        }
    }
    free(decoded);
    free(codes);
}

static tq_codec *open_quality(const tq_context *context, uint32_t dim, tq_format format, tq_scale_mode scale,
                              tq_effort effort)
{
    tq_codec_desc desc = codec_desc(dim, format);
    desc.scale = scale;
    desc.effort = effort;
    desc.seed = 20250428;
    return open_codec_desc(context, &desc);
}

static struct quality quality_of(const tq_context *context, uint32_t dim, tq_format format, tq_scale_mode scale,
                                 tq_effort effort, const float *x, size_t n)
{
    struct quality quality = {0};
    tq_codec *codec = open_quality(context, dim, format, scale, effort);
    measure(codec, x, n, dim, &quality);
    tq_codec_destroy(codec);
    return quality;
}

/* Theory: in raw mode each coordinate of the rotated unit vector, times sqrt(d), has the density
 * C (1 - t^2/d)^((d-3)/2), and D is E (t - c(t))^2. By Simpson's rule on each cell of the codebook. */
static double theory(unsigned bits, double dim)
{
    enum { STEPS = 200 };
    const size_t n = (size_t)1 << bits;
    const tq_codebook book = tq_codebook_for(bits);
    const double end = sqrt(dim) < 12 ? sqrt(dim) : 12;
    double mass = 0;
    double error = 0;
    for (size_t i = 0; i < n; i++) {
        const double a = i == 0 ? -end : (double)book.thresholds[i - 1];
        const double b = i + 1 == n ? end : (double)book.thresholds[i];
        const double c = (double)book.centroids[i];
        const double h = (b - a) / STEPS;
        for (int k = 0; k <= STEPS; k++) {
            const double t = a + h * k;
            const double base = larger(0, 1 - t * t / dim);
            const double weight = (k == 0 || k == STEPS ? 1 : k % 2 ? 4 : 2) * h * pow(base, 0.5 * (dim - 3));
            mass += weight;
            error += weight * (t - c) * (t - c);
        }
    }
    return error / mass;
}

/* The theory itself against the exact values of the paper's Beta density, which have their own codebooks: the Gaussian
 * one costs at most half a per cent at d = 64. And against the constants of infinite d. */
static void test_theory(void **state)
{
    (void)state;
    static const struct {
        double dim, distortion[4];
    } beta[] = {{64, {.35839, .11453, .03339, .00913}},
                {96, {.36006, .11551, .03377, .00925}},
                {128, {.36089, .11600, .03397, .00931}},
                {256, {.36214, .11674, .03426, .00941}}};
    static const double infinite[4] = {.363380, .117482, .034548, .009501};
    for (unsigned bits = 1; bits <= 4; bits++) {
        for (size_t i = 0; i < 4; i++) {
            const double expected = beta[i].distortion[bits - 1];
            assert_close(theory(bits, beta[i].dim), expected, 0.006 * expected, "%u bits at d = %g", bits, beta[i].dim);
        }
        assert_close(theory(bits, 1e6), infinite[bits - 1], 1e-4 * infinite[bits - 1], "%u bits at infinite d", bits);
    }
}

/* d = 128, 2^16 vectors: the tables of docs/numerics.md. */

static void assert_table(const struct quality *measured, double expected, const char *what)
{
    const double error = 4 * error_of(&measured->distortion);
    printf("    %-24s D = %.5f +- %.5f, expected %.5f\n", what, mean_of(&measured->distortion), error / 4, expected);
    assert_close(mean_of(&measured->distortion), expected, quick() ? larger(0.01 * expected, error) : 0.01 * expected,
                 "%s", what);
}

static void test_table_of_128(void **state)
{
    enum { DIM = 128 };
    static const struct {
        tq_scale_mode scale;
        tq_effort effort;
        const char *name;
        double expected[4]; /* 0: not in the table */
    } table[] = {
        {TQ_SCALE_RAW, TQ_EFFORT_FAST, "raw", {.361, .1160, .0340, .00930}},
        {TQ_SCALE_NORM, TQ_EFFORT_FAST, "norm", {.401, .1188, .0338, .00917}},
        {TQ_SCALE_LSQ, TQ_EFFORT_FAST, "lsq", {.360, .1152, .0335, .00914}},
        {TQ_SCALE_UNBIASED, TQ_EFFORT_FAST, "unbiased", {.567, .1306, .0347, .00923}},
        {TQ_SCALE_LSQ, TQ_EFFORT_BALANCED, "lsq, balanced", {0, .1144, .0320, .00817}},
        {TQ_SCALE_LSQ, TQ_EFFORT_BEST, "lsq, best", {0, .1143, .0318, .00799}},
    };
    const size_t n = count_of(1 << 16);
    float *x = gaussian_vectors(n, DIM, 1);
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        for (size_t bits = 1; bits <= 4; bits++) {
            if (table[t].expected[bits - 1] > 0) {
                char what[64];
                const struct quality measured =
                    quality_of(*state, DIM, PLAIN[bits - 1], table[t].scale, table[t].effort, x, n);
                snprintf(what, sizeof what, "turbo%zu %s", bits, table[t].name);
                assert_table(&measured, table[t].expected[bits - 1], what);
            }
        }
    }
    free(x);
}

/* Eight bits: the constant of infinite d is 4.11851e-5. The band is 5 %: at d = 128 the tails of the density are
 * shorter, for which the outer levels are not made, and rounding the scale to fp16 adds up to 2^-22. */
static void test_eight_bits(void **state)
{
    enum { DIM = 128 };
    const double expected = 0.0000411851;
    const size_t n = count_of(1 << 16);
    float *x = gaussian_vectors(n, DIM, 2);
    for (tq_scale_mode scale = TQ_SCALE_NORM; scale <= TQ_SCALE_RAW; scale++) {
        const struct quality measured = quality_of(*state, DIM, TQ_FORMAT_TURBO8, scale, TQ_EFFORT_FAST, x, n);
        const double error = quick() ? 4 * error_of(&measured.distortion) : 0;
        printf("    turbo8, scale mode %d: D = %.4g +- %.2g (theory for raw: %.4g)\n", (int)scale,
               mean_of(&measured.distortion), error_of(&measured.distortion), theory(8, DIM));
        assert_close(mean_of(&measured.distortion), expected, 0.05 * expected + error, "turbo8, scale mode %d",
                     (int)scale);
    }
    free(x);
}

/* Raw mode at every dimension, against theory; enough vectors for one per cent. */
static void test_dims(void **state)
{
    for (size_t d = 0; d < N_DIMS; d++) {
        const size_t n = count_of((size_t)(1 << 21) / DIMS[d]);
        float *x = gaussian_vectors(n, DIMS[d], 3);
        for (size_t f = 0; f < N_PLAIN; f++) {
            const double expected = theory(bits_of(PLAIN[f]), DIMS[d]);
            const struct quality measured = quality_of(*state, DIMS[d], PLAIN[f], TQ_SCALE_RAW, TQ_EFFORT_FAST, x, n);
            const double error = error_of(&measured.distortion);
            if (!quick()) { /* Else the band would say nothing. Eight bits have rare, bad vectors. */
                assert_true(4 * error < (PLAIN[f] == TQ_FORMAT_TURBO8 ? 0.03 : 0.01) * expected);
            }
            assert_close(mean_of(&measured.distortion), expected, larger(0.01 * expected, 4 * error), "%s at d = %u",
                         tq_format_name(PLAIN[f]), (unsigned)DIMS[d]);
        }
        free(x);
    }
}

/* Few vectors at every dimension: the scale modes are what they promise, vector by vector. 2^-11 is the rounding of the
 * stored scale. */
static void test_scale_modes(void **state)
{
    const double rounding = 0x1p-11 + 1e-5;
    for (size_t d = 0; d < N_DIMS; d++) {
        const size_t n = count_of((size_t)(1 << 16) / DIMS[d]);
        float *x = gaussian_vectors(n, DIMS[d], 4);
        for (size_t f = 0; f < N_PLAIN; f++) {
            struct quality modes[TQ_SCALE_RAW + 1];
            for (tq_scale_mode scale = TQ_SCALE_NORM; scale <= TQ_SCALE_RAW; scale++) {
                modes[scale] = quality_of(*state, DIMS[d], PLAIN[f], scale, TQ_EFFORT_FAST, x, n);
            }
            assert_close(modes[TQ_SCALE_NORM].worst_norm, 0, rounding, "|x'| / |x| - 1");
            assert_close(modes[TQ_SCALE_UNBIASED].worst_slope, 0, rounding, "<x,x'> / |x|^2 - 1");
            assert_close(mean_of(&modes[TQ_SCALE_UNBIASED].slope), 1, 1e-3, "mean of <x,x'> / |x|^2");
            /* All modes round to the same codes, so their distortions follow from one cosine. */
            static const tq_scale_mode from_cos[] = {TQ_SCALE_NORM, TQ_SCALE_LSQ, TQ_SCALE_UNBIASED};
            for (size_t i = 0; i < 3; i++) {
                const double expected = mean_of(&modes[TQ_SCALE_RAW].from_cos[i]);
                assert_close(mean_of(&modes[from_cos[i]].distortion), expected, 0.002 * expected + 0x1p-22,
                             "%s at d = %u, scale mode %d", tq_format_name(PLAIN[f]), (unsigned)DIMS[d],
                             (int)from_cos[i]);
            }
            assert_true(mean_of(&modes[TQ_SCALE_LSQ].distortion) <=
                        mean_of(&modes[TQ_SCALE_RAW].distortion) * 1.0001 + 0x1p-22);
        }
        free(x);
    }
}

/* Many roundings never make a vector worse than one does, and on the whole better. Nine gain little over five, for some
 * vectors less than nothing because they are not the same five: test_table_of_128 has the numbers. */
static void test_effort(void **state)
{
    for (size_t d = 0; d < N_DIMS; d++) {
        const size_t n = 64; /* The statement is about each vector; means only confirm it. */
        float *x = gaussian_vectors(n, DIMS[d], 5);
        for (size_t f = 0; f < N_PLAIN; f++) {
            double *errors[TQ_EFFORT_BEST + 1];
            double means[TQ_EFFORT_BEST + 1];
            for (tq_effort effort = TQ_EFFORT_FAST; effort <= TQ_EFFORT_BEST; effort++) {
                struct quality quality = {.per_vector = filled(n * sizeof(double))};
                tq_codec *codec = open_quality(*state, DIMS[d], PLAIN[f], TQ_SCALE_LSQ, effort);
                measure(codec, x, n, DIMS[d], &quality);
                tq_codec_destroy(codec);
                errors[effort] = quality.per_vector;
                means[effort] = mean_of(&quality.distortion);
            }
            struct mean gain = {0}; /* Of nine roundings over five. */
            for (size_t i = 0; i < n; i++) {
                const double fast = errors[TQ_EFFORT_FAST][i];
                assert_true(errors[TQ_EFFORT_BALANCED][i] <= fast * 1.001 + 1e-6);
                assert_true(errors[TQ_EFFORT_BEST][i] <= fast * 1.001 + 1e-6);
                mean_add(&gain, errors[TQ_EFFORT_BALANCED][i] - errors[TQ_EFFORT_BEST][i]);
            }
            if (PLAIN[f] != TQ_FORMAT_TURBO1) { /* One bit is a sign, whatever it is multiplied with. */
                assert_true(means[TQ_EFFORT_BALANCED] < means[TQ_EFFORT_FAST]);
                assert_true(mean_of(&gain) > -4 * error_of(&gain));
            }
            for (tq_effort effort = TQ_EFFORT_FAST; effort <= TQ_EFFORT_BEST; effort++) {
                free(errors[effort]);
            }
        }
        free(x);
    }
}

/* The dense rotation is as good, also at dimensions that have no other. */
static void test_haar(void **state)
{
    static const uint32_t dims[] = {44, 64, 100, 128};
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        const size_t n = count_of(1 << 12);
        float *x = gaussian_vectors(n, dims[d], 6);
        for (size_t f = 0; f < N_PLAIN; f++) {
            tq_codec_desc desc = codec_desc(dims[d], PLAIN[f]);
            desc.rotation = TQ_ROTATION_HAAR;
            desc.scale = TQ_SCALE_RAW;
            tq_codec *codec = open_codec_desc(*state, &desc);
            struct quality measured = {0};
            measure(codec, x, n, dims[d], &measured);
            tq_codec_destroy(codec);
            const double expected = theory(bits_of(PLAIN[f]), dims[d]);
            assert_close(mean_of(&measured.distortion), expected,
                         larger(0.01 * expected, 4 * error_of(&measured.distortion)), "haar: %s at d = %u",
                         tq_format_name(PLAIN[f]), (unsigned)dims[d]);
        }
        free(x);
    }
}

/* Vectors that are all but Gaussian: the rotation makes them so, on the average over seeds. */
static void test_unlike_gaussian(void **state)
{
    enum { DIM = 128, N_SEEDS = 200 };
    for (int kind = 0; kind < 3; kind++) {
        struct mean distortion = {0};
        struct rng rng = rng_seeded(7);
        for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
            float x[DIM];
            struct quality quality = {0};
            for (size_t j = 0; j < DIM; j++) {
                const double gauss = rng_gauss(&rng);
                x[j] = (float)(kind == 0   ? (j % 16 == 3 ? 30 : 1) * gauss  /* Outlier channels. */
                               : kind == 1 ? 3 + 0.5 * gauss                 /* A bias. */
                                           : exp(1.5 * gauss) - exp(1.125)); /* Heavy tails. */
            }
            tq_codec_desc desc = codec_desc(DIM, TQ_FORMAT_TURBO4);
            desc.seed = seed;
            tq_codec *codec = open_codec_desc(*state, &desc);
            measure(codec, x, 1, DIM, &quality);
            tq_codec_destroy(codec);
            mean_add(&distortion, mean_of(&quality.distortion));
        }
        assert_true(mean_of(&distortion) < 0.012);
    }
}

/* Values: the sum of many vectors keeps the mean that they share under the unbiased scale, and shrinks by D under the
 * least-squares one. One rotation may favour one direction, so this is a statement about the average over seeds. */
static void test_sums_do_not_shrink(void **state)
{
    enum { DIM = 128, N = 512 };
    static const double shrunk[] = {.360, .1152, .0335, .00914};
    const uint64_t n_seeds = quick() ? 16 : 128;
    float *x = filled(N * DIM * sizeof *x);
    float w[N];
    float mean[DIM];
    for (size_t j = 0; j < DIM; j++) {
        mean[j] = j % 3 == 0 ? 0.9F : -0.3F; /* Length 6.3; the noise has 11.3. */
    }
    for (size_t i = 0; i < N; i++) {
        w[i] = 1.0F / N;
    }
    for (size_t bits = 1; bits <= 4; bits++) {
        struct mean kept[2] = {{0, 0, 0}, {0, 0, 0}};
        struct rng rng = rng_seeded(8);
        for (uint64_t seed = 0; seed < n_seeds; seed++) {
            double exact = 0;
            for (size_t i = 0; i < N * DIM; i++) {
                x[i] = mean[i % DIM] + (float)rng_gauss(&rng);
                exact += (double)x[i] * (double)mean[i % DIM] / N;
            }
            for (int i = 0; i < 2; i++) {
                tq_codec_desc desc = codec_desc(DIM, PLAIN[bits - 1]);
                desc.seed = seed;
                desc.scale = i == 0 ? TQ_SCALE_UNBIASED : TQ_SCALE_LSQ;
                tq_codec *codec = open_codec_desc(*state, &desc);
                const size_t size = N * tq_codec_bytes(codec);
                unsigned char *codes = filled(size);
                float sum[DIM];
                assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, N, codes, size), TQ_OK);
                assert_status(tq_weighted_sum(codec, w, 0, 1, codes, size, N, sum, 0), TQ_OK);
                mean_add(&kept[i], dot_of(sum, mean, DIM) / exact);
                free(codes);
                tq_codec_destroy(codec);
            }
        }
        printf("    turbo%zu keeps %.4f +- %.4f of a mean; lsq %.4f +- %.4f\n", bits, mean_of(&kept[0]),
               error_of(&kept[0]), mean_of(&kept[1]), error_of(&kept[1]));
        assert_close(mean_of(&kept[0]), 1, larger(0.002, 4 * error_of(&kept[0])),
                     "turbo%zu: what the unbiased scale keeps", bits);
        assert_close(mean_of(&kept[1]), 1 - shrunk[bits - 1], larger(0.002, 4 * error_of(&kept[1])),
                     "turbo%zu: what the least-squares scale keeps", bits);
    }
    free(x);
}

/* Prod: the variance of <q, x'>, as D_prod = E (<q,x> - <q,x'>)^2 d / (|q|^2 |x|^2) over independent q and x. For a
 * residual r of squared length D_1 |x|^2 left by the first stage, Algorithm 2 gives D_prod = (pi/2 - 1/d) D_1, with D_1
 * the distortion of one bit less under the least-squares scale; pi/2 D for infinite d: .571, .1845, .0543. */
static void test_prod_variance(void **state)
{
    enum { DIM = 128, N_Q = 32, N_SEEDS = 64 };
    static const double infinite[] = {.571, .1845, .0543};
    static const double first_stage[] = {.360, .1152, .0335};
    const size_t n = count_of(1024);
    float *q = gaussian_vectors(N_Q, DIM, 9);
    float *x = gaussian_vectors(n, DIM, 10);
    float *scores = filled(N_Q * n * sizeof *scores);
    for (size_t i = 0; i < 3; i++) {
        struct mean per_seed = {0};
        for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
            tq_codec_desc desc = codec_desc(DIM, TQ_FORMAT_TURBO2_PROD + (tq_format)i);
            desc.seed = seed;
            tq_codec *codec = open_codec_desc(*state, &desc);
            const size_t size = n * tq_codec_bytes(codec);
            unsigned char *codes = filled(size);
            struct mean error = {0};
            assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, n, codes, size), TQ_OK);
            assert_status(tq_attention_scores(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, n, 1, scores, 0), TQ_OK);
            for (size_t a = 0; a < N_Q; a++) {
                for (size_t b = 0; b < n; b++) {
                    const double exact = dot_of(q + a * DIM, x + b * DIM, DIM);
                    const double unit = dot_of(q + a * DIM, q + a * DIM, DIM) * dot_of(x + b * DIM, x + b * DIM, DIM);
                    mean_add(&error, pow(exact - (double)scores[a * n + b], 2) * DIM / unit);
                }
            }
            mean_add(&per_seed, mean_of(&error));
            free(codes);
            tq_codec_destroy(codec);
        }
        const double measured = mean_of(&per_seed);
        const double error = error_of(&per_seed);
        const double expected = (PI / 2 - 1.0 / DIM) * first_stage[i];
        printf("    turbo%zu-prod D_prod d = %.5f +- %.5f, expected %.5f (infinite d: %.4f)\n", i + 2, measured, error,
               expected, infinite[i]);
        assert_close(measured, expected, larger(0.02 * expected, 4 * error), "turbo%zu-prod: variance", i + 2);
    }
    free(scores);
    free(x);
    free(q);
}

/* Prod: <q, x'> is unbiased over the draws of S. 100 codecs of 1000 pairs each; q is correlated with x, else any shrunk
 * x' would pass: the same measurement finds the bias of the first stage alone. */
static void test_prod_bias(void **state)
{
    enum { DIM = 64, N_SEEDS = 100 };
    const size_t n = quick() ? 100 : 1000;
    static const tq_format formats[] = {TQ_FORMAT_TURBO2_PROD, TQ_FORMAT_TURBO3_PROD, TQ_FORMAT_TURBO4_PROD,
                                        TQ_FORMAT_TURBO1,      TQ_FORMAT_TURBO2,      TQ_FORMAT_TURBO3};
    float *x = gaussian_vectors(n, DIM, 11);
    float *q = gaussian_vectors(n, DIM, 12);
    for (size_t i = 0; i < n * DIM; i++) {
        q[i] += x[i];
    }
    for (size_t f = 0; f < 6; f++) {
        struct mean bias = {0}; /* One value for each codec: they are independent. */
        for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
            tq_codec_desc desc = codec_desc(DIM, formats[f]);
            desc.seed = seed;
            desc.scale = TQ_SCALE_LSQ;
            desc.effort = TQ_EFFORT_FAST;
            tq_codec *codec = open_codec_desc(*state, &desc);
            const size_t row = tq_codec_bytes(codec);
            unsigned char *codes = filled(n * row);
            double sum = 0;
            assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, n, codes, n * row), TQ_OK);
            for (size_t i = 0; i < n; i++) {
                float score;
                assert_status(
                    tq_attention_scores(codec, q + i * DIM, TQ_DTYPE_F32, 0, 1, codes + i * row, row, 1, 1, &score, 0),
                    TQ_OK);
                sum += ((double)score - dot_of(q + i * DIM, x + i * DIM, DIM)) / dot_of(x + i * DIM, x + i * DIM, DIM);
            }
            mean_add(&bias, sum / (double)n);
            free(codes);
            tq_codec_destroy(codec);
        }
        const double sigmas = mean_of(&bias) / error_of(&bias);
        printf("    %-12s bias of <q,x'> / |x|^2 = %+.5f = %+.1f sigma\n", tq_format_name(formats[f]), mean_of(&bias),
               sigmas);
        if (is_prod(formats[f])) {
            assert_close(sigmas, 0, 3, "%s: bias in standard errors", tq_format_name(formats[f]));
        } else {
            assert_true(sigmas < -10);
        }
    }
    free(q);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_theory),
        cmocka_unit_test(test_table_of_128),
        cmocka_unit_test(test_eight_bits),
        cmocka_unit_test(test_dims),
        cmocka_unit_test(test_scale_modes),
        cmocka_unit_test(test_effort),
        cmocka_unit_test(test_haar),
        cmocka_unit_test(test_unlike_gaussian),
        cmocka_unit_test(test_sums_do_not_shrink),
        cmocka_unit_test(test_prod_variance),
        cmocka_unit_test(test_prod_bias),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}

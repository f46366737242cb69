/* SPDX-License-Identifier: MIT
 *
 * Prints D = |x - x'|^2 / |x|^2 of vectors with structure, which one round of signs and Hadamard spreads less well than
 * Gaussian ones: mean over many seeds, and the worst. docs/numerics.md shows the table. Scale lsq, one rounding. */
#include "turboquant.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "random.h"

enum { DIM = 128, N_SEEDS = 500 };

static const char *const FORMATS[] = {"turbo2", "turbo2t", "turbo3", "turbo3t", "turbo4", "turbo4t"};
enum { N_FORMATS = sizeof FORMATS / sizeof *FORMATS };

static void gaussian(uint64_t seed, float *x)
{
    for (size_t j = 0; j < DIM; j++) {
        x[j] = (float)tq_random_normal(&seed);
    }
}

static void one_hot(uint64_t seed, float *x)
{
    x[tq_random_next(&seed) % DIM] = 1;
}

static void two_hot(uint64_t seed, float *x)
{
    x[tq_random_next(&seed) % DIM] = 1;
    x[tq_random_next(&seed) % DIM] = -1;
}

static void constant_blocks(uint64_t seed, float *x)
{
    for (size_t j = 0; j < DIM; j++) {
        x[j] = j % 16 == 0 ? (float)tq_random_normal(&seed) : x[j - 1];
    }
}

static void sinusoid(uint64_t seed, float *x)
{
    const double frequency = (double)(tq_random_next(&seed) >> 11) * 0x1p-53 * 3.14159265358979;
    for (size_t j = 0; j < DIM; j++) {
        x[j] = (float)sin(frequency * (double)j);
    }
}

static void outlier(uint64_t seed, float *x)
{
    gaussian(seed, x);
    x[tq_random_next(&seed) % DIM] *= 100;
}

/* The signs of the codec's own seed times a row of Hadamard's matrix: after the rotation all is in one coordinate. Only
 * someone who knows the seed can make it. */
static void adversarial(uint64_t seed, float *x)
{
    uint64_t state = seed;
    uint64_t word = 0;
    for (size_t j = 0; j < DIM; j++) {
        unsigned odd = (unsigned)(j & seed % DIM);
        odd ^= odd >> 4;
        odd ^= odd >> 2;
        odd ^= odd >> 1;
        if (j % 64 == 0) {
            word = tq_random_next(&state);
        }
        x[j] = ((word >> j % 64) ^ odd) & 1 ? -1.0F : 1.0F;
    }
}

static const struct {
    const char *name;
    void (*make)(uint64_t seed, float *x);
} INPUTS[] = {
    {"Gaussian", gaussian},
    {"one-hot", one_hot},
    {"two-hot", two_hot},
    {"constant in blocks of 16", constant_blocks},
    {"sinusoid", sinusoid},
    {"Gaussian, one coordinate x 100", outlier},
    {"Hadamard row under the known seed", adversarial},
};

static void check(tq_status status)
{
    if (status != TQ_OK) {
        fprintf(stderr, "structured_inputs: %s\n", tq_status_string(status));
        exit(1);
    }
}

static double distortion(const tq_codec *codec, const float *x)
{
    unsigned char row[2 + DIM];
    float decoded[DIM];
    double error = 0;
    double power = 0;
    check(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, row, sizeof row));
    check(tq_decode(codec, row, sizeof row, 1, decoded, TQ_DTYPE_F32, 0));
    for (size_t j = 0; j < DIM; j++) {
        error += pow((double)x[j] - (double)decoded[j], 2);
        power += pow((double)x[j], 2);
    }
    return error / power;
}

int main(void)
{
    tq_context *context;
    check(tq_context_create(NULL, &context));
    printf("| input, %d seeds, d = %d: mean (worst) |", N_SEEDS, DIM);
    for (size_t f = 0; f < N_FORMATS; f++) {
        printf(" %s |", FORMATS[f]);
    }
    printf("\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof INPUTS / sizeof *INPUTS; i++) {
        printf("| %s |", INPUTS[i].name);
        for (size_t f = 0; f < N_FORMATS; f++) {
            double sum = 0;
            double worst = 0;
            for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
                tq_codec_desc desc = TQ_CODEC_DESC_INIT;
                tq_codec *codec;
                float x[DIM] = {0};
                desc.dim = DIM;
                desc.scale = TQ_SCALE_LSQ;
                desc.effort = TQ_EFFORT_FAST;
                desc.seed = seed;
                check(tq_format_parse(FORMATS[f], &desc.format));
                check(tq_codec_create(context, &desc, &codec));
                INPUTS[i].make(seed, x);
                const double d = distortion(codec, x);
                sum += d;
                worst = fmax(worst, d);
                tq_codec_destroy(codec);
            }
            printf(" %.4f (%.3f) |", sum / N_SEEDS, worst);
        }
        printf("\n");
    }
    tq_context_destroy(context);
    return 0;
}

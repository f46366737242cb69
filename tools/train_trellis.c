/* SPDX-License-Identifier: MIT
 *
 * Where the tables in src/codebook/trellis.c come from.
 *
 *     train_trellis measure [VECTORS]  D of the codes as they are, at several dimensions, and the worst vector
 *     train_trellis levels BITS        trains levels for the taps in use, rounds them to int8 and measures both
 *     train_trellis taps BITS TRIES    trains levels for random pairs of taps and prints every better pair
 *
 * D is E |x - x'|^2 / |x|^2 on Gaussian vectors with the least-squares scale, one rounding. Training vectors and
 * measured ones come from different seeds. */
#include "codebook/lloyd_max.h"
#include "kernels/scalar/rows_scalar.h"
#include "random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_LEVELS = 32,
    MAX_DIM = 256,
    MEASURE_VECTORS = 1 << 16,
    TRAIN_VECTORS = 1 << 14,
    TRAIN_STEPS = 150,
    SEARCH_VECTORS = 1 << 12,
    SEARCH_STEPS = 6,
    BATCH = 8
};

static const float ONE_GAIN[] = {1.0F};

/* What encoding many vectors taught. */
typedef struct result {
    double distortion; /* Mean. */
    double worst;
    double sum[MAX_LEVELS];   /* Of the coordinates that were rounded to a level. */
    double count[MAX_LEVELS]; /* How many they were. */
} result;

static tq_code code_of(const tq_trellis *trellis, size_t dim)
{
    return (tq_code){.dim = dim,
                     .bits = trellis->bits,
                     .row_bytes = 2 + trellis->bits * tq_plane_bytes(dim, 1),
                     .codes_at = 2,
                     .trellis = *trellis,
                     .scale = TQ_SCALE_LSQ,
                     .gains = ONE_GAIN,
                     .n_gains = 1};
}

/* Encodes n_vectors Gaussian vectors with a code whose k[i] is i - 2^bits, so that k tells the index, and whose levels
 * are `levels`. */
static result run(const tq_trellis *trellis, const double *levels, size_t dim, size_t n_vectors, uint64_t seed)
{
    const tq_code code = code_of(trellis, dim);
    const size_t n_levels = (size_t)2 << trellis->bits;
    result r = {0};
    for (size_t done = 0; done < n_vectors; done += BATCH) {
        float y[BATCH * MAX_DIM];
        float sum_squares[BATCH];
        uint8_t rows[BATCH * (2 + MAX_DIM)];
        for (size_t v = 0; v < BATCH; v++) {
            double squares = 0;
            for (size_t j = 0; j < dim; j++) {
                y[v * dim + j] = (float)tq_random_normal(&seed);
                squares += (double)y[v * dim + j] * (double)y[v * dim + j];
            }
            sum_squares[v] = (float)(squares / (double)dim);
        }
        tq_trellis_encode_scalar(&code, y, sum_squares, BATCH, rows);
        for (size_t v = 0; v < BATCH; v++) {
            float markers[MAX_DIM];
            double yy = 0;
            double yc = 0;
            double cc = 0;
            tq_trellis_read(&code, rows + v * code.row_bytes, markers);
            for (size_t j = 0; j < dim; j++) {
                const size_t idx = (size_t)(markers[j] / trellis->step - 0.5F + (float)(n_levels / 2));
                const double x = (double)y[v * dim + j] / sqrt((double)sum_squares[v]);
                r.sum[idx] += x;
                r.count[idx] += 1;
                yy += x * x;
                yc += x * levels[idx];
                cc += levels[idx] * levels[idx];
            }
            const double distortion = 1 - yc * yc / (yy * cc);
            r.distortion += distortion / (double)n_vectors;
            r.worst = fmax(r.worst, distortion);
        }
    }
    return r;
}

/* A code with these taps whose encoder aims at `levels`. */
static tq_trellis trellis_with(unsigned bits, const unsigned taps[2], const double *levels)
{
    tq_trellis trellis;
    int8_t markers[MAX_LEVELS] = {0};
    const int n_levels = 2 << bits;
    for (int i = 0; i < n_levels; i++) {
        markers[i] = (int8_t)(i - n_levels / 2);
    }
    tq_trellis_make(&trellis, bits, taps, markers, 1.0F);
    for (int i = 0; i < n_levels; i++) {
        trellis.target[i] = (int16_t)fmax(-32767, fmin(32767, rint(levels[i] * TQ_TRELLIS_UNIT)));
    }
    return trellis;
}

/* Lloyd iterations: encode, then move every level to the mean of what was rounded to it, keeping the code
 * antisymmetric. `levels` is the start, or the Lloyd-Max levels of one bit more if its first entry is 0. */
static result train(unsigned bits, const unsigned taps[2], double *levels, int steps, size_t n_vectors)
{
    const size_t n_levels = (size_t)2 << bits;
    if (levels[0] == 0) {
        double positive[128];
        tq_lloyd_max(n_levels / 2, positive);
        for (size_t i = 0; i < n_levels / 2; i++) {
            levels[n_levels / 2 + i] = positive[i];
            levels[n_levels / 2 - 1 - i] = -positive[i];
        }
    }
    result r = {0};
    for (int step = 0; step < steps; step++) {
        const tq_trellis trellis = trellis_with(bits, taps, levels);
        r = run(&trellis, levels, 128, n_vectors, 1000 + (uint64_t)step);
        for (size_t i = 0; i < n_levels / 2; i++) {
            const size_t mirror = n_levels - 1 - i;
            const double mean = (r.sum[mirror] - r.sum[i]) / fmax(1, r.count[mirror] + r.count[i]);
            levels[i] = -mean;
            levels[mirror] = mean;
        }
    }
    return r;
}

/* Rounds levels to (k + 1/2) step with the step that leaves the least squared error, weighted by how often a level is
 * used. */
static double round_levels(unsigned bits, const double *levels, const double *count, int *k)
{
    const int n_levels = 2 << bits;
    const double largest = levels[n_levels - 1];
    double best_step = 0;
    double best_error = HUGE_VAL;
    for (double step = ceil(largest / 127.5 * 1e5) / 1e5; step < largest / 60; step += 1e-5) {
        double error = 0;
        for (int i = 0; i < n_levels; i++) {
            const double e = levels[i] - (floor(levels[i] / step) + 0.5) * step;
            error += count[i] * e * e;
        }
        if (error < best_error) {
            best_error = error;
            best_step = step;
        }
    }
    for (int i = 0; i < n_levels; i++) {
        k[i] = (int)floor(levels[i] / best_step);
    }
    return best_step;
}

static double measure_rounded(unsigned bits, const unsigned taps[2], const int *k, double step, size_t dim,
                              size_t n_vectors, double *worst)
{
    double levels[MAX_LEVELS];
    for (int i = 0; i < 2 << bits; i++) {
        levels[i] = (k[i] + 0.5) * step;
    }
    const tq_trellis trellis = trellis_with(bits, taps, levels);
    const result r = run(&trellis, levels, dim, n_vectors, 1);
    *worst = r.worst;
    return r.distortion;
}

static void measure(size_t n_vectors)
{
    static const size_t dims[] = {64, 80, 96, 112, 128, 256};
    printf("D (lsq, one rounding) on %zu Gaussian vectors, and the worst of them\n", n_vectors);
    for (unsigned bits = 2; bits <= 4; bits++) {
        tq_trellis used;
        int k[MAX_LEVELS];
        tq_trellis_init(&used, bits);
        for (int i = 0; i < 2 << bits; i++) {
            k[i] = used.k[i];
        }
        printf("turbo%ut", bits);
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
            double worst;
            const double d = measure_rounded(bits, tq_trellis_taps, k, (double)used.step, dims[i], n_vectors, &worst);
            printf("  d=%zu %.5f (%.4f)", dims[i], d, worst);
            fflush(stdout);
        }
        printf("\n");
    }
}

static void levels_for(unsigned bits)
{
    double levels[MAX_LEVELS] = {0};
    int k[MAX_LEVELS];
    double worst;
    const result trained = train(bits, tq_trellis_taps, levels, TRAIN_STEPS, TRAIN_VECTORS);
    const double step = round_levels(bits, levels, trained.count, k);
    printf("%u bits: D %.5f while training with levels of any size; step %.5f, k =", bits, trained.distortion, step);
    for (int i = 0; i < 2 << bits; i++) {
        printf(" %d", k[i]);
    }
    printf("\nD %.5f with these, on other vectors\n",
           measure_rounded(bits, tq_trellis_taps, k, step, 128, MEASURE_VECTORS, &worst));
}

static double quick_distortion(unsigned bits, const unsigned taps[2])
{
    double levels[MAX_LEVELS] = {0};
    return train(bits, taps, levels, SEARCH_STEPS, SEARCH_VECTORS).distortion;
}

static void search_taps(unsigned bits, long tries)
{
    uint64_t state = 7;
    double best = quick_distortion(bits, tq_trellis_taps);
    printf("in use: taps octal %o %o, D %.5f after %d training steps\n", tq_trellis_taps[0], tq_trellis_taps[1], best,
           SEARCH_STEPS);
    for (long i = 0; i < tries; i++) {
        const unsigned taps[2] = {(unsigned)(tq_random_next(&state) % TQ_TRELLIS_WINDOWS),
                                  (unsigned)(tq_random_next(&state) % TQ_TRELLIS_WINDOWS)};
        /* The newest and the oldest bit must matter, or there are fewer states; equal parities give two subsets. */
        const unsigned used = taps[0] | taps[1];
        if ((used & 1) == 0 || (used >> TQ_TRELLIS_MEMORY & 1) == 0 || taps[0] == taps[1] || taps[0] == 0 ||
            taps[1] == 0) {
            continue;
        }
        const double d = quick_distortion(bits, taps);
        if (d < best) {
            best = d;
            printf("try %ld: taps octal %o %o, D %.5f\n", i, taps[0], taps[1], best);
            fflush(stdout);
        }
    }
    printf("%ld pairs tried\n", tries);
}

int main(int argc, char **argv)
{
    const unsigned bits = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if ((argc == 2 || argc == 3) && strcmp(argv[1], "measure") == 0) {
        const unsigned long wanted = argc == 3 ? strtoul(argv[2], NULL, 10) : MEASURE_VECTORS;
        measure(wanted / BATCH * BATCH);
    } else if (argc == 3 && strcmp(argv[1], "levels") == 0 && bits >= 2 && bits <= 4) {
        levels_for(bits);
    } else if (argc == 4 && strcmp(argv[1], "taps") == 0 && bits >= 2 && bits <= 4) {
        search_taps(bits, strtol(argv[3], NULL, 10));
    } else {
        fprintf(stderr, "usage: train_trellis measure [VECTORS] | levels BITS | taps BITS TRIES (BITS is 2, 3 or 4)\n");
        return 2;
    }
    return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * Lloyd-Max quantiser of N(0,1) (S. Lloyd, "Least squares quantization in PCM", 1957/1982; J. Max, "Quantizing for
 * minimum distortion", 1960). It is optimal when every level is the mean of its cell and every border is half-way
 * between two levels:
 *
 *     b_i = (c_{i-1} + c_i) / 2,     c_i = E[X | b_i < X < b_{i+1}],     b_0 = 0, b_n = infinity
 *
 * Plain iteration of the two conditions creeps at 8 bits, so the equations f_i(c) = c_i - mean(b_i, b_{i+1}) = 0 are
 * solved by Newton's method. A cell's mean moves with its two borders only, so the Jacobian is tridiagonal. */
#include "codebook/lloyd_max.h"

#include <math.h>

enum { MAX_LEVELS = 128, MAX_STEPS = 100 };

static const double INV_SQRT_2PI = 0.39894228040143267794;
static const double INV_SQRT_2 = 0.70710678118654752440;

static double density(double x)
{
    return INV_SQRT_2PI * exp(-0.5 * x * x);
}

/* P(a < X < b) for 0 <= a < b, precise in the tail. */
static double probability(double a, double b)
{
    return 0.5 * (erfc(a * INV_SQRT_2) - erfc(b * INV_SQRT_2));
}

/* E[X | a < X < b] */
static double cell_mean(double a, double b)
{
    return (density(a) - density(b)) / probability(a, b);
}

static void cell_borders(size_t n, const double *levels, double *borders)
{
    borders[0] = 0;
    for (size_t i = 1; i < n; i++) {
        borders[i] = 0.5 * (levels[i - 1] + levels[i]);
    }
    borders[n] = HUGE_VAL;
}

/* One Newton step; returns the largest change of a level. d mean / d a = density(a) (mean - a) / probability, and
 * d mean / d b = density(b) (b - mean) / probability; each border moves half as far as each of its two levels. */
static double newton_step(size_t n, double *levels)
{
    double borders[MAX_LEVELS + 1];
    double above[MAX_LEVELS];    /* Upper diagonal after elimination. */
    double residual[MAX_LEVELS]; /* Right-hand side after elimination, then the solution. */
    cell_borders(n, levels, borders);
    for (size_t i = 0; i < n; i++) {
        const double a = borders[i];
        const double b = borders[i + 1];
        const double mean = cell_mean(a, b);
        const double mass = probability(a, b);
        const double low = i > 0 ? 0.5 * density(a) * (mean - a) / mass : 0;
        const double high = i + 1 < n ? 0.5 * density(b) * (b - mean) / mass : 0;
        const double below = -low;
        double diagonal = 1 - low - high;
        residual[i] = levels[i] - mean;
        if (i > 0) {
            diagonal -= below * above[i - 1];
            residual[i] -= below * residual[i - 1];
        }
        above[i] = -high / diagonal;
        residual[i] /= diagonal;
    }
    double change = 0;
    for (size_t i = n; i-- > 0;) {
        if (i + 1 < n) {
            residual[i] -= above[i] * residual[i + 1];
        }
        levels[i] -= residual[i];
        change = fmax(change, fabs(residual[i]));
    }
    return change;
}

double tq_lloyd_max(size_t n_positive, double *levels)
{
    /* Start from the companding law for high resolution: the density of levels is proportional to density(x)^(1/3),
     * which is a normal density of variance 3. Its quantiles come by bisection. */
    for (size_t i = 0; i < n_positive; i++) {
        const double mass = 0.5 * ((double)i + 0.5) / (double)n_positive;
        double low = 0;
        double high = 20;
        for (int k = 0; k < 60; k++) {
            const double middle = 0.5 * (low + high);
            if (probability(0, middle / sqrt(3.0)) < mass) {
                low = middle;
            } else {
                high = middle;
            }
        }
        levels[i] = low;
    }
    for (int step = 0; step < MAX_STEPS && newton_step(n_positive, levels) > 1e-15; step++) {
    }
    double borders[MAX_LEVELS + 1];
    double power = 0; /* At the optimum the error is 1 - E[c^2]. */
    cell_borders(n_positive, levels, borders);
    for (size_t i = 0; i < n_positive; i++) {
        power += 2 * levels[i] * levels[i] * probability(borders[i], borders[i + 1]);
    }
    return 1 - power;
}

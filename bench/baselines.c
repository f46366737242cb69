/* SPDX-License-Identifier: MIT */
/* The baselines: which loops serve a format on this machine, and the rotation around q4_0. */
#include "baselines.h"

#include <string.h>

#include "random.h"

enum { BLOCK = 32 };

const char *baseline_name(enum baseline_kind kind)
{
    static const char *const names[BASELINE_COUNT] = {"f16", "q8_0", "q4_0", "q4_0-rot"};
    return names[kind];
}

bool baseline_supports(enum baseline_kind kind, size_t dim)
{
    return kind == BASELINE_F16 || (dim % BLOCK == 0 && (kind != BASELINE_Q4_0_ROT || (dim & (dim - 1)) == 0));
}

void baseline_init(struct baseline *baseline, enum baseline_kind kind, size_t dim, uint64_t seed,
                   const struct baseline_loops *loops)
{
    baseline->loops = loops;
    baseline->rows = kind == BASELINE_F16 ? &loops->f16 : kind == BASELINE_Q8_0 ? &loops->q8_0 : &loops->q4_0;
    baseline->dim = dim;
    baseline->row_bytes = baseline->rows->row_bytes(dim);
    baseline->rotated = kind == BASELINE_Q4_0_ROT;
    for (size_t i = 0; i < dim; i++) {
        baseline->signs[i] = (tq_random_next(&seed) & 1U) != 0 ? -1.0F : 1.0F;
    }
}

const struct baseline_loops *baseline_loops_at(size_t index, bool *usable)
{
    switch (index) {
    case 0:
        *usable = true;
        return &baseline_loops_portable;
#if defined(TQ_BENCH_X86)
    case 1:
        *usable = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        return &baseline_loops_avx2;
    case 2:
        *usable = __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
        return &baseline_loops_avx512;
#endif
    default:
        return NULL;
    }
}

const struct baseline_loops *baseline_loops_best(void)
{
    const struct baseline_loops *best = NULL;
    const struct baseline_loops *loops;
    bool usable = false;
    for (size_t i = 0; (loops = baseline_loops_at(i, &usable)) != NULL; i++) {
        best = usable ? loops : best;
    }
    return best;
}

/* out = H D x with H orthonormal; x and out may be the same. */
static void rotate(const struct baseline *baseline, const float *x, float *out)
{
    for (size_t i = 0; i < baseline->dim; i++) {
        out[i] = baseline->signs[i] * x[i];
    }
    baseline->loops->hadamard(out, baseline->dim);
}

/* In place, the inverse: D H x. */
static void rotate_back(const struct baseline *baseline, float *x)
{
    baseline->loops->hadamard(x, baseline->dim);
    for (size_t i = 0; i < baseline->dim; i++) {
        x[i] *= baseline->signs[i];
    }
}

void baseline_encode(const struct baseline *baseline, const float *x, size_t n, uint8_t *rows)
{
    const size_t dim = baseline->dim;
    if (!baseline->rotated) {
        baseline->rows->encode(x, dim, n, rows);
        return;
    }
    float rotated[TQ_MAX_DIM];
    for (size_t i = 0; i < n; i++) {
        rotate(baseline, x + i * dim, rotated);
        baseline->rows->encode(rotated, dim, 1, rows + i * baseline->row_bytes);
    }
}

void baseline_decode(const struct baseline *baseline, const uint8_t *rows, size_t n, float *x)
{
    baseline->rows->decode(rows, baseline->dim, n, x);
    if (baseline->rotated) {
        for (size_t i = 0; i < n; i++) {
            rotate_back(baseline, x + i * baseline->dim);
        }
    }
}

void baseline_scores(const struct baseline *baseline, const float *q, const uint8_t *rows, size_t n, float scale,
                     float *scores)
{
    float rotated[TQ_MAX_DIM];
    if (baseline->rotated) {
        rotate(baseline, q, rotated);
        q = rotated;
    }
    baseline->rows->scores(q, baseline->dim, rows, n, scale, scores);
}

void baseline_weighted_sum(const struct baseline *baseline, const float *w, const uint8_t *rows, size_t n, float *out)
{
    float value[TQ_MAX_DIM];
    memset(out, 0, baseline->dim * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        baseline->rows->decode(rows + i * baseline->row_bytes, baseline->dim, 1, value);
        baseline->loops->add_scaled(w[i], value, baseline->dim, out);
    }
    if (baseline->rotated) {
        rotate_back(baseline, out);
    }
}

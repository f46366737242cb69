/* SPDX-License-Identifier: MIT
 *
 * Drawing codes, vectors and rows; see codes.h. */
#include "codes.h"

#include "codebook/codebook.h"
#include "half.h"
#include "kernels/pack.h"

#include <math.h>

typedef struct choice {
    code_family family;
    unsigned bits; /* Of an index or of a coordinate of the trellis. */
    const char *name;
} choice;

static const choice CHOICES[] = {
    {LLOYD, 1, "1 bit"},   {LLOYD, 2, "2 bits"},      {LLOYD, 3, "3 bits"},      {LLOYD, 4, "4 bits"},
    {LLOYD, 8, "8 bits"},  {TRELLIS, 2, "trellis 2"}, {TRELLIS, 3, "trellis 3"}, {TRELLIS, 4, "trellis 4"},
    {PROD, 1, "prod 1+1"}, {PROD, 2, "prod 2+1"},     {PROD, 3, "prod 3+1"},     {HALVES, 0, "halves"},
};

static tq_code drawn;

static bool is_trellis_code(const tq_code *code)
{
    return code->trellis.bits != 0;
}

/* The layout of docs/format.md. */
static void lay_out(tq_code *code, code_family family)
{
    const size_t dim = code->dim;
    code->codes_at = family == PROD ? 4 : 2;
    code->row_bytes = code->codes_at + tq_packed_bytes(dim, code->bits);
    if (family == TRELLIS) {
        code->row_bytes = code->codes_at + code->bits * tq_plane_bytes(dim, 1);
    } else if (family == PROD) {
        code->signs_at = code->row_bytes;
        code->row_bytes += tq_plane_bytes(dim, 1);
    } else if (family == HALVES) {
        code->codes_at = 0;
        code->row_bytes = 2 * dim;
    }
}

static void draw_gains(trial *t, tq_code *code)
{
    static const size_t lengths[] = {1, 3, 5, 9};
    float gains[9] = {1};
    for (size_t g = 1; g < 9; g++) {
        gains[g] = 1 + 0.05F * draw_bell(t);
    }
    code->n_gains = t->bench != NULL ? 1 : lengths[draw(t, 4)];
    code->gains = input_copy(t, "gains", gains, code->n_gains * sizeof *gains, sizeof *gains);
}

const tq_code *draw_code(trial *t, unsigned families)
{
    static const tq_scale_mode modes[] = {TQ_SCALE_NORM, TQ_SCALE_UNBIASED, TQ_SCALE_LSQ, TQ_SCALE_RAW};
    const choice *fitting[sizeof CHOICES / sizeof *CHOICES];
    size_t n = 0;
    for (size_t i = 0; i < sizeof CHOICES / sizeof *CHOICES; i++) {
        const bool fits = CHOICES[i].family != TRELLIS || t->dim % 8 == 0;
        if ((families & CHOICES[i].family) != 0 && fits) {
            fitting[n++] = &CHOICES[i];
        }
    }
    if (n == 0) {
        return NULL;
    }
    const choice *chosen = fitting[t->bench != NULL ? bench_variant(t, n) : draw(t, n)];
    tq_code *code = &drawn;
    *code = (tq_code){.dim = t->dim, .bits = chosen->bits};
    label(t, ", %s", chosen->name);
    lay_out(code, chosen->family);
    if (chosen->family == HALVES) {
        return code;
    }
    code->scale = modes[draw(t, 4)];
    draw_gains(t, code);
    describe(t, ", scale mode %d, %zu gains", (int)code->scale, code->n_gains);
    if (chosen->family == TRELLIS) {
        tq_trellis_init(&code->trellis, code->bits);
    } else {
        const tq_codebook book = tq_codebook_for(code->bits);
        const size_t levels = (size_t)1 << code->bits;
        code->centroids = input_copy(t, "centroids", book.centroids, levels * sizeof(float), sizeof(float));
        code->thresholds = input_copy(t, "thresholds", book.thresholds, (levels - 1) * sizeof(float), sizeof(float));
    }
    return code;
}

/* --- vectors ----------------------------------------------------------------------------------------------------- */

/* The length of a vector of the trial's class. */
static float draw_norm(trial *t)
{
    static const float small[] = {0x1p-63F, 0x1p-25F, 0x1p-20F, 0x1p-75F}; /* |x|^2 = 2^-126; f16 scales. */
    static const float large[] = {0x1p16F, 0x1p60F};                       /* f16 scales; |x|^2 = 2^120. */
    const float around = ldexpf(1, (int)draw(t, 3) - 1) * (1 + 0.25F * draw_bell(t) / 3.5F);
    switch (t->class) {
    case DENORMALS:
        return small[draw(t, 4)] * around;
    case EXTREMES:
        return large[draw(t, 2)] * around;
    default:
        return ldexpf(1, (int)draw(t, 12) - 6);
    }
}

static float nudged(trial *t, float x)
{
    static const float towards[] = {-INFINITY, 0, INFINITY};
    const size_t way = draw(t, 4);
    return way == 3 ? x : nextafterf(x, towards[way]);
}

/* A number that gain g puts on, or one step beside, a border between two levels. */
static float draw_tie(trial *t, const tq_code *code, float norm)
{
    const float gain = code->gains[draw(t, code->n_gains)];
    if (!is_trellis_code(code)) {
        return nudged(t, code->thresholds[draw(t, ((size_t)1 << code->bits) - 1)] * (norm / gain));
    }
    const int16_t *targets = code->trellis.target;
    const size_t a = draw(t, (size_t)2 << code->bits);
    const size_t b = draw(t, (size_t)2 << code->bits);
    const float middle = (float)(targets[a] + targets[b]) / 2;
    return nudged(t, middle / (gain * TQ_TRELLIS_UNIT / norm));
}

float fill_rotated(trial *t, const tq_code *code, float *y)
{
    const size_t dim = code->dim;
    const float wanted = draw_norm(t);
    const bool all_zero = draw(t, 2);
    for (size_t j = 0; j < dim; j++) {
        const bool zero = t->class == ZEROS && (all_zero || draw(t, 2));
        y[j] = zero ? (draw(t, 2) ? -0.0F : 0.0F) : wanted * draw_bell(t);
    }
    if (t->class == OUTLIER) {
        y[draw(t, dim)] *= draw(t, 2) ? 0x1p20F : 0x1p4F;
    }
    const double length = norm_of(y, dim);
    const float sum_squares = (float)(length * length / (double)dim);
    for (size_t j = 0; t->class == TIES && j < dim; j++) {
        y[j] = draw(t, 4) ? draw_tie(t, code, sqrtf(sum_squares)) : y[j];
    }
    return sum_squares;
}

/* --- rows -------------------------------------------------------------------------------------------------------- */

static uint16_t draw_scale(trial *t, bool outlier)
{
    switch (t->class) {
    case ZEROS:
        return draw(t, 2) ? 0 : 0x3C00;
    case DENORMALS:
        return (uint16_t)(1 + draw(t, 0x3FF));
    case OUTLIER:
        return outlier ? TQ_F16_MAX : 0x3C00;
    case EXTREMES:
        return draw(t, 2) ? TQ_F16_MAX : 1;
    default:
        return tq_f16_from_f32(ldexpf(1 + fabsf(draw_bell(t)), (int)draw(t, 8) - 4));
    }
}

static void draw_indices(trial *t, unsigned bits, uint8_t *packed)
{
    uint8_t index[TQ_MAX_DIM];
    rng_fill_bytes(&t->rng, index, t->dim);
    tq_pack(index, t->dim, bits, packed);
}

static void random_row(trial *t, const tq_code *code, bool outlier, uint8_t *row)
{
    tq_store_le16(row, draw_scale(t, outlier));
    if (is_trellis_code(code)) {
        rng_fill_bytes(&t->rng, row + code->codes_at, code->row_bytes - code->codes_at);
    } else {
        draw_indices(t, code->bits, row + code->codes_at);
    }
    if (code->signs_at != 0) {
        tq_store_le16(row + TQ_CODE_RESIDUAL_AT, draw_scale(t, outlier));
        draw_indices(t, 1, row + code->signs_at);
    }
}

static void encoded_row(trial *t, const tq_code *code, uint8_t *row)
{
    float y[TQ_MAX_DIM];
    const float sum_squares = fill_rotated(t, code, y);
    if (is_trellis_code(code)) {
        t->scalar->trellis_encode(code, y, &sum_squares, 1, row);
        return;
    }
    t->scalar->lloyd_encode(code, y, &sum_squares, 1, row);
    if (code->signs_at != 0) {
        t->scalar->sign_encode(code, y, 0.25F * sqrtf(sum_squares), row);
    }
}

static void half_row(trial *t, const tq_code *code, uint8_t *row)
{
    float x[TQ_MAX_DIM];
    fill_floats(t, x, code->dim);
    for (size_t j = 0; j < code->dim; j++) {
        /* Denormal floats become denormal halves. */
        const float scale = t->class == DENORMALS ? 0x1p111F : 1.0F;
        tq_store_le16(row + 2 * j, tq_f16_from_f32(x[j] * scale));
    }
}

const uint8_t *input_rows(trial *t, const char *name, const tq_code *code, size_t n, bool uncentred)
{
    uint8_t *rows = input(t, name, n * code->row_bytes, 1);
    const size_t outlier = draw(t, MAX_ROWS);
    for (size_t k = 0; k < n; k++) {
        uint8_t *row = rows + k * code->row_bytes;
        if (code->bits == 0) {
            half_row(t, code, row);
            continue;
        }
        if (k < 2) { /* The scalar encoder of the trellis is slow. */
            encoded_row(t, code, row);
        } else {
            random_row(t, code, k == outlier, row);
        }
        const uint16_t sign = uncentred && draw(t, 2) ? 0x8000 : 0;
        tq_store_le16(row, (uint16_t)((tq_load_le16(row) & 0x7FFF) | sign));
    }
    return rows;
}

double row_length(const trial *t, const tq_code *code, const uint8_t *rows, size_t k)
{
    const uint8_t *row = rows + k * code->row_bytes;
    float y[TQ_MAX_DIM];
    if (code->bits == 0) {
        t->scalar->half_decode(row, code->dim, y);
        return norm_of(y, code->dim);
    }
    if (is_trellis_code(code)) {
        t->scalar->trellis_decode(code, row, y);
    } else {
        t->scalar->lloyd_decode(code, row, y);
    }
    return norm_of(y, code->dim) / sqrt((double)code->dim);
}

double residual_length(const tq_code *code, const uint8_t *rows, size_t k)
{
    return (double)tq_f32_from_f16(tq_load_le16(rows + k * code->row_bytes + TQ_CODE_RESIDUAL_AT));
}

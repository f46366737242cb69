/* SPDX-License-Identifier: MIT
 *
 * Devices, memory and vectors for the tests of the Metal kernels. */
#include "metal_support.h"

#include "rows.h"

#include <math.h>

tq_device *metal_device;
const tq_context *scalar_context;

const tq_format METAL_FORMATS[] = {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO2,  TQ_FORMAT_TURBO3,  TQ_FORMAT_TURBO4,
                                   TQ_FORMAT_TURBO8, TQ_FORMAT_TURBO2T, TQ_FORMAT_TURBO3T, TQ_FORMAT_TURBO4T};
const size_t N_METAL_FORMATS = sizeof METAL_FORMATS / sizeof *METAL_FORMATS;
const uint32_t METAL_DIMS[] = {32, 64, 80, 96, 112, 128, 192, 256};
const size_t N_METAL_DIMS = sizeof METAL_DIMS / sizeof *METAL_DIMS;

bool is_metal_walked(size_t format_index, size_t dim_index)
{
    return !quick() || (format_index + dim_index) % 7 == 3;
}

enum { MOST_SLICES = 32 };
static tq_device_memory *held[MOST_SLICES];
static size_t n_held;

void metal_assert_ok(tq_status status, const char *call, const char *file, int line)
{
    if (status != TQ_OK) {
        print_error("%s: %s: %s\n", call, tq_status_string(status), metal_device->problem);
        _fail(file, line);
    }
}

tq_device_slice metal_room(size_t bytes)
{
    tq_device_memory *memory = NULL;
    assert_true(n_held < MOST_SLICES);
    assert_device(tq_device_alloc(metal_device, bytes, &memory));
    held[n_held++] = memory;
    return (tq_device_slice){memory, 0};
}

tq_device_slice metal_copy(const void *data, size_t bytes)
{
    const tq_device_slice slice = metal_room(bytes);
    assert_device(tq_device_upload(metal_device, slice.memory, 0, data, bytes));
    return slice;
}

tq_device_slice metal_code(const tq_codec *codec)
{
    tq_metal_code code;
    assert_status(tq_metal_code_init(&code, codec), TQ_OK);
    return metal_copy(&code, sizeof code);
}

void metal_read(tq_device_slice slice, void *data, size_t bytes)
{
    assert_device(tq_device_download(metal_device, slice.memory, slice.at, data, bytes));
}

void metal_free_all(void)
{
    while (n_held > 0) {
        tq_device_free(metal_device, held[--n_held]);
    }
}

int metal_teardown(void **state)
{
    (void)state;
    metal_free_all();
    return 0;
}

/* A vector whose rotated coordinates lie on thresholds, or half-way between targets of a trellis, as far as rounding
 * lets them. */
static void fill_ties(struct rng *rng, const tq_codec *codec, float *x)
{
    const tq_code *code = &codec->code;
    float y[TQ_MAX_DIM];
    for (size_t j = 0; j < code->dim; j++) {
        if (code->trellis.bits == 0) {
            y[j] = code->thresholds[rng_word(rng) % (((size_t)1 << code->bits) - 1)];
        } else {
            const size_t idx = rng_word(rng) % (((size_t)2 << code->bits) - 4);
            y[j] = (float)(code->trellis.target[idx] + code->trellis.target[idx + 4]) / (2 * TQ_TRELLIS_UNIT);
        }
    }
    tq_unrotate_vector(codec, y, x);
}

void fill_vectors(struct rng *rng, const tq_codec *codec, float *x, size_t n)
{
    static const float sizes[] = {1, 1e-19F, 1e-4F, 1e19F, 3e38F};
    const size_t dim = codec->code.dim;
    for (size_t i = 0; i < n; i++, x += dim) {
        rng_fill_gauss(rng, x, dim);
        switch (i % 6) {
        case 1:
            memset(x, 0, dim * sizeof *x);
            break;
        case 2:
            x[rng_word(rng) % dim] = 100;
            break;
        case 3:
            fill_ties(rng, codec, x);
            break;
        case 4: {
            const float size = sizes[rng_word(rng) % (sizeof sizes / sizeof *sizes)];
            for (size_t j = 0; j < dim; j++) {
                x[j] = fminf(fmaxf(x[j], -1), 1) * size;
            }
            break;
        }
        default:
            break;
        }
    }
}

void fill_rows(struct rng *rng, const tq_codec *codec, uint8_t *rows, size_t n)
{
    float x[TQ_METAL_MAX_DIM];
    for (size_t i = 0; i < n; i++) {
        rng_fill_gauss(rng, x, codec->code.dim);
        assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, rows + i * codec->code.row_bytes, codec->code.row_bytes),
                      TQ_OK);
    }
}

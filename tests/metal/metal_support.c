/* SPDX-License-Identifier: MIT
 *
 * Devices, memory and vectors for the tests of the Metal kernels. */
#include "metal_support.h"

#include "rows.h"

#include <math.h>

tq_gpu *metal_device;
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
static tq_gpu_memory *held[MOST_SLICES];
static size_t n_held;

void metal_assert_ok(tq_status status, const char *call, const char *file, int line)
{
    if (status != TQ_OK) {
        print_error("%s: %s: %s\n", call, tq_status_string(status), metal_device->problem);
        _fail(file, line);
    }
}

tq_gpu_slice metal_room(size_t bytes)
{
    tq_gpu_memory *memory = NULL;
    assert_true(n_held < MOST_SLICES);
    assert_device(tq_gpu_alloc(metal_device, bytes, &memory));
    held[n_held++] = memory;
    return (tq_gpu_slice){memory, 0};
}

tq_gpu_slice metal_copy(const void *data, size_t bytes)
{
    const tq_gpu_slice slice = metal_room(bytes);
    memcpy(slice.memory->host, data, bytes);
    return slice;
}

tq_gpu_slice metal_code(const tq_codec *codec)
{
    tq_metal_code code;
    assert_status(tq_metal_code_init(&code, codec), TQ_OK);
    return metal_copy(&code, sizeof code);
}

void metal_read(tq_gpu_slice slice, void *data, size_t bytes)
{
    assert_device(tq_gpu_wait(metal_device));
    memcpy(data, (const char *)slice.memory->host + slice.at, bytes);
}

void metal_free_all(void)
{
    while (n_held > 0) {
        tq_gpu_free(metal_device, held[--n_held]);
    }
}

int metal_teardown(void **state)
{
    (void)state;
    metal_free_all();
    return 0;
}

/* Rotated coordinates of all sizes, as far as an encoder clamps and saturates. */
static void fill_wild(struct rng *rng, const tq_codec *codec, float *x)
{
    float y[TQ_MAX_DIM];
    for (size_t j = 0; j < codec->code.dim; j++) {
        const double g = rng_gauss(rng);
        y[j] = (float)(g * g * g);
    }
    tq_unrotate_vector(codec, y, x);
}

/* One coordinate, or two of the same size: rotated ones are equal, or 0, up to signs, so many choices cost the same.
 * One has a norm half-way between two halves. */
static void fill_spikes(struct rng *rng, size_t n, float *x, size_t dim)
{
    const float size = 1 + (float)(2 * (rng_word(rng) % 64) + 1) / 2048;
    memset(x, 0, dim * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[rng_word(rng) % dim] = size;
    }
}

/* Others whose squares overflow, and whose scales do, or are too small. */
static void fill_sized(struct rng *rng, float *x, size_t dim)
{
    static const float sizes[] = {1e-19F, 1e-4F, 1e19F, 3e38F};
    const float size = sizes[rng_word(rng) % (sizeof sizes / sizeof *sizes)];
    for (size_t j = 0; j < dim; j++) {
        x[j] = fminf(fmaxf((float)rng_gauss(rng), -1), 1) * size;
    }
}

void fill_vectors(struct rng *rng, const tq_codec *codec, float *x, size_t n)
{
    const size_t dim = codec->code.dim;
    for (size_t i = 0; i < n; i++, x += dim) {
        switch (i % 8) {
        case 0:
            memset(x, 0, dim * sizeof *x);
            break;
        case 1:
        case 2:
            fill_spikes(rng, i % 8, x, dim);
            break;
        case 3:
        case 4:
            fill_wild(rng, codec, x);
            break;
        case 5:
            fill_sized(rng, x, dim);
            break;
        default:
            rng_fill_gauss(rng, x, dim);
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

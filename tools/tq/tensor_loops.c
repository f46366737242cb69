/* SPDX-License-Identifier: MIT */
/* Blocks of ggml's types to f32, and dot products of f32. Vectors of sixteen are the compiler's: it makes one, two or
 * four registers of them, depending on the instruction set that this copy is compiled for.
 *
 * A block of 32:   Q8_0  f16 d, i8 q[32]        x = d q
 *                  Q4_0  f16 d, u4 q[32]        x = d (q - 8); byte j holds q[j] and, above it, q[j + 16]
 * A block of 256:  Q4_K  f16 d, f16 m, u6 scales and minima of eight groups of 32, u4 q[256]
 *                  Q5_K  the same, with the fifth bits apart
 *                        x = d scale q - m minimum
 *                  Q6_K  the low four bits, the high two, i8 scale[16] of groups of 16, f16 d
 *                        x = d scale (q - 32)
 */
#include "tensor_loops.h"

#include <string.h>

#if defined(__AVX512VNNI__)
#define TABLE tensor_loops_avx512
#define NAME  "AVX-512"
#elif defined(__AVX2__)
#define TABLE tensor_loops_avx2
#define NAME  "AVX2"
#else
#define TABLE tensor_loops_portable
#define NAME  "portable"
#endif

enum { LANES = 16, SMALL_BLOCK = 32, LARGE_BLOCK = 256 };

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef int8_t bytes __attribute__((vector_size(LANES)));

#define LOAD(type, at)                                                                                                 \
    __extension__({                                                                                                    \
        type loaded;                                                                                                   \
        memcpy(&loaded, (at), sizeof loaded);                                                                          \
        loaded;                                                                                                        \
    })
#define STORE(at, vector)                                                                                              \
    do {                                                                                                               \
        const floats stored = (vector);                                                                                \
        memcpy((at), &stored, sizeof stored);                                                                          \
    } while (0)

/* A half's exponent and mantissa, moved to their place in a float, make the value times 2^-112; subnormals too.
 * Infinities and NaNs, which weights do not have, become large numbers. */
static float half_to_float(const uint8_t *at)
{
    const uint32_t half = (uint32_t)at[0] | (uint32_t)at[1] << 8;
    const uint32_t bits = (half & 0x7FFFU) << 13;
    float magnitude;
    memcpy(&magnitude, &bits, sizeof magnitude);
    magnitude *= 0x1p112F;
    return (half & 0x8000U) != 0 ? -magnitude : magnitude;
}

static void dequantise_f32(const uint8_t *blocks, size_t n, float *x)
{
    memcpy(x, blocks, n * sizeof *x);
}

static void dequantise_f16(const uint8_t *blocks, size_t n, float *x)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const words half = __builtin_convertvector(LOAD(halves, blocks + 2 * i), words);
        const floats magnitude = (floats)((half & 0x7FFFU) << 13) * 0x1p112F;
        STORE(x + i, (floats)((words)magnitude | (half & 0x8000U) << 16));
    }
    for (; i < n; i++) {
        x[i] = half_to_float(blocks + 2 * i);
    }
}

static void dequantise_bf16(const uint8_t *blocks, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)blocks[2 * i] << 16 | (uint32_t)blocks[2 * i + 1] << 24;
        memcpy(x + i, &bits, sizeof bits);
    }
}

static void dequantise_q8_0(const uint8_t *blocks, size_t n, float *x)
{
    for (size_t i = 0; i < n; i += SMALL_BLOCK, blocks += 2 + SMALL_BLOCK) {
        const float d = half_to_float(blocks);
        for (size_t j = 0; j < SMALL_BLOCK; j += LANES) {
            STORE(x + i + j, d * __builtin_convertvector(LOAD(bytes, blocks + 2 + j), floats));
        }
    }
}

static void dequantise_q4_0(const uint8_t *blocks, size_t n, float *x)
{
    for (size_t i = 0; i < n; i += SMALL_BLOCK, blocks += 2 + SMALL_BLOCK / 2) {
        const float d = half_to_float(blocks);
        for (size_t j = 0; j < SMALL_BLOCK / 2; j++) {
            x[i + j] = d * (float)((blocks[2 + j] & 15) - 8);
            x[i + j + SMALL_BLOCK / 2] = d * (float)((blocks[2 + j] >> 4) - 8);
        }
    }
}

/* Scale and minimum of group 0..7: six bits each, in twelve bytes. Groups 0..3 take the low six bits of bytes 0..3 and
 * 4..7; groups 4..7 the nibbles of bytes 8..11 and the bits that were left above. */
static void group_scales(const uint8_t *packed, size_t group, uint8_t *scale, uint8_t *minimum)
{
    if (group < 4) {
        *scale = packed[group] & 63;
        *minimum = packed[group + 4] & 63;
    } else {
        *scale = (uint8_t)((packed[group + 4] & 15) | packed[group - 4] >> 6 << 4);
        *minimum = (uint8_t)(packed[group + 4] >> 4 | packed[group] >> 6 << 4);
    }
}

/* Groups 2 i and 2 i + 1 are the low and the high nibbles of bytes 32 i .. 32 i + 31 of `low`. The fifth bit of element
 * j of group g is bit g of fifth[j]; null: there is none. */
static void dequantise_groups(const uint8_t *block, const uint8_t *fifth, const uint8_t *low, float *x)
{
    const float d = half_to_float(block);
    const float m = half_to_float(block + 2);
    for (size_t group = 0; group < 8; group++, x += 32) {
        uint8_t scale;
        uint8_t minimum;
        group_scales(block + 4, group, &scale, &minimum);
        const float step = d * (float)scale;
        const float offset = m * (float)minimum;
        const uint8_t *nibbles = low + group / 2 * 32;
        const unsigned shift = group % 2 == 0 ? 0 : 4;
        for (size_t j = 0; j < 32; j++) {
            const unsigned high = fifth != NULL ? (unsigned)fifth[j] >> group & 1U : 0;
            x[j] = step * (float)(((unsigned)nibbles[j] >> shift & 15U) | high << 4) - offset;
        }
    }
}

static void dequantise_q4_k(const uint8_t *blocks, size_t n, float *x)
{
    for (size_t i = 0; i < n; i += LARGE_BLOCK, blocks += 144) {
        dequantise_groups(blocks, NULL, blocks + 16, x + i);
    }
}

static void dequantise_q5_k(const uint8_t *blocks, size_t n, float *x)
{
    for (size_t i = 0; i < n; i += LARGE_BLOCK, blocks += 176) {
        dequantise_groups(blocks, blocks + 16, blocks + 48, x + i);
    }
}

/* Each half of 128 elements has four quarters of 32: quarters 0 and 1 in the low nibbles of 64 bytes, 2 and 3 in the
 * high ones; quarter i has bits 2 i and 2 i + 1 of 32 bytes above. */
static void dequantise_q6_k(const uint8_t *blocks, size_t n, float *x)
{
    for (size_t i = 0; i < n; i += LARGE_BLOCK, blocks += 210) {
        const float d = half_to_float(blocks + 208);
        for (size_t quarter = 0; quarter < 8; quarter++) {
            const size_t half = quarter / 4;
            const uint8_t *low = blocks + 64 * half + quarter % 2 * 32;
            const uint8_t *high = blocks + 128 + 32 * half;
            const unsigned low_shift = quarter % 4 < 2 ? 0 : 4;
            const unsigned high_shift = (unsigned)(quarter % 4) * 2;
            for (size_t j = 0; j < 32; j++) {
                const float step = d * (float)(int8_t)blocks[192 + 2 * quarter + j / 16];
                const unsigned q = ((unsigned)low[j] >> low_shift & 15U) | ((unsigned)high[j] >> high_shift & 3U) << 4;
                x[i + 32 * quarter + j] = step * (float)((int)q - 32);
            }
        }
    }
}

static float dot(const float *a, const float *b, size_t n)
{
    floats even = {0};
    floats odd = {0};
    size_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        even += LOAD(floats, a + i) * LOAD(floats, b + i);
        odd += LOAD(floats, a + i + LANES) * LOAD(floats, b + i + LANES);
    }
    even += odd;
    float sum = 0.0F;
    for (; i < n; i++) {
        sum += a[i] * b[i];
    }
    for (size_t lane = 0; lane < LANES; lane++) {
        sum += even[lane];
    }
    return sum;
}

static void add_scaled(float weight, const float *x, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] += weight * x[i];
    }
}

const struct tensor_loops TABLE = {
    .name = NAME,
    .dequantise = {[LAYOUT_F32] = dequantise_f32,
                   [LAYOUT_F16] = dequantise_f16,
                   [LAYOUT_BF16] = dequantise_bf16,
                   [LAYOUT_Q8_0] = dequantise_q8_0,
                   [LAYOUT_Q4_0] = dequantise_q4_0,
                   [LAYOUT_Q4_K] = dequantise_q4_k,
                   [LAYOUT_Q5_K] = dequantise_q5_k,
                   [LAYOUT_Q6_K] = dequantise_q6_k},
    .dot = dot,
    .add_scaled = add_scaled,
};

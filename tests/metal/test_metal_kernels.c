/* SPDX-License-Identifier: MIT
 *
 * The Metal kernels against the scalar backend: encoded bytes and rotated queries must be equal, decoded vectors and
 * scores within the tolerances of kernels.def, attention within that of test_metal_attention.c.
 *
 *     test_metal_kernels [forward|reverse|random] [removed|divergent FILE:LINE]
 *
 * The order is that in which the shim runs the threads of a threadgroup; the rest breaks one of the kernels' barriers,
 * so that something here must fail. A GPU knows neither. */
#include "metal_support.h"

#include "context.h"
#include "kernels/scalar/rows_scalar.h"
#include "rows.h"

#include <math.h>

#if defined(__APPLE__)
#include "kernels/metal/host_metal.h"
#else
#include "shim/shim_device.h"
#endif

enum { MOST_ROWS = 19 };

static tq_codec *open_scalar_codec(uint32_t dim, tq_format format, tq_scale_mode scale, tq_effort effort)
{
    tq_codec_desc desc = codec_desc(dim, format);
    desc.rotation = TQ_ROTATION_HADAMARD;
    desc.scale = scale;
    desc.effort = effort;
    desc.seed = dim + (uint64_t)format;
    return open_codec_desc(scalar_context, &desc);
}

/* --- layout ----------------------------------------------------------------------------------------------------------
 */

/* Levels by the arithmetic of layout_metal.h must be those that the scalar backend reads. */
static void check_row_layout(struct rng *rng, const tq_codec *codec)
{
    const tq_code *code = &codec->code;
    const int format = codec->desc.format;
    const int dim = (int)code->dim;
    const int chunks = dim / TQ_METAL_CHUNK;
    uint8_t row[2 * TQ_MAX_DIM];
    float levels[TQ_MAX_DIM];
    tq_metal_code tables;
    assert_int_equal(2 * tq_metal_row_words(format, dim), code->row_bytes);
    assert_status(tq_metal_code_init(&tables, codec), TQ_OK);
    rng_fill_bytes(rng, row, code->row_bytes);
    if (code->trellis.bits != 0) {
        tq_trellis_read(code, row, levels);
    } else {
        tq_lloyd_read(code, row, levels);
    }
    const uint8_t *units = row + 2;
    for (int c = 0; c < chunks; c++) {
        uint16_t unit[TQ_METAL_MAX_UNITS];
        for (int v = 0; v < tq_metal_bits(format); v++) {
            unit[v] = tq_load_le16(units + 2 * (size_t)tq_metal_row_unit(format, dim, c, v));
        }
        const int before = (c + chunks - 1) % chunks;
        const uint16_t u_before = tq_load_le16(units + 2 * (size_t)tq_metal_row_unit(format, dim, before, 0));
        for (int i = 0; i < TQ_METAL_CHUNK; i++) {
            const uint32_t index = tq_metal_index(format, unit, tq_metal_window(unit[0], u_before), i);
            assert_true(tables.levels[index] == levels[c * TQ_METAL_CHUNK + i]);
        }
    }
}

static void test_layout(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(1);
    for (size_t f = 0; f < N_METAL_FORMATS; f++) {
        for (size_t d = 0; d < N_METAL_DIMS; d++) {
            tq_codec *codec = open_scalar_codec(METAL_DIMS[d], METAL_FORMATS[f], TQ_SCALE_DEFAULT, TQ_EFFORT_DEFAULT);
            check_row_layout(&rng, codec);
            tq_codec_destroy(codec);
        }
    }
}

static void test_unsupported(void **state)
{
    (void)state;
    static const struct {
        uint32_t dim;
        tq_format format;
        tq_rotation rotation;
    } cases[] = {{72, TQ_FORMAT_TURBO4, TQ_ROTATION_HADAMARD},
                 {512, TQ_FORMAT_TURBO4, TQ_ROTATION_HADAMARD},
                 {64, TQ_FORMAT_TURBO4, TQ_ROTATION_HAAR},
                 {64, TQ_FORMAT_F16, TQ_ROTATION_DEFAULT},
                 {64, TQ_FORMAT_TURBO4_PROD, TQ_ROTATION_HADAMARD}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tq_codec_desc desc = codec_desc(cases[i].dim, cases[i].format);
        desc.rotation = cases[i].rotation;
        tq_codec *codec = open_codec_desc(scalar_context, &desc);
        tq_metal_code code;
        assert_status(tq_metal_code_init(&code, codec), TQ_ERR_UNSUPPORTED);
        tq_codec_destroy(codec);
    }
    assert_null(tq_metal_kernel_name(TQ_METAL_KERNEL_COUNT));
}

/* --- operations ------------------------------------------------------------------------------------------------------
 */

static void check_encode(struct rng *rng, const tq_codec *codec, uint32_t n)
{
    const size_t dim = codec->code.dim;
    const size_t bytes = n * codec->code.row_bytes;
    static float x[MOST_ROWS * TQ_METAL_MAX_DIM];
    static uint8_t expected[MOST_ROWS * (TQ_METAL_MAX_DIM + 2)];
    static uint8_t got[sizeof expected];
    fill_vectors(rng, codec, x, n);
    assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, n, expected, bytes), TQ_OK);
    const tq_gpu_slice rows = metal_room(bytes);
    assert_device(
        tq_metal_encode(metal_device, &codec->desc, metal_code(codec), metal_copy(x, n * dim * sizeof *x), n, rows));
    metal_read(rows, got, bytes);
    if (memcmp(got, expected, bytes) != 0) {
        fail_msg("%s, dim %zu, scale mode %d, effort %d: other bytes than the scalar backend's",
                 tq_format_name(codec->desc.format), dim, codec->desc.scale, codec->desc.effort);
    }
    metal_free_all();
}

/* Also all scale modes and efforts, taken in turn. */
static void test_encode(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(2);
    for (size_t f = 0; f < N_METAL_FORMATS; f++) {
        for (size_t d = 0; d < N_METAL_DIMS; d++) {
            if (!is_metal_walked(f, d)) {
                continue;
            }
            const bool slow = is_trellis(METAL_FORMATS[f]) && METAL_DIMS[d] < 40; /* All seams are tried. */
            tq_codec *codec = open_scalar_codec(METAL_DIMS[d], METAL_FORMATS[f], (tq_scale_mode)(1 + (f + d) % 4),
                                                slow ? TQ_EFFORT_FAST : (tq_effort)(1 + (2 * f + d) % 3));
            check_encode(&rng, codec, slow ? 4 : is_trellis(METAL_FORMATS[f]) ? 8 : MOST_ROWS);
            tq_codec_destroy(codec);
        }
    }
}

static void check_decode(struct rng *rng, const tq_codec *codec, uint32_t n)
{
    const size_t dim = codec->code.dim;
    const size_t bytes = n * codec->code.row_bytes;
    static uint8_t rows[MOST_ROWS * (TQ_METAL_MAX_DIM + 2)];
    static float expected[MOST_ROWS * TQ_METAL_MAX_DIM];
    static float got[MOST_ROWS * TQ_METAL_MAX_DIM];
    fill_rows(rng, codec, rows, n);
    assert_status(tq_decode(codec, rows, bytes, n, expected, TQ_DTYPE_F32, 0), TQ_OK);
    const tq_gpu_slice x = metal_room(n * dim * sizeof *got);
    assert_device(tq_metal_decode(metal_device, &codec->desc, metal_code(codec), metal_copy(rows, bytes), n, x));
    metal_read(x, got, n * dim * sizeof *got);
    for (size_t i = 0; i < n * dim; i++) {
        const double unit = norm_of(expected + i / dim * dim, dim);
        assert_close((double)got[i], (double)expected[i], 2e-6 * unit, "%s, dim %zu, coordinate %zu",
                     tq_format_name(codec->desc.format), dim, i);
    }
    metal_free_all();
}

static void check_rotate(struct rng *rng, const tq_codec *codec, uint32_t n)
{
    const size_t dim = codec->code.dim;
    static float x[MOST_ROWS * TQ_METAL_MAX_DIM];
    static float got[MOST_ROWS * TQ_METAL_MAX_DIM];
    rng_fill_gauss(rng, x, n * dim);
    const tq_gpu_slice y = metal_room(n * dim * sizeof *x);
    assert_device(
        tq_metal_rotate(metal_device, &codec->desc, metal_code(codec), metal_copy(x, n * dim * sizeof *x), n, y));
    metal_read(y, got, n * dim * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        float expected[TQ_METAL_MAX_DIM];
        tq_rotate_vector(codec, x + i * dim, expected);
        assert_memory_equal(got + i * dim, expected, dim * sizeof *expected);
    }
    metal_free_all();
}

static void check_scores(struct rng *rng, const tq_codec *codec, uint32_t n_q, uint32_t n)
{
    const size_t dim = codec->code.dim;
    const size_t bytes = n * codec->code.row_bytes;
    const uint32_t stride = n + 3;
    static uint8_t rows[MOST_ROWS * (TQ_METAL_MAX_DIM + 2)];
    static float q[MOST_ROWS * TQ_METAL_MAX_DIM];
    static float rotated[MOST_ROWS * TQ_METAL_MAX_DIM];
    static float expected[MOST_ROWS * (MOST_ROWS + 3)];
    static const float zeros[MOST_ROWS * (MOST_ROWS + 3)];
    static float got[MOST_ROWS * (MOST_ROWS + 3)];
    const tq_metal_scores_args args = {n, n_q, stride, 0.125F};
    fill_rows(rng, codec, rows, n);
    rng_fill_gauss(rng, q, n_q * dim);
    for (size_t i = 0; i < n_q; i++) {
        tq_rotate_vector(codec, q + i * dim, rotated + i * dim);
    }
    assert_status(tq_attention_scores(codec, q, TQ_DTYPE_F32, 0, n_q, rows, bytes, n, 0.125F, expected, stride), TQ_OK);
    const tq_gpu_slice scores = metal_copy(zeros, n_q * stride * sizeof *zeros);
    assert_device(tq_metal_scores(metal_device, &codec->desc, metal_code(codec),
                                  metal_copy(rotated, n_q * dim * sizeof *q), metal_copy(rows, bytes), args, scores));
    metal_read(scores, got, n_q * stride * sizeof *got);
    for (size_t i = 0; i < n_q * stride; i++) {
        if (i % stride >= n) {
            assert_true(got[i] == 0);
            continue;
        }
        float x[TQ_METAL_MAX_DIM];
        const size_t k = i % stride;
        tq_row_decode(codec, rows + k * codec->code.row_bytes, x);
        const double unit = 0.125 * norm_of(q + i / stride * dim, dim) * norm_of(x, dim);
        assert_close((double)got[i], (double)expected[i], 2e-6 * unit, "%s, dim %zu, score %zu",
                     tq_format_name(codec->desc.format), dim, i);
    }
    metal_free_all();
}

static void test_decode_rotate_scores(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(3);
    for (size_t f = 0; f < N_METAL_FORMATS; f++) {
        for (size_t d = 0; d < N_METAL_DIMS; d++) {
            if (!is_metal_walked(f, d)) {
                continue;
            }
            tq_codec *codec = open_scalar_codec(METAL_DIMS[d], METAL_FORMATS[f], TQ_SCALE_DEFAULT, TQ_EFFORT_FAST);
            check_decode(&rng, codec, 9);
            check_rotate(&rng, codec, 9);
            check_scores(&rng, codec, 1 + (uint32_t)(f + d) % 6, MOST_ROWS);
            tq_codec_destroy(codec);
        }
    }
}

/* 130 rows fill more than a threadgroup. */
static void test_many_scores(void **state)
{
    (void)state;
    enum { DIM = 64, N = 130 };
    struct rng rng = rng_seeded(4);
    tq_codec *codec = open_scalar_codec(DIM, TQ_FORMAT_TURBO2T, TQ_SCALE_DEFAULT, TQ_EFFORT_FAST);
    const size_t row = tq_codec_bytes(codec);
    uint8_t rows[N * (DIM + 2)];
    float q[DIM];
    float rotated[DIM];
    float expected[N];
    float got[N];
    fill_rows(&rng, codec, rows, N);
    rng_fill_gauss(&rng, q, DIM);
    tq_rotate_vector(codec, q, rotated);
    assert_status(tq_attention_scores(codec, q, TQ_DTYPE_F32, 0, 1, rows, N * row, N, 1, expected, N), TQ_OK);
    const tq_gpu_slice scores = metal_room(sizeof got);
    assert_device(tq_metal_scores(metal_device, &codec->desc, metal_code(codec), metal_copy(rotated, sizeof rotated),
                                  metal_copy(rows, N * row), (tq_metal_scores_args){N, 1, N, 1}, scores));
    metal_read(scores, got, sizeof got);
    for (size_t k = 0; k < N; k++) {
        assert_close((double)got[k], (double)expected[k], 2e-6 * norm_of(q, DIM) * 12, "score %zu", k);
    }
    tq_codec_destroy(codec);
    metal_free_all();
}

#if !defined(__APPLE__)
/* The shim knows which indices a kernel's source asks for. */
static void test_wrong_buffers(void **state)
{
    (void)state;
    tq_launch launch = {.kernel = tq_metal_append_kernel, .groups = {1, 1, 1}, .threads = TQ_METAL_SIMD};
    const tq_metal_append_args args = {1, 1};
    const tq_gpu_slice room = metal_room(1);
    launch.args = &args;
    launch.args_bytes = sizeof args;
    launch.n_buffers = TQ_APPEND_PAGES + 1;
    for (unsigned i = 1; i < launch.n_buffers - 1; i++) { /* All but the last. */
        launch.buffers[i] = room;
    }
    assert_status(tq_gpu_launch(metal_device, &launch), TQ_ERR_INVALID_ARGUMENT);
    launch.buffers[TQ_APPEND_PAGES] = room; /* And one too many. */
    launch.buffers[launch.n_buffers++] = room;
    assert_status(tq_gpu_launch(metal_device, &launch), TQ_ERR_INVALID_ARGUMENT);
}
#endif

static tq_gpu *open_device(int argc, char **argv)
{
#if defined(__APPLE__)
    (void)argc;
    (void)argv;
    tq_gpu *device = NULL;
    char problem[256];
    if (tq_metal_gpu_open(&scalar_context->allocator, &device, problem, sizeof problem) != TQ_OK) {
        print_error("%s\n", problem);
    }
    return device;
#else
    if (argc > 3) {
        tq_shim_break_barrier(argv[2], argv[3]);
    }
    return tq_shim_device_open(argc > 1 ? argv[1] : "forward");
#endif
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_layout, metal_teardown),
        cmocka_unit_test_teardown(test_unsupported, metal_teardown),
        cmocka_unit_test_teardown(test_encode, metal_teardown),
#if !defined(__APPLE__)
        cmocka_unit_test_teardown(test_wrong_buffers, metal_teardown),
#endif
        cmocka_unit_test_teardown(test_decode_rotate_scores, metal_teardown),
        cmocka_unit_test_teardown(test_many_scores, metal_teardown),
    };
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    tq_context *context = NULL;
    desc.backend = "scalar";
    if (tq_context_create(&desc, &context) != TQ_OK) {
        return 1;
    }
    scalar_context = context;
    metal_device = open_device(argc, argv);
    if (metal_device == NULL) {
        return 77; /* Skipped: no GPU here. */
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL) + run_attention_tests();
    tq_gpu_destroy(metal_device);
    tq_context_destroy(context);
    return failed == 0 ? 0 : 1;
}

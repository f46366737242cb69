/* SPDX-License-Identifier: MIT
 *
 * Golden rows: the bytes that encoders write are frozen in tests/golden/rows.txt.
 *
 *     test_golden FILE            compares
 *     test_golden --decode FILE   prints what the rows decode to, one line of numbers each, for second_decoder.py
 *     test_golden --write FILE    writes the file; for new cases only, never to make a comparison pass
 *
 * Rows of the Hadamard formats and of f16 must be equal to the byte, on every machine, compiler and backend. The
 * matrices of haar and prod come through the C library's log and cos, so there the decoded vectors are compared. Every
 * golden row must also decode to something near its input, so that the file cannot freeze nonsense. */
#include "support.h"

#include <stdio.h>

static const char HEADER[] =
    "# SPDX-License-Identifier: MIT\n"
    "# Golden rows of libturboquant, written by `test_golden --write`. One case per line:\n"
    "#\n"
    "#     format dim rotation scale effort seed vector row\n"
    "#\n"
    "# `seed` is the codec's. `row` is the encoded vector, first byte first. The vector x is\n"
    "#     x[j] = ((w[j] >> 40) - 2^23) / 2^20,   j = 0 .. dim - 1,\n"
    "# exact in f32, where w[0], w[1], ... are the outputs of SplitMix64 seeded with `vector`, modulo 2^64:\n"
    "#     state += 0x9E3779B97F4A7C15;  z = state\n"
    "#     z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;  w = z ^ (z >> 31)\n"
    "#\n"
    "# Rotation hadamard without prod, and f16: rows are equal to the byte everywhere. Otherwise: decoded vectors\n"
    "# differ by less than 1e-3 of their length.\n";

static const char *const ROTATIONS[] = {"default", "hadamard", "haar"};
static const char *const SCALES[] = {"default", "norm", "unbiased", "lsq", "raw"};
static const char *const EFFORTS[] = {"default", "fast", "balanced", "best"};

enum { MAX_DIM = 160, MAX_ROW = 2 * MAX_DIM + 4, MAX_LINE = 2 * MAX_ROW + 200 };

struct golden {
    tq_codec_desc desc;
    uint64_t vector;
    unsigned char row[MAX_ROW];
    size_t row_size;
};

static const char *golden_file;

static void fill_vector(float *x, size_t dim, uint64_t seed)
{
    struct rng rng = rng_seeded(seed);
    for (size_t j = 0; j < dim; j++) {
        x[j] = (float)((int32_t)(rng_word(&rng) >> 40) - (1 << 23)) / (float)(1 << 20);
    }
}

/* Writing */

static void write_case(FILE *file, const tq_context *context, uint32_t dim, tq_format format, tq_rotation rotation,
                       tq_scale_mode scale, tq_effort effort)
{
    static uint64_t case_number = 0;
    tq_codec_desc desc = codec_desc(dim, format);
    desc.rotation = rotation;
    desc.scale = scale;
    desc.effort = effort;
    /* Few seeds, 0 among them, and one of full length; many vectors. */
    static const uint64_t seeds[] = {0, 1, UINT64_C(0xC0FFEE0DDBA11AD5)};
    desc.seed = seeds[case_number % 3];
    const uint64_t vector = 1000 + case_number++;
    tq_codec *codec = open_codec_desc(context, &desc);
    float x[MAX_DIM];
    unsigned char row[MAX_ROW];
    fill_vector(x, dim, vector);
    assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, row, sizeof row), TQ_OK);
    fprintf(file, "%s %u %s %s %s %llu %llu ", tq_format_name(format), (unsigned)dim, ROTATIONS[rotation],
            SCALES[scale], EFFORTS[effort], (unsigned long long)desc.seed, (unsigned long long)vector);
    for (size_t i = 0; i < tq_codec_bytes(codec); i++) {
        fprintf(file, "%02x", row[i]);
    }
    fprintf(file, "\n");
    tq_codec_destroy(codec);
}

static void write_golden(void **state)
{
    static const uint32_t dims[] = {16, 64, 80, 96, 112, 128, 144};
    static const uint32_t dense_dims[] = {7, 16, 100};
    static const uint32_t prod_dims[] = {7, 64, 80};
    static const tq_format formats[] = {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO4,
                                        TQ_FORMAT_TURBO8};
    static const struct {
        tq_scale_mode scale;
        tq_effort effort;
    } modes[] = {{TQ_SCALE_RAW, TQ_EFFORT_FAST},      {TQ_SCALE_NORM, TQ_EFFORT_FAST},
                 {TQ_SCALE_LSQ, TQ_EFFORT_FAST},      {TQ_SCALE_UNBIASED, TQ_EFFORT_FAST},
                 {TQ_SCALE_NORM, TQ_EFFORT_BALANCED}, {TQ_SCALE_UNBIASED, TQ_EFFORT_BALANCED},
                 {TQ_SCALE_NORM, TQ_EFFORT_BEST},     {TQ_SCALE_LSQ, TQ_EFFORT_BEST}};
    FILE *file = fopen(golden_file, "w");
    assert_non_null(file);
    fputs(HEADER, file);
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        write_case(file, *state, dims[d], TQ_FORMAT_F16, TQ_ROTATION_DEFAULT, TQ_SCALE_DEFAULT, TQ_EFFORT_DEFAULT);
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
            for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
                write_case(file, *state, dims[d], formats[f], TQ_ROTATION_HADAMARD, modes[m].scale, modes[m].effort);
            }
        }
    }
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        for (size_t d = 0; d < sizeof dense_dims / sizeof dense_dims[0]; d++) {
            write_case(file, *state, dense_dims[d], formats[f], TQ_ROTATION_HAAR, TQ_SCALE_NORM, TQ_EFFORT_BALANCED);
        }
    }
    for (tq_format format = TQ_FORMAT_TURBO2_PROD; format <= TQ_FORMAT_TURBO4_PROD; format++) {
        for (size_t d = 0; d < sizeof prod_dims / sizeof prod_dims[0]; d++) {
            write_case(file, *state, prod_dims[d], format, TQ_ROTATION_DEFAULT, TQ_SCALE_DEFAULT, TQ_EFFORT_DEFAULT);
        }
        write_case(file, *state, 64, format, TQ_ROTATION_HAAR, TQ_SCALE_DEFAULT, TQ_EFFORT_DEFAULT);
    }
    for (tq_format format = TQ_FORMAT_TURBO2T; format <= TQ_FORMAT_TURBO4T; format++) {
        write_case(file, *state, 8, format, TQ_ROTATION_HADAMARD, TQ_SCALE_NORM, TQ_EFFORT_FAST);
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
            for (size_t m = 1; m < sizeof modes / sizeof modes[0]; m++) {
                write_case(file, *state, dims[d], format, TQ_ROTATION_HADAMARD, modes[m].scale, modes[m].effort);
            }
        }
        write_case(file, *state, 104, format, TQ_ROTATION_HAAR, TQ_SCALE_NORM, TQ_EFFORT_BALANCED);
    }
    assert_int_equal(fclose(file), 0);
}

/* Reading */

/* The place of `name` in `names`; fails if it is not there. */
static int32_t index_of(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0) {
            return (int32_t)i;
        }
    }
    fail_msg("%s: unknown word '%s'", golden_file, name);
    return 0;
}

static void parse_case(const char *line, struct golden *golden)
{
    char format[16];
    char rotation[16];
    char scale[16];
    char effort[16];
    char hex[2 * MAX_ROW + 1];
    _Static_assert(2 * MAX_ROW == 648, "sscanf below");
    unsigned dim;
    unsigned long long seed;
    unsigned long long vector;
    const int fields = sscanf(line, "%15s %u %15s %15s %15s %llu %llu %648s", format, &dim, rotation, scale, effort,
                              &seed, &vector, hex);
    if (fields != 8 || dim > MAX_DIM || strlen(hex) % 2 != 0) {
        fail_msg("%s: this is no golden row: %s", golden_file, line);
    }
    golden->desc = codec_desc(dim, 0);
    assert_status(tq_format_parse(format, &golden->desc.format), TQ_OK);
    golden->desc.rotation = index_of(rotation, ROTATIONS, 3);
    golden->desc.scale = index_of(scale, SCALES, 5);
    golden->desc.effort = index_of(effort, EFFORTS, 4);
    golden->desc.seed = seed;
    golden->vector = vector;
    golden->row_size = strlen(hex) / 2;
    for (size_t i = 0; i < golden->row_size; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        golden->row[i] = (unsigned char)byte;
    }
}

/* |x - x'|^2 / |x|^2 that a row may have: at least twice the mean of its format at small dimensions. */
static double allowed_distortion(tq_format format)
{
    switch (format) {
    case TQ_FORMAT_F16:
        return 1e-6;
    case TQ_FORMAT_TURBO1:
    case TQ_FORMAT_TURBO2_PROD:
        return 1.2;
    case TQ_FORMAT_TURBO2:
    case TQ_FORMAT_TURBO3_PROD:
    case TQ_FORMAT_TURBO2T:
        return 0.35;
    case TQ_FORMAT_TURBO3:
    case TQ_FORMAT_TURBO4_PROD:
    case TQ_FORMAT_TURBO3T:
        return 0.11;
    case TQ_FORMAT_TURBO4:
    case TQ_FORMAT_TURBO4T:
        return 0.03;
    default:
        return 2e-4;
    }
}

static double relative_distance(const float *a, const float *b, size_t dim)
{
    float difference[MAX_DIM];
    for (size_t j = 0; j < dim; j++) {
        difference[j] = a[j] - b[j];
    }
    return norm_of(difference, dim) / norm_of(a, dim);
}

static void check_case(const tq_context *context, const struct golden *golden, const char *line)
{
    const size_t dim = golden->desc.dim;
    float x[MAX_DIM];
    float expected[MAX_DIM];
    float decoded[MAX_DIM];
    unsigned char row[MAX_ROW];
    tq_codec *codec = open_codec_desc(context, &golden->desc);
    assert_int_equal(golden->row_size, tq_codec_bytes(codec));
    fill_vector(x, dim, golden->vector);
    assert_status(tq_decode(codec, golden->row, golden->row_size, 1, expected, TQ_DTYPE_F32, 0), TQ_OK);
    const double error = relative_distance(x, expected, dim);
    assert_close(error * error, 0, allowed_distortion(golden->desc.format), "%.40s...: distortion of the golden row",
                 line);
    assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, row, sizeof row), TQ_OK);
    if (golden->desc.rotation == TQ_ROTATION_HAAR || is_prod(golden->desc.format) ||
        (golden->desc.rotation == TQ_ROTATION_DEFAULT && golden->desc.format != TQ_FORMAT_F16)) {
        assert_status(tq_decode(codec, row, sizeof row, 1, decoded, TQ_DTYPE_F32, 0), TQ_OK);
        assert_close(relative_distance(expected, decoded, dim), 0, 1e-3, "%.40s...: distance of decoded vectors", line);
    } else if (memcmp(row, golden->row, golden->row_size) != 0) {
        fail_msg("%s: other bytes for the case %s", golden_file, line);
    }
    tq_codec_destroy(codec);
}

static FILE *open_golden(void)
{
    FILE *file = fopen(golden_file, "r");
    if (!file) {
        fail_msg("%s cannot be opened", golden_file);
    }
    return file;
}

/* Reads the next case and its line; 0 at the end of the file. */
static int next_case(FILE *file, char line[MAX_LINE], struct golden *golden)
{
    do {
        if (!fgets(line, MAX_LINE, file)) {
            return 0;
        }
    } while (line[0] == '#');
    assert_non_null(strchr(line, '\n'));
    parse_case(line, golden);
    return 1;
}

static void print_decoded(void **state)
{
    char line[MAX_LINE];
    struct golden golden;
    FILE *file = open_golden();
    while (next_case(file, line, &golden)) {
        float x[MAX_DIM];
        tq_codec *codec = open_codec_desc(*state, &golden.desc);
        assert_status(tq_decode(codec, golden.row, golden.row_size, 1, x, TQ_DTYPE_F32, 0), TQ_OK);
        for (uint32_t j = 0; j < golden.desc.dim; j++) {
            printf("%.9g%c", (double)x[j], j + 1 < golden.desc.dim ? ' ' : '\n');
        }
        tq_codec_destroy(codec);
    }
    fclose(file);
}

static void compare_golden(void **state)
{
    char line[MAX_LINE];
    struct golden golden;
    int seen[64] = {0}; /* By format. */
    FILE *file = open_golden();
    while (next_case(file, line, &golden)) {
        check_case(*state, &golden, line);
        assert_in_range(golden.desc.format, 0, 63);
        seen[golden.desc.format]++;
    }
    fclose(file);
    for (size_t f = 0; f < tq_format_count(); f++) {
        assert_true(seen[tq_format_at(f)] >= 4);
    }
}

int main(int argc, char **argv)
{
    const int writes = argc == 3 && strcmp(argv[1], "--write") == 0;
    const int decodes = argc == 3 && strcmp(argv[1], "--decode") == 0;
    if (argc != 2 && !writes && !decodes) {
        fprintf(stderr, "usage: test_golden [--write | --decode] FILE\n");
        return 2;
    }
    golden_file = argv[argc - 1];
    if (decodes) { /* Not as a test: cmocka's report would stand between the numbers. */
        void *context;
        setup_context(&context);
        print_decoded(&context);
        teardown_context(&context);
        return 0;
    }
    const struct CMUnitTest writing[] = {cmocka_unit_test(write_golden)};
    const struct CMUnitTest comparing[] = {cmocka_unit_test(compare_golden)};
    return writes ? cmocka_run_group_tests(writing, setup_context, teardown_context)
                  : cmocka_run_group_tests(comparing, setup_context, teardown_context);
}

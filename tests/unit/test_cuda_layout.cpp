/* SPDX-License-Identifier: MIT
 *
 * The CUDA backend's pages without a GPU: the same inline functions, compiled for the host, against the scalar backend.
 * Random rows go into words and back; the selectors and tables, with prmt done by hand, give each coordinate's level.
 */
extern "C" {
#include "codec.h"
#include "support.h"
}
#include "kernels/cuda/lookup_cuda.h"
#include "kernels/cuda/tables_cuda.h"

#include <cmath>
#include <vector>

namespace
{

const int FORMATS[] = {11, 12, 13, 14, 18, 32, 33, 34};
const int DIMS[] = {64, 80, 96, 112, 128, 192, 256};

struct fixture {
    tq_context *context;
    tq_codec *codec;
    std::vector<uint8_t> rows; /* Of one stage. */
    std::vector<uint8_t> words;
    int format, dim, row_bytes, C, n_words;

    fixture(int format_, int dim_, bool values) : format(format_), dim(dim_)
    {
        tq_codec_desc desc = TQ_CODEC_DESC_INIT;
        desc.dim = (uint32_t)dim;
        desc.format = (tq_format)format;
        assert_status(tq_context_create(nullptr, &context), TQ_OK);
        assert_status(tq_codec_create(context, &desc, &codec), TQ_OK);
        row_bytes = (int)tq_codec_bytes(codec);
        C = tq_cuda_padded(dim) / 32;
        n_words = C * tq_cuda_bits(format);
        rows.resize((size_t)(row_bytes * TQ_CUDA_STAGE));
        words.resize((size_t)tq_cuda_words_bytes(format, dim));
        struct rng rng = rng_seeded((uint64_t)(format * 1000 + dim + values));
        rng_fill_bytes(&rng, rows.data(), rows.size());
        for (int t = 0; t < TQ_CUDA_STAGE; t++) { /* Scale 1. */
            rows[(size_t)(t * row_bytes)] = 0;
            rows[(size_t)(t * row_bytes + 1)] = 0x3C;
        }
        for (int lane = 0; lane < 32; lane++) {
            for (int w = 0; w < n_words; w++) {
                const uint32_t word = tq_cuda_pack_word(format, dim, values, rows.data(), row_bytes, lane, w);
                memcpy(&words[(size_t)tq_cuda_word_at(n_words, lane, w)], &word, 4);
            }
        }
    }
    ~fixture()
    {
        tq_codec_destroy(codec);
        tq_context_destroy(context);
    }
    uint32_t word(int lane, int w) const
    {
        uint32_t value;
        memcpy(&value, &words[(size_t)tq_cuda_word_at(n_words, lane, w)], 4);
        return value;
    }
};

void rows_survive_the_words(void **)
{
    for (int format : FORMATS) {
        for (int dim : DIMS) {
            for (bool values : {false, true}) {
                const fixture f(format, dim, values);
                for (int t = 0; t < TQ_CUDA_STAGE; t++) {
                    for (int j = 0; j < dim; j++) {
                        assert_int_equal(tq_cuda_unpack_code(format, dim, values, f.words.data(), t, j),
                                         tq_cuda_row_code(format, dim, &f.rows[(size_t)(t * f.row_bytes + 2)], j));
                    }
                }
            }
        }
    }
}

void records_have_no_gaps(void **)
{
    for (int k_format : FORMATS) {
        for (int v_format : FORMATS) {
            const tq_cuda_record r = tq_cuda_record_of(k_format, v_format, 128, 128, true, true);
            const int rows = 16 * (tq_cuda_bits(k_format) + tq_cuda_bits(v_format)) + 4;
            assert_int_equal(r.bytes, 64 * rows + 2 * 2 * 128);
            assert_int_equal(r.stage_bytes[0] % 16, 0);
            assert_int_equal(r.stage_bytes[1] % 16, 0);
        }
    }
}

/* Levels of a lane's chunks, as the attention kernels look them up. */
template <int FORMAT, int DIM, bool VALUES> void check_levels()
{
    constexpr int C = DIM / 32;
    const fixture f(FORMAT, DIM, VALUES);
    const tq_cuda_table lookup = tq_cuda_make_table(&f.codec->code);
    std::vector<std::vector<float>> expected(TQ_CUDA_STAGE, std::vector<float>((size_t)DIM));
    tq_kernels kernels;
    assert_status(tq_kernels_select("scalar", &kernels), TQ_OK);
    for (size_t t = 0; t < TQ_CUDA_STAGE; t++) {
        const uint8_t *row = &f.rows[t * (size_t)f.row_bytes];
        (tq_cuda_is_trellis(FORMAT) ? kernels.trellis_decode : kernels.lloyd_decode)(&f.codec->code, row,
                                                                                     expected[t].data());
    }
    /* Half-odd levels are within half a step of Lloyd and Max's, of the second plane if there is one; a trellis's are
     * exact. */
    const double fine = (double)lookup.step / (double)TQ_CUDA_FINE;
    const double tolerance = tq_cuda_is_trellis(FORMAT)    ? 1e-6
                             : tq_cuda_planes(FORMAT) == 2 ? 0.51 * fine
                                                           : 0.51 * (double)lookup.step;
    for (int lane = 0; lane < 32; lane++) {
        uint32_t words[tq_cuda_bits(FORMAT) * C], before[C], x[6 + C];
        for (int w = 0; w < f.n_words; w++) {
            words[w] = f.word(lane, w);
        }
        for (int c = 0; c < C; c++) {
            before[c] = f.word(tq_cuda_lane_before(VALUES, lane), c);
        }
        tq_cuda_delay<VALUES, C>(words, before, x);
        for (int c = 0; c < C; c++) {
            uint32_t select[4];
            tq_cuda_selectors<FORMAT, C>(words, x, c, select);
            for (int k = 0; k < 4; k++) {
                uint32_t r[2][4] = {{0}, {0}};
                for (int plane = 0; plane < tq_cuda_planes(FORMAT); plane++) {
                    tq_cuda_bytes<FORMAT, C>(lookup, words, c, k, plane, select[k], r[plane]);
                }
                for (int i = 0; i < 8; i++) {
                    const tq_cuda_where at = tq_cuda_where_of(VALUES, C, lane, c, k, i);
                    double level = 0;
                    for (int plane = 0; plane < tq_cuda_planes(FORMAT); plane++) {
                        int v = (int8_t)(r[plane][i / 4] >> i % 4 * 8);
                        if (tq_cuda_pairs(FORMAT) == 2) {
                            v += (int8_t)(r[plane][2 + i / 4] >> i % 4 * 8);
                        }
                        level += (v + 0.5) * (plane == 0 ? (double)lookup.step : fine);
                    }
                    assert_close(level, (double)expected[(size_t)at.token][(size_t)at.coordinate], tolerance,
                                 "format %d dim %d values %d token %d coordinate %d", FORMAT, DIM, VALUES, at.token,
                                 at.coordinate);
                }
            }
        }
    }
}

template <int FORMAT> void check_levels_of_dims()
{
    check_levels<FORMAT, 64, false>();
    check_levels<FORMAT, 64, true>();
    check_levels<FORMAT, 96, false>();
    check_levels<FORMAT, 96, true>();
    check_levels<FORMAT, 128, false>();
    check_levels<FORMAT, 128, true>();
    check_levels<FORMAT, 256, false>();
    check_levels<FORMAT, 256, true>();
}

void look_ups_give_the_levels(void **)
{
    check_levels_of_dims<11>();
    check_levels_of_dims<12>();
    check_levels_of_dims<13>();
    check_levels_of_dims<14>();
    check_levels_of_dims<32>();
    check_levels_of_dims<33>();
    check_levels_of_dims<34>();
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_survive_the_words),
        cmocka_unit_test(records_have_no_gaps),
        cmocka_unit_test(look_ups_give_the_levels),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

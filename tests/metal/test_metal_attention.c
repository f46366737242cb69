/* SPDX-License-Identifier: MIT
 *
 * Decode attention of the Metal kernels (append, rotate, attend, merge) against double precision over the vectors that
 * the scalar backend decodes. Shapes are drawn: lengths, groups, splits, formats, sinks, window, cap, sink logits.
 *
 * Tolerance: 1e-5 of the largest value's norm for outputs, 1e-5 for lse. */
#include "metal_support.h"

#include "half.h"
#include "rows.h"

#include <math.h>

enum { SEQS = 2, PAGES = 7, TOKENS = PAGES * TQ_METAL_PAGE, HEADS = 2, MOST_GROUP = 6, SINKS = 5 };
enum { P = TQ_METAL_PAGE };

static const double TOLERANCE = 1e-5;

/* One side of one sequence and KV head. */
typedef struct side {
    uint8_t rows[TOKENS * (TQ_METAL_MAX_DIM + 2)]; /* As encoded, with the page's mean taken off or not. */
    uint16_t means[PAGES * TQ_METAL_MAX_DIM];
    uint16_t exact[TOKENS * TQ_METAL_MAX_DIM];
    float plain[TOKENS * TQ_METAL_MAX_DIM]; /* What attention sees: decoded, mean added, not rotated, or exact. */
} side;

/* A case. */
typedef struct layer {
    tq_codec *codec[2]; /* Of keys, of values. */
    size_t dim;
    tq_metal_attend_args args;
    struct {
        uint32_t n_tokens;
        uint32_t n_encoded;
    } lengths[SEQS];
    side *sides[SEQS][HEADS][2];
    float q[SEQS * HEADS * MOST_GROUP * TQ_METAL_MAX_DIM];
    float sink_logits[HEADS * MOST_GROUP];
    bool has_sink_logits;
} layer;

static uint32_t pick(struct rng *rng, uint32_t n)
{
    return (uint32_t)(rng_word(rng) % n);
}

static bool is_seen_exact(const layer *l, size_t seq, size_t token)
{
    return token < l->args.n_sinks || token >= l->lengths[seq].n_encoded;
}

/* --- what the tokens are ---------------------------------------------------------------------------------------------
 */

static void fill_page(struct rng *rng, const tq_codec *codec, side *s, size_t page)
{
    const size_t dim = codec->code.dim;
    const size_t row_bytes = codec->code.row_bytes;
    for (size_t j = 0; j < dim; j++) {
        s->means[page * dim + j] = f16_from_double(0.3 * rng_gauss(rng));
    }
    fill_rows(rng, codec, s->rows + page * P * row_bytes, P);
    for (size_t t = page * P; t < (page + 1) * P; t++) {
        uint8_t *row = s->rows + t * row_bytes;
        const bool uncentred = pick(rng, 4) == 0;
        float y[TQ_METAL_MAX_DIM];
        tq_rotated_decode(codec, row, y);
        for (size_t j = 0; j < dim && !uncentred; j++) {
            y[j] += (float)f16_to_double(s->means[page * dim + j]);
        }
        tq_unrotate_vector(codec, y, s->plain + t * dim);
        if (uncentred) {
            tq_store_le16(row, tq_load_le16(row) | TQ_METAL_UNCENTRED);
        }
        for (size_t j = 0; j < dim; j++) {
            s->exact[t * dim + j] = f16_from_double(rng_gauss(rng));
        }
    }
}

static side *make_side(struct rng *rng, const layer *l, size_t seq, const tq_codec *codec)
{
    side *s = filled(sizeof *s);
    for (size_t page = 0; page < PAGES; page++) {
        fill_page(rng, codec, s, page);
    }
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t j = 0; j < l->dim && is_seen_exact(l, seq, t); j++) {
            s->plain[t * l->dim + j] = (float)f16_to_double(s->exact[t * l->dim + j]);
        }
    }
    return s;
}

static tq_codec *open_side_codec(uint32_t dim, tq_format format, tq_scale_mode scale)
{
    tq_codec_desc desc = codec_desc(dim, format);
    desc.rotation = TQ_ROTATION_HADAMARD;
    desc.scale = scale;
    desc.effort = TQ_EFFORT_FAST;
    return open_codec_desc(scalar_context, &desc);
}

static layer *draw_layer(struct rng *rng, uint32_t dim, tq_format k_format, tq_format v_format)
{
    static const uint32_t groups[] = {1, 3, 4, MOST_GROUP};
    layer *l = filled(sizeof *l);
    *l = (layer){.dim = dim, .has_sink_logits = pick(rng, 2) == 0};
    l->codec[0] = open_side_codec(dim, k_format, TQ_SCALE_NORM);
    l->codec[1] = open_side_codec(dim, v_format, TQ_SCALE_UNBIASED);
    l->args = (tq_metal_attend_args){.n_queries = SEQS,
                                     .n_kv_heads = HEADS,
                                     .group = groups[pick(rng, 4)],
                                     .n_sinks = pick(rng, 2) * SINKS,
                                     .sliding_window = pick(rng, 2) * (1 + pick(rng, 300)),
                                     .n_splits = 1 + pick(rng, 3),
                                     .exact_splits = 1 + pick(rng, 2),
                                     .scale = 1 / sqrtf((float)dim),
                                     .soft_cap = (float)pick(rng, 2) * 5};
    for (size_t seq = 0; seq < SEQS; seq++) {
        const uint32_t encoded = seq == 0 ? pick(rng, PAGES - 1) * P : pick(rng, TOKENS - P);
        l->lengths[seq].n_tokens = encoded + 1 + pick(rng, TOKENS - encoded);
        l->lengths[seq].n_encoded = encoded;
    }
    for (size_t i = 0; i < SEQS * HEADS * 2; i++) {
        l->sides[i / 4][i / 2 % 2][i % 2] = make_side(rng, l, i / 4, l->codec[i % 2]);
    }
    rng_fill_gauss(rng, l->q, (size_t)SEQS * HEADS * l->args.group * dim);
    rng_fill_gauss(rng, l->sink_logits, (size_t)HEADS * l->args.group);
    return l;
}

static void free_layer(layer *l)
{
    for (size_t i = 0; i < SEQS * HEADS * 2; i++) {
        free(l->sides[i / 4][i / 2 % 2][i % 2]);
    }
    tq_codec_destroy(l->codec[0]);
    tq_codec_destroy(l->codec[1]);
    free(l);
}

/* --- expected --------------------------------------------------------------------------------------------------------
 */

/* Query row `row` of all: [seq, head, group]. Returns the largest norm of a value. */
static double expect(const layer *l, size_t row, double *out, double *lse)
{
    const size_t n_q_heads = (size_t)HEADS * l->args.group;
    const size_t seq = row / n_q_heads;
    const size_t head = row % n_q_heads / l->args.group;
    const size_t n_tokens = l->lengths[seq].n_tokens;
    const size_t window = l->args.sliding_window;
    const float *keys = l->sides[seq][head][0]->plain;
    const float *values = l->sides[seq][head][1]->plain;
    const double scale = (double)l->args.scale;
    const double cap = (double)l->args.soft_cap;
    double weight = l->has_sink_logits ? exp((double)l->sink_logits[row % n_q_heads]) : 0;
    double largest = 0;
    memset(out, 0, l->dim * sizeof *out);
    for (size_t t = window != 0 && n_tokens > window ? n_tokens - window : 0; t < n_tokens; t++) {
        double score = scale * dot_of(l->q + row * l->dim, keys + t * l->dim, l->dim);
        score = cap > 0 ? cap * tanh(score / cap) : score;
        weight += exp(score);
        largest = fmax(largest, norm_of(values + t * l->dim, l->dim));
        for (size_t j = 0; j < l->dim; j++) {
            out[j] += exp(score) * (double)values[t * l->dim + j];
        }
    }
    for (size_t j = 0; j < l->dim; j++) {
        out[j] /= weight;
    }
    *lse = log(weight);
    return largest;
}

/* --- on the device ---------------------------------------------------------------------------------------------------
 */

/* Pages of all sequences lie in the pool in reverse order. */
static size_t pool_page(size_t seq, size_t page)
{
    return SEQS * PAGES - 1 - (seq * PAGES + page);
}

static size_t record_bytes(const tq_metal_layer *shape)
{
    return 2 * (size_t)tq_metal_record_words(shape->k_format, shape->v_format, shape->dim);
}

/* The encoded tokens of a sequence, and the means of its pages. Pages without encoded tokens stay as they are. */
static void append_seq(const layer *l, const tq_metal_layer *shape, size_t seq, tq_gpu_slice pages)
{
    const size_t n_pages = (l->lengths[seq].n_encoded + P - 1) / P;
    tq_metal_page to[PAGES];
    tq_gpu_slice rows[2];
    for (size_t page = 0; page < n_pages; page++) {
        const size_t at = pool_page(seq, page) * HEADS * record_bytes(shape);
        to[page] = (tq_metal_page){.records = pages.memory->address + at};
        for (size_t i = 0; i < (size_t)HEADS * 2; i++) {
            memcpy((char *)pages.memory->host + at + i / 2 * record_bytes(shape) +
                       2 * (size_t)tq_metal_mean_at(shape->k_format, shape->dim, (int)i % 2),
                   l->sides[seq][i / 2][i % 2]->means + page * l->dim, l->dim * sizeof(uint16_t));
        }
    }
    for (size_t values = 0; n_pages > 0 && values < 2; values++) {
        const size_t bytes = P * l->codec[values]->code.row_bytes;
        rows[values] = metal_room(n_pages * HEADS * bytes);
        for (size_t i = 0; i < n_pages * HEADS; i++) {
            memcpy((char *)rows[values].memory->host + i * bytes,
                   l->sides[seq][i % HEADS][values]->rows + i / HEADS * bytes, bytes);
        }
    }
    if (n_pages > 0) {
        assert_device(tq_metal_append(metal_device, shape, (tq_metal_append_args){(uint32_t)n_pages, HEADS}, rows[0],
                                      rows[1], metal_copy(to, n_pages * sizeof *to)));
    }
}

/* f16 keys and values of a head: `tokens` of them from `first` on, to a place of as many. */
static void put_exact(const layer *l, size_t seq, size_t head, size_t first, size_t tokens, uint16_t *to)
{
    for (size_t values = 0; values < 2; values++) {
        memcpy(to + values * tokens * l->dim, l->sides[seq][head][values]->exact + first * l->dim,
               tokens * l->dim * sizeof *to);
    }
}

static tq_gpu_slice make_exact(const layer *l)
{
    const size_t head_halves = 2 * P * l->dim;
    const size_t bytes = SEQS * PAGES * HEADS * head_halves * sizeof(uint16_t);
    uint16_t *exact = filled(bytes);
    for (size_t i = 0; i < SEQS * PAGES * HEADS; i++) {
        const size_t seq = i / HEADS / PAGES;
        const size_t page = i / HEADS % PAGES;
        put_exact(l, seq, i % HEADS, page * P, P, exact + (pool_page(seq, page) * HEADS + i % HEADS) * head_halves);
    }
    const tq_gpu_slice slice = metal_copy(exact, bytes);
    free(exact);
    return slice;
}

/* Of a sequence; 0 if there are none. */
static uint64_t make_sinks(const layer *l, size_t seq)
{
    static uint16_t sinks[HEADS * 2 * SINKS * TQ_METAL_MAX_DIM];
    const size_t head_halves = 2 * (size_t)l->args.n_sinks * l->dim;
    if (head_halves == 0) {
        return 0;
    }
    for (size_t head = 0; head < HEADS; head++) {
        put_exact(l, seq, head, 0, l->args.n_sinks, sinks + head * head_halves);
    }
    return metal_copy(sinks, HEADS * head_halves * sizeof *sinks).memory->address;
}

static tq_gpu_slice make_views(const layer *l, const tq_metal_layer *shape, tq_gpu_slice pages)
{
    const tq_gpu_slice exact = make_exact(l);
    tq_metal_view views[SEQS];
    for (size_t seq = 0; seq < SEQS; seq++) {
        tq_metal_entry table[PAGES];
        for (size_t page = 0; page < PAGES; page++) {
            const size_t first = pool_page(seq, page) * HEADS;
            table[page] = (tq_metal_entry){pages.memory->address + first * record_bytes(shape),
                                           exact.memory->address + first * 2 * P * l->dim * sizeof(uint16_t)};
        }
        views[seq] = (tq_metal_view){metal_copy(table, sizeof table).memory->address, make_sinks(l, seq),
                                     l->lengths[seq].n_tokens, l->lengths[seq].n_encoded};
    }
    return metal_copy(views, sizeof views);
}

static void check_layer(const layer *l)
{
    const size_t rows = (size_t)SEQS * HEADS * l->args.group;
    const tq_metal_layer shape = {(int32_t)l->dim, l->codec[0]->desc.format, l->codec[1]->desc.format};
    static float got[SEQS * HEADS * MOST_GROUP * TQ_METAL_MAX_DIM];
    static float got_lse[SEQS * HEADS * MOST_GROUP];
    const tq_gpu_slice pages = metal_room(SEQS * PAGES * HEADS * record_bytes(&shape));
    for (size_t seq = 0; seq < SEQS; seq++) {
        append_seq(l, &shape, seq, pages);
    }
    tq_metal_attention attention = {.args = l->args,
                                    .k_code = metal_code(l->codec[0]),
                                    .v_code = metal_code(l->codec[1]),
                                    .views = make_views(l, &shape, pages),
                                    .q = metal_copy(l->q, rows * l->dim * sizeof *l->q),
                                    .rotated = metal_room(rows * l->dim * sizeof *l->q),
                                    .partials = metal_room(tq_metal_partial_bytes(&shape, &l->args)),
                                    .out = metal_room(rows * l->dim * sizeof *got),
                                    .lse = metal_room(rows * sizeof *got_lse)};
    if (l->has_sink_logits) {
        attention.sink_logits = metal_copy(l->sink_logits, sizeof l->sink_logits);
    }
    assert_device(tq_metal_attend(metal_device, &shape, &attention));
    metal_read(attention.out, got, rows * l->dim * sizeof *got);
    metal_read(attention.lse, got_lse, rows * sizeof *got_lse);
    for (size_t row = 0; row < rows; row++) {
        double expected[TQ_METAL_MAX_DIM];
        double lse;
        const double unit = expect(l, row, expected, &lse);
        assert_close((double)got_lse[row], lse, TOLERANCE, "lse of row %zu", row);
        for (size_t j = 0; j < l->dim; j++) {
            assert_close((double)got[row * l->dim + j], expected[j], TOLERANCE * unit,
                         "%s/%s, dim %zu, row %zu, coordinate %zu", tq_format_name(shape.k_format),
                         tq_format_name(shape.v_format), l->dim, row, j);
        }
    }
    metal_free_all();
}

/* All formats of keys with all dimensions; values have another format. */
static void test_attention(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(5);
    for (size_t f = 0; f < N_METAL_FORMATS; f++) {
        for (size_t d = 0; d < N_METAL_DIMS; d++) {
            if (!is_metal_walked(f, d)) {
                continue;
            }
            layer *l = draw_layer(&rng, METAL_DIMS[d], METAL_FORMATS[f], METAL_FORMATS[(3 * f + d) % N_METAL_FORMATS]);
            check_layer(l);
            free_layer(l);
        }
    }
}

int run_attention_tests(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_attention, metal_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

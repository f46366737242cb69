/* SPDX-License-Identifier: MIT
 *
 * From rows to the pages of pages_x86.h, and back:
 *
 *     for tokens k, for dimensions j: the bits of index[k][j] go to their places
 *
 * Tokens are taken in fours: four tokens fill a dword in every lane of a value's operand, and four lanes of a key's. An
 * index goes to the rows in up to three pieces, the same ones for all bytes of a field, so the loops that move them are
 * plain loops over bytes. Written for any compiler; used by all x86 backends. EXACT. */
#include "kernels/x86/pages_x86.h"

#include "kernels/pack.h"
#include "kernels/scalar/scalar.h"

enum { QUAD = 4, FIELDS = 8, MOST_PIECES = 3 };

/* Bits from .. from + width - 1 of an index are bits at .. at + width - 1 of a byte in row `row` of its block. */
typedef struct piece {
    unsigned row;
    unsigned at;
    unsigned from;
    unsigned width;
} piece;

/* In trellis codes an index is u, and n above it. */
static size_t trellis_pieces(unsigned bits, unsigned field, piece *pieces)
{
    const unsigned neighbour = field ^ 2U;
    pieces[0] = (piece){0, field, 0, 1};
    if (bits == 2) {
        pieces[1] = (piece){1, neighbour, 1, 1};
        return 2;
    }
    pieces[1] = (piece){1 + field % 2, neighbour & ~1U, 1, 2};
    if (bits == 3) {
        return 2;
    }
    pieces[2] = (piece){3, field, 3, 1};
    return 3;
}

/* How field `field` of a block is put together; returns the number of pieces. */
static size_t pieces_of(const tq_code *code, unsigned field, piece *pieces)
{
    if (code->trellis.bits != 0) {
        return trellis_pieces(code->bits, field, pieces);
    }
    if (code->bits == 3 && field >= 6) {
        pieces[0] = (piece){field - 6, 6, 0, 2};
        pieces[1] = (piece){2, field, 2, 1};
        return 2;
    }
    const unsigned per_row = 8 / code->bits;
    pieces[0] = (piece){field / per_row, field % per_row * code->bits, 0, code->bits};
    return 1;
}

/* The bytes of one field that belong to four tokens: contiguous in the operand, and in each row. */
typedef struct segment {
    unsigned field;
    size_t at;     /* In the page, if the field were in row 0 of its block. */
    size_t length; /* 16 for keys, 64 for values. */
    size_t dim;    /* Of the first byte. */
    size_t step;   /* Keys: from one byte of a dword to the next. */
} segment;

static size_t count_segments(const tq_code *code, tq_page_kind kind)
{
    return kind == TQ_PAGE_KEYS ? code->dim / 4 : code->dim / TQ_VALUE_DIMS;
}

/* `token` is the first of four. */
static segment segment_at(const tq_code *code, tq_page_kind kind, size_t token, size_t i)
{
    if (kind == TQ_PAGE_VALUES) {
        const size_t block = tq_value_block_at(code, i, token / TQ_VALUE_TOKENS);
        const unsigned field = (unsigned)(token % TQ_VALUE_TOKENS / QUAD);
        return (segment){field, block, TQ_ROW_BYTES, i * TQ_VALUE_DIMS, 0};
    }
    const size_t r = i / FIELDS;
    const size_t t = token / TQ_KEY_TOKENS;
    const bool shared = tq_key_block_is_shared(code, r);
    const size_t second = shared ? t % 2 : 0; /* The second tile of a shared block. */
    const size_t at = tq_key_block_at(code, r, t - second) + QUAD * (token % TQ_KEY_TOKENS);
    const size_t dim = r * TQ_KEY_DIMS + i % FIELDS;
    return (segment){(unsigned)(i % FIELDS + second * FIELDS / 2), at, 4 * QUAD, dim, shared ? 4 : 8};
}

/* Indices of four tokens: index[4 j + i] is dimension j of token i. Values have them in the order of their operands,
 * keys in columns: lane i, byte j is dimension dim + step j of token i. */
static void turn_to_operand(const segment *s, const uint8_t *index, uint8_t *operand)
{
    if (s->step == 0) {
        memcpy(operand, index + QUAD * s->dim, TQ_ROW_BYTES);
        return;
    }
    for (size_t j = 0; j < 4; j++) {
        for (size_t i = 0; i < QUAD; i++) {
            operand[4 * i + j] = index[QUAD * (s->dim + s->step * j) + i];
        }
    }
}

static void turn_to_index(const segment *s, const uint8_t *operand, uint8_t *index)
{
    if (s->step == 0) {
        memcpy(index + QUAD * s->dim, operand, TQ_ROW_BYTES);
        return;
    }
    for (size_t j = 0; j < 4; j++) {
        for (size_t i = 0; i < QUAD; i++) {
            index[QUAD * (s->dim + s->step * j) + i] = operand[4 * i + j];
        }
    }
}

/* Eight bytes at once: a shift moves bits from byte to byte, and a mask takes those away. */
enum { WORD = 8 };

static uint64_t load_word(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, WORD);
    return word;
}

static uint64_t low_bits_of_bytes(unsigned width)
{
    return UINT64_C(0x0101010101010101) * ((1U << width) - 1);
}

/* Puts a piece of every index into a row; bytes of other tokens, where `ours` is 0, stay. */
static void insert(piece p, const uint8_t *operand, const uint8_t *ours, size_t length, uint8_t *row)
{
    const uint64_t mask = low_bits_of_bytes(p.width) << p.at;
    for (size_t i = 0; i < length; i += WORD) {
        const uint64_t replaced = mask & load_word(ours + i);
        const uint64_t bits = load_word(operand + i) >> p.from << p.at;
        const uint64_t word = (load_word(row + i) & ~replaced) | (bits & replaced);
        memcpy(row + i, &word, WORD);
    }
}

static void extract(piece p, const uint8_t *row, size_t length, uint8_t *operand)
{
    const uint64_t mask = low_bits_of_bytes(p.width);
    for (size_t i = 0; i < length; i += WORD) {
        const uint64_t word = load_word(operand + i) | (load_word(row + i) >> p.at & mask) << p.from;
        memcpy(operand + i, &word, WORD);
    }
}

static void write_quad(const tq_code *code, tq_page_kind kind, const uint8_t *index, const bool *has, size_t token,
                       uint8_t *page)
{
    uint8_t ours[TQ_ROW_BYTES];
    for (size_t i = 0; i < TQ_ROW_BYTES; i++) {
        ours[i] = has[kind == TQ_PAGE_KEYS ? i / 4 % QUAD : i % QUAD] ? 0xFF : 0;
    }
    for (size_t i = 0; i < count_segments(code, kind); i++) {
        const segment s = segment_at(code, kind, token, i);
        uint8_t operand[TQ_ROW_BYTES];
        piece pieces[MOST_PIECES];
        turn_to_operand(&s, index, operand);
        for (size_t p = pieces_of(code, s.field, pieces); p-- > 0;) {
            insert(pieces[p], operand, ours, s.length, page + s.at + TQ_ROW_BYTES * pieces[p].row);
        }
    }
}

static void read_quad(const tq_code *code, tq_page_kind kind, const uint8_t *page, size_t token, uint8_t *index)
{
    for (size_t i = 0; i < count_segments(code, kind); i++) {
        const segment s = segment_at(code, kind, token, i);
        uint8_t operand[TQ_ROW_BYTES] = {0};
        piece pieces[MOST_PIECES];
        for (size_t p = pieces_of(code, s.field, pieces); p-- > 0;) {
            extract(pieces[p], page + s.at + TQ_ROW_BYTES * pieces[p].row, s.length, operand);
        }
        turn_to_index(&s, operand, index);
    }
}

/* The indices of one row. */
static void unpack_row(const tq_code *code, const uint8_t *row, uint8_t *index)
{
    const uint8_t *codes = row + code->codes_at;
    if (code->trellis.bits == 0) {
        tq_unpack(codes, code->dim, code->bits, index);
        return;
    }
    memset(index, 0, code->dim);
    for (unsigned plane = 0; plane < code->bits; plane++) {
        tq_unpack_plane(codes + plane * tq_plane_bytes(code->dim, 1), code->dim, plane, 1, index);
    }
}

static void pack_row(const tq_code *code, const uint8_t *index, uint8_t *row)
{
    uint8_t *codes = row + code->codes_at;
    if (code->trellis.bits == 0) {
        tq_pack(index, code->dim, code->bits, codes);
        return;
    }
    for (unsigned plane = 0; plane < code->bits; plane++) {
        tq_pack_plane(index, code->dim, plane, 1, codes + plane * tq_plane_bytes(code->dim, 1));
    }
}

void tq_page_write_x86(const tq_code *code, tq_page_kind kind, const uint8_t *rows, size_t first, size_t n,
                       uint8_t *page)
{
    if (!tq_page_is_tiled(code, kind)) {
        tq_page_write_scalar(code, kind, rows, first, n, page);
        return;
    }
    uint8_t *scales = page + tq_page_scales_at(code);
    for (size_t token = first / QUAD * QUAD; token < first + n; token += QUAD) {
        uint8_t index[QUAD * TQ_MAX_DIM];
        bool has[QUAD];
        for (size_t i = 0; i < QUAD; i++) {
            uint8_t one[TQ_MAX_DIM];
            has[i] = token + i >= first && token + i < first + n;
            memset(one, 0, code->dim);
            if (has[i]) {
                const uint8_t *row = rows + (token + i - first) * code->row_bytes;
                memcpy(scales + 2 * (token + i), row, 2);
                unpack_row(code, row, one);
            }
            for (size_t j = 0; j < code->dim; j++) {
                index[QUAD * j + i] = one[j];
            }
        }
        write_quad(code, kind, index, has, token, page);
    }
}

void tq_page_read_x86(const tq_code *code, tq_page_kind kind, const uint8_t *page, size_t first, size_t n,
                      uint8_t *rows)
{
    if (!tq_page_is_tiled(code, kind)) {
        tq_page_read_scalar(code, kind, page, first, n, rows);
        return;
    }
    const uint8_t *scales = page + tq_page_scales_at(code);
    for (size_t token = first / QUAD * QUAD; token < first + n; token += QUAD) {
        uint8_t index[QUAD * TQ_MAX_DIM] = {0};
        read_quad(code, kind, page, token, index);
        for (size_t i = 0; i < QUAD; i++) {
            uint8_t one[TQ_MAX_DIM];
            if (token + i < first || token + i >= first + n) {
                continue;
            }
            uint8_t *row = rows + (token + i - first) * code->row_bytes;
            memcpy(row, scales + 2 * (token + i), 2);
            for (size_t j = 0; j < code->dim; j++) {
                one[j] = index[QUAD * j + i];
            }
            pack_row(code, one, row);
        }
    }
}

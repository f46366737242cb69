/* SPDX-License-Identifier: MIT
 *
 * Packed indices: the one place that knows which bit of a row belongs to which coordinate (docs/format.md).
 *
 *     1, 2, 4 bits   8, 4, 2 indices per byte, the lowest coordinate in the lowest bits
 *     3 bits         the low two bits of all indices as above, then the high bits of all indices as 1-bit indices
 *     8 bits         one byte each
 *
 * A part that does not fill its last byte leaves the upper bits zero. */
#ifndef TQ_PACK_H
#define TQ_PACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of `dim` fields of `bits` (1, 2, 4 or 8) each. */
static inline size_t tq_plane_bytes(size_t dim, unsigned bits)
{
    return (dim * bits + 7) / 8;
}

/* Bytes of `dim` indices of `bits` (1, 2, 3, 4 or 8) each. */
static inline size_t tq_packed_bytes(size_t dim, unsigned bits)
{
    return bits == 3 ? tq_plane_bytes(dim, 2) + tq_plane_bytes(dim, 1) : tq_plane_bytes(dim, bits);
}

/* Writes bits shift..shift+bits-1 of every index. */
static inline void tq_pack_plane(const uint8_t *index, size_t dim, unsigned shift, unsigned bits, uint8_t *packed)
{
    const size_t per_byte = 8 / bits;
    const unsigned mask = (1U << bits) - 1;
    memset(packed, 0, tq_plane_bytes(dim, bits));
    for (size_t j = 0; j < dim; j++) {
        packed[j / per_byte] |= (uint8_t)((index[j] >> shift & mask) << j % per_byte * bits);
    }
}

/* Sets bits shift..shift+bits-1 of every index, which were zero. */
static inline void tq_unpack_plane(const uint8_t *packed, size_t dim, unsigned shift, unsigned bits, uint8_t *index)
{
    const size_t per_byte = 8 / bits;
    const unsigned mask = (1U << bits) - 1;
    for (size_t j = 0; j < dim; j++) {
        index[j] |= (uint8_t)((packed[j / per_byte] >> j % per_byte * bits & mask) << shift);
    }
}

/* The number of bits is written out in every call, so that the compiler makes a loop without divisions for each. */
static inline void tq_pack(const uint8_t *index, size_t dim, unsigned bits, uint8_t *packed)
{
    switch (bits) {
    case 1:
        tq_pack_plane(index, dim, 0, 1, packed);
        break;
    case 2:
        tq_pack_plane(index, dim, 0, 2, packed);
        break;
    case 3:
        tq_pack_plane(index, dim, 0, 2, packed);
        tq_pack_plane(index, dim, 2, 1, packed + tq_plane_bytes(dim, 2));
        break;
    case 4:
        tq_pack_plane(index, dim, 0, 4, packed);
        break;
    default:
        memcpy(packed, index, dim);
        break;
    }
}

static inline void tq_unpack(const uint8_t *packed, size_t dim, unsigned bits, uint8_t *index)
{
    memset(index, 0, dim);
    switch (bits) {
    case 1:
        tq_unpack_plane(packed, dim, 0, 1, index);
        break;
    case 2:
        tq_unpack_plane(packed, dim, 0, 2, index);
        break;
    case 3:
        tq_unpack_plane(packed, dim, 0, 2, index);
        tq_unpack_plane(packed + tq_plane_bytes(dim, 2), dim, 2, 1, index);
        break;
    case 4:
        tq_unpack_plane(packed, dim, 0, 4, index);
        break;
    default:
        memcpy(index, packed, dim);
        break;
    }
}

#endif /* TQ_PACK_H */

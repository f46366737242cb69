/* SPDX-License-Identifier: MIT
 *
 * What src/kernels/cuda/instructions_cuda.h has, on fibers. Fetches are done when they are begun, by the lane that
 * begins them; a buffer that another lane still reads is overwritten as it would be. */
#ifndef TQ_INSTRUCTIONS_CUDA_H
#define TQ_INSTRUCTIONS_CUDA_H

#include <cuda_fp16.h>

#define TQ_DEVICE inline

#define TQ_ARGS(type)           const type &
#define TQ_DYNAMIC_SHARED(name) uint8_t *const name = shim::dynamic_shared

constexpr unsigned TQ_WARP = 0xFFFFFFFFU;

inline float tq_exp2(float x)
{
    const float r = std::exp2(x);
    return r < 0x1p-126f ? 0.0f : r;
}

inline void tq_let_next_begin()
{
}

inline void tq_wait_for_last()
{
}

namespace shim
{

/* c += a b as mma.sync has the operands: lane 4g + h has rows g and g + 8 of a, column g of b, and columns 2h and
 * 2h + 1 of c. A register of a or b holds BYTES / 4 numbers; `product` multiplies two registers. */
template <typename T, typename P> void multiply(T *c, const uint32_t *a, const uint32_t *b, P product, const site &here)
{
    uint32_t rows[32][4], columns[32][2];
    const unsigned g = thread_index() % 32 / 4;
    const unsigned h = thread_index() % 4;
    const unsigned char *all = exchange(a, 16, here);
    for (unsigned i = 0; i < 32; i++) {
        std::memcpy(rows[i], all + 16 * i, 16);
    }
    all = exchange(b, 8, here);
    for (unsigned i = 0; i < 32; i++) {
        std::memcpy(columns[i], all + 16 * i, 8);
    }
    for (unsigned i = 0; i < 4; i++) { /* Row g + 8 (i / 2), column 2h + i % 2. */
        for (unsigned x = 0; x < 4; x++) {
            const uint32_t *row = rows[4 * g + x];
            const uint32_t *column = columns[4 * (2 * h + i % 2) + x];
            c[i] += product(row[i / 2], column[0]) + product(row[2 + i / 2], column[1]);
        }
    }
}

template <typename B> int multiply_bytes(uint32_t a, uint32_t b)
{
    int sum = 0;
    for (unsigned i = 0; i < 32; i += 8) {
        sum += static_cast<int8_t>(a >> i) * static_cast<B>(b >> i);
    }
    return sum;
}

inline float multiply_halves(uint32_t a, uint32_t b)
{
    return tq_f32_from_f16(static_cast<uint16_t>(a)) * tq_f32_from_f16(static_cast<uint16_t>(b)) +
           tq_f32_from_f16(static_cast<uint16_t>(a >> 16)) * tq_f32_from_f16(static_cast<uint16_t>(b >> 16));
}

} // namespace shim

inline void tq_mma_s8s8(int *c, uint4 a, uint32_t b0, uint32_t b1)
{
    const uint32_t rows[4] = {a.x, a.y, a.z, a.w}, columns[2] = {b0, b1};
    shim::multiply(c, rows, columns, shim::multiply_bytes<int8_t>, shim::site::at("tq_mma_s8s8"));
}

inline void tq_mma_s8u8(int *c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
    const uint32_t rows[4] = {a0, a1, a2, a3}, columns[2] = {b0, b1};
    shim::multiply(c, rows, columns, shim::multiply_bytes<uint8_t>, shim::site::at("tq_mma_s8u8"));
}

inline void tq_mma_f16(float *c, uint4 a, uint32_t b0, uint32_t b1)
{
    const uint32_t rows[4] = {a.x, a.y, a.z, a.w}, columns[2] = {b0, b1};
    shim::multiply(c, rows, columns, shim::multiply_halves, shim::site::at("tq_mma_f16"));
}

template <int STAGES> struct tq_ring {
    uint8_t *buffer;
    int room;
    int lane;

    void init(uint8_t *shared, uint64_t *, int stage_room, int warp_lane)
    {
        buffer = shared;
        room = stage_room;
        lane = warp_lane;
    }
    void fetch(int stage, const uint8_t *from, int bytes)
    {
        if (lane == 0 && bytes > 0) {
            std::memcpy(buffer + stage * room, from, static_cast<size_t>(bytes));
        }
    }
    void wait(int, uint32_t)
    {
        __syncwarp();
    }
};

#endif

/* SPDX-License-Identifier: MIT
 *
 * As much of CUDA C++ as the kernels use, for an ordinary compiler: threads are fibers (tests/fibers/), of which 32 are
 * a warp. What warps do together waits for all of them, at the same place; shared memory is static, since blocks run
 * one after the other. */
#ifndef TQ_SHIM_CUDA_FP16_H
#define TQ_SHIM_CUDA_FP16_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "fibers.h"
#include "half.h"

#define __device__
#define __host__
#define __global__
#define __shared__      static
#define __forceinline__ inline
#define __align__(n)    __attribute__((aligned(n)))
#define __launch_bounds__(...)

namespace shim
{

struct index3 {
    unsigned x, y, z;
};
extern index3 block_index, block_size, grid_size; /* Of the block that runs. */
extern unsigned char *dynamic_shared;

inline index3 thread()
{
    return {thread_index(), 0, 0};
}

/* What lane `from` of the running thread's warp gives. */
template <typename T> T shuffle(T x, unsigned from, const site &here)
{
    T theirs;
    std::memcpy(&theirs, exchange(&x, sizeof x, here) + from % SIMD_THREADS * 16, sizeof theirs);
    return theirs;
}

inline unsigned ballot(bool yes, const site &here)
{
    const unsigned char *all = exchange(&yes, sizeof yes, here);
    unsigned bits = 0;
    for (unsigned i = 0; i < SIMD_THREADS; i++) {
        bits |= (all[i * 16] != 0 ? 1U : 0U) << i;
    }
    return bits;
}

inline uint32_t warp_min(uint32_t x, const site &here)
{
    const unsigned char *all = exchange(&x, sizeof x, here);
    for (unsigned i = 0; i < SIMD_THREADS; i++) {
        uint32_t other;
        std::memcpy(&other, all + i * 16, sizeof other);
        x = std::min(x, other);
    }
    return x;
}

} // namespace shim

#define threadIdx (shim::thread())
#define blockIdx  (shim::block_index)
#define blockDim  (shim::block_size)
#define gridDim   (shim::grid_size)

#define __syncthreads()            shim::wait_for_group(shim::site::at("__syncthreads"))
#define __syncwarp()               shim::wait_for_simd(shim::site::at("__syncwarp"))
#define __shfl_sync(mask, x, from) shim::shuffle(x, static_cast<unsigned>(from), shim::site::at("__shfl_sync"))
#define __shfl_xor_sync(mask, x, change)                                                                               \
    shim::shuffle(x, shim::thread_index() ^ static_cast<unsigned>(change), shim::site::at("__shfl_xor_sync"))
#define __ballot_sync(mask, yes)   shim::ballot(yes, shim::site::at("__ballot_sync"))
#define __any_sync(mask, yes)      (shim::ballot(yes, shim::site::at("__any_sync")) != 0)
#define __reduce_min_sync(mask, x) shim::warp_min(x, shim::site::at("__reduce_min_sync"))

/* --- numbers -------------------------------------------------------------------------------------------------------
 */

using std::abs;
using std::isinf;
using std::max;
using std::min;

struct float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct uint2 {
    uint32_t x, y;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

inline float2 make_float2(float x, float y)
{
    return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}
inline uint2 make_uint2(uint32_t x, uint32_t y)
{
    return {x, y};
}
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w)
{
    return {x, y, z, w};
}

struct __half {
    uint16_t bits;
};
struct __half2 {
    __half x, y;
};

inline float __half2float(__half x)
{
    return tq_f32_from_f16(x.bits);
}
inline float2 __half22float2(__half2 x)
{
    return {tq_f32_from_f16(x.x.bits), tq_f32_from_f16(x.y.bits)};
}
inline __half __float2half_rn(float x) /* Callers keep within the range. */
{
    return {tq_f16_from_f32(x)};
}
inline __half __ushort_as_half(uint16_t bits)
{
    return {bits};
}
inline uint16_t __half_as_ushort(__half x)
{
    return x.bits;
}

inline float __uint_as_float(uint32_t bits)
{
    return tq_f32_from_bits(bits);
}
inline uint32_t __float_as_uint(float x)
{
    return tq_f32_bits(x);
}
inline float __int_as_float(int bits)
{
    return tq_f32_from_bits(static_cast<uint32_t>(bits));
}
inline int __float_as_int(float x)
{
    return static_cast<int>(tq_f32_bits(x));
}

inline float __fadd_rn(float a, float b)
{
    return a + b;
}
inline float __fsub_rn(float a, float b)
{
    return a - b;
}
inline float __fmul_rn(float a, float b)
{
    return a * b;
}
inline float __fdiv_rn(float a, float b)
{
    return a / b;
}
inline float __fmaf_rn(float a, float b, float c)
{
    return std::fma(a, b, c);
}
inline float __fsqrt_rn(float x)
{
    return std::sqrt(x);
}
inline float __fdividef(float a, float b)
{
    return a / b;
}
inline float __log2f(float x)
{
    return std::log2(x);
}
inline int __float2int_rn(float x)
{
    return static_cast<int>(std::nearbyint(x));
}

inline uint32_t __byte_perm(uint32_t low, uint32_t high, uint32_t select)
{
    const uint64_t bytes = static_cast<uint64_t>(high) << 32 | low;
    uint32_t r = 0;
    for (unsigned i = 0; i < 4; i++) {
        r |= static_cast<uint32_t>(bytes >> 8 * (select >> 4 * i & 7U) & 255U) << 8 * i;
    }
    return r;
}
inline uint32_t __dp4a(uint32_t a, uint32_t b, uint32_t c)
{
    for (unsigned i = 0; i < 32; i += 8) {
        c += (a >> i & 255U) * (b >> i & 255U);
    }
    return c;
}
inline uint32_t __funnelshift_r(uint32_t low, uint32_t high, unsigned by)
{
    return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) >> (by & 31U));
}
inline uint32_t __brev(uint32_t x)
{
    uint32_t r = 0;
    for (unsigned i = 0; i < 32; i++) {
        r |= (x >> i & 1U) << (31 - i);
    }
    return r;
}
inline int __popc(uint32_t x)
{
    return __builtin_popcount(x);
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * What CUDA C++ has no words for, and what reads otherwise where kernels are run without a GPU:
 * tests/cuda/shim/ has a file of this name. */
#ifndef TQ_INSTRUCTIONS_CUDA_H
#define TQ_INSTRUCTIONS_CUDA_H

#include <cuda_fp16.h>
#include <stdint.h>

#define TQ_DEVICE __device__ __forceinline__

/* The argument of a kernel; and its dynamic shared memory, to be declared where it is used. */
#define TQ_ARGS(type)           const __grid_constant__ type
#define TQ_DYNAMIC_SHARED(name) extern __shared__ __align__(128) uint8_t name[]

constexpr unsigned TQ_WARP = 0xFFFFFFFFU;

TQ_DEVICE float tq_exp2(float x)
{
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

/* Lets the launch that waits for this one begin; waits for the launch before. */
TQ_DEVICE void tq_let_next_begin()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

TQ_DEVICE void tq_wait_for_last()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

TQ_DEVICE uint32_t tq_shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* c[16][8] += a[16][32] b[32][8]; lane 4g + h has rows g and g + 8, columns 2h and 2h + 1 of c. */
TQ_DEVICE void tq_mma_s8s8(int *c, uint4 a, uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

TQ_DEVICE void tq_mma_s8u8(int *c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/* c[16][8] += a[16][16] b[16][8] in f16, sums in f32. */
TQ_DEVICE void tq_mma_f16(float *c, uint4 a, uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

/* --- fetching ------------------------------------------------------------------------------------------------------
 * A ring of STAGES buffers that one warp fills and reads. From sm_90 on one lane starts a bulk copy that an mbarrier
 * counts; before, all lanes copy 16 bytes at a time. fetch() is called once for each stage, in order, also beyond the
 * last one (with bytes = 0), so that wait() can count. */
template <int STAGES> struct tq_ring {
    uint32_t buffer; /* Shared addresses. */
    uint32_t barrier;
    int room;
    int lane;

    TQ_DEVICE void init(uint8_t *shared, uint64_t *barriers, int stage_room, int warp_lane)
    {
        buffer = tq_shared_address(shared);
        barrier = tq_shared_address(barriers);
        room = stage_room;
        lane = warp_lane;
#if __CUDA_ARCH__ >= 900
        if (lane == 0) {
            for (int s = 0; s < STAGES; s++) {
                asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barrier + 8 * s) : "memory");
            }
            asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        }
        __syncwarp();
#endif
    }

    TQ_DEVICE void fetch(int stage, const uint8_t *from, int bytes)
    {
#if __CUDA_ARCH__ >= 900
        if (lane == 0 && bytes > 0) {
            asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier + 8 * stage), "r"(bytes)
                         : "memory");
            asm volatile(
                "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                    buffer + stage * room),
                "l"(from), "r"(bytes), "r"(barrier + 8 * stage)
                : "memory");
        }
#else
        for (int i = 16 * lane; i < bytes; i += 512) {
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(buffer + stage * room + i), "l"(from + i)
                         : "memory");
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
#endif
    }

    TQ_DEVICE void wait(int stage, uint32_t phase)
    {
#if __CUDA_ARCH__ >= 900
        asm volatile(
            "{\n.reg .pred p;\nAGAIN_%=:\n"
            "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@!p bra AGAIN_%=;\n}" ::"r"(barrier + 8 * stage),
            "r"(phase)
            : "memory");
#else
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 1) : "memory");
        __syncwarp();
#endif
    }
};

#endif /* TQ_INSTRUCTIONS_CUDA_H */

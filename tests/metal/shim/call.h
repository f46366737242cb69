/* SPDX-License-Identifier: MIT
 *
 * Between the shim's device and the calls that make_calls.py writes. */
#ifndef TQ_SHIM_CALL_H
#define TQ_SHIM_CALL_H

#include <cstdint>

namespace shim
{

/* What the threads of one threadgroup are given. */
struct kernel_call {
    void *const *buffers;
    void *shared;
    uint32_t group[3];
};

/* A function for run_group that takes a kernel_call, and the buffers that it needs, a bit each. */
struct kernel_entry {
    void (*run)(void *call);
    uint32_t wanted;
};

/* Of a tq_metal_kernel; `run` is null if no source has it. */
kernel_entry find_kernel(unsigned number);

} // namespace shim

#endif

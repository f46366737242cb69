/* SPDX-License-Identifier: MIT
 *
 * The operations of gpu_metal.h on plain memory and fibers. Memory is as long as it was asked for, so that the address
 * sanitizer sees what goes past it, and full of NaN, like the memory of a threadgroup: nothing is zero by chance. */
#include "shim_device.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "call.h"
#include "fibers.h"
#include "kernels/metal/args_metal.h"
#include "races.h"

namespace shim
{
int constants[TQ_LAUNCH_CONSTANTS];

/* races.cpp is not there together with a sanitizer. */
__attribute__((weak)) void watch_for_races(const void *, size_t)
{
}
} // namespace shim

namespace
{

constexpr unsigned char GARBAGE = 0xFF; /* As floats and halves: NaN. */
constexpr uint32_t MOST_SHARED = 32768; /* Of any Apple GPU. */

struct shim_device {
    tq_gpu base;
    shim::order order;
    uint64_t random_state;
};

struct shim_memory {
    tq_gpu_memory base;
    bool is_ours;
};

tq_status make_memory(tq_gpu *device, void *bytes, size_t size, bool is_ours, tq_gpu_memory **memory)
{
    if (bytes == nullptr) {
        return tq_gpu_fail(device, TQ_ERR_OUT_OF_MEMORY, "the shim has no memory");
    }
    *memory = &(new shim_memory{{size, bytes, reinterpret_cast<uintptr_t>(bytes)}, is_ours})->base;
    return TQ_OK;
}

tq_status shim_alloc(tq_gpu *device, size_t bytes, tq_gpu_memory **memory)
{
    void *made = std::malloc(bytes);
    if (made != nullptr) {
        std::memset(made, GARBAGE, bytes);
    }
    return make_memory(device, made, bytes, true, memory);
}

tq_status shim_wrap(tq_gpu *device, void *data, size_t bytes, tq_gpu_memory **memory)
{
    return make_memory(device, data, bytes, false, memory);
}

void shim_free(tq_gpu *, tq_gpu_memory *memory)
{
    auto *mine = reinterpret_cast<shim_memory *>(memory);
    if (mine->is_ours) {
        std::free(mine->base.host);
    }
    delete mine;
}

tq_status fail(tq_gpu *device, tq_status status, const std::string &sentence)
{
    return tq_gpu_fail(device, status, sentence.c_str());
}

/* All threadgroups, one after the other. */
tq_status run_groups(shim_device *device, const tq_launch *launch, const shim::kernel_entry &entry,
                     void *const *buffers)
{
    std::string problem;
    for (uint32_t z = 0; z < launch->groups[2]; z++) {
        for (uint32_t y = 0; y < launch->groups[1]; y++) {
            for (uint32_t x = 0; x < launch->groups[0]; x++) {
                std::vector<unsigned char> shared(launch->shared_bytes, GARBAGE);
                shim::watch_for_races(shared.data(), shared.size());
                shim::kernel_call call = {buffers, shared.data(), {x, y, z}};
                if (!shim::run_group(launch->threads, device->order, device->random_state, entry.run, &call, problem)) {
                    return fail(&device->base, TQ_ERR_BACKEND, problem);
                }
            }
        }
    }
    return TQ_OK;
}

tq_status shim_launch(tq_gpu *device, const tq_launch *launch)
{
    const shim::kernel_entry entry = shim::find_kernel(launch->kernel);
    if (entry.run == nullptr) {
        return fail(device, TQ_ERR_UNSUPPORTED, "no source has kernel " + std::to_string(launch->kernel));
    }
    if (launch->threads > shim::MOST_THREADS || launch->threads % shim::SIMD_THREADS != 0 ||
        launch->shared_bytes > MOST_SHARED) {
        return fail(device, TQ_ERR_INVALID_ARGUMENT, "a threadgroup is too large, or no whole simdgroups");
    }
    std::vector<unsigned char> args(launch->args_bytes);
    void *buffers[TQ_LAUNCH_BUFFERS] = {};
    uint32_t bound = 0;
    if (launch->args_bytes != 0) {
        std::memcpy(args.data(), launch->args, launch->args_bytes);
        buffers[TQ_AT_ARGS] = args.data();
        bound |= 1U << TQ_AT_ARGS;
    }
    for (unsigned i = TQ_AT_ARGS + 1; i < launch->n_buffers; i++) {
        if (launch->buffers[i].memory != nullptr) {
            buffers[i] = static_cast<unsigned char *>(launch->buffers[i].memory->host) + launch->buffers[i].at;
            bound |= 1U << i;
        }
    }
    if (bound != entry.wanted) {
        return fail(device, TQ_ERR_INVALID_ARGUMENT,
                    "kernel " + std::to_string(launch->kernel) + " takes buffers " + std::to_string(entry.wanted) +
                        ", bound are " + std::to_string(bound) + " (a bit each)");
    }
    std::memcpy(shim::constants, launch->constants, sizeof shim::constants);
    return run_groups(reinterpret_cast<shim_device *>(device), launch, entry, buffers);
}

tq_status shim_wait(tq_gpu *)
{
    return TQ_OK;
}

void shim_destroy(tq_gpu *device)
{
    delete reinterpret_cast<shim_device *>(device);
}

const tq_gpu_ops OPS = {shim_alloc, shim_wrap, shim_free, shim_launch, shim_wait, shim_destroy};

} // namespace

tq_gpu *tq_shim_device_open(const char *order)
{
    auto *device = new shim_device{{&OPS, false, ""}, shim::order::forward, 1};
    if (std::strcmp(order, "reverse") == 0) {
        device->order = shim::order::reverse;
    } else if (std::strcmp(order, "random") == 0) {
        device->order = shim::order::random;
    }
    return &device->base;
}

void tq_shim_break_barrier(const char *how, const char *where)
{
    const char *colon = std::strrchr(where, ':');
    shim::broken.kind = std::strcmp(how, "removed") == 0 ? shim::damage::removed : shim::damage::divergent;
    shim::broken.file.assign(where, static_cast<size_t>(colon - where));
    shim::broken.line = std::atoi(colon + 1);
}

/* SPDX-License-Identifier: MIT
 *
 * In place of src/cuda/driver.c: the CUDA driver's functions, on plain memory and fibers. A module is a shared object,
 * the kernels of one head_dim compiled for this processor; its functions and variables are found by name. Memory is as
 * long as it was asked for, so that the address sanitizer sees what goes past it, and full of NaN, like the shared
 * memory of a block: nothing is zero by chance. */
#define _Static_assert static_assert /* As C has it. */
extern "C" {
#include "cuda/driver.h"
}

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "cuda_fp16.h"
#include "races.h"

namespace shim
{
/* races.cpp is not there together with a sanitizer. */
__attribute__((weak)) void watch_for_races(const void *, size_t)
{
}

index3 block_index, block_size, grid_size;
unsigned char *dynamic_shared;
} // namespace shim

namespace
{

constexpr unsigned char GARBAGE = 0xFF;
enum { INVALID = 1, FAILURE = 700, MOST_SHARED = 227 * 1024, NOTICED = 3 /* As an exit status. */ };

constexpr size_t MOST_MEMORY = size_t{1} << 30;

int nowhere;
uint64_t random_state = 1;
std::map<uintptr_t, size_t> blocks; /* Of the device's memory: addresses, sizes. */
size_t allocated;

/* A kernel takes its struct by reference here, see TQ_ARGS. */
struct call {
    void (*kernel)(const void *args);
    const void *args;
};

void run_thread(void *argument)
{
    const call *c = static_cast<const call *>(argument);
    c->kernel(c->args);
}

int launch(const tq_cuda_launch *l, void *function, void **arguments, void **)
{
    std::string problem;
    std::vector<unsigned char> room(l->shared_bytes + 128);
    call c = {reinterpret_cast<void (*)(const void *)>(function), arguments[0]};
    shim::dynamic_shared = room.data() + 128 - reinterpret_cast<uintptr_t>(room.data()) % 128;
    shim::block_size = {l->block[0], l->block[1], l->block[2]};
    shim::grid_size = {l->grid[0], l->grid[1], l->grid[2]};
    if (l->block[0] > shim::MOST_THREADS || l->block[0] % 32 != 0 || l->block[1] != 1 || l->block[2] != 1 ||
        l->shared_bytes > MOST_SHARED) {
        return INVALID;
    }
    for (unsigned z = 0; z < l->grid[2]; z++) {
        for (unsigned y = 0; y < l->grid[1]; y++) {
            for (unsigned x = 0; x < l->grid[0]; x++) {
                std::fill(room.begin(), room.end(), GARBAGE);
                shim::watch_for_races(shim::dynamic_shared, l->shared_bytes);
                shim::block_index = {x, y, z};
                if (!shim::run_group(l->block[0], shim::order::random, random_state, run_thread, &c, problem)) {
                    std::fprintf(stderr, "shim: %s\n", problem.c_str());
                    if (shim::broken.kind != shim::damage::none) {
                        std::_Exit(NOTICED);
                    }
                    return FAILURE;
                }
            }
        }
    }
    return 0;
}

int device_attribute(int *value, int attribute, int)
{
    *value = attribute == TQ_CUDA_MAJOR ? 9 : attribute == TQ_CUDA_MOST_SHARED ? int{MOST_SHARED} : 8;
    return 0;
}

int context_retain(void **context, int)
{
    *context = &nowhere;
    return 0;
}

int context_pop(void **)
{
    return 0;
}

/* `image` is the path of a shared object. */
int module_load(void **module, const void *image)
{
    *module = dlopen(static_cast<const char *>(image), RTLD_NOW | RTLD_LOCAL);
    if (*module == nullptr) {
        std::fprintf(stderr, "shim: %s\n", dlerror());
    }
    return *module != nullptr ? 0 : TQ_CUDA_NO_BINARY;
}

int module_unload(void *) /* Kept: sanitizers want to know what its code was. */
{
    return 0;
}

int module_function(void **function, void *module, const char *name)
{
    *function = dlsym(module, name);
    return *function != nullptr ? 0 : TQ_CUDA_NOT_FOUND;
}

int module_global(void **address, size_t *bytes, void *module, const char *name)
{
    *bytes = sizeof(int);
    return module_function(address, module, name);
}

int allocate(void **address, size_t bytes)
{
    *address = bytes <= MOST_MEMORY - allocated ? std::malloc(bytes) : nullptr;
    if (*address == nullptr) {
        return TQ_CUDA_OUT_OF_MEMORY;
    }
    std::memset(*address, GARBAGE, bytes);
    blocks[reinterpret_cast<uintptr_t>(*address)] = bytes;
    allocated += bytes;
    return 0;
}

int release(void *address)
{
    const auto block = blocks.find(reinterpret_cast<uintptr_t>(address));
    if (block == blocks.end()) {
        return INVALID;
    }
    allocated -= block->second;
    blocks.erase(block);
    std::free(address);
    return 0;
}

int pointer_attribute(void *value, int, const void *address)
{
    const auto at = reinterpret_cast<uintptr_t>(address);
    const auto behind = blocks.upper_bound(at);
    const bool found = behind != blocks.begin() && at - std::prev(behind)->first < std::prev(behind)->second;
    const unsigned type = TQ_CUDA_DEVICE_MEMORY;
    std::memcpy(value, &type, sizeof type);
    return found ? 0 : INVALID;
}

int move(void *to, const void *from, size_t bytes)
{
    std::memcpy(to, from, bytes);
    return 0;
}

} // namespace

/* TQ_SHIM_BREAK=FILE:LINE: the barrier there is not there. The first kernel that minds ends the program. */
static void break_barrier()
{
    const char *where = std::getenv("TQ_SHIM_BREAK");
    const char *colon = where != nullptr ? std::strrchr(where, ':') : nullptr;
    if (colon != nullptr) {
        shim::broken.kind = shim::damage::removed;
        shim::broken.file.assign(where, static_cast<size_t>(colon - where));
        shim::broken.line = std::atoi(colon + 1);
    }
}

extern "C" bool tq_cuda_driver_open(tq_cuda_driver *d)
{
    break_barrier();
    const auto nothing = [](auto...) { return 0; };
    d->library = &nowhere;
    d->init = nothing;
    d->device_count = [](int *count) { return *count = 1, 0; };
    d->device_get = [](int *device, int ordinal) { return *device = ordinal, 0; };
    d->device_attribute = device_attribute;
    d->context_retain = context_retain;
    d->context_release = nothing;
    d->context_push = nothing;
    d->context_pop = context_pop;
    d->module_load = module_load;
    d->module_unload = module_unload;
    d->module_function = module_function;
    d->module_global = module_global;
    d->function_attribute = nothing;
    d->allocate = allocate;
    d->release = release;
    d->pointer_attribute = pointer_attribute;
    d->upload = move;
    d->download = move;
    d->copy = [](void *to, const void *from, size_t bytes, void *) { return move(to, from, bytes); };
    d->launch = launch;
    d->synchronise = nothing;
    d->error_string = [](int, const char **text) { return *text = "the shim says no", 0; };
    return true;
}

extern "C" void tq_cuda_driver_close(tq_cuda_driver *)
{
}

/* SPDX-License-Identifier: MIT
 *
 * Device code: loaded once for each head_dim, its kernels found by name, launched. */
#include "cuda/cuda.h"

#include <stdio.h>
#include <string.h>

/* A kernel and, where it has one, its number of bytes of shared memory, which is a variable beside it. One that takes
 * more than the device has is not found. */
static int find_kernel(tq_cuda_device *device, void *module, const char *name, bool has_shared, tq_cuda_kernel *kernel)
{
    const tq_cuda_driver *driver = &device->driver;
    char variable[96];
    void *address;
    size_t bytes;
    int shared = 0;
    int error = driver->module_function(&kernel->function, module, name);
    snprintf(variable, sizeof variable, "%s_shared", name);
    if (error == 0 && has_shared) {
        error = driver->module_global(&address, &bytes, module, variable);
        error = error == 0 ? driver->download(&shared, address, sizeof shared) : error;
        error = error == 0 && shared > device->most_shared ? TQ_CUDA_NOT_FOUND : error;
        error = error == 0 ? driver->function_attribute(kernel->function, TQ_CUDA_DYNAMIC_SHARED, shared) : error;
        error = error == 0 ? driver->function_attribute(kernel->function, TQ_CUDA_CARVEOUT, 100) : error;
    }
    kernel->shared_bytes = (unsigned)shared;
    if (error != 0) {
        kernel->function = NULL;
    }
    return error;
}

static tq_status load_module(tq_cuda_device *device, const tq_cuda_image *image, tq_cuda_module *module)
{
    void *loaded = NULL;
    int error = device->driver.module_load(&loaded, image->code);
    if (error == TQ_CUDA_NO_BINARY) {
        return tq_fail(device->base.context, TQ_ERR_UNSUPPORTED, "cuda: the library has no code for this device");
    }
    error = error == 0 ? find_kernel(device, loaded, "tq_store_tokens", false, &module->store) : error;
    error = error == 0 ? find_kernel(device, loaded, "tq_patch_tables", false, &module->patch) : error;
    error = error == 0 ? find_kernel(device, loaded, "tq_merge", false, &module->merge) : error;
    error = error == 0 ? find_kernel(device, loaded, "tq_combine", false, &module->combine) : error;
    if (error != 0 && loaded != NULL) {
        device->driver.module_unload(loaded);
    } else {
        module->module = loaded;
    }
    return tq_cuda_check(device, error, "loading device code");
}

tq_status tq_cuda_load(tq_cuda_device *device, size_t dim, tq_cuda_module **module)
{
    for (size_t i = 0; i < tq_cuda_n_images; i++) {
        if (tq_cuda_images[i].dim == dim) {
            *module = &device->modules[i];
            return device->modules[i].module != NULL ? TQ_OK
                                                     : load_module(device, &tq_cuda_images[i], &device->modules[i]);
        }
    }
    return tq_fail(device->base.context, TQ_ERR_UNSUPPORTED,
                   "cuda: the library was built without this head_dim (TURBOQUANT_CUDA_DIMS)");
}

void tq_cuda_unload(tq_cuda_device *device)
{
    for (size_t i = 0; i < TQ_CUDA_MAX_IMAGES; i++) {
        if (device->modules[i].module != NULL) {
            device->driver.module_unload(device->modules[i].module);
        }
    }
}

tq_status tq_cuda_find(tq_cuda_device *device, const tq_cuda_module *module, const char *name, tq_cuda_kernel *kernel)
{
    if (kernel->function != NULL) {
        return TQ_OK;
    }
    const int error = find_kernel(device, module->module, name, true, kernel);
    if (error == TQ_CUDA_NOT_FOUND) {
        return tq_fail(device->base.context, TQ_ERR_UNSUPPORTED,
                       kernel->shared_bytes > (unsigned)device->most_shared
                           ? "cuda: the device has too little shared memory for this head_dim in this format"
                           : "cuda: the library was built without kernels for this format");
    }
    return tq_cuda_check(device, error, "finding a kernel");
}

tq_status tq_cuda_find_codec(tq_cuda_device *device, tq_cuda_module *module, tq_format format)
{
    char name[64];
    const size_t index = tq_format_index(format);
    snprintf(name, sizeof name, "tq_encode_pages_%d", (int)format);
    tq_status status = tq_cuda_find(device, module, name, &module->encode_pages[index]);
    if (status == TQ_OK) {
        snprintf(name, sizeof name, "tq_decode_pages_%d", (int)format);
        status = tq_cuda_find(device, module, name, &module->decode_pages[index]);
    }
    return status;
}

tq_status tq_cuda_find_attention(tq_cuda_device *device, tq_cuda_module *module, tq_format k, tq_format v)
{
    char name[64];
    int error = 0;
    for (int tiles = 1; error == 0 && tiles <= 2; tiles++) {
        tq_cuda_kernel *kernel = &module->attend[tq_format_index(k)][tq_format_index(v)][tiles - 1];
        snprintf(name, sizeof name, "tq_attend_%d_%d_%d", (int)k, (int)v, tiles);
        error = kernel->function == NULL ? find_kernel(device, module->module, name, true, kernel) : 0;
    }
    return error == TQ_CUDA_NOT_FOUND ? TQ_OK : tq_cuda_check(device, error, "finding a kernel");
}

void tq_cuda_run(tq_cuda_device *device, const tq_cuda_kernel *kernel, const unsigned grid[3], unsigned threads,
                 void *stream, const void *args, bool overlap)
{
    tq_cuda_launch_attribute early = {TQ_CUDA_OVERLAP_LAUNCHES, 0, {1}};
    void *arguments[1];
    memcpy(&arguments[0], &args, sizeof args); /* The driver reads them. */
    const tq_cuda_launch launch = {{grid[0], grid[1], grid[2]}, {threads, 1, 1}, kernel->shared_bytes, stream, &early,
                                   overlap && device->overlaps};
    tq_cuda_note(device, device->driver.launch(&launch, kernel->function, arguments, NULL), "a launch");
}

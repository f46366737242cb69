/* SPDX-License-Identifier: MIT
 *
 * Inside the Metal device: what it, its caches and its sides hold. Memory is shared with the host: blocks are addresses
 * of the host, and what is small is done there. Every call waits until the GPU is done, before the host looks again. */
#ifndef TQ_METAL_H
#define TQ_METAL_H

#include "device.h"
#include "kernels/metal/launch_metal.h"

typedef struct tq_metal_device {
    tq_device base;
    tq_gpu *gpu;
} tq_metal_device;

/* A side's codec where kernels read it. */
typedef struct tq_metal_side {
    tq_gpu_memory *code;
} tq_metal_side;

/* Memory that a call borrows. */
typedef struct tq_metal_scratch {
    struct tq_metal_scratch *next;
    tq_gpu_memory *memory;
    size_t used;
} tq_metal_scratch;

typedef struct tq_metal_cache {
    tq_metal_scratch *idle;
} tq_metal_cache;

/* --- open.c --------------------------------------------------------------------------------------------------------
 */

bool tq_metal_is_usable(void);

/* TQ_OK; TQ_ERR_UNSUPPORTED (no GPU, or not such a one), TQ_ERR_OUT_OF_MEMORY, TQ_ERR_BACKEND. */
tq_status tq_metal_open(const tq_context *context, uint32_t ordinal, tq_device **device);

/* Logs the GPU's sentence if there is one; a GPU that is lost is lost for the device. */
tq_status tq_metal_check(tq_metal_device *device, tq_status status);

/* --- memory.c ------------------------------------------------------------------------------------------------------
 */
tq_status tq_metal_slab_open(tq_device *base, tq_slab *slab);
void tq_metal_slab_close(tq_device *base, tq_slab *slab);
void tq_metal_copy(tq_device *base, tq_cache *cache, uint8_t *to, const uint8_t *from, size_t bytes);
void tq_metal_download(tq_device *base, const tq_cache *cache, void *to, const uint8_t *from, size_t bytes);
void tq_metal_upload(tq_device *base, const tq_cache *cache, uint8_t *to, const void *from, size_t bytes);
tq_status tq_metal_cache_open(tq_device *base, tq_cache *cache);
void tq_metal_cache_close(tq_device *base, tq_cache *cache);

/* Where kernels find what the host has at an address of the cache's pool; 0 for null. */
uint64_t tq_metal_address(tq_cache *cache, const uint8_t *block);

/* What a part of scratch memory takes. */
static inline size_t tq_metal_aligned(size_t bytes)
{
    enum { ALIGNMENT = 256 };
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Room for parts of so many bytes, aligned, in all: TQ_OK, TQ_ERR_OUT_OF_MEMORY or TQ_ERR_BACKEND, logged. */
tq_status tq_metal_borrow(tq_cache *cache, size_t bytes, tq_metal_scratch **scratch);
void tq_metal_return(tq_cache *cache, tq_metal_scratch *scratch);

/* The next part of it. */
tq_gpu_slice tq_metal_part(tq_metal_scratch *scratch, size_t bytes);

static inline void *tq_metal_host(tq_gpu_slice slice)
{
    return (char *)slice.memory->host + slice.at;
}

/* --- sides.c -------------------------------------------------------------------------------------------------------
 */
tq_status tq_metal_form_open(tq_device *base, tq_side *k, tq_side *v);
void tq_metal_side_close(tq_device *base, tq_side *side);
size_t tq_metal_side_bytes(tq_format format, size_t dim, bool has_mean);

/* What kernels are specialised for. Without codes, any format will do for the exact tokens. */
tq_metal_layer tq_metal_layer_of(tq_form form);
tq_gpu_slice tq_metal_code_of(const tq_side *side);

/* --- records.c -----------------------------------------------------------------------------------------------------
 */
void tq_metal_rows_from_record(tq_form form, bool values, const uint8_t *record, uint8_t *rows);
void tq_metal_rows_to_record(tq_form form, bool values, const uint8_t *rows, uint8_t *record);
size_t tq_metal_mean_of_record(tq_form form, bool values);

/* --- steps.c, attention.c ------------------------------------------------------------------------------------------
 */
void tq_metal_encode_step(tq_device *base, const tq_device_step *step, tq_page *const *pages);
void tq_metal_store_step(tq_device *base, const tq_device_step *step, const tq_kv *kv, size_t first, size_t n_tokens);
tq_status tq_metal_attend_step(tq_device *base, const tq_device_step *step, const tq_attention *attention, size_t first,
                               size_t n_tokens);

#endif /* TQ_METAL_H */

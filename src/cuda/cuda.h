/* SPDX-License-Identifier: MIT
 *
 * Inside the CUDA device: what it, its caches and its sides hold. */
#ifndef TQ_CUDA_H
#define TQ_CUDA_H

#include "cuda/driver.h"
#include "device.h"
#include "kernels/cuda/args_cuda.h"

/* Device code of one head_dim, made by cmake/cuda_image.cmake: fat binaries. */
typedef struct tq_cuda_image {
    size_t dim;
    const unsigned char *code;
} tq_cuda_image;

extern const tq_cuda_image tq_cuda_images[];
extern const size_t tq_cuda_n_images;

enum { TQ_CUDA_MAX_IMAGES = 16 };

typedef struct tq_cuda_kernel {
    void *function;
    unsigned shared_bytes;
} tq_cuda_kernel;

/* The kernels of one head_dim; those that take formats are found when a form first needs them. */
typedef struct tq_cuda_module {
    void *module; /* Null: not loaded. */
    tq_cuda_kernel store, patch, general, merge, combine;
    tq_cuda_kernel encode_pages[TQ_FORMATS];
    tq_cuda_kernel decode_pages[TQ_FORMATS];
    tq_cuda_kernel attend[TQ_FORMATS][TQ_FORMATS][2];
} tq_cuda_module;

typedef struct tq_cuda_device {
    tq_device base;
    tq_cuda_driver driver;
    int handle;
    void *primary; /* The device's primary context, which torch and others use, too. */
    int n_sms;
    int most_shared; /* Bytes of shared memory that a block can have. */
    bool overlaps;   /* A launch can begin before the one it waits for has ended. */
    tq_cuda_module modules[TQ_CUDA_MAX_IMAGES];
} tq_cuda_device;

/* A side's tables on the device, and what kernels are told about it. */
typedef struct tq_cuda_side {
    void *memory;
    tq_cuda_code code;
    tq_cuda_table table;
} tq_cuda_side;

/* Floats on the device that live as long as a cache. */
typedef struct tq_cuda_room {
    float *floats;
    size_t count;
} tq_cuda_room;

typedef struct tq_cuda_cache {
    tq_cuda_module *modules[2]; /* Of the head_dim of keys, of values. */
    tq_cuda_room partials;      /* Of the splits of a launch, */
    tq_cuda_room parts;         /* and of several launches. */
} tq_cuda_cache;

/* --- open.c --------------------------------------------------------------------------------------------------------
 */

/* True if this machine has a driver, and a device; the library has device code. */
bool tq_cuda_is_usable(void);

/* TQ_OK; TQ_ERR_UNSUPPORTED (no driver, no such device, no code for it), TQ_ERR_OUT_OF_MEMORY, TQ_ERR_BACKEND. */
tq_status tq_cuda_open(const tq_context *context, uint32_t ordinal, tq_device **device);

/* Makes the device the thread's current one, and undoes it if that went well. */
bool tq_cuda_enter(tq_cuda_device *device);
void tq_cuda_leave(tq_cuda_device *device, bool entered);

/* A driver's error as a status, with its text in the log; 0 is TQ_OK. */
tq_status tq_cuda_check(tq_cuda_device *device, int error, const char *what);

/* The same for what returns no status: the device remembers. */
void tq_cuda_note(tq_cuda_device *device, int error, const char *what);

/* --- modules.c -----------------------------------------------------------------------------------------------------
 */

/* The module of a head_dim, loaded if it is not: TQ_OK, TQ_ERR_UNSUPPORTED or TQ_ERR_BACKEND. */
tq_status tq_cuda_load(tq_cuda_device *device, size_t dim, tq_cuda_module **module);

/* A kernel by its name, with a number of bytes of shared memory; TQ_ERR_UNSUPPORTED if there is none. */
tq_status tq_cuda_find(tq_cuda_device *device, const tq_cuda_module *module, const char *name, tq_cuda_kernel *kernel);

/* The kernels that encode and decode a format in place; TQ_ERR_UNSUPPORTED if the library was built without them. */
tq_status tq_cuda_find_codec(tq_cuda_device *device, tq_cuda_module *module, tq_format format);

/* Those that attend to a form alone, if there are any, and the device has room for them: else it is the general one's.
 */
tq_status tq_cuda_find_attention(tq_cuda_device *device, tq_cuda_module *module, tq_format k, tq_format v);

void tq_cuda_unload(tq_cuda_device *device);

/* Launches; `overlap` lets it begin early. */
void tq_cuda_run(tq_cuda_device *device, const tq_cuda_kernel *kernel, const unsigned grid[3], unsigned threads,
                 void *stream, const void *args, bool overlap);

/* --- memory.c ------------------------------------------------------------------------------------------------------
 */

tq_status tq_cuda_slab_open(tq_device *base, tq_slab *slab);
void tq_cuda_slab_close(tq_device *base, tq_slab *slab);
void tq_cuda_copy(tq_device *base, tq_cache *cache, uint8_t *to, const uint8_t *from, size_t bytes);
void tq_cuda_download(tq_device *base, const tq_cache *cache, void *to, const uint8_t *from, size_t bytes);
void tq_cuda_upload(tq_device *base, const tq_cache *cache, uint8_t *to, const void *from, size_t bytes);
tq_status tq_cuda_cache_open(tq_device *base, tq_cache *cache);
void tq_cuda_cache_close(tq_device *base, tq_cache *cache);

/* --- sides.c -------------------------------------------------------------------------------------------------------
 */
tq_status tq_cuda_form_open(tq_device *base, tq_side *k, tq_side *v);
void tq_cuda_side_close(tq_device *base, tq_side *side);
size_t tq_cuda_side_size(tq_format format, size_t dim, bool has_mean);

/* Where the keys or values of a form lie in its records. */
tq_cuda_side_place tq_cuda_place_of_side(tq_form form, bool values);

/* The attention kernel of a form, for 4 query rows or for 8; null if it has none. Without codes, any will do for the
 * exact tokens. */
static inline const tq_cuda_kernel *tq_cuda_attention_of(const tq_cuda_cache *cache, tq_form form, int tiles)
{
    const bool half = tq_form_is_half(form);
    const size_t k = tq_format_index(half ? TQ_FORMAT_TURBO4 : form.k->codec->desc.format);
    const size_t v = tq_format_index(half ? TQ_FORMAT_TURBO4 : form.v->codec->desc.format);
    const tq_cuda_kernel *kernel = &cache->modules[0]->attend[k][v][tiles - 1];
    return cache->modules[0] == cache->modules[1] && kernel->function != NULL ? kernel : NULL;
}

/* --- records.c -----------------------------------------------------------------------------------------------------
 */

void tq_cuda_rows_from_record(tq_form form, bool values, const uint8_t *record, uint8_t *rows);
void tq_cuda_rows_to_record(tq_form form, bool values, const uint8_t *rows, uint8_t *record);
size_t tq_cuda_mean_at(tq_form form, bool values);

/* --- steps.c, attention.c, mixed.c, decode.c
 * ------------------------------------------------------------------------------------------
 */
void tq_cuda_encode(tq_device *base, const tq_device_step *step, tq_page *const *pages);
void tq_cuda_encode_tokens(tq_device *base, const tq_device_step *step, tq_page *const *pages, size_t n_pages,
                           const tq_kv *kv, size_t first);
void tq_cuda_store(tq_device *base, const tq_device_step *step, const tq_kv *kv, size_t first, size_t n_tokens);
tq_status tq_cuda_attend(tq_device *base, const tq_device_step *step, const tq_attention *attention, size_t first,
                         size_t n_tokens);

/* What a launch attends to. */
typedef enum tq_cuda_part {
    TQ_CUDA_ALL,     /* Tokens of one form, and exact ones, */
    TQ_CUDA_EXACT,   /* the latter alone, */
    TQ_CUDA_ENCODED, /* the former alone; */
    TQ_CUDA_GENERAL  /* or all there is, by the general kernel. */
} tq_cuda_part;

/* Room for some floats: TQ_OK or TQ_ERR_OUT_OF_MEMORY. */
tq_status tq_cuda_reserve(tq_cache *cache, tq_cuda_room *room, size_t floats);

/* Attends by the kernels of a form, whose views are in args. */
tq_status tq_cuda_attend_part(tq_cuda_device *device, const tq_device_step *step, tq_form form, tq_cuda_part part,
                              tq_cuda_attend_args *args);

/* mixed.c: tracks [from, from + args->n_seqs) of a step, of which some have pages of several forms. */
tq_status tq_cuda_attend_mixed(tq_cuda_device *device, const tq_device_step *step, size_t from,
                               tq_cuda_attend_args *args);

void tq_cuda_decode(tq_device *base, const tq_device_step *step, size_t first, const tq_kv_out *kv);

/* What the newest n_queries tokens of a track see: encoded pages in their forms. */
tq_cuda_view tq_cuda_view_of(const tq_device_step *step, const tq_track *track, size_t n_queries);

/* Brings the tables of all tracks up to date. */
void tq_cuda_patch(tq_cuda_device *device, const tq_device_step *step);

#endif /* TQ_CUDA_H */

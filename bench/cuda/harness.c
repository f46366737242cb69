/* SPDX-License-Identifier: MIT
 *
 * The kernels of the CUDA backend and the scalar backend's rows and levels, for the Python programs of this folder. */
#include "cuda/cuda.h"
#include "kernels/cuda/layout_cuda.h"
#include "kernels/cuda/tables_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static tq_context *contexts[2]; /* Scalar, CUDA. */

static void print_failure(void *user, tq_status status, const char *sentence)
{
    (void)user;
    fprintf(stderr, "%d: %s\n", (int)status, sentence);
}

static tq_context *context_of(int cuda)
{
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    desc.backend = cuda ? "cuda" : "scalar";
    desc.log.message = print_failure;
    if (contexts[cuda] == NULL && tq_context_create(&desc, &contexts[cuda]) != TQ_OK) {
        abort();
    }
    return contexts[cuda];
}

static tq_codec *codec_of(int format, int dim)
{
    static tq_codec *codecs[64][1024 / 16 + 1];
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    tq_codec **codec = &codecs[format][dim / 16];
    desc.dim = (uint32_t)dim;
    desc.format = format;
    if (*codec == NULL && tq_codec_create(context_of(0), &desc, codec) != TQ_OK) {
        abort();
    }
    return *codec;
}

/* Launches a kernel by its name; 0 threads are 128. */
EXPORT int harness_launch(int dim, const char *name, int has_shared, const unsigned grid[3], void *stream,
                          const void *args, int overlap)
{
    static struct {
        char name[64];
        int dim;
        tq_cuda_kernel kernel;
    } found[256];
    tq_cuda_device *device = (tq_cuda_device *)context_of(1)->device;
    tq_status status = TQ_OK;
    int i = 0;
    while (found[i].dim != 0 && (found[i].dim != dim || strcmp(found[i].name, name) != 0)) {
        i++;
    }
    const bool entered = tq_cuda_enter(device);
    if (found[i].dim == 0) {
        tq_cuda_module *module;
        status = tq_cuda_load(device, (size_t)dim, &module);
        if (status == TQ_OK && has_shared) {
            status = tq_cuda_find(device, module, name, &found[i].kernel);
        } else if (status == TQ_OK) {
            status = device->driver.module_function(&found[i].kernel.function, module->module, name);
        }
        if (status == TQ_OK) {
            found[i].dim = dim;
            snprintf(found[i].name, sizeof found[i].name, "%s", name);
        }
    }
    if (status == TQ_OK) {
        tq_cuda_run(device, &found[i].kernel, grid, 128, stream, args, overlap != 0);
    }
    tq_cuda_leave(device, entered);
    return status != TQ_OK ? status : atomic_load(&device->base.failed);
}

/* signs: [dim]; paley: [m * m] or untouched; centroids and thresholds: [2^bits] or untouched. */
EXPORT void harness_tables(int format, int dim, tq_cuda_table *table, tq_cuda_code *own, float *signs, float *paley,
                           float *centroids, float *thresholds)
{
    const tq_codec *codec = codec_of(format, dim);
    const tq_code *code = &codec->code;
    const size_t m = codec->rotation.paley_order;
    if (code->bits <= 4) {
        *table = tq_cuda_make_table(code);
    }
    memcpy(signs, codec->rotation.signs, (size_t)dim * sizeof *signs);
    if (codec->rotation.paley != NULL) {
        memcpy(paley, codec->rotation.paley, m * m * sizeof *paley);
    }
    own->scale_mode = code->scale;
    own->n_gains = (int)code->n_gains;
    memcpy(own->gains, code->gains, code->n_gains * sizeof *code->gains);
    own->step = code->trellis.step;
    memcpy(own->k, code->trellis.k, sizeof own->k);
    memcpy(own->target, code->trellis.target, sizeof own->target);
    if (code->centroids != NULL) {
        memcpy(centroids, code->centroids, sizeof(float) << code->bits);
        memcpy(thresholds, code->thresholds, (sizeof(float) << code->bits) - sizeof(float));
    }
}

EXPORT void harness_place(int k_format, int v_format, int dim, int k_mean, int v_mean, int values,
                          tq_cuda_side_place *place)
{
    *place = tq_cuda_find_side(k_format, v_format, dim, dim, k_mean != 0, v_mean != 0, values != 0);
}

EXPORT int harness_row_bytes(int format, int dim)
{
    return (int)codec_of(format, dim)->code.row_bytes;
}

EXPORT int harness_encode(int format, int dim, const void *x, int dtype, size_t n, uint8_t *rows)
{
    const tq_codec *codec = codec_of(format, dim);
    return tq_encode(codec, x, dtype, 0, n, rows, n * tq_codec_bytes(codec));
}

/* Rotated vectors of rows, in units where the vector is D H^T y / dim, by the scalar backend; sign bits of scales are
 * ignored. */
EXPORT void harness_levels(int format, int dim, const uint8_t *rows, size_t n, float *y)
{
    const tq_code *code = &codec_of(format, dim)->code;
    const tq_kernels *kernels = &context_of(0)->kernels;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = rows + i * code->row_bytes;
        (code->trellis.bits != 0 ? kernels->trellis_decode : kernels->lloyd_decode)(code, row, y + i * (size_t)dim);
    }
}

/* --- caches through the public API, f16, one layer -----------------------------------------------------------------
 */

EXPORT tq_seq *harness_seq_open(int k_format, int v_format, int n_kv_heads, int dim, int effort)
{
    tq_cache_desc desc = TQ_CACHE_DESC_INIT;
    tq_cache *cache = NULL;
    tq_seq *seq = NULL;
    desc.n_layers = 1;
    desc.n_kv_heads = (uint32_t)n_kv_heads;
    desc.head_dim_k = (uint32_t)dim;
    desc.k_format = k_format;
    desc.v_format = v_format;
    desc.effort = effort;
    if (tq_cache_create(context_of(1), &desc, &cache) != TQ_OK || tq_seq_create(cache, &seq) != TQ_OK) {
        abort();
    }
    return seq;
}

EXPORT void harness_seq_close(tq_seq *seq)
{
    tq_cache_destroy(seq->cache);
}

EXPORT int harness_truncate(tq_seq *seq, size_t n_tokens)
{
    return tq_seq_truncate(seq, n_tokens);
}

/* q and out null: nothing is attended. */
EXPORT int harness_forward(tq_seq *seq, const void *k, const void *v, size_t n, const void *q, int n_q_heads,
                           float *out, void *stream)
{
    tq_kv kv = TQ_KV_INIT;
    tq_attention attention = TQ_ATTENTION_INIT;
    kv.k = k;
    kv.v = v;
    kv.dtype = TQ_DTYPE_F16;
    kv.n_tokens = n;
    kv.stream = stream;
    attention.q = q;
    attention.q_dtype = TQ_DTYPE_F16;
    attention.n_q_heads = (uint32_t)n_q_heads;
    attention.n_tokens = n;
    attention.out = out;
    return q == NULL ? tq_cache_append(seq->cache, seq, 0, &kv) : tq_cache_forward(seq->cache, seq, 0, &kv, &attention);
}

EXPORT int harness_decode(tq_seq *seq, size_t n, void *k, void *v, void *stream)
{
    tq_kv_out kv = TQ_KV_OUT_INIT;
    kv.k = k;
    kv.v = v;
    kv.dtype = TQ_DTYPE_F16;
    kv.n_tokens = n;
    kv.stream = stream;
    return tq_cache_decode(seq->cache, seq, 0, 0, &kv);
}

/* SPDX-License-Identifier: MIT
 *
 * Launches of the Metal kernels; see launch_metal.h. */
#include "kernels/metal/launch_metal.h"

#include <string.h>

_Static_assert((int)TQ_METAL_CONSTANTS <= (int)TQ_LAUNCH_CONSTANTS, "a launch has room for the constants");
_Static_assert((int)TQ_METAL_BUFFERS <= (int)TQ_LAUNCH_BUFFERS, "a launch has room for the buffers");

tq_status tq_metal_code_init(tq_metal_code *code, const tq_codec *codec)
{
    const tq_code *from = &codec->code;
    const tq_rotation_plan *rotation = &codec->rotation;
    const bool has_format = codec->family == TQ_FAMILY_LLOYD || codec->family == TQ_FAMILY_TRELLIS;
    if (!has_format || rotation->signs == NULL || from->dim % TQ_METAL_CHUNK != 0 || from->dim > TQ_METAL_MAX_DIM) {
        return TQ_ERR_UNSUPPORTED;
    }
    *code = (tq_metal_code){.scale_mode = from->scale, .n_gains = (int32_t)from->n_gains, .step = from->trellis.step};
    memcpy(code->gains, from->gains, from->n_gains * sizeof *from->gains);
    memcpy(code->signs, rotation->signs, from->dim * sizeof *rotation->signs);
    if (rotation->paley != NULL) {
        memcpy(code->paley, rotation->paley, rotation->paley_order * rotation->paley_order * sizeof *rotation->paley);
    }
    if (codec->family == TQ_FAMILY_LLOYD) {
        const size_t levels = (size_t)1 << from->bits;
        memcpy(code->levels, from->centroids, levels * sizeof *from->centroids);
        memcpy(code->thresholds, from->thresholds, (levels - 1) * sizeof *from->thresholds);
        return TQ_OK;
    }
    for (size_t i = 0; i < (size_t)2 << from->bits; i++) {
        code->steps[i] = (float)from->trellis.k[i] + 0.5F;
        code->levels[i] = code->steps[i] * from->trellis.step;
        code->targets[i] = from->trellis.target[i];
    }
    return TQ_OK;
}

const char *tq_metal_kernel_name(unsigned kernel)
{
    static const char *const names[] = {
#define X(name) "tq_" #name,
        TQ_METAL_KERNELS(X)
#undef X
    };
    return kernel < TQ_METAL_KERNEL_COUNT ? names[kernel] : NULL;
}

static tq_launch launch_of(unsigned kernel, int32_t dim, int32_t format, int32_t v_format, const void *args,
                           size_t args_bytes)
{
    tq_launch launch = {.kernel = kernel, .n_constants = TQ_METAL_CONSTANTS, .args = args, .args_bytes = args_bytes};
    launch.constants[TQ_CONSTANT_DIM] = dim;
    launch.constants[TQ_CONSTANT_FORMAT] = format;
    launch.constants[TQ_CONSTANT_V_FORMAT] = v_format;
    return launch;
}

static void set_buffer(tq_launch *launch, unsigned index, tq_gpu_slice slice)
{
    launch->buffers[index] = slice;
    launch->n_buffers = index < launch->n_buffers ? launch->n_buffers : index + 1;
}

static void set_grid(tq_launch *launch, uint32_t x, uint32_t y, uint32_t z, uint32_t threads, uint32_t shared_bytes)
{
    launch->groups[0] = x;
    launch->groups[1] = y;
    launch->groups[2] = z;
    launch->threads = threads;
    launch->shared_bytes = shared_bytes;
}

static uint32_t ceil_div(uint32_t a, uint32_t b)
{
    return a / b + (a % b != 0);
}

/* `x` or `pages` is not looked at, but bound. */
static tq_status encode(tq_gpu *device, const tq_codec_desc *desc, tq_gpu_slice code, const tq_metal_encode_args *args,
                        tq_gpu_slice x, tq_gpu_slice pages, tq_gpu_slice rows)
{
    const bool trellis = tq_metal_is_trellis(desc->format);
    tq_launch launch = launch_of(trellis ? tq_metal_trellis_encode_kernel : tq_metal_encode_kernel, (int32_t)desc->dim,
                                 desc->format, 0, args, sizeof *args);
    set_buffer(&launch, TQ_ENCODE_CODE, code);
    set_buffer(&launch, TQ_ENCODE_X, x);
    set_buffer(&launch, TQ_ENCODE_PAGES, pages);
    set_buffer(&launch, TQ_ENCODE_ROWS, rows);
    if (trellis) { /* A threadgroup for each vector. */
        set_grid(&launch, args->n, 1, 1, TQ_METAL_SIMD, TQ_TRELLIS_SHARED);
    } else {
        set_grid(&launch, ceil_div(args->n, TQ_METAL_VECTORS), 1, 1, TQ_METAL_VECTOR_THREADS, TQ_ENCODE_SHARED);
    }
    return tq_gpu_launch(device, &launch);
}

tq_status tq_metal_encode(tq_gpu *device, const tq_codec_desc *desc, tq_gpu_slice code, tq_gpu_slice x, uint32_t n,
                          tq_gpu_slice rows)
{
    const tq_metal_encode_args args = {.n = n};
    return encode(device, desc, code, &args, x, x, rows);
}

tq_status tq_metal_encode_pages(tq_gpu *device, const tq_codec_desc *desc, tq_gpu_slice code, tq_metal_encode_args args,
                                tq_gpu_slice pages, uint32_t n_pages, tq_gpu_slice rows)
{
    args.n = n_pages * args.n_kv_heads * TQ_METAL_PAGE;
    return encode(device, desc, code, &args, pages, pages, rows);
}

tq_status tq_metal_decode(tq_gpu *device, const tq_codec_desc *desc, tq_gpu_slice code, tq_gpu_slice rows, uint32_t n,
                          tq_gpu_slice x)
{
    const tq_metal_rows_args args = {n};
    tq_launch launch = launch_of(tq_metal_decode_kernel, (int32_t)desc->dim, desc->format, 0, &args, sizeof args);
    set_buffer(&launch, TQ_DECODE_CODE, code);
    set_buffer(&launch, TQ_DECODE_ROWS, rows);
    set_buffer(&launch, TQ_DECODE_X, x);
    set_grid(&launch, ceil_div(n, TQ_METAL_VECTORS), 1, 1, TQ_METAL_VECTOR_THREADS, TQ_DECODE_SHARED);
    return tq_gpu_launch(device, &launch);
}

static tq_status rotate(tq_gpu *device, int32_t dim, tq_gpu_slice code, tq_gpu_slice x, uint32_t n, tq_gpu_slice y)
{
    const tq_metal_rows_args args = {n};
    tq_launch launch = launch_of(tq_metal_rotate_kernel, dim, 0, 0, &args, sizeof args);
    set_buffer(&launch, TQ_ROTATE_CODE, code);
    set_buffer(&launch, TQ_ROTATE_X, x);
    set_buffer(&launch, TQ_ROTATE_Y, y);
    set_grid(&launch, ceil_div(n, TQ_METAL_VECTORS), 1, 1, TQ_METAL_VECTOR_THREADS, TQ_DECODE_SHARED);
    return tq_gpu_launch(device, &launch);
}

tq_status tq_metal_rotate(tq_gpu *device, const tq_codec_desc *desc, tq_gpu_slice code, tq_gpu_slice x, uint32_t n,
                          tq_gpu_slice y)
{
    return rotate(device, (int32_t)desc->dim, code, x, n, y);
}

tq_status tq_metal_scores(tq_gpu *device, const tq_codec_desc *desc, tq_gpu_slice code, tq_gpu_slice q,
                          tq_gpu_slice rows, tq_metal_scores_args args, tq_gpu_slice scores)
{
    tq_launch launch = launch_of(tq_metal_scores_kernel, (int32_t)desc->dim, desc->format, 0, &args, sizeof args);
    set_buffer(&launch, TQ_SCORES_CODE, code);
    set_buffer(&launch, TQ_SCORES_Q, q);
    set_buffer(&launch, TQ_SCORES_ROWS, rows);
    set_buffer(&launch, TQ_SCORES_SCORES, scores);
    set_grid(&launch, ceil_div(args.n, TQ_SCORES_THREADS), ceil_div(args.n_q, TQ_METAL_QUERIES), 1, TQ_SCORES_THREADS,
             TQ_SCORES_SHARED);
    return tq_gpu_launch(device, &launch);
}

tq_status tq_metal_append(tq_gpu *device, const tq_metal_layer *layer, tq_metal_append_args args, tq_gpu_slice k_rows,
                          tq_gpu_slice v_rows, tq_gpu_slice pages)
{
    tq_launch launch =
        launch_of(tq_metal_append_kernel, layer->dim, layer->k_format, layer->v_format, &args, sizeof args);
    set_buffer(&launch, TQ_APPEND_K_ROWS, k_rows);
    set_buffer(&launch, TQ_APPEND_V_ROWS, v_rows);
    set_buffer(&launch, TQ_APPEND_PAGES, pages);
    set_grid(&launch, TQ_METAL_PAGE, args.n_kv_heads, 2 * args.n_pages, TQ_METAL_SIMD, 0);
    return tq_gpu_launch(device, &launch);
}

/* --- attention -----------------------------------------------------------------------------------------------------
 */

static uint32_t query_rows(const tq_metal_attend_args *args)
{
    return args->n_queries * args->n_kv_heads * args->group;
}

size_t tq_metal_partial_bytes(const tq_metal_layer *layer, const tq_metal_attend_args *args)
{
    const size_t slots = (size_t)args->exact_splits + args->n_splits;
    return query_rows(args) * slots * ((size_t)layer->dim + 2) * sizeof(float);
}

/* Kernels do not look at what is not there, but every index is bound. */
static tq_gpu_slice or_else(tq_gpu_slice optional, tq_gpu_slice other)
{
    return optional.memory != NULL ? optional : other;
}

static tq_status attend(tq_gpu *device, const tq_metal_layer *layer, const tq_metal_attention *a)
{
    const tq_metal_attend_args *args = &a->args;
    tq_launch launch =
        launch_of(tq_metal_attend_kernel, layer->dim, layer->k_format, layer->v_format, args, sizeof *args);
    set_buffer(&launch, TQ_ATTEND_K_CODE, a->k_code);
    set_buffer(&launch, TQ_ATTEND_V_CODE, a->v_code);
    set_buffer(&launch, TQ_ATTEND_VIEWS, a->views);
    set_buffer(&launch, TQ_ATTEND_Q, a->q);
    set_buffer(&launch, TQ_ATTEND_ROTATED, a->rotated);
    set_buffer(&launch, TQ_ATTEND_PARTIALS, a->partials);
    set_grid(&launch, args->exact_splits + args->n_splits, args->n_kv_heads * ceil_div(args->group, TQ_METAL_QUERIES),
             args->n_queries, TQ_ATTEND_THREADS, TQ_ATTEND_SHARED);
    return tq_gpu_launch(device, &launch);
}

static tq_status merge(tq_gpu *device, const tq_metal_layer *layer, const tq_metal_attention *a)
{
    const tq_metal_merge_args args = {.n_q_heads = a->args.n_kv_heads * a->args.group,
                                      .slots = a->args.exact_splits + a->args.n_splits,
                                      .exact_splits = a->args.exact_splits,
                                      .has_sink_logits = a->sink_logits.memory != NULL,
                                      .has_lse = a->lse.memory != NULL};
    tq_launch launch = launch_of(tq_metal_merge_kernel, layer->dim, 0, 0, &args, sizeof args);
    set_buffer(&launch, TQ_MERGE_CODE, a->v_code);
    set_buffer(&launch, TQ_MERGE_PARTIALS, a->partials);
    set_buffer(&launch, TQ_MERGE_SINK_LOGITS, or_else(a->sink_logits, a->partials));
    set_buffer(&launch, TQ_MERGE_OUT, a->out);
    set_buffer(&launch, TQ_MERGE_LSE, or_else(a->lse, a->partials));
    set_grid(&launch, query_rows(&a->args), 1, 1, TQ_METAL_SIMD, TQ_MERGE_SHARED);
    return tq_gpu_launch(device, &launch);
}

tq_status tq_metal_attend(tq_gpu *device, const tq_metal_layer *layer, const tq_metal_attention *attention)
{
    tq_status status = TQ_OK;
    if (!attention->is_rotated) {
        status = rotate(device, layer->dim, attention->k_code, attention->q, query_rows(&attention->args),
                        attention->rotated);
    }
    if (status == TQ_OK) {
        status = attend(device, layer, attention);
    }
    return status == TQ_OK ? merge(device, layer, attention) : status;
}

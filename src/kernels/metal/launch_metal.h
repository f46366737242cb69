/* SPDX-License-Identifier: MIT
 *
 * The Metal kernels as functions: which buffer goes where, how many threads. They return what tq_gpu_launch does;
 * nothing has been computed before tq_gpu_wait or a download. */
#ifndef TQ_LAUNCH_METAL_H
#define TQ_LAUNCH_METAL_H

#include "codec.h"
#include "kernels/metal/args_metal.h"
#include "kernels/metal/gpu_metal.h"

/* What a codec's kernels read. TQ_ERR_UNSUPPORTED for what has no kernels: dimensions that are no multiple of 16 or
 * above TQ_METAL_MAX_DIM, dense rotations, f16 and the prod formats. */
tq_status tq_metal_code_init(tq_metal_code *code, const tq_codec *codec);

/* The kernel of this number, "tq_encode" for one; null if there is none. */
const char *tq_metal_kernel_name(unsigned kernel);

/* n vectors, [n, dim] f32, to rows. `code` holds a tq_metal_code. */
tq_status tq_metal_encode(tq_gpu *device, const tq_codec_desc *desc, tq_gpu_slice code, tq_gpu_slice x, uint32_t n,
                          tq_gpu_slice rows);

/* The keys or values of whole pages, [n_pages] tq_metal_page, to rows [n_pages, n_kv_heads, 64]; the means are in the
 * records. args.n is ignored. */
tq_status tq_metal_encode_pages(tq_gpu *device, const tq_codec_desc *desc, tq_gpu_slice code, tq_metal_encode_args args,
                                tq_gpu_slice pages, uint32_t n_pages, tq_gpu_slice rows);
tq_status tq_metal_decode(tq_gpu *device, const tq_codec_desc *desc, tq_gpu_slice code, tq_gpu_slice rows, uint32_t n,
                          tq_gpu_slice x);
tq_status tq_metal_rotate(tq_gpu *device, const tq_codec_desc *desc, tq_gpu_slice code, tq_gpu_slice x, uint32_t n,
                          tq_gpu_slice y);
/* `q`: rotated queries. */
tq_status tq_metal_scores(tq_gpu *device, const tq_codec_desc *desc, tq_gpu_slice code, tq_gpu_slice q,
                          tq_gpu_slice rows, tq_metal_scores_args args, tq_gpu_slice scores);

/* A layer of a cache on the device. Keys and values have the same dimension and rotation. */
typedef struct tq_metal_layer {
    int32_t dim;
    int32_t k_format;
    int32_t v_format;
} tq_metal_layer;

/* Rows of keys and of values, [n_pages, n_kv_heads, 64], to their places in the records of [n_pages] tq_metal_page. */
tq_status tq_metal_append(tq_gpu *device, const tq_metal_layer *layer, tq_metal_append_args args, tq_gpu_slice k_rows,
                          tq_gpu_slice v_rows, tq_gpu_slice pages);

typedef struct tq_metal_attention {
    tq_metal_attend_args args;
    tq_gpu_slice k_code;
    tq_gpu_slice v_code;
    tq_gpu_slice views;   /* [n_queries] tq_metal_view */
    tq_gpu_slice q;       /* [n_queries, n_q_heads, dim] f32 */
    tq_gpu_slice rotated; /* The same, rotated: made of q, unless it is there already. */
    bool is_rotated;
    tq_gpu_slice sink_logits; /* [n_q_heads] f32, or nothing. */
    tq_gpu_slice partials;    /* tq_metal_partial_bytes() bytes. */
    tq_gpu_slice out;         /* [n_queries, n_q_heads, dim] f32 */
    tq_gpu_slice lse;         /* [n_queries, n_q_heads] f32, or nothing. */
} tq_metal_attention;

size_t tq_metal_partial_bytes(const tq_metal_layer *layer, const tq_metal_attend_args *args);
tq_status tq_metal_attend(tq_gpu *device, const tq_metal_layer *layer, const tq_metal_attention *attention);

#endif /* TQ_LAUNCH_METAL_H */

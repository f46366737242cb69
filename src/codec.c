/* SPDX-License-Identifier: MIT
 *
 * Turns the description of a vector format into what kernels read: rotation, codebook, places in a row. */
#include "codec.h"

#include "codebook/codebook.h"
#include "desc.h"
#include "kernels/pack.h"
#include "rotation.h"

#include <stdbool.h>

/* The gains that the encoder tries: the best grids of 1, 3, 5 and 9 points on Gaussian vectors of dim 128. They bring D
 * (lsq) of turbo4 from .0091 to .0082 and .0080 with 5 and 9, of turbo4t from .0058 to .0053 and .0051 with 3 and 5;
 * more points gain nothing. */
typedef struct gain_list {
    size_t n;
    float gains[9];
} gain_list;

static const gain_list ONE_GAIN = {1, {1.0F}};
static const gain_list LLOYD_BALANCED = {5, {1.0F, 0.95F, 1.05F, 0.9F, 1.1F}};
static const gain_list LLOYD_BEST = {9, {1.0F, 0.965F, 1.035F, 0.93F, 1.07F, 0.895F, 1.105F, 0.86F, 1.14F}};
static const gain_list TRELLIS_BALANCED = {3, {1.0F, 0.88F, 1.12F}};
static const gain_list TRELLIS_BEST = {5, {1.0F, 0.92F, 1.08F, 0.84F, 1.16F}};

static tq_status check_desc(const tq_context *context, const tq_codec_desc *desc)
{
    if (desc->dim < 1 || desc->dim > TQ_MAX_DIM) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_codec_create: dim is outside 1..TQ_MAX_DIM");
    }
    if (desc->format != TQ_FORMAT_DEFAULT && tq_format_find(desc->format) == NULL) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_codec_create: unknown format");
    }
    if (desc->rotation < TQ_ROTATION_DEFAULT || desc->rotation > TQ_ROTATION_HAAR) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_codec_create: unknown rotation");
    }
    if (desc->scale < TQ_SCALE_DEFAULT || desc->scale > TQ_SCALE_RAW) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_codec_create: unknown scale mode");
    }
    if (desc->effort < TQ_EFFORT_DEFAULT || desc->effort > TQ_EFFORT_BEST) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_codec_create: unknown effort");
    }
    if (desc->format != TQ_FORMAT_F16 && desc->rotation == TQ_ROTATION_HADAMARD && tq_hadamard_order(desc->dim) == 0) {
        return tq_fail(context, TQ_ERR_UNSUPPORTED,
                       "tq_codec_create: no Hadamard rotation for this dim, which must be m * 2^a with m one of 1, 12, "
                       "20, 28, 36");
    }
    const tq_format_info *info = tq_format_find(desc->format);
    if (info != NULL && info->family == TQ_FAMILY_TRELLIS && desc->dim % 8 != 0) {
        return tq_fail(context, TQ_ERR_UNSUPPORTED,
                       "tq_codec_create: a trellis format needs a dim that is a multiple of 8");
    }
    return TQ_OK;
}

static void resolve_defaults(tq_codec_desc *desc)
{
    if (desc->format == TQ_FORMAT_DEFAULT) {
        desc->format = TQ_FORMAT_TURBO4;
    }
    if (desc->rotation == TQ_ROTATION_DEFAULT) {
        desc->rotation = tq_hadamard_order(desc->dim) != 0 ? TQ_ROTATION_HADAMARD : TQ_ROTATION_HAAR;
    }
    if (desc->scale == TQ_SCALE_DEFAULT) {
        desc->scale = TQ_SCALE_NORM;
    }
    if (desc->effort == TQ_EFFORT_DEFAULT) {
        desc->effort = tq_format_find(desc->format)->family == TQ_FAMILY_TRELLIS ? TQ_EFFORT_FAST : TQ_EFFORT_BALANCED;
    }
}

static const gain_list *gains_for(const tq_codec_desc *desc, const tq_format_info *info)
{
    const bool is_trellis = info->family == TQ_FAMILY_TRELLIS;
    /* Algorithm 2 and the paper's scale know one pass; one bit is a sign, which no gain changes. */
    if (desc->effort == TQ_EFFORT_FAST || desc->scale == TQ_SCALE_RAW || info->family == TQ_FAMILY_PROD ||
        info->bits == 1) {
        return &ONE_GAIN;
    }
    if (desc->effort == TQ_EFFORT_BEST) {
        return is_trellis ? &TRELLIS_BEST : &LLOYD_BEST;
    }
    return is_trellis ? &TRELLIS_BALANCED : &LLOYD_BALANCED;
}

/* The layout of a row: docs/format.md. */
static tq_code make_code(const tq_codec_desc *desc, const tq_format_info *info)
{
    const size_t dim = desc->dim;
    tq_code code = {.dim = dim, .bits = info->bits};
    if (info->family == TQ_FAMILY_HALF) {
        code.row_bytes = 2 * dim;
        return code;
    }
    const gain_list *list = gains_for(desc, info);
    code.gains = list->gains;
    code.n_gains = list->n;
    code.scale = desc->scale;
    code.codes_at = sizeof(uint16_t);
    if (info->family == TQ_FAMILY_TRELLIS) {
        tq_trellis_init(&code.trellis, info->bits);
        code.row_bytes = code.codes_at + info->bits * tq_plane_bytes(dim, 1);
        return code;
    }
    const tq_codebook book = tq_codebook_for(info->bits);
    code.centroids = book.centroids;
    code.thresholds = book.thresholds;
    if (info->family == TQ_FAMILY_LLOYD) {
        code.row_bytes = code.codes_at + tq_packed_bytes(dim, code.bits);
        return code;
    }
    code.scale = TQ_SCALE_LSQ; /* Algorithm 2 wants the smallest residual. */
    code.codes_at = 2 * sizeof(uint16_t);
    code.signs_at = code.codes_at + tq_packed_bytes(dim, code.bits);
    code.row_bytes = code.signs_at + tq_plane_bytes(dim, 1);
    return code;
}

static tq_status make_matrices(tq_codec *codec, const tq_allocator *allocator)
{
    if (codec->family == TQ_FAMILY_HALF) {
        return TQ_OK;
    }
    const size_t dim = codec->desc.dim;
    const tq_status status = tq_rotation_init(&codec->rotation, allocator, dim, codec->desc.rotation, codec->desc.seed);
    if (status != TQ_OK || codec->family != TQ_FAMILY_PROD) {
        return status;
    }
    codec->projection = tq_allocate(allocator, dim * dim, sizeof *codec->projection);
    if (codec->projection == NULL) {
        return TQ_ERR_OUT_OF_MEMORY;
    }
    tq_random_projection(codec->projection, dim, codec->desc.seed);
    return TQ_OK;
}

tq_status tq_codec_row_bytes(const tq_context *context, const tq_codec_desc *desc, size_t *bytes)
{
    tq_codec_desc resolved = *desc;
    const tq_status status = check_desc(context, &resolved);
    if (status == TQ_OK) {
        resolve_defaults(&resolved);
        *bytes = make_code(&resolved, tq_format_find(resolved.format)).row_bytes;
    }
    return status;
}

tq_status tq_codec_create(const tq_context *context, const tq_codec_desc *desc, tq_codec **codec)
{
    if (context == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    tq_codec_desc wish;
    if (desc == NULL || codec == NULL || !tq_desc_read(desc, &wish, sizeof wish, sizeof(tq_codec_desc))) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_codec_create: a pointer is null or desc.struct_size is wrong");
    }
    tq_status status = check_desc(context, &wish);
    if (status != TQ_OK) {
        return status;
    }
    resolve_defaults(&wish);
    tq_codec *made = tq_allocate(&context->allocator, 1, sizeof *made);
    if (made == NULL) {
        return tq_fail(context, TQ_ERR_OUT_OF_MEMORY, "tq_codec_create: out of memory");
    }
    const tq_format_info *info = tq_format_find(wish.format);
    made->context = context;
    made->desc = wish;
    made->desc.struct_size = sizeof made->desc;
    made->family = info->family;
    made->code = make_code(&wish, info);
    status = make_matrices(made, &context->allocator);
    if (status != TQ_OK) {
        tq_codec_destroy(made);
        return tq_fail(context, status, "tq_codec_create: out of memory");
    }
    *codec = made;
    return TQ_OK;
}

void tq_codec_destroy(tq_codec *codec)
{
    if (codec != NULL) {
        const tq_allocator *allocator = &codec->context->allocator;
        tq_rotation_free(&codec->rotation, allocator);
        tq_release(allocator, codec->projection);
        tq_release(allocator, codec);
    }
}

size_t tq_codec_bytes(const tq_codec *codec)
{
    return codec == NULL ? 0 : codec->code.row_bytes;
}

tq_status tq_codec_describe(const tq_codec *codec, tq_codec_desc *desc)
{
    if (codec == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (desc == NULL || !tq_desc_write(&codec->desc, desc, sizeof codec->desc, sizeof(tq_codec_desc))) {
        return tq_fail(codec->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_codec_describe: desc is null or its struct_size is wrong");
    }
    return TQ_OK;
}

/* SPDX-License-Identifier: MIT
 *
 * Every context encodes a few golden vectors before it exists. A library compiled with the wrong flags would otherwise
 * write caches that other machines read differently from what was meant. */
#include "codec.h"
#include "random.h"

enum { DIM = 96 }; /* 12 * 8: both kinds of Hadamard matrix take part. */

/* Seeds of vectors whose rows come out differently if multiplications and additions are fused: of the seeds below
 * 200,000, 27 do, under gcc 12 and clang 14 alike. And the hash of the right rows. */
static const uint64_t SEEDS[] = {31751, 44285, 49714, 75638, 78327, 79451, 86266, 86870};
static const uint64_t GOLDEN_HASH = 0x5780D59C17E11083U;

/* FNV-1a. */
static uint64_t hash_bytes(uint64_t hash, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001B3U;
    }
    return hash;
}

tq_status tq_selftest(const tq_context *context)
{
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    tq_codec *codec;
    desc.dim = DIM;
    desc.format = TQ_FORMAT_TURBO3;
    desc.scale = TQ_SCALE_UNBIASED;
    desc.effort = TQ_EFFORT_BEST;
    tq_context quiet = *context;
    quiet.log.message = NULL;
    const tq_status status = tq_codec_create(&quiet, &desc, &codec);
    if (status != TQ_OK) {
        return status;
    }
    uint64_t hash = 0xCBF29CE484222325U;
    for (size_t i = 0; i < sizeof SEEDS / sizeof *SEEDS; i++) {
        uint64_t state = SEEDS[i];
        float x[DIM];
        uint8_t row[2 + DIM];
        for (size_t j = 0; j < DIM; j++) { /* Sums of two 23-bit integers: exact, and roughly bell-shaped. */
            const uint64_t word = tq_random_next(&state);
            x[j] = (float)((int32_t)(word >> 41) + (int32_t)(word >> 18 & 0x7FFFFF) - 0x800000);
        }
        tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, row, sizeof row);
        hash = hash_bytes(hash, row, tq_codec_bytes(codec));
    }
    tq_codec_destroy(codec);
    return hash == GOLDEN_HASH ? TQ_OK : TQ_ERR_BACKEND;
}

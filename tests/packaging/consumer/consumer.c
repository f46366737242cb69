/* SPDX-License-Identifier: MIT
 *
 * The smallest program of a user: one vector there and back. Exits with 0 if it came back. */
#include <turboquant.h>

int main(void)
{
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    desc.dim = 64;
    tq_context *context;
    tq_codec *codec;
    if (tq_context_create(NULL, &context) != TQ_OK || tq_codec_create(context, &desc, &codec) != TQ_OK) {
        return 1;
    }
    const float x[64] = {1};
    float y[64];
    unsigned char code[64];
    tq_status status = tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, code, sizeof code);
    if (status == TQ_OK) {
        status = tq_decode(codec, code, sizeof code, 1, y, TQ_DTYPE_F32, 0);
    }
    tq_codec_destroy(codec);
    tq_context_destroy(context);
    return status == TQ_OK && y[0] > 0.8F && y[0] < 1.2F ? 0 : 1;
}

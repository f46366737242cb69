/* SPDX-License-Identifier: MIT
 *
 * Writes rows of tokens to their places in pages (layout_metal.h), keys and values:
 *
 *     page[scales + place] = row[0];  page[unit (c, v) of the place] = row[unit (c, v)]
 *
 * A simdgroup takes one row; its threads take units. Means are put there by the host, which computes them. Tokens
 * before a page's first are there already. */
#include "kernels/metal/vector_metal.h"

kernel void tq_append(constant tq_metal_append_args &args [[buffer(TQ_AT_ARGS)]],
                      device const ushort *k_rows [[buffer(TQ_APPEND_K_ROWS)]],
                      device const ushort *v_rows [[buffer(TQ_APPEND_V_ROWS)]],
                      device const tq_metal_page *pages [[buffer(TQ_APPEND_PAGES)]],
                      uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]])
{
    const uint page = group.z / 2;
    const uint head = group.y;
    const bool values = group.z % 2 == 1;
    const int place = int(group.x);
    const int format = values ? tq_v_format : tq_format;
    const uint row_words = uint(tq_metal_row_words(format, tq_dim));
    const uint number = (page * args.n_kv_heads + head) * TQ_METAL_PAGE + group.x;
    device const ushort *row = (values ? v_rows : k_rows) + ulong(number) * row_words;
    device ushort *side = pages[page].records +
                          ulong(head) * uint(tq_metal_record_words(tq_format, tq_v_format, tq_dim)) +
                          tq_metal_mean_at(tq_format, tq_dim, values);
    if (group.x < pages[page].first) {
        return;
    }
    if (index == 0) {
        side[tq_metal_scales_at(tq_dim) + place] = row[0];
    }
    const int bits = tq_metal_bits(format);
    for (int u = int(index); u < tq_metal_row_units(format, tq_dim); u += TQ_METAL_SIMD) {
        const int to = tq_metal_page_unit(format, tq_dim, values, place, u / bits, u % bits);
        side[tq_metal_units_at(tq_dim) + to] = row[1 + tq_metal_row_unit(format, tq_dim, u / bits, u % bits)];
    }
}

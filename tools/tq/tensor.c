/* SPDX-License-Identifier: MIT */
/* The types of weights, and which loops serve them here. */
#include "tensor.h"

static const struct tensor_type types[] = {
    {"F32", 0, LAYOUT_F32, 1, 4},        {"F16", 1, LAYOUT_F16, 1, 2},        {"Q4_0", 2, LAYOUT_Q4_0, 32, 18},
    {"Q8_0", 8, LAYOUT_Q8_0, 32, 34},    {"Q4_K", 12, LAYOUT_Q4_K, 256, 144}, {"Q5_K", 13, LAYOUT_Q5_K, 256, 176},
    {"Q6_K", 14, LAYOUT_Q6_K, 256, 210}, {"BF16", 30, LAYOUT_BF16, 1, 2},
};

const struct tensor_type *tensor_type_find(uint32_t id)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (types[i].id == id) {
            return &types[i];
        }
    }
    return NULL;
}

const struct tensor_loops *tensor_loops_best(void)
{
#if defined(TQ_TOOL_X86)
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni")) {
        return &tensor_loops_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return &tensor_loops_avx2;
    }
#endif
    return &tensor_loops_portable;
}

void tensor_row(const struct tensor *tensor, size_t row, float *x)
{
    tensor_loops_best()->dequantise[tensor->type->layout](tensor->data + row * tensor->row_bytes, tensor->cols, x);
}

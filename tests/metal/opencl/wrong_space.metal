/* SPDX-License-Identifier: MIT
 *
 * For the test that address spaces are really checked: fine as it is, wrong with WRONG_SPACE or NO_SPACE defined. */
#include "kernels/metal/vector_metal.h"

inline float tq_first(thread const float *y)
{
    return y[0];
}

kernel void tq_wrong(device float *x [[buffer(0)]], threadgroup float *work TQ_SHARED_MEMORY)
{
    float y[1] = {x[0]};
#if defined(WRONG_SPACE)
    threadgroup float *p = x;
#elif defined(NO_SPACE)
    float *p = work;
#else
    threadgroup float *p = work;
#endif
    p[0] = tq_first(y);
}

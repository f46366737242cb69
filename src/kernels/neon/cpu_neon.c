/* SPDX-License-Identifier: MIT
 *
 * What this processor can run, as the operating system says: programs may not read the registers that know. Compiled
 * with the flags of the whole library, because it runs on every Armv8-A machine. */
#include "kernels/neon/cpu_neon.h"

#if defined(__linux__)
#include <sys/auxv.h>

enum { HWCAP_BIT_DOTPROD = 20 }; /* HWCAP_ASIMDDP of the kernel's asm/hwcap.h. */

bool tq_cpu_has_dotprod(void)
{
    return (getauxval(AT_HWCAP) >> HWCAP_BIT_DOTPROD & 1) != 0;
}

#elif defined(__APPLE__)
#include <stddef.h>
#include <sys/sysctl.h>

bool tq_cpu_has_dotprod(void)
{
    int has = 0;
    size_t size = sizeof has;
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, NULL, 0) == 0 && has != 0;
}

#else

bool tq_cpu_has_dotprod(void)
{
#if defined(__ARM_FEATURE_DOTPROD)
    return true;
#else
    return false;
#endif
}

#endif

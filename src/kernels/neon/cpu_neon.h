/* SPDX-License-Identifier: MIT
 *
 * Which Arm backends the processor can run. NEON itself is part of every Armv8-A. */
#ifndef TQ_CPU_NEON_H
#define TQ_CPU_NEON_H

#include <stdbool.h>

/* The condition of backends.def, for this machine: SDOT and UDOT. */
bool tq_cpu_has_dotprod(void);

#endif /* TQ_CPU_NEON_H */

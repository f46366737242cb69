/* SPDX-License-Identifier: MIT
 *
 * Races for threadgroup memory: two threads touch the same byte, at least one of them writes, and no barrier that both
 * passed lies between. Fibers run one after the other, so a missing barrier need not make a result wrong here; this
 * notices it anyway. */
#ifndef TQ_SHIM_RACES_H
#define TQ_SHIM_RACES_H

#include <cstddef>

namespace shim
{

/* The memory of the next threadgroup. Races are reported to fibers.h. */
void watch_for_races(const void *memory, size_t bytes);

} // namespace shim

#endif

/* SPDX-License-Identifier: MIT
 *
 * What functions tell the compiler. */
#ifndef TQ_COMPILER_H
#define TQ_COMPILER_H

#define TQ_INLINE static inline __attribute__((always_inline)) /* So that arguments are constants. */
#define TQ_APART  static __attribute__((noinline))             /* So that stack frames are not added up. */

#endif /* TQ_COMPILER_H */

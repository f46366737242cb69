/* SPDX-License-Identifier: MIT
 *
 * What functions tell the compiler. */
#ifndef TQ_COMPILER_H
#define TQ_COMPILER_H

#define TQ_INLINE static inline __attribute__((always_inline)) /* So that arguments are constants. */
#define TQ_APART  static __attribute__((noinline))             /* So that stack frames are not added up. */

#define TQ_PREFETCH(address) __builtin_prefetch(address) /* It will be read soon. */

/* Before a loop of a constant number of steps, at most 16: written out, so that arrays it indexes become registers. */
#if defined(__clang__)
#define TQ_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TQ_UNROLL _Pragma("GCC unroll 16")
#endif

#endif /* TQ_COMPILER_H */

/* SPDX-License-Identifier: MIT
 *
 * The threads of one threadgroup as fibers on one thread of the processor: each runs until it waits for others, then
 * another one does. Barriers wait for the threadgroup or the simdgroup, simdgroup operations for the simdgroup, and all
 * of those must wait at the same place; else run_group says who is where. */
#ifndef TQ_SHIM_FIBERS_H
#define TQ_SHIM_FIBERS_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace shim
{

constexpr unsigned SIMD_THREADS = 32;
constexpr unsigned MOST_THREADS = 512;

/* Which fiber is next. */
enum class order { forward, reverse, random };

/* A place in a kernel. Default arguments make it that of the caller. */
struct site {
    const char *what;
    const char *file;
    int line;
    static site at(const char *what, const char *file = __builtin_FILE(), int line = __builtin_LINE())
    {
        return {what, file, line};
    }
};

/* For tests that want to see an error: what becomes of the barriers of one line. */
enum class damage { none, removed, divergent /* Only threads of odd index come to it. */ };
struct broken_barrier {
    damage kind = damage::none;
    std::string file; /* Its last component. */
    int line = 0;
};
extern broken_barrier broken;

/* Runs entry(argument) on `threads` fibers. False, with a sentence, if some wait for others that never come, or if they
 * race for threadgroup memory. `state` is that of the random order. */
bool run_group(unsigned threads, order next, uint64_t &state, void (*entry)(void *), void *argument,
               std::string &problem);

/* Index of the running fiber in its threadgroup, and how many there are. */
unsigned thread_index();
unsigned thread_count();

/* How many barriers of each kind the running fiber has passed. Simdgroup operations are none: they pass values, and
 * promise nothing about memory. */
struct epoch {
    unsigned group;
    unsigned simd;
};
epoch current_epoch();

/* For races.cpp: the running fiber has raced. The first one is kept, with where it waited last. */
void report_race(const std::string &what);

void wait_for_group(const site &here);
void wait_for_simd(const site &here);

/* Gives a value of up to 16 bytes and waits for the simdgroup; returns those of all its threads, 16 bytes apart, valid
 * until the next time. */
const unsigned char *exchange(const void *value, size_t bytes, const site &here);

} // namespace shim

#endif

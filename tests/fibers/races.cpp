/* SPDX-License-Identifier: MIT
 *
 * The kernels are compiled with -fsanitize=thread, which makes the compiler call a function before each access. These
 * functions are ours: ThreadSanitizer itself knows nothing of fibers that stand for the threads of a GPU.
 *
 * Each byte remembers its last write, and for each simdgroup its last read. An access is ordered after an earlier one
 * of another thread if its thread has passed more threadgroup barriers than the other had then, or, in the same
 * simdgroup, more barriers of both kinds. */
#include "races.h"

#include "fibers.h"

#include <cstdint>
#include <vector>

namespace
{

constexpr unsigned NOBODY = 0xFFFF;
constexpr unsigned SEVERAL = 0xFFFE; /* Threads of one simdgroup, in one epoch. */
constexpr unsigned SIMDS = shim::MOST_THREADS / shim::SIMD_THREADS;

struct access {
    uint16_t thread = NOBODY;
    uint16_t group = 0;
    uint16_t simd = 0;
};

struct cell {
    access write;
    access read[SIMDS];
};

const unsigned char *watched;
std::vector<cell> cells;

/* `simd_of_then` is the simdgroup of the earlier access. */
bool is_ordered(const access &then, unsigned simd_of_then, const access &now)
{
    return then.thread == NOBODY || then.thread == now.thread || now.group > then.group ||
           (simd_of_then == now.thread / shim::SIMD_THREADS && now.simd > then.simd);
}

void complain(size_t at, const access &now, const char *does, const access &then, const char *did)
{
    const std::string who = then.thread == SEVERAL ? "several threads" : "thread " + std::to_string(then.thread);
    shim::report_race("a race for byte " + std::to_string(at) + " of threadgroup memory: thread " +
                      std::to_string(now.thread) + does + " what " + who + did + ", with no barrier between");
}

void check(cell &c, size_t at, const access &now, bool is_write)
{
    const unsigned simd = now.thread / shim::SIMD_THREADS;
    if (!is_ordered(c.write, c.write.thread / shim::SIMD_THREADS, now)) {
        complain(at, now, is_write ? " writes" : " reads", c.write, " wrote");
    }
    if (is_write) {
        for (unsigned s = 0; s < shim::thread_count() / shim::SIMD_THREADS; s++) {
            if (!is_ordered(c.read[s], s, now)) {
                complain(at, now, " writes", c.read[s], " read");
            }
        }
        c.write = now;
        return;
    }
    access &last = c.read[simd];
    const bool same_epoch = last.thread != NOBODY && last.group == now.group && last.simd == now.simd;
    const bool same_thread = last.thread == now.thread;
    last = now;
    last.thread = same_epoch && !same_thread ? SEVERAL : now.thread;
}

void touch(const void *memory, size_t bytes, bool is_write)
{
    const auto at = static_cast<size_t>(static_cast<const unsigned char *>(memory) - watched);
    if (at >= cells.size()) { /* Also below: then it is huge. */
        return;
    }
    const shim::epoch epoch = shim::current_epoch();
    access now;
    now.thread = static_cast<uint16_t>(shim::thread_index());
    now.group = static_cast<uint16_t>(epoch.group);
    now.simd = static_cast<uint16_t>(epoch.simd);
    for (size_t i = at; i < at + bytes && i < cells.size(); i++) {
        check(cells[i], i, now, is_write);
    }
}

} // namespace

void shim::watch_for_races(const void *memory, size_t bytes)
{
    watched = static_cast<const unsigned char *>(memory);
    cells.assign(bytes, cell());
}

/* What compilers call. */
extern "C" {
#define TQ_SHIM_ACCESS(bytes)                                                                                          \
    void __tsan_read##bytes(void *memory)                                                                              \
    {                                                                                                                  \
        touch(memory, bytes, false);                                                                                   \
    }                                                                                                                  \
    void __tsan_write##bytes(void *memory)                                                                             \
    {                                                                                                                  \
        touch(memory, bytes, true);                                                                                    \
    }                                                                                                                  \
    void __tsan_unaligned_read##bytes(void *memory)                                                                    \
    {                                                                                                                  \
        touch(memory, bytes, false);                                                                                   \
    }                                                                                                                  \
    void __tsan_unaligned_write##bytes(void *memory)                                                                   \
    {                                                                                                                  \
        touch(memory, bytes, true);                                                                                    \
    }
TQ_SHIM_ACCESS(1)
TQ_SHIM_ACCESS(2)
TQ_SHIM_ACCESS(4)
TQ_SHIM_ACCESS(8)
TQ_SHIM_ACCESS(16)

void __tsan_read_range(void *memory, size_t bytes)
{
    touch(memory, bytes, false);
}

void __tsan_write_range(void *memory, size_t bytes)
{
    touch(memory, bytes, true);
}

void __tsan_init()
{
}

void __tsan_func_entry(void *)
{
}

void __tsan_func_exit()
{
}
}

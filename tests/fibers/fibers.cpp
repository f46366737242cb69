/* SPDX-License-Identifier: MIT
 *
 * See fibers.h. On x86-64 a switch saves the registers that a call keeps, and no more: swapcontext asks the kernel for
 * the signal mask each time, and the address sanitizer forgets a whole stack: together four fifths of a test. */
#include "fibers.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

namespace shim
{

broken_barrier broken;

namespace
{

constexpr size_t STACK = 256 * 1024; /* Sanitizers make frames large. */
constexpr size_t VALUE = 16;

enum class state { ready, in_group_wait, in_simd_wait, ended };

#if defined(__x86_64__)
using place = void *; /* Its stack pointer; what it goes on with lies there. */
#else
using place = ucontext_t;
#endif

struct fiber {
    place own;
    std::unique_ptr<unsigned char[]> stack;
    state now;
    site where;
    unsigned exchanges;
    epoch passed;
};

fiber fibers[MOST_THREADS];
unsigned char given[2][MOST_THREADS][VALUE]; /* In turn: a slow neighbour may still read the last ones. */
place scheduler;
unsigned running;
unsigned n_fibers;
void (*group_entry)(void *);
void *group_argument;
std::string race;

void main_of_fiber();

#if defined(__x86_64__)
extern "C" void tq_fiber_switch(void **from, void *to);
asm(R"(
    .text
    .globl tq_fiber_switch
    .hidden tq_fiber_switch
    .type tq_fiber_switch, @function
tq_fiber_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size tq_fiber_switch, .-tq_fiber_switch
)");

/* From one place to another, until somebody comes back. */
void go(place &from, place &to)
{
    tq_fiber_switch(&from, to);
}

/* The first switch finds six registers, and returns to main_of_fiber as if that had been called. */
void prepare(place &at, unsigned char *stack, size_t bytes)
{
    void **top = reinterpret_cast<void **>(reinterpret_cast<uintptr_t>(stack + bytes) / 16 * 16);
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(main_of_fiber);
    at = top - 6;
}
#else
void go(place &from, place &to)
{
    swapcontext(&from, &to);
}

void prepare(place &at, unsigned char *stack, size_t bytes)
{
    getcontext(&at);
    at.uc_stack.ss_sp = stack;
    at.uc_stack.ss_size = bytes;
    at.uc_link = nullptr;
    makecontext(&at, main_of_fiber, 0);
}
#endif

void main_of_fiber()
{
    group_entry(group_argument);
    fibers[running].now = state::ended;
    go(fibers[running].own, scheduler);
}

/* The address sanitizer must forget the frames of the last fiber that ended here. */
extern "C" __attribute__((weak)) void __asan_unpoison_memory_region(const volatile void *memory, size_t bytes);

void start(fiber &f)
{
    if (f.stack == nullptr) {
        f.stack = std::make_unique<unsigned char[]>(STACK);
    }
    if (__asan_unpoison_memory_region != nullptr) {
        __asan_unpoison_memory_region(f.stack.get(), STACK);
    }
    prepare(f.own, f.stack.get(), STACK);
    f.now = state::ready;
    f.exchanges = 0;
    f.passed = {0, 0};
    f.where = {"nothing", "", 0};
}

void wait(state kind, const site &here)
{
    fiber &f = fibers[running];
    f.now = kind;
    f.where = here;
    go(f.own, scheduler);
}

bool same_place(const site &a, const site &b)
{
    return a.line == b.line && std::strcmp(a.file, b.file) == 0;
}

/* Lets fibers [first, end) go on if all of them wait in the same way at the same place. */
bool release(state kind, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        if (fibers[i].now != kind || !same_place(fibers[i].where, fibers[first].where)) {
            return false;
        }
    }
    for (unsigned i = first; i < end; i++) {
        fibers[i].now = state::ready;
    }
    return true;
}

bool release_some()
{
    bool any = release(state::in_group_wait, 0, n_fibers);
    for (unsigned first = 0; first < n_fibers; first += SIMD_THREADS) {
        any = release(state::in_simd_wait, first, std::min(first + SIMD_THREADS, n_fibers)) || any;
    }
    return any;
}

std::string last_component(const char *path)
{
    const char *slash = std::strrchr(path, '/');
    return slash == nullptr ? path : slash + 1;
}

std::string describe(unsigned i)
{
    const fiber &f = fibers[i];
    const std::string who = "thread " + std::to_string(i);
    return f.now == state::ended ? who + " has ended"
                                 : who + " waits in " + f.where.what + " at " + last_component(f.where.file) + ":" +
                                       std::to_string(f.where.line);
}

/* Of threads that will wait forever: the first, and the first of those it waits for that is elsewhere. */
std::string describe_deadlock()
{
    unsigned waiting = 0;
    while (fibers[waiting].now == state::ended) {
        waiting++;
    }
    const bool simd = fibers[waiting].now == state::in_simd_wait;
    const unsigned first = simd ? waiting / SIMD_THREADS * SIMD_THREADS : 0;
    const unsigned end = simd ? std::min(first + SIMD_THREADS, n_fibers) : n_fibers;
    for (unsigned i = first; i < end; i++) {
        if (fibers[i].now != fibers[waiting].now || !same_place(fibers[i].where, fibers[waiting].where)) {
            return "reached by some threads only: " + describe(waiting) + ", but " + describe(i);
        }
    }
    return "deadlock: " + describe(waiting);
}

uint64_t draw(uint64_t &state) /* SplitMix64 */
{
    uint64_t z = state += 0x9E3779B97F4A7C15U;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return z ^ z >> 31;
}

/* True if the barrier of this place is not there for the running fiber. */
bool is_missing(const site &here)
{
    return broken.kind != damage::none && here.line == broken.line && last_component(here.file) == broken.file &&
           (broken.kind == damage::removed || running % 2 == 0);
}

} // namespace

bool run_group(unsigned threads, order next, uint64_t &state_of_order, void (*entry)(void *), void *argument,
               std::string &problem)
{
    std::vector<unsigned> turns(threads);
    std::iota(turns.begin(), turns.end(), 0U);
    if (next == order::reverse) {
        std::reverse(turns.begin(), turns.end());
    }
    n_fibers = threads;
    group_entry = entry;
    race.clear();
    group_argument = argument;
    for (unsigned i = 0; i < threads; i++) {
        start(fibers[i]);
    }
    for (;;) {
        for (size_t i = threads; next == order::random && i > 1; i--) {
            std::swap(turns[i - 1], turns[draw(state_of_order) % i]);
        }
        for (const unsigned i : turns) {
            if (fibers[i].now == state::ready) {
                running = i;
                go(scheduler, fibers[i].own);
            }
        }
        if (std::all_of(fibers, fibers + threads, [](const fiber &f) { return f.now == state::ended; })) {
            problem = race;
            return race.empty();
        }
        if (!release_some()) {
            problem = describe_deadlock();
            return false;
        }
    }
}

unsigned thread_index()
{
    return running;
}

unsigned thread_count()
{
    return n_fibers;
}

epoch current_epoch()
{
    return fibers[running].passed;
}

void report_race(const std::string &what)
{
    if (race.empty()) {
        const site &last = fibers[running].where;
        race = what + "; it waited last in " + last.what + " at " + last_component(last.file) + ":" +
               std::to_string(last.line);
    }
}

void wait_for_group(const site &here)
{
    if (!is_missing(here)) {
        wait(state::in_group_wait, here);
        fibers[running].passed.group++;
        fibers[running].passed.simd++;
    }
}

void wait_for_simd(const site &here)
{
    if (!is_missing(here)) {
        wait(state::in_simd_wait, here);
        fibers[running].passed.simd++;
    }
}

const unsigned char *exchange(const void *value, size_t bytes, const site &here)
{
    fiber &f = fibers[running];
    const unsigned turn = f.exchanges++ % 2;
    std::memcpy(given[turn][running], value, bytes);
    wait(state::in_simd_wait, here);
    return given[turn][running / SIMD_THREADS * SIMD_THREADS];
}

} // namespace shim

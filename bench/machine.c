/* SPDX-License-Identifier: MIT */
/* CPU, cores, compiler and flags of this run. */
#define _DEFAULT_SOURCE /* _SC_NPROCESSORS_ONLN */
#define _DARWIN_C_SOURCE
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#if defined(__clang__)
#define COMPILER __VERSION__
#else
#define COMPILER "GCC " __VERSION__
#endif

/* The first "model name" of /proc/cpuinfo, else the architecture's name. */
static void find_cpu(char *cpu, size_t size)
{
    char line[256];
    struct utsname system;
    snprintf(cpu, size, "%s", uname(&system) >= 0 ? system.machine : "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *value = strchr(line, ':');
        if (value != NULL && strncmp(line, "model name", strlen("model name")) == 0) {
            value += 1 + strspn(value + 1, " \t");
            snprintf(cpu, size, "%.*s", (int)strcspn(value, "\n"), value);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

struct machine machine_describe(void)
{
    struct machine machine = {.compiler = COMPILER, .flags = TQ_BENCH_FLAGS, .cores = sysconf(_SC_NPROCESSORS_ONLN)};
    find_cpu(machine.cpu, sizeof machine.cpu);
    return machine;
}

size_t machine_last_level_cache(void)
{
    size_t largest = 0;
    for (int index = 0; index < 10; index++) {
        char path[64];
        char size[32] = "";
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
        FILE *file = fopen(path, "r");
        if (file == NULL) {
            break;
        }
        if (fgets(size, sizeof size, file) != NULL) { /* As in "32768K". */
            char *unit;
            const size_t number = strtoul(size, &unit, 10);
            const size_t bytes = number << (*unit == 'M' ? 20 : *unit == 'K' ? 10 : 0);
            largest = bytes > largest ? bytes : largest;
        }
        fclose(file);
    }
    return largest != 0 ? largest : (size_t)MACHINE_USUAL_CACHE_MIB << 20;
}

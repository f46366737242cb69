/* SPDX-License-Identifier: MIT */
/* Clocks and medians. */
#define _POSIX_C_SOURCE 200809L
#include "stopwatch.h"

#include <stdlib.h>
#include <time.h>

static double now_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

double thread_cpu_ns(void)
{
    return now_ns(CLOCK_THREAD_CPUTIME_ID);
}

double wall_ns(void)
{
    return now_ns(CLOCK_MONOTONIC);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *numbers, size_t n)
{
    qsort(numbers, n, sizeof *numbers, ascending);
    return n % 2 == 1 ? numbers[n / 2] : (numbers[n / 2 - 1] + numbers[n / 2]) / 2.0;
}

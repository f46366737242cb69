/* SPDX-License-Identifier: MIT */
/* Google Benchmark for C. */
#include "gbench_shim.h"

#include <benchmark/benchmark.h>

void gbench_register(const char *name, void (*body)(void *arg), void *arg, size_t items)
{
    benchmark::RegisterBenchmark(name, [=](benchmark::State &state) {
        for (auto _ : state) {
            body(arg);
            benchmark::ClobberMemory();
        }
        state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(items));
    });
}

int gbench_run(int argc, char **argv)
{
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
        return 2;
    }
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* tq_bench: what the formats cost and what they keep, on real keys, values and queries. */
#include <string.h>

#include "commands.h"

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "attend") == 0) {
        return attend_main(argc, argv, 2);
    }
    if (argc > 1 && strcmp(argv[1], "quality") == 0) {
        return cache_quality_main(argc, argv, 2);
    }
    return compare_main(argc, argv, 1);
}

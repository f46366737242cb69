/* SPDX-License-Identifier: MIT */
/* tq_bench: what the formats cost and what they keep, on real keys, values and queries. */
#include "commands.h"

int main(int argc, char **argv)
{
    return compare_main(argc, argv, 1);
}

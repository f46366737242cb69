#!/bin/sh
# SPDX-License-Identifier: MIT
# A compiler that fuses multiplications and additions changes encoded bytes. The sources forbid it; without that guard
# (TQ_ALLOW_CONTRACTION) the self-test of tq_context_create must notice.
set -eu
grep -qw fma /proc/cpuinfo || exit 77
cd "$SOURCE"

# try EXPECTED COMPILER FLAGS...: what tq_context_create returns in a library compiled like this.
try() {
    expected=$1
    shift
    echo "$expected: $*"
    "$@" -O3 -mfma -Iinclude -Isrc "-DEXPECTED=$expected" -o "$OLDPWD/miscompiled" tests/packaging/miscompiled.c \
        src/*.c src/codebook/tables.c src/codebook/trellis.c src/kernels/*.c src/kernels/scalar/*.c -lm
    "$OLDPWD/miscompiled"
}

ran=77
for compiler in gcc clang; do
    command -v $compiler >/dev/null || continue
    ran=0
    try TQ_OK $compiler -std=gnu11
    try TQ_ERR_BACKEND $compiler -std=gnu11 -ffp-contract=fast -DTQ_ALLOW_CONTRACTION
done
exit $ran

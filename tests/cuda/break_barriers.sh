#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the CUDA kernels without each of their barriers: somebody must notice, by a race, a deadlock or a wrong result.
# Usage: break_barriers.sh TEST_CUDA_SHIM TEST [PATTERN], in src/kernels/cuda/; TEST is one of the program's, or "*";
# PATTERN chooses files.
set -u
test_cuda_shim=$1
bad=0
sites=$(grep -n '__sync[a-z]*()' ./*.cu ./*.h | sed 's/^\.\///' | cut -d: -f1,2 | grep "${3:-.}")
[ -n "$sites" ] || { echo "break_barriers.sh: no barriers here" >&2; exit 1; }
for site in $sites; do
    if TQ_SHIM_BREAK=$site TQ_TEST_QUICK=1 "$test_cuda_shim" "$2" >/dev/null 2>&1; then
        echo "$site: removed, and nothing was noticed" >&2
        bad=1
    fi
done
exit $bad

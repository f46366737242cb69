#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the Metal kernels without each of their barriers, and with each in divergent code: the tests must fail, the
# latter with a sentence that says who waits where. Usage: break_barriers.sh TEST_METAL_KERNELS, in src/kernels/metal/.
set -u
test_metal_kernels=$1
bad=0

# fails ORDER HOW WHERE MESSAGE: the tests fail so, and say that.
fails() {
    ! output=$("$test_metal_kernels" "$1" "$2" "$3" 2>&1) && echo "$output" | grep -q "$4"
}

sites=$(grep -n '_barrier(' ./*.metal ./*.h | sed 's/^\.\///' | cut -d: -f1,2)
[ -n "$sites" ] || { echo "break_barriers.sh: no barriers here" >&2; exit 1; }
for site in $sites; do
    for how in removed divergent; do
        message='reached by some threads only: thread'
        [ $how = divergent ] || message='FAILED'
        if ! fails forward $how "$site" "$message" && ! fails random $how "$site" "$message"; then
            echo "$site: $how, and nothing was noticed" >&2
            bad=1
        fi
    done
done
exit $bad

#!/bin/sh
# SPDX-License-Identifier: MIT
# Type-checks the Objective-C host file against the declarations in stubs/; and that a wrong call is seen.
# Usage: host.sh CLANG, in the root of the project.
set -eu
clang=$1
host=src/kernels/metal/host_metal.m

check() {
    "$clang" -x objective-c -std=gnu11 -target arm64-apple-macos13 -ffreestanding -fobjc-arc -fsyntax-only \
        -Wall -Wextra -Wconversion -Wshadow -Werror -Wno-incompatible-sysroot -Itests/metal/stubs -Iinclude -Isrc "$@"
}

check "$host"
for mistake in 's/offset:slice->at/offsett:slice->at/' 's/\[commands commit\]/[commands start]/' \
    's/(__bridge TQMetalState \*)/(TQMetalState *)/'; do
    sed "$mistake" "$host" | cmp -s - "$host" && { echo "host.sh: $mistake changes nothing" >&2; exit 1; }
    if sed "$mistake" "$host" | check - 2>/dev/null; then
        echo "host.sh: $mistake was not noticed" >&2
        exit 1
    fi
done

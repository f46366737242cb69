#!/bin/sh
# SPDX-License-Identifier: MIT
# needed.sh SHARED: the shared library needs libm and the C library, and nothing else.
set -eu
readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' >needed
[ -s needed ]
if grep -v -E '^(libm|libc|ld-linux.*)\.so\.[0-9]+$' needed; then
    exit 1
fi
readelf -d "$1" | grep -q 'SONAME.*\[libturboquant\.so\.0\]'

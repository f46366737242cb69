#!/bin/sh
# SPDX-License-Identifier: MIT
# Each public header compiles alone, in every language standard that it promises.
set -eu
flags="-I$SOURCE/include -Wall -Wextra -pedantic -Werror -fsyntax-only"

# try COMPILER LANGUAGE STANDARD HEADER
try() {
    echo "$1 -std=$3 $4"
    # shellcheck disable=SC2086 # a list of words
    printf '#include <%s>\nint main(void) { return 0; }\n' "$4" | "$1" $flags -x "$2" "-std=$3" -
}

for compiler in "$CC" gcc clang; do
    command -v "$compiler" >/dev/null || continue
    try "$compiler" c c99 turboquant.h
    try "$compiler" c c11 turboquant.h
    try "$compiler" c c11 turboquant_cache.h
done
for compiler in "$CXX" g++ clang++; do
    command -v "$compiler" >/dev/null || continue
    try "$compiler" c++ c++11 turboquant.h
    try "$compiler" c++ c++17 turboquant.hpp
done

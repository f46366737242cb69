#!/bin/sh
# SPDX-License-Identifier: MIT
# The library builds without its build system: all sources, one command, an example on top.
set -eu
cd "$SOURCE"
"$CC" -std=gnu11 -O2 -Iinclude -Isrc -o "$OLDPWD/encode_decode" examples/encode_decode.c \
    src/*.c src/codebook/tables.c src/codebook/trellis.c src/kernels/*.c src/kernels/scalar/*.c -lm
cd "$OLDPWD"
./encode_decode

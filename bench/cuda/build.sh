#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds what the Python programs of this folder load: build.sh LIBTURBOQUANT.A FOLDER
# The library must have been configured with the CUDA backend.
set -eu
library=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")/../.."
"${CC:-cc}" -O2 -std=gnu11 -fPIC -shared -fvisibility=hidden -Iinclude -Isrc bench/cuda/harness.c "$library" -lm -ldl \
    -o "$out/libtq_harness.so"

#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks Metal sources through clang's OpenCL C++ mode, which knows address spaces; and that it sees a wrong one.
# Usage: opencl.sh CLANG EMBEDDED.metal, in the root of the project.
set -eu
clang=$1
embedded=$2

check() {
    "$clang" -x clcpp -cl-std=clc++2021 --target=spir64 -fsyntax-only \
        -Xclang -cl-ext=-__opencl_c_generic_address_space,-__opencl_c_pipes,-__opencl_c_device_enqueue,+cl_khr_fp16 \
        -Itests/metal/opencl -Isrc -D__METAL_VERSION__=300 -Wall -Wextra -Werror \
        -Wno-unknown-attributes -Wno-unknown-pragmas -Wno-unused-function "$@"
}

# refused DEFINITION MESSAGE: with this definition the file is wrong, and clang says so.
refused() {
    if message=$(check "-D$1" tests/metal/opencl/wrong_space.metal 2>&1); then
        echo "wrong_space.metal with $1 was not refused" >&2
        exit 1
    fi
    echo "$message" | grep -q "$2" || { echo "$message" >&2; exit 1; }
}

for source in src/kernels/metal/*.metal "$embedded"; do
    check "$source"
done
check tests/metal/opencl/wrong_space.metal
refused WRONG_SPACE "cannot initialize a variable of type '__local float"
refused NO_SPACE "cannot initialize a variable of type '__private float"

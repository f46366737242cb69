#!/bin/sh
# SPDX-License-Identifier: MIT
# Compiles the CUDA kernels of one head_dim: cuda_compile.sh NVCC IMAGE DIM FLAGS...
# What the assembler says of registers and spills goes to IMAGE.log; warnings are shown.
set -eu
nvcc=$1
image=$2
dim=$3
shift 3
source=$(dirname "$0")/../src/kernels/cuda/kernels.cu
"$nvcc" "$@" -Xptxas -v "-DTQ_CUDA_DIM=$dim" -fatbin "$source" -o "$image" >"$image.log" 2>&1 || {
    cat "$image.log" >&2
    exit 1
}
grep -v '^ptxas info\|^ *[0-9]* bytes\|^$' "$image.log" >&2 || true

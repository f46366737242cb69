#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds what bench_attend.py loads: build.sh LIBTURBOQUANT.A FOLDER [DIM...]
# Writes libtq_cuda.so (kernels and launchers), libtq_harness.so and ptxas.log to FOLDER.
set -eu
library=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
shift 2
[ $# -gt 0 ] || set -- 128
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/local/cuda/bin
arch=${TQ_CUDA_ARCH:-90}
flags="-O3 -std=c++17 -gencode arch=compute_$arch,code=sm_$arch -Isrc -Xcompiler -fPIC -Xptxas -v ${TQ_CUDA_FLAGS:-}"
dims=
: >"$out/ptxas.log"
for dim in "$@"; do
    dims="$dims X($dim)"
    # shellcheck disable=SC2086 # words
    nvcc $flags -DTQ_CUDA_DIM="$dim" -c src/kernels/cuda/attend.cu -o "$out/attend_$dim.o" 2>>"$out/ptxas.log"
done
for file in launchers pages_cuda encode trellis_encode; do
    [ -f "src/kernels/cuda/$file.cu" ] || continue
    # shellcheck disable=SC2086
    nvcc $flags "-DTQ_CUDA_DIMS(X)=$dims" -c "src/kernels/cuda/$file.cu" -o "$out/$file.o" 2>>"$out/ptxas.log"
done
nvcc -shared -cudart static -o "$out/libtq_cuda.so" "$out"/*.o
g++ -O2 -std=c++17 -fPIC -shared -Iinclude -Isrc bench/cuda/harness.cpp "$library" -lm -o "$out/libtq_harness.so"

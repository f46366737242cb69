#!/bin/sh
# SPDX-License-Identifier: MIT
# Compiles the CUDA kernels and reports registers and spills:
#
#     check_cuda_kernels.sh FOLDER "90;100" "128;64"
#
# Exits 1 if a kernel spills more bytes than src/kernels/cuda/spills.txt allows ("BYTES ARCH KERNEL DIM", without its entry: 0).
set -eu
out=$1
archs=$(echo "$2" | tr ';' ' ')
dims=$(echo "$3" | tr ';' ' ')
cd "$(dirname "$0")/.."
mkdir -p "$out"
: >"$out/ptxas.log"
for arch in $archs; do
    for dim in $dims; do
        echo "dim $dim" >>"$out/ptxas.log"
        "${NVCC:-nvcc}" -O3 -std=c++17 -gencode "arch=compute_$arch,code=sm_$arch" -Isrc -Xptxas -v "-DTQ_CUDA_DIM=$dim" \
            -cubin src/kernels/cuda/kernels.cu -o "$out/kernels_${dim}_$arch.cubin" 2>>"$out/ptxas.log"
    done
done
grep -v "^ptxas\|^dim \|^ *[0-9]* bytes\|^$" "$out/ptxas.log" || true # Warnings, if there are any.
awk '
    FILENAME == ARGV[1] { if ($0 !~ /^#/ && NF) { allowed[$2 " " $3 " " $4] = $1 }; next }
    /^dim / { dim = $2 }
    /Compiling entry function/ { split($0, part, "\047"); name = part[2]; arch = part[4] }
    /bytes spill stores/ { spill = $5 }
    /Used [0-9]+ registers/ { match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
        note = ""
        if (spill + 0 > allowed[arch " " name " " dim] + 0) { note = "  TOO MANY"; bad = 1 }
        printf "%-6s %-24s dim %-3d %3d registers %4d bytes spilled%s\n", arch, name, dim, registers, spill, note }
    END { exit bad }' src/kernels/cuda/spills.txt "$out/ptxas.log"

#!/bin/sh
# SPDX-License-Identifier: MIT
# Compiles the CUDA kernels and reports registers and spills:
#
#     check_cuda_kernels.sh FOLDER "90;100" "128;64"
#
# Exits 1 if a kernel spills more bytes than src/kernels/cuda/spills.txt allows ("BYTES ARCH KERNEL", without its entry: 0).
set -eu
out=$1
archs=$(echo "$2" | tr ';' ' ')
dims=$(echo "$3" | tr ';' ' ')
cd "$(dirname "$0")/.."
mkdir -p "$out"
list=
for dim in $dims; do
    list="$list X($dim)"
done
: >"$out/ptxas.log"
for arch in $archs; do
    flags="-O3 -std=c++17 -gencode arch=compute_$arch,code=sm_$arch -Isrc -Xptxas -v"
    for dim in $dims; do
        # shellcheck disable=SC2086 # words
        "${NVCC:-nvcc}" $flags "-DTQ_CUDA_DIM=$dim" -c src/kernels/cuda/attend.cu -o "$out/attend_${dim}_$arch.o" 2>>"$out/ptxas.log"
    done
    for file in launchers pages_cuda encode trellis_encode; do
        # shellcheck disable=SC2086
        "${NVCC:-nvcc}" $flags "-DTQ_CUDA_DIMS(X)=$list" -c "src/kernels/cuda/$file.cu" -o "$out/${file}_$arch.o" 2>>"$out/ptxas.log"
    done
done
grep -v "^ptxas\|^ *[0-9]* bytes\|^$" "$out/ptxas.log" || true # Warnings, if there are any.
c++filt <"$out/ptxas.log" | awk '
    FILENAME == ARGV[1] { if ($0 !~ /^#/ && NF) { bytes = $1; arch = $2; $1 = $2 = ""; sub(/^ +/, ""); allowed[arch " " $0] = bytes }; next }
    /Compiling entry function/ { split($0, part, "\047"); name = part[2]; arch = part[4]
        sub(/^void /, "", name); gsub(/\(anonymous namespace\)::/, "", name); sub(/\(.*/, "", name) }
    /bytes spill stores/ { spill = $5 }
    /Used [0-9]+ registers/ { match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
        limit = allowed[arch " " name] + 0
        note = ""
        if (spill + 0 > limit) { note = "  TOO MANY"; bad = 1 }
        printf "%-6s %-48s %3d registers %4d bytes spilled%s\n", arch, name, registers, spill, note }
    END { exit bad }' src/kernels/cuda/spills.txt -

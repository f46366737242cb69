#!/bin/sh
# SPDX-License-Identifier: MIT
# Registers and spills of the CUDA kernels, from what cuda_compile.sh wrote down: cuda_spills.sh IMAGE.log...
# Exits 1 if a kernel spills more bytes than src/kernels/cuda/spills.txt allows; without an entry there: none. Only the
# architectures that the file has are held to it.
set -eu
allowed=$(dirname "$0")/../src/kernels/cuda/spills.txt
awk '
    FILENAME == ARGV[1] { if ($0 !~ /^#/ && NF) { allowed[$2 " " $3 " " $4] = $1; held[$2] = 1 }; next }
    FNR == 1 { dim = FILENAME; sub(/.*kernels_/, "", dim); sub(/\..*/, "", dim) }
    /Compiling entry function/ { split($0, part, "\047"); name = part[2]; arch = part[4] }
    /bytes spill stores/ { spill = $5 }
    /Used [0-9]+ registers/ {
        match($0, /Used [0-9]+/)
        registers = substr($0, RSTART + 5, RLENGTH - 5)
        note = ""
        if (arch in held && spill + 0 > allowed[arch " " dim " " name] + 0) { note = "  TOO MANY"; bad = 1 }
        printf "%-6s dim %-3d %-32s %3d registers %4d bytes spilled%s\n", arch, dim, name, registers, spill, note
        kernels++
    }
    END { print kernels + 0 " kernels"; exit bad || !kernels }' "$allowed" "$@"

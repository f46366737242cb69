#!/bin/sh
# SPDX-License-Identifier: MIT
# globals.sh STATIC: no object of the library holds data that can be written (nm types B, C, D, G, S and their small forms;
# relocated constants count as constants: their section is .data.rel.ro).
set -eu
objdump -t "$1" >table
grep -q ' \.text' table
# Columns: value, flags (O = object), section, size, name.
! grep -E ' O (\.bss|\.data|\.tbss|\.tdata|\*COM\*)' table | grep -v '\.data\.rel\.ro'

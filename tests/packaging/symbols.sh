#!/bin/sh
# SPDX-License-Identifier: MIT
# symbols.sh SHARED STATIC: the shared library exports exactly exported_symbols.txt, which is what the header declares;
# the global names of the static library all begin with tq_.
set -eu
export LC_ALL=C
here=$(dirname "$0")

nm -D --defined-only "$1" | awk '{ print $3 }' | sort >exported
diff -u "$here/exported_symbols.txt" exported

"$CC" -E -P "$SOURCE/include/turboquant.h" | tr -s ' \n' ' ' | tr ';' '\n' |
    sed -n 's/.*visibility("default").* \**\(tq_[a-z0-9_]*\)(.*/\1/p' | sort >declared
diff -u "$here/exported_symbols.txt" declared

nm --defined-only -g "$2" | awk 'NF == 3 { print $3 }' >global
[ -s global ]
! grep -v '^tq_' global

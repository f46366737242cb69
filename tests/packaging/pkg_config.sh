#!/bin/sh
# SPDX-License-Identifier: MIT
# pkg_config.sh PC_FOLDER CONSUMER: compiles and runs the consumer with the flags of pkg-config, shared and static.
set -eu
command -v pkg-config >/dev/null || exit 77
export PKG_CONFIG_PATH="$1"

# shellcheck disable=SC2046 # lists of words
"$CC" -std=c11 -o shared "$2" $(pkg-config --cflags --libs turboquant)
LD_LIBRARY_PATH=$(pkg-config --variable=libdir turboquant) ./shared

# shellcheck disable=SC2046
"$CC" -std=c11 -static -o static "$2" $(pkg-config --static --cflags --libs turboquant)
./static

#!/bin/sh
# SPDX-License-Identifier: MIT
# install.sh CMAKE BUILD: installs to ./prefix, then moves it to ./moved: an installed tree must not know where it is.
set -eu
rm -rf prefix moved
"$1" --install "$2" --prefix "$PWD/prefix"
mv prefix moved
if grep -rI "$PWD/prefix" moved; then
    echo "an installed file holds the prefix" >&2
    exit 1
fi

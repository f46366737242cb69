#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks the text of every file: characters, line ends, SPDX lines, lengths. Prints what is wrong; exits 1 if anything is.
# shellcheck disable=SC2044 # no file name of this project has a blank in it
set -eu
cd "$(dirname "$0")/.."
export LC_ALL=C
bad=0

complain() {
    bad=1
    printf '%s\n' "$@" >&2
}

# too_long LIMIT FOLDER...: files of more lines than a reader wants at once. tables.c is generated.
too_long() {
    limit=$1
    shift
    for file in $(find "$@" -type f \( -name '*.[chm]' -o -name '*.cpp' -o -name '*.hpp' -o -name '*.metal' \) \
        ! -name tables.c); do
        lines=$(wc -l <"$file")
        [ "$lines" -le "$limit" ] || complain "$file: $lines lines, the limit is $limit"
    done
}

for file in $(find . \( -name .git -o -path './build*' -o -name __pycache__ \) -prune -o -type f -size +0 -print); do
    grep -qI '' "$file" || continue # binary
    case $file in
    *.md) other='\t|\r|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xef\xbb\xbf' ;; # tabs, invisible characters
    *) other='[^ -~]' ;;
    esac
    ! grep -HnP "$other" "$file" || complain "$file: tab or character outside of ASCII"
    ! grep -Hn ' $' "$file" || complain "$file: trailing blank"
    [ -z "$(tail -c 1 "$file")" ] || complain "$file: no newline at the end"
    case $file in
    *.[chm] | *.cpp | *.hpp | *.metal | */metal_stdlib | *.sh | *.py | *.cmake | */CMakeLists.txt | ./dev)
        head -n 3 "$file" | grep -q 'SPDX-License-Identifier: MIT' ||
            complain "$file: no SPDX line" ;;
    esac
done

too_long 600 src include bench tests tools
too_long 400 src/kernels
too_long 80 examples
exit $bad

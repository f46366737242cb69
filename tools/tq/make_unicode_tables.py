#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints unicode_tables.c: the ranges of the general categories L (letters) and N (numbers), from Python's database."""
import unicodedata


def ranges(category):
    """Inclusive ranges of code points whose category begins with the letter."""
    found = []
    for point in range(0x110000):
        if unicodedata.category(chr(point))[0] == category:
            if found and found[-1][1] == point - 1:
                found[-1][1] = point
            else:
                found.append([point, point])
    return found


def print_table(name, category):
    entries = [f"{{0x{first:X}, 0x{last:X}}}," for first, last in ranges(category)]
    print(f"\nconst struct unicode_range {name}[] = {{")
    line = "   "
    for entry in entries:
        if len(line) + 1 + len(entry) > 120:
            print(line)
            line = "   "
        line += " " + entry
    print(line)
    print(f"}};\nconst size_t {name}_count = {len(entries)};")


print("/* SPDX-License-Identifier: MIT */")
print("/* Letters and numbers of Unicode", unicodedata.unidata_version, "- written by make_unicode_tables.py. */")
print('#include "unicode.h"')
print("\n/* clang-format off */")
print_table("unicode_letters", "L")
print_table("unicode_numbers", "N")
print("/* clang-format on */")

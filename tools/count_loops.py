#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the instructions of the inner loops of an object file: what is left to look at where a processor is emulated
and times mean nothing. For every function whose name matches, prints its longest innermost loop:

    tools/count_loops.py OBJDUMP FILE.o [FUNCTIONS [FACTOR]]

    function      instructions, of which vector arithmetic, loads and stores, and accesses to the stack (spills),
                  and the instructions times FACTOR, for instance 1 / (keys that a step of the loop serves)
"""
import re
import subprocess
import sys


def functions(objdump, path):
    """Name and [(address, instruction, operands)] of each function."""
    text = subprocess.run([objdump, "-d", "--no-show-raw-insn", path], check=True, capture_output=True, text=True).stdout
    for name, body in re.findall(r"^[0-9a-f]+ <([^>]+)>:\n(.*?)(?:\n\n|\Z)", text, re.S | re.M):
        lines = re.findall(r"^\s*([0-9a-f]+):\s+(\S+)[ \t]*(.*)$", body, re.M)
        yield name, [(int(address, 16), what, operands) for address, what, operands in lines]


def innermost_loops(code):
    """The instructions of every loop without a loop in it: from the target of a backward branch to the branch."""
    spans = []
    for address, what, operands in code:
        target = re.search(r"\b([0-9a-f]+) <", operands)
        if target and re.match(r"b\.|b$|cb|tb|j", what) and int(target[1], 16) <= address and what != "bl":
            spans.append((int(target[1], 16), address))
    for first, last in spans:
        if not any((first, last) != (a, b) and first <= a and b <= last for a, b in spans):
            yield [line for line in code if first <= line[0] <= last]


def count(loop):
    memory = [o for _, w, o in loop if re.match(r"ld|st|prf", w)]
    vector = [w for _, w, o in loop if re.match(r"[vqds]\d+", o) and not re.match(r"ld|st", w)]
    return len(loop), len(vector), len(memory), len([o for o in memory if "[sp" in o])


def main():
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    wanted = sys.argv[3] if len(sys.argv) > 3 else ".*"
    factor = float(sys.argv[4]) if len(sys.argv) > 4 else 1
    for name, code in sorted(functions(sys.argv[1], sys.argv[2])):
        loops = sorted((count(loop) for loop in innermost_loops(code)), reverse=True)
        if loops and re.fullmatch(wanted, name):
            total, vector, memory, stack = loops[0]
            print(f"{name:24} {total:5} {vector:5} {memory:5} {stack:5} {total * factor:8.1f}")


if __name__ == "__main__":
    main()

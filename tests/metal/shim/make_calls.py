# SPDX-License-Identifier: MIT
"""Writes C++ that calls each kernel of src/kernels/metal/ by its attributes: [[buffer(X)]] receives what the host bound
to index X, and so on. Usage: make_calls.py FILE.metal... > calls.cpp"""
import re
import sys

SOURCES = {
    "threadgroup(0)": "call.shared",
    "threadgroup_position_in_grid": "uint3{call.group[0], call.group[1], call.group[2]}",
    "thread_index_in_threadgroup": "thread_index()",
}


def argument(parameter, indices):
    """The expression for one parameter: 'device float *x [[buffer(TQ_AT_X)]]'."""
    words = " ".join(parameter.split()).replace("TQ_SHARED_MEMORY", "[[threadgroup(0)]]")
    match = re.fullmatch(r"(.*?)(\w+) \[\[(.*)\]\]", words)
    kind, attribute = match[1], match[3]
    buffer = re.fullmatch(r"buffer\((\w+)\)", attribute)
    if buffer:
        indices.append(buffer[1])
        source = f"call.buffers[{buffer[1]}]"
    else:
        source = SOURCES[attribute]
    if "&" in kind:
        return f"*({kind.replace('&', '*')})({source})"
    return f"({kind})({source})" if "*" in kind else source


def main():
    print('#include "call.h"\n')
    for path in sys.argv[1:]:
        print(f'#include "kernels/metal/{path.rsplit("/", 1)[-1]}"')
    print("\nnamespace shim\n{\n")
    rows = []
    for path in sys.argv[1:]:
        with open(path, encoding="ascii") as file:
            for name, parameters in re.findall(r"^kernel void tq_(\w+)\((.*?)\)\s*\{", file.read(), re.M | re.S):
                indices = []
                arguments = [argument(p, indices) for p in re.split(r",\s*(?![^\[]*\]\])", parameters)]
                wanted = " | ".join(f"1U << {index}" for index in indices)
                print(f"static void call_{name}(void *argument)\n{{\n    const auto &call = *static_cast<kernel_call *>("
                      f"argument);\n    (void)call;\n    tq_{name}({', '.join(arguments)});\n}}\n")
                rows.append(f"    case tq_metal_{name}_kernel:\n        return {{call_{name}, {wanted}}};")
    print("kernel_entry find_kernel(unsigned number)\n{\n    switch (number) {\n" + "\n".join(rows) +
          "\n    default:\n        return {nullptr, 0};\n    }\n}\n\n} // namespace shim")


main()

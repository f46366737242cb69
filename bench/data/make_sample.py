#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Cuts the first tokens out of a .qkv file and zeroes the token ids.

    make_sample.py INPUT.qkv OUTPUT.qkv [--tokens 480]

bench/data/README.md describes the format. All layers and heads are kept, so the sample has the shape of its source.
The token ids are set to zero: they would give back the text the model read, which is not ours to ship.
"""

import argparse
import struct
import sys

HEADER = struct.Struct("<8s6If28s")  # magic, version, layers, q_heads, kv_heads, head_dim, tokens, rope_theta, zeros


def cut(source, tokens):
    magic, version, layers, q_heads, kv_heads, head_dim, source_tokens, rope_theta, zeros = HEADER.unpack_from(source)
    if magic != b"TQKVDUMP" or version != 1:
        sys.exit("make_sample.py: the input is not a .qkv file of version 1")
    blocks = layers * (2 * kv_heads + q_heads)  # K, V and Q of every head: [tokens][head_dim] f16 each
    bias_bytes = 2 * layers * kv_heads * head_dim
    source_block = 2 * source_tokens * head_dim
    if len(source) != HEADER.size + blocks * source_block + bias_bytes + 2 * source_tokens:
        sys.exit("make_sample.py: the input's size does not fit its header")
    if not 0 < tokens <= source_tokens:
        sys.exit(f"make_sample.py: --tokens must be 1 to {source_tokens}")

    parts = [HEADER.pack(magic, version, layers, q_heads, kv_heads, head_dim, tokens, rope_theta, zeros)]
    for block in range(blocks):
        start = HEADER.size + block * source_block
        parts.append(source[start : start + 2 * tokens * head_dim])
    bias_start = HEADER.size + blocks * source_block
    parts.append(source[bias_start : bias_start + bias_bytes])
    parts.append(bytes(2 * tokens))
    return b"".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--tokens", type=int, default=480)
    arguments = parser.parse_args()
    with open(arguments.input, "rb") as file:
        sample = cut(file.read(), arguments.tokens)
    with open(arguments.output, "wb") as file:
        file.write(sample)
    print(f"{arguments.output}: {arguments.tokens} tokens, {len(sample)} bytes")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A second reader of saved sequences, written from docs/format.md alone (section 8), in double precision.

    second_cache_reader.py FILE.tqc                        print every vector
    second_cache_reader.py FILE.tqc --compare FILE.txt     compare with what the library makes of them
    second_cache_reader.py --refuse-flips FILE.tqc         every damaged copy of the file must be refused
    second_cache_reader.py --selftest                      the checksum, and files that are wrong in one place

A line is `<layer> <token> <head> k|v sink|encoded|exact <numbers>`, one for each part of a page in which the token
exists. What is wrong is printed and makes the exit code 1.
"""
import collections
import math
import pathlib
import random
import re
import struct
import sys

import second_decoder
from second_decoder import Wrong, require
from xxh3 import xxh3_64

# Between the library's numbers, which are f32, and ours, relative to the norm.
LARGEST_DIFFERENCE = 1e-5

HEADER = struct.Struct("<8s 6I Q 8I 2Q")
LAYER = struct.Struct("<2I 2Q")
PAGE = struct.Struct("<6I")
CHECKSUM = struct.Struct("<Q")
MAGIC = bytes.fromhex("89 54 51 43 0D 0A 1A 0A")
PAGE_TOKENS = 64
ROTATIONS = {1: "hadamard", 2: "haar"}
SINKS, ENCODED, EXACT = 4, 2, 1

FORMATS = {int(number): name for number, name in re.findall(r"^\| (\d+) \| `([\w-]+)` \|", second_decoder.PAGE, re.M)}

# What keys have, and what values have.
Side = collections.namedtuple("Side", "name dim rotation has_means")
Sequence = collections.namedtuple("Sequence", "sides seed heads sink_tokens")


class Bytes:
    """Bytes that are taken from the front, and not past the end."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        require(count <= len(self.data) - self.at, "the bytes end too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def unpack(self, layout):
        return layout.unpack(self.take(layout.size))

    def take_with_checksum(self, count):
        """Bytes that end in the checksum of all before it; what is before."""
        require(count >= CHECKSUM.size, "no room for a checksum")
        data = self.take(count - CHECKSUM.size)
        require(self.unpack(CHECKSUM) == (xxh3_64(data),), "a checksum differs")
        return Bytes(data)

    def require_end(self):
        require(self.at == len(self.data), f"{len(self.data) - self.at} bytes too many")


# Header and table


def check_rotation(rotation, dim):
    require(rotation in ROTATIONS, f"rotation {rotation}")
    require(dim > 0, "dimension 0")
    is_possible = ROTATIONS[rotation] != "hadamard" or second_decoder.paley_order(dim)
    require(is_possible, f"no Hadamard rotation of order {dim}")


def read_header(data):
    """What pages need to know, the number of layers and the bytes of the file."""
    fields = HEADER.unpack(data.take(HEADER.size))
    magic, version, flags, layout, codebook, *rotations, seed, layers, heads = fields[:10]
    dim_k, dim_v, page_tokens, _recent_tokens, sink_tokens, no_means, zero, size = fields[10:]
    require(magic == MAGIC, "another magic")
    require((version, flags, layout, codebook) == (1, 0, 1, 1), "another version, flag, layout or codebook")
    require(page_tokens == PAGE_TOKENS, f"pages of {page_tokens} tokens")
    require(no_means < 4 and zero == 0, "not zero where it must be")
    require(sink_tokens <= PAGE_TOKENS, f"{sink_tokens} sinks do not fit into page 0")
    for rotation, dim in zip(rotations, (dim_k, dim_v)):
        check_rotation(rotation, dim)
    keys = Side("k", dim_k, ROTATIONS[rotations[0]], not no_means & 1)
    values = Side("v", dim_v, ROTATIONS[rotations[1]], not no_means & 2)
    return Sequence((keys, values), seed, heads, sink_tokens), layers, size


def format_name(number, dim):
    require(number in FORMATS, f"format {number}")
    name = FORMATS[number]
    require(not name.endswith("t") or dim % 8 == 0, f"no {name} for dimension {dim}")
    return name


def open_file(data):
    """The sequence, and the tokens and the section of every layer. All checksums are right, and nothing is left."""
    source = Bytes(data)
    sequence, layers, size = read_header(source.take_with_checksum(HEADER.size + CHECKSUM.size))
    require(size == len(data), f"{len(data)} bytes instead of {size}")
    table = source.take_with_checksum(layers * LAYER.size + CHECKSUM.size)
    sections = []
    for _ in range(layers):
        *formats, tokens, section_bytes = table.unpack(LAYER)
        for number, side in zip(formats, sequence.sides):
            format_name(number, side.dim)
        sections.append((tokens, source.take_with_checksum(section_bytes)))
    source.require_end()
    return sequence, sections


# Rows


def row_bytes(name, dim):
    if name == "f16":
        return 2 * dim
    numbers, planes = second_decoder.FORMATS[name]
    return 2 * numbers + sum(-(-dim * bits // 8) for bits in planes)


def fp16_numbers(data):
    numbers = struct.unpack(f"<{len(data) // 2}e", data)
    require(all(map(math.isfinite, numbers)), "a number that is not finite")
    return numbers


def rotated_back(mean, side, seed):
    columns = second_decoder.rotation_columns(side.rotation, side.dim, seed)
    return [second_decoder.dot(column, mean) / side.dim for column in columns]


def decode_row(name, side, seed, row, mean):
    """The vector of a row. The mean, in the coordinates of the vector, was taken off if the sign bit is not set."""
    if name == "f16":
        return fp16_numbers(row)
    is_centred = mean is not None and row[1] < 0x80
    if mean is not None:
        row = row[:1] + bytes([row[1] & 0x7F]) + row[2:]
    for number in fp16_numbers(row[: 2 * second_decoder.FORMATS[name][0]]):
        require(math.copysign(1, number) > 0, "a scale or a residual norm with its sign bit set")
    vector = second_decoder.decode(name, side.dim, side.rotation, seed, row)
    return [a + b for a, b in zip(vector, mean)] if is_centred else vector


# Pages


def read_rows(data, name, side, seed, count, present, with_mean=False):
    """The vectors of the rows that are present; the other rows are zeros."""
    mean = rotated_back(fp16_numbers(data.take(2 * side.dim)), side, seed) if with_mean else None
    for token in range(count):
        row = data.take(row_bytes(name, side.dim))
        if token in present:
            yield token, decode_row(name, side, seed, row, mean)
        else:
            require(not any(row), f"token {token} of a page has no row there, but it is not zero")


def read_page(data, sequence, is_first, tokens):
    """(token of the page, head, side, part) and the vector of all rows of a page of so many tokens."""
    *formats, parts, n_encoded, exact_from, zero = data.unpack(PAGE)
    names = [format_name(number, side.dim) for number, side in zip(formats, sequence.sides)]
    require(parts < 8 and zero == 0, "not zero where it must be")
    require(is_first or not parts & SINKS, "sinks in another page than the first")
    require(n_encoded <= PAGE_TOKENS and bool(parts & ENCODED) == (n_encoded > 0), "n_encoded")
    require(exact_from <= n_encoded if parts & EXACT else n_encoded >= tokens, "tokens in no part")

    sinks = range(min(tokens, sequence.sink_tokens))
    for bit, part, count, present in (
        (SINKS, "sink", sequence.sink_tokens, sinks),
        (ENCODED, "encoded", PAGE_TOKENS, range(min(tokens, n_encoded))),
        (EXACT, "exact", PAGE_TOKENS, range(exact_from, tokens)),
    ):
        for head in range(sequence.heads if parts & bit else 0):
            for name, side in zip(names, sequence.sides):
                name = name if bit == ENCODED else "f16"
                with_mean = side.has_means and name != "f16"
                for token, vector in read_rows(data, name, side, sequence.seed, count, present, with_mean):
                    yield (token, head, side.name, part), vector


def read_sequence(data):
    """(layer, token, head, k or v, part) and the vector of all rows of a file."""
    sequence, sections = open_file(data)
    for layer, (tokens, section) in enumerate(sections):
        for first in range(0, tokens, PAGE_TOKENS):
            page = read_page(section, sequence, first == 0, min(PAGE_TOKENS, tokens - first))
            for (token, *rest), vector in page:
                yield (layer, first + token, *rest), vector
        section.require_end()


# Commands


def print_vectors(data):
    for key, vector in read_sequence(data):
        print(*key, *(format(number, ".9g") for number in vector))


def compare(data, lines):
    expected = {}
    for line in lines:
        if line.startswith("#"):
            continue
        layer, token, head, side, part, *numbers = line.split()
        key = (int(layer), int(token), int(head), side, part)
        require(key not in expected, f"{key}: there twice")
        expected[key] = [float(number) for number in numbers]
    count, largest = len(expected), 0.0
    for key, vector in read_sequence(data):
        require(key in expected, f"{key}: not in the list")
        numbers = expected.pop(key)
        require(len(numbers) == len(vector), f"{key}: {len(numbers)} numbers in the list")
        distance, norm = math.dist(vector, numbers), math.hypot(*vector)
        require(distance <= LARGEST_DIFFERENCE * norm, f"{key}: differs by {distance:.3g}, the norm is {norm:.3g}")
        largest = max(largest, distance / norm if norm > 0 else 0.0)
    require(count > 0 and not expected, f"not in the file: {list(expected)[:5]}")
    print(f"{count} vectors, largest difference {largest:.2g}")


def is_refused(data):
    try:
        collections.deque(read_sequence(data), maxlen=0)
    except Wrong:
        return True
    return False


def flip(data, bit):
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def refuse_flips(data):
    require(not is_refused(data), "the file itself is refused")
    draw = random.Random(1)
    near = HEADER.size + 4 * LAYER.size  # where most of the numbers are that say how to read the rest
    bits = [draw.randrange(8 * end) for end in (len(data), min(near, len(data))) for _ in range(200)]
    for bit in bits:
        require(is_refused(flip(data, bit)), f"bit {bit % 8} of byte {bit // 8}: accepted if it is flipped")
    lengths = [0, HEADER.size, len(data) - 1] + [draw.randrange(len(data)) for _ in range(100)]
    for length in lengths:
        require(is_refused(data[:length]), f"accepted if it is cut after {length} bytes")
    require(is_refused(data + b"\0"), "accepted with another byte at its end")
    print(f"{len(bits)} flips, {len(lengths)} truncations and an addition refused")


# Self-test

# Of the first bytes of i * i mod 251, i = 0, 1, ...: printed by xxHash.
HASHES = {
    0: 0x2D06800538D394C2, 1: 0xC44BDFF4074EECDB, 3: 0x37892F624F40B19C, 4: 0x5206B2E6B553FE7E, 8: 0xBCFE131FA6CB6952,
    9: 0x95A8B7572F430FEF, 16: 0xF36D1380FC3D25FD, 17: 0x85B86FB76A78E347, 32: 0xC25EEB0879EBBFBF,
    33: 0xE5D79F1EBB9D1991, 64: 0xC5A96DB31A91EE2D, 65: 0x6D3A9036EC6103A8, 96: 0x7AEC52D9B5F8B485,
    97: 0x42E0EAABA00E5271, 128: 0xA05397602C0D7380, 129: 0xB0BE8561055FB150, 143: 0xDE80D0ED1100A0F3,
    144: 0x7DEDD15C5C310C38, 240: 0x2599F7836101B7C7, 241: 0xFA3E3F950B821A67, 1023: 0xFA573B14666F118D,
    1024: 0xA3115476086F73F1, 1025: 0x66B070BD27327C00, 1088: 0xC1E20C0FD2599AF8, 1089: 0x157CA606B29F7400,
    2048: 0x5EDE5A805924185A, 2049: 0xDAB872B3402E3B55, 4096: 0x96637D627C3BC740,
}

# Where things are in the small file, in bytes.
TABLE, PAGE_0, SINK_KEYS, MEAN, KEYS, VALUES = 96, 152, 176, 224, 240, 560
PAGE_1, EXACT_KEYS, SECTION_1, FILE_SIZE = 944, 968, 2512, 2520

# One change each that a reader refuses although the checksums are right: where, how it is stored, what, the message.
WRONG = (
    (0, "B", 0x88, "magic"),
    (8, "I", 2, "version"),
    (12, "I", 1, "flag"),
    (16, "I", 2, "layout"),
    (20, "I", 2, "codebook"),
    (24, "I", 3, "rotation 3"),
    (28, "I", 0, "rotation 0"),
    (48, "I", 0, "dimension 0"),
    (52, "I", 5, "no Hadamard rotation"),
    (56, "I", 32, "pages of 32"),
    (64, "I", 65, "65 sinks"),
    (68, "I", 4, "not zero"),
    (72, "Q", 1, "not zero"),
    (80, "Q", FILE_SIZE - 1, f"instead of {FILE_SIZE - 1}"),
    (TABLE, "I", 2, "format 2"),
    (TABLE + 4, "I", 33, "no turbo3t"),
    (TABLE + 8, "Q", 64, "too many"),
    (TABLE + 8, "Q", 129, "too early"),
    (PAGE_0, "I", 99, "format 99"),
    (PAGE_0 + 8, "I", 8 + 6, "not zero"),
    (PAGE_0 + 8, "I", 4, "n_encoded"),
    (PAGE_0 + 12, "I", 63, "in no part"),
    (PAGE_0 + 12, "I", 65, "n_encoded"),
    (PAGE_0 + 20, "I", 1, "not zero"),
    (SINK_KEYS, "H", 0x7C00, "not finite"),
    (MEAN, "H", 0xFE00, "not finite"),
    (KEYS, "H", 0x7C01, "not finite"),
    (VALUES, "H", 0x8000, "sign bit"),
    (VALUES + 2, "H", 0xBC00, "sign bit"),
    (VALUES + 2, "H", 0x7C00, "not finite"),
    (PAGE_1 + 8, "I", 5, "another page"),
    (PAGE_1 + 16, "I", 1, "in no part"),
    (EXACT_KEYS + 32, "H", 1, "not zero"),
)


def with_checksums(data):
    """The same bytes, with the checksums that they need."""
    spans = ((0, TABLE), (TABLE, PAGE_0), (PAGE_0, SECTION_1), (SECTION_1, len(data)))
    pieces = [data[first : end - CHECKSUM.size] for first, end in spans]
    return b"".join(piece + CHECKSUM.pack(xxh3_64(piece)) for piece in pieces)


def small_file():
    """Two layers, the second one empty; 66 tokens, 2 of them sinks; keys turbo3 with a mean, values turbo2-prod."""
    row = bytes.fromhex("2148 5a99 6c")  # of section 6
    header = HEADER.pack(MAGIC, 1, 0, 1, 1, 1, 1, 0, 2, 1, 8, 4, PAGE_TOKENS, 0, 2, 2, 0, FILE_SIZE)
    table = LAYER.pack(13, 22, 66, SECTION_1 - PAGE_0) + LAYER.pack(13, 22, 0, CHECKSUM.size)
    sinks = struct.pack("<16e 8e", *range(24))
    keys = struct.pack("<8e", 1, *[0] * 7) + row + row[:1] + bytes([row[1] | 0x80]) + row[2:] + bytes(62 * len(row))
    page_0 = PAGE.pack(13, 22, SINKS | ENCODED, 64, 0, 0) + sinks + keys + bytes(64 * 6)
    page_1 = PAGE.pack(13, 22, EXACT, 0, 0, 0) + struct.pack("<16e", *range(16)) + bytes(62 * 16 + 64 * 8)
    later = bytes(CHECKSUM.size)
    return with_checksums(header + later + table + later + page_0 + page_1 + later + later)


def check_small_file(data):
    vectors = dict(read_sequence(data))
    require(len(vectors) == 2 * (2 + 64 + 2), f"{len(vectors)} vectors in the small file")
    printed = (0, 1.2137, 3.1215, 4.3352, 0, -1.2137, -3.1215, -4.3352)
    mean = [sign / 8 for sign in (-1, -1, -1, -1, 1, -1, 1, -1)]  # the first row of M / d
    for key, numbers in (
        ((0, 1, 0, "k", "sink"), range(8, 16)),
        ((0, 1, 0, "v", "sink"), range(20, 24)),
        ((0, 0, 0, "k", "encoded"), [a + b for a, b in zip(printed, mean)]),
        ((0, 1, 0, "k", "encoded"), printed),
        ((0, 2, 0, "k", "encoded"), mean),
        ((0, 63, 0, "v", "encoded"), [0] * 4),
        ((0, 65, 0, "k", "exact"), range(8, 16)),
    ):
        require(math.dist(vectors[key], numbers) < 2e-4, f"{key}: {vectors[key]} read, {list(numbers)} written")


def change(data, at, layout, number):
    changed = bytearray(data)
    struct.pack_into("<" + layout, changed, at, number)
    return with_checksums(bytes(changed))


def self_test():
    data = bytes(i * i % 251 for i in range(max(HASHES)))
    for length, expected in HASHES.items():
        require(xxh3_64(data[:length]) == expected, f"XXH3 of {length} bytes is not {expected:016x}")
    data = small_file()
    check_small_file(data)
    for at, layout, number, message in WRONG:
        try:
            dict(read_sequence(change(data, at, layout, number)))
        except Wrong as wrong:
            require(message in str(wrong), f"byte {at}: refused with '{wrong}' instead of '{message}'")
        else:
            raise Wrong(f"byte {at}: accepted with {number}")
    longer = change(data, 80, "Q", FILE_SIZE + 8) + bytes(8)
    require(is_refused(longer), "accepted with bytes behind the last section")
    refuse_flips(data)


def main(arguments):
    try:
        match arguments:
            case ["--selftest"]:
                self_test()
            case ["--refuse-flips", file]:
                refuse_flips(pathlib.Path(file).read_bytes())
            case [file, "--compare", list_file]:
                compare(pathlib.Path(file).read_bytes(), pathlib.Path(list_file).read_text().splitlines())
            case [file]:
                print_vectors(pathlib.Path(file).read_bytes())
            case _:
                sys.exit(__doc__)
    except Wrong as wrong:
        print(f"{' '.join(arguments)}: {wrong}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

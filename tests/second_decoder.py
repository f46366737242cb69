#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A second decoder of the row format, written from docs/format.md alone, in double precision and without haste.

    second_decoder.py ROWS EXPECTED

decodes the golden rows of the file ROWS and compares with EXPECTED, what the library makes of them (test_golden
--decode). Each row must also be near the vector that it encodes. The tables of the page are read from the page, and its
worked examples are worked. The first thing that is wrong is printed and makes the exit code 1.
"""
import functools
import math
import pathlib
import re
import statistics
import struct
import sys

PAGE = (pathlib.Path(__file__).resolve().parent.parent / "docs" / "format.md").read_text(encoding="utf-8")

# Between the library's numbers, which are f32, and ours, relative to the norm. About 2e-7 is usual.
LARGEST_DIFFERENCE = 1e-6

# 1. Formats: fp16 numbers at the start, bits of the planes that follow.
FORMATS = {
    "turbo1": (1, [1]), "turbo2": (1, [2]), "turbo3": (1, [2, 1]), "turbo4": (1, [4]), "turbo8": (1, [8]),
    "turbo2-prod": (2, [1, 1]), "turbo3-prod": (2, [2, 1]), "turbo4-prod": (2, [2, 1, 1]),
    "turbo2t": (1, [1, 1]), "turbo3t": (1, [1, 1, 1]), "turbo4t": (1, [1, 1, 1, 1]),
}

# |x - x'|^2 / |x|^2 that an encoded row may have, also with few coordinates. A row of another vector has about 2.
ALLOWED_ERROR = {
    "f16": 1e-6, "turbo1": 1.2, "turbo2": 0.35, "turbo3": 0.11, "turbo4": 0.03, "turbo8": 2e-4,
    "turbo2-prod": 1.2, "turbo3-prod": 0.35, "turbo4-prod": 0.11,
    "turbo2t": 0.3, "turbo3t": 0.09, "turbo4t": 0.025,
}


class Wrong(Exception):
    pass


def require(condition, message):
    if not condition:
        raise Wrong(message)


def as_f32(number):
    return struct.unpack("<f", struct.pack("<f", number))[0]


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


def relative_distance(x, reference):
    return math.dist(x, reference) / math.hypot(*reference)


# 2. Packed fields


def packed_fields(data, bits, d):
    fields = [byte >> shift & (1 << bits) - 1 for byte in data for shift in range(0, 8, bits)]
    require(not any(fields[d:]), "bits beyond the last coordinate")
    return fields[:d]


def split_row(name, d, row):
    """The fp16 numbers and the planes of a row."""
    numbers, planes = FORMATS[name]
    ends = [2 * numbers]
    for bits in planes:
        ends.append(ends[-1] + -(-d * bits // 8))
    require(len(row) == ends[-1], f"{len(row)} bytes instead of {ends[-1]}")
    pieces = zip(ends, ends[1:], planes)
    return struct.unpack(f"<{numbers}e", row[: ends[0]]), [packed_fields(row[a:b], k, d) for a, b, k in pieces]


def join_planes(planes, widths):
    """One number per coordinate; the first plane holds its lowest bits."""
    joined, shift = [0] * len(planes[0]), 0
    for plane, bits in zip(planes, widths):
        joined = [j | field << shift for j, field in zip(joined, plane)]
        shift += bits
    return joined


# 3. Levels


def lloyd_max(bits):
    """The positive levels c of the Lloyd-Max quantiser of the normal distribution.

    With p the probability of a cell [t, u] and f the density, the level of a cell is its mean, c p = f(t) - f(u), and t
    and u are in the middle between two levels. Each level in turn takes a Newton step; once the outer levels are near
    their places, the steps are lengthened (over-relaxation)."""
    normal = statistics.NormalDist()
    n = 2 ** (bits - 1)
    c = [math.sqrt(3) * normal.inv_cdf((n + i + 0.5) / (2 * n)) for i in range(n)]
    for sweep in range(10 * n + 20):
        factor = 1 if sweep < 10 else 2 - 2 / (n + 1)
        for i in range(n):
            t = (c[i - 1] + c[i]) / 2 if i > 0 else 0.0
            u = (c[i] + c[i + 1]) / 2 if i < n - 1 else math.inf
            ft, fu, p = normal.pdf(t), normal.pdf(u), normal.cdf(-t) - normal.cdf(-u)
            slope = p - (ft * (c[i] - t) if i > 0 else 0) / 2 - (fu * (u - c[i]) if i < n - 1 else 0) / 2
            c[i] += factor * (ft - fu - c[i] * p) / slope
    return c


def printed_levels(bits):
    numbers = re.search(rf"^{bits} bits? +([\d. ]+)$", PAGE, re.MULTILINE)[1]
    return [float(number) for number in numbers.split()]


@functools.cache
def levels(name):
    """The level of each index."""
    bits = int(name[5])
    if name.endswith("t"):
        step, k = re.search(rf"^{name} +step ([\d.]+) +k = ([-\d |]+)$", PAGE, re.MULTILINE).groups()
        k = [int(number) for number in k.replace("|", " ").split()]
        require(len(k) == 2 << bits and k == [-1 - number for number in reversed(k)], f"{name}: k is not antisymmetric")
        return [(number + 0.5) * as_f32(float(step)) for number in k]
    if name.endswith("-prod"):
        bits -= 1
    positive = lloyd_max(bits) if bits == 8 else printed_levels(bits)
    require(len(positive) == 1 << bits - 1, f"{name}: {len(positive)} positive levels")
    return [-c for c in reversed(positive)] + positive


# 5. Rotations


def splitmix64(state):
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        yield z ^ z >> 31


def paley(m):
    if m == 1:
        return [[1]]
    q = {12: 11, 20: 19, 28: 13, 36: 17}[m]
    squares = {x * x % q for x in range(1, q)}

    def chi(x):
        return 0 if x % q == 0 else 1 if x % q in squares else -1

    c = [[0] + [1] * q] + [[chi(-1)] + [chi(i - j) for j in range(q)] for i in range(q)]
    if m in (12, 20):
        return [[c[i][j] + (i == j) for j in range(m)] for i in range(m)]
    block, diagonal = [[1, 1], [1, -1]], [[1, -1], [-1, -1]]
    return [
        [diagonal[i % 2][j % 2] if i // 2 == j // 2 else c[i // 2][j // 2] * block[i % 2][j % 2] for j in range(m)]
        for i in range(m)
    ]


def paley_order(d):
    """m, or None if there is no Hadamard rotation."""
    return next((m for m in (1, 12, 20, 28, 36) if d % m == 0 and bin(d // m).count("1") == 1), None)


@functools.cache
def hadamard(d):
    m = paley_order(d)
    p = paley(m)
    return [[(-1) ** bin(i // m & j // m).count("1") * p[i % m][j % m] for j in range(d)] for i in range(d)]


def normal_matrix(d, state):
    words = splitmix64(state)

    def normal():
        u = ((next(words) >> 11) + 1) / 2**53
        v = (next(words) >> 11) / 2**53
        return math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)

    return [[normal() for _ in range(d)] for _ in range(d)]


def haar(d, seed):
    basis = []
    for row in normal_matrix(d, seed ^ 0x48616172):
        for other in basis:
            part = dot(row, other)
            row = [x - part * y for x, y in zip(row, other)]
        norm = math.hypot(*row)
        basis.append([x / norm for x in row])
    return basis


@functools.cache
def rotation_columns(rotation, d, seed):
    """The columns of M."""
    if rotation == "default":
        rotation = "haar" if paley_order(d) is None else "hadamard"
    if rotation == "haar":
        return [[math.sqrt(d) * x for x in column] for column in zip(*haar(d, seed))]
    words = splitmix64(seed)
    signs = [-1 if bit == "1" else 1 for _ in range(0, d, 64) for bit in f"{next(words):064b}"[::-1]]
    return [[sign * x for x in column] for sign, column in zip(signs, zip(*hadamard(d)))]


# 4. Decoding, 7. Trellis rows


def trellis_indices(u, n):
    # A negative index counts from the end, so all are modulo d.
    s0 = [u[t - 1] ^ u[t - 2] ^ u[t - 4] for t in range(len(u))]
    s1 = [u[t] ^ u[t - 5] ^ u[t - 6] for t in range(len(u))]
    return [4 * cell + 2 * high + low for cell, high, low in zip(n, s1, s0)]


def row_levels(name, d, row):
    """The fp16 numbers of a row, the level of each coordinate, and what planes are left: the signs of prod."""
    numbers, planes = split_row(name, d, row)
    widths = FORMATS[name][1]
    if name.endswith("t"):
        indices, rest = trellis_indices(planes[0], join_planes(planes[1:], widths[1:])), []
    else:
        count = len(planes) - name.endswith("-prod")
        indices, rest = join_planes(planes[:count], widths[:count]), planes[count:]
    return numbers, [levels(name)[i] for i in indices], rest


def second_stage(d, seed, residual_norm, sign_bits):
    g = [1 if bit else -1 for bit in sign_bits]
    factor = math.sqrt(math.pi / 2) / math.sqrt(d) * residual_norm
    return [factor * dot(column, g) for column in zip(*normal_matrix(d, seed ^ 0x514A4C53))]


def decode(name, d, rotation, seed, row):
    if name == "f16":
        return list(struct.unpack(f"<{d}e", row))
    (scale, *residual_norm), level, signs = row_levels(name, d, row)
    require(0 <= scale < math.inf, f"scale {scale}")
    rotated = [scale * c for c in level]
    if signs and scale > 0:
        rotated = [y + z for y, z in zip(rotated, second_stage(d, seed, *residual_norm, *signs))]
    return [dot(column, rotated) / d for column in rotation_columns(rotation, d, seed)]


# What is checked


def check_printed(what, text, numbers):
    """The numbers are those of the text, to half a unit in its last decimal."""
    printed = text.split(", ")
    decimals = max(len(number.partition(".")[2]) for number in printed)
    near = [abs(float(a) - b) <= 0.5001 * 10**-decimals for a, b in zip(printed, numbers)]
    require(len(printed) == len(numbers) and all(near), f"{what}: {text} printed, {numbers} found")


def check_levels():
    for bits in (1, 2, 3, 4):
        for printed, computed in zip(printed_levels(bits), lloyd_max(bits), strict=True):
            require(as_f32(printed) == as_f32(computed), f"level {printed} of {bits} bits should be {computed}")


def check_worked_examples():
    x = [1, 2, 3, 4, -1, -2, -3, -4]
    examples = re.findall(
        r"^(?:\*\*By hand\.\*\* )?`(\w+)`, d = 8, seed 0\b.*?```\n([0-9a-f |]+)\n```.*?Levels: ([-\d., ]+)\.\n"
        r".*?x' = \((.*?)\).*?relative squared error of ([\d.]*\d)",
        PAGE,
        re.DOTALL | re.MULTILINE,
    )
    require([example[0] for example in examples] == ["turbo3", "turbo2t"], "the worked examples of docs/format.md")
    for name, row, printed_level, printed_vector, printed_error in examples:
        row = bytes.fromhex(row.replace("|", ""))
        decoded = decode(name, 8, "hadamard", 0, row)
        check_printed(f"{name} by hand, levels", printed_level, row_levels(name, 8, row)[1])
        check_printed(f"{name} by hand, x'", printed_vector, decoded)
        check_printed(f"{name} by hand, error", printed_error, [relative_distance(decoded, x) ** 2])


def check_row(line, expected):
    """The distance from the library's numbers."""
    name, d, rotation, _scale, _effort, seed, vector, row = line.split()
    d = int(d)
    decoded = decode(name, d, rotation, int(seed), bytes.fromhex(row))
    require(len(expected) == d, f"{len(expected)} numbers expected")
    difference = relative_distance(expected, decoded)
    require(difference <= LARGEST_DIFFERENCE, f"the library's numbers differ by {difference:.3g}")
    x = [((word >> 40) - 2**23) / 2**20 for _, word in zip(range(d), splitmix64(int(vector)))]
    error = relative_distance(decoded, x) ** 2
    require(error <= ALLOWED_ERROR[name], f"its relative squared error is {error:.3g}")
    return difference


def main(rows_file, expected_file):
    rows = [line for line in pathlib.Path(rows_file).read_text().splitlines() if not line.startswith("#")]
    expected = [[float(number) for number in line.split()] for line in pathlib.Path(expected_file).open()]
    largest = 0.0
    at = "docs/format.md"
    try:
        check_levels()
        check_worked_examples()
        at = rows_file
        require(0 < len(rows) == len(expected), f"{len(rows)} rows, {len(expected)} expected")
        for at, numbers in zip(rows, expected):
            largest = max(largest, check_row(at, numbers))
    except Wrong as wrong:
        print(f"{at}\n{wrong}")
        return 1
    print(f"{len(rows)} rows decoded, largest difference {largest:.2g}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: second_decoder.py ROWS EXPECTED")
    sys.exit(main(*sys.argv[1:]))

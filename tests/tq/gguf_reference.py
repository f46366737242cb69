# SPDX-License-Identifier: MIT
"""Reads and writes GGUF files and decodes their blocks, in double precision: owes nothing to tools/tq."""
import struct

import numpy as np

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
F32, F16, Q4_0, Q8_0, Q4_K, Q5_K, Q6_K, BF16 = 0, 1, 2, 8, 12, 13, 14, 30
# Elements and bytes of a block.
BLOCKS = {F32: (1, 4), F16: (1, 2), Q4_0: (32, 18), Q8_0: (32, 34), Q4_K: (256, 144), Q5_K: (256, 176),
          Q6_K: (256, 210), BF16: (1, 2)}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, code):
        value, = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize(code)
        return value

    def string(self):
        size = self.number("Q")
        self.at += size
        return self.data[self.at - size:self.at]

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            element, count = self.number("I"), self.number("Q")
            return [self.value(element) for _ in range(count)]
        return self.number(SCALARS[kind])


def halves(raw):
    """f16 numbers, [n, 2 bytes] or [n, ...], as doubles."""
    return np.frombuffer(np.ascontiguousarray(raw).tobytes(), "<f2").astype(np.float64)


def bits(values, shift, count):
    return (values >> shift) & ((1 << count) - 1)


def six_bit_scales(packed):
    """[n, 12] bytes to scales and minima, [n, 8] each."""
    p = packed.astype(np.int64)
    scales, minima = [], []
    for group in range(8):
        if group < 4:
            scales.append(bits(p[:, group], 0, 6))
            minima.append(bits(p[:, group + 4], 0, 6))
        else:
            scales.append(bits(p[:, group + 4], 0, 4) + 16 * bits(p[:, group - 4], 6, 2))
            minima.append(bits(p[:, group + 4], 4, 4) + 16 * bits(p[:, group], 6, 2))
    return np.stack(scales, 1), np.stack(minima, 1)


def dequantise(kind, raw):
    """Blocks of bytes, [n, block_bytes], to numbers, flat."""
    if kind == F32:
        return np.frombuffer(raw.tobytes(), "<f4").astype(np.float64)
    if kind == F16:
        return halves(raw)
    if kind == BF16:
        wide = np.frombuffer(raw.tobytes(), "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).astype(np.float64)
    whole = raw.astype(np.int64)
    if kind == Q8_0:
        return (halves(raw[:, :2])[:, None] * raw[:, 2:].view(np.int8)).ravel()
    if kind == Q4_0:
        codes = np.concatenate([bits(whole[:, 2:], 0, 4), bits(whole[:, 2:], 4, 4)], 1)
        return (halves(raw[:, :2])[:, None] * (codes - 8)).ravel()
    if kind in (Q4_K, Q5_K):
        scales, minima = six_bit_scales(raw[:, 4:16])
        low = whole[:, -128:].reshape(-1, 4, 32)
        codes = np.stack([bits(low, 0, 4), bits(low, 4, 4)], 2).reshape(-1, 8, 32)
        if kind == Q5_K:
            codes = codes + 16 * np.stack([bits(whole[:, 16:48], group, 1) for group in range(8)], 1)
        d, m = halves(raw[:, :2]), halves(raw[:, 2:4])
        return ((d[:, None] * scales)[:, :, None] * codes - (m[:, None] * minima)[:, :, None]).ravel()
    if kind == Q6_K:
        low, high = whole[:, :128].reshape(-1, 2, 2, 32), whole[:, 128:192].reshape(-1, 2, 32)
        quarters = [bits(low[:, :, q % 2], 4 * (q // 2), 4) + 16 * bits(high, 2 * q, 2) for q in range(4)]
        codes = np.stack(quarters, 2).reshape(-1, 16, 16) - 32
        return (halves(raw[:, 208:])[:, None, None] * raw[:, 192:208].view(np.int8)[:, :, None] * codes).ravel()
    raise ValueError(f"type {kind}")


class Gguf:
    """Metadata as it is (texts are bytes), tensors as arrays of doubles, rows first."""

    def __init__(self, path):
        with open(path, "rb") as file:
            reader = Reader(file.read())
        assert reader.data[:4] == b"GGUF"
        reader.at = 8
        n_tensors, n_entries = reader.number("Q"), reader.number("Q")
        self.meta = {}
        for _ in range(n_entries):
            key = reader.string().decode()
            self.meta[key] = reader.value(reader.number("I"))
        table = []
        for _ in range(n_tensors):
            name = reader.string().decode()
            dims = [reader.number("Q") for _ in range(reader.number("I"))]
            table.append((name, dims, reader.number("I"), reader.number("Q")))
        alignment = self.meta.get("general.alignment", 32)
        begin = -(-reader.at // alignment) * alignment
        self.tensors = {}
        for name, dims, kind, offset in table:
            elements, size = BLOCKS[kind]
            n = int(np.prod(dims)) // elements
            raw = np.frombuffer(reader.data, np.uint8, n * size, begin + offset).reshape(n, size)
            self.tensors[name] = dequantise(kind, raw).reshape(dims[::-1])


def pack_string(text):
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def pack_value(value):
    if isinstance(value, str):
        return struct.pack("<I", 8) + pack_string(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    return struct.pack("<II", 4, value)


def write(path, meta, tensors):
    """tensors: name to (type, dims, bytes)."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta))
    out += b"".join(pack_string(key) + pack_value(value) for key, value in meta.items())
    offset, data = 0, b""
    for name, (kind, dims, raw) in tensors.items():
        out += pack_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
        padded = raw + bytes(-len(raw) % 32)
        offset += len(padded)
        data += padded
    with open(path, "wb") as file:
        file.write(out + bytes(-len(out) % 32) + data)


def random_blocks(rng, kind, n, size):
    """n elements of about `size`, as bytes of random blocks; every bit of a code occurs."""
    elements, block_bytes = BLOCKS[kind]
    blocks = n // elements
    if kind == F32:
        return rng.normal(0, size, n).astype("<f4").tobytes()
    if kind == F16:
        return rng.normal(0, size, n).astype("<f2").tobytes()
    if kind == BF16:
        return (rng.normal(0, size, n).astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    raw = rng.integers(0, 256, (blocks, block_bytes), np.uint8)

    def put(at, scale):
        raw[:, at:at + 2] = rng.uniform(0.5 * scale, scale, blocks).astype("<f2").view(np.uint8).reshape(-1, 2)

    if kind == Q6_K:
        put(208, size / 1300)
    elif kind in (Q4_K, Q5_K):
        put(0, size / (300 if kind == Q4_K else 600))
        put(2, size / 40)
    else:
        put(0, size / (5 if kind == Q4_0 else 75))
    return raw.tobytes()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The device's rows against the scalar backend's, byte for byte, and the encoders' speed.

    check_encode.py [--vectors N] [--dims 128,64] [--formats 14,13,...]"""
import argparse
import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import torch

from device import *


def scalar_rows(codec, x):
    x = x.cpu().contiguous()
    rows = torch.empty(x.shape[0], codec.row_bytes, dtype=torch.uint8)
    dtype = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}[x.dtype]
    parts = max(1, min(os.cpu_count(), x.shape[0] // 1000))
    size = (x.shape[0] + parts - 1) // parts

    def part(i):
        xs, rs = x[i * size : (i + 1) * size], rows[i * size : (i + 1) * size]
        if xs.shape[0]:
            check(harness.harness_encode(codec.fmt, codec.dim, P(xs.data_ptr()), dtype, ctypes.c_size_t(xs.shape[0]), P(rs.data_ptr())), "scalar")

    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(part, range(parts)))
    return rows


def odd_vectors(dim, n):
    x = torch.randn(n, dim)
    x[0] = 0
    x[1] = 1e-30
    x[2] = 1e25
    x[3], x[3, 0] = 0, 1
    x[4], x[4, 1::2] = 1, -1
    x[5] = 3e-24
    x[6] = 1e-8
    x[7] = 60000
    x[8, 3] = 1e4
    x[9] = x[9] * 1e-9
    x[10 : n // 2] *= torch.exp(torch.randn(n // 2 - 10, 1) * 8)
    x[n // 2 :] = torch.round(x[n // 2 :] * 2)  # Many ties.
    return x


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--vectors", type=int, default=1 << 20)
    p.add_argument("--dims", default="128")
    p.add_argument("--formats", default="14,13,12,11,18,34,33,32")
    args = p.parse_args()
    bad = 0
    for dim in (int(d) for d in args.dims.split(",")):
        for fmt in (int(f) for f in args.formats.split(",")):
            codec = Codec(fmt, dim)
            wrong, total = 0, 0
            for dtype, x in ((torch.float32, odd_vectors(dim, 20000)), (torch.float16, torch.randn(args.vectors, dim, device="cuda").half()), (torch.bfloat16, torch.randn(5001, dim, device="cuda").bfloat16())):
                x = x.to(dtype).cuda()
                rows = torch.full((x.shape[0], codec.row_bytes), 0xAB, dtype=torch.uint8, device="cuda")
                codec.encode(x, rows)
                torch.cuda.synchronize()
                if dtype == torch.float16:
                    a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                    a.record()
                    for _ in range(3):
                        codec.encode(x, rows)
                    b.record()
                    b.synchronize()
                    us = a.elapsed_time(b) * 1e3 / 3
                    speed = f"{x.shape[0] / us / 1e3:.3f} G vectors/s, {x.shape[0] * (2 * dim + codec.row_bytes) / us / 1e6:.2f} TB/s"
                differ = (rows.cpu() != scalar_rows(codec, x)).any(1)
                if differ.any():
                    print("  first", dtype, differ.nonzero()[:8].flatten().tolist())
                wrong, total = wrong + int(differ.sum()), total + x.shape[0]
            bad += wrong
            print(f"{'ok ' if wrong == 0 else 'BAD'} {fmt} dim {dim}: {wrong} of {total} rows differ; {speed}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

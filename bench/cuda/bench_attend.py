#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Decode attention on packed pages against fp16 attention, in one process: torch's cuDNN, flash and efficient kernels and
a split-KV kernel in Triton. CUDA graphs, methods in turn, medians; small problems walk through buffers larger than L2.

    bench_attend.py [--seconds N] [--dim 128] [--group 4] [--formats 14,13,12] [--sizes 1x4096,...] [--means 0,1]"""
import argparse
import ctypes
import json
import math
import os
import time

import torch
import triton
import triton.language as tl
from torch.nn.attention import SDPBackend, sdpa_kernel

from device import *

started = time.time()


@triton.jit
def split_kernel(Q, K, V, Part, ML, n_tokens, n_splits, scale, G: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    split, head = tl.program_id(0), tl.program_id(1)
    m_idx, d_idx, n_idx = tl.arange(0, 16), tl.arange(0, D), tl.arange(0, BN)
    q = tl.load(Q + (head * G + m_idx)[:, None] * D + d_idx[None, :], mask=(m_idx < G)[:, None], other=0.0)
    blocks = tl.cdiv(n_tokens, BN)
    first = blocks * split // n_splits
    last = blocks * (split + 1) // n_splits
    top = tl.full([16], -1e30, tl.float32)
    weight = tl.zeros([16], tl.float32)
    acc = tl.zeros([16, D], tl.float32)
    base = head.to(tl.int64) * n_tokens * D
    for block in range(first, last):
        at = base + (block * BN + n_idx)[:, None] * D + d_idx[None, :]
        seen = block * BN + n_idx < n_tokens
        k = tl.load(K + at, mask=seen[:, None], other=0.0)
        s = tl.where(seen[None, :], tl.dot(q, tl.trans(k)) * scale, -1e30)
        new = tl.maximum(top, tl.max(s, 1))
        p = tl.exp2(s - new[:, None])
        f = tl.exp2(top - new)
        weight = weight * f + tl.sum(p, 1)
        v = tl.load(V + at, mask=seen[:, None], other=0.0)
        acc = acc * f[:, None] + tl.dot(p.to(tl.float16), v)
        top = new
    slot = (head * G + m_idx) * n_splits + split
    tl.store(Part + slot[:, None] * D + d_idx[None, :], acc, mask=(m_idx < G)[:, None])
    tl.store(ML + slot * 2, top, mask=m_idx < G)
    tl.store(ML + slot * 2 + 1, weight, mask=m_idx < G)


@triton.jit
def join_kernel(Part, ML, Out, n_splits, NS: tl.constexpr, D: tl.constexpr):
    row = tl.program_id(0)
    s, d = tl.arange(0, NS), tl.arange(0, D)
    top = tl.load(ML + (row * n_splits + s) * 2, mask=s < n_splits, other=-1e30)
    weight = tl.load(ML + (row * n_splits + s) * 2 + 1, mask=s < n_splits, other=0.0)
    f = tl.exp2(top - tl.max(top, 0))
    o = tl.load(Part + (row * n_splits + s)[:, None] * D + d[None, :], mask=(s < n_splits)[:, None], other=0.0)
    tl.store(Out + row * D + d, (tl.sum(o * f[:, None], 0) / tl.sum(weight * f, 0)).to(tl.float16))


def capture(fn, n_buffers, repeats):
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for i in range(min(2, n_buffers)):
            fn(i)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(repeats):
            fn(i % n_buffers)
    return graph


def time_all(graphs, repeats, rounds=7):
    times = {name: [] for name in graphs}
    for r in range(rounds + 1):
        for name, graph in graphs.items():
            a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            a.record()
            graph.replay()
            b.record()
            b.synchronize()
            if r:
                times[name].append(a.elapsed_time(b) * 1e3 / repeats)
    return {n: sorted(t)[len(t) // 2] for n, t in times.items()}


def random_records(n, kf, vf, dim, means):
    size = record_bytes(kf, vf, dim, means, means)
    pages = torch.empty(n * size, dtype=torch.uint8, device="cuda")
    pages.view(torch.int64).random_()
    r = pages.view(n, size)
    words = 4 * padded(dim) * (kf % 10 + vf % 10)
    stage = words + 128 + (2 * dim if means else 0)
    for s in (0, 1):
        scale = torch.rand(n, 64, device="cuda").mul_(2).add_(1).half()
        if means:
            scale[torch.rand(n, 64, device="cuda") < 0.1] *= -1
        r[:, s * stage + words : s * stage + words + 128] = scale.view(torch.uint8).view(n, 128)
        if means:
            m = (torch.randn(n, dim, device="cuda") * 0.3).half()
            r[:, s * stage + words + 128 : (s + 1) * stage] = m.view(torch.uint8).view(n, 2 * dim)
    return pages


def packed_caller(f, dim, group, batch, heads, ctx, means, window, n_buffers, q, out, mul, only_loads, keep):
    codec = Codec(f, dim)
    pages_each = ctx // PAGE
    key = (f, means)
    if key not in keep:
        keep[key] = [random_records(batch * pages_each * heads, f, f, dim, means) for _ in range(n_buffers)]
    size = record_bytes(f, f, dim, means, means)
    exact = torch.randn(batch, window + 2, heads, 2, PAGE, dim, device="cuda").half()
    chunks = [(s, min(MOST_SEQS, batch - s)) for s in range(0, batch, MOST_SEQS)]
    calls, parts, tables = [], None, []
    for pages in keep[key]:
        table = torch.zeros(batch, pages_each + 1, 3, dtype=torch.int64)
        table[:, :pages_each, 0] = pages.data_ptr() + torch.randperm(batch * pages_each).view(batch, -1) * heads * size
        for s in range(batch):
            for i in range(window + 1):
                table[s, pages_each - i, 1] = exact[s, i].data_ptr()
        tables.append(table.cuda())
        call = []
        for first, n in chunks:
            a = base_args(codec, codec, n, heads, group, 1, means, means, dim**-0.5)
            for s in range(n):
                a.views[s].table = tables[-1][first + s].data_ptr()
                a.views[s].n_tokens, a.views[s].n_encoded = ctx + 1, ctx - PAGE * window
            set_io(a, q[first:], out[first:])
            a.only_loads = int(only_loads)
            splits = plan_splits(a, pages_each, n * pages_each * heads * size, torch.cuda.get_device_properties(0).multi_processor_count)
            a.n_splits = max(1, int(splits * mul))
            parts = torch.empty(partial_floats(a), device="cuda") if parts is None else parts
            a.partials = ptr(parts)
            call.append(a)
        calls.append(call)
    keep[(f, means, mul, only_loads, window)] = (tables, exact, parts, codec)
    return lambda i: [attend(a, f, f) for a in calls[i]]


def fp16_callers(dim, group, batch, heads, ctx, n_buffers, q16, keep):
    ks = [torch.randn(batch, heads, ctx, dim, device="cuda", dtype=torch.float16) for _ in range(n_buffers)]
    vs = [torch.randn(batch, heads, ctx, dim, device="cuda", dtype=torch.float16) for _ in range(n_buffers)]
    keep["fp16"] = (ks, vs)
    callers = {}

    def sdpa(backend, packed):
        qq = q16.view(batch, heads, group, dim) if packed else q16.view(batch, heads * group, 1, dim)

        def call(i):
            with sdpa_kernel(backend):
                torch.nn.functional.scaled_dot_product_attention(qq, ks[i], vs[i], enable_gqa=not packed)

        return call

    for name, backend in (("flash", SDPBackend.FLASH_ATTENTION), ("cudnn", SDPBackend.CUDNN_ATTENTION)):
        callers[name + " gqa"] = sdpa(backend, False)
        callers[name + " packed"] = sdpa(backend, True)
    callers["efficient packed"] = sdpa(SDPBackend.EFFICIENT_ATTENTION, True)
    wave = max(1, 528 // (batch * heads))
    out = torch.empty(batch * heads * group, dim, device="cuda", dtype=torch.float16)
    for bn, stages, warps, mul in ((64, 4, 4, 0.5), (128, 3, 8, 0.5), (128, 2, 4, 0.5), (128, 2, 4, 0.25), (64, 4, 4, 0.25)):
        splits = int(max(1, min(round(wave * mul), ctx // bn)))
        part = torch.empty(batch * heads * group * splits * dim, device="cuda")
        ml = torch.empty(batch * heads * group * splits * 2, device="cuda")

        def call(i, bn=bn, stages=stages, warps=warps, splits=splits, part=part, ml=ml):
            split_kernel[(splits, batch * heads)](q16, ks[i], vs[i], part, ml, ctx, splits, dim**-0.5 * 1.4426950408889634, G=group, BN=bn, D=dim, num_stages=stages, num_warps=warps)
            join_kernel[(batch * heads * group,)](part, ml, out, splits, NS=triton.next_power_of_2(splits), D=dim, num_warps=4)

        callers[f"triton {bn}/{stages}/{warps}/{mul}"] = call
    return callers


def bench(args, batch, ctx, results):
    heads, dim, group = args.heads, args.dim, args.group
    fp16_bytes = batch * heads * ctx * 4 * dim
    smallest = batch * heads * ctx * dim // 2
    n_buffers = max(1, min(40, math.ceil(120e6 / smallest)))
    repeats = max(n_buffers, 2 if fp16_bytes > 4e9 else 6)
    q = torch.randn(batch, heads * group, dim, device="cuda").half()
    out = torch.empty(batch, heads * group, dim, device="cuda")
    keep, graphs, sizes = {}, {}, {}

    def add(name, make, size):
        try:
            graphs[name] = capture(make, n_buffers, repeats)
            sizes[name] = size
        except Exception as error:  # A kernel that does not take the shape.
            torch.cuda.synchronize()
            print("  without", name, str(error).split("\n")[0][:80])

    keep["callers"] = fp16_callers(dim, group, batch, heads, ctx, n_buffers, q, keep)  # Graphs do not own their tensors.
    for name, call in keep["callers"].items():
        add("fp16 " + name, call, fp16_bytes)
    for f in args.formats:
        for means in args.means:
            size = batch * heads * ctx // PAGE * record_bytes(f, f, dim, means, means)
            for mul in args.splits:
                add(f"{NAMES[f]}{' means' if means else ''} x{mul}", packed_caller(f, dim, group, batch, heads, ctx, means, 0, n_buffers, q, out, mul, False, keep), size)
            if args.window:
                add(f"{NAMES[f]}{' means' if means else ''} window", packed_caller(f, dim, group, batch, heads, ctx, means, 1, n_buffers, q, out, 1, False, keep), size)
            if args.loads:
                add(f"{NAMES[f]}{' means' if means else ''} loads", packed_caller(f, dim, group, batch, heads, ctx, means, 0, n_buffers, q, out, 1, True, keep), size)
    times = time_all(graphs, repeats)
    base = min((t, n) for n, t in times.items() if n.startswith("fp16"))
    print(f"== {torch.cuda.get_device_name()} batch {batch} context {ctx} dim {dim} group {group}: best {base[1]} {base[0]:.1f} us {fp16_bytes / base[0] / 1e6:.2f} TB/s [{time.time() - started:.0f} s]")
    groups = {}
    for n, t in times.items():
        if not n.startswith("fp16"):
            groups.setdefault(n.rsplit(" ", 1)[0], []).append((t, n.rsplit(" ", 1)[1], sizes[n]))
    for n, rows in groups.items():
        best = min(r for r in rows if r[1][0] == "x")
        every = "  ".join(f"{label} {t:.1f}" for t, label, _ in rows)
        print(f"   {n:14s} {best[0]:8.1f} us {best[2] / best[0] / 1e6:5.2f} TB/s  {base[0] / best[0]:5.2f} x fp16  bytes {fp16_bytes / best[2]:.2f} x   ({every})", flush=True)
    results[f"{batch}x{ctx}"] = dict(times=times, sizes=sizes)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seconds", type=float, default=200)
    p.add_argument("--dim", type=int, default=128)
    p.add_argument("--group", type=int, default=4)
    p.add_argument("--heads", type=int, default=8)
    p.add_argument("--formats", default="14,13,12,34,33,32")
    p.add_argument("--means", default="0,1")
    p.add_argument("--splits", default="0.5,1,2")
    p.add_argument("--sizes", default="64x32768,8x32768,1x131072,64x4096,8x4096,1x32768,1x4096,32x32768,32x4096,8x131072,32x131072")
    p.add_argument("--window", type=int, default=1)
    p.add_argument("--loads", type=int, default=1)
    p.add_argument("--json")
    args = p.parse_args()
    args.formats = [int(f) for f in args.formats.split(",")]
    args.means = [bool(int(m)) for m in args.means.split(",")]
    args.splits = [float(m) for m in args.splits.split(",")]
    results = {}
    for size in args.sizes.split(","):
        if time.time() - started > args.seconds:
            print("stopped: out of time before", size)
            break
        batch, ctx = (int(x) for x in size.split("x"))
        bench(args, batch, ctx, results)
        torch.cuda.empty_cache()
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A chunk of a prompt behind a past that is in a packed cache, against fp16 flash attention on an fp16 cache:

    fp16      append the chunk to an fp16 buffer; flash attention of its queries over past and chunk
    packed    tq_cache_decode the past into an fp16 buffer, append the chunk to it; the same flash attention
    append    tq_cache_append the chunk, which nobody waits for before the next layer's or the next chunk's turn
    forward   tq_cache_forward: attention on packed pages, step by step, as the cache promises it

Methods in turn, medians, events, microseconds. What comes out is checked beside each timing.

    bench_prefill.py [--dim 128] [--formats 14,34,13,12] [--past 2048,8192,32768] [--chunks 512,2048,8192] [--effort 1]"""
import argparse
import json

import torch

from device import *

harness.harness_seq_open.restype = P
N = ctypes.c_size_t


def flash(q, k, v):
    """q [n, heads, dim], k and v [m, heads, dim]: the last n of m tokens attend, causal."""
    out = torch.ops.aten._scaled_dot_product_flash_attention(
        q.transpose(0, 1)[None], k.transpose(0, 1)[None], v.transpose(0, 1)[None], 0.0, True, False)[0]
    return out[0].transpose(0, 1)


def best_flash(q, k, v, group):
    """Flash attention that reads a group's keys once, if this torch has it; else from copies for each query head."""
    try:
        flash(q, k, v)
        return flash, "GQA"
    except RuntimeError:
        return (lambda a, b, c: flash(a, b.repeat_interleave(group, 1), c.repeat_interleave(group, 1))), "copies"


def reference(q, k, v, group):
    """Four queries in double precision."""
    n, m = q.shape[0], k.shape[0]
    outs = []
    for i in (0, n // 3, n // 2, n - 1):
        seen = m - n + i + 1
        kk = k[:seen].double().repeat_interleave(group, 1)
        s = torch.einsum("hd,mhd->hm", q[i].double(), kk) / q.shape[2] ** 0.5
        outs.append(torch.einsum("hm,mhd->hd", s.softmax(1), v[:seen].double().repeat_interleave(group, 1)))
    return torch.stack(outs), [0, n // 3, n // 2, n - 1]


def time_in_turn(steps, before, rounds):
    """Medians in microseconds; before() runs before each and is not timed."""
    times = {name: [] for name in steps}
    for r in range(rounds + 2):
        for name, step in steps.items():
            before()
            torch.cuda.synchronize()
            a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            a.record()
            step()
            b.record()
            b.synchronize()
            if r >= 2:
                times[name].append(a.elapsed_time(b) * 1e3)
    return {name: sorted(t)[len(t) // 2] for name, t in times.items()}


def measure(fmt, past, chunk, dim, heads, group, rounds, effort):
    stream = P(torch.cuda.current_stream().cuda_stream)
    new = lambda n, h: torch.randn(n, h, dim, device="cuda", dtype=torch.float16)
    k, v, q = new(past + chunk, heads), new(past + chunk, heads), new(chunk, heads * group)
    buffer_k, buffer_v = torch.empty_like(k), torch.empty_like(v)
    f16_k, f16_v = k.clone(), v.clone()
    out = torch.empty(chunk, heads * group, dim, device="cuda")
    attend, how = best_flash(q, k, v, group)
    seq = P(harness.harness_seq_open(fmt, fmt, heads, dim, effort))
    check(harness.harness_forward(seq, P(k.data_ptr()), P(v.data_ptr()), N(past), None, heads * group, None, stream), "append")
    chunk_k, chunk_v = k[past:].contiguous(), v[past:].contiguous()
    results = {}

    def truncate():
        check(harness.harness_truncate(seq, N(past)), "truncate")

    def fp16():
        f16_k[past:] = chunk_k
        f16_v[past:] = chunk_v
        results["fp16"] = attend(q, f16_k, f16_v)

    def decode():
        check(harness.harness_decode(seq, N(past), P(buffer_k.data_ptr()), P(buffer_v.data_ptr()), stream), "decode")

    def append():
        check(harness.harness_forward(seq, P(chunk_k.data_ptr()), P(chunk_v.data_ptr()), N(chunk), None, heads * group, None, stream), "append")

    def packed():
        decode()
        buffer_k[past:] = chunk_k
        buffer_v[past:] = chunk_v
        results["packed"] = attend(q, buffer_k, buffer_v)

    def direct():
        check(harness.harness_forward(seq, P(chunk_k.data_ptr()), P(chunk_v.data_ptr()), N(chunk), P(q.data_ptr()), heads * group, P(out.data_ptr()), stream), "forward")

    steps = {"fp16": fp16, "packed": packed, "decode": decode, "append": append}
    if chunk <= 2048 and past <= 8192:
        steps["forward"] = direct
    times = time_in_turn(steps, truncate, rounds)
    expected, rows = reference(q, buffer_k, buffer_v, group)
    error = relative(results["packed"][rows], expected)
    decoded = relative(buffer_k[: past - 128], k[: past - 128].double())
    harness.harness_seq_close(seq)
    assert error < 2e-3, error
    return times, error, decoded, how


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--group", type=int, default=4)
    parser.add_argument("--formats", default="14,34,13,12")
    parser.add_argument("--past", default="2048,8192,32768")
    parser.add_argument("--chunks", default="512,2048,8192")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--effort", type=int, default=0, help="of the encoder, as tq_effort; 0: the default")
    args = parser.parse_args()
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    print(f"{'format':8} {'past':>6} {'chunk':>6} {'fp16 us':>9} {'packed us':>9} {'ratio':>6} {'+append':>7} {'decode':>8} {'append':>8} {'forward':>9} {'error':>8}")
    rows = []
    for fmt in map(int, args.formats.split(",")):
        for past in map(int, args.past.split(",")):
            for chunk in map(int, args.chunks.split(",")):
                times, error, decoded, how = measure(fmt, past, chunk, args.dim, args.heads, args.group, args.rounds, args.effort)
                rows.append({"format": NAMES[fmt], "past": past, "chunk": chunk, "error": error, "decoded": decoded, "flash": how, **times})
                print(f"{NAMES[fmt]:8} {past:6} {chunk:6} {times['fp16']:9.0f} {times['packed']:9.0f} {times['fp16'] / times['packed']:6.2f} "
                      f"{times['fp16'] / (times['packed'] + times['append']):7.2f} "
                      f"{times['decode']:8.0f} {times['append']:8.0f} {times.get('forward', float('nan')):9.0f} {error:8.1e} {decoded:.3f} {how}", flush=True)
    print("RESULT", json.dumps(rows))


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Attention kernels against float64 attention over the decoded cache, on random rows. Exits 1 if anything is off.

The limit is 5e-4 of the output's norm. Turbo2's levels are one byte each, 2.3e-4 off: where scores are large, its limit
is three times that."""
import ctypes
import random
import sys

import torch

from device import *

LIMIT = 5e-4
failed = []


def random_rows(codec, n, means, spread):
    rows = torch.randint(0, 256, (n, codec.row_bytes), dtype=torch.uint8, device="cuda")
    scale = (torch.exp(torch.randn(n, device="cuda") * spread) * codec.dim**0.5).half()
    bits = scale.view(torch.int16)
    if means:
        bits = torch.where(torch.rand(n, device="cuda") < 0.2, bits | -32768, bits)
    rows[:, :2] = bits.contiguous().view(torch.uint8).view(n, 2)
    return rows, scale.double()


class Case:
    """One layer of sequences of different lengths, pages in random places."""

    def __init__(self, kf, vf, dim, heads, group, lengths, n_q=1, window=1, sinks=0, means=True, spread=0.3):
        self.kc, self.vc = Codec(kf, dim), Codec(vf, dim)
        self.dim, self.heads, self.group, self.lengths, self.n_q = dim, heads, group, lengths, n_q
        self.window, self.sinks, self.means = window, sinks, means
        n, most = len(lengths), max(lengths)
        self.pages_of = [max(0, (l - 1) // PAGE - window) for l in lengths]
        total = sum(self.pages_of)
        n_rec = max(total, 1) * heads
        self.k_rows, _ = random_rows(self.kc, n_rec * PAGE, means, spread)
        self.v_rows, _ = random_rows(self.vc, n_rec * PAGE, means, spread)
        self.k_means = (torch.randn(n_rec, dim, device="cuda") * 0.3 * dim**0.5).half() if means else None
        self.v_means = (torch.randn(n_rec, dim, device="cuda") * 0.3 * dim**0.5).half() if means else None
        places = torch.randperm(max(total, 1) + 3)[: max(total, 1)]
        record_of = (places[:, None] * heads + torch.arange(heads)[None, :]).reshape(-1).int().cuda()
        size = record_bytes(kf, vf, dim, means, means)
        self.pages = torch.full(((max(total, 1) + 3) * heads * size,), 0xAB, dtype=torch.uint8, device="cuda")
        for values, codec, rows, mean in ((0, self.kc, self.k_rows, self.k_means), (1, self.vc, self.v_rows, self.v_means)):
            place = place_of(self.kc, self.vc, means, means, values)
            a = RowsArgs(codec.fmt, dim, place, ptr(rows), ptr(mean), ptr(self.pages), ptr(record_of))
            launch(dim, "tq_rows_to_records", False, (n_rec, 1, 1), a)
        for values, codec, rows, mean in ((0, self.kc, self.k_rows, self.k_means), (1, self.vc, self.v_rows, self.v_means)):
            back, back_mean = torch.zeros_like(rows), torch.zeros_like(mean) if means else None
            place = place_of(self.kc, self.vc, means, means, values)
            a = RowsArgs(codec.fmt, dim, place, ptr(back), ptr(back_mean), ptr(self.pages), ptr(record_of))
            launch(dim, "tq_records_to_rows", False, (n_rec, 1, 1), a)
            if not torch.equal(rows, back) or (means and not torch.equal(mean, back_mean)):
                failed.append(f"rows changed on the way through records: {kf} {vf} {dim}")
        slots = window + 2
        self.exact = torch.randn(n * slots, heads, 2, PAGE, dim, device="cuda").half()
        self.sink_pool = torch.randn(n, heads, 2, max(sinks, 1), dim, device="cuda").half() if sinks else None
        self.table = torch.zeros(n, most // PAGE + 1, 3, dtype=torch.int64)
        self.slot_of = torch.zeros(n, most // PAGE + 1, dtype=torch.int64)
        at = 0
        for s, count in enumerate(self.pages_of):
            self.table[s, :count, 0] = ptr(self.pages) + places[at : at + count] * heads * size
            at += count
            for i in range(count, (lengths[s] + PAGE - 1) // PAGE):
                self.slot_of[s, i] = s * slots + (i - count)
                self.table[s, i, 1] = self.exact[self.slot_of[s, i]].data_ptr()
        self.table = self.table.cuda()

    def vectors(self, s, h):
        """All keys and values of one head, float64, as attention sees them."""
        l, pages = self.lengths[s], self.pages_of[s]
        first = sum(self.pages_of[:s])
        sides = []
        for values, codec, rows, means in ((0, self.kc, self.k_rows, self.k_means), (1, self.vc, self.v_rows, self.v_means)):
            idx = ((first + torch.arange(pages, device="cuda")) * self.heads + h) if pages else torch.zeros(0, dtype=torch.long, device="cuda")
            r = rows.view(-1, PAGE, codec.row_bytes)[idx].reshape(-1, codec.row_bytes)
            y = codec.levels(r) if pages else torch.zeros(0, self.dim, dtype=torch.float64, device="cuda")
            if self.means and pages:
                centred = (r[:, 1] & 0x80) == 0
                y = y + centred[:, None] * means[idx].double().repeat_interleave(PAGE, 0)
            x = y @ codec.matrix / self.dim
            if self.sinks and pages:
                x[: self.sinks] = self.sink_pool[s, h, values, : self.sinks].double()
            tail = []
            for i in range(pages, (l + PAGE - 1) // PAGE):
                tail.append(self.exact[self.slot_of[s, i], h, values].double())
            sides.append(torch.cat([x] + tail)[:l])
        return sides

    def args(self, q, out):
        a = base_args(self.kc, self.vc, len(self.lengths), self.heads, self.group, self.n_q, self.means, self.means, self.dim**-0.5)
        a.sink_tokens = self.sinks
        for s, length in enumerate(self.lengths):
            a.views[s].table = self.table[s].data_ptr()
            a.views[s].sinks = self.sink_pool[s].data_ptr() if self.sinks else None
            a.views[s].n_tokens, a.views[s].n_encoded = length, PAGE * self.pages_of[s]
        set_io(a, q, out)
        return a

    def reference(self, q, cap, window, logits):
        out = torch.zeros(q.shape, dtype=torch.float64, device="cuda")
        lse = torch.zeros(q.shape[:2], dtype=torch.float64, device="cuda")
        for s, l in enumerate(self.lengths):
            for h in range(self.heads):
                k, v = self.vectors(s, h)
                rows, heads = slice(s * self.n_q, (s + 1) * self.n_q), slice(h * self.group, (h + 1) * self.group)
                score = torch.einsum("tgd,nd->tgn", q[rows, heads].double(), k) * self.dim**-0.5
                if cap:
                    score = cap * torch.tanh(score / cap)
                pos = l - self.n_q + torch.arange(self.n_q, device="cuda")
                tok = torch.arange(l, device="cuda")
                hidden = tok[None] > pos[:, None]
                if window:
                    hidden |= tok[None] <= pos[:, None] - window
                score.masked_fill_(hidden[:, None, :], float("-inf"))
                if logits is not None:
                    score = torch.cat([score, logits[heads].double()[None, :, None].expand(self.n_q, -1, 1)], 2)
                    v = torch.cat([v, torch.zeros_like(v[:1])])
                lse[rows, heads] = torch.logsumexp(score, 2)
                out[rows, heads] = torch.softmax(score, 2) @ v
        return out, lse


def run(case, peak=1.0, cap=0.0, window=0, use_logits=False, dtype=torch.float16, splits=(1, 3, 16), exact_splits=(1,), name=""):
    n, hq = len(case.lengths) * case.n_q, case.heads * case.group
    q = (torch.randn(n, hq, case.dim, device="cuda") * peak).to(dtype)
    logits = torch.randn(hq, device="cuda") * 3 if use_logits else None
    ref, ref_lse = case.reference(q, cap, window, logits)
    worst, worst_lse = 0.0, 0.0
    for ns in splits:
        for ex in exact_splits:
            out = torch.full((n, hq, case.dim), float("nan"), device="cuda")
            lse = torch.full((n, hq), float("nan"), device="cuda")
            a = case.args(q, out)
            a.soft_cap, a.sliding_window, a.n_splits, a.exact_splits = cap, window, ns, ex
            a.lse, a.sink_logits = ptr(lse), ptr(logits)
            part = torch.full((partial_floats(a),), float("nan"), device="cuda")
            a.partials = ptr(part)
            attend(a, case.kc.fmt, case.vc.fmt)
            torch.cuda.synchronize()
            e = relative(out, ref)
            worst = e if not e <= worst else worst
            d = (lse.double() - ref_lse).abs().max().item()
            worst_lse = d if not d <= worst_lse else worst_lse
    limit = LIMIT * (3 if case.kc.fmt == 12 and peak > 1 else 1)
    lse_limit = 1e-3 + (3e-4 if case.kc.fmt == 12 else 5e-5) * ref_lse.abs().max().item()
    ok = worst <= limit and worst_lse <= lse_limit
    label = f"{NAMES[case.kc.fmt]}/{NAMES[case.vc.fmt]} d{case.dim} G{case.group} T{case.n_q} {name}"
    print(f"{'ok ' if ok else 'BAD'} {label:44s} error {worst:.2e}  lse {worst_lse:.1e}", flush=True)
    if not ok:
        failed.append(label)


def main():
    dims = [int(d) for d in sys.argv[1:]] or [128]
    torch.manual_seed(random.randrange(1 << 30))
    for dim in dims:
        for f in (14, 13, 12, 34, 33, 32):
            run(Case(f, f, dim, 2, 4, [1500, 777, 64, 1, 3000]), name="means")
            run(Case(f, f, dim, 2, 4, [4500, 900], means=False, spread=0.5), peak=3, name="no means, peaky")
    dim = dims[0]
    for f in (14, 33):
        for group, n_q in ((1, 1), (2, 1), (8, 1), (16, 1), (4, 3), (1, 8), (5, 1)):
            run(Case(f, f, dim, 2, group, [1500, 130], n_q=n_q, window=1), name="")
        run(Case(f, f, dim, 2, 4, [2000, 300], window=2, sinks=4), name="sinks")
        run(Case(f, f, dim, 2, 4, [2000, 300], sinks=20), cap=5.0, name="sinks, cap")
        run(Case(f, f, dim, 2, 4, [2000, 300], n_q=2, sinks=0), window=700, name="sliding window")
        run(Case(f, f, dim, 2, 4, [2000, 300]), use_logits=True, dtype=torch.float32, exact_splits=(1, 3), name="sink logits, f32")
        run(Case(f, f, dim, 2, 4, [2000, 300]), dtype=torch.bfloat16, name="bf16")
        run(Case(f, f, dim, 2, 4, [2000, 300], means=False), peak=0.0, name="flat")
    print("FAILED: " + "; ".join(failed) if failed else "ALL OK")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

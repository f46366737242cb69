# SPDX-License-Identifier: MIT
"""The kernels of src/kernels/cuda through ctypes, on torch tensors; used by check_attend.py and bench_attend.py."""
import ctypes
import math
import os

import torch

FOLDER = os.environ.get("TQ_CUDA_BUILD", os.path.join(os.path.dirname(os.path.abspath(__file__)), "build"))
kernels = ctypes.CDLL(os.path.join(FOLDER, "libtq_cuda.so"))
harness = ctypes.CDLL(os.path.join(FOLDER, "libtq_harness.so"))

P, I, L, F = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float
NAMES = {11: "turbo1", 12: "turbo2", 13: "turbo3", 14: "turbo4", 18: "turbo8", 32: "turbo2t", 33: "turbo3t", 34: "turbo4t"}


class Rotation(ctypes.Structure):
    _fields_ = [("signs", P), ("paley", P)]


class Table(ctypes.Structure):
    _fields_ = [("t", ctypes.c_uint32 * 8), ("step", F)]


class AttendArgs(ctypes.Structure):
    _fields_ = (
        [(n, I) for n in "n_seqs n_kv_heads group n_q_tokens dim k_format v_format k_mean v_mean".split()]
        + [(n, I) for n in "window_pages sink_tokens sliding_window".split()]
        + [("scale", F), ("soft_cap", F), ("n_tokens", P), ("encoded_at_least", P), ("pages", P), ("page_table", P)]
        + [("page_table_stride", L), ("exact", P), ("exact_table", P), ("exact_table_stride", L), ("exact_slots", I)]
        + [("sinks", P), ("k_rotation", Rotation), ("v_rotation", Rotation), ("k_table", Table), ("v_table", Table)]
        + [("q", P), ("q_dtype", I), ("q_token_stride", L), ("q_head_stride", L), ("out", P), ("out_token_stride", L)]
        + [("out_head_stride", L), ("lse", P), ("sink_logits", P), ("partials", P), ("n_splits", I)]
        + [("exact_splits", I), ("only_loads", I), ("stream", P)]
    )


class PagesArgs(ctypes.Structure):
    _fields_ = [(n, I) for n in "n_records dim k_format v_format".split()] + [
        (n, P) for n in "k_rows v_rows k_means v_means pages record_of stream".split()
    ]


class EncodeArgs(ctypes.Structure):
    _fields_ = (
        [("n", L)]
        + [(n, I) for n in "dim format dtype scale_mode n_gains".split()]
        + [("x", P), ("rows", P), ("rotation", Rotation), ("centroids", P), ("thresholds", P), ("gains", F * 9)]
        + [("step", F), ("k", ctypes.c_int8 * 32), ("target", ctypes.c_int16 * 32), ("stream", P)]
    )


kernels.tq_cuda_partial_floats.restype = L
kernels.tq_cuda_plan_splits.argtypes = [P, L, I]


def ptr(t):
    return None if t is None else t.data_ptr()


def stream():
    return torch.cuda.current_stream().cuda_stream


def check(status, what):
    assert status == 0, (what, status)


def padded(dim):
    return (dim + 31) // 32 * 32


class Codec:
    """A format of one dim: tables for kernels, and the scalar backend for references."""

    def __init__(self, fmt, dim):
        self.fmt, self.dim = fmt, dim
        self.row_bytes = harness.harness_row_bytes(fmt, dim)
        self.table = Table()
        signs, paley = torch.zeros(dim), torch.zeros(36 * 36)
        harness.harness_tables(fmt, dim, ctypes.byref(self.table), P(signs.data_ptr()), P(paley.data_ptr()))
        m = next(m for m in (1, 12, 20, 28, 36) if dim % m == 0 and dim // m & (dim // m - 1) == 0)
        h = paley[: m * m].view(m, m).double() if m > 1 else torch.ones(1, 1, dtype=torch.float64)
        while h.shape[0] < dim:  # Sylvester's matrix times Paley's.
            h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)], 0)
        self.matrix = (h * signs.double()[None, :]).cuda()  # M = H D
        self.signs, self.paley = signs.cuda(), paley.cuda()
        self.rotation = Rotation(ptr(self.signs), ptr(self.paley) if m > 1 else None)

    def levels(self, rows, device):
        """[n, dim] rotated vectors of rows, as the scalar backend decodes them, or with the device's levels."""
        rows = rows.cpu().contiguous()
        y = torch.empty(rows.shape[0], self.dim)
        harness.harness_levels(self.fmt, self.dim, P(rows.data_ptr()), ctypes.c_size_t(rows.shape[0]), int(device), P(y.data_ptr()))
        return y.double().cuda()


def record_bytes(kf, vf, dim, k_mean, v_mean):
    words = 4 * padded(dim) * (kf % 10 + vf % 10)
    return 2 * (words + 128) + 2 * dim * (bool(k_mean) + bool(v_mean))


def base_args(kc, vc, n_seqs, heads, group, n_q, k_mean, v_mean, scale):
    a = AttendArgs()
    a.n_seqs, a.n_kv_heads, a.group, a.n_q_tokens, a.dim = n_seqs, heads, group, n_q, kc.dim
    a.k_format, a.v_format, a.k_mean, a.v_mean = kc.fmt, vc.fmt, int(k_mean), int(v_mean)
    a.scale, a.exact_splits = scale, 1
    a.k_rotation, a.v_rotation, a.k_table, a.v_table = kc.rotation, vc.rotation, kc.table, vc.table
    return a


def set_io(a, q, out):
    """q, out: [tokens, heads, dim]."""
    a.q, a.q_dtype = ptr(q), {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}[q.dtype]
    a.q_token_stride, a.q_head_stride = q.stride(0), q.stride(1)
    a.out, a.out_token_stride, a.out_head_stride = ptr(out), out.stride(0), out.stride(1)


def attend(a):
    a.stream = stream()
    check(kernels.tq_cuda_attend(ctypes.byref(a)), "attend")


def relative(x, reference):
    return ((x.double() - reference).norm() / reference.norm()).item()


def round_up(n, m):
    return math.ceil(n / m) * m

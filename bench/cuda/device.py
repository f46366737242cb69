# SPDX-License-Identifier: MIT
"""The kernels of src/kernels/cuda through ctypes, on torch tensors; used by the other programs of this folder."""
import ctypes
import math
import os

import torch

torch.zeros(1, device="cuda")  # The device's primary context, which the backend shares.
FOLDER = os.environ.get("TQ_CUDA_BUILD", os.path.join(os.path.dirname(os.path.abspath(__file__)), "build"))
harness = ctypes.CDLL(os.path.join(FOLDER, "libtq_harness.so"))

P, I, L, F = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float
NAMES = {11: "turbo1", 12: "turbo2", 13: "turbo3", 14: "turbo4", 18: "turbo8", 32: "turbo2t", 33: "turbo3t", 34: "turbo4t"}
MOST_SEQS = 64
PAGE = 64


class Rotation(ctypes.Structure):
    _fields_ = [("signs", P), ("paley", P)]


class Table(ctypes.Structure):
    _fields_ = [("t", ctypes.c_uint32 * 8), ("step", F)]


class View(ctypes.Structure):
    _fields_ = [("table", P), ("sinks", P), ("n_tokens", ctypes.c_int32), ("n_encoded", ctypes.c_int32)]


class AttendArgs(ctypes.Structure):
    _fields_ = (
        [(n, I) for n in "n_seqs n_kv_heads group n_q_tokens dim_v k_mean v_mean sink_tokens sliding_window".split()]
        + [("scale", F), ("soft_cap", F), ("n_splits", I), ("exact_splits", I), ("only_loads", I), ("q_dtype", I), ("q_rotated", I), ("out_rotated", I)]
        + [("k_rotation", Rotation), ("v_rotation", Rotation), ("k_table", Table), ("v_table", Table), ("q", P)]
        + [("q_token_stride", L), ("q_head_stride", L), ("out", P), ("out_token_stride", L), ("out_head_stride", L)]
        + [("lse", P), ("sink_logits", P), ("partials", P), ("all_exact", I), ("dim_k", I), ("levels", P * 16), ("views", View * MOST_SEQS)]
    )


class Code(ctypes.Structure):
    _fields_ = (
        [("scale_mode", I), ("n_gains", I), ("centroids", P), ("thresholds", P), ("levels", P), ("gains", F * 9), ("step", F)]
        + [("k", ctypes.c_int8 * 32), ("target", ctypes.c_int16 * 32), ("rotation", Rotation)]
    )


class EncodeArgs(ctypes.Structure):
    _fields_ = [("n", L), ("dtype", I), ("x", P), ("rows", P), ("code", Code)]


class Place(ctypes.Structure):
    _fields_ = [(n, I) for n in "words scales mean stage_bytes record_bytes values".split()]


class RowsArgs(ctypes.Structure):
    _fields_ = [("format", I), ("dim", I), ("place", Place), ("rows", P), ("means", P), ("records", P), ("at", P)]


def ptr(t):
    return None if t is None else t.data_ptr()


def check(status, what):
    assert status == 0, (what, status)


def launch(dim, name, shared, grid, args, overlap=False):
    stream = torch.cuda.current_stream().cuda_stream
    check(harness.harness_launch(dim, name.encode(), int(shared), (ctypes.c_uint * 3)(*grid), P(stream), ctypes.byref(args), int(overlap)), name)


def padded(dim):
    return (dim + 31) // 32 * 32


class Codec:
    """A format of one dim: tables for kernels, and the scalar backend for references."""

    def __init__(self, fmt, dim):
        self.fmt, self.dim = fmt, dim
        self.row_bytes = harness.harness_row_bytes(fmt, dim)
        self.table, self.code = Table(), Code()
        signs, paley, centroids, thresholds = torch.zeros(dim), torch.zeros(36 * 36), torch.zeros(256), torch.zeros(256)
        harness.harness_tables(fmt, dim, ctypes.byref(self.table), ctypes.byref(self.code), *[P(t.data_ptr()) for t in (signs, paley, centroids, thresholds)])
        m = next(m for m in (1, 12, 20, 28, 36) if dim % m == 0 and dim // m & (dim // m - 1) == 0)
        h = paley[: m * m].view(m, m).double() if m > 1 else torch.ones(1, 1, dtype=torch.float64)
        while h.shape[0] < dim:  # Sylvester's matrix times Paley's.
            h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)], 0)
        self.matrix = (h * signs.double()[None, :]).cuda()  # M = H D
        self.keep = [t.cuda() for t in (signs, paley, centroids, thresholds)]
        self.rotation = Rotation(ptr(self.keep[0]), ptr(self.keep[1]) if m > 1 else None)
        self.code.rotation, self.code.centroids, self.code.thresholds = self.rotation, ptr(self.keep[2]), ptr(self.keep[3])

    def levels(self, rows):
        """[n, dim] rotated vectors of rows, as the scalar backend decodes them."""
        rows = rows.cpu().contiguous()
        y = torch.empty(rows.shape[0], self.dim)
        harness.harness_levels(self.fmt, self.dim, P(rows.data_ptr()), ctypes.c_size_t(rows.shape[0]), P(y.data_ptr()))
        return y.double().cuda()

    def encode(self, x, rows):
        dtype = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}[x.dtype]
        a = EncodeArgs(x.shape[0], dtype, ptr(x), ptr(rows), self.code)
        launch(self.dim, f"tq_encode_{self.fmt}", True, (min((x.shape[0] + 15) // 16, 132 * 64), 1, 1), a)


def record_bytes(kf, vf, dim, k_mean, v_mean):
    words = 4 * padded(dim) * (kf % 10 + vf % 10)
    return 2 * (words + 128) + 2 * dim * (bool(k_mean) + bool(v_mean))


def place_of(kc, vc, k_mean, v_mean, values):
    place = Place()
    harness.harness_place(kc.fmt, vc.fmt, kc.dim, int(k_mean), int(v_mean), int(values), ctypes.byref(place))
    return place


def base_args(kc, vc, n_seqs, heads, group, n_q, k_mean, v_mean, scale):
    a = AttendArgs()
    a.n_seqs, a.n_kv_heads, a.group, a.n_q_tokens, a.dim_k, a.dim_v = n_seqs, heads, group, n_q, kc.dim, vc.dim
    a.k_mean, a.v_mean, a.scale, a.exact_splits = int(k_mean), int(v_mean), scale, 1
    a.k_rotation, a.v_rotation, a.k_table, a.v_table = kc.rotation, vc.rotation, kc.table, vc.table
    return a


def set_io(a, q, out):
    """q, out: [tokens, heads, dim]."""
    a.q, a.q_dtype = ptr(q), {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}[q.dtype]
    a.q_token_stride, a.q_head_stride = q.stride(0), q.stride(1)
    a.out, a.out_token_stride, a.out_head_stride = ptr(out), out.stride(0), out.stride(1)


def plan_splits(a, pages, bytes_of_all, n_sms=132):
    """As src/cuda/attention.c does."""
    rows = a.n_q_tokens * a.group
    tracks = a.n_seqs * a.n_kv_heads * (1 if rows <= 4 else (rows + 7) // 8)
    wave = 4 * n_sms // tracks
    wanted = wave // 2 if bytes_of_all < 40 << 20 else 2 * wave if bytes_of_all > 400 << 20 else wave
    return max(1, min(max(wanted, (pages + 1023) // 1024), (pages + 3) // 4))


def partial_floats(a):
    return a.n_seqs * a.n_kv_heads * a.n_q_tokens * a.group * (a.exact_splits + a.n_splits) * (a.dim_v + 2)


def attend(a, kf, vf):
    rows = a.n_q_tokens * a.group
    tiles = 1 if rows <= 4 else 2
    tracks = a.n_seqs * a.n_kv_heads
    grid = (tracks, a.exact_splits + a.n_splits, (rows + 4 * tiles - 1) // (4 * tiles))
    launch(a.dim_v, f"tq_attend_{kf}_{vf}_{tiles}", True, grid, a)
    launch(a.dim_v, "tq_merge", False, (tracks * rows, 1, 1), a, overlap=True)


def relative(x, reference):
    return ((x.double() - reference).norm() / reference.norm()).item()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The forward pass of llama, qwen2 and qwen3 in double precision, to check the engine of tools/tq with.

    model_reference.py golden MODEL        prints logits of a model for a fixed text: tests/tq/logits_*.txt
    model_reference.py perplexity MODEL TEXT
                                           prints the perplexity of the first 2048 predictions in a text
    model_reference.py tiny FOLDER         writes small random models of every architecture and tensor type, their
                                           logits, and blocks.gguf: random blocks and what they decode to
"""
import sys

import numpy as np

import gguf_reference as gguf
from tokenizer_reference import Tokenizer

TEXT = "The printf() function returns the number of bytes written.\n\nThe access code for Lisbon is 48213.\n"


def rms_norm(x, weight, epsilon):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def rope(x, positions, frequencies, interleaved):
    """x: [token, head, head_dim]"""
    half = len(frequencies)
    angles = positions[:, None, None] * frequencies
    cos, sin = np.cos(angles), np.sin(angles)
    a, b = (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if interleaved else (slice(0, half), slice(half, 2 * half))
    out = x.copy()
    out[..., a] = x[..., a] * cos - x[..., b] * sin
    out[..., b] = x[..., a] * sin + x[..., b] * cos
    return out


class Model:
    def __init__(self, path):
        file = gguf.Gguf(path)
        self.file, self.tensors = file, file.tensors
        self.architecture = file.meta["general.architecture"].decode()
        meta = {key.split(".", 1)[1]: value for key, value in file.meta.items()
                if key.startswith(self.architecture + ".")}
        width = meta["embedding_length"]
        self.layers, self.heads = meta["block_count"], meta["attention.head_count"]
        self.kv_heads = meta.get("attention.head_count_kv", self.heads)
        self.dim = meta.get("attention.key_length", width // self.heads)
        self.epsilon = float(np.float32(meta["attention.layer_norm_rms_epsilon"]))
        turned = meta.get("rope.dimension_count", self.dim)
        theta = float(np.float32(meta.get("rope.freq_base", 10000.0)))
        self.frequencies = theta ** (-2.0 * np.arange(turned // 2) / turned)
        self.frequencies /= float(meta.get("rope.scaling.factor", 1.0))
        if "rope_freqs.weight" in self.tensors:
            self.frequencies /= self.tensors["rope_freqs.weight"]

    def multiply(self, x, name):
        return x @ self.tensors[name + ".weight"].T + self.tensors.get(name + ".bias", 0.0)

    def attention(self, h, prefix):
        n = len(h)
        positions = np.arange(n)
        q = self.multiply(h, prefix + "attn_q").reshape(n, self.heads, self.dim)
        k = self.multiply(h, prefix + "attn_k").reshape(n, self.kv_heads, self.dim)
        v = self.multiply(h, prefix + "attn_v").reshape(n, self.kv_heads, -1)
        if prefix + "attn_q_norm.weight" in self.tensors:
            q = rms_norm(q, self.tensors[prefix + "attn_q_norm.weight"], self.epsilon)
            k = rms_norm(k, self.tensors[prefix + "attn_k_norm.weight"], self.epsilon)
        interleaved = self.architecture == "llama"
        q, k = (rope(x, positions, self.frequencies, interleaved) for x in (q, k))
        out = []
        for head in range(self.heads):
            kv_head = head * self.kv_heads // self.heads
            scores = q[:, head] @ k[:, kv_head].T / np.sqrt(self.dim)
            scores[np.triu_indices(n, 1)] = -np.inf
            weights = np.exp(scores - scores.max(1, keepdims=True))
            out.append(weights / weights.sum(1, keepdims=True) @ v[:, kv_head])
        return self.multiply(np.concatenate(out, 1), prefix + "attn_output")

    def logits(self, tokens):
        x = self.tensors["token_embd.weight"][tokens]
        for layer in range(self.layers):
            prefix = f"blk.{layer}."
            x = x + self.attention(rms_norm(x, self.tensors[prefix + "attn_norm.weight"], self.epsilon), prefix)
            h = rms_norm(x, self.tensors[prefix + "ffn_norm.weight"], self.epsilon)
            gate = self.multiply(h, prefix + "ffn_gate")
            x = x + self.multiply(gate / (1.0 + np.exp(-gate)) * self.multiply(h, prefix + "ffn_up"), prefix + "ffn_down")
        h = rms_norm(x, self.tensors["output_norm.weight"], self.epsilon)
        return h @ self.tensors.get("output.weight", self.tensors["token_embd.weight"]).T


def print_golden(model, tokens, out):
    """Logits of every third token of the vocabulary's share that fits, at four positions."""
    logits = model.logits(tokens)
    print("tokens", *tokens, file=out)
    vocabulary = logits.shape[1]
    for position in sorted({0, len(tokens) // 3, 2 * len(tokens) // 3, len(tokens) - 1}):
        best = int(logits[position].argmax())
        for token in sorted({best, *range(0, vocabulary, -(-vocabulary // 60))}):
            print("logit", position, token, f"{logits[position, token]:.9g}", file=out)


def print_perplexity(path, text_path):
    model = Model(path)
    with open(text_path, encoding="utf-8") as file:
        tokens = np.array(Tokenizer(model.file.meta).encode(file.read(20000))[:2049])
    assert len(tokens) == 2049
    logits = model.logits(tokens[:-1])
    largest = logits.max(1)
    losses = largest + np.log(np.exp(logits - largest[:, None]).sum(1)) - logits[np.arange(2048), tokens[1:]]
    print(f"{np.exp(losses.mean()):.9g}")


def tiny_model(folder, name, meta, kinds, options, rng):
    """kinds: the types of the matrices, one after the other."""
    architecture = meta["general.architecture"]
    get = lambda key: meta[f"{architecture}.{key}"]
    width, ffn, heads, kv_heads = (get(key) for key in ("embedding_length", "feed_forward_length",
                                                        "attention.head_count", "attention.head_count_kv"))
    dim, vocabulary = get("attention.key_length"), 96
    tensors, used = {}, 0

    def matrix(name, rows, cols, size=None):
        nonlocal used
        kind = kinds[used % len(kinds)]
        used += 1
        tensors[name] = (kind, [cols, rows], gguf.random_blocks(rng, kind, rows * cols, size or cols ** -0.5))

    def vector(name, n, middle, spread):
        tensors[name] = (gguf.F32, [n], rng.normal(middle, spread, n).astype("<f4").tobytes())

    matrix("token_embd.weight", vocabulary, width, 1.0)
    vector("output_norm.weight", width, 1.0, 0.1)
    if "output" in options:
        matrix("output.weight", vocabulary, width)
    if "factors" in options:
        turned = meta.get(f"{architecture}.rope.dimension_count", dim)
        tensors["rope_freqs.weight"] = (gguf.F32, [turned // 2],
                                        rng.uniform(1, 8, turned // 2).astype("<f4").tobytes())
    for layer in range(get("block_count")):
        prefix = f"blk.{layer}."
        vector(prefix + "attn_norm.weight", width, 1.0, 0.1)
        vector(prefix + "ffn_norm.weight", width, 1.0, 0.1)
        for part, n in (("attn_q", heads * dim), ("attn_k", kv_heads * dim), ("attn_v", kv_heads * dim)):
            matrix(prefix + part + ".weight", n, width, 2 * width ** -0.5)
            if "bias" in options:
                vector(prefix + part + ".bias", n, 0.0, 0.5)
        if "norms" in options:
            vector(prefix + "attn_q_norm.weight", dim, 1.0, 0.1)
            vector(prefix + "attn_k_norm.weight", dim, 1.0, 0.1)
        matrix(prefix + "attn_output.weight", width, heads * dim)
        matrix(prefix + "ffn_gate.weight", ffn, width)
        matrix(prefix + "ffn_up.weight", ffn, width)
        matrix(prefix + "ffn_down.weight", width, ffn)
    path = f"{folder}/{name}.gguf"
    gguf.write(path, meta, tensors)
    tokens = [int(token) for token in rng.integers(0, vocabulary, 90)]
    with open(f"{folder}/{name}.txt", "w", encoding="ascii") as out:
        print_golden(Model(path), tokens, out)


def sizes(architecture, layers, width, ffn, heads, kv_heads, dim, **more):
    meta = {"general.architecture": architecture, f"{architecture}.block_count": layers,
            f"{architecture}.context_length": 4096, f"{architecture}.embedding_length": width,
            f"{architecture}.feed_forward_length": ffn, f"{architecture}.attention.head_count": heads,
            f"{architecture}.attention.head_count_kv": kv_heads, f"{architecture}.attention.key_length": dim,
            f"{architecture}.attention.value_length": dim,
            f"{architecture}.attention.layer_norm_rms_epsilon": 1e-5}
    meta.update({f"{architecture}.{key.replace('__', '.')}": value for key, value in more.items()})
    return meta


def write_blocks(path, rng):
    """For each type random blocks, and beside them an F32 tensor with what they decode to."""
    tensors = {}
    for name, kind in (("q4_0", gguf.Q4_0), ("q8_0", gguf.Q8_0), ("q4_k", gguf.Q4_K), ("q5_k", gguf.Q5_K),
                       ("q6_k", gguf.Q6_K), ("f16", gguf.F16), ("bf16", gguf.BF16)):
        dims = [768, 5]
        raw = gguf.random_blocks(rng, kind, dims[0] * dims[1], 1.0)
        blocks = np.frombuffer(raw, np.uint8).reshape(-1, gguf.BLOCKS[kind][1])
        values = gguf.dequantise(kind, blocks)
        tensors[name] = (kind, dims, raw)
        tensors[name + ".values"] = (gguf.F32, dims, values.astype("<f4").tobytes())
    gguf.write(path, {"general.architecture": "none"}, tensors)


def write_tiny(folder):
    rng = np.random.default_rng(7)
    tiny_model(folder, "llama", sizes("llama", 2, 256, 256, 4, 2, 64, rope__freq_base=5e5),
               [gguf.F16, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K, gguf.Q4_0, gguf.Q8_0, gguf.BF16, gguf.F32],
               ("output", "factors"), rng)
    tiny_model(folder, "llama-part", sizes("llama", 2, 96, 64, 3, 1, 40, rope__dimension_count=24),
               [gguf.F32], ("bias",), rng)
    tiny_model(folder, "qwen2", sizes("qwen2", 2, 64, 96, 6, 2, 16, rope__freq_base=1e4), [gguf.BF16, gguf.Q4_0],
               ("bias", "output"), rng)
    tiny_model(folder, "qwen3", sizes("qwen3", 3, 64, 96, 4, 4, 32, rope__scaling__type="linear",
                                      rope__scaling__factor=2.5), [gguf.F32, gguf.F16], ("norms",), rng)
    write_blocks(folder + "/blocks.gguf", rng)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "tiny":
        write_tiny(sys.argv[2])
    elif len(sys.argv) == 4 and sys.argv[1] == "perplexity":
        print_perplexity(*sys.argv[2:])
    elif len(sys.argv) == 3 and sys.argv[1] == "golden":
        model = Model(sys.argv[2])
        print_golden(model, Tokenizer(model.file.meta).encode(TEXT), sys.stdout)
    else:
        sys.exit(__doc__)


main()

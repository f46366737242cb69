#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Byte-level BPE, read from a GGUF file or a tokenizer.json: owes nothing to tools/tq.

    tokenizer_reference.py MODEL.gguf [tokenizer.json]     prints tests/tq/tokenizer_cases.txt; with tokenizer.json,
                                                           checks that both give the same tokens
"""
import json
import re
import sys
import unicodedata


def character_class(category):
    """The characters of a general category, as the inside of a [...] of `re`."""
    parts, first, last = [], None, None
    for point in list(range(0x110000)) + [None]:
        if point is not None and unicodedata.category(chr(point))[0] == category:
            first, last = (point if first is None else first), point
        elif first is not None:
            parts.append(f"\\U{first:08x}-\\U{last:08x}")
            first = None
    return "".join(parts)


# \s of the original pattern is Unicode's White_Space; Python's knows four separators more (U+001C to U+001F).
SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
LETTER, NUMBER = character_class("L"), character_class("N")


def pattern(max_digits):
    return re.compile(
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
        f"|[^\\r\\n{LETTER}{NUMBER}]?[{LETTER}]+"
        f"|[{NUMBER}]{{1,{max_digits}}}"
        f"| ?[^{SPACE}{LETTER}{NUMBER}]+[\\r\\n]*"
        f"|[{SPACE}]*[\\r\\n]+"
        f"|[{SPACE}]+(?![^{SPACE}])"
        f"|[{SPACE}]+")


def byte_characters():
    """byte -> the character that stands for it in a vocabulary."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable}
    table.update({byte: chr(0x100 + i) for i, byte in enumerate(others)})
    return table


class Tokenizer:
    def __init__(self, source):
        if "tokenizer.ggml.tokens" in source:
            tokens = [token.decode() for token in source["tokenizer.ggml.tokens"]]
            self.ids = {token: i for i, token in enumerate(tokens)}
            merges = [tuple(merge.decode().split(" ")) for merge in source["tokenizer.ggml.merges"]]
            types = source["tokenizer.ggml.token_type"]
            self.specials = [token for token, kind in zip(tokens, types) if kind in (3, 4)]
        else:
            self.ids = source["model"]["vocab"]
            merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge)
                      for merge in source["model"]["merges"]]
            self.specials = [token["content"] for token in source["added_tokens"]]
            self.ids.update({token["content"]: token["id"] for token in source["added_tokens"]})
        self.ranks = {merge: rank for rank, merge in enumerate(merges)}
        self.bytes = byte_characters()
        self.words = pattern(1)

    def encode_word(self, word):
        parts = [self.bytes[byte] for byte in word.encode()]
        while True:
            ranked = [(self.ranks[pair], i) for i, pair in enumerate(zip(parts, parts[1:])) if pair in self.ranks]
            if not ranked:
                return [self.ids[part] for part in parts]
            _, i = min(ranked)
            parts[i:i + 2] = [parts[i] + parts[i + 1]]

    def encode(self, text):
        ids = []
        for part in re.split("(" + "|".join(map(re.escape, self.specials)) + ")", text):
            if part in self.specials:
                ids.append(self.ids[part])
            else:
                ids += [i for word in self.words.findall(part) for i in self.encode_word(word)]
        return ids


CASES = [
    "Hello, world!", "The printf() function", " leading", "trailing ", "  two  spaces  ", "tab\tand\ttabs\t\t x",
    "line\nline\n\nline\r\nline\r\n\r\n  indented\n    more\n", "   \n  \n x", "\n", " ", "      ", "\n \n", "a\n ", "1", "12345 67",
    "don't I'LL we'Ve they'RE 'tis it's 's 'S 'x", "x'\u017f y'\u017ft",
    "snake_case camelCase kebab-case a.b.c /usr/include/stdio.h", "0x1F600 3.14159e-10 1,000,000",
    "==== ---- ____ **** !!!\n\n???\r\n", "#include <stdio.h>\nint main(void)\n{\n\treturn 0;\n}\n",
    "caf\u00e9 na\u00efve \u00dcber Stra\u00dfe \u0130stanbul", "e\u0301 o\u0308 combining", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3002",
    "\ud55c\uad6d\uc5b4 \u0420\u0443\u0441\u0441\u043a\u0438\u0439 \u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u05e2\u05d1\u05e8\u05d9\u05ea \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0939\u093f\u0928\u094d\u0926\u0940", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea!",
    "\u00bd \u2167 \u0663\u0664 \u00b2\u00b3 \u2460\u2461", "a\u00a0b\u2003c\u3000d\u2028e\u0085f", "x\u001cy\u001fz\u0000w\u007f",
    "<|endoftext|>", "one<|endoftext|>two<|endoftext|>", "<|endoftext", "\ufeffBOM \ufffd", "\U0001d400\U0001d7ce math",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababababababab", "The access code for Lisbon is 48213.",
]


def show(numbers):
    return " ".join(str(number) for number in numbers)


def main():
    from gguf_reference import Gguf
    tokenizer = Tokenizer(Gguf(sys.argv[1]).meta)
    for text in CASES:
        ids = tokenizer.encode(text)
        print("tokens", text.encode().hex(), show(ids))
        for max_digits in (1, 3):
            words = pattern(max_digits).findall(text)
            assert "".join(words) == text
            print("words", max_digits, text.encode().hex(), show(len(word.encode()) for word in words))
    if len(sys.argv) > 2:
        with open(sys.argv[2], encoding="utf-8") as file:
            other = Tokenizer(json.load(file))
        for text in CASES:
            assert other.encode(text) == tokenizer.encode(text), text


if __name__ == "__main__":
    main()

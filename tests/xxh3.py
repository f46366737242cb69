# SPDX-License-Identifier: MIT
"""XXH3, the 64-bit hash of xxHash with seed 0, for inputs of any length: the checksum of saved sequences."""
import struct

MASK = 2**64 - 1

PRIME32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
PRIME64 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
PRIME_MX = (0x165667919E3779F9, 0x9FB21C651E98DF25)

# The default secret.
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)

STRIPE = 64
STRIPES_OF_BLOCK = (len(SECRET) - STRIPE) // 8


def read32(data, at):
    return int.from_bytes(data[at : at + 4], "little")


def read64(data, at):
    return int.from_bytes(data[at : at + 8], "little")


def xor_shift(h, bits):
    return h ^ h >> bits


def rotate(h, bits):
    return (h << bits | h >> 64 - bits) & MASK


def avalanche(h):
    return xor_shift(xor_shift(h & MASK, 37) * PRIME_MX[0] & MASK, 32)


def avalanche_of_xxh64(h):
    return xor_shift(xor_shift(xor_shift(h, 33) * PRIME64[1] & MASK, 29) * PRIME64[2] & MASK, 32)


def folded_product(a, b):
    product = a * b
    return product & MASK ^ product >> 64


def up_to_16(data):
    n = len(data)
    if n > 8:
        low = read64(data, 0) ^ read64(SECRET, 24) ^ read64(SECRET, 32)
        high = read64(data, n - 8) ^ read64(SECRET, 40) ^ read64(SECRET, 48)
        swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
        return avalanche(n + swapped + high + folded_product(low, high))
    if n > 3:
        h = (read32(data, 0) << 32) + read32(data, n - 4) ^ read64(SECRET, 8) ^ read64(SECRET, 16)
        h = (h ^ rotate(h, 49) ^ rotate(h, 24)) * PRIME_MX[1] & MASK
        return xor_shift((h ^ (h >> 35) + n) * PRIME_MX[1] & MASK, 28)
    if n > 0:
        combined = data[n - 1] | n << 8 | data[0] << 16 | data[n >> 1] << 24
        return avalanche_of_xxh64(combined ^ read32(SECRET, 0) ^ read32(SECRET, 4))
    return avalanche_of_xxh64(read64(SECRET, 56) ^ read64(SECRET, 64))


def mix_16_bytes(data, at, secret_at):
    return folded_product(
        read64(data, at) ^ read64(SECRET, secret_at), read64(data, at + 8) ^ read64(SECRET, secret_at + 8)
    )


def up_to_128(data):
    n = len(data)
    h = n * PRIME64[0]
    for i in range((n - 1) // 32 + 1):  # from both ends towards the middle
        h += mix_16_bytes(data, 16 * i, 32 * i) + mix_16_bytes(data, n - 16 * (i + 1), 32 * i + 16)
    return avalanche(h)


def up_to_240(data):
    n = len(data)
    h = avalanche(n * PRIME64[0] + sum(mix_16_bytes(data, 16 * i, 16 * i) for i in range(8)))
    h += sum(mix_16_bytes(data, 16 * i, 16 * (i - 8) + 3) for i in range(8, n // 16))
    return avalanche(h + mix_16_bytes(data, n - 16, 136 - 17))


def lanes(data, at):
    return struct.unpack_from("<8Q", data, at)


def accumulate(acc, stripe, secret):
    for i in range(8):
        key = stripe[i] ^ secret[i]
        acc[i ^ 1] += stripe[i]
        acc[i] += (key & 0xFFFFFFFF) * (key >> 32)


def scramble(acc, secret):
    for i in range(8):
        acc[i] = (xor_shift(acc[i] & MASK, 47) ^ secret[i]) * PRIME32[0] & MASK


def long_input(data):
    n = len(data)
    acc = [PRIME32[2], *PRIME64[:4], PRIME32[1], PRIME64[4], PRIME32[0]]
    secrets = [lanes(SECRET, 8 * i) for i in range(STRIPES_OF_BLOCK)]
    end = len(SECRET) - STRIPE
    for number in range((n - 1) // STRIPE):
        accumulate(acc, lanes(data, STRIPE * number), secrets[number % STRIPES_OF_BLOCK])
        if (number + 1) % STRIPES_OF_BLOCK == 0:
            scramble(acc, lanes(SECRET, end))
    accumulate(acc, lanes(data, n - STRIPE), lanes(SECRET, end - 7))
    keyed = [a & MASK ^ key for a, key in zip(acc, lanes(SECRET, 11))]
    return avalanche(n * PRIME64[0] + sum(folded_product(*keyed[i : i + 2]) for i in range(0, 8, 2)))


def xxh3_64(data):
    n = len(data)
    return (up_to_16 if n <= 16 else up_to_128 if n <= 128 else up_to_240 if n <= 240 else long_input)(data)

#!/usr/bin/env python3
"""Makes golden.txt: hashes, ring, Maglev and rendezvous owners, by code of its own that shares nothing with the crate's.

xxHash64, MurmurHash3 and SipHash-2-4 are written here from their specifications, and checked first against the vectors that
those publish; MD5 is Python's. Run without arguments; the output is golden.txt.
"""

import hashlib
import math
import struct

M64 = (1 << 64) - 1


def rotl(x, r):
    return ((x << r) | (x >> (64 - r))) & M64


def xxh64(data, seed):
    p1, p2, p3, p4, p5 = (11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579,
                          2870177450012600261)

    def step(acc, lane):
        return rotl((acc + lane * p2) & M64, 31) * p1 & M64

    i = 0
    if len(data) >= 32:
        v = [(seed + p1 + p2) & M64, (seed + p2) & M64, seed, (seed - p1) & M64]
        while i + 32 <= len(data):
            for n, lane in enumerate(struct.unpack_from("<4Q", data, i)):
                v[n] = step(v[n], lane)
            i += 32
        h = (rotl(v[0], 1) + rotl(v[1], 7) + rotl(v[2], 12) + rotl(v[3], 18)) & M64
        for each in v:
            h = ((h ^ step(0, each)) * p1 + p4) & M64
    else:
        h = (seed + p5) & M64
    h = (h + len(data)) & M64
    while i + 8 <= len(data):
        h = (rotl(h ^ step(0, struct.unpack_from("<Q", data, i)[0]), 27) * p1 + p4) & M64
        i += 8
    if i + 4 <= len(data):
        h = (rotl(h ^ (struct.unpack_from("<I", data, i)[0] * p1 & M64), 23) * p2 + p3) & M64
        i += 4
    for byte in data[i:]:
        h = rotl(h ^ (byte * p5 & M64), 11) * p1 & M64
    h = (h ^ (h >> 33)) * p2 & M64
    h = (h ^ (h >> 29)) * p3 & M64
    return h ^ (h >> 32)


def murmur3(data, seed):
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F

    def fmix(k):
        k = (k ^ (k >> 33)) * 0xFF51AFD7ED558CCD & M64
        k = (k ^ (k >> 33)) * 0xC4CEB9FE1A85EC53 & M64
        return k ^ (k >> 33)

    def mix1(k):
        return rotl(k * c1 & M64, 31) * c2 & M64

    def mix2(k):
        return rotl(k * c2 & M64, 33) * c1 & M64

    h1 = h2 = seed
    whole = len(data) // 16 * 16
    for i in range(0, whole, 16):
        k1, k2 = struct.unpack_from("<2Q", data, i)
        h1 = ((rotl(h1 ^ mix1(k1), 27) + h2) * 5 + 0x52DCE729) & M64
        h2 = ((rotl(h2 ^ mix2(k2), 31) + h1) * 5 + 0x38495AB5) & M64
    tail = data[whole:]
    if len(tail) > 8:
        h2 ^= mix2(int.from_bytes(tail[8:], "little"))
    if tail:
        h1 ^= mix1(int.from_bytes(tail[:8], "little"))
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = (h1 + h2) & M64
    h2 = (h2 + h1) & M64
    h1, h2 = fmix(h1), fmix(h2)
    return (h1 + h2) & M64


def siphash(data, k0, k1):
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) & M64
            v[1] = rotl(v[1], 13) ^ v[0]
            v[0] = rotl(v[0], 32)
            v[2] = (v[2] + v[3]) & M64
            v[3] = rotl(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & M64
            v[3] = rotl(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & M64
            v[1] = rotl(v[1], 17) ^ v[2]
            v[2] = rotl(v[2], 32)

    whole = len(data) // 8 * 8
    words = [struct.unpack_from("<Q", data, i)[0] for i in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:], "little") | (len(data) & 255) << 56)
    for word in words:
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def seeded(data, seed):
    return (struct.pack("<Q", seed) if seed else b"") + data


def fnv1a(data, seed):
    h = 0xCBF29CE484222325
    for byte in seeded(data, seed):
        h = (h ^ byte) * 0x100000001B3 & M64
    return h


FUNCTIONS = {
    "XxHash64": xxh64,
    "MurmurHash3": murmur3,
    "Fnv1a": fnv1a,
    "SipHash": lambda data, seed: siphash(data, seed, 0),
    "Md5": lambda data, seed: struct.unpack_from("<Q", hashlib.md5(seeded(data, seed)).digest())[0],
}
KEY_SEED = 0x6B657973

# What the authors publish: xxHash's specification, FNV's page, SipHash's appendix A, MurmurHash3's sources by way of
# the known digest of a pangram.
assert xxh64(b"", 0) == 0xEF46DB3751D8E999
assert xxh64(b"Nobody inspects the spammish repetition", 0) == 0xFBCEA83C8A378BF1
assert fnv1a(b"a", 0) == 0xAF63DC4C8601EC8C
assert siphash(bytes(range(15)), 0x0706050403020100, 0x0F0E0D0C0B0A0908) == 0xA129CA6149BE45E5
assert murmur3(b"The quick brown fox jumps over the lazy dog", 0) == 0xE34BBC7BBC071B6C


def ring(nodes, key, function):
    """Points of 44 bits, then the node's index; the first point at or after the key's, or the first of all."""
    points = []
    for index, (name, weight) in enumerate(nodes):
        for number in range(160 * weight):
            hash_ = function(f"{name}_{number}".encode(), 0)
            points.append((hash_ >> 20 << 20, index))
    points.sort()
    return next((index for point, index in points if point >= key), points[0][1])


def maglev_table(nodes, size, function):
    """The paper's pseudo code, with Envoy's rule for weights."""
    order = sorted(range(len(nodes)), key=lambda i: nodes[i][0])
    start = {i: function(nodes[i][0].encode(), 0) % size for i in order}
    skip = {i: function(nodes[i][0].encode(), 1) % (size - 1) + 1 for i in order}
    tried, target = dict.fromkeys(order, 0), dict.fromkeys(order, 0)
    most = max(weight for _, weight in nodes)
    table, filled, iteration = [None] * size, 0, 1
    while True:
        for i in order:
            if iteration * nodes[i][1] < target[i]:
                continue
            target[i] += most
            while True:
                slot = (start[i] + skip[i] * tried[i]) % size
                tried[i] += 1
                if table[slot] is None:
                    break
            table[slot] = i
            filled += 1
            if filled == size:
                return table
        iteration += 1


def mix(key, node):
    z = (key ^ (rotl(node, 32) * 0x9E3779B97F4A7C15 & M64)) & M64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & M64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & M64
    return z ^ (z >> 31)


def rendezvous(nodes, key, function):
    def score(node):
        name, weight = node
        return weight / -math.log(((mix(key, function(name.encode(), 0)) >> 12) + 0.5) / (1 << 52))

    return max(range(len(nodes)), key=lambda i: score(nodes[i]))


def main():
    lines = []
    texts = ["", "a", "10.0.0.1", "evenkeel", "0123456789abcdef", "The quick brown fox jumps over the lazy dog"]
    for name, function in FUNCTIONS.items():
        for text in texts:
            for seed in (0, 1, KEY_SEED):
                lines.append(f"hash {name} {seed} {function(text.encode(), seed):016x} {text}")
    pools = {"equal": [(f"pod-{i}:8080", 1) for i in range(10)], "weighted": [("a", 1), ("b", 3), ("c", 2)]}
    for name, function in FUNCTIONS.items():
        for pool, nodes in pools.items():
            table = maglev_table(nodes, 251, function)
            for number in range(24):
                key = function(f"key-{number}".encode(), KEY_SEED)
                owners = (ring(nodes, key, function), table[key % 251], rendezvous(nodes, key, function))
                lines.append(f"owner {name} {pool} key-{number} " + " ".join(nodes[i][0] for i in owners))
    print("\n".join(lines))


main()

#!/usr/bin/env python3
"""Makes the vectors of this directory with implementations that share no code with Cairn.

    python3 -m venv /tmp/vectors
    /tmp/vectors/bin/pip install pymerkle==7.0.0 pycryptodome==3.21.0 rfc8785==0.1.4
    /tmp/vectors/bin/python testdata/ledger/generate.py

Writes tree.json, steps.json, instances.json, run_id.json and canonical.json next to this file.
Everything is derived from fixed labels, so a second run changes nothing.
"""

import hashlib
import json
import math
import pathlib

import rfc8785
from Crypto.Hash import keccak
from pymerkle import InmemoryTree

HERE = pathlib.Path(__file__).parent
R = 21888242871839275222246405745257275088548364400416034343698204186575808495617


def hex0x(data):
    return "0x" + data.hex()


def digest(label):
    return hashlib.sha256(label.encode()).digest()


def element(label):
    """A digest below 2^253, hence below r."""
    raw = bytearray(digest(label))
    raw[0] &= 0x1F
    return bytes(raw)


def word(number):
    return number.to_bytes(32, "big")


def write(name, value):
    (HERE / name).write_text(json.dumps(value, indent=1) + "\n")


def tree_of(entries):
    tree = InmemoryTree(algorithm="sha256")
    for entry in entries:
        tree.append_entry(entry)
    return tree


def inclusion(tree, index, size):
    # The first hash of a pymerkle path is the leaf itself; the rest are the siblings, bottom up.
    return [hex0x(node) for node in tree.prove_inclusion(index + 1, size).path[1:]]


def tree_vectors():
    entries = [b"", b"\x00", b"\x10", b" !", b"01"]
    entries += [bytes(range(i, 3 * i)) for i in range(5, 40)]
    tree = tree_of(entries)
    sizes = list(range(1, len(entries) + 1))
    write("tree.json", {
        "entries": [hex0x(entry) for entry in entries],
        "leaves": [hex0x(hashlib.sha256(b"\x00" + entry).digest()) for entry in entries],
        "empty_root": hex0x(hashlib.sha256(b"").digest()),
        "roots": [hex0x(tree.get_root(size)) for size in sizes],
        "inclusion": [
            {"size": size, "index": index, "path": inclusion(tree, index, size)}
            for size in [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 31, 33, 40]
            for index in range(size)
        ],
    })


def step_vectors():
    n = 64
    digests = [element(f"cairn test D {t}") for t in range(n)]
    records = [digest(f"cairn test A {t}") for t in range(n)]
    entries = [t.to_bytes(8, "big") + d + a for t, (d, a) in enumerate(zip(digests, records))]
    tree = tree_of(entries)
    write("steps.json", {
        "digests": [hex0x(d) for d in digests],
        "record_hashes": [hex0x(a) for a in records],
        "leaves": [hex0x(hashlib.sha256(b"\x00" + entry).digest()) for entry in entries],
        "roots": [hex0x(tree.get_root(size)) for size in range(1, n + 1)],
        "epochs_of_4": [hex0x(tree_of(entries[t:t + 4]).get_root(4)) for t in range(0, n, 4)],
    })


def instance_vectors():
    vectors = []
    for log_steps, first_step, fresh in [(0, 0, 1), (0, 7, 0), (1, 2, 0), (2, 0, 1), (2, 0, 0), (2, 4, 0), (3, 1 << 39, 0)]:
        name = f"{log_steps}/{first_step}/{fresh}"
        accumulator = [element(f"limb {i} of {name}") for i in range(12)]
        run, state_in, state_out, policy = (element(f"{what} of {name}") for what in ["run", "in", "out", "policy"])
        digests = [element(f"D {i} of {name}") for i in range(1 << log_steps)]
        words = accumulator + [run, word(first_step), word(fresh), state_in, state_out, policy] + digests
        vectors.append({
            "accumulator": [hex0x(limb) for limb in accumulator],
            "run": hex0x(run),
            "first_step": first_step,
            "fresh": bool(fresh),
            "state_in": hex0x(state_in),
            "state_out": hex0x(state_out),
            "policy_digest": hex0x(policy),
            "digests": [hex0x(d) for d in digests],
            "words": [hex0x(w) for w in words],
        })
    write("instances.json", {"vectors": vectors})


def run_id_vectors():
    vectors = []
    for chain_id in [1, 31337, 11155111, 2**53 - 1]:
        for who in ["a", "b", "c"]:
            contract, owner = digest("contract " + who)[:20], digest("owner " + who)[:20]
            salt = digest("salt " + who)
            encoded = word(chain_id) + bytes(12) + contract + bytes(12) + owner + salt
            full = int.from_bytes(keccak.new(digest_bits=256, data=encoded).digest(), "big")
            vectors.append({
                "chain_id": chain_id,
                "contract": hex0x(contract),
                "owner": hex0x(owner),
                "salt": hex0x(salt),
                "keccak": hex0x(word(full)),
                "multiples_of_r_removed": full // R,
                "run": hex0x(word(full % R)),
            })
    write("run_id.json", {"vectors": vectors})


def canonical_vectors():
    """A layout of tensors: its canonical bytes, their SHA-256 and the field element made of that."""
    shapes = [("fc1.weight", [32, 64]), ("fc1.bias", [32]), ("fc2.weight", [10, 32]), ("fc2.bias", [10])]
    tensors, offset = [], 0
    for name, shape in shapes:
        tensors.append({"name": name, "shape": shape, "offset": offset, "len": math.prod(shape)})
        offset += math.prod(shape)
    encoded = rfc8785.dumps({"tensors": tensors})
    raw = bytearray(hashlib.sha256(encoded).digest())
    raw[0] &= 0x1F
    write("canonical.json", {
        "layout": encoded.decode(),
        "layout_sha256": hex0x(hashlib.sha256(encoded).digest()),
        "layout_digest": hex0x(bytes(raw)),
    })


if __name__ == "__main__":
    tree_vectors()
    step_vectors()
    instance_vectors()
    run_id_vectors()
    canonical_vectors()

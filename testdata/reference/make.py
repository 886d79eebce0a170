#!/usr/bin/env python3
"""Vectors of the update rules, in plain Python integers, independent of the Rust reference.

Source: DESIGN section 2.1 (spec `statement`). Run `python3 testdata/reference/make.py`; it writes adamw.json and
sgd.json beside itself, the same bytes every time. All numbers are decimal strings.
"""

import json
import pathlib
import random
from math import isqrt

ONE = 2**32
HALF_RANGE = 2**31
HERE = pathlib.Path(__file__).resolve().parent


class Refused(Exception):
    """A value without a place in the format: its name and value."""


def nearest(x, y):
    return (2 * x + y) // (2 * y)


def ceiling(x, y):
    return -((-x) // y)


def signed(name, x):
    if not -HALF_RANGE <= x < HALF_RANGE:
        raise Refused(name, x)
    return x


def adamw(constants, w, m, v, g):
    beta1, beta2, a, c, eps, decay = constants
    for name, x in (("w", w), ("m", m), ("g", g)):
        signed(name, x)
    m1 = nearest(beta1 * m + (ONE - beta1) * g, ONE)
    v1 = ceiling(beta2 * v + (ONE - beta2) * g * g, ONE)
    if v1 >= 2**63:
        raise Refused("v'", v1)
    s = isqrt(c * v1)
    if s >= 2**40:
        raise Refused("s", s)
    u = signed("u", nearest(a * m1, s + eps))
    w1 = signed("w'", w - u - nearest(decay * w, 2**64))
    return w1, signed("m'", m1), v1, s, u


def sgd(constants, w, m, v, g):
    momentum, _, lr, _, _, decay = constants
    for name, x in (("w", w), ("m", m), ("g", g)):
        signed(name, x)
    if v != 0:
        raise Refused("v", v)
    m1 = signed("m'", nearest(momentum * m + ONE * g + decay * w, ONE))
    u = signed("u", nearest(lr * m1, ONE))
    return signed("w'", w - u), m1, 0, 0, u


def q32(x):
    return round(x * ONE)


def schedule(rule, hyper, p1, p2):
    if rule == "sgd":
        return p1, p2, hyper["lr"], 0
    p1, p2 = nearest(p1 * hyper["beta1"], ONE), nearest(p2 * hyper["beta2"], ONE)
    a = hyper["lr"] * ONE // (ONE - p1)
    c = 2**48 // (ONE - p2)
    if a >= 2**48:
        raise Refused("A_t", a)
    if c >= 2**40:
        raise Refused("C_t", c)
    return p1, p2, a, c


def hyper(beta1, beta2, eps, lr, weight_decay):
    return {"beta1": beta1, "beta2": beta2, "eps": eps, "lr": lr, "weight_decay": weight_decay}


def text(x):
    if isinstance(x, dict):
        return {k: text(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [text(v) for v in x]
    return str(x) if isinstance(x, int) else x


def schedules(rule, rng):
    if rule == "sgd":
        cases = [(hyper(q32(b), 0, 0, q32(lr), q32(wd)), ONE, ONE, 3)
                 for b in (0, 0.5, 0.9) for lr in (1e-3, 0.1) for wd in (0, 0.01)]
    else:
        cases = [
            (hyper(q32(0.9), q32(0.999), q32(1e-8), q32(1e-3), 0), ONE, ONE, 60),
            (hyper(q32(0.9), q32(0.999), 1, q32(1e-3), q32(0.01)), ONE, ONE, 5),
            (hyper(0, 0, ONE, 1, 0), ONE, ONE, 3),
            (hyper(ONE // 2, ONE // 2, 1, 0, 0), ONE, ONE, 40),
            (hyper(1, 1, 1, ONE - 1, ONE - 1), ONE, ONE, 3),
            (hyper(q32(0.9), q32(0.999), 43, 7, 0), 0, 0, 3),
            (hyper(q32(0.9), q32(0.999), 43, 7, 0), 12345, 3_000_000_000, 10),
            # Corrections that leave their ranges: β so near to 1 that 1 − β is a few units.
            (hyper(ONE - 1, ONE // 2, 1, ONE - 1, 0), ONE, ONE, 5),
            (hyper(ONE // 2, ONE - 1, 1, 1, 0), ONE, ONE, 5),
        ]
        for _ in range(20):
            h = hyper(rng.randrange(ONE - 2**20), rng.randrange(ONE - 2**20), rng.randrange(1, ONE + 1),
                      rng.randrange(ONE // 64), rng.randrange(ONE))
            cases.append((h, rng.randrange(ONE + 1), rng.randrange(ONE + 1), 4))
    out = []
    for h, p1, p2, count in cases:
        steps, refused, before = [], None, (p1, p2)
        for _ in range(count):
            try:
                steps.append(schedule(rule, h, *before))
            except Refused as e:
                refused = e.args[0]
                break
            before = steps[-1][:2]
        out.append({"hyper": h, "p1": p1, "p2": p2, "steps": steps, "refused": refused})
    return out


def constants(rule, h, products=(ONE, ONE), steps=1):
    for _ in range(steps):
        p1, p2, a, c = schedule(rule, h, *products)
        products = (p1, p2)
    decay = h["weight_decay"] * (h["lr"] if rule == "adamw" else 1)
    return h["beta1"], h["beta2"], a, c, h["eps"], decay


def inputs(rule, rng):
    """(constants, w, m, v, g): corners first, then random ones of every magnitude."""
    if rule == "adamw":
        usual = [constants(rule, hyper(q32(0.9), q32(0.999), eps, q32(1e-3), wd), steps=t)
                 for eps in (1, 43, ONE) for wd in (0, q32(0.01)) for t in (1, 2, 1000)]
    else:
        usual = [constants(rule, hyper(q32(b), 0, 0, q32(lr), q32(wd)))
                 for b in (0, 0.9) for lr in (1e-3, 0.1, 1) for wd in (0, 0.01) if lr < 1]
    low, high = -HALF_RANGE, HALF_RANGE - 1
    corners = [0, 1, -1, 17, -17, 2**24, -2**24, low, high]
    vs = [0, 1, 2**20, 2**48] if rule == "adamw" else [0]
    for k in usual:
        for w in (0, 1, -1, 2**24):
            for g in corners:
                yield k, w, 0, 0, g
    k = usual[1]
    for m in corners:
        for v in vs:
            yield k, -(2**23), m, v, 17
    for w in (low, high, low - 1, high + 1):
        for g in (-1000, 1000):
            yield k, w, g, 0, g
    yield k, 0, low - 1, 0, 0
    yield k, 0, high + 1, 0, 0
    yield k, 0, 0, 0, low - 1
    yield k, 0, 0, 0, high + 1
    if rule == "adamw":
        b = constants(rule, hyper(0, 0, 1, q32(1e-3), 0))
        yield b, 0, 0, 2**63 - 1, low
        yield (0, ONE - 1, 0, 2**16, 1, 0), 0, 0, 2**63 - 1, 0
        yield (0, ONE - 1, 0, 2**16, 1, 0), 0, 0, 2**63 - 1, low
        yield (0, ONE, 0, 2**39, 1, 0), 0, 0, 2**62, 0
        yield (0, ONE, 2**47, 1, 1, 0), 0, 0, 1, 0
        yield (ONE, ONE, 2**47, 1, 1, 0), 0, 1, 1, 0
    else:
        yield k, 0, 0, 1, 0
        yield (ONE - 1, 0, 1, 0, 0, 0), 0, high, 0, high
        yield (ONE - 1, 0, ONE - 1, 0, 0, 0), low, low, 0, 0

    def magnitude():
        return rng.choice((-1, 1)) * rng.getrandbits(rng.randrange(1, 31))

    for _ in range(400):
        k = rng.choice(usual)
        v = rng.getrandbits(rng.randrange(1, 56)) if rule == "adamw" else 0
        yield k, magnitude(), magnitude(), v, magnitude()


def main():
    for name, rule in (("adamw", adamw), ("sgd", sgd)):
        rng = random.Random(f"cairn {name}")
        updates, refused = [], []
        plans = schedules(name, rng)
        for k, w, m, v, g in inputs(name, rng):
            case = {"constants": k, "before": (w, m, v, g)}
            try:
                updates.append(case | {"after": rule(k, w, m, v, g)})
            except Refused as e:
                refused.append(case | {"what": e.args[0], "value": e.args[1]})
        document = {"made_by": "testdata/reference/make.py", "rule": name, "schedules": plans,
                    "updates": updates, "refused": refused}
        lines = []
        for key, value in text(document).items():
            if isinstance(value, list):
                rows = ",\n".join("  " + json.dumps(row) for row in value)
                lines.append(f" {json.dumps(key)}: [\n{rows}\n ]")
            else:
                lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
        (HERE / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
        print(f"{name}: {len(plans)} schedules, {len(updates)} updates, {len(refused)} refused")


if __name__ == "__main__":
    main()

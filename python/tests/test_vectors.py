"""The vectorised rules against `testdata/reference`, and against plain Python integers on random steps. Without torch."""

import importlib.util
import json
import math
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest

from cairn import arithmetic
from cairn.arithmetic import Constants, Hyper, _root, next_schedule, update
from cairn.errors import NotFreshError, RangeError

REPO = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = REPO / "testdata" / "reference"
RULES = ["adamw", "sgd"]


def oracle():
    """The independent implementation that made the vectors: plain Python integers."""
    spec = importlib.util.spec_from_file_location("make", REFERENCE / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = oracle()


def load(rule):
    return json.loads((REFERENCE / f"{rule}.json").read_text())


def arrays(w, m, v, g):
    return np.array(w, np.int64), np.array(m, np.int64), np.array(v, np.uint64), np.array(g, np.int64)


def hyper(fields):
    return Hyper(**{key: int(value) for key, value in fields.items()})


@pytest.mark.parametrize("rule", RULES)
def test_updates_are_those_of_the_vectors(rule):
    cases = load(rule)["updates"]
    assert len(cases) > 400
    groups = {}
    for case in cases:
        groups.setdefault(tuple(map(int, case["constants"])), []).append(case)
    for constants, group in groups.items():
        w, m, v, g = arrays(*zip(*([int(x) for x in case["before"]] for case in group)))
        w1, m1, v1 = update(rule, Constants(*constants), w, m, v, g)
        expected = [[int(x) for x in case["after"][:3]] for case in group]
        assert [list(map(int, row)) for row in zip(w1, m1, v1)] == expected


@pytest.mark.parametrize("rule", RULES)
def test_what_the_vectors_refuse_is_refused_with_the_same_name_and_value(rule):
    cases = load(rule)["refused"]
    assert cases
    for case in cases:
        constants = Constants(*map(int, case["constants"]))
        one = [int(x) for x in case["before"]]
        # Beside honest parameters on both sides, so that the index counts.
        w, m, v, g = arrays(*([0, x, 0] for x in one))
        with pytest.raises(RangeError) as refused:
            update(rule, constants, w, m, v, g)
        assert (refused.value.what, refused.value.index, refused.value.value) == (case["what"], 1, int(case["value"]))


@pytest.mark.parametrize("rule", RULES)
def test_schedules_are_those_of_the_vectors(rule):
    for case in load(rule)["schedules"]:
        products = int(case["p1"]), int(case["p2"])
        for expected in case["steps"]:
            got = next_schedule(rule, hyper(case["hyper"]), products)
            assert [got.p1, got.p2, got.a, got.c] == [int(x) for x in expected]
            products = got.p1, got.p2
        if case["refused"]:
            with pytest.raises(RangeError) as refused:
                next_schedule(rule, hyper(case["hyper"]), products)
            assert refused.value.what[0] == case["refused"][0]


def magnitude(rng, bits):
    return rng.choice((-1, 1)) * rng.getrandbits(rng.randrange(1, bits + 1))


@pytest.mark.parametrize("rule", RULES)
def test_a_thousand_random_steps_equal_plain_integers(rule):
    rng = random.Random(f"steps {rule}")
    n, products = 24, (2**32, 2**32)
    w, m, v = [magnitude(rng, 26) for _ in range(n)], [0] * n, [0] * n
    one = 2**32
    betas = (3865470566, 4290672329, 43) if rule == "adamw" else (3865470566, 0, 0)
    for t in range(1000):
        lr = rng.randrange(1, one // 64)
        fields = MAKE.hyper(*betas, lr, rng.randrange(one // 256))
        p1, p2, a, c = MAKE.schedule(rule, fields, *products)
        schedule = next_schedule(rule, Hyper(**fields), products)
        assert (schedule.p1, schedule.p2, schedule.a, schedule.c) == (p1, p2, a, c)
        constants = (*betas[:2], a, c, betas[2], fields["weight_decay"] * (lr if rule == "adamw" else 1))
        g = [magnitude(rng, 24) for _ in range(n)]
        after = [getattr(MAKE, rule)(constants, *cell) for cell in zip(w, m, v, g)]
        got = update(rule, Constants(*constants), *arrays(w, m, v, g), fresh=t == 0)
        assert [list(map(int, row)) for row in zip(*got)] == [list(row[:3]) for row in after]
        w, m, v = (list(column) for column in list(zip(*after))[:3])
        products = (p1, p2)


@pytest.mark.parametrize("rule", RULES)
def test_random_values_over_the_whole_range_equal_plain_integers_or_are_refused_alike(rule):
    rng = random.Random(f"extremes {rule}")
    refused = accepted = 0
    for _ in range(4000):
        decay = rng.getrandbits(rng.randrange(0, 65 if rule == "adamw" else 33))
        if rule == "adamw":
            constants = (
                rng.randrange(2**32 + 1), rng.randrange(2**32 + 1), rng.getrandbits(rng.randrange(1, 49)),
                rng.getrandbits(rng.randrange(1, 41)), rng.randrange(1, 2**32 + 1), decay,
            )  # fmt: skip
        else:
            constants = (rng.randrange(2**32), 0, rng.getrandbits(rng.randrange(1, 33)), 0, 0, decay)
        v = rng.getrandbits(rng.randrange(1, 64)) if rule == "adamw" else 0
        edge = [-(2**31), 2**31 - 1, 0]
        cell = [rng.choice(edge) if rng.random() < 0.2 else magnitude(rng, 31) for _ in range(2)]
        cell = (*cell, v, rng.choice(edge) if rng.random() < 0.2 else magnitude(rng, 31))
        try:
            expected = getattr(MAKE, rule)(constants, *cell)[:3]
        except MAKE.Refused as e:
            refused += 1
            with pytest.raises(RangeError) as got:
                update(rule, Constants(*constants), *arrays(*([x] for x in cell)))
            assert (got.value.what, got.value.value) == e.args
            continue
        accepted += 1
        got = update(rule, Constants(*constants), *arrays(*([x] for x in cell)))
        assert tuple(int(column[0]) for column in got) == expected
    assert min(refused, accepted) > 300


def test_ties_of_u_are_rounded_up_on_both_sides_of_zero():
    # C = 0, so that s = 0 and u = round(A * m' / eps); beta1 = S keeps m.
    k = Constants(beta1=2**32, beta2=2**32, a=1, c=0, eps=2, decay=0)
    m = [-5, -3, -1, 1, 3, 5]
    w1, _, _ = update("adamw", k, *arrays([0] * 6, m, [0] * 6, [0] * 6))
    assert [-int(x) for x in w1] == [-2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize("c", [1, 2**16, 65536004, 2**39 + 12345, 2**40 - 1])
def test_roots_around_perfect_squares_are_floors(c):
    rng = random.Random(f"roots {c}")
    roots = [rng.getrandbits(bits) | 1 << (bits - 1) for bits in range(1, 41) for _ in range(20)]
    # The largest v whose root stays below each r, and its neighbours.
    v = sorted({max(r * r // c + d, 0) for r in [*roots, 2**40] for d in (-1, 0, 1)})
    v = [x for x in v if x < 2**63]
    with np.errstate(over="ignore"):
        s, too_large = _root(c, np.array(v, np.uint64))
    expected = [math.isqrt(c * x) for x in v]
    assert [bool(x) for x in too_large] == [x >= 2**40 for x in expected]
    assert [int(x) for x, large in zip(s, too_large) if not large] == [x for x in expected if x < 2**40]


def test_a_fresh_start_needs_zero_moments():
    k = Constants(2**31, 2**31, 1, 1, 1, 0)
    for what, m, v in (("m", [0, 7], [0, 0]), ("v", [0, 0], [0, 7])):
        with pytest.raises(NotFreshError) as refused:
            update("adamw", k, *arrays([0, 0], m, v, [0, 0]), fresh=True)
        assert (refused.value.what, refused.value.index, refused.value.value) == (what, 1, 7)


@pytest.mark.parametrize("rule", RULES)
def test_blocks_make_no_difference(rule, monkeypatch):
    rng = np.random.default_rng(5)
    n = 100
    w, m, g = (rng.integers(-(2**22), 2**22, n) for _ in range(3))
    v = rng.integers(0, 2**44, n).astype(np.uint64) * (rule == "adamw")
    k = Constants(3865470566, 4290672329, 42949669, 65536004, 2749, 2**40 if rule == "adamw" else 2**20)
    whole = update(rule, k, w, m, v, g)
    monkeypatch.setattr(arithmetic, "_BLOCK", 7)
    for a, b in zip(whole, update(rule, k, w, m, v, g)):
        assert a.dtype == b.dtype and a.tolist() == b.tolist()
    g[10] = 2**31
    with pytest.raises(RangeError, match=r"g\[10\] = 2147483648"):
        update(rule, k, w, m, v, g)


def test_the_package_does_without_torch():
    code = "import sys; sys.modules['torch'] = None; import cairn; assert 'cairn.optim' not in sys.modules"
    environment = {"PYTHONPATH": str(REPO / "python" / "src")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)

"""The update rules in exact integers, vectorised.

Source: ``docs/spec/statement.md`` (ids ``adamw-*``, ``sgd-*``, ``schedule-*``); equal, bit for bit, to the Rust reference
``circuits::reference`` on ``testdata/reference``.

Scale: w, g, m are Q24 (raw / 2^24); v is Q48; beta1, beta2, P1, P2, lr, weight decay, A, eps and s are Q32; C is Q16.
Rounding: to nearest, halves up, also below zero; v rounds up.

Intermediates have up to 128 bits, NumPy's integers 64. Each formula below is either split in 32-bit halves so that nothing
overflows, or found by a float64 estimate that is off by at most one and then corrected by an exact remainder: the remainder
is small, so computing it modulo 2^64 loses nothing. Where a comment gives a bound, it is why.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from .errors import NotFreshError, RangeError

#: 2^32, the denominator of all Q32 quantities.
S = 1 << 32
#: Signed Q24 values satisfy -SIGNED_LIMIT <= raw < SIGNED_LIMIT.
SIGNED_LIMIT = 1 << 31
#: Exclusive upper bound of v.
V_LIMIT = 1 << 63
#: Exclusive upper bound of s.
ROOT_LIMIT = 1 << 40
#: Exclusive upper bounds of A_t and C_t; inclusive of eps.
A_LIMIT, C_LIMIT, EPS_MAX = 1 << 48, 1 << 40, S

#: The two rules.
Rule = Literal["adamw", "sgd"]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

#: Parameters worked on at a time: their intermediates stay in the cache, which makes it two to three times faster.
_BLOCK = 8192

_LOW = np.uint64(0xFFFF_FFFF)
_32 = np.uint64(32)


@dataclasses.dataclass(frozen=True)
class Hyper:
    """Hyper-parameters, raw Q32. SGD: ``beta1`` is the momentum, ``beta2`` and ``eps`` are 0."""

    beta1: int
    beta2: int
    eps: int
    lr: int
    weight_decay: int

    def check(self, rule: Rule) -> None:
        """Raises :class:`RangeError` naming the first value that is outside its range for ``rule``."""
        for what in ("beta1", "beta2", "lr", "weight_decay"):
            _hyper(what, getattr(self, what), 0, S - 1)
        if rule == "adamw":
            _hyper("eps", self.eps, 1, EPS_MAX)
        else:
            _hyper("eps", self.eps, 0, 0)
            _hyper("beta2", self.beta2, 0, 0)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """P1, P2, A (Q32) and C (Q16) of one step."""

    p1: int
    p2: int
    a: int
    c: int


@dataclasses.dataclass(frozen=True)
class Constants:
    """What one step's gate reads. ``decay``: AdamW lr * weight decay (Q64), SGD weight decay (Q32)."""

    beta1: int
    beta2: int
    a: int
    c: int
    eps: int
    decay: int

    @staticmethod
    def of(rule: Rule, hyper: Hyper, schedule: Schedule) -> "Constants":
        """The constants of a step with these hyper-parameters and this schedule."""
        decay = hyper.weight_decay * (hyper.lr if rule == "adamw" else 1)
        return Constants(hyper.beta1, hyper.beta2, schedule.a, schedule.c, hyper.eps, decay)


def _hyper(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise RangeError(what, value, allowed=f"{low} <= raw <= {high}")


def next_schedule(rule: Rule, hyper: Hyper, products: tuple[int, int]) -> Schedule:
    """The schedule of the step after a state with products (P1, P2): spec ``schedule-p``, ``-a``, ``-c``.

    Raises:
        RangeError: a hyper-parameter, a product, A_t or C_t is outside its range.
    """
    hyper.check(rule)
    p1, p2 = products
    _hyper("p1", p1, 0, S)
    _hyper("p2", p2, 0, S)
    if rule == "sgd":
        return Schedule(p1, p2, hyper.lr, 0)
    p1 = (p1 * hyper.beta1 + S // 2) // S
    p2 = (p2 * hyper.beta2 + S // 2) // S
    a, c = hyper.lr * S // (S - p1), (1 << 48) // (S - p2)
    _hyper("A_t", a, 0, A_LIMIT - 1)
    _hyper("C_t", c, 0, C_LIMIT - 1)
    return Schedule(p1, p2, a, c)


def update(
    rule: Rule, constants: Constants, w: Int64, m: Int64, v: UInt64, g: Int64, *, fresh: bool = False
) -> tuple[Int64, Int64, UInt64]:
    """Applies the rule to every parameter; returns (w', m', v').

    Shape: all ``[n]``. Types: int64, v uint64; the inputs are not changed.

    Raises:
        RangeError: naming quantity, index and value of the first parameter whose input or result has no place in ``q24``.
        NotFreshError: ``fresh`` and a moment is not zero.
    """
    w1, m1, v1 = np.empty_like(w), np.empty_like(m), np.empty_like(v)
    for start in range(0, len(w), _BLOCK):
        part = slice(start, start + _BLOCK)
        bad = _block(rule, constants, (w[part], m[part], v[part], g[part]), (w1[part], m1[part], v1[part]), fresh)
        if bad is not None:
            index = start + bad
            _explain(rule, constants, index, int(w[index]), int(m[index]), int(v[index]), int(g[index]), fresh)
    return w1, m1, v1


def _block(rule: Rule, k: Constants, cells: tuple, out: tuple, fresh: bool) -> int | None:  # type: ignore[type-arg]
    """Writes the results of a few parameters to ``out``; the index of the first that has none, if there is one."""
    w, m, v, g = cells
    bad = _outside(w) | _outside(m) | _outside(g)
    bad |= v >= np.uint64(V_LIMIT) if rule == "adamw" else v != 0
    if fresh:
        bad |= (m != 0) | (v != 0)
    # Past a bad input the arithmetic may wrap; its results are not used.
    with np.errstate(over="ignore", invalid="ignore"):
        *results, also_bad = (_adamw if rule == "adamw" else _sgd)(k, w, m, v, g)
    bad |= also_bad
    for target, result in zip(out, results, strict=True):
        target[:] = result
    return int(bad.argmax()) if bad.any() else None


def _outside(x: Int64) -> npt.NDArray[np.bool_]:
    return (x < -SIGNED_LIMIT) | (x >= SIGNED_LIMIT)


def _adamw(k: Constants, w: Int64, m: Int64, v: UInt64, g: Int64):  # type: ignore[no-untyped-def]
    """Spec ``adamw-m``, ``-v``, ``-s``, ``-u``, ``-w``."""
    # m': a convex combination, so both products and their sum are within +-2^63, and the largest positive sum is
    # 2^32 * (2^31 - 1), which leaves room for the half that is added.
    m1 = (np.int64(k.beta1) * m + np.int64(S - k.beta1) * g + np.int64(S // 2)) >> 32

    # v': four products of 32 bits by at most 32 bits, high and low halves apart.
    square = (g * g).view(np.uint64)
    beta2, rest = np.uint64(k.beta2), np.uint64(S - k.beta2)
    low_v, low_g = beta2 * (v & _LOW), rest * (square & _LOW)
    low = (low_v & _LOW) + (low_g & _LOW)
    high = beta2 * (v >> _32) + rest * (square >> _32) + (low_v >> _32) + (low_g >> _32)
    v1 = high + ((low + _LOW) >> _32)
    bad = v1 >= np.uint64(V_LIMIT)

    s, too_large = _root(k.c, v1)
    bad |= too_large

    # u: x / d with x = A * |m'| < 2^79 and d < 2^41; a result that matters is at most 2^31, so the estimate is off by less
    # than one, and the remainder is below 2^42 in size. Halves go up: away from zero above it, towards zero below it.
    d = (s + np.uint64(k.eps)).view(np.int64)
    size = np.abs(m1)
    quotient_f = float(k.a) * size.astype(np.float64) / d.astype(np.float64)
    too_large = quotient_f > float(2 * SIGNED_LIMIT)
    quotient = np.where(too_large, 0.0, quotient_f).astype(np.int64)
    x = size.view(np.uint64) * np.uint64(k.a)
    remainder = (x - quotient.view(np.uint64) * d.view(np.uint64)).view(np.int64)
    quotient -= remainder < 0
    remainder = (x - quotient.view(np.uint64) * d.view(np.uint64)).view(np.int64)
    over = remainder >= d
    quotient += over
    remainder = np.where(over, remainder - d, remainder)
    negative = m1 < 0
    quotient += np.where(negative, 2 * remainder > d, 2 * remainder >= d)
    u = np.where(negative, -quotient, quotient)
    bad |= too_large | _outside(u)

    w1 = w - u
    if k.decay:
        # decay < 2^64 in halves: (high * w * 2^32 + low * w + 2^63) / 2^64, each product within +-2^63; the bits of
        # low * w that fall away cannot change the floor.
        high_d, low_d = np.int64(k.decay >> 32), np.int64(k.decay & 0xFFFF_FFFF)
        w1 = w1 - ((high_d * w + np.int64(1 << 31) + ((low_d * w) >> 32)) >> 32)
    bad |= _outside(w1) | _outside(m1)
    return w1, m1, v1, bad


def _root(c: int, v: UInt64) -> tuple[UInt64, npt.NDArray[np.bool_]]:
    """floor(sqrt(c * v)) and where it is 2^40 or more (0 or 2^40 stands there).

    With s < 2^40 the estimate is off by less than one, and the remainder is below 2^42 in size.
    """
    square_f = float(c) * v.astype(np.float64)
    too_large = square_f >= float(ROOT_LIMIT**2) * (1 + 2.0**-40)
    s = np.sqrt(np.where(too_large, 0.0, square_f)).astype(np.uint64)
    exact = np.uint64(c) * v
    s = s - ((exact - s * s).view(np.int64) < 0)
    s = s + ((exact - s * s).view(np.int64) > (s + s).view(np.int64))
    return s, too_large | (s >= np.uint64(ROOT_LIMIT))


def _sgd(k: Constants, w: Int64, m: Int64, v: UInt64, g: Int64):  # type: ignore[no-untyped-def]
    """Spec ``sgd-m``, ``sgd-w``."""
    # g * S is a multiple of S; the other two products are within +-2^63 each, so their halves are added apart.
    low = np.int64(0xFFFF_FFFF)
    moment, decay = np.int64(k.beta1) * m, np.int64(k.decay) * w
    carry = ((moment & low) + (decay & low) + np.int64(1 << 31)) >> 32
    m1 = g + (moment >> 32) + (decay >> 32) + carry
    bad = _outside(m1)
    u = (np.int64(k.a) * m1 + np.int64(1 << 31)) >> 32
    w1 = w - u
    bad |= _outside(u) | _outside(w1)
    return w1, m1, np.zeros_like(v), bad


def _nearest(x: int, y: int) -> int:
    return (2 * x + y) // (2 * y)


def _signed(what: str, value: int, index: int) -> int:
    if not -SIGNED_LIMIT <= value < SIGNED_LIMIT:
        raise RangeError(what, value, index)
    return value


def _explain(rule: Rule, k: Constants, index: int, w: int, m: int, v: int, g: int, fresh: bool) -> None:
    """Raises the error of one parameter that has no result, with exact values, in the order of the Rust reference."""
    for what, value in (("w", w), ("m", m), ("g", g)):
        _signed(what, value, index)
    if v >= V_LIMIT or (rule == "sgd" and v != 0):
        raise RangeError("v", v, index, allowed=None if rule == "adamw" else "0 (SGD has no second moment)")
    for what, value in (("m", m), ("v", v)):
        if fresh and value != 0:
            raise NotFreshError(what, index, value)
    if rule == "sgd":
        m1 = _signed("m'", _nearest(k.beta1 * m + S * g + k.decay * w, S), index)
        u = _signed("u", _nearest(k.a * m1, S), index)
        _signed("w'", w - u, index)
    else:
        m1 = _nearest(k.beta1 * m + (S - k.beta1) * g, S)
        v1 = -(-(k.beta2 * v + (S - k.beta2) * g * g) // S)
        if v1 >= V_LIMIT:
            raise RangeError("v'", v1, index)
        s = math.isqrt(k.c * v1)
        if s >= ROOT_LIMIT:
            raise RangeError("s", s, index)
        u = _signed("u", _nearest(k.a * m1, s + k.eps), index)
        _signed("w'", w - u - _nearest(k.decay * w, 1 << 64), index)
        _signed("m'", m1, index)
    raise AssertionError(f"parameter {index} was refused by the vectorised rule only: this is a bug of the package")

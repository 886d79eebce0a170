"""Real numbers to raw integers and back.

Everything is multiplied in float64 and rounded to nearest, halves to even; the same as ``prover::train`` does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .arithmetic import S, SIGNED_LIMIT, Hyper, Int64, Rule
from .errors import RangeError
from .layout import Layout

#: One unit of w and g is 1 / ONE_Q24.
ONE_Q24 = float(1 << 24)
#: Factor of the loss that keeps the fractions of small gradients, as in the reference trainer (``docs/fidelity.md``).
DEFAULT_GRADIENT_SCALE_LOG2 = 6


def to_q24(
    values: npt.NDArray[np.floating], *, scale: float = 1.0, what: str = "g", layout: Layout | None = None, step: int | None = None
) -> Int64:
    """Raw Q24 of ``values * scale``; rounded, never clamped.

    Raises:
        RangeError: a value is not a number, infinite or outside -128 <= x < 128 after scaling; names tensor, index, value.
    """
    scaled = np.asarray(values, dtype=np.float64) * (scale * ONE_Q24)
    raw = np.rint(scaled)
    # Written so that NaN is outside.
    inside = (raw >= -float(SIGNED_LIMIT)) & (raw < float(SIGNED_LIMIT))
    if not inside.all():
        index = int(np.argmin(inside))
        value = float(np.asarray(values).reshape(-1)[index]) * scale
        tensor = None
        if layout is not None:
            found, index = layout.locate(index)
            tensor = found.name
        raise RangeError(what, value, index, tensor, step, allowed="-128 <= x < 128 after scaling (Q24)")
    return raw.astype(np.int64)


def from_q24(raw: Int64) -> npt.NDArray[np.float64]:
    """The real values, exactly."""
    return raw.astype(np.float64) / ONE_Q24


def _raw(what: str, value: float, factor: float, largest: float) -> int:
    scaled = float(np.rint(float(value) * factor * S))
    if not (value >= 0.0 and scaled <= largest):
        raise RangeError(what, value, allowed="0 <= x < 1 after scaling" if largest == S - 1 else f"0 <= raw <= {largest:.0f}")
    return int(scaled)


def hyper(
    rule: Rule,
    *,
    lr: float,
    beta1: float,
    beta2: float = 0.0,
    eps: float = 0.0,
    weight_decay: float = 0.0,
    gradient_scale_log2: int = DEFAULT_GRADIENT_SCALE_LOG2,
) -> Hyper:
    """Raw hyper-parameters for gradients that are scaled by ``2**gradient_scale_log2``.

    AdamW: eps is multiplied by the scale, and at least one unit. SGD: lr is divided by it and the (coupled) weight decay
    multiplied, so that the weights move as they would without a scale.

    Raises:
        RangeError: naming the first value that cannot be represented.
    """
    if not 0 <= gradient_scale_log2 <= 16:
        raise RangeError("gradient_scale_log2", gradient_scale_log2, allowed="0 to 16")
    factor, one = float(1 << gradient_scale_log2), float(S - 1)
    raw_beta1 = _raw("beta1", beta1, 1.0, one)
    if rule == "adamw":
        if eps == 0.0:
            raise RangeError("eps", eps, allowed="0 < x <= 1 after scaling")
        raw_eps = max(_raw("eps", eps, factor, float(S)), 1)
        raw_beta2 = _raw("beta2", beta2, 1.0, one)
        return Hyper(raw_beta1, raw_beta2, raw_eps, _raw("lr", lr, 1.0, one), _raw("weight_decay", weight_decay, 1.0, one))
    for what, value in (("beta2", beta2), ("eps", eps)):
        _raw(what, value, 1.0, 0.0)
    decay = _raw("weight_decay", weight_decay, factor, one)
    return Hyper(raw_beta1, 0, 0, _raw("lr", lr, 1.0 / factor, one), decay)

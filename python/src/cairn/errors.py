"""What can go wrong, one class per kind; all are :class:`CairnError`."""

from __future__ import annotations

from typing import Any


class CairnError(Exception):
    """Base of every error of this package."""


class RangeError(CairnError, ValueError):
    """A value has no place in format ``q24``.

    Source: ``docs/spec/statement.md``, "Numbers". Nothing was changed when it is raised.

    Attributes:
        what: the quantity, such as ``g``, ``w'``, ``s`` or ``beta1``.
        index: position of the parameter in the vector or in ``tensor``; none for hyper-parameters.
        value: the value found; raw, or real where it could not even be quantized.
        tensor: name of the tensor, where a layout is known.
        step: the step, where it is known.
    """

    #: Allowed values of each quantity, for messages.
    RANGES = {
        "v": "0 <= raw < 2^63 (Q48)",
        "v'": "0 <= raw < 2^63 (Q48)",
        "s": "s < 2^40 (Q32), s the root of C*v'",
    }

    def __init__(
        self,
        what: str,
        value: Any,
        index: int | None = None,
        tensor: str | None = None,
        step: int | None = None,
        allowed: str | None = None,
    ) -> None:
        self.what, self.value, self.index, self.tensor, self.step = what, value, index, tensor, step
        self.allowed = allowed or self.RANGES.get(what, "-2^31 <= raw < 2^31 (Q24: |x| < 128)")
        place = "" if step is None else f"step {step}: "
        where = "" if index is None else f"[{index}]"
        of = "" if tensor is None else f" of {tensor}"
        at = f"{what}{of}{where}" if tensor is not None else f"{what}{where}"
        super().__init__(f"{place}{at} = {value} is outside {self.allowed}")


class NotFreshError(CairnError, ValueError):
    """A fresh state has a moment that is not zero."""

    def __init__(self, what: str, index: int, value: int) -> None:
        self.what, self.index, self.value = what, index, value
        super().__init__(f"{what}[{index}] = {value} must be 0 at a fresh start")


class LayoutError(CairnError, ValueError):
    """Parameters that have no layout, or are not those of a layout."""


class FrameError(CairnError, ValueError):
    """Bytes that are not a tensor frame (safetensors)."""


class GroupError(CairnError, ValueError):
    """Parameter groups differ in a value that one step's statement has once."""


class ServiceError(CairnError):
    """The prover service refused, or could not be reached.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        code: the service's word for it, such as ``step_out_of_order``.
        details: whatever the service adds: expected and got, tensor, index, value.
    """

    def __init__(self, status: int, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        self.status, self.code, self.details = status, code, dict(details or {})
        super().__init__(f"{code} ({status}): {message}" if status else f"{code}: {message}")

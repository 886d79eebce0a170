"""The integer state of a run, and steps on it, by names of tensors and without torch."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from . import quantize
from .arithmetic import S, Constants, Hyper, Int64, Rule, Schedule, UInt64, next_schedule, update
from .errors import CairnError, NotFreshError, RangeError
from .layout import Layout, chunk_ranges


@dataclasses.dataclass(frozen=True)
class State:
    """Weights, moments and products between two steps; immutable by convention. Shape: all ``[n]``."""

    w: Int64
    m: Int64
    v: UInt64
    p1: int = S
    p2: int = S

    @staticmethod
    def fresh(w: Int64) -> "State":
        """m = v = 0, P1 = P2 = 1."""
        return State(w, np.zeros_like(w), np.zeros(w.shape, dtype=np.uint64))

    def part(self, r: range) -> "State":
        """The parameters of one chunk."""
        at = slice(r.start, r.stop)
        return State(self.w[at], self.m[at], self.v[at], self.p1, self.p2)

    def to_bytes(self) -> bytes:
        """The private state file: magic, n, P1, P2 (u64), w, m (i32), v (u64), little-endian (``prover::state_file``)."""
        header = np.array([len(self.w), self.p1, self.p2], dtype="<u8")
        body = (self.w.astype("<i4"), self.m.astype("<i4"), self.v.astype("<u8"))
        return b"CAIRNST1" + header.tobytes() + b"".join(part.tobytes() for part in body)

    @staticmethod
    def from_bytes(data: bytes) -> "State":
        """Reads what :meth:`to_bytes` wrote.

        Raises:
            CairnError: other bytes.
        """
        if len(data) < 32 or data[:8] != b"CAIRNST1":
            raise CairnError("not a state: it does not begin with CAIRNST1 and a header of 32 bytes")
        n, p1, p2 = (int(x) for x in np.frombuffer(data, "<u8", 3, 8))
        if len(data) != 32 + 16 * n:
            raise CairnError(f"a state of {n} parameters has {32 + 16 * n} bytes, got {len(data)}")
        w = np.frombuffer(data, "<i4", n, 32).astype(np.int64)
        m = np.frombuffer(data, "<i4", n, 32 + 4 * n).astype(np.int64)
        return State(w, m, np.frombuffer(data, "<u8", n, 32 + 8 * n).astype(np.uint64), p1, p2)

    def digest(self) -> str:
        """SHA-256 of :meth:`to_bytes` as ``0x`` hex: tells the service and the trainer that they are in the same state."""
        return "0x" + hashlib.sha256(self.to_bytes()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Step:
    """One step that was applied: everything its proof needs. Gradients are those of the scaled loss, raw Q24."""

    index: int
    before: State
    gradient: Int64
    after: State
    hyper: Hyper
    schedule: Schedule

    def chunks(self, n_chunks: int) -> list[tuple[State, Int64]]:
        """State before and gradient of each chunk."""
        ranges = chunk_ranges(len(self.gradient), n_chunks)
        return [(self.before.part(r), self.gradient[r.start : r.stop]) for r in ranges]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What stays the same for a whole run: the policy's values but for the largest learning rate."""

    rule: Rule
    beta1: float
    beta2: float = 0.0
    eps: float = 0.0
    weight_decay: float = 0.0
    gradient_scale_log2: int = quantize.DEFAULT_GRADIENT_SCALE_LOG2

    def hyper(self, lr: float) -> Hyper:
        """Raw values at learning rate ``lr``.

        Raises:
            RangeError: a value that cannot be represented.
        """
        return quantize.hyper(lr=lr, **dataclasses.asdict(self))

    @property
    def gradient_scale(self) -> float:
        """Factor of the gradients."""
        return float(1 << self.gradient_scale_log2)


class IntegerOptimizer:
    """Applies the exact update to a vector of named parameters. The numpy path: it needs no torch.

    ``on_step`` is called with each :class:`Step` after it was applied; an exception in it does not undo the step.
    """

    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        state: State,
        *,
        step: int = 0,
        has_parent: bool = False,
    ) -> None:
        if len(state.w) != layout.n_params:
            raise CairnError(f"the state has {len(state.w)} parameters, the layout {layout.n_params}")
        self.settings, self.layout, self.state, self.step_index = settings, layout, state, step
        self.has_parent = has_parent
        self._listeners: list[Callable[[Step], None]] = []

    @classmethod
    def fresh(cls, settings: Settings, weights: Mapping[str, npt.ArrayLike]) -> "IntegerOptimizer":
        """A fresh run from real weights, rounded to Q24, laid out by name.

        Raises:
            RangeError: a weight is outside -128 <= w < 128.
        """
        layout = Layout.by_name({name: np.shape(value) for name, value in weights.items()})
        flat = layout.flatten(weights, np.float64)
        return cls(settings, layout, State.fresh(quantize.to_q24(flat, what="w", layout=layout)))  # type: ignore[arg-type]

    def on_step(self, listener: Callable[[Step], None]) -> Callable[[], None]:
        """Calls ``listener`` after each step; returns what removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def weights(self) -> dict[str, npt.NDArray[np.float64]]:
        """The weights as real numbers, exactly, by name."""
        return self.layout.unflatten(quantize.from_q24(self.state.w))  # type: ignore[return-value]

    def step(self, gradients: Mapping[str, npt.ArrayLike], lr: float) -> Step:
        """Applies one step with real gradients of the unscaled loss, by name.

        Raises:
            RangeError: a gradient, hyper-parameter or result has no place in ``q24``; names tensor, index and value, and
                nothing was changed.
            LayoutError: other tensors than the layout's.
        """
        flat = self.layout.flatten(gradients, np.float64)
        return self.step_flat(flat, lr)  # type: ignore[arg-type]

    def step_flat(self, gradient: npt.NDArray[np.float64], lr: float) -> Step:
        """:meth:`step` with one vector in the order of the layout."""
        scale = self.settings.gradient_scale
        raw = quantize.to_q24(gradient, scale=scale, layout=self.layout, step=self.step_index)
        return self.step_raw(raw, self.settings.hyper(lr))

    def step_raw(self, gradient: Int64, hyper: Hyper) -> Step:
        """Applies one step with a raw gradient and raw hyper-parameters.

        Raises:
            RangeError: as :meth:`step`.
        """
        rule, before, index = self.settings.rule, self.state, self.step_index
        schedule = next_schedule(rule, hyper, (before.p1, before.p2))
        fresh = index == 0 and not self.has_parent
        try:
            constants = Constants.of(rule, hyper, schedule)
            w, m, v = update(rule, constants, before.w, before.m, before.v, gradient, fresh=fresh)
        except RangeError as error:
            if error.index is None:
                raise
            tensor, inside = self.layout.locate(error.index)
            raise RangeError(error.what, error.value, inside, tensor.name, index, error.allowed) from None
        except NotFreshError as error:
            tensor, inside = self.layout.locate(error.index)
            raise NotFreshError(f"step {index}: {error.what} of {tensor.name}", inside, error.value) from None
        after = State(w, m, v, schedule.p1, schedule.p2)
        step = Step(index, before, gradient, after, hyper, schedule)
        self.state, self.step_index = after, index + 1
        for listener in list(self._listeners):
            listener(step)
        return step

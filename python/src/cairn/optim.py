"""``torch.optim.Optimizer``s whose weights are the integer state that gets proved. The only module that imports torch.

Order in a training step, as with any optimizer: ``loss.backward()``; unscale and clip gradients if you do
(``torch.nn.utils.clip_grad_norm_``: on the gradients of *your* loss, before anything below); ``optimizer.step()``, which
multiplies the gradients by 2^6 (``gradient_scale_log2``), rounds them to Q24 and applies the exact update; ``scheduler.step()``.

The state is exact, whatever type the parameters have: after each step every parameter is set to its weight rounded to its
own type. In float32 that rounds nothing while |w| < 1. A parameter that somebody else changes between two steps is refused:
what is proved would not be what was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import Optimizer

from . import quantize
from .arithmetic import Rule
from .errors import CairnError, GroupError, LayoutError
from .layout import Layout
from .state import IntegerOptimizer, Settings, State, Step

#: Whatever names its parameters: a module, ``module.named_parameters()``, or groups of those.
Named = torch.nn.Module | Iterable[tuple[str, torch.Tensor]] | Iterable[dict[str, Any]]


def _with_grad(params: Any) -> Any:
    """Parameters that are trained; what has ``requires_grad`` off is not part of the run."""
    if isinstance(params, torch.nn.Module):
        params = params.named_parameters()
    kept = []
    for entry in params:
        if isinstance(entry, dict):
            kept.append({**entry, "params": _with_grad(entry["params"])})
            continue
        if not (isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)):
            raise LayoutError("parameters need names: pass the model or model.named_parameters()")
        if entry[1].requires_grad:
            kept.append(entry)
    return kept


class CairnOptimizer(Optimizer):
    """What :class:`CairnAdamW` and :class:`CairnSGD` share."""

    _rule: Rule

    def __init__(self, params: Named, defaults: dict[str, Any], gradient_scale_log2: int) -> None:
        self._sealed = False
        super().__init__(_with_grad(params), defaults)
        self._sealed = True
        named: dict[str, torch.Tensor] = {}
        for group in self.param_groups:
            for name, p in zip(group["param_names"], group["params"], strict=True):
                if name in named:
                    raise LayoutError(f"tensor {name!r} is there twice")
                if not p.is_floating_point():
                    raise LayoutError(f"tensor {name!r}: expected floating-point values, got {p.dtype}")
                named[name] = p
        layout = Layout.by_name({name: p.shape for name, p in named.items()})
        #: Parameters in the order of the layout.
        self._params = [(t, named[t.name]) for t in layout]
        self._scale_log2 = gradient_scale_log2
        settings = self._settings()
        settings.hyper(self._lr())
        raw = quantize.to_q24(self._gather(lambda p: p), what="w", layout=layout)
        #: The integer optimizer behind it: ``cairn.state`` is what gets proved, ``cairn.layout`` where tensors are in it.
        self.cairn = IntegerOptimizer(settings, layout, State.fresh(raw))
        self._written: list[torch.Tensor] = []
        self._publish()

    def _settings(self) -> Settings:
        raise NotImplementedError

    def _value(self, key: str) -> Any:
        """The value that all groups have.

        Raises:
            GroupError: they differ.
        """
        first = self.param_groups[0][key]
        for i, group in enumerate(self.param_groups):
            if group[key] != first:
                raise GroupError(
                    f"group {i} has {key} = {group[key]}, group 0 has {first}: a step's statement has one {key}; "
                    "train such parameters in runs of their own"
                )
        return first

    def _lr(self) -> float:
        return float(self._value("lr"))

    def _gather(self, value: Callable[[torch.Tensor], torch.Tensor | None]) -> Any:
        """One float64 vector of a value of each parameter, zeros where there is none."""
        n = sum(t.size for t, _ in self._params)
        out = np.zeros(n, dtype=np.float64)
        for t, p in self._params:
            x = value(p)
            if x is None:
                continue
            if x.is_sparse:
                raise LayoutError(f"tensor {t.name!r}: sparse gradients are not supported")
            dense = x.detach().reshape(-1)
            dense = dense if dense.dtype in (torch.float32, torch.float64) else dense.to(torch.float32)
            out[t.offset : t.offset + t.size] = dense.cpu().numpy()
        return out

    @torch.no_grad()
    def _publish(self) -> None:
        """Sets every parameter to its weight."""
        weights = torch.from_numpy(quantize.from_q24(self.cairn.state.w))
        written = []
        for t, p in self._params:
            p.copy_(weights[t.offset : t.offset + t.size].view(p.shape))
            written.append(p.detach().clone())
        self._written = written

    @torch.no_grad()
    def check_weights(self) -> None:
        """Checks that the parameters are what the last step made them.

        Raises:
            CairnError: naming the first tensor that somebody changed.
        """
        for (t, p), written in zip(self._params, self._written, strict=True):
            if not torch.equal(p, written.to(p.device)):
                raise CairnError(
                    f"tensor {t.name!r} was changed outside of the optimizer: what is proved would not be what is "
                    "trained. Load weights before making the optimizer, or call adopt_weights() before the first step"
                )

    def adopt_weights(self) -> None:
        """Starts from what the parameters hold now. Only before the first step of a fresh run.

        Raises:
            CairnError: there were steps, or the run has a parent.
        """
        if self.cairn.step_index or self.cairn.has_parent:
            raise CairnError("weights can be adopted before the first step of a run without parent only")
        raw = quantize.to_q24(self._gather(lambda p: p), what="w", layout=self.cairn.layout)
        self.cairn.state = State.fresh(raw)
        self._publish()

    def restore(self, state: State, step: int, *, has_parent: bool, layout: Layout | None = None) -> None:
        """Goes on from ``state``, the one before ``step``; sets the parameters to its weights.

        Raises:
            LayoutError: ``layout`` has other tensors than the model.
        """
        layout = layout or self.cairn.layout
        if {(t.name, t.shape) for t in layout} != {(t.name, t.shape) for t in self.cairn.layout}:
            raise LayoutError(f"expected the tensors of {self.cairn.layout}, got {layout}")
        by_name = {t.name: p for t, p in self._params}
        listeners = self.cairn._listeners
        self.cairn = IntegerOptimizer(self.cairn.settings, layout, state, step=step, has_parent=has_parent)
        self.cairn._listeners = listeners
        self._params = [(t, by_name[t.name]) for t in layout]
        self._publish()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Applies one step. A parameter without gradient counts as one whose gradient is zero.

        Raises:
            RangeError: a gradient or result has no place in ``q24``: names tensor, index and value; nothing was changed.
            GroupError: groups differ, or a value other than lr is not what it was.
            CairnError: a parameter was changed by somebody else.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        settings = self._settings()
        if settings != self.cairn.settings:
            raise GroupError(f"only lr may change during a run: expected {self.cairn.settings}, got {settings}")
        self.check_weights()
        # A listener that fails (the service refused) must not leave model and state apart.
        before = self.cairn.step_index
        try:
            self.cairn.step_flat(self._gather(lambda p: p.grad), self._lr())
        finally:
            if self.cairn.step_index != before:
                self._publish()
        return loss

    def on_step(self, listener: Callable[[Step], None]) -> Callable[[], None]:
        """Calls ``listener`` with each step that was applied; returns what removes it."""
        return self.cairn.on_step(listener)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only while the optimizer is made: the parameters of a run are fixed.

        Raises:
            CairnError: later.
        """
        if self._sealed:
            raise CairnError("the parameters of a run are fixed: make a new optimizer")
        super().add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """Torch's, and under ``cairn`` the integer state as int64 tensors (torch would cast a per-parameter state)."""
        state = self.cairn.state
        core = {
            "version": 1,
            "rule": self._rule,
            "gradient_scale_log2": self._scale_log2,
            "layout": self.cairn.layout.to_json(),
            "step": self.cairn.step_index,
            "has_parent": self.cairn.has_parent,
            "p1": state.p1,
            "p2": state.p2,
            "w": torch.from_numpy(state.w.copy()),
            "m": torch.from_numpy(state.m.copy()),
            "v": torch.from_numpy(state.v.astype(np.int64)),
        }
        return {**super().state_dict(), "cairn": core}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a saved state: parameters included, so that the order of loading does not matter.

        Raises:
            CairnError: a state of another optimizer, version, model or scale; nothing was changed.
        """
        core = state_dict.get("cairn")
        if not isinstance(core, dict) or core.get("version") != 1:
            raise CairnError("not the state of a Cairn optimizer of version 1")
        for key, expected in (("rule", self._rule), ("gradient_scale_log2", self._scale_log2)):
            if core[key] != expected:
                raise CairnError(f"the saved state has {key} {core[key]}, this optimizer {expected}")
        layout = Layout.from_json(core["layout"])
        w, m, v = (core[key].cpu().numpy() for key in ("w", "m", "v"))
        state = State(w.astype(np.int64), m.astype(np.int64), v.astype(np.uint64), int(core["p1"]), int(core["p2"]))
        if len(state.w) != layout.n_params or {(t.name, t.shape) for t in layout} != {
            (t.name, t.shape) for t in self.cairn.layout
        }:
            raise CairnError(f"the saved state is of {layout}, this model has {self.cairn.layout}")
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "cairn"})
        self.cairn.settings = self._settings()
        self.restore(state, int(core["step"]), has_parent=bool(core["has_parent"]), layout=layout)


class CairnAdamW(CairnOptimizer):
    """AdamW with decoupled weight decay, in exact integers. ``weight_decay=0`` (the default here) is Adam.

    Source: Loshchilov & Hutter, arXiv:1711.05101, Algorithm 2; ``docs/spec/statement.md``, ids ``adamw-*``.

    Args:
        params: a module, ``module.named_parameters()``, or groups of named parameters.
        lr: 0 <= lr < 1; may change every step, by hand or by ``torch.optim.lr_scheduler``.
        betas, eps, weight_decay: fixed for a run, the same in all groups.
        gradient_scale_log2: factor of the gradients before they are rounded to 2^-24; eps is scaled alike.
    """

    _rule: Rule = "adamw"

    def __init__(
        self,
        params: Named,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        gradient_scale_log2: int = quantize.DEFAULT_GRADIENT_SCALE_LOG2,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults, gradient_scale_log2)

    def _settings(self) -> Settings:
        beta1, beta2 = self._value("betas")
        return Settings("adamw", beta1, beta2, self._value("eps"), self._value("weight_decay"), self._scale_log2)


class CairnSGD(CairnOptimizer):
    """SGD with momentum (dampening 0) and coupled weight decay, in exact integers.

    Source: ``docs/spec/statement.md``, ids ``sgd-*``. As ``torch.optim.SGD`` with the same arguments.

    Args:
        params: a module, ``module.named_parameters()``, or groups of named parameters.
        lr: 0 <= lr < 64 at the default scale; may change every step.
        momentum, weight_decay: fixed for a run, the same in all groups.
        gradient_scale_log2: factor of the gradients before they are rounded; lr is divided by it and weight decay multiplied.
    """

    _rule: Rule = "sgd"

    def __init__(
        self,
        params: Named,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        *,
        gradient_scale_log2: int = quantize.DEFAULT_GRADIENT_SCALE_LOG2,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}, gradient_scale_log2)

    def _settings(self) -> Settings:
        momentum, decay = self._value("momentum"), self._value("weight_decay")
        return Settings("sgd", momentum, weight_decay=decay, gradient_scale_log2=self._scale_log2)

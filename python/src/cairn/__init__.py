"""Provable training: optimizers in exact integers, and a client of the Cairn prover service.

A proof says that each committed state is what the declared optimizer makes of the state and gradient before it. It does not
say that the gradient is honest or the data good.

=============================  =============================================================
module                         purpose
=============================  =============================================================
:mod:`cairn.arithmetic`        the update rules in exact integers, vectorised
:mod:`cairn.layout`            named tensors as one vector, chunks
:mod:`cairn.quantize`          real numbers to raw integers and back
:mod:`cairn.state`             the integer state, steps on it; needs no torch
:mod:`cairn.optim`             ``torch.optim.Optimizer``s; imports torch
:mod:`cairn.huggingface`       a callback of the Hugging Face trainer; imports transformers
:mod:`cairn.run`               a run that is proved while it is trained
:mod:`cairn.client`            the prover service over HTTP
:mod:`cairn.frames`            tensor frames (safetensors)
:mod:`cairn.errors`            what can go wrong
=============================  =============================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .arithmetic import Hyper
from .client import Client
from .errors import CairnError, FrameError, GroupError, LayoutError, NotFreshError, RangeError, ServiceError
from .layout import Layout
from .run import Collector, Run
from .state import IntegerOptimizer, Settings, State, Step

if TYPE_CHECKING:
    from .optim import CairnAdamW, CairnSGD

__version__ = "0.1.0"

__all__ = [
    "CairnAdamW",
    "CairnError",
    "CairnSGD",
    "Client",
    "Collector",
    "FrameError",
    "GroupError",
    "Hyper",
    "IntegerOptimizer",
    "Layout",
    "LayoutError",
    "NotFreshError",
    "RangeError",
    "Run",
    "ServiceError",
    "Settings",
    "State",
    "Step",
]


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import, and the numpy path does without it.
    if name in ("CairnAdamW", "CairnSGD"):
        from . import optim

        return getattr(optim, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

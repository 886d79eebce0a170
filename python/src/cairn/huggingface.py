"""Runs from the Hugging Face ``Trainer``: a callback. Imports transformers. (With Accelerate alone, ``cairn.Run`` takes the
prepared optimizer as it is.)

    optimizer = CairnAdamW(model, lr=1e-4)
    trainer = Trainer(model, args, train_dataset=..., optimizers=(optimizer, None),
                      callbacks=[CairnCallback("http://127.0.0.1:7878", lr_max=1e-4)])
    trainer.train()

The trainer clips gradients (``max_grad_norm``) before ``optimizer.step()`` and sets the learning rate by its scheduler, as
with any optimizer. Gradient accumulation, one process and full precision are fine; several processes are not: each would write
the run.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from .errors import CairnError
from .run import Run, unwrap


class CairnCallback(TrainerCallback):
    """Makes the run when training begins, and finishes it when training ends.

    Args:
        service: address of ``cairn prover serve``.
        resume: id of a run to go on with, instead of making one.
        more: arguments of :class:`cairn.Run`.
    """

    def __init__(self, service: str, *, resume: str | None = None, **more: Any) -> None:
        self._service, self._resume, self._more = service, resume, more
        #: The run, once training began.
        self.run: Run | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Makes the run.

        Raises:
            CairnError: the optimizer is not a Cairn one, or there are several processes.
        """
        # Accelerate wraps optimizers.
        optimizer = unwrap(kwargs["optimizer"])
        if getattr(args, "world_size", 1) > 1:
            raise CairnError(f"a run has one writer, this training has {args.world_size} processes")
        if self._resume:
            self.run = Run.resume(optimizer, self._resume, self._service, **self._more)
            return
        notes = {"trainer": "transformers", "batch_size": str(getattr(args, "train_batch_size", ""))}
        notes |= self._more.pop("notes", None) or {}
        if "lr_max" not in self._more:
            # A warm-up's first rate would be too low for the rest.
            self._more["lr_max"] = max(g.get("initial_lr", g["lr"]) for g in optimizer.param_groups)
        self.run = Run(optimizer, self._service, notes=notes, **self._more)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Says which pass over the data the coming step belongs to."""
        if self.run is not None and state.epoch is not None:
            self.run.log(data_epoch=f"{state.epoch:.6g}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Sends what waits and finishes the run; proving may go on: ``callback.run.wait()``."""
        if self.run is not None:
            self.run.finish()

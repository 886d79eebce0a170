"""A run that is proved while it is trained.

    optimizer = CairnAdamW(model, lr=1e-3)
    with cairn.Run(optimizer, "http://127.0.0.1:7878", lr_max=1e-3) as run:
        for x, y in batches:
            ...
            loss.backward()
            run.log(loss=loss.item())       # about the step that comes
            optimizer.step()                # applied here, sent in the background, proved by the service
    print(run.id, run.status()["run_dir"])
"""

from __future__ import annotations

import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from .client import Client, read_token
from .errors import CairnError, ServiceError
from .layout import Layout, auto_chunks
from .quantize import from_q24
from .state import IntegerOptimizer, State, Step


class Optimizer(Protocol):
    """What a run needs of an optimizer: the torch ones, or :class:`~cairn.IntegerOptimizer`."""

    def on_step(self, listener: Callable[[Step], None]) -> Callable[[], None]: ...


def unwrap(optimizer: Any) -> Any:
    """The optimizer itself, where Accelerate or the like wrapped it.

    Raises:
        CairnError: it is not a Cairn optimizer.
    """
    found = optimizer
    while not isinstance(found, IntegerOptimizer) and not isinstance(getattr(found, "cairn", None), IntegerOptimizer):
        found = getattr(found, "optimizer", None)
        if found is None:
            kind = f"{type(optimizer).__module__}.{type(optimizer).__name__}"
            raise CairnError(f"expected CairnAdamW, CairnSGD or IntegerOptimizer, got {kind}")
    return found


def _core(optimizer: Any) -> IntegerOptimizer:
    return optimizer if isinstance(optimizer, IntegerOptimizer) else optimizer.cairn


def _restore(optimizer: Any, layout: Layout, state: State, step: int, has_parent: bool) -> None:
    """Sets an optimizer, and its model's parameters if it has some, to a state."""
    if not isinstance(optimizer, IntegerOptimizer):
        optimizer.restore(state, step, has_parent=has_parent, layout=layout)
        return
    if {(t.name, t.shape) for t in layout} != {(t.name, t.shape) for t in optimizer.layout}:
        raise CairnError(f"expected the tensors of {optimizer.layout}, got {layout}")
    optimizer.layout, optimizer.state, optimizer.step_index, optimizer.has_parent = layout, state, step, has_parent


def _text(value: float) -> str:
    """A number as the log spells it: the shortest decimal text, without exponent, that reads back as the same float."""
    number = float(value)
    if not np.isfinite(number):
        raise CairnError(f"expected a finite number, got {number}")
    return np.format_float_positional(number, trim="-", unique=True)


class Run:
    """Sends each step of an optimizer to a prover service, in the background.

    Args:
        optimizer: its state is the run's; a fresh one, at step 0.
        service: address of ``cairn prover serve``.
        lr_max: the policy's largest learning rate, real; the optimizer's present one if not given.
        parent: id of a finished run, to go on from: the optimizer gets its final weights and moments.
        notes: for ``run.json``, such as the model's name or the length of an epoch of the data. Keys of ``a-z 0-9 _``.
        dataset: name and SHA-256 (``0x`` hex) of the data.
        n_chunks: chunks of a step; as many as needed if not given.
        epoch_len: steps aggregated in one proof, a power of two.
        epoch_k: k of the epoch circuit; with 20 epochs of 4 steps are proved a third faster and cost some 50,000 gas more on chain.
        salt, chain_id, contract, owner: what the run id is made of; see ``cairn train --help``.
        token, token_file: see :func:`cairn.client.read_token`.
        ahead: steps that may wait to be sent. When they do, ``optimizer.step()`` waits.
        full_state: send w, m, v of each step too, not only their digest.

    Leaving the ``with`` block sends what waits and finishes the run; after an exception it sends what waits, and the run can be
    resumed. Proving may go on behind it: see :meth:`wait`.
    """

    def __init__(
        self,
        optimizer: Any,
        service: str,
        *,
        lr_max: float | None = None,
        parent: str | None = None,
        notes: Mapping[str, str] | None = None,
        dataset: tuple[str, str] | None = None,
        n_chunks: int | None = None,
        epoch_len: int = 4,
        epoch_k: int = 21,
        step_k: int | None = None,
        salt: str | None = None,
        chain_id: int = 31337,
        contract: str = "0x" + "00" * 20,
        owner: str = "0x" + "00" * 20,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        ahead: int = 4,
        full_state: bool = False,
        client: Client | None = None,
    ) -> None:
        optimizer = unwrap(optimizer)
        core = _core(optimizer)
        if core.step_index:
            raise CairnError(f"a new run starts at step 0, the optimizer is at {core.step_index}: use Run.resume")
        client = client or Client(service, read_token(token, token_file))
        settings = core.settings
        lr_max = _present_lr(optimizer) if lr_max is None else lr_max
        hyper = settings.hyper(lr_max)
        description: dict[str, Any] = {
            "rule": settings.rule,
            "beta1": str(hyper.beta1),
            "beta2": str(hyper.beta2),
            "eps": str(hyper.eps),
            "weight_decay": str(hyper.weight_decay),
            "lr_max": str(hyper.lr),
            "n_chunks": n_chunks or auto_chunks(core.layout.n_params),
            "epoch_len": epoch_len,
            "epoch_k": epoch_k,
            "step_k": step_k,
            "chain_id": chain_id,
            "contract": contract,
            "owner": owner,
            "salt": salt or "0x" + secrets.token_hex(32),
            "parent": parent,
            "dataset": None if dataset is None else {"name": dataset[0], "digest": dataset[1]},
            "notes": {"loss_scale_log2": str(settings.gradient_scale_log2), **(notes or {})},
        }
        weights = {} if parent else {n: x.astype(np.int32) for n, x in core.layout.unflatten(core.state.w).items()}
        status = client.create_run(description, weights)
        self._begin(optimizer, client, status, ahead, full_state)

    @classmethod
    def resume(
        cls,
        optimizer: Any,
        run: str,
        service: str,
        *,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        ahead: int = 4,
        full_state: bool = False,
        client: Client | None = None,
    ) -> "Run":
        """Goes on with a run that another process began: takes it over and sets the optimizer to its last accepted state.

        ``run.next_step`` says where to go on. The settings have to be the run's.
        """
        optimizer = unwrap(optimizer)
        client = client or Client(service, read_token(token, token_file))
        status = client.take_writer(run, take_over=True)
        self = cls.__new__(cls)
        self._begin(optimizer, client, status, ahead, full_state)
        return self

    def _begin(self, optimizer: Any, client: Client, status: dict[str, Any], ahead: int, full_state: bool) -> None:
        #: The run's id.
        self.id: str = status["run"]
        self.client, self.optimizer = client, optimizer
        self.n_chunks: int = status["n_chunks"]
        self._full_state = full_state
        core = _core(optimizer)
        if status["parent"] or status["accepted_steps"]:
            state, step = client.state(self.id)
            _restore(optimizer, Layout.from_json(status["layout"]), state, step, bool(status["parent"]))
        elif status["state_sha256"] != core.state.digest():
            raise CairnError(f"run {self.id} starts from another state than the optimizer")
        self._meta: dict[str, Any] = {}
        self._failure: BaseException | None = None
        self._closed = False
        self._steps: queue.Queue[tuple[Step, dict[str, Any]] | None] = queue.Queue(maxsize=max(1, ahead))
        self._remove = _core(optimizer).on_step(self._take)
        self._thread = threading.Thread(target=self._send, name=f"cairn run {self.id[:10]}", daemon=True)
        self._thread.start()

    @property
    def next_step(self) -> int:
        """Index of the optimizer's next step in the run."""
        return _core(self.optimizer).step_index

    def log(self, *, loss: float | None = None, accuracy: float | None = None, **extra: object) -> None:
        """What the record of the coming step is to say beside its statement: the trainer's word, hashed, not proved."""
        if loss is not None:
            self._meta["loss"] = _text(loss)
        if accuracy is not None:
            self._meta["accuracy"] = _text(accuracy)
        if extra:
            self._meta.setdefault("extra", {}).update({key: str(value) for key, value in extra.items()})

    def _take(self, step: Step) -> None:
        """Listens to the optimizer."""
        self.check()
        meta, self._meta = self._meta, {}
        while True:
            try:
                return self._steps.put((step, meta), timeout=0.5)
            except queue.Full:
                self.check()

    def check(self) -> None:
        """Raises what went wrong in the background, if something did."""
        if self._failure is not None:
            raise CairnError(f"run {self.id}: steps could not be sent: {self._failure}") from self._failure

    def _send(self) -> None:
        client = self.client.another()
        try:
            while (item := self._steps.get()) is not None:
                if self._failure is None:
                    try:
                        client.submit(self.id, item[0], self.n_chunks, item[1], full_state=self._full_state)
                    except Exception as error:  # noqa: BLE001 - raised again in the trainer's thread
                        self._failure = error
                self._steps.task_done()
        finally:
            client.close()

    def flush(self) -> None:
        """Waits until every step was sent and accepted.

        Raises:
            CairnError: one was not.
        """
        self._steps.join()
        self.check()

    def wait(self, timeout: float = 3600.0, poll: float = 0.2) -> dict[str, Any]:
        """Waits until every step is proved (and, once finished, the manifest is written); returns the status.

        Raises:
            ServiceError: that took longer than ``timeout`` seconds.
        """
        if not self._closed:
            self.flush()
        deadline = time.monotonic() + timeout
        while not (status := self.status())["settled"]:
            if time.monotonic() > deadline:
                why = status["error"] or f"{status['proved_steps']} of {status['accepted_steps']} steps are proved"
                if status.get("waits_for"):
                    why += f"; it waits for {status['waits_for']}"
                raise ServiceError(0, "timeout", f"run {self.id}: {why}")
            time.sleep(poll)
        return status

    def status(self) -> dict[str, Any]:
        """What the service says of the run."""
        return self.client.status(self.id)

    def finish(self) -> None:
        """Sends what waits and takes no more steps. Proving may go on."""
        self.close()
        self.check()
        self.client.finish(self.id)

    def close(self) -> None:
        """Sends what waits and lets go of the optimizer; the run can be resumed."""
        if self._closed:
            return
        self._closed = True
        self._remove()
        self._steps.put(None)
        self._thread.join()

    def weights(self) -> dict[str, Any]:
        """The optimizer's weights as real numbers, exactly, by name."""
        core = _core(self.optimizer)
        return core.layout.unflatten(from_q24(core.state.w))

    def save(self, weights: str | os.PathLike[str], opening: str | os.PathLike[str], state: int | None = None) -> None:
        """Writes weights (safetensors, exact) and the opening of a proved state, the last one if not given.

        The opening shows a buyer that these are the weights at that state: ``cairn check-weights``.
        """
        state = self.status()["proved_steps"] if state is None else state
        for path, data in ((weights, self.client.weights(self.id, state)), (opening, self.client.opening(self.id, state))):
            with open(path, "wb") as file:
                file.write(data)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.close()


def _present_lr(optimizer: Any) -> float:
    if isinstance(optimizer, IntegerOptimizer):
        raise CairnError("lr_max must be given: this optimizer has no learning rate of its own")
    return optimizer._lr()


class Collector:
    """Keeps the steps of an optimizer in memory: for looking at them, or sending them later."""

    def __init__(self, optimizer: Any) -> None:
        #: The steps so far.
        self.steps: list[Step] = []
        self._remove = _core(unwrap(optimizer)).on_step(self.steps.append)

    def close(self) -> None:
        """Keeps no more; closing again changes nothing."""
        remove, self._remove = self._remove, lambda: None
        remove()

    def __enter__(self) -> "Collector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


__all__ = ["Collector", "Run"]

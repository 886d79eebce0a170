"""The prover service over HTTP: one method a route, errors as :class:`~cairn.errors.ServiceError`.

Source: ``docs/spec/service.md``.
"""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import requests

from . import frames
from .arithmetic import Int64
from .errors import ServiceError
from .state import State, Step

#: Answers after which the same request is sent again: the queue is full, the service restarts, a proxy has no service.
_AGAIN = {429, 502, 503, 504}


def read_token(token: str | None = None, token_file: str | os.PathLike[str] | None = None) -> str:
    """The token given, or in the file given, or in ``CAIRN_TOKEN``, or in ``$CAIRN_HOME/service.token``.

    Raises:
        ServiceError: there is none.
    """
    if token is None and token_file is None:
        token = os.environ.get("CAIRN_TOKEN")
    if token is not None:
        return token
    path = pathlib.Path(token_file or pathlib.Path(os.environ.get("CAIRN_HOME", ".cairn")) / "service.token")
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ServiceError(0, "token", f"no token: give token, token_file or CAIRN_TOKEN ({error})") from error


class Client:
    """A connection to a prover service. Not for several threads at once.

    Args:
        url: such as ``http://127.0.0.1:7878``.
        token: of the service; see :func:`read_token`.
        writer: who writes runs through this client; a new one if not given.
        timeout: seconds for one request.
        retry_for: seconds for which a request is repeated that got no answer, or 429, 502, 503 or 504. Every request here
            is safe to repeat.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        writer: str | None = None,
        timeout: float = 120.0,
        retry_for: float = 600.0,
    ) -> None:
        self.url, self.timeout, self.retry_for = url.rstrip("/"), timeout, retry_for
        self.writer = writer or secrets.token_hex(16)
        self._token = token
        self._session = requests.Session()
        # The service is named by its address; proxies of the environment are for other things.
        self._session.trust_env = False
        self._session.headers.update({"Authorization": f"Bearer {token}", "Cairn-Writer": self.writer})

    def another(self) -> "Client":
        """The same for another thread: same writer."""
        return Client(self.url, self._token, writer=self.writer, timeout=self.timeout, retry_for=self.retry_for)

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, method: str, path: str, **more: Any) -> requests.Response:
        """Sends a request until it is answered.

        Raises:
            ServiceError: it was refused, or not answered for ``retry_for`` seconds.
        """
        deadline = time.monotonic() + self.retry_for
        pause = 0.1
        while True:
            try:
                answer = self._session.request(method, self.url + path, timeout=self.timeout, **more)
            except requests.RequestException as error:
                refusal = ServiceError(0, "unreachable", f"{self.url}: {error}")
            else:
                if answer.ok:
                    return answer
                refusal = _refusal(answer)
                if answer.status_code not in _AGAIN:
                    raise refusal
                pause = max(pause, _seconds(answer.headers.get("Retry-After")))
            if time.monotonic() + pause > deadline:
                raise refusal
            time.sleep(pause)
            pause = min(pause * 2, 10.0)

    def create_run(self, description: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
        """Makes a run; ``description`` and ``weights`` as in ``service-new-run``. Returns its status."""
        frame = frames.encode(weights, {"run": json.dumps(description)})
        return self.request("POST", "/v1/runs", data=frame, headers=_OCTETS).json()

    def runs(self) -> list[dict[str, Any]]:
        """Status of all runs."""
        return self.request("GET", "/v1/runs").json()["runs"]

    def status(self, run: str) -> dict[str, Any]:
        """Status of a run."""
        return self.request("GET", f"/v1/runs/{run}").json()

    def take_writer(self, run: str, *, take_over: bool = False) -> dict[str, Any]:
        """Becomes the run's writer; returns its status."""
        return self.request("POST", f"/v1/runs/{run}/writer", json={"take_over": take_over}).json()

    def finish(self, run: str) -> dict[str, Any]:
        """No more steps."""
        return self.request("POST", f"/v1/runs/{run}/finish").json()

    def state(self, run: str) -> tuple[State, int]:
        """The state after all accepted steps, and their number."""
        tensors, metadata = frames.decode(self.request("GET", f"/v1/runs/{run}/state").content)
        w, m = (tensors[name].astype(np.int64) for name in "wm")
        state = State(w, m, tensors["v"].astype(np.uint64), int(metadata["p1"]), int(metadata["p2"]))
        return state, int(metadata["step"])

    def step(self, run: str, step: int) -> dict[str, Any]:
        """Status of a step."""
        return self.request("GET", f"/v1/runs/{run}/steps/{step}").json()

    def submit_chunk(
        self,
        run: str,
        step: int,
        chunk: int,
        before: State,
        gradient: Int64,
        lr: int,
        meta: Mapping[str, Any] | None = None,
        *,
        full_state: bool = False,
    ) -> dict[str, Any]:
        """Sends one chunk of a step; returns the step's status. ``lr`` raw Q32, ``before`` and ``gradient`` of the chunk."""
        metadata = {"lr": str(lr), "state_sha256": before.digest()}
        if meta:
            metadata["meta"] = json.dumps(meta)
        tensors: dict[str, Any] = {"g": gradient.astype(np.int32)}
        if full_state:
            tensors |= {"w": before.w.astype(np.int32), "m": before.m.astype(np.int32), "v": before.v}
        path = f"/v1/runs/{run}/steps/{step}/chunks/{chunk}"
        return self.request("PUT", path, data=frames.encode(tensors, metadata), headers=_OCTETS).json()

    def submit(
        self, run: str, step: Step, n_chunks: int, meta: Mapping[str, Any] | None = None, *, full_state: bool = False
    ) -> dict[str, Any]:
        """Sends all chunks of a step; returns its status."""
        status: dict[str, Any] = {}
        for chunk, (before, gradient) in enumerate(step.chunks(n_chunks)):
            more = {"meta": meta if chunk == 0 else None, "full_state": full_state}
            status = self.submit_chunk(run, step.index, chunk, before, gradient, step.hyper.lr, **more)
        return status

    def weights(self, run: str, state: int) -> bytes:
        """Weights after ``state`` steps, safetensors."""
        return self.request("GET", f"/v1/runs/{run}/states/{state}/weights").content

    def opening(self, run: str, state: int) -> bytes:
        """Opening of the state after ``state`` steps, JSON."""
        return self.request("GET", f"/v1/runs/{run}/states/{state}/opening").content

    def events(self, run: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events of a run, (name, fields), until the service stops; the first is ``status``.

        Raises:
            ServiceError: the connection was lost.
        """
        answer = self.request("GET", f"/v1/runs/{run}/events", stream=True)
        name, data = "message", ""
        try:
            for line in answer.iter_lines(decode_unicode=True):
                field, _, value = line.partition(":")
                if line == "" and data:
                    yield name, json.loads(data)
                    name, data = "message", ""
                elif field == "event":
                    name = value.strip()
                elif field == "data":
                    data += value.strip()
        except requests.RequestException as error:
            raise ServiceError(0, "unreachable", f"{self.url}: {error}") from error
        finally:
            answer.close()


_OCTETS = {"Content-Type": "application/octet-stream"}


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0


def _refusal(answer: requests.Response) -> ServiceError:
    try:
        error = answer.json()["error"]
        return ServiceError(answer.status_code, error["code"], error["message"], error.get("details"))
    except (ValueError, KeyError, TypeError):
        return ServiceError(answer.status_code, "http", answer.text[:200] or answer.reason)

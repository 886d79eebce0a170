"""One Adam update proved with EZKL, measured. Prints one JSON object.

Usage: ezkl_adam.py PARAMETERS DIRECTORY REPETITIONS

The circuit takes w, g, m, v and returns w', m', v' for the constants of an optimizer's second step. Settings: input and
parameter scale 22, decomposition base 65536 with 2 legs; calibration is skipped because it picks scales whose proofs fail.
Times are wall and CPU seconds of this process; memory is its peak, key generation included.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, Callable

import ezkl
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BETA1, BETA2, LR, EPS = 0.9, 0.999, 0.001, 1e-8
SCALE, DECOMPOSITION_BASE, DECOMPOSITION_LEGS = 22, 65536, 2


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls an EZKL function, awaiting it where the release made it asynchronous."""

    async def run() -> Any:
        result = function(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return asyncio.run(run())


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def adam(w: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Float64 Adam, second step. Source: Kingma & Ba, arXiv:1412.6980, Algorithm 1."""
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g * g
    update = LR * (m / (1 - BETA1**2)) / (np.sqrt(v / (1 - BETA2**2)) + EPS)
    return w - update, m, v


def gradients(rng: np.random.Generator, n: int) -> np.ndarray:
    """Gradients of size 0.25 to 1: at this scale EZKL cannot divide by the root of a second moment that rounds to zero."""
    return rng.uniform(0.25, 1, n) * rng.choice([-1.0, 1.0], n)


def model(n: int) -> onnx.ModelProto:
    """The same update as an ONNX graph over four inputs of shape [1, n]."""
    names = ["w", "g", "m", "v"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n]) for name in names]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n]) for name in ["w2", "m2", "v2"]]
    values = {
        "beta1": BETA1,
        "beta2": BETA2,
        "g_share": 1 - BETA1,
        "g2_share": 1 - BETA2,
        "rate": LR / (1 - BETA1**2),
        "correction": 1 / (1 - BETA2**2),
        "eps": EPS,
    }
    constants = [numpy_helper.from_array(np.array([[x]], dtype=np.float32), name) for name, x in values.items()]
    node = helper.make_node
    nodes = [
        node("Mul", ["m", "beta1"], ["m_kept"]),
        node("Mul", ["g", "g_share"], ["g_part"]),
        node("Add", ["m_kept", "g_part"], ["m2"]),
        node("Mul", ["v", "beta2"], ["v_kept"]),
        node("Mul", ["g", "g"], ["g2"]),
        node("Mul", ["g2", "g2_share"], ["g2_part"]),
        node("Add", ["v_kept", "g2_part"], ["v2"]),
        node("Mul", ["v2", "correction"], ["v_corrected"]),
        node("Sqrt", ["v_corrected"], ["root"]),
        node("Add", ["root", "eps"], ["denominator"]),
        node("Mul", ["m2", "rate"], ["numerator"]),
        node("Div", ["numerator", "denominator"], ["update"]),
        node("Sub", ["w", "update"], ["w2"]),
    ]
    graph = helper.make_graph(nodes, "adam", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 8
    onnx.checker.check_model(made)
    return made


def main(n: int, directory: Path, repetitions: int) -> dict[str, Any]:
    directory.mkdir(parents=True, exist_ok=True)
    path = {
        name: str(directory / name)
        for name in ["model.onnx", "settings.json", "input.json", "circuit", "srs", "vk", "pk", "witness.json", "proof.json"]
    }
    rng = np.random.default_rng(1)
    w, first, g = rng.uniform(-0.25, 0.25, n), gradients(rng, n), gradients(rng, n)
    m, v = (1 - BETA1) * first, (1 - BETA2) * first * first
    onnx.save(model(n), path["model.onnx"])
    Path(path["input.json"]).write_text(json.dumps({"input_data": [x.tolist() for x in (w, g, m, v)]}))

    args = ezkl.PyRunArgs()
    args.input_scale = args.param_scale = SCALE
    args.decomp_base, args.decomp_legs = DECOMPOSITION_BASE, DECOMPOSITION_LEGS
    args.input_visibility, args.output_visibility, args.param_visibility = "private", "public", "fixed"
    call(ezkl.gen_settings, path["model.onnx"], path["settings.json"], py_run_args=args)
    call(ezkl.compile_circuit, path["model.onnx"], path["circuit"], path["settings.json"])
    settings = json.loads(Path(path["settings.json"]).read_text())
    k = settings["run_args"]["logrows"]
    call(ezkl.gen_srs, path["srs"], k)
    start = time.perf_counter()
    call(ezkl.setup, path["circuit"], path["vk"], path["pk"], path["srs"])
    key_s = time.perf_counter() - start
    call(ezkl.gen_witness, path["input.json"], path["circuit"], path["witness.json"])
    prove_s, prove_cpu_s = [], []
    for _ in range(repetitions):
        start, cpu = time.perf_counter(), cpu_seconds()
        call(ezkl.prove, path["witness.json"], path["circuit"], path["pk"], path["proof.json"], path["srs"])
        prove_s.append(time.perf_counter() - start)
        prove_cpu_s.append(cpu_seconds() - cpu)
    start = time.perf_counter()
    assert call(ezkl.verify, path["proof.json"], path["settings.json"], path["vk"], path["srs"]), "own proof refused"
    verify_s = time.perf_counter() - start

    witness = json.loads(Path(path["witness.json"]).read_text())
    got = np.array([float(x) for x in witness["pretty_elements"]["rescaled_outputs"][0]])
    expected, _, _ = adam(w, g, m, v)
    return {
        "params": n,
        "k": k,
        "key_ms": round(1e3 * key_s),
        "prove_ms": [round(1e3 * s) for s in prove_s],
        "cpu_s": prove_cpu_s,
        "verify_ms": 1e3 * verify_s,
        "params_per_s": n / min(prove_s),
        "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "max_error": float(np.abs(got - expected).max()),
        "mean_update": float(np.abs(expected - w).mean()),
        "version": getattr(ezkl, "__version__", "unknown"),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))

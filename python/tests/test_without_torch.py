"""The package with nothing but what it declares: an environment in which torch cannot be imported."""

import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys

import pytest

PYTHON = pathlib.Path(__file__).resolve().parents[1]


def declared():
    """Names of the distributions that the package needs, by its own word."""
    text = (PYTHON / "pyproject.toml").read_text()
    return re.findall(r'"([A-Za-z0-9_-]+)[^"]*"', re.search(r"^dependencies = \[(.*?)\]", text, re.M | re.S)[1])


def needed(name, seen):
    """The distribution and what it needs, without extras."""
    if name in seen:
        return
    seen.add(name)
    for requirement in importlib.metadata.requires(name) or []:
        if "extra ==" not in requirement:
            needed(re.match(r"[A-Za-z0-9._-]+", requirement)[0], seen)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A directory with links to the top-level files of those distributions, and no others."""
    place = tmp_path_factory.mktemp("site")
    names = set()
    for name in declared():
        needed(name, names)
    for name in names:
        distribution = importlib.metadata.distribution(name)
        tops = {pathlib.PurePath(file).parts[0] for file in distribution.files if not str(file).startswith("..")}
        for top in tops - {"__pycache__"}:
            if not (place / top).exists():
                os.symlink(pathlib.Path(distribution.locate_file(top)).resolve(), place / top)
    return place


def run(environment, code):
    # -I and -S: neither the environment variables nor the site-packages of the interpreter that runs the tests.
    prologue = f"import sys; sys.path[:0] = [{str(environment)!r}, {str(PYTHON / 'src')!r}]\n"
    command = [sys.executable, "-I", "-S", "-B", "-c", prologue + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_torch_and_safetensors_are_not_there(environment):
    for module in ("torch", "safetensors", "transformers"):
        done = run(environment, f"import {module}")
        assert done.returncode == 1 and f"No module named '{module}'" in done.stderr, done.stderr


def test_the_numpy_path_trains_collects_and_writes_frames(environment):
    code = """
import numpy as np
from cairn import Collector, IntegerOptimizer, Run, Settings
from cairn.frames import decode, encode

optimizer = IntegerOptimizer.fresh(Settings("adamw", 0.9, 0.999, 1e-8), {"w": np.linspace(-1, 1, 100)})
with Collector(optimizer) as collector:
    for _ in range(50):
        optimizer.step(optimizer.weights(), lr=0.05)
w = optimizer.weights()["w"]
assert np.abs(w).max() < 0.5, w
assert len(collector.steps) == 50
g = collector.steps[0].gradient.astype(np.int32)
tensors, texts = decode(encode({"g": g}, {"lr": "1"}))
assert np.array_equal(tensors["g"], g) and texts == {"lr": "1"}
print(optimizer.state.digest())
"""
    done = run(environment, code)
    assert done.returncode == 0, done.stderr
    again = run(environment, code)
    assert re.fullmatch(r"0x[0-9a-f]{64}\n", done.stdout) and again.stdout == done.stdout


def test_the_torch_optimizers_say_what_is_missing(environment):
    done = run(environment, "import cairn; cairn.CairnAdamW")
    assert done.returncode == 1 and "No module named 'torch'" in done.stderr, done.stderr

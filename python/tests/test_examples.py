"""Every example runs as its users run it, on a small model."""

import os
import pathlib
import re
import subprocess
import sys

import safetensors.numpy

PYTHON = pathlib.Path(__file__).resolve().parents[1]
EXAMPLES = PYTHON / "examples"


def example(service, name, *arguments):
    where = ["--service", service.url, "--token-file", service.token_file, "--hidden", "2", "--steps", "3"]
    environment = {**os.environ, "PYTHONPATH": str(PYTHON / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, EXAMPLES / name, *where, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def verified(service, directory, *more):
    code, report = service.cairn("verify", "--all", "--run", directory, *more)
    assert code == 0 and report["ok"], report
    return report["steps_verified"]


def directories(said):
    return re.findall(r"^directory (.*)$", said, re.MULTILINE)


def test_minimal(service):
    said = example(service, "minimal.py")
    assert "3 steps proved" in said
    assert verified(service, *directories(said)) == 3


def test_lr_schedule(service):
    said = example(service, "lr_schedule.py")
    rates = re.findall(r"lr ([\d.]+), loss", said)
    assert len(set(rates)) == 3
    (directory,) = directories(said)
    assert verified(service, directory) == 3
    log = (pathlib.Path(directory) / "steps.jsonl").read_text()
    assert len(set(re.findall(r'"lr":"(\d+)"', log))) == 3


def test_resume(service):
    said = example(service, "resume.py", "--stop-at", "2")
    run = re.search(r"go on with --run (0x[0-9a-f]{64})", said)[1]
    said = example(service, "resume.py", "--run", run)
    assert "going on at step 2" in said and "3 steps proved" in said
    assert verified(service, *directories(said)) == 3


def test_finetune(service, tmp_path):
    said = example(service, "finetune.py", "--out", str(tmp_path))
    parent, child = directories(said)
    assert verified(service, parent) == 3
    assert verified(service, child, "--parent", parent) == 3
    check = ["check-weights", "--weights", tmp_path / "tuned.safetensors", "--opening", tmp_path / "tuned.opening.json"]
    assert service.cairn(*check, "--run", child)[0] == 0
    # They are the child's last weights, and not the parent's.
    code, said = service.cairn(*check, "--run", parent)
    assert code == 1 and "check failed: run" in said
    # One weight changed by one unit.
    saved = safetensors.numpy.load_file(check[2])
    saved["2.bias"][0] -= 2.0**-24
    safetensors.numpy.save_file(saved, check[2])
    code, said = service.cairn(*check, "--run", child)
    assert code == 1 and "check failed: weights" in said


def test_every_example_is_tested():
    names = {path.stem for path in EXAMPLES.glob("*.py")} - {"digits"}
    assert names == {name.removeprefix("test_") for name in globals() if name.startswith("test_")} - {"every_example_is_tested"}

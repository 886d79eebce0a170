"""What the examples share: 1,797 handwritten digits of 8x8 pixels (UCI, CC BY 4.0), a small model, and the command line."""

import argparse
import csv
import gzip
import hashlib
import pathlib

import torch

DATA = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "digits.csv.gz"


def load(classes=range(10)):
    """Pixels in 0..1 and labels, training and test rows apart: every fifth row is for tests."""
    with gzip.open(DATA, "rt") as file:
        rows = [[int(x) for x in row] for row in csv.reader(file) if row[-1].isdigit()]
    rows = [row for row in rows if row[-1] in classes]
    x = torch.tensor([row[:-1] for row in rows], dtype=torch.float32) / 16
    y = torch.tensor([row[-1] for row in rows])
    test = torch.arange(len(rows)) % 5 == 0
    return (x[~test], y[~test]), (x[test], y[test])


def dataset():
    """Name and SHA-256 of the data, for run.json."""
    return DATA.name, "0x" + hashlib.sha256(DATA.read_bytes()).hexdigest()


def mlp(hidden, seed):
    """64 - hidden - 10 with ReLU."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10))


def batch(data, step, size=32):
    """The rows of a step: a function of the step alone, so that a run resumes anywhere."""
    x, y = data
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(step))[:size]
    return x[rows], y[rows]


def train_step(model, optimizer, data, step, run=None):
    """One step; returns the loss. What is logged is about the step that comes."""
    x, y = batch(data, step)
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    if run is not None:
        run.log(loss=loss.item(), batch=len(x))
    optimizer.step()
    return loss.item()


@torch.no_grad()
def accuracy(model, data):
    """Share of rows that are classified rightly."""
    x, y = data
    return (model(x).argmax(1) == y).float().mean().item()


def arguments(description):
    """What every example takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--service", default="http://127.0.0.1:7878", help="address of `cairn prover serve`")
    parser.add_argument("--token-file", help="default: CAIRN_TOKEN, or $CAIRN_HOME/service.token")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=1)
    return parser

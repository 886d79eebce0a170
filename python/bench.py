"""Figures of the Python package: prints one JSON document.

    python python/bench.py                            # time of a step beside torch.optim.AdamW; accuracy of the same training
    python python/bench.py --service URL --steps 20   # and steps a minute, end to end, of the digits model

Gradients of the timed steps are drawn once; only `optimizer.step()` is timed. Everything runs on the CPU.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

import torch

import cairn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "examples"))
import digits  # noqa: E402


def model(n):
    """One tensor of weights and one of biases, n parameters."""
    torch.manual_seed(0)
    return torch.nn.ParameterDict({"weight": torch.randn(n - 10) * 0.1, "bias": torch.zeros(10)})


def step_times(make, n, repeat):
    """Best and median time of a step, and median CPU time of all threads, after three that are not counted."""
    net = model(n)
    optimizer = make(net)
    for p in net.parameters():
        p.grad = torch.randn_like(p) * 0.01
    times, cpu = [], []
    for i in range(repeat + 3):
        start, start_cpu = time.perf_counter(), time.process_time()
        optimizer.step()
        if i >= 3:
            times.append(1e3 * (time.perf_counter() - start))
            cpu.append(1e3 * (time.process_time() - start_cpu))
    figures = {"best_ms": min(times), "median_ms": statistics.median(times), "median_cpu_ms": statistics.median(cpu)}
    return {name: round(value, 3) for name, value in figures.items()}


def overhead(repeat):
    """Exact integers beside float32, same values."""
    rows = []
    for n in (2_410, 50_890, 1_000_000):
        exact = step_times(lambda net: cairn.CairnAdamW(net, lr=1e-3, weight_decay=0.01), n, repeat)
        floating = step_times(lambda net: torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01), n, repeat)
        rows.append({"params": n, "cairn": exact, "torch": floating})
    return rows


def fidelity(steps, lr):
    """Test accuracy of the digits model after the same training with both optimizers."""
    training, test = digits.load()
    results, weights = {}, {}
    for name in ("cairn", "torch"):
        net = digits.mlp(32, 1)
        if name == "cairn":
            optimizer = cairn.CairnAdamW(net, lr=lr)
        else:
            optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.0)
        for step in range(steps):
            digits.train_step(net, optimizer, training, step)
        results[name] = round(digits.accuracy(net, test), 4)
        weights[name] = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
    apart = (weights["cairn"] - weights["torch"]).abs()
    rms = apart.pow(2).mean().sqrt().item()
    return {"steps": steps, "lr": lr, "accuracy": results, "max_deviation": apart.max().item(), "rms_deviation": rms}


def end_to_end(service, token_file, steps):
    """Steps a minute of the digits model, from the first step to the last proof in the log."""
    training, _ = digits.load()
    net = digits.mlp(32, 1)
    optimizer = cairn.CairnAdamW(net, lr=0.003)
    with cairn.Run(optimizer, service, token_file=token_file) as run:
        start = time.perf_counter()
        for step in range(steps):
            digits.train_step(net, optimizer, training, step, run)
        trained = time.perf_counter() - start
    run.wait()
    took = time.perf_counter() - start
    return {"steps": steps, "trained_s": round(trained, 2), "proved_s": round(took, 2), "per_minute": round(60 * steps / took, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--service", help="address of `cairn prover serve`")
    parser.add_argument("--token-file")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    report = {"torch": torch.__version__, "threads": torch.get_num_threads(), "step": overhead(arguments.repeat)}
    report["fidelity"] = [fidelity(1000, lr) for lr in (0.001, 0.003)]
    if arguments.service:
        report["end_to_end"] = end_to_end(arguments.service, arguments.token_file, arguments.steps)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

"""Steps that are kept in memory are those that were applied, from either optimizer."""

import numpy as np
import pytest
import torch

from cairn import CairnAdamW, CairnError, Collector, IntegerOptimizer, Settings


def numpy_steps(optimizer, n, first=0):
    for t in range(first, first + n):
        gradients = {"a": np.full((2, 3), 0.01 * (t + 1)), "b": np.array([0.5, -0.5])}
        optimizer.step(gradients, lr=0.01 / (t + 1))


def from_numpy():
    rng = np.random.default_rng(3)
    weights = {"b": rng.normal(size=2), "a": rng.normal(size=(2, 3))}
    optimizer = IntegerOptimizer.fresh(Settings("adamw", 0.9, 0.999, 1e-8, 0.01), weights)
    return optimizer, optimizer, lambda n: numpy_steps(optimizer, n)


def from_torch():
    torch.manual_seed(3)
    net = torch.nn.Linear(3, 2)
    optimizer = CairnAdamW(net, lr=0.01, weight_decay=0.01)

    def train(n):
        for _ in range(n):
            optimizer.zero_grad()
            net(torch.ones(4, 3)).square().mean().backward()
            optimizer.step()

    return optimizer, optimizer.cairn, train


@pytest.mark.parametrize("make", [from_numpy, from_torch])
def test_collected_steps_replay_to_the_same_state_in_chunks_too(make):
    optimizer, core, train = make()
    with Collector(optimizer) as collector:
        train(5)
    train(2)
    steps = collector.steps
    assert [step.index for step in steps] == [0, 1, 2, 3, 4], "it stops keeping when it is closed"
    assert all(a.after is b.before for a, b in zip(steps, steps[1:]))

    again = IntegerOptimizer(core.settings, core.layout, steps[0].before)
    for step in steps:
        assert again.step_raw(step.gradient, step.hyper).schedule == step.schedule
    assert again.state.digest() == steps[-1].after.digest() != core.state.digest()

    # What the service gets of a step in chunks has the whole step's result.
    parts = steps[2].chunks(3)
    assert sum(len(gradient) for _, gradient in parts) == core.layout.n_params
    assert np.array_equal(np.concatenate([gradient for _, gradient in parts]), steps[2].gradient)
    assert np.array_equal(np.concatenate([state.w for state, _ in parts]), steps[2].before.w)


def test_two_collectors_do_not_disturb_each_other_and_close_twice():
    optimizer, _, train = from_numpy()
    with Collector(optimizer) as outer:
        with Collector(optimizer) as inner:
            train(2)
            inner.close()
        train(1)
    outer.close()
    assert (len(inner.steps), len(outer.steps)) == (2, 3)


def test_a_failed_step_is_not_collected():
    optimizer, _, train = from_numpy()
    with Collector(optimizer) as collector:
        train(1)
        with pytest.raises(CairnError, match=r"b\[1\]"):
            optimizer.step({"a": np.zeros((2, 3)), "b": np.array([0.0, np.nan])}, lr=0.01)
        train(1)
    assert [step.index for step in collector.steps] == [0, 1]


def test_what_is_no_cairn_optimizer_is_refused():
    net = torch.nn.Linear(1, 1)
    with pytest.raises(CairnError, match="expected CairnAdamW, CairnSGD or IntegerOptimizer, got torch.optim"):
        Collector(torch.optim.SGD(net.parameters(), lr=0.1))

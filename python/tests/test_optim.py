"""The torch optimizers, with a real torch."""

import copy
import io

import numpy as np
import pytest
import torch

from cairn import CairnAdamW, CairnError, CairnSGD, GroupError, IntegerOptimizer, LayoutError, RangeError
from cairn.quantize import from_q24


def model(seed=0, width=8):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 3))


def batch(seed, rows=16):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=generator)
    return x, torch.randint(0, 3, (rows,), generator=generator)


def backward(net, seed):
    net.zero_grad()
    x, y = batch(seed)
    loss = torch.nn.functional.cross_entropy(net(x), y)
    loss.backward()
    return loss


def train(net, optimizer, steps, first=0):
    for t in range(first, first + steps):
        backward(net, t)
        optimizer.step()


OPTIMIZERS = {
    "adam": lambda params, lr=0.01: CairnAdamW(params, lr=lr),
    "adamw": lambda params, lr=0.01: CairnAdamW(params, lr=lr, weight_decay=0.1),
    "sgd": lambda params, lr=0.05: CairnSGD(params, lr=lr, momentum=0.9, weight_decay=1e-3),
}
FLOAT = {
    "adam": lambda params: torch.optim.Adam(params, lr=0.01),
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.01, weight_decay=0.1),
    "sgd": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=1e-3),
}
each_rule = pytest.mark.parametrize("name", list(OPTIMIZERS))


@each_rule
def test_weights_are_those_of_the_numpy_path_bit_for_bit(name):
    net = model()
    optimizer = OPTIMIZERS[name](net)
    start = {n: p.detach().numpy().astype(np.float64) for n, p in net.named_parameters()}
    plain = IntegerOptimizer.fresh(optimizer.cairn.settings, start)
    lr = optimizer.param_groups[0]["lr"]
    for t in range(50):
        backward(net, t)
        plain.step({n: p.grad.numpy().astype(np.float64) for n, p in net.named_parameters()}, lr)
        optimizer.step()
        assert optimizer.cairn.state.digest() == plain.state.digest()
    for n, p in net.named_parameters():
        assert torch.equal(p, torch.from_numpy(plain.weights()[n]).to(p.dtype))


@each_rule
def test_training_stays_close_to_the_float_optimizer(name):
    ours, theirs = model(), model()
    exact, floating = OPTIMIZERS[name](ours), FLOAT[name](theirs.parameters())
    train(ours, exact, 100)
    train(theirs, floating, 100)
    moved = max(float((a - b).detach().abs().max()) for a, b in zip(model().parameters(), theirs.parameters()))
    apart = max(float((a - b).detach().abs().max()) for a, b in zip(ours.parameters(), theirs.parameters()))
    assert moved > 0.1 and apart < 0.01 * moved


@each_rule
def test_a_saved_state_goes_on_bit_for_bit(name):
    net = model()
    optimizer = OPTIMIZERS[name](net)
    train(net, optimizer, 5)
    file = io.BytesIO()
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    train(net, optimizer, 5, first=5)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = model(seed=7)
    resumed = OPTIMIZERS[name](again)
    resumed.load_state_dict(saved["optimizer"])
    again.load_state_dict(saved["model"])
    assert resumed.cairn.step_index == 5
    train(again, resumed, 5, first=5)
    assert resumed.cairn.state.digest() == optimizer.cairn.state.digest()
    assert resumed.cairn.step_index == 10


def test_a_state_of_another_kind_is_refused_and_changes_nothing():
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    before = optimizer.cairn.state
    wrong = [
        (torch.optim.AdamW(net.parameters()).state_dict(), "not the state of a Cairn optimizer"),
        (CairnSGD(model(), lr=0.1).state_dict(), "has rule sgd, this optimizer adamw"),
        (CairnAdamW(model(), gradient_scale_log2=0).state_dict(), "gradient_scale_log2 0"),
        (CairnAdamW(model(width=9)).state_dict(), "the saved state is of"),
    ]
    for state, says in wrong:
        with pytest.raises(CairnError, match=says):
            optimizer.load_state_dict(state)
    assert optimizer.cairn.state is before


def test_schedulers_set_the_learning_rate_of_each_step():
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    steps = []
    optimizer.on_step(steps.append)
    expected = []
    for t in range(6):
        backward(net, t)
        expected.append(round(optimizer.param_groups[0]["lr"] * 2**32))
        optimizer.step()
        scheduler.step()
    assert [s.hyper.lr for s in steps] == expected and len(set(expected)) == 6


def _sequence(optimizer):
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3)
    after = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [warm_up, after], milestones=[3])


SCHEDULERS = {
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5),
    "lambda": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda t: 1 / (t + 1)),
    "sequence": _sequence,
    "restarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=3),
    "one_cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.02, total_steps=10, cycle_momentum=False),
    "plateau": lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0),
}


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_any_scheduler_sets_the_rates_that_it_sets_of_torchs_own_optimizer(name):
    ours, theirs = model(), model()
    optimizer, other = CairnAdamW(ours, lr=0.01), torch.optim.AdamW(theirs.parameters(), lr=0.01)
    scheduler, reference = SCHEDULERS[name](optimizer), SCHEDULERS[name](other)
    steps, expected = [], []
    optimizer.on_step(steps.append)
    # It gets worse after two steps, for the one that looks at it.
    for t, metric in enumerate([3.0, 2.0, 2.5, 2.5, 2.5, 2.5]):
        backward(ours, t)
        backward(theirs, t)
        expected.append(round(other.param_groups[0]["lr"] * 2**32))
        for one, rates in ((optimizer, scheduler), (other, reference)):
            one.step()
            rates.step(*([metric] if name == "plateau" else []))
    assert [s.hyper.lr for s in steps] == expected and len(set(expected)) > 1


def test_a_scheduler_goes_on_from_its_saved_state():
    def parts():
        net = model()
        optimizer = CairnAdamW(net, lr=0.01)
        return net, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)

    def run(net, optimizer, scheduler, first, last):
        for t in range(first, last):
            backward(net, t)
            optimizer.step()
            scheduler.step()

    straight = parts()
    run(*straight, 0, 6)
    begun, again = parts(), parts()
    run(*begun, 0, 3)
    for of, to in zip(begun[1:], again[1:]):
        to.load_state_dict(of.state_dict())
    run(*again, 3, 6)
    assert again[1].cairn.state.digest() == straight[1].cairn.state.digest()
    assert again[2].get_last_lr() == straight[2].get_last_lr()


def test_a_scheduler_that_changes_more_than_the_rate_is_refused():
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=10)
    backward(net, 0)
    with pytest.raises(GroupError, match="only lr may change"):
        optimizer.step()


def test_clipping_before_the_step_is_what_gets_proved():
    net = model()
    optimizer = CairnSGD(net, lr=0.1)
    steps = []
    optimizer.on_step(steps.append)
    backward(net, 0)
    norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 0.01)
    optimizer.step()
    assert norm > 0.01
    clipped = np.linalg.norm(from_q24(steps[0].gradient)) / 64
    assert clipped == pytest.approx(0.01, rel=1e-3)


def test_the_layout_is_by_name_whatever_the_groups():
    net = model()
    one = CairnAdamW(net, lr=0.01)
    named = list(net.named_parameters())
    two = CairnAdamW([{"params": named[2:]}, {"params": named[:2]}], lr=0.01)
    assert one.cairn.layout == two.cairn.layout
    assert [t.name for t in one.cairn.layout] == sorted(n for n, _ in named)


def test_groups_that_differ_are_refused():
    net = model()
    named = list(net.named_parameters())
    with pytest.raises(GroupError, match="group 1 has weight_decay"):
        CairnAdamW([{"params": named[:2]}, {"params": named[2:], "weight_decay": 0.5}], lr=0.01)
    optimizer = CairnAdamW([{"params": named[:2]}, {"params": named[2:]}], lr=0.01)
    backward(net, 0)
    optimizer.param_groups[1]["lr"] = 0.02
    with pytest.raises(GroupError, match="group 1 has lr = 0.02"):
        optimizer.step()


def test_only_the_learning_rate_may_change_during_a_run():
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    backward(net, 0)
    optimizer.param_groups[0]["betas"] = (0.5, 0.9)
    with pytest.raises(GroupError, match="only lr may change"):
        optimizer.step()


def test_parameters_without_names_are_refused():
    with pytest.raises(LayoutError, match="need names"):
        CairnAdamW(model().parameters())


def test_frozen_parameters_are_not_part_of_the_run():
    net = model()
    for p in net[0].parameters():
        p.requires_grad_(False)
    optimizer = CairnAdamW(net, lr=0.01)
    assert [t.name for t in optimizer.cairn.layout] == ["2.bias", "2.weight"]
    frozen = net[0].weight.clone()
    train(net, optimizer, 3)
    assert torch.equal(frozen, net[0].weight)


def test_a_parameter_changed_by_others_is_refused():
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    train(net, optimizer, 1)
    with torch.no_grad():
        net[2].bias[1] += 1e-3
    backward(net, 1)
    with pytest.raises(CairnError, match=r"'2\.bias' was changed outside"):
        optimizer.step()
    with pytest.raises(CairnError, match="before the first step"):
        optimizer.adopt_weights()


def test_weights_loaded_before_the_first_step_can_be_adopted():
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    net.load_state_dict(model(seed=5).state_dict())
    optimizer.adopt_weights()
    train(net, optimizer, 1)
    other = model(seed=5)
    same = CairnAdamW(other, lr=0.01)
    train(other, same, 1)
    assert same.cairn.state.digest() == optimizer.cairn.state.digest()


def test_a_bad_gradient_names_tensor_index_and_value_and_changes_nothing():
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    train(net, optimizer, 2)
    before, weight = optimizer.cairn.state, copy.deepcopy(net.state_dict())
    backward(net, 2)
    net[0].weight.grad[3, 1] = float("nan")
    with pytest.raises(RangeError) as refused:
        optimizer.step()
    assert (refused.value.tensor, refused.value.index, refused.value.step) == ("0.weight", 3 * 4 + 1, 2)
    assert optimizer.cairn.state is before
    assert all(torch.equal(weight[n], p) for n, p in net.state_dict().items())


def test_a_closure_is_evaluated_once_and_its_loss_returned():
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    calls = []

    def closure():
        calls.append(1)
        return backward(net, 0)

    assert float(optimizer.step(closure)) > 0 and calls == [1]


def test_half_precision_models_keep_an_exact_state():
    net = model().to(torch.bfloat16)
    optimizer = CairnAdamW(net, lr=0.01)
    x, y = batch(0)
    for _ in range(3):
        net.zero_grad()
        torch.nn.functional.cross_entropy(net(x.to(torch.bfloat16)).float(), y).backward()
        optimizer.step()
    for n, w in optimizer.cairn.weights().items():
        p = dict(net.named_parameters())[n]
        assert p.dtype == torch.bfloat16 and torch.equal(p, torch.from_numpy(w).to(torch.bfloat16))


def test_the_parameters_of_a_run_are_fixed():
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    with pytest.raises(CairnError, match="are fixed"):
        optimizer.add_param_group({"params": [("more", torch.nn.Parameter(torch.zeros(2)))]})

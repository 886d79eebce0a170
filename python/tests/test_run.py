"""Runs from PyTorch and NumPy through a real service: proved, verified, resumed, continued."""

import json
import pathlib
import threading
import time

import numpy as np
import pytest
import safetensors.numpy
import torch

from cairn import CairnAdamW, CairnError, CairnSGD, IntegerOptimizer, RangeError, Run, ServiceError, Settings

SMALL = {"epoch_len": 2}


def model(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))


def train(net, optimizer, steps, run=None):
    for t in range(optimizer.cairn.step_index, optimizer.cairn.step_index + steps):
        generator = torch.Generator().manual_seed(t)
        x = torch.randn(8, 3, generator=generator)
        y = torch.randint(0, 2, (8,), generator=generator)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        if run is not None:
            run.log(loss=loss.item(), data_epoch=t // 2)
        optimizer.step()


def new_run(service, optimizer, **more):
    return Run(optimizer, service.url, client=service.client(), **{**SMALL, **more})


def verified(service, status, *more):
    code, report = service.cairn("verify", "--all", "--run", status["run_dir"], *more)
    assert code == 0 and report["ok"], report
    return report


def test_a_torch_run_is_proved_and_its_weights_are_the_models(service, tmp_path):
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    with new_run(service, optimizer, notes={"model": "mlp 3-2-2"}) as run:
        train(net, optimizer, 3, run)
    status = run.wait()
    assert (status["proved_steps"], status["finished"]) == (3, True)
    assert status["state_sha256"] == optimizer.cairn.state.digest()
    assert verified(service, status)["steps_verified"] == 3

    directory = pathlib.Path(status["run_dir"])
    description = json.loads((directory / "run.json").read_text())
    assert description["layout"] == optimizer.cairn.layout.to_json()
    assert description["notes"]["model"] == "mlp 3-2-2" and description["notes"]["loss_scale_log2"] == "6"
    records = [json.loads(line) for line in (directory / "steps.jsonl").read_text().splitlines()]
    assert [r["meta"]["extra"]["data_epoch"] for r in records] == ["0", "0", "1"]
    assert all(float(r["meta"]["loss"]) > 0 for r in records)

    weights, opening = tmp_path / "w.safetensors", tmp_path / "o.json"
    run.save(weights, opening)
    check = ["check-weights", "--run", directory, "--weights", weights, "--opening", opening]
    assert service.cairn(*check)[0] == 0
    saved = safetensors.numpy.load_file(weights)
    for name, p in net.named_parameters():
        assert np.array_equal(saved[name].astype(np.float32), p.detach().numpy())
    saved["0.weight"][0, 0] += 2.0**-24
    safetensors.numpy.save_file(saved, weights)
    code, said = service.cairn(*check)
    assert code == 1 and "check failed: weights" in said


def test_a_numpy_run_in_several_chunks_needs_no_torch_model(service):
    rng = np.random.default_rng(1)
    optimizer = IntegerOptimizer.fresh(Settings("sgd", 0.9, weight_decay=1e-3), {"b": rng.normal(size=3), "a": np.ones((2, 4))})
    with new_run(service, optimizer, lr_max=0.5, n_chunks=3, full_state=True) as run:
        for _ in range(2):
            optimizer.step({"b": 0.1 * rng.normal(size=3), "a": 0.1 * rng.normal(size=(2, 4))}, lr=0.1)
    status = run.wait()
    assert status["state_sha256"] == optimizer.state.digest()
    assert verified(service, status)["steps_verified"] == 2


def test_training_goes_on_over_a_kill_of_the_service(service):
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    with new_run(service, optimizer, ahead=2) as run:
        train(net, optimizer, 2, run)
        service.kill()
        restart = threading.Timer(1.0, service.start)
        restart.start()
        # More than may wait: the trainer waits for the service, and loses nothing.
        train(net, optimizer, 4, run)
        restart.join()
    status = run.wait()
    assert (status["proved_steps"], status["state_sha256"]) == (6, optimizer.cairn.state.digest())
    assert verified(service, status)["steps_verified"] == 6


def test_a_trainer_that_died_resumes_where_the_service_is(service):
    reference = model()
    straight = CairnAdamW(reference, lr=0.01)
    train(reference, straight, 6)

    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    with pytest.raises(KeyboardInterrupt), new_run(service, optimizer) as run:
        train(net, optimizer, 3, run)
        raise KeyboardInterrupt
    assert not run.status()["finished"]

    again = model(seed=9)
    resumed = CairnAdamW(again, lr=0.01)
    with Run.resume(resumed, run.id, service.url, client=service.client()) as run:
        assert run.next_step == 3
        train(again, resumed, 3, run)
    status = run.wait()
    assert status["state_sha256"] == straight.cairn.state.digest()
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), reference.parameters()))
    assert verified(service, status)["steps_verified"] == 6


def test_a_fine_tune_starts_from_its_parents_final_state(service):
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    with new_run(service, optimizer) as parent:
        train(net, optimizer, 2, parent)
    before = parent.wait()

    tuned = model(seed=5)
    finer = CairnAdamW(tuned, lr=0.001)
    with new_run(service, finer, parent=parent.id) as child:
        # Weights, moments and products are the parent's.
        assert finer.cairn.state.digest() == optimizer.cairn.state.digest()
        assert all(torch.equal(a, b) for a, b in zip(tuned.parameters(), net.parameters()))
        train(tuned, finer, 2, child)
    after = child.wait()
    assert after["parent"] == parent.id
    report = verified(service, after, "--parent", before["run_dir"])
    assert report["steps_verified"] == 2


def test_a_step_without_a_place_is_refused_here_and_not_sent(service):
    net = model()
    optimizer = CairnSGD(net, lr=0.1)
    with new_run(service, optimizer) as run:
        train(net, optimizer, 1, run)
        net[0].bias.grad[1] = float("inf")
        with pytest.raises(RangeError, match=r"step 1: g of 0\.bias\[1\] = inf"):
            optimizer.step()
        run.flush()
        assert run.status()["accepted_steps"] == 1
    assert run.wait()["proved_steps"] == 1


def test_a_writer_that_was_replaced_is_told(service):
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    run = new_run(service, optimizer)
    train(net, optimizer, 1, run)
    run.flush()
    service.client().take_writer(run.id, take_over=True)
    with pytest.raises(CairnError, match="second_writer"):
        for _ in range(100):
            train(net, optimizer, 1, run)
            time.sleep(0.05)
    run.close()
    with pytest.raises(CairnError, match="second_writer"):
        run.check()


def test_a_state_that_is_not_the_services_is_refused(service):
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    run = new_run(service, optimizer)
    core = optimizer.cairn
    core.state.w[0] += 1
    with pytest.raises(CairnError, match="state_differs"):
        core.step_raw(np.zeros_like(core.state.w), core.settings.hyper(0.01))
        run.flush()
    run.close()


def test_a_learning_rate_above_the_policys_is_refused(service):
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    run = new_run(service, optimizer, lr_max=0.01)
    optimizer.param_groups[0]["lr"] = 0.02
    with pytest.raises(CairnError, match="above the policy's maximum"):
        train(net, optimizer, 1, run)
        run.flush()
    run.close()
    assert run.status()["accepted_steps"] == 0


def test_a_wrong_token_and_a_missing_service_are_told_apart(service, tmp_path):
    optimizer = CairnAdamW(model(), lr=0.01)
    with pytest.raises(ServiceError) as refused:
        Run(optimizer, service.url, token="0123456789abcdef")
    assert (refused.value.status, refused.value.code) == (401, "token")
    with pytest.raises(ServiceError) as missing:
        Run(optimizer, service.url, token_file=tmp_path / "nothing")
    assert missing.value.code == "token"
    service.kill()
    with pytest.raises(ServiceError) as unreachable:
        Run(optimizer, service.url, client=service.client(retry_for=0.5))
    assert (unreachable.value.status, unreachable.value.code) == (0, "unreachable")


def test_events_follow_a_run(service):
    net = model()
    optimizer = CairnAdamW(net, lr=0.01)
    run = new_run(service, optimizer)
    client = service.client()
    events = client.events(run.id)
    assert next(events)[0] == "status"
    train(net, optimizer, 1, run)
    seen = {}
    for name, fields in events:
        seen[name] = fields
        if name == "proved":
            break
    assert seen["accepted"] == {"event": "accepted", "step": 0} and seen["proved"]["step"] == 0
    run.close()

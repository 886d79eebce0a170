"""The Hugging Face trainer proves its steps with one callback, and a loop with Accelerate as any other."""

import json
import pathlib

import pytest
import torch
from accelerate import Accelerator
from transformers import Trainer, TrainingArguments

from cairn import CairnAdamW, CairnError, Run
from cairn.huggingface import CairnCallback


class Classifier(torch.nn.Module):
    """What the trainer wants of a model: a loss for named inputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = torch.nn.Linear(3, 2)

    def forward(self, x, labels):
        logits = self.fc(x)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def rows(n=24):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, 3, generator=generator)
    return [{"x": x[i], "labels": int(x[i, 0] > 0)} for i in range(n)]


def trainer(model, tmp_path, callbacks, optimizer):
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=4,
        per_device_train_batch_size=6,
        warmup_steps=2,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        seed=7,
    )
    return Trainer(model, arguments, train_dataset=rows(), optimizers=(optimizer, None), callbacks=callbacks)


def test_the_trainers_steps_are_proved(service, tmp_path):
    model = Classifier()
    optimizer = CairnAdamW(model, lr=0.01)
    callback = CairnCallback(service.url, client=service.client(), epoch_len=2)
    trainer(model, tmp_path, [callback], optimizer).train()
    status = callback.run.wait()
    assert (status["proved_steps"], status["state_sha256"]) == (4, optimizer.cairn.state.digest())
    code, report = service.cairn("verify", "--all", "--run", status["run_dir"])
    assert code == 0 and report["steps_verified"] == 4
    log = (pathlib.Path(status["run_dir"]) / "steps.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in log]
    rates = [int(r["statement"]["hyper"]["lr"]) for r in records]
    # Warm-up over two steps, then down: the scheduler's rates, each at most the policy's.
    assert rates[0] < rates[1] < rates[2] > rates[3] and max(rates) <= round(0.01 * 2**32)
    assert all("data_epoch" in r["meta"]["extra"] for r in records)


def test_another_optimizer_is_refused(service, tmp_path):
    model = Classifier()
    callback = CairnCallback(service.url, client=service.client())
    with pytest.raises(CairnError, match="expected CairnAdamW, CairnSGD or IntegerOptimizer"):
        trainer(model, tmp_path, [callback], torch.optim.AdamW(model.parameters())).train()


def test_an_accelerated_loop_with_accumulated_gradients_is_proved(service):
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    data = torch.utils.data.DataLoader(rows(), batch_size=6)
    module = Classifier()
    model, optimizer, data = accelerator.prepare(module, CairnAdamW(module, lr=0.01), data)
    with Run(optimizer, service.url, client=service.client(), epoch_len=2) as run:
        for batch in data:
            with accelerator.accumulate(model):
                accelerator.backward(model(**batch)["loss"])
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
    # Four batches, two of them to a step.
    status = run.wait()
    assert status["proved_steps"] == 2
    assert service.cairn("verify", "--all", "--run", status["run_dir"])[0] == 0

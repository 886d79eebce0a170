"""A learning-rate schedule: the rate of each step is in its statement, and the policy's largest one is proved.

That a run follows its schedule is not proved; the rates can be read in the log.
"""

import digits
import torch

import cairn


def main():
    arguments = digits.arguments(__doc__.splitlines()[0]).parse_args()
    training, test = digits.load()
    model = digits.mlp(arguments.hidden, arguments.seed)

    optimizer = cairn.CairnSGD(model, lr=arguments.lr, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=arguments.steps, cycle_momentum=False)
    notes = {"lr_schedule": f"one cycle over {arguments.steps} steps, at most 0.2"}
    more = {"token_file": arguments.token_file, "dataset": digits.dataset()}
    with cairn.Run(optimizer, arguments.service, lr_max=0.2, notes=notes, **more) as run:
        for step in range(arguments.steps):
            lr = scheduler.get_last_lr()[0]
            loss = digits.train_step(model, optimizer, training, step, run)
            scheduler.step()
            print(f"step {step}: lr {lr:.4f}, loss {loss:.4f}")

    status = run.wait()
    print(f"{status['proved_steps']} steps proved, accuracy {digits.accuracy(model, test):.3f}")
    print(f"run {run.id}\ndirectory {status['run_dir']}")


if __name__ == "__main__":
    main()

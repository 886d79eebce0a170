"""Pre-train on digits 0 to 4, fine-tune on all ten as a second run whose parent is the first, and sell the weights.

The child's first state is the parent's last: weights, moments and the products of the bias correction. Verifiers and the
contract see that they are one commitment.

    cairn verify --run CHILD --all --parent PARENT
    cairn check-weights --run CHILD --weights tuned.safetensors --opening tuned.opening.json
"""

import pathlib

import digits

import cairn


def main():
    parser = digits.arguments(__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."), help="where weights and opening go")
    parser.add_argument("--tune-lr", type=float, default=0.001)
    arguments = parser.parse_args()
    more = {"token_file": arguments.token_file, "dataset": digits.dataset()}
    few, _ = digits.load(range(5))
    everything, test = digits.load()
    model = digits.mlp(arguments.hidden, arguments.seed)

    optimizer = cairn.CairnAdamW(model, lr=arguments.lr)
    notes = {"stage": "pre-training on digits 0 to 4"}
    with cairn.Run(optimizer, arguments.service, notes=notes, **more) as parent:
        for step in range(arguments.steps):
            digits.train_step(model, optimizer, few, step, parent)
    # A run can have children once it is finished and all of its steps are proved.
    status = parent.wait()
    print(f"parent {parent.id}: accuracy on all ten {digits.accuracy(model, test):.3f}\ndirectory {status['run_dir']}")

    # A new optimizer, with another learning rate; the run sets it, and the model, to the parent's final state.
    optimizer = cairn.CairnAdamW(model, lr=arguments.tune_lr)
    notes = {"stage": "fine-tuning on all digits"}
    with cairn.Run(optimizer, arguments.service, parent=parent.id, notes=notes, **more) as child:
        for step in range(arguments.steps):
            digits.train_step(model, optimizer, everything, step, child)
    status = child.wait()
    print(f"child {child.id}: accuracy on all ten {digits.accuracy(model, test):.3f}\ndirectory {status['run_dir']}")

    weights, opening = arguments.out / "tuned.safetensors", arguments.out / "tuned.opening.json"
    child.save(weights, opening)
    print(f"weights {weights}\nopening {opening}")


if __name__ == "__main__":
    main()

"""A run in a few lines: train, prove every step, say where the run is.

    cairn prover serve &
    python python/examples/minimal.py
    cairn verify --run artifacts/run-0x… --all
"""

import digits

import cairn


def main():
    arguments = digits.arguments(__doc__.splitlines()[0]).parse_args()
    training, test = digits.load()
    model = digits.mlp(arguments.hidden, arguments.seed)

    optimizer = cairn.CairnAdamW(model, lr=arguments.lr)
    with cairn.Run(optimizer, arguments.service, token_file=arguments.token_file, dataset=digits.dataset()) as run:
        for step in range(arguments.steps):
            loss = digits.train_step(model, optimizer, training, step, run)
            print(f"step {step}: loss {loss:.4f}")

    status = run.wait()
    print(f"{status['proved_steps']} steps proved, accuracy {digits.accuracy(model, test):.3f}")
    print(f"run {run.id}\ndirectory {status['run_dir']}")


if __name__ == "__main__":
    main()

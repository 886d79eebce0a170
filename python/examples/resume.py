"""A trainer that stops in the middle and goes on in another process.

    python python/examples/resume.py --steps 8 --stop-at 3     # prints the run's id and the command that goes on
    python python/examples/resume.py --steps 8 --run 0x…

The service has the integer state, so nothing else is needed; a scheduler or a data loader would be saved beside the id.
"""

import digits

import cairn


def main():
    parser = digits.arguments(__doc__.splitlines()[0])
    parser.add_argument("--stop-at", type=int, help="stop before this step, as an interruption would")
    parser.add_argument("--run", help="id of the run to go on with")
    arguments = parser.parse_args()
    training, test = digits.load()
    model = digits.mlp(arguments.hidden, arguments.seed)
    optimizer = cairn.CairnAdamW(model, lr=arguments.lr)

    where = {"service": arguments.service, "token_file": arguments.token_file}
    if arguments.run:
        run = cairn.Run.resume(optimizer, arguments.run, **where)
        print(f"going on at step {run.next_step}")
    else:
        run = cairn.Run(optimizer, dataset=digits.dataset(), **where)
    for step in range(run.next_step, arguments.steps):
        if step == arguments.stop_at:
            run.close()
            print(f"stopped before step {step}; go on with --run {run.id}")
            return
        loss = digits.train_step(model, optimizer, training, step, run)
        print(f"step {step}: loss {loss:.4f}")
    run.finish()

    status = run.wait()
    print(f"{status['proved_steps']} steps proved, accuracy {digits.accuracy(model, test):.3f}")
    print(f"run {run.id}\ndirectory {status['run_dir']}")


if __name__ == "__main__":
    main()

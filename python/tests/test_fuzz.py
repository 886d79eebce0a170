"""The service's API against what schemathesis makes up from its description."""

import pathlib
import subprocess
import sys

import numpy as np

from cairn import IntegerOptimizer, Run, Settings

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def schemathesis(description, directory, *options):
    """Runs it on a description; seeds are fixed."""
    program = pathlib.Path(sys.executable).parent / "schemathesis"
    command = [program, "run", description, "--checks", CHECKS, "--seed", "1", "--max-examples", "25", "--no-color"]
    return subprocess.run([*command, *options], capture_output=True, text=True, cwd=directory)


def test_the_api_answers_as_its_description_says(service, tmp_path):
    # One run is there, so that some requests get further than its id.
    optimizer = IntegerOptimizer.fresh(Settings("sgd", 0.9), {"w": np.ones(4)})
    with Run(optimizer, service.url, client=service.client(), lr_max=0.1, epoch_len=1) as run:
        optimizer.step({"w": np.ones(4)}, lr=0.1)
    run.wait()
    before = service.client().runs()

    # The stream of events has no end.
    token = ["--header", f"Authorization: Bearer {service.token}", "--exclude-path-regex", "/events$"]
    done = schemathesis(f"{service.url}/v1/openapi.json", tmp_path, *token)
    assert done.returncode == 0, done.stdout + done.stderr
    assert service.process.poll() is None
    # Nothing that it made up became a run or a step.
    assert service.client().runs() == before

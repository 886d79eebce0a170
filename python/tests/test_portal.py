"""The portal's API over a real chain, against what schemathesis makes up from its description."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

from test_fuzz import schemathesis

REPO = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("CAIRN_TOOLS", REPO / ".cache/tools/bin"))
SIGNED = ["--json", "--unlocked", "--from", "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"]  # anvil's first account


@pytest.fixture
def node(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    node = subprocess.Popen([TOOLS / "anvil", "--silent", "--port", str(port)])
    address = f"http://127.0.0.1:{port}"
    yield address
    node.kill()
    node.wait()


@pytest.fixture
def run(binary, home, node, tmp_path):
    """The kept run, anchored by its kept epoch proofs at the contract that its id names."""

    def cairn(*arguments):
        command = [binary, *arguments, "--rpc", node, "--anvil-dev-key", "--json", "--quiet", "--home", home]
        return subprocess.run(command, capture_output=True, text=True)

    def cast(*arguments):
        command = [TOOLS / "cast", arguments[0], "--rpc-url", node, *arguments[1:]]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    deadline = time.monotonic() + 60
    while (deployed := cairn("deploy")).returncode and time.monotonic() < deadline:
        time.sleep(0.1)
    assert deployed.returncode == 0, deployed.stderr
    deployed = json.loads(deployed.stdout)
    kept = json.loads((REPO / "testdata/anchor/demo.json").read_text())
    cast("rpc", "anvil_setCode", kept["contract"], cast("code", deployed["contract"]))
    verifier = json.loads(cast("send", *SIGNED, "--create", kept["verifier_code"]))["contractAddress"]
    registry = ["send", *SIGNED, deployed["registry"]]
    cast(*registry, "proposeVerifier(bytes4,uint8,address)", kept["selector"], "2", verifier)
    cast(*registry, "addVerifier(bytes4,uint8)", kept["selector"], "2")
    directory = tmp_path / f"run-{kept['run']}"
    shutil.copytree(REPO / "testdata/anchor/run", directory)
    peaks = [[], [kept["submissions"][0]["root_after"]]]
    for submission, before in zip(kept["submissions"], peaks, strict=True):
        submission["peaks"] = before
    plan = tmp_path / "submissions.json"
    plan.write_text(json.dumps(kept))
    anchored = cairn("anchor", "--run", directory, "--submissions", plan)
    assert anchored.returncode == 0, anchored.stderr
    return kept


@pytest.fixture
def portal(binary, node, run, tmp_path):
    command = [binary, "portal", "serve", "--json", "--quiet", "--listen", "127.0.0.1:0", "--rate", "100000"]
    command += ["--database", f"sqlite:{tmp_path / 'portal.db'}", "--chain", f"{node},{run['contract']}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    url = json.loads(process.stdout.readline())["listen"]
    yield url
    assert process.poll() is None, "the portal ended by itself"
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    process.stdout.close()


def get(url):
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def test_the_portals_api_answers_as_its_description_says(portal, run, tmp_path):
    deadline = time.monotonic() + 60
    while not (runs := get(f"{portal}/api/v1/runs?status=bundle_not_seen")["runs"]):
        assert time.monotonic() < deadline, get(f"{portal}/api/v1/runs")
        time.sleep(0.1)
    assert [(r["run"], r["epochs"]) for r in runs] == [(run["run"], len(run["submissions"]))]
    # A stream has no end; bundles, which it cannot make up, are sent by tests of their own.
    left_out = ["--exclude-path-regex", "/events$", "--exclude-method", "PUT"]
    done = schemathesis(f"{portal}/api/v1/openapi.json", tmp_path, *left_out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert get(f"{portal}/api/v1/runs/{run['run']}")["status"] == "bundle_not_seen"

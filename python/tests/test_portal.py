"""The portal's API over a real chain, against what schemathesis makes up from its description."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import boto3
import botocore.config
import pytest

from test_fuzz import schemathesis

REPO = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("CAIRN_TOOLS", REPO / ".cache/tools/bin"))
SIGNED = ["--json", "--unlocked", "--from", "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"]  # anvil's first account


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def node(tmp_path):
    port = free_port()
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


@contextlib.contextmanager
def serving(binary, node, run, tmp_path, *more, **environment):
    command = [binary, "portal", "serve", "--json", "--quiet", "--listen", "127.0.0.1:0", "--rate", "100000"]
    command += ["--database", f"sqlite:{tmp_path / 'portal.db'}", "--chain", f"{node},{run['contract']}", *more]
    environment = {**os.environ, **environment}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    url = json.loads(process.stdout.readline())["listen"]
    yield url
    assert process.poll() is None, "the portal ended by itself"
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    process.stdout.close()


@pytest.fixture
def portal(binary, node, run, tmp_path):
    with serving(binary, node, run, tmp_path) as url:
        yield url


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


class Store:
    """A server that speaks S3, in a process of its own, with one bucket."""

    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        program = pathlib.Path(sys.executable).parent / "moto_server"
        command = [program, "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.environment = {
            "AWS_ACCESS_KEY_ID": "an-id",
            "AWS_SECRET_ACCESS_KEY": "a-secret",
            "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
        }
        options = botocore.config.Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
        keys = {"aws_access_key_id": "an-id", "aws_secret_access_key": "a-secret"}
        self.client = boto3.client("s3", "eu-central-1", endpoint_url=self.url, config=options, **keys)
        place = {"LocationConstraint": "eu-central-1"}
        until(lambda: self.client.create_bucket(Bucket="runs", CreateBucketConfiguration=place), "the store listens")

    def put(self, key, body):
        self.client.put_object(Bucket="runs", Key=key, Body=body)

    def end(self):
        self.process.kill()
        self.process.wait()


def until(answer, what):
    """Asks until there is an answer."""
    deadline = time.monotonic() + 60
    while True:
        try:
            if found := answer():
                return found
            problem = None
        except (OSError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            problem = error
        assert time.monotonic() < deadline, f"{what}: {problem}"
        time.sleep(0.1)


@pytest.fixture
def store():
    store = Store()
    yield store
    store.end()


def test_bundles_in_an_object_store_are_taken_in(binary, node, run, store, home, tmp_path):
    directory, name = tmp_path / f"run-{run['run']}", f"run-{run['run']}"
    command = [binary, "bundle", "--run", directory, "--out", tmp_path / "it.torrent", "--json", "--home", home]
    bundle = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    files = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
    for path in files:
        store.put(f"ours/{name}/{path.relative_to(directory)}", path.read_bytes())
    store.put("ours/README", b"not a run")
    # A name that leads elsewhere, below another run's.
    store.put(f"ours/run-0x{'00' * 31}01/../../../../evil", b"evil")
    cache = tmp_path / "deep" / "cache"
    # Making keys takes minutes, so none are: a check that cannot be made for want of keys has read the bundle.
    options = ["--bundles", "s3://runs/ours", "--bundle-cache", cache, "--look", "0.2", "--max-k", "10", "--home", home]

    def arrived(url):
        return get(f"{url}/api/v1/runs/{run['run']}/bundles")["arrived"]

    def counted(url, line):
        with urllib.request.urlopen(f"{url}/metrics") as page:
            return line in page.read().decode().splitlines()

    with serving(binary, node, run, tmp_path, *options, **store.environment) as url:
        here = until(lambda: [a for a in arrived(url) if a["state"] == "unable"], "the bundle is taken in")
        assert here[0]["manifest_digest"] == bundle["manifest_digest"], here
        copied = [path for path in (cache / name).rglob("*") if path.is_file() and not path.name.startswith(".")]
        assert len(copied) == len(files)
        for path in copied:
            assert path.read_bytes() == (directory / path.relative_to(cache / name)).read_bytes()
        assert counted(url, f'cairn_portal_store_objects_total{{way="fetched"}} {len(files)}')
        assert not list(tmp_path.rglob("evil"))

        for path in files:
            store.client.delete_object(Bucket="runs", Key=f"ours/{name}/{path.relative_to(directory)}")
        until(lambda: not arrived(url), "what went from the store goes here")
        assert not (cache / name).exists()

        for path in files:
            store.put(f"ours/{name}/{path.relative_to(directory)}", path.read_bytes())
        until(lambda: arrived(url), "it comes again")
        store.end()
        until(lambda: not counted(url, "cairn_portal_store_failures 0"), "a store that is gone is a failure")
        assert arrived(url) and (cache / name / "run.json").exists()

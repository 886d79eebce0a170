"""A real prover service for tests: the binary in CAIRN_BIN, which `cargo xtask test` builds."""

import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from cairn.client import Client


class Service:
    """`cairn prover serve` in a process of its own, at one port for its whole life."""

    def __init__(self, binary, home, root):
        self.binary, self.home, self.root = binary, home, root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.artifacts, self.token_file = root / "artifacts", root / "token"
        self.process = None
        self.start()

    def start(self):
        arguments = ["prover", "serve", "--listen", f"127.0.0.1:{self.port}", "--json", "--home", self.home]
        arguments += ["--artifacts", self.artifacts, "--token-file", self.token_file]
        self.process = subprocess.Popen([self.binary, *arguments], stdout=subprocess.PIPE, text=True)
        assert json.loads(self.process.stdout.readline())["listen"] == self.url

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait()
        self.process.stdout.close()

    @property
    def token(self):
        return self.token_file.read_text()

    def client(self, **more):
        return Client(self.url, self.token, **{"retry_for": 60.0, **more})

    def cairn(self, *arguments):
        """Runs the binary; returns its exit code and its JSON answer."""
        command = [self.binary, *arguments, "--json", "--quiet", "--home", self.home]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


@pytest.fixture(scope="session")
def binary():
    path = os.environ.get("CAIRN_BIN")
    if not path:
        pytest.skip("CAIRN_BIN names no cairn binary: use `cargo xtask test`")
    return pathlib.Path(path)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Reference strings are made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def service(binary, home, tmp_path):
    service = Service(binary, home, tmp_path)
    yield service
    if service.process.poll() is None:
        service.kill()

"""Longshore and its peers, each as a process of its own on a free port of loopback, with what it needs to be fair.

Signatures and policies are on wherever a server has them; what it would print for every request goes to a file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

ACCOUNT = "123456789012"
REGION = "us-east-1"
ROOT = Path(__file__).resolve().parent.parent
_OURS = ROOT / ".venv" / "bin"
_THEIRS = ROOT / ".venv-bench" / "bin"
_START_SECONDS_MAX = 60
_END_SECONDS_MAX = 20


class Server(Struct, frozen=True, kw_only=True):
    name: str
    endpoint: str
    pid: int
    state: Path
    access_key_id: str  # of the account's root user
    secret_access_key: str

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])


class DidNotStart(Exception):
    """A server ended, or did not answer in time; with the end of what it said."""


@contextlib.contextmanager
def longshore(folder: Path, command: str = "serve", *arguments: str, module: str = "") -> Iterator[Server]:
    """A fresh state folder on disk; every commit is durable. `command`: serve or up. `module`: run in its place."""
    folder.mkdir(exist_ok=True)
    state = folder / f"longshore-{command}"
    port = _free_port()
    key, secret = "AKIABENCHBENCHBENCH0", "a-secret-for-the-length-of-one-measurement"
    program = [str(_OURS / "python"), "-m", module] if module else [str(_OURS / "longshore")]
    line = [*program, command, "--port", str(port), "--state", str(state), *arguments]
    secrets = {"LONGSHORE_ROOT_ACCESS_KEY_ID": key, "LONGSHORE_ROOT_SECRET_ACCESS_KEY": secret}
    secrets |= {"PYTHONPATH": str(ROOT)} if module else {}
    with _running("longshore", line, secrets, folder, f"http://127.0.0.1:{port}/readyz") as pid:
        yield Server(
            name="Longshore",
            endpoint=f"http://127.0.0.1:{port}",
            pid=pid,
            state=state,
            access_key_id=key,
            secret_access_key=secret,
        )


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[Server]:
    """moto's own server as it comes; of Batch the form that starts no containers, which is the faster one."""
    port = _free_port()
    line = [str(_THEIRS / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    endpoint = f"http://127.0.0.1:{port}"
    with _running("moto", line, {}, folder, f"{endpoint}/moto-api/data.json") as pid:
        simple = urllib.request.Request(
            f"{endpoint}/moto-api/config", b'{"batch": {"use_docker": false}}', {"content-type": "application/json"}
        )
        with urllib.request.urlopen(simple, timeout=10):
            pass
        yield Server(
            name="moto", endpoint=endpoint, pid=pid, state=folder, access_key_id="testing", secret_access_key="testing"
        )


@contextlib.contextmanager
def ministack(folder: Path) -> Iterator[Server]:
    """MiniStack with AUTH=true: it verifies signatures and evaluates the policies of every caller but its root."""
    port = _free_port()
    endpoint = f"http://127.0.0.1:{port}"
    settings = {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "ERROR",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        # Listeners on fixed ports that are no part of this.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    with _running("ministack", [str(_THEIRS / "ministack")], settings, folder, f"{endpoint}/_ministack/health") as pid:
        yield Server(
            name="MiniStack", endpoint=endpoint, pid=pid, state=folder, access_key_id="test", secret_access_key="test"
        )


@contextlib.contextmanager
def _running(name: str, line: list[str], settings: Mapping[str, str], folder: Path, answers_at: str) -> Iterator[int]:
    """The process, from its first answer on; ended with all that it started."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "LONGSHORE_"))}
    said = folder / f"{name}.log"
    with said.open("ab") as log:
        process = subprocess.Popen(
            line,
            cwd=folder,
            env=environment | dict(settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # A group of its own, so that it can be ended whole.
        )
    try:
        _wait_for(process, answers_at, said)
        yield process.pid
    finally:
        _end(process)


def _wait_for(process: subprocess.Popen[bytes], url: str, said: Path) -> None:
    end = time.monotonic() + _START_SECONDS_MAX
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise DidNotStart(f"{process.args!r} does not answer at {url}:\n{said.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS_MAX)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port

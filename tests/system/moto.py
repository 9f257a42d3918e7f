"""A server that others wrote, in the environment that scripts/setup makes: what we do must do there, too."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from system.running import CHECKOUT, wait_for


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[str]:
    """moto's own server, in the environment that scripts/setup makes. Its endpoint."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    # AWS's own policies are there only if they are asked for.
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    command = [str(CHECKOUT / ".venv-moto" / "bin" / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: process.poll() is not None or _answers(endpoint), 60)
        assert process.poll() is None, (folder / "moto.log").read_text()
        _post(f"{endpoint}/moto-api/config", b'{"batch": {"use_docker": false}}')
        yield endpoint
    finally:
        process.terminate()
        process.wait(20)


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/moto-api/data.json", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        time.sleep(0.05)
        return False


def _post(url: str, body: bytes = b"") -> None:
    with urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"}), timeout=10):
        pass

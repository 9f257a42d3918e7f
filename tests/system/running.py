"""Real servers for tests: started as a user starts them, ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

from patience import patient

ROOT_KEY = "AKIAROOTROOTROOTROOT"
ROOT_SECRET = "a-secret-of-the-root-user-for-tests-only"
REGION = "us-east-1"
LONGSHORE = [sys.executable, "-m", "longshore"]
CHECKOUT = Path(__file__).resolve().parents[2]

# Service models are read once.
_SESSION = botocore.session.get_session()


class Server:
    """`longshore serve` or `up` on a free port. `end()` returns its exit code. `before`: words before the command."""

    def __init__(
        self, state: Path, *arguments: str, command: str = "serve", ready_seconds: float = 30.0,
        before: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        environment |= {"LONGSHORE_ROOT_ACCESS_KEY_ID": ROOT_KEY, "LONGSHORE_ROOT_SECRET_ACCESS_KEY": ROOT_SECRET}
        self.state = state
        self.log_path = state.parent / f"{state.name}.log"
        began = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*before, *LONGSHORE, command, "--port", "0", "--state", str(state), *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
            )
        assert self.process.stdout is not None
        line = self._first_line(patient(ready_seconds))
        self.seconds_to_ready = time.monotonic() - began
        if not line.startswith("ready http://"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0 if line else 5)
            self.kill()
            raise AssertionError(f"not ready: {line!r}\n{self.log()}")
        self.endpoint = line.split()[1]

    def _first_line(self, seconds: float) -> str:
        """Empty: it has ended, or has said nothing within the time."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], seconds)
        return self.process.stdout.readline() if readable else ""

    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def client(self, service: str, key: str = ROOT_KEY, secret: str = ROOT_SECRET, token: str | None = None) -> Any:
        return _SESSION.create_client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"max_attempts": 0}),
        )

    def aws(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The real aws command, pointed here as its users point it."""
        return self.shell(shlex.join(["aws", *arguments]))

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """A line as a user types it, with the real aws command at hand."""
        environment = {
            "PATH": f"{CHECKOUT / '.venv-aws' / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.state.parent),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ROOT_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=patient(60))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self._close()

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(patient(30))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise
        finally:
            self._close()

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


def wait_for(what: Any, seconds: float = 30.0) -> Any:
    """Asks until it gives something; for so many seconds at most."""
    end = time.monotonic() + patient(seconds)
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"it did not come about within {seconds} s; the last answer: {found!r}")
        time.sleep(0.02)

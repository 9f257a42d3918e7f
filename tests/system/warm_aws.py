"""The real `aws` command without its start: one process that runs the command's own `main` for one line after the other."""

from __future__ import annotations

import json
import os
import select
import shlex
import subprocess
import time
from typing import Any

from system.running import CHECKOUT, REGION, ROOT_KEY, ROOT_SECRET, Server

_PROGRAM = """
import contextlib, io, json, os, sys
from awscli.clidriver import create_clidriver
for line in sys.stdin:
    words, variables = json.loads(line)
    os.environ.update(variables)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = create_clidriver().main(words)
        except SystemExit as ended:
            code = ended.code
    sys.__stdout__.write(json.dumps([code, out.getvalue(), err.getvalue()]) + "\\n")
    sys.__stdout__.flush()
"""
_SECONDS_MAX = 60.0


class Aws:
    """`aws("iam list-roles")` gives the answer; what it refused is an AssertionError, unless `refused` is asked."""

    def __init__(self, server: Server) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(server.state.parent),
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self._process = subprocess.Popen(
            [str(CHECKOUT / ".venv-aws" / "bin" / "python"), "-c", _PROGRAM],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
        )  # fmt: skip

    def __call__(self, line: str, *more: str) -> Any:
        code, out, err = self._run(line, more, ROOT_KEY, ROOT_SECRET)
        assert code == 0, (line, out, err)
        return json.loads(out) if out.lstrip().startswith(("{", "[")) else out

    def refused(self, line: str, *more: str, key: str = ROOT_KEY, secret: str = ROOT_SECRET) -> str:
        """What it says on standard error."""
        code, out, err = self._run(line, more, key, secret)
        assert code not in (0, None), (line, out, err)
        return str(err)

    def carry_out(self, command: str) -> None:
        """A line for a shell, as `longshore explain` prints it: `aws` commands behind one another."""
        words: list[str] = []
        for word in [*shlex.split(command), "&&"]:
            if word != "&&":
                words.append(word)
                continue
            assert words[0] == "aws", command
            self("", *words[1:])
            words = []

    def _run(self, line: str, more: tuple[str, ...], key: str, secret: str) -> list[Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        variables = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        self._process.stdin.write(json.dumps([[*shlex.split(line), *more], variables]) + "\n")
        self._process.stdin.flush()
        began = time.monotonic()
        readable, _, _ = select.select([self._process.stdout], [], [], _SECONDS_MAX)
        assert readable, f"aws {line}: no answer within {time.monotonic() - began:.0f} s"
        answer: list[Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

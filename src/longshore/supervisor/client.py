"""Starts the supervisor of a state folder, or finds the one that is at work."""

from __future__ import annotations

import asyncio
import compileall
import functools
import os
import shutil
import sys
from pathlib import Path

import longshore
from longshore.host.supervised import Gone, Options, open_connection
from longshore.supervisor.version import version


class CannotStart(Exception):
    """Why there is no supervisor, in words for the one who asked for it."""


def socket_path(state: Path) -> Path:
    return state / "supervisor.sock"


async def start(
    state: Path, *, share: tuple[str, ...] = (), has_way_out: bool = True, agent: tuple[str, ...] | None = None
) -> Path:
    """The socket of a supervisor that does as asked. CannotStart.

    One that is at work with other options makes room for a new one, which takes its instances over. Through sudo where
    we are not root: it may ask for a password on the terminal.
    """
    path = socket_path(state)
    options = Options(version=version(), share=share, has_way_out=has_way_out)
    if await _is_at_work(path, options):
        return path
    await asyncio.get_running_loop().run_in_executor(None, _compile)
    command = [
        sys.executable, "-m", "longshore.supervisor", "--background",
        "--state", str(state), "--socket", str(path), "--uid", str(os.getuid()),
        *(word for each in share for word in ("--share", each)),
    ]  # fmt: skip
    if not has_way_out:
        command.append("--no-way-out")
    if agent is not None:
        import json

        command += ["--agent", json.dumps(agent)]
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if sudo is None:
            raise CannotStart("local machines need root, and there is no sudo; start `longshore up` as root")
        command = [sudo, *([] if sys.stdin.isatty() else ["-n"]), *command]
    program = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, said = await program.communicate()
    if program.returncode != 0:
        raise CannotStart(said.decode("utf-8", "replace").strip().removeprefix("longshore: "))
    return path


async def _is_at_work(path: Path, options: Options) -> bool:
    try:
        connection = open_connection(path)
    except Gone:
        return False
    try:
        if (await connection.about()).options == options:
            return True
        await connection.leave()
        await connection.closed.wait()
    except Gone:
        pass
    finally:
        connection.close()
    return False


@functools.cache
def _compile() -> None:
    """Instances see our package read-only, so that what is not compiled by now would be compiled at every start."""
    compileall.compile_dir(Path(longshore.__file__).parent, quiet=2)

"""`python -m longshore.supervisor --state DIR`: runs until it is told to end; its instances outlive it.

It is started by `client.start`, in the background; by hand or by an init system it stays in the foreground and says
`ready` on standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from longshore.host.lines import listen
from longshore.host.namespaces import adopt_orphans
from longshore.host.supervised import News, Options
from longshore.supervisor.door import Door
from longshore.supervisor.keeper import Keeper
from longshore.supervisor.version import version
from longshore.telemetry import configure_logs

log = structlog.get_logger("longshore.supervisor")

_LOOK_SECONDS = 2.0
_LOG_BYTES = 4 * 1024 * 1024


class CannotStart(Exception):
    """Why not, in words for the one who started it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="longshore.supervisor", description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--state", type=Path, required=True, help="the state folder")
    parser.add_argument("--socket", type=Path, help="where to listen; by default `supervisor.sock` in the state folder")
    parser.add_argument("--uid", type=int, default=os.getuid(), help="the user who may ask, beside root")
    parser.add_argument("--share", action="append", default=[], metavar="PATH", help="a host path that instances see")
    parser.add_argument("--no-way-out", action="store_true", help="instances reach nothing but the server")
    parser.add_argument("--agent", type=json.loads, help="the command of another agent, as a JSON list")
    parser.add_argument("--background", action="store_true", help="return when it is ready")
    asked = parser.parse_args()
    try:
        _check(asked)
        if asked.background:
            return _in_background(asked)
        configure_logs()
        _run(asked, lambda: print("ready", flush=True))
    except (CannotStart, OSError) as error:
        print(f"longshore: {error}", file=sys.stderr)
        return 1
    return 0


def _check(asked: argparse.Namespace) -> None:
    if os.geteuid() != 0:
        raise CannotStart("the supervisor needs root: it makes namespaces")
    if not asked.state.is_dir():
        raise CannotStart(f"no state folder `{asked.state}`")
    asked.state = asked.state.resolve()
    for path in asked.share:
        if not Path(path).is_absolute() or not Path(path).exists():
            raise CannotStart(f"`{path}` can't be shared: an absolute path that exists is needed")
        if asked.state.is_relative_to(Path(path).resolve()):
            raise CannotStart(f"`{path}` can't be shared: the state folder `{asked.state}` is in it")


def _in_background(asked: argparse.Namespace) -> int:
    """Leaves a child behind and returns when that is ready, or has said why it can't be."""
    heard, say = os.pipe()
    if os.fork():
        os.close(say)
        with os.fdopen(heard) as file:
            said = file.read()
        if said == "ready":
            return 0
        why = said or f"the supervisor ended before it was ready; see `{asked.state / 'supervisor.log'}`"
        print(f"longshore: {why}", file=sys.stderr)
        return 1
    # Nor does anything of whoever started it stay open here: they may wait for its end.
    os.closerange(3, say)
    os.closerange(say + 1, os.sysconf("SC_OPEN_MAX"))
    os.setsid()
    _log_to(asked.state / "supervisor.log")

    def ready() -> None:
        os.write(say, b"ready")
        os.close(say)

    try:
        configure_logs()
        _run(asked, ready)
    except (CannotStart, OSError) as error:
        os.write(say, str(error).encode())
        os._exit(1)
    os._exit(0)


def _log_to(path: Path) -> None:
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.rename(path.with_suffix(".log.old"))
    nothing = os.open("/dev/null", os.O_RDWR)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(file, 2)


def _run(asked: argparse.Namespace, ready: Callable[[], None]) -> None:
    # Nothing of the environment of whoever started it is handed on, or decides anything here.
    os.environ.clear()
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.umask(0o077)
    lock = _hold(asked.state)
    adopt_orphans()
    asyncio.run(_serve(asked, lock, ready))


def _hold(state: Path) -> int:
    """One supervisor a state folder; the one before may just be leaving. Held until this process ends: the open file."""
    lock = os.open(state / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(50):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            time.sleep(0.05)
    raise CannotStart(f"another supervisor has the state folder `{state}`")


async def _until_gone(state: Path, lock: int) -> None:
    """Returns when the state folder is no longer there, or no longer this one."""
    while True:
        # The folder may lie deep, and any above it may go: looked at now and then, this is simpler than being told.
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            if os.path.samestat(os.stat(state / "supervisor.lock"), os.fstat(lock)):
                continue
        except FileNotFoundError:
            pass
        return


async def _serve(asked: argparse.Namespace, lock: int, ready: Callable[[], None]) -> None:
    options = Options(version=version(), share=tuple(asked.share), has_way_out=not asked.no_way_out)
    heard: list[Door] = []

    def on_news(news: News) -> None:
        for door in heard:
            door.tell(news)

    keeper = Keeper(asked.state, options, agent=tuple(asked.agent) if asked.agent else None, on_news=on_news)
    await keeper.open()
    path = asked.socket or asked.state / "supervisor.sock"
    door = Door(listen(path, owner=asked.uid), keeper, uid=asked.uid)
    heard.append(door)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    log.info("ready", socket=str(path))
    ready()
    gone = asyncio.ensure_future(_until_gone(asked.state, lock))
    waits = [asyncio.ensure_future(told.wait()), asyncio.ensure_future(door.over.wait()), gone]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if gone.done():
        # Nobody can ask for these instances any more, and no later start could find them.
        log.warning("the state folder is gone: everything ends", state=str(asked.state))
        await keeper.shutdown()
    elif not door.over.is_set():
        await keeper.leave()
    for each in waits:
        each.cancel()
    heard.clear()
    path.unlink(missing_ok=True)
    door.close()
    log.info("ended")


if __name__ == "__main__":
    sys.exit(main())

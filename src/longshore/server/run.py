"""The process: binds, assembles, says ready, and ends cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvicorn

from longshore.aws.ids import Ids
from longshore.gateway.door import Door
from longshore.imds.app import create_app
from longshore.server import defaults, keys
from longshore.server.assemble import Assembly
from longshore.server.backup import RESTORING
from longshore.server.whereabouts import write_whereabouts
from longshore.services.ec2.machines.local import LocalMachines
from longshore.settings import Settings
from longshore.store.engine import open_store
from longshore.store.migrate import DatabaseTooNew
from longshore.store.witness import LogIsTorn
from longshore.supervisor import client as supervisor
from longshore.supervisor.check import check
from longshore.world import SystemClock, SystemEntropy

log = structlog.get_logger("longshore.server")


class CannotStart(Exception):
    """Why there will be no server, in words for the one who started it."""


_LAST_WORDS_SECONDS = 0.5  # in which those who wait for the database hear that it failed


class _Quiet(uvicorn.Server):
    """uvicorn without its own signal handlers: the process has one place where it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: Settings, *, with_defaults: bool) -> None:
    """Runs until SIGTERM or SIGINT. Prints `ready http://HOST:PORT` when it answers. CannotStart.

    `with_defaults`: what a first job needs is there before it says ready.
    """
    import uvloop

    assert settings.state is not None
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.state.chmod(0o700)
    with held(settings.state / "lock"):
        if (settings.state / RESTORING).exists():
            raise CannotStart(f"a restore into `{settings.state}` was cut short; run `longshore restore` once more")
        try:
            uvloop.run(_serve(settings, settings.state, with_defaults=with_defaults))
        except (keys.HalfGiven, DatabaseTooNew, LogIsTorn, defaults.NotSettled, supervisor.CannotStart) as error:
            raise CannotStart(str(error)) from error
        except asyncio.CancelledError:
            raise CannotStart("told to end before it was ready") from None


async def _serve(settings: Settings, state: Path, *, with_defaults: bool) -> None:
    door = _bind(settings.host, settings.port)
    settings = msgspec.structs.replace(settings, port=door.getsockname()[1])
    ids = Ids(SystemEntropy())
    store = open_store(state / "longshore.db")
    store.on_broken = _on_broken
    assembly = Assembly(
        settings=settings,
        store=store,
        clock=SystemClock(),
        ids=ids,
        sealer=keys.sealer(state),
        identity_documents=keys.identity_documents(state),
        root_keys=keys.root_keys(state, ids, settings.account),
    )
    end = asyncio.Event()
    starting = asyncio.current_task()
    assert starting is not None

    def finish() -> None:
        # Told to end before it was ready, it need not become so first. Told twice, it ends once.
        if not end.is_set() and not assembly.is_ready:
            starting.cancel()
        end.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, finish)
    doors = [door]
    servers: list[_Quiet] = []
    serving: list[asyncio.Task[None]] = []
    try:
        if settings.machines == "local":
            metadata, api = await _use_local_machines(assembly, state)
            doors.append(api)
            servers.append(_server(create_app(assembly.house.ports["imds"]), http="httptools"))
            serving.append(asyncio.create_task(servers[0].serve(sockets=[metadata])))
        await assembly.start()
        servers.append(_server(assembly.gateway, http=Door))
        serving.append(asyncio.create_task(servers[-1].serve(sockets=doors)))
        while not all(server.started for server in servers):
            for task in serving:
                if task.done():
                    await task
            await asyncio.sleep(0.005)
        if with_defaults:
            await defaults.write_defaults(assembly, state)
        write_whereabouts(state, settings)
        assembly.is_ready = True
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"ready http://{shown}:{settings.port}", flush=True)
        # What is loaded by now stays. Looking through it, the garbage collector would hold up everybody for 50 ms each time.
        gc.freeze()
        # Few things here go round in circles, so it need not look for them after every seven hundred new ones: a tenth of a
        # read's time (tried).
        gc.set_threshold(10_000, 20, 50)
        await end.wait()
    finally:
        assembly.is_ready = False
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*serving)
        await assembly.close()
        store.close()


def _on_broken(error: BaseException) -> None:
    """The disk has failed. Those who wait hear of it; then the process ends as it would if it were killed: what was
    acknowledged is on the disk, and machines and jobs go on until it is started again."""
    print(
        f"longshore: the disk failed under the database: {error}; nothing that was acknowledged is lost",
        file=sys.stderr,
    )
    log.critical("the disk failed", error=str(error), name=getattr(error, "sqlite_errorname", None))
    asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, os._exit, 1)


async def _use_local_machines(assembly: Assembly, state: Path) -> tuple[socket.socket, socket.socket]:
    """Has instances run on this host; the sockets at which they reach the metadata service and the API."""

    lacking = check(state)
    needed = [each for each in lacking if each.is_needed]
    if needed:
        shown = "".join(f"\n  {each.what}: {each.how}" for each in needed)
        raise CannotStart(f"local machines can't run here; `--machines memory` needs nothing of this. Missing:{shown}")
    for each in lacking:
        log.warning("host", missing=each.what, how=each.how)

    async def supervise() -> Path:
        return await supervisor.start(state, share=assembly.settings.share)

    machines = LocalMachines(assembly.house, supervise)
    assembly.use(machines)
    await machines.start()
    return await machines.listeners()


def _server(app: Any, *, http: Any) -> _Quiet:
    return _Quiet(
        uvicorn.Config(
            app,
            loop="none",
            http=http,
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
    )


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((host, port))
    except OSError as error:
        raise CannotStart(
            f"can't listen on {host} port {port}: {error.strerror}; another one is given by --port"
        ) from error
    door.setblocking(False)
    return door


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """A state folder, for one process at a time. CannotStart: another has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CannotStart(f"another server has the state folder `{path.parent}`") from error
    try:
        yield
    finally:
        os.close(handle)

"""The agent from its start to its end: as a coroutine anywhere, and as a process of its own.

Order of a start: what an earlier agent left is taken up, so that running jobs are looked after even if the server is away;
then the metadata, the role's credentials, the registration, the two streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from longshore.agent.config import ECS_CONFIG, AgentConfig
from longshore.agent.credentials import Endpoint, TaskCredentials, served
from longshore.agent.engine import Engine
from longshore.agent.identity import (
    Api,
    Instance,
    InstanceRole,
    Metadata,
    MetadataRefused,
    NoCredentials,
    read_instance,
)
from longshore.agent.runtimes.base import Runtime
from longshore.agent.session import FINAL, RESTART, AgentEnded, Session, kept_registration, register
from longshore.agent.shelf import JournalShelf, MemoryShelf, Shelf
from longshore.agent.transport import HttpTransport, Transport, TransportError
from longshore.aws.clock import Clock
from longshore.aws.ids import Ids

Say = Callable[[str], None]

_ENDPOINT_SECONDS = 60.0  # for which the address of the credentials endpoint may still be taken
_DATA = Path("/var/lib/ecs")  # where containers lie when nothing of the agent's is kept
_METADATA_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def _print(line: str) -> None:
    print(line, flush=True)


async def run(
    config: AgentConfig,
    transport: Transport,
    runtime: Runtime,
    shelf: Shelf,
    clock: Clock,
    ids: Ids,
    say: Say = _print,
) -> None:
    """Runs until it is cancelled; containers go on. AgentEnded: why it can't go on, and whether a new start may help."""
    metadata = Metadata(transport)
    role = InstanceRole(metadata, clock)
    api = Api(transport, role)
    credentials = TaskCredentials()
    try:
        async with asyncio.TaskGroup() as group:
            engine = Engine(
                config=config, runtime=runtime, shelf=shelf, api=api, credentials=credentials, clock=clock, ids=ids,
                group=group, say=say,
            )  # fmt: skip
            engine.restore()
            if config.credentials_bind is not None:
                group.create_task(_serve(Endpoint(credentials, engine.describe), config.credentials_bind, say))
            instance = await _found(metadata, say)
            _check_kept(shelf, instance)
            try:
                await role.credentials()
            except NoCredentials as error:
                if error.because:
                    say(error.because)
                raise AgentEnded(RESTART, str(error)) from error
            arn = await register(config, instance, api, shelf, ids, say)
            say(f"registered as {arn}")
            session = Session(
                config=config, arn=arn, engine=engine, api=api, role=role, transport=transport, clock=clock, ids=ids,
                say=say,
            )  # fmt: skip
            group.create_task(session.poll())
            group.create_task(session.telemetry())
    except BaseExceptionGroup as several:
        ended = several.subgroup(AgentEnded)
        if ended is None:
            raise
        raise _first(ended) from None


def _first(group: BaseExceptionGroup[AgentEnded]) -> AgentEnded:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


async def _found(metadata: Metadata, say: Say) -> Instance:
    """Waits for a metadata service that does not answer: without it there is nothing to begin with."""
    attempt = 0
    while True:
        try:
            return await read_instance(metadata)
        except MetadataRefused as refused:
            raise AgentEnded(RESTART, str(refused)) from refused
        except TransportError as error:
            if attempt == 0:
                say(f"EC2 instance metadata: {error}")
        await asyncio.sleep(_METADATA_PAUSES[min(attempt, len(_METADATA_PAUSES) - 1)])
        attempt += 1


def _check_kept(shelf: Shelf, instance: Instance) -> None:
    """Data of another instance (a copied disk) are no data of this one."""
    kept = kept_registration(shelf)
    if kept is None or kept.instance_id == instance.instance_id:
        return
    for folder in ("agent", "states", "tasks", "logs", "late"):
        for name in shelf.names(folder):
            shelf.remove(name)
    raise AgentEnded(RESTART, f"the kept data were those of instance {kept.instance_id}")


async def _serve(endpoint: Endpoint, bind: str, say: Say) -> None:
    """The agent goes on without it if it must; jobs without a role do not miss it."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _ENDPOINT_SECONDS
    while True:
        try:
            async with served(endpoint, bind):
                await asyncio.Event().wait()
        except OSError as error:
            say(f"task credentials endpoint {bind}: {error}")
        if loop.time() > give_up_at:
            raise AgentEnded(RESTART, f"the task credentials endpoint {bind} can't be had")
        await asyncio.sleep(1)


def main() -> int:
    """The process. Its status: 0 after SIGTERM, 1 asks for a new start, 5 says that one would be of no use."""
    try:
        text = ECS_CONFIG.read_text()
    except OSError:
        text = ""
    try:
        config = AgentConfig.from_environment(os.environ, text)
    except (KeyError, ValueError) as error:
        _print(f"the agent's settings can't be read: {error}")
        return FINAL
    return asyncio.run(_main(config))


async def _main(config: AgentConfig) -> int:
    from longshore.agent.runtimes.crun import CrunRuntime
    from longshore.world import SystemClock, SystemEntropy

    clock = SystemClock()
    transport = HttpTransport(endpoint=config.endpoint, metadata=config.metadata, region=config.region, clock=clock)
    shelf: Shelf = JournalShelf(config.data) if config.data is not None else MemoryShelf()
    runtime = CrunRuntime(
        (config.data or _DATA) / "runtime",
        images=config.images,
        cgroup=config.cgroup,
        is_privileged_allowed=config.is_privileged_allowed,
    )
    running = asyncio.ensure_future(run(config, transport, runtime, shelf, clock, Ids(SystemEntropy())))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        return 0
    except AgentEnded as ended:
        _print(str(ended))
        return ended.status
    finally:
        runtime.close()
        with contextlib.suppress(OSError):
            await transport.close()
    return RESTART


if __name__ == "__main__":
    sys.exit(main())

"""What the supervisor and those who ask it say to each other, and how they are reached.

One JSON message a line. A question has a number, its answer the same one; news has none. The listening sockets of the
fabric come as open files beside the answer.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from longshore.host.lines import Lines, connect

# Where instances find the metadata service and the API. Both addresses are the fabric's, and nowhere else.
METADATA = ("169.254.169.254", 80)
API = ("169.254.169.253", 4570)
ENDPOINT = f"http://{API[0]}:{API[1]}"

AgentState = Literal["none", "running", "waiting", "ended"]  # waiting: for its restart; ended: it wants none
Verb = Literal["about", "launch", "terminate", "list", "console", "listeners", "leave", "shutdown"]


class Order(Struct, frozen=True, kw_only=True):
    """An instance, as the supervisor is to make it."""

    instance_id: str
    private_ip: str
    vcpus: int
    memory_mib: int
    hostname: str
    disk_mib: int | None = None  # None: what the supervisor's disk has
    mac: str | None = None  # None: the kernel's choice
    hop_limit: int = 1  # how far answers of the metadata service go: 1 is the instance, 2 a container behind a bridge
    scripts: tuple[str, ...] = ()  # run at boot, in this order, each by the program that its first line names
    notes: tuple[str, ...] = ()  # the first lines of the console
    starts_agent: bool = True  # after the scripts; else one of them may start it
    environment: dict[str, str] = {}  # of the agent, beside what the supervisor knows itself


class Standing(Struct, frozen=True, kw_only=True):
    """An instance, as it is."""

    instance_id: str
    private_ip: str
    vcpus: int
    memory_mib: int
    pid: int  # the host's number of its first process
    is_booted: bool  # the scripts have ended
    agent: AgentState
    agent_pid: int | None  # in the instance's own numbers
    agent_starts: int


class Options(Struct, frozen=True, kw_only=True):
    """What a supervisor is started with, beside its place."""

    version: str
    share: tuple[str, ...] = ()
    has_way_out: bool = True  # whether instances reach the host and the internet


class About(Struct, frozen=True, kw_only=True):
    options: Options
    pid: int
    fabric: str  # the name of its network namespace
    host_address: str | None  # what instances reach the host by; None: not at all
    way_out_fault: str | None  # why there is none though there should be
    users_fault: str | None = None  # why root in an instance is root on this host; None: it is not
    disk_fault: str | None = None  # why instances' disks have no bounds; None: they have


class Question(Struct, frozen=True, kw_only=True):
    number: int
    verb: Verb
    instance_id: str = ""
    order: Order | None = None


class Answer(Struct, frozen=True, kw_only=True, tag="answer"):
    number: int
    fault: str | None = None
    about: About | None = None
    instances: tuple[Standing, ...] = ()
    console: bytes = b""
    descriptors: int = 0  # how many open files came along


class Died(Struct, frozen=True, kw_only=True, tag="died"):
    """An instance that nobody ended. What it left is already gone."""

    instance_id: str
    reason: str | None  # None: it shut itself down


class Changed(Struct, frozen=True, kw_only=True, tag="changed"):
    """Its boot or its agent went a step on."""

    standing: Standing


News = Died | Changed

_encoder = msgspec.json.Encoder()
_answers = msgspec.json.Decoder(Answer | Died | Changed)
questions = msgspec.json.Decoder(Question)


def encode(message: Question | Answer | News) -> bytes:
    return _encoder.encode(message)


class Refused(Exception):
    """The supervisor could not do it; why, in its words."""


class Gone(Exception):
    """The supervisor has ended, or is not there."""


class Connection:
    """To a supervisor. Made by `open_connection`."""

    def __init__(self, end: socket.socket, on_news: Callable[[News], None]) -> None:
        self._on_news = on_news
        self._numbers = itertools.count(1)
        self._awaited: dict[int, asyncio.Future[Answer]] = {}
        self.closed = asyncio.Event()
        self._lines = Lines(end, self._on_line, self._on_close)

    async def about(self) -> About:
        about = (await self._ask("about")).about
        assert about is not None
        return about

    async def launch(self, order: Order) -> Standing:
        """The instance runs its boot scripts when this returns. One that is there is found, not made again."""
        return (await self._ask("launch", order=order)).instances[0]

    async def terminate(self, instance_id: str) -> None:
        """Returns when nothing is left of it."""
        await self._ask("terminate", instance_id=instance_id)

    async def list(self) -> tuple[Standing, ...]:
        return (await self._ask("list")).instances

    async def console(self, instance_id: str) -> bytes:
        """The last of what boot and agent wrote; empty for an instance that is not there."""
        return (await self._ask("console", instance_id=instance_id)).console

    async def listeners(self) -> tuple[socket.socket, socket.socket]:
        """Listening sockets at METADATA and API. They are there once: who has them serves them."""
        answer = await self._ask("listeners")
        metadata, api = (socket.socket(fileno=each) for each in self._lines.take_descriptors(answer.descriptors))
        for each in (metadata, api):
            each.setblocking(False)
        return metadata, api

    async def leave(self) -> None:
        """The supervisor ends, its instances go on, and the next one takes them over."""
        await self._ask("leave")

    async def shutdown(self) -> None:
        """Everything ends: instances, fabric, the supervisor. Nothing is left behind."""
        await self._ask("shutdown")

    def close(self) -> None:
        self._lines.close()

    async def _ask(self, verb: Verb, *, instance_id: str = "", order: Order | None = None) -> Answer:
        if self._lines.is_closed:
            raise Gone("the supervisor has ended")
        question = Question(number=next(self._numbers), verb=verb, instance_id=instance_id, order=order)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._awaited[question.number] = future
        try:
            self._lines.send(encode(question))
            answer = await future
        finally:
            self._awaited.pop(question.number, None)
        if answer.fault is not None:
            raise Refused(answer.fault)
        return answer

    def _on_line(self, line: bytes) -> None:
        said = _answers.decode(line)
        if not isinstance(said, Answer):
            self._on_news(said)
            return
        future = self._awaited.get(said.number)
        if future is not None and not future.done():
            future.set_result(said)
        elif said.descriptors:
            for descriptor in self._lines.take_descriptors(said.descriptors):
                os.close(descriptor)

    def _on_close(self) -> None:
        self.closed.set()
        for future in self._awaited.values():
            if not future.done():
                future.set_exception(Gone("the supervisor has ended"))


def open_connection(path: Path, on_news: Callable[[News], None] = lambda _: None) -> Connection:
    """To the supervisor that listens at `path`. Gone: there is none, or it is not ours to ask."""
    try:
        return Connection(connect(path), on_news)
    except OSError as error:
        raise Gone(f"no supervisor at `{path}`: {error.strerror}") from error

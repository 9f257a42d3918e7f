"""The unix socket: who may ask, what is asked, and the answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import msgspec
import structlog

from longshore.host.lines import Lines
from longshore.host.supervised import Answer, News, Question, encode, questions
from longshore.supervisor.keeper import CannotLaunch, Keeper

log = structlog.get_logger("longshore.supervisor.door")

_GUESTS_MAX = 64


class Door:
    """`over` is set when the supervisor has been told to end."""

    def __init__(self, door: socket.socket, keeper: Keeper, *, uid: int) -> None:
        door.setblocking(False)
        self._door = door
        self._keeper = keeper
        self._uids = {0, uid}
        self._guests: set[Lines] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.over = asyncio.Event()
        asyncio.get_running_loop().add_reader(door.fileno(), self._greet)

    def tell(self, news: News) -> None:
        line = encode(news)
        for guest in list(self._guests):
            guest.send(line)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._door.fileno())
        self._door.close()
        for guest in list(self._guests):
            guest.close()

    def _greet(self) -> None:
        with contextlib.suppress(BlockingIOError):
            end, _ = self._door.accept()
            uid = _peer_uid(end)
            if uid not in self._uids or len(self._guests) >= _GUESTS_MAX:
                log.warning("turned away", uid=uid)
                end.close()
                return
            guest = Lines(end, lambda line: self._hear(guest, line), lambda: self._guests.discard(guest))
            self._guests.add(guest)

    def _hear(self, guest: Lines, line: bytes) -> None:
        try:
            question = questions.decode(line)
        except msgspec.DecodeError as error:
            log.warning("not understood", error=str(error))
            guest.close()
            return
        task = asyncio.get_running_loop().create_task(self._answer(guest, question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, guest: Lines, question: Question) -> None:
        descriptors: tuple[int, ...] = ()
        try:
            answer, descriptors = await self._carry_out(question)
        except CannotLaunch as error:
            answer = Answer(number=question.number, fault=str(error))
        except Exception as error:
            log.exception("failed", verb=question.verb, instance_id=question.instance_id)
            answer = Answer(number=question.number, fault=f"{type(error).__name__}: {error}")
        guest.send(encode(answer), descriptors)
        if question.verb in ("leave", "shutdown") and answer.fault is None:
            self.over.set()

    async def _carry_out(self, question: Question) -> tuple[Answer, tuple[int, ...]]:
        number, keeper = question.number, self._keeper
        match question.verb:
            case "about":
                return Answer(number=number, about=keeper.about()), ()
            case "launch":
                if question.order is None:
                    raise CannotLaunch("an order is missing")
                return Answer(number=number, instances=(await keeper.launch(question.order),)), ()
            case "terminate":
                await keeper.terminate(question.instance_id)
                return Answer(number=number), ()
            case "list":
                return Answer(number=number, instances=keeper.standings()), ()
            case "console":
                return Answer(number=number, console=keeper.console(question.instance_id)), ()
            case "listeners":
                sockets = await keeper.listen()
                return Answer(number=number, descriptors=len(sockets)), tuple(each.detach() for each in sockets)
            case "leave":
                await keeper.leave()
                return Answer(number=number), ()
            case "shutdown":
                await keeper.shutdown()
                return Answer(number=number), ()


def _peer_uid(end: socket.socket) -> int:
    credentials = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid

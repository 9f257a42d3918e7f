"""What ended containers wrote and could not be sent: kept on the shelf until it can be, also by the agent's next lives.

The containers themselves are gone by then, and with them the disk that they took. What is kept is bounded, for each of them
and in all; what there is no room for is told, as is what gets too old for CloudWatch to take it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec
from msgspec import Struct

from longshore.agent.credentials import TaskCredentials
from longshore.agent.identity import Api, NoCredentials
from longshore.agent.logs import NEVER, AwsLogs, LogEvent, Rest, take_batch
from longshore.agent.shelf import Shelf
from longshore.agent.transport import Credentials, TransportError
from longshore.aws.clock import Clock, milliseconds
from longshore.aws.errors import AwsError

_BYTES_MAX = 16 * 1024 * 1024  # of all documents; the agent holds them in memory
# API reference, PutLogEvents: events may be 14 days old.
_AGE_MS_MAX = 14 * 24 * 3600 * 1000
# A person who mends a role waits for what comes of it; who has not mended it in an hour will look later.
_SOON_SECONDS = 5.0
_LATER_SECONDS = 60.0
_SOON_FOR_SECONDS = 3600.0

_FOLDER = "late"


class Stream(Struct, frozen=True, kw_only=True):
    """Where a container's log goes, and as whom."""

    group: str
    stream: str
    writer: str
    creates_group: bool = False
    credentials_id: str | None = None  # of the execution role; None: the instance's role


class _Late(Struct, frozen=True):
    stream: Stream
    start: int
    events: list[LogEvent]


class LateLogs:
    """`group`: where its coroutine runs, as long as there is something to send."""

    def __init__(
        self,
        shelf: Shelf,
        api: Api,
        credentials: TaskCredentials,
        clock: Clock,
        group: asyncio.TaskGroup,
        say: Callable[[str], None],
    ) -> None:
        self._shelf = shelf
        self._api = api
        self._task_credentials = credentials
        self._clock = clock
        self._group = group
        self._say = say
        self._sizes: dict[str, int] = {}  # container id -> its document's bytes; who was kept first stands first
        self._sessions: dict[str, Credentials] = {}  # by credentials id: the task that they belong to is forgotten
        self._is_sending = False
        self._hurry = asyncio.Event()  # somebody waits for it
        self._round: asyncio.Event | None = None  # the end of the next round, where somebody waits for it

    def keep(self, container_id: str, stream: Stream, rest: Rest) -> None:
        kept = f"{len(rest.events)} events are kept until the stream takes them"
        lost = f", {rest.lost} before them are lost: there is no room for more" if rest.lost else ""
        self._tell(stream, f"{kept}{lost}")
        held = self._task_credentials.find(stream.credentials_id) if stream.credentials_id is not None else None
        if held is not None:
            self._sessions[held.session.credentials_id] = held.session.as_credentials()
        self._put(container_id, _Late(stream, rest.start, rest.events))
        while sum(self._sizes.values()) > _BYTES_MAX:
            self._lose(next(iter(self._sizes)), "there is no room for more")
        self._begin()

    def restore(self) -> None:
        """Goes on with what an earlier agent left."""
        for name in self._shelf.names(_FOLDER):
            document = self._shelf.get(name)
            if document is not None:
                self._sizes[name.partition("/")[2]] = len(document)
        self._begin()

    async def try_now(self, container_id: str) -> None:
        """Returns when what is left of the container has been tried once more, or there is nothing left."""
        if container_id in self._sizes:
            self._round = self._round or asyncio.Event()
            self._hurry.set()
            await self._round.wait()

    def _begin(self) -> None:
        if self._sizes and not self._is_sending:
            self._is_sending = True
            self._group.create_task(self._send())

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        progress_at = loop.time()
        while self._sizes:
            ending, self._round = self._round, None
            self._hurry.clear()
            # A role that is refused one stream is not asked about each of the others; those of it have a turn after another.
            refused: set[str | None] = set()
            for container_id in list(self._sizes):
                late = self._get(container_id)
                if late is None or late.stream.credentials_id in refused:
                    continue
                if await self._deliver(container_id, late):
                    progress_at = loop.time()
                elif container_id in self._sizes:
                    refused.add(late.stream.credentials_id)
                    self._sizes[container_id] = self._sizes.pop(container_id)
            if ending is not None:
                ending.set()
            if self._sizes:
                soon = loop.time() - progress_at < _SOON_FOR_SECONDS
                try:
                    async with asyncio.timeout(_SOON_SECONDS if soon else _LATER_SECONDS):
                        await self._hurry.wait()
                except TimeoutError:
                    pass
        self._is_sending = False
        if self._round is not None:
            self._round.set()

    async def _deliver(self, container_id: str, late: _Late) -> bool:
        """Whether all is there now. What was sent is off the shelf, also if that was not all."""
        oldest_ms = milliseconds(self._clock.now()) - _AGE_MS_MAX
        if late.events[-1].timestamp < oldest_ms:
            self._lose(container_id, "they are too old for the service to take them")
            return False
        log = self._log(late.stream)
        waiting = deque(late.events)
        while waiting:
            start = late.start
            batch = take_batch(waiting)
            try:
                await log.put(start, batch)
            except (AwsError, NoCredentials, TransportError) as error:
                if not isinstance(error, AwsError) or error.code not in _LOST:
                    return False
                self._tell(late.stream, f"{len(batch)} events are lost: {error}")
            if container_id not in self._sizes:
                return False  # There was no room for it meanwhile.
            late = _Late(late.stream, batch[-1].end, list(waiting))
            if waiting:
                self._put(container_id, late)
        self._drop(container_id)
        return True

    def _log(self, stream: Stream) -> AwsLogs:
        credentials_id = stream.credentials_id

        async def session() -> Credentials:
            assert credentials_id is not None
            held = self._sessions.get(credentials_id)
            if held is None:
                raise NoCredentials("the session of the task's execution role has ended with the task")
            return held

        return AwsLogs(
            self._api, self._clock, group=stream.group, stream=stream.stream, writer=stream.writer,
            creates_group=stream.creates_group, credentials=None if credentials_id is None else session, say=self._say,
        )  # fmt: skip

    def _get(self, container_id: str) -> _Late | None:
        document = self._shelf.get(f"{_FOLDER}/{container_id}")
        return msgspec.json.decode(document, type=_Late) if document is not None else None

    def _put(self, container_id: str, late: _Late) -> None:
        document = msgspec.json.encode(late)
        self._shelf.put(f"{_FOLDER}/{container_id}", document)
        self._sizes[container_id] = len(document)

    def _drop(self, container_id: str) -> None:
        self._shelf.remove(f"{_FOLDER}/{container_id}")
        del self._sizes[container_id]

    def _lose(self, container_id: str, why: str) -> None:
        late = self._get(container_id)
        if late is not None:
            self._tell(late.stream, f"{len(late.events)} events are lost: {why}")
        self._drop(container_id)

    def _tell(self, stream: Stream, text: str) -> None:
        self._say(f"log stream {stream.group} {stream.stream}: {text}")


# Nothing that anyone could mend makes these go: a stream that was deleted was so with all that it held.
_LOST = NEVER | {"ResourceNotFoundException"}

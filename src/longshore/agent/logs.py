"""The log driver awslogs: what a container writes becomes events of its log stream, complete, in order, and once.

PutLogEvents can't be asked whether an earlier call arrived, and nothing else is allowed to the role. So each call says in
`sequenceToken`, which AWS takes and ignores, which bytes of the container's output it is made of; Longshore's own service
remembers how far a stream has come, and takes of a repetition what it lacks.

Source: Docker's documentation, "Amazon CloudWatch Logs logging driver"; CloudWatch Logs API reference, PutLogEvents.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from itertools import pairwise
from typing import Any

from msgspec import Struct

from longshore.agent.identity import SESSION_IS_OVER, Api, NoCredentials, is_transient
from longshore.agent.runtimes.base import Chunk
from longshore.agent.transport import Credentials, TransportError
from longshore.aws.clock import Clock, milliseconds
from longshore.aws.errors import AwsError

# CloudWatch Logs API reference, PutLogEvents.
EVENT_OVERHEAD_BYTES = 26
BATCH_BYTES_MAX = 1_048_576
BATCH_EVENTS_MAX = 10_000
BATCH_SPAN_MS_MAX = 24 * 3600 * 1000 - 1
MESSAGE_BYTES_MAX = 262_144 - EVENT_OVERHEAD_BYTES

_BUFFER_BYTES_MAX = 2 * BATCH_BYTES_MAX  # what is read ahead; the rest waits where the runtime keeps it
# Lines are gathered for so long while the container runs. Its end sends the rest at once, so that a short job's log is
# one call, and someone who follows a long one's does not notice.
_PACE_SECONDS = 0.2
# A flood goes in small steps with a pause between them: agent and service have one loop each, and everybody else's turn
# comes between two steps. What comes faster waits in the container's pipe, and the container with it. Twice as many steps
# made a neighbour's job take five times as long.
_STEP_SECONDS = 0.1
_STEP_BYTES_MAX = BATCH_BYTES_MAX // 4
_STEP_EVENTS_MAX = 2_000
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0)
_REFUSED_SECONDS = 5.0
_OPEN_SECONDS = 60.0  # for how long no answer is no refusal
_AFTER_END_SECONDS = 900.0  # for how long an ended container is kept for a log service that does not answer
# Of an ended container whose log could not be sent. The end of a log is what is looked for first.
REST_BYTES_MAX = BATCH_BYTES_MAX


class LogStreamRefused(Exception):
    """The text follows `failed to create Cloudwatch log stream: `."""


class LogEvent(Struct, frozen=True):
    timestamp: int  # epoch milliseconds
    message: str
    end: int  # bytes that the container had written when the event was complete

    @property
    def size(self) -> int:
        return len(self.message.encode()) + EVENT_OVERHEAD_BYTES


class Place(Struct, frozen=True):
    """How far a container's output is in its stream: what an agent that starts anew goes on from."""

    end: int = 0  # bytes
    last_ms: int = 0  # the time of the last event


class Rest(Struct, frozen=True):
    """What could not be sent while the container was there."""

    start: int  # bytes that the container had written before
    events: list[LogEvent]
    lost: int = 0  # events before those


def sequence_token(writer: str, start: int, batch: Sequence[LogEvent]) -> str:
    """Which bytes these events are made of, the first one from `start` on; `services/logs/repeats.py` reads it."""
    ends = [start, *(event.end for event in batch)]
    sizes = ",".join([str(end - before) for before, end in pairwise(ends)])
    return f"longshore/1/{writer}/{start}/{ends[-1]}/{sizes}"


class Lines:
    """Bytes in, events out: one a line, without its end; of an over-long line several; of an empty one none, as Docker does.

    However the bytes come, the events and their ends are the same: an agent that reads them again sends the same ones.
    """

    def __init__(self, after: int, last_ms: int = 0) -> None:
        self._rest = b""
        self._at = after  # where `_rest` begins
        self._last_ms = last_ms

    def feed(self, data: bytes, now_ms: int) -> list[LogEvent]:
        self._last_ms = max(self._last_ms, now_ms)  # A batch must be in the order of time, whatever the clock does.
        *lines, rest = (self._rest + data).split(b"\n")
        found: list[LogEvent] = []
        for line in lines:
            pieces = self._cut(line)
            self._at += 1
            if pieces:
                pieces[-1] = LogEvent(pieces[-1].timestamp, pieces[-1].message, self._at)
            found += pieces
        while len(rest) > MESSAGE_BYTES_MAX:
            rest = rest[self._take(rest, found) :]
        self._rest = rest
        return found

    def finish(self) -> list[LogEvent]:
        """The last line, if it had no end."""
        rest, self._rest = self._rest, b""
        return self._cut(rest)

    def _cut(self, line: bytes) -> list[LogEvent]:
        found: list[LogEvent] = []
        while line:
            line = line[self._take(line, found) :]
        return found

    def _take(self, line: bytes, found: list[LogEvent]) -> int:
        """Adds one event. How many bytes it is of; nothing behind the first too many of them is looked at."""
        size = _boundary(line, MESSAGE_BYTES_MAX)
        text = line[:size].decode("utf-8", "replace")
        while len(text.encode()) > MESSAGE_BYTES_MAX:
            # A byte that is no UTF-8 becomes a character of three.
            size = _boundary(line, size // 2)
            text = line[:size].decode("utf-8", "replace")
        self._at += size
        found.append(LogEvent(self._last_ms, text, self._at))
        return size


def _boundary(data: bytes, limit: int) -> int:
    """The greatest size up to the limit that does not cut a character in two; at least 1."""
    if len(data) <= limit:
        return len(data)
    size = limit
    while size > max(1, limit - 3) and data[size] & 0xC0 == 0x80:
        size -= 1
    return size


def take_batch(
    waiting: deque[LogEvent], bytes_max: int = BATCH_BYTES_MAX, events_max: int = BATCH_EVENTS_MAX
) -> list[LogEvent]:
    """As many events from the front as one call may carry; at least one."""
    batch: list[LogEvent] = []
    size = 0
    while waiting and len(batch) < events_max:
        size += waiting[0].size
        if batch and (size > bytes_max or waiting[0].timestamp - batch[0].timestamp > BATCH_SPAN_MS_MAX):
            break
        batch.append(waiting.popleft())
    return batch


class AwsLogs:
    """One container's way to its log stream. `credentials` None: the instance's role signs.

    `writer`: 32 hex digits, the container's own in this stream, the same for each agent, and known to no other container.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        *,
        group: str,
        stream: str,
        writer: str,
        creates_group: bool = False,
        credentials: Callable[[], Coroutine[Any, Any, Credentials]] | None = None,
        say: Callable[[str], None],
    ) -> None:
        self._api = api
        self._clock = clock
        self._group = group
        self._stream = stream
        self._writer = writer
        self._creates_group = creates_group
        self._credentials = credentials
        self._say = say
        self.hurry = asyncio.Event()  # there is no reason to gather more, or to wait for the next try
        self.ended_at: float | None = None  # the loop's time
        self._trying: asyncio.Future[bool] | None = None  # how the next try ends, where somebody waits for it

    # The stream is made before the container starts: who may not write its log does not run.

    async def open(self) -> None:
        """Makes the stream, or finds that it is there. LogStreamRefused."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _OPEN_SECONDS
        attempt = 0
        while True:
            try:
                await self._create()
                return
            except (AwsError, NoCredentials, TransportError) as error:
                if not _may_be_tried_again(error) or loop.time() > give_up_at:
                    raise LogStreamRefused(str(error)) from error
            await asyncio.sleep(_pause(attempt))
            attempt += 1

    async def _create(self) -> None:
        params = {"logGroupName": self._group, "logStreamName": self._stream}
        try:
            await self._call("CreateLogStream", params)
        except AwsError as error:
            if error.code == "ResourceNotFoundException" and self._creates_group:
                await self._call_unless_there("CreateLogGroup", {"logGroupName": self._group})
                await self._call_unless_there("CreateLogStream", params)
            elif error.code != "ResourceAlreadyExistsException":
                raise

    async def _call_unless_there(self, operation: str, params: dict[str, Any]) -> None:
        try:
            await self._call(operation, params)
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise

    async def carry(
        self, chunks: AsyncIterator[Chunk], after: Place, acknowledged: Callable[[Place], None]
    ) -> Rest | None:
        """Returns when the container has ended. None: all it wrote is in the stream; else what is not, and may be later.

        `acknowledged`: all bytes before the place are there; an agent that starts anew goes on from it.
        """
        return await _Carrier(self, self._clock, chunks, after, acknowledged).run()

    async def put(self, start: int, batch: Sequence[LogEvent]) -> None:
        """AwsError, NoCredentials, TransportError. Once, however often it is called with the same bytes."""
        params = {
            "logGroupName": self._group,
            "logStreamName": self._stream,
            "logEvents": [{"timestamp": event.timestamp, "message": event.message} for event in batch],
            "sequenceToken": sequence_token(self._writer, start, batch),
        }
        await self._call("PutLogEvents", params)

    def end(self) -> None:
        """The container has ended; what it wrote need not have been read to the end."""
        if self.ended_at is None:
            self.ended_at = asyncio.get_running_loop().time()
            self.hurry.set()

    async def try_now(self) -> bool:
        """Sends what waits, or tries it once more: whether it was taken. Never returns where there is nothing more to send."""
        if self._trying is None:
            self._trying = asyncio.get_running_loop().create_future()
        self.hurry.set()
        return await asyncio.shield(self._trying)

    def tried(self, is_taken: bool) -> None:
        trying, self._trying = self._trying, None
        if trying is not None and not trying.done():
            trying.set_result(is_taken)

    def say(self, text: str) -> None:
        self._say(f"log stream {self._group} {self._stream}: {text}")

    async def _call(self, operation: str, params: dict[str, Any]) -> None:
        await self._api.call("logs", operation, params, self._credentials)


class _Carrier:
    """Reads ahead in one task and sends in the other, so that one never waits for the other without need."""

    def __init__(
        self,
        log: AwsLogs,
        clock: Clock,
        chunks: AsyncIterator[Chunk],
        after: Place,
        acknowledged: Callable[[Place], None],
    ) -> None:
        self._log = log
        self._clock = clock
        self._chunks = chunks
        self._lines = Lines(after.end, after.last_ms)
        self._sent = after.end  # bytes that were acknowledged, or can never be
        self._acknowledged = acknowledged
        self._is_given_up = False
        self._lost = 0  # events that no room was left for once it was
        self._waiting: deque[LogEvent] = deque()
        self._waiting_bytes = 0
        self._is_read = False  # to the end
        self._news = asyncio.Event()  # there is something to send, or the end
        self._hurry = log.hurry
        self._over = asyncio.Event()
        self._put_at = -_STEP_SECONDS  # the loop's time of the last call
        self._space = asyncio.Event()
        self._space.set()

    async def run(self) -> Rest | None:
        reading = asyncio.get_running_loop().create_task(self._read())
        try:
            while await self._next():
                await self._keep_pace()
                limits = () if self._is_read else (_STEP_BYTES_MAX, _STEP_EVENTS_MAX)
                batch = take_batch(self._waiting, *limits)
                self._waiting_bytes -= sum(event.size for event in batch)
                self._space.set()
                if not await self._put(batch):
                    return await self._rest(batch, reading)
                self._sent = batch[-1].end
                self._acknowledged(Place(self._sent, batch[-1].timestamp))
            await reading  # Its error, where it ended by one.
            return None
        finally:
            self._log.tried(False)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _rest(self, batch: list[LogEvent], reading: asyncio.Task[None]) -> Rest:
        self._is_given_up = True
        self._waiting.extendleft(reversed(batch))
        self._waiting_bytes += sum(event.size for event in batch)
        self._space.set()
        await reading
        self._make_room()
        return Rest(self._sent, list(self._waiting), self._lost)

    def _make_room(self) -> None:
        while self._waiting_bytes > REST_BYTES_MAX:
            gone = self._waiting.popleft()
            self._waiting_bytes -= gone.size
            self._sent = gone.end
            self._lost += 1

    async def _read(self) -> None:
        try:
            async for chunk in self._chunks:
                self._add(self._lines.feed(chunk.data, milliseconds(self._clock.now())))
                await self._space.wait()
            self._add(self._lines.finish())
        finally:
            self._is_read = True
            self._log.end()
            self._news.set()
            self._hurry.set()
            self._over.set()

    def _add(self, events: list[LogEvent]) -> None:
        if not events:
            return
        self._waiting.extend(events)
        self._waiting_bytes += sum(event.size for event in events)
        if self._is_given_up:
            self._make_room()
            return
        self._news.set()
        if self._waiting_bytes >= _STEP_BYTES_MAX or len(self._waiting) >= _STEP_EVENTS_MAX:
            self._hurry.set()
        if self._waiting_bytes > _BUFFER_BYTES_MAX:
            self._space.clear()

    async def _next(self) -> bool:
        """Whether there is something to send; False: all has been sent, and no more will come."""
        await self._news.wait()
        if not self._is_read and not self._hurry.is_set():
            try:
                async with asyncio.timeout(_PACE_SECONDS):
                    await self._hurry.wait()
            except TimeoutError:
                pass
        if not self._is_read:
            self._hurry.clear()
            if not self._waiting:
                self._news.clear()
                return await self._next()
        return bool(self._waiting)

    async def _keep_pace(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(self._put_at + _STEP_SECONDS):
                await self._over.wait()
        except TimeoutError:
            pass
        self._put_at = loop.time()

    async def _put(self, batch: list[LogEvent]) -> bool:
        """False: the stream does not take it, or not now, and the container has ended."""
        attempt, has_said = 0, False
        while True:
            try:
                await self._log.put(self._sent, batch)
                self._log.tried(True)
                return True
            except (AwsError, NoCredentials, TransportError) as error:
                if isinstance(error, AwsError) and error.code in NEVER:
                    self._log.say(f"{len(batch)} events are lost: {error}")
                    return True
                if not has_said:
                    self._log.say(str(error))
                    has_said = True
                self._log.tried(False)
                if self._is_over(error):
                    return False
                pause = _pause(attempt) if _may_be_tried_again(error) else _REFUSED_SECONDS
            attempt += 1
            self._hurry.clear()
            try:
                async with asyncio.timeout(pause):
                    # The end of a container cuts the waiting for a mended role short.
                    await self._hurry.wait()
            except TimeoutError:
                pass

    def _is_over(self, error: Exception) -> bool:
        if self._log.ended_at is None:
            return False
        ended_for = asyncio.get_running_loop().time() - self._log.ended_at
        return not _may_be_tried_again(error) or ended_for > _AFTER_END_SECONDS


# What can't be sent in any other way either: sending it again would hold up all that comes after it.
NEVER = frozenset({"InvalidParameterException", "SerializationException", "DataAlreadyAcceptedException"})


def _may_be_tried_again(error: Exception) -> bool:
    """A session that is over is renewed by the server before long."""
    if isinstance(error, AwsError):
        return is_transient(error) or error.code in SESSION_IS_OVER
    return True


def _pause(attempt: int) -> float:
    return _RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)]

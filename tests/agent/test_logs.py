"""What a container writes, as events of its log stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.scripted_server import DENIED, ScriptedServer
from longshore.agent.identity import Api, InstanceRole, Metadata
from longshore.agent.logs import (
    BATCH_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    AwsLogs,
    Lines,
    LogEvent,
    LogStreamRefused,
    Place,
    Rest,
    take_batch,
)
from longshore.agent.runtimes.base import Chunk
from longshore.agent.transport import TransportError
from longshore.aws.errors import AwsError
from virtual_time import VirtualClock, VirtualLoop


def messages(*parts: bytes) -> list[str]:
    lines = Lines(0)
    found = [event for part in parts for event in lines.feed(part, 0)]
    return [event.message for event in [*found, *lines.finish()]]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a", b"b\nc"], ["ab", "c"]),
        ([b"\n\n a\r\n"], [" a\r"]),
        (["grüße ".encode()[:3], "grüße ".encode()[3:] + b"\n"], ["grüße "]),
        ([b"\xff\xfe\n"], ["\ufffd\ufffd"]),
        ([], []),
    ],
)
def test_lines_become_events(parts: list[bytes], expected: list[str]) -> None:
    assert messages(*parts) == expected


def test_an_over_long_line_is_cut_between_characters() -> None:
    text = "ü" * 300_000
    found = messages(text.encode())
    assert "".join(found) == text
    assert len(found) == 3
    assert all(len(each.encode()) <= MESSAGE_BYTES_MAX for each in found)


def test_an_over_long_line_of_nonsense_is_cut_so_that_it_still_fits() -> None:
    found = messages(b"\xff" * 300_000 + b"\n")
    assert sum(len(each) for each in found) == 300_000
    assert all(len(each.encode()) <= MESSAGE_BYTES_MAX for each in found)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"\n", b"x\n", "ü".encode(), b"\xff"]), max_size=30))
def test_however_the_bytes_come_the_events_are_the_same_and_their_ends_are_places_to_go_on_from(
    parts: list[bytes],
) -> None:
    whole = b"".join(parts)
    lines = Lines(0)
    events = [event for part in parts for event in lines.feed(part, 0)] + lines.finish()
    once = Lines(0)
    assert events == once.feed(whole, 0) + once.finish()
    for index, event in enumerate(events):
        later = Lines(event.end)
        rest = later.feed(whole[event.end :], 0) + later.finish()
        assert [each.message for each in rest] == [each.message for each in events[index + 1 :]]


@pytest.mark.parametrize("text", ["x" * 700_000, "ü" * 400_000, b"\xff" * 600_000, b"\xff\xfex" * 300_000])
def test_an_over_long_line_is_cut_the_same_however_it_comes(text: str | bytes) -> None:
    whole = (text.encode() if isinstance(text, str) else text) + b"\n\nlast\n"
    once = Lines(0)
    expected = once.feed(whole, 0)
    for width in (99_991, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 1):
        lines = Lines(0)
        assert [
            event for at in range(0, len(whole), width) for event in lines.feed(whole[at : at + width], 0)
        ] == expected


def test_events_are_in_the_order_of_time_whatever_the_clock_does() -> None:
    lines = Lines(0)
    found = lines.feed(b"a\n", 100) + lines.feed(b"b\n", 50)
    assert [each.timestamp for each in found] == [100, 100]


def test_a_batch_keeps_the_limits() -> None:
    assert len(take_batch(deque(LogEvent(0, "x", 0) for _ in range(10_001)))) == 10_000
    large = deque(LogEvent(0, "x" * MESSAGE_BYTES_MAX, 0) for _ in range(5))
    batch = take_batch(large)
    assert len(batch) == 4 and sum(each.size for each in batch) <= BATCH_BYTES_MAX
    days = deque([LogEvent(0, "x", 0), LogEvent(25 * 3600 * 1000, "x", 0)])
    assert len(take_batch(days)) == 1


class Desk:
    """A log driver, a server that it writes to, and a container that the test writes as."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        clock = VirtualClock(self.loop)
        self.server = ScriptedServer(clock)
        self.said: list[str] = []
        api = Api(self.server, InstanceRole(Metadata(self.server), clock))
        self.log = AwsLogs(api, clock, group="/jobs", stream="s", writer="a" * 32, say=self.said.append)
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.acknowledged: list[int] = []
        self.place = Place()
        self.read = 0

    async def _chunks(self) -> AsyncIterator[Chunk]:
        end = 0
        while (data := await self.queue.get()) is not None:
            end += len(data)
            self.read = end
            yield Chunk(data=data, end=end)

    def carry(self) -> asyncio.Task[Rest | None]:
        async def begun() -> asyncio.Task[Rest | None]:
            return asyncio.ensure_future(self.log.carry(self._chunks(), Place(), self._acknowledge))

        return self.loop.run_until_complete(begun())

    def _acknowledge(self, place: Place) -> None:
        self.place = place
        self.acknowledged.append(place.end)

    def write(self, data: bytes | None) -> None:
        self.queue.put_nowait(data)

    def pass_time(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def finish(self, carrying: asyncio.Task[Rest | None]) -> float:
        """Ends the container; how long the rest of its log took."""
        began = self.loop.time()
        self.write(None)
        self.loop.run_until_complete(carrying)
        return self.loop.time() - began

    @property
    def puts(self) -> list[list[str]]:
        return [[each["message"] for each in params["logEvents"]] for params in self.server.params("PutLogEvents")]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.loop.run_until_complete(made.loop.shutdown_asyncgens())
    made.loop.close()


def test_a_short_log_is_one_call_and_sent_at_once_at_the_end(desk: Desk) -> None:
    carrying = desk.carry()
    for line in (b"one\n", b"two\n", b"three"):
        desk.write(line)
    assert desk.finish(carrying) < 0.01
    assert desk.puts == [["one", "two", "three"]]
    assert desk.acknowledged == [13]


def test_an_end_does_not_wait_for_the_moment_in_which_lines_are_gathered(desk: Desk) -> None:
    carrying = desk.carry()
    desk.write(b"one\n")
    desk.pass_time(0.02)
    assert desk.puts == []
    assert desk.finish(carrying) < 0.01
    assert desk.puts == [["one"]]


def test_a_running_container_s_lines_are_gathered_for_a_moment_only(desk: Desk) -> None:
    carrying = desk.carry()
    for number in range(100):
        desk.write(b"%d\n" % number)
        desk.pass_time(0.01)
    desk.pass_time(0.3)
    assert [line for batch in desk.puts for line in batch] == [str(number) for number in range(100)]
    assert 3 <= len(desk.puts) <= 7
    desk.finish(carrying)


def test_nothing_is_asked_of_the_service_while_nothing_is_written(desk: Desk) -> None:
    carrying = desk.carry()
    desk.write(b"x\n")
    desk.pass_time(100_000)
    assert len(desk.server.calls) == 1
    desk.finish(carrying)


def test_a_refusal_keeps_the_lines_until_it_is_mended(desk: Desk) -> None:
    desk.server.always["PutLogEvents"] = DENIED
    carrying = desk.carry()
    desk.write(b"one\n")
    desk.pass_time(60)
    assert len([line for line in desk.said if "AccessDenied" in line]) == 1
    del desk.server.always["PutLogEvents"]
    desk.pass_time(5.1)
    assert desk.server.log == {"s": ["one"]}
    desk.finish(carrying)


def test_a_service_that_is_away_gets_the_log_when_it_is_back(desk: Desk) -> None:
    desk.server.always["PutLogEvents"] = TransportError("away")
    carrying = desk.carry()
    desk.write(b"one\n")
    desk.write(None)
    desk.pass_time(300)
    del desk.server.always["PutLogEvents"]
    desk.loop.run_until_complete(carrying)
    assert desk.server.log == {"s": ["one"]}


def test_what_a_service_that_stays_away_did_not_take_is_handed_back_in_the_end(desk: Desk) -> None:
    carrying = desk.carry()
    desk.write(b"zero\n")
    desk.pass_time(1)
    desk.server.always["PutLogEvents"] = TransportError("away")
    desk.write(b"one\n")
    desk.pass_time(1)
    desk.write(b"two")
    assert 900 < desk.finish(carrying) < 1000
    assert handed_back(carrying) == (5, ["one", "two"], [9, 12], 0)


def handed_back(carrying: asyncio.Task[Rest | None]) -> tuple[int, list[str], list[int], int]:
    rest = carrying.result()
    assert rest is not None
    return rest.start, [each.message for each in rest.events], [each.end for each in rest.events], rest.lost


def test_what_is_refused_at_the_end_is_handed_back_at_once(desk: Desk) -> None:
    desk.server.always["PutLogEvents"] = DENIED
    carrying = desk.carry()
    desk.write(b"one\n")
    desk.pass_time(1)
    desk.write(b"two\n")
    assert desk.finish(carrying) < 0.1
    assert handed_back(carrying) == (0, ["one", "two"], [4, 8], 0)


def test_of_a_long_rest_the_end_is_handed_back(desk: Desk) -> None:
    desk.server.always["PutLogEvents"] = DENIED
    carrying = desk.carry()
    for number in range(100):
        desk.write(b"%07d" % number + b"x" * 65_528 + b"\n")
    desk.pass_time(60)
    assert desk.read < 3 * BATCH_BYTES_MAX and not carrying.done()
    desk.loop.call_soon(desk.log.end)
    desk.finish(carrying)
    start, lines, _, lost = handed_back(carrying)
    assert lost + len(lines) == 100 and start == lost * 65_536
    assert [int(line[:7]) for line in lines] == list(range(lost, 100))
    assert sum(len(line) + 26 for line in lines) <= BATCH_BYTES_MAX < sum(len(line) + 26 for line in lines) + 65_561


def test_a_call_that_comes_again_names_the_same_bytes_and_is_kept_once(desk: Desk) -> None:
    desk.server.faults["PutLogEvents"] = ["lost", AwsError("ServerException", "x", status=500), "lost", None]
    carrying = desk.carry()
    desk.write(b"one\n\ntwo\n")
    desk.pass_time(0.3)
    desk.write(b"three\n")
    desk.finish(carrying)
    tokens = [params["sequenceToken"] for params in desk.server.params("PutLogEvents")]
    assert tokens == [*[f"longshore/1/{'a' * 32}/0/9/4,5"] * 4, f"longshore/1/{'a' * 32}/9/15/6"]
    assert desk.server.log == {"s": ["one", "two", "three"]}


def test_an_agent_that_starts_anew_goes_on_in_time_though_the_clock_was_set_back(desk: Desk) -> None:
    lines = Lines(4, last_ms=1000)
    assert [(each.timestamp, each.end) for each in lines.feed(b"two\n", 500)] == [(1000, 8)]
    carrying = desk.carry()
    desk.write(b"one\n")
    desk.finish(carrying)
    (sent,) = desk.server.params("PutLogEvents")
    assert desk.place == Place(4, sent["logEvents"][0]["timestamp"])


def test_what_can_not_be_sent_does_not_hold_up_what_comes_after(desk: Desk) -> None:
    desk.server.faults["PutLogEvents"] = [AwsError("InvalidParameterException", "bad", status=400)]
    carrying = desk.carry()
    desk.write(b"one\n")
    desk.pass_time(1)
    desk.write(b"two\n")
    desk.finish(carrying)
    assert desk.server.log == {"s": ["two"]}
    assert any("1 events are lost" in line for line in desk.said)


def test_no_more_is_read_than_can_be_held(desk: Desk) -> None:
    desk.server.always["PutLogEvents"] = TransportError("away")
    carrying = desk.carry()
    for _ in range(200):
        desk.write(b"x" * 65_535 + b"\n")
    desk.pass_time(10)
    assert desk.read < 3 * BATCH_BYTES_MAX
    del desk.server.always["PutLogEvents"]
    desk.finish(carrying)
    assert len(desk.server.log["s"]) == 200
    assert desk.acknowledged[-1] == 200 * 65_536


@pytest.mark.parametrize(
    ("faults", "opens", "calls"),
    [
        ([], True, 1),
        ([AwsError("ResourceAlreadyExistsException", "x", status=400)], True, 1),
        ([TransportError("away"), AwsError("ServerException", "x", status=500)], True, 3),
        ([AwsError("ExpiredTokenException", "x", status=400)], True, 2),
        ([DENIED], False, 1),
        ([AwsError("ResourceNotFoundException", "The specified log group does not exist.", status=400)], False, 1),
    ],
)
def test_the_stream_is_made_or_the_reason_is_told(desk: Desk, faults: list[Any], opens: bool, calls: int) -> None:
    desk.server.faults["CreateLogStream"] = faults
    if opens:
        desk.loop.run_until_complete(desk.log.open())
    else:
        with pytest.raises(LogStreamRefused, match=r"AccessDeniedException|does not exist"):
            desk.loop.run_until_complete(desk.log.open())
    assert len(desk.server.params("CreateLogStream")) == calls


def test_a_service_that_is_away_is_waited_for_a_minute(desk: Desk) -> None:
    desk.server.always["CreateLogStream"] = TransportError("away")
    with pytest.raises(LogStreamRefused):
        desk.loop.run_until_complete(desk.log.open())
    assert 60 <= desk.loop.time() < 70

"""From the outbox to those who hear: order, once in effect, parking, and going on after a failure."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Integer, String, Table, bindparam, insert, select

from in_process import IDENTITY_KEY, SeededEntropy
from longshore.aws.ids import Ids
from longshore.kit import events
from longshore.kit.call import Call
from longshore.kit.event import Event
from longshore.kit.house import House
from longshore.kit.sealing import IdentityDocuments, Sealer
from longshore.kit.service import Rule, Service
from longshore.settings import Settings
from longshore.store import outbox
from longshore.store.engine import open_store
from longshore.store.statement import METADATA, Statement
from virtual_time import VirtualClock, VirtualLoop

heard = Table(
    "test_heard",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("room", String, nullable=False),
    Column("text", String, nullable=False),
)
HEAR = Statement(insert(heard).values(room=bindparam("room"), text=bindparam("text")))
HEARD = Statement(select(heard.c.text).where(heard.c.room == bindparam("room")).order_by(heard.c.id))


class Ear:
    """A room that writes down what it hears, and stumbles where it is told to."""

    def __init__(self, name: str) -> None:
        self.stumbles_at: set[str] = set()
        self.told: list[Event] = []
        self.service = Service(name, operations=[], access={}, subscriptions={"Thing Changed": self.hear})

    def hear(self, call: Call, event: Event) -> None:
        self.told.append(event)
        call.transaction.run(HEAR, room=self.service.name, text=event.detail["text"])
        call.after_commit(lambda: None)
        if event.detail["text"] in self.stumbles_at:
            raise LookupError(event.detail["text"])


class Rooms:
    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.store = open_store(None)
        self.house = House(
            settings=Settings(),
            store=self.store,
            clock=VirtualClock(self.loop),
            ids=Ids(SeededEntropy(0)),
            sealer=Sealer(bytes(32)),
            identity_documents=IdentityDocuments(IDENTITY_KEY),
        )
        self.ears = [Ear("batch"), Ear("ec2")]
        self.house.outbox = events.Outbox(self.house, [ear.service for ear in self.ears])
        self.deaf = Service("logs", operations=[], access={})
        self.tasks: list[asyncio.Task[None]] = []
        self.start(*self.ears)

    def start(self, *ears: Ear) -> None:
        """Anew, with these rooms alone."""
        self.stop()
        self.deliveries = events.deliveries(self.house, [*(ear.service for ear in ears), self.deaf])
        self.tasks = [self.loop.create_task(each.run()) for each in self.deliveries]
        self.pass_time()

    def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            self.loop.run_until_complete(asyncio.gather(*self.tasks, return_exceptions=True))

    def pass_time(self, seconds: float = 0.01) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def tell(
        self, *texts: str, resource: str = "arn:a", detail_type: str = "Thing Changed", fail: bool = False
    ) -> None:
        turn = self.house.turn("ecs")

        def write(call: Call) -> None:
            for text in texts:
                call.emit(detail_type, resource, {"text": text})
            if fail:
                raise LookupError

        async def run() -> None:
            await turn.write(write)

        self.loop.run_until_complete(run())

    def heard(self, ear: Ear) -> list[str]:
        return self.store.read(lambda t: [text for (text,) in t.all(HEARD, room=ear.service.name)])

    def close(self) -> None:
        self.stop()
        self.loop.close()
        self.store.close()


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    made = Rooms()
    yield made
    made.close()


def test_each_room_hears_everything_once_and_in_order(rooms: Rooms) -> None:
    texts = [str(number) for number in range(200)]  # More than one batch.
    rooms.tell(*texts)
    rooms.pass_time()
    assert [rooms.heard(ear) for ear in rooms.ears] == [texts, texts]
    first = rooms.ears[0].told[0]
    assert (first.source, first.detail_type, first.resource) == ("aws.ecs", "Thing Changed", "arn:a")
    assert [event.sequence for event in rooms.ears[0].told] == list(range(1, 201))


def test_what_was_rolled_back_is_not_heard(rooms: Rooms) -> None:
    with pytest.raises(LookupError):
        rooms.tell("never", fail=True)
    rooms.tell("kept")
    rooms.pass_time()
    assert rooms.heard(rooms.ears[0]) == ["kept"]


def test_what_nobody_subscribed_to_is_passed_over(rooms: Rooms) -> None:
    rooms.tell("x", detail_type="Other Thing")
    rooms.tell("y")
    rooms.pass_time()
    assert rooms.heard(rooms.ears[0]) == ["y"]


def test_an_event_that_cannot_be_handled_parks_its_resource_for_that_room_alone(
    rooms: Rooms, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = rooms.ears
    first.stumbles_at = {"bad"}
    rooms.tell("one", "bad", "three")
    rooms.tell("other", resource="arn:b")
    rooms.pass_time()
    # What the stumbling wrote is undone; the resource's later events wait behind; others go on.
    assert rooms.heard(first) == ["one", "other"]
    assert rooms.heard(second) == ["one", "bad", "three", "other"]
    assert rooms.store.read(lambda t: outbox.is_parked(t, "batch", "arn:a"))
    assert not rooms.store.read(lambda t: outbox.is_parked(t, "batch", "arn:b"))
    assert "event parked" in capsys.readouterr().out
    rooms.tell("four")
    rooms.pass_time()
    assert rooms.heard(first) == ["one", "other"] and rooms.heard(second)[-1] == "four"


def test_what_was_parked_is_taken_in_in_order_by_the_next_start_that_can(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(events, "_TRIM_EVERY", 1)
    first, second = rooms.ears
    first.stumbles_at = {"bad"}
    rooms.tell("one", "bad", "three")
    rooms.pass_time()
    rooms.tell("other", *map(str, range(100)), resource="arn:b")
    rooms.pass_time()
    # What is parked is not trimmed, whatever comes after it; the rest is.
    kept = [body for _, _, body in rooms.store.read(lambda t: outbox.after(t, 0, 1000))]
    assert len(kept) < 10 and sum(b'"bad"' in body or b'"three"' in body for body in kept) == 2
    rooms.start(*rooms.ears)
    assert rooms.heard(first)[-1] == "99" and rooms.store.read(lambda t: outbox.is_parked(t, "batch", "arn:a"))
    first.stumbles_at = set()
    rooms.start(*rooms.ears)
    assert rooms.heard(first)[-2:] == ["bad", "three"]
    assert not rooms.store.read(lambda t: outbox.is_parked(t, "batch", "arn:a"))
    assert rooms.heard(second).count("bad") == 1
    rooms.tell("four")
    rooms.pass_time()
    assert rooms.heard(first)[-1] == "four"


def test_a_room_that_is_there_no_longer_holds_up_no_trimming(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_TRIM_EVERY", 1)
    first, _ = rooms.ears
    rooms.start(first)
    rooms.tell(*map(str, range(100)))
    rooms.pass_time()
    rooms.tell("last")
    rooms.pass_time()
    assert len(rooms.store.read(lambda t: outbox.after(t, 0, 1000))) < 10
    assert rooms.heard(first)[-1] == "last"


def test_a_delivery_outlives_a_commit_that_failed(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commits: list[int] = []
    commit: Callable[[], BaseException | None] = rooms.store._commit

    def fails() -> BaseException | None:
        """All but the first, which tells."""
        commits.append(1)
        if len(commits) == 1:
            return commit()
        rooms.store._writer.execute("ROLLBACK")
        return sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(rooms.store, "_commit", fails)
    rooms.tell("a")
    rooms.pass_time()
    assert len(commits) > 1 and rooms.heard(rooms.ears[0]) == []
    assert "delivery failed" in capsys.readouterr().out
    monkeypatch.setattr(rooms.store, "_commit", commit)
    rooms.pass_time(2)
    assert [rooms.heard(ear) for ear in rooms.ears] == [["a"], ["a"]]
    assert not any(task.done() for task in rooms.tasks)


def test_what_all_have_heard_is_dropped_in_time(rooms: Rooms) -> None:
    for start in range(0, 1200, 60):
        rooms.tell(*[str(number) for number in range(start, start + 60)])
        rooms.pass_time()
    (left,) = rooms.store._writer.execute("SELECT count(*) FROM outbox").fetchone()
    assert left < 600
    assert len(rooms.heard(rooms.ears[1])) == 1200


def test_a_new_life_of_the_house_goes_on_where_the_last_one_ended(rooms: Rooms) -> None:
    rooms.tell("a")
    rooms.pass_time()
    for task in rooms.tasks:
        task.cancel()
    rooms.loop.run_until_complete(asyncio.gather(*rooms.tasks, return_exceptions=True))
    rooms.tell("b", "c")
    rooms.deliveries = events.deliveries(rooms.house, [ear.service for ear in rooms.ears])
    rooms.tasks = [rooms.loop.create_task(each.run()) for each in rooms.deliveries]
    rooms.pass_time()
    assert [rooms.heard(ear) for ear in rooms.ears] == [["a", "b", "c"], ["a", "b", "c"]]


class _Stumbling:
    """A loop whose turns end as told: an hour to wake at, None, or an exception."""

    name = "test.loop"

    def __init__(self, *turns: Any) -> None:
        self.turns = list(turns)
        self.at: list[float] = []

    async def tick(self, house: House, now: Any) -> Any:
        self.at.append((now - house.clock._start).total_seconds())  # type: ignore[attr-defined]
        turn = self.turns.pop(0) if self.turns else None
        if isinstance(turn, Exception):
            raise turn
        return now + turn if turn is not None else None


def test_of_a_type_a_room_hears_what_its_rule_lets_through(rooms: Rooms) -> None:
    house = rooms.house

    def hear(call: Call, event: Event) -> None: ...

    ends = Service("a", operations=[], access={}, subscriptions={"Thing": Rule(hear, {"state": frozenset({"ended"})})})
    outbox = events.Outbox(house, [ends])
    assert [outbox.hears("Thing", {"state": each, "size": "1"}) for each in ("begun", "ended")] == [False, True]
    assert outbox.hears("Thing", {"size": "1"}), "what is not said keeps nothing back"
    assert not outbox.hears("Another thing")
    everything = Service("b", operations=[], access={}, subscriptions={"Thing": hear})
    assert events.Outbox(house, [ends, everything]).hears("Thing", {"state": "begun"})


def test_a_loop_turns_when_it_asked_to_when_woken_and_a_second_after_a_failure(
    rooms: Rooms, capsys: pytest.CaptureFixture[str]
) -> None:
    from datetime import timedelta

    from longshore.kit import runner

    start = rooms.loop.time()
    loop = _Stumbling(timedelta(seconds=5), LookupError("stumbled"), timedelta(seconds=0), timedelta(seconds=-3), None)
    rooms.tasks.append(rooms.loop.create_task(runner.run(rooms.house, loop)))
    rooms.pass_time(60)
    turns = [round(at - start, 2) for at in loop.at]
    assert turns == [0, 5, 6, 6, 6]  # Then nothing, until it is woken.
    assert "loop failed" in capsys.readouterr().out
    rooms.house.wake("test.loop")
    rooms.house.wake("test.loop")
    rooms.house.wake("nobody")
    rooms.pass_time(60)
    assert len(loop.at) == 6
    loop.turns = [timedelta(seconds=1000)]
    rooms.house.wake("test.loop")
    rooms.pass_time(10)
    rooms.house.wake("test.loop")  # Woken before its hour.
    rooms.pass_time(1)
    assert len(loop.at) == 8

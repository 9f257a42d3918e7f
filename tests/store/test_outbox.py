"""The outbox: numbers that only grow, a cursor for each who hears, what is parked, what is dropped."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from longshore.store import outbox
from longshore.store.engine import SqliteStore, Transaction, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = open_store(tmp_path / "longshore.db")
    yield made
    made.close()


def append(store: SqliteStore, *bodies: str) -> None:
    def write(transaction: Transaction) -> None:
        for body in bodies:
            outbox.append(transaction, "thing", body.encode())

    store.write_now(write)


def heard(store: SqliteStore, subscriber: str, limit: int = 100) -> list[tuple[int, str]]:
    """What the subscriber has not taken in yet; now it has."""

    def take(transaction: Transaction) -> list[tuple[int, str]]:
        rows = outbox.after(transaction, outbox.cursor(transaction, subscriber), limit)
        if rows:
            outbox.advance(transaction, subscriber, rows[-1][0])
        return [(sequence, body.decode()) for sequence, _, body in rows]

    return store.write_now(take)


def left(store: SqliteStore) -> list[str]:
    return store.read(lambda t: [body.decode() for _, _, body in outbox.after(t, 0, 1000)])


def test_a_new_subscriber_hears_what_happens_from_now_on(store: SqliteStore) -> None:
    append(store, "before")
    assert heard(store, "batch") == []
    append(store, "a", "b")
    assert heard(store, "batch") == [(2, "a"), (3, "b")]
    assert heard(store, "batch") == []


def test_each_subscriber_goes_at_its_own_pace(store: SqliteStore) -> None:
    heard(store, "batch"), heard(store, "ec2")
    append(store, "a", "b", "c")
    assert heard(store, "batch", limit=2) == [(1, "a"), (2, "b")]
    assert [body for _, body in heard(store, "ec2")] == ["a", "b", "c"]
    assert heard(store, "batch", limit=2) == [(3, "c")]


def test_a_cursor_that_was_not_committed_hears_again(store: SqliteStore) -> None:
    heard(store, "batch")
    append(store, "a")

    def fails(transaction: Transaction) -> None:
        outbox.advance(transaction, "batch", 1)
        raise LookupError

    with pytest.raises(LookupError):
        store.write_now(fails)
    assert heard(store, "batch") == [(1, "a")]


def test_what_all_have_heard_is_dropped_and_nothing_else(store: SqliteStore) -> None:
    heard(store, "batch"), heard(store, "ec2")
    append(store, "a", "b", "c")
    heard(store, "batch")
    heard(store, "ec2", limit=2)
    assert store.write_now(outbox.trim) == 2
    assert left(store) == ["c"]
    heard(store, "ec2")
    assert store.write_now(outbox.trim) == 1
    assert store.write_now(outbox.trim) == 0


def test_without_any_subscriber_nothing_is_dropped(store: SqliteStore) -> None:
    append(store, "a")
    assert store.write_now(outbox.trim) == 0
    assert left(store) == ["a"]


def test_a_number_is_never_given_twice_though_its_row_is_gone(store: SqliteStore, tmp_path: Path) -> None:
    heard(store, "batch")
    append(store, "a", "b")
    heard(store, "batch")
    store.write_now(outbox.trim)
    append(store, "c")
    assert heard(store, "batch") == [(3, "c")]
    store.write_now(outbox.trim)
    store.close()
    again = open_store(tmp_path / "longshore.db")
    append(again, "d")
    assert heard(again, "batch") == [(4, "d")]
    # A subscriber that comes when the outbox is empty still hears what comes next.
    again.write_now(outbox.trim)
    assert heard(again, "ec2") == []
    append(again, "e")
    assert heard(again, "ec2") == [(5, "e")]
    again.close()


def test_a_number_of_a_write_that_was_rolled_back_leaves_no_event(store: SqliteStore) -> None:
    heard(store, "batch")

    def fails(transaction: Transaction) -> None:
        outbox.append(transaction, "thing", b"never")
        raise LookupError

    async def go() -> None:
        await asyncio.gather(
            store.write(fails), store.write(lambda t: outbox.append(t, "thing", b"a")), return_exceptions=True
        )

    asyncio.run(go())
    assert [body for _, body in heard(store, "batch")] == ["a"]


def test_what_is_parked_stops_its_resource_for_that_subscriber_alone(store: SqliteStore) -> None:
    store.write_now(lambda t: outbox.park(t, "batch", 1, "arn:a", "KeyError('x')"))

    def parked(subscriber: str, resource: str) -> bool:
        return store.read(lambda t: outbox.is_parked(t, subscriber, resource))

    assert parked("batch", "arn:a")
    assert not parked("batch", "arn:b") and not parked("ec2", "arn:a")


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_order_each_hears_each_event_once_and_in_order(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "longshore.db"
    store = open_store(path)
    subscribers = ["batch", "ec2", "ecs"]
    told: dict[str, list[Any]] = {name: heard(store, name) for name in subscribers}
    sent: list[str] = []
    for _ in range(200):
        match chance.randrange(8):
            case 0 | 1 | 2:
                bodies = [f"{len(sent) + each}" for each in range(chance.randrange(1, 5))]
                append(store, *bodies)
                sent += bodies
            case 3:
                store.write_now(outbox.trim)
            case 4:
                if chance.random() < 0.2:
                    store.close()
                    store = open_store(path)
            case _:
                name = chance.choice(subscribers)
                told[name] += heard(store, name, limit=chance.randrange(1, 6))
    for name in subscribers:
        told[name] += heard(store, name, limit=1000)
        assert [body for _, body in told[name]] == sent
        sequences = [sequence for sequence, _ in told[name]]
        assert sequences == sorted(set(sequences))
    store.close()

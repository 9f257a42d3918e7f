"""Many writes in one commit: each alone in what it may spoil, all together in what the disk answers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, LargeBinary, String, Table, bindparam, delete, insert, select

from longshore.store.engine import SqliteStore, Transaction, TransactionLost, open_store
from longshore.store.statement import METADATA, Statement

rows = Table(
    "test_rows",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String, unique=True),
    Column("body", LargeBinary),
)
ADD = Statement(insert(rows).values(name=bindparam("name"), body=bindparam("body")))
DROP = Statement(delete(rows).where(rows.c.name == bindparam("name")))
NAMES = Statement(select(rows.c.name).order_by(rows.c.id))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = open_store(tmp_path / "longshore.db")
    yield made
    made.close()


def names(store: SqliteStore) -> list[str]:
    return store.read(lambda transaction: [name for (name,) in transaction.all(NAMES)])


def add(name: str, size: int = 0) -> Callable[[Transaction], int]:
    return lambda transaction: transaction.insert(ADD, name=name, body=bytes(size))


async def together(store: SqliteStore, *writes: Callable[[Transaction], Any]) -> list[Any]:
    return await asyncio.gather(*(store.write(each) for each in writes), return_exceptions=True)


def run(store: SqliteStore, *writes: Callable[[Transaction], Any]) -> list[Any]:
    return asyncio.run(together(store, *writes))


def commits(store: SqliteStore) -> list[str]:
    """The commits that are made from now on."""
    seen: list[str] = []
    store._writer.set_trace_callback(lambda sql: seen.append(sql) if sql == "COMMIT" else None)
    return seen


def test_those_who_wait_share_one_commit_and_a_crowd_takes_several(store: SqliteStore) -> None:
    seen = commits(store)
    run(store, *(add(f"a{number}") for number in range(100)))
    assert len(seen) == 1
    run(store, *(add(f"b{number}") for number in range(300)))
    assert len(seen) == 4  # 128 in one at most
    assert len(names(store)) == 400


def test_what_one_wrote_the_next_of_the_same_commit_sees(store: SqliteStore) -> None:
    def count(transaction: Transaction) -> int:
        return len(transaction.all(NAMES))

    assert run(store, count, add("a"), count, add("b"), count) == [0, 1, 1, 2, 2]


def test_callbacks_run_after_the_commit_in_order_and_before_the_answers(store: SqliteStore, tmp_path: Path) -> None:
    seen: list[Any] = []

    def told(name: str) -> Callable[[Transaction], None]:
        def write(transaction: Transaction) -> None:
            transaction.insert(ADD, name=name, body=b"")
            transaction.after_commit(lambda: seen.append((name, durable_names(tmp_path))))

        return write

    async def go() -> None:
        first, second = store.write(told("a")), store.write(told("b"))
        await first
        assert [name for name, _ in seen] == ["a", "b"]
        await second

    asyncio.run(go())
    assert seen == [("a", ["a", "b"]), ("b", ["a", "b"])]


def durable_names(folder: Path) -> list[str]:
    """As another process would read them."""
    with contextlib.closing(sqlite3.connect(folder / "longshore.db")) as other:
        return [name for (name,) in other.execute("SELECT name FROM test_rows ORDER BY id")]


def test_a_callback_that_fails_costs_nobody_the_answer(store: SqliteStore) -> None:
    unhandled: list[Any] = []
    seen: list[str] = []

    def breaks(transaction: Transaction) -> str:
        transaction.insert(ADD, name="a", body=b"")
        transaction.after_commit(lambda: [][0])
        transaction.after_commit(lambda: seen.append("next"))
        return "kept"

    async def go() -> list[Any]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context["exception"]))
        answers = await together(store, breaks, add("b"))
        return [*answers, await store.write(add("c"))]

    assert asyncio.run(go())[0] == "kept"
    assert names(store) == ["a", "b", "c"]
    assert seen == ["next"] and isinstance(unhandled[0], IndexError)


def test_a_savepoint_within_undoes_its_own_part_only(store: SqliteStore) -> None:
    seen: list[str] = []

    def step(transaction: Transaction, name: str, *, fail: bool) -> None:
        transaction.insert(ADD, name=name, body=b"")
        transaction.after_commit(lambda: seen.append(name))
        if fail:
            raise LookupError(name)

    def write(transaction: Transaction) -> None:
        transaction.savepoint(lambda: step(transaction, "a", fail=False))
        with contextlib.suppress(LookupError):
            transaction.savepoint(lambda: step(transaction, "b", fail=True))

        def nested() -> None:
            step(transaction, "c", fail=False)
            with contextlib.suppress(LookupError):
                transaction.savepoint(lambda: step(transaction, "d", fail=True))
            transaction.savepoint(lambda: step(transaction, "e", fail=False))

        transaction.savepoint(nested)

    assert run(store, write) == [None]
    assert names(store) == ["a", "c", "e"] == seen


@pytest.mark.parametrize("seed", range(20))
def test_however_savepoints_lie_within_each_other_what_failed_leaves_nothing(store: SqliteStore, seed: int) -> None:
    chance = random.Random(seed)
    told: list[str] = []
    written = 0

    def go(transaction: Transaction, depth: int) -> list[str]:
        """What is to be kept of what was written in it."""
        nonlocal written
        kept: list[str] = []
        for _ in range(chance.randrange(4)):
            if depth < 5 and chance.random() < 0.6:
                with contextlib.suppress(LookupError):
                    kept += transaction.savepoint(lambda: go(transaction, depth + 1))
            else:
                written += 1
                transaction.insert(ADD, name=str(written), body=b"")
                transaction.after_commit(partial(told.append, str(written)))
                kept.append(str(written))
        if depth and chance.random() < 0.4:
            raise LookupError
        return kept

    expected = run(store, *[partial(go, depth=0)] * 30)
    assert names(store) == [name for kept in expected for name in kept] == told


def test_a_broken_constraint_is_its_own_requests_matter(store: SqliteStore) -> None:
    first, second, third = run(store, add("a"), add("a"), add("b"))
    assert isinstance(second, sqlite3.IntegrityError) and (first, third) == (1, 2)
    assert names(store) == ["a", "b"]


def test_one_who_no_longer_waits_is_not_run(store: SqliteStore) -> None:
    async def go() -> None:
        gone, kept = asyncio.ensure_future(store.write(add("gone"))), store.write(add("kept"))
        gone.cancel()
        await kept

    asyncio.run(go())
    assert names(store) == ["kept"]


def test_one_who_leaves_during_the_commit_spoils_nothing(store: SqliteStore) -> None:
    async def go() -> None:
        gone, kept = asyncio.ensure_future(store.write(add("gone"))), store.write(add("kept"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gone.cancel()
        await kept
        await store.write(add("later"))

    asyncio.run(go())
    assert names(store)[-2:] == ["kept", "later"]


# The disk says no ---------------------------------------------------------------------------------------------------


def filled(store: SqliteStore, pages: int) -> None:
    (held,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count={held + pages}")


def test_on_a_full_disk_all_of_the_commit_are_told_and_nothing_is_kept(store: SqliteStore, tmp_path: Path) -> None:
    """SQLite rolls the whole transaction back by itself: what ran before is gone, what runs after must not be kept alone."""
    seen: list[str] = []

    def small(name: str) -> Callable[[Transaction], None]:
        def write(transaction: Transaction) -> None:
            transaction.insert(ADD, name=name, body=b"")
            transaction.after_commit(lambda: seen.append(name))

        return write

    async def go() -> list[Any]:
        await store.write(small("before"))
        filled(store, 20)
        full = await together(store, small("a"), add("large", 4096 * 100), small("b"))
        filled(store, 1000)
        return [*full, await store.write(small("after"))]

    first, second, third, _ = asyncio.run(go())
    for answer in (first, second):
        assert isinstance(answer, sqlite3.OperationalError) and "full" in str(answer)
    # The third waits for the next commit, and that one works.
    assert third is None
    assert names(store) == durable_names(tmp_path) == ["before", "b", "after"] == seen


def test_who_takes_the_full_disk_for_an_error_like_others_cannot_write_on(store: SqliteStore, tmp_path: Path) -> None:
    def careless(transaction: Transaction) -> None:
        try:
            transaction.savepoint(lambda: add("large", 4096 * 100)(transaction))
        except Exception:
            transaction.insert(ADD, name="on its own", body=b"")

    def silent(transaction: Transaction) -> None:
        with contextlib.suppress(Exception):
            transaction.savepoint(lambda: add("large", 4096 * 100)(transaction))

    async def go(write: Callable[[Transaction], None]) -> list[Any]:
        filled(store, 20)
        answers = await together(store, add(f"a{write.__name__}"), write)
        filled(store, 1000)
        return answers

    for write in (careless, silent):
        first, second = asyncio.run(go(write))
        assert isinstance(first, TransactionLost) and isinstance(second, TransactionLost)
        assert names(store) == durable_names(tmp_path) == []


def test_when_the_writer_cannot_even_begin_those_who_wait_are_told_and_the_next_are_served(
    store: SqliteStore, tmp_path: Path
) -> None:
    store._writer.execute("PRAGMA busy_timeout=0")
    with contextlib.closing(sqlite3.connect(tmp_path / "longshore.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = run(store, add("a"), add("b"))
        assert all(isinstance(answer, sqlite3.OperationalError) and "locked" in str(answer) for answer in answers)
        other.execute("ROLLBACK")
    assert run(store, add("c")) == [1]
    assert names(store) == ["c"]


def test_write_now_keeps_all_or_nothing(store: SqliteStore) -> None:
    store.write_now(add("a"))

    def fails(transaction: Transaction) -> None:
        transaction.insert(ADD, name="b", body=b"")
        raise LookupError

    with pytest.raises(LookupError):
        store.write_now(fails)
    filled(store, 20)
    with pytest.raises(sqlite3.OperationalError):
        store.write_now(add("large", 4096 * 100))
    filled(store, 1000)
    store.write_now(add("c"))
    assert names(store) == ["a", "c"]


# Whatever happens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_refused_the_rows_are_those_of_the_acknowledged_writes(tmp_path: Path, seed: int) -> None:
    """Against a set in memory: additions, removals, refusals, nested steps, readers beside them; on disk and in memory."""
    chance = random.Random(seed)
    store = open_store(None if seed % 4 == 0 else tmp_path / "longshore.db")
    expected: set[str] = set()
    told: set[str] = set()

    def change(number: int) -> tuple[Callable[[Transaction], set[str]], bool]:
        """A write that gives the names it added, and whether it will be refused."""
        refused = chance.random() < 0.3
        nested_fails = chance.random() < 0.5
        removed = chance.choice(sorted(expected)) if expected and chance.random() < 0.3 else None

        def write(transaction: Transaction) -> set[str]:
            added = {f"{number}"}
            transaction.insert(ADD, name=f"{number}", body=b"x")
            transaction.after_commit(lambda: told.add(f"{number}"))

            def step() -> None:
                transaction.insert(ADD, name=f"{number}.nested", body=b"y")
                if nested_fails:
                    raise LookupError

            with contextlib.suppress(LookupError):
                transaction.savepoint(step)
                added.add(f"{number}.nested")
            if removed is not None:
                transaction.run(DROP, name=removed)
            if refused:
                raise PermissionError
            if removed is not None:
                removals.add(removed)
            return added

        return write, refused

    async def one(number: int) -> None:
        write, refused = change(number)
        await asyncio.sleep(0 if chance.random() < 0.5 else 0.001 * chance.random())
        try:
            expected.update(await store.write(write))
            assert not refused
        except PermissionError:
            assert refused
        assert set(names(store)) <= expected | {f"{n}{end}" for n in range(120) for end in ("", ".nested")}

    removals: set[str] = set()

    async def go() -> None:
        await asyncio.gather(*(one(number) for number in range(120)))

    asyncio.run(go())
    assert set(names(store)) == expected - removals
    assert told == {name for name in expected if "." not in name}
    store.close()

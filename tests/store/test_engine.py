import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, String, Table, bindparam, insert, select

from longshore.store import migrate
from longshore.store.engine import Transaction, open_store
from longshore.store.statement import METADATA, Statement

things = Table("test_things", METADATA, Column("id", Integer, primary_key=True), Column("name", String, unique=True))
ADD = Statement(insert(things).values(name=bindparam("name")))
NAMES = Statement(select(things.c.name).order_by(things.c.id))


def names(transaction: Transaction) -> list[str]:
    return [name for (name,) in transaction.all(NAMES)]


def test_a_refused_write_spoils_nobody_elses(tmp_path: Path) -> None:
    store = open_store(tmp_path / "longshore.db")

    def refused(transaction: Transaction) -> None:
        transaction.run(ADD, name="lost")
        transaction.after_commit(lambda: seen.append("lost"))
        raise LookupError("refused")

    def kept(name: str) -> None:
        seen.append(name)

    seen: list[str] = []

    async def run() -> list[object]:
        def add(transaction: Transaction, name: str) -> int:
            transaction.after_commit(lambda: kept(name))
            return transaction.run(ADD, name=name)

        return await asyncio.gather(
            store.write(lambda t: add(t, "one")),
            store.write(refused),
            store.write(lambda t: add(t, "two")),
            return_exceptions=True,
        )

    first, second, third = asyncio.run(run())
    assert (first, third) == (1, 1)
    assert isinstance(second, LookupError)
    assert store.read(names) == ["one", "two"]
    assert seen == ["one", "two"]
    store.close()


def test_what_is_acknowledged_is_there_after_reopening(tmp_path: Path) -> None:
    store = open_store(tmp_path / "longshore.db")
    asyncio.run(_write_names(store, [str(n) for n in range(300)]))
    store.close()
    again = open_store(tmp_path / "longshore.db")
    assert len(again.read(names)) == 300
    assert (tmp_path / "longshore.db").stat().st_mode & 0o777 == 0o600
    again.close()


async def _write_names(store, wanted: list[str]) -> None:  # type: ignore[no-untyped-def]
    await asyncio.gather(*(store.write(lambda t, n=n: t.run(ADD, name=n)) for n in wanted))


def test_a_read_does_not_see_what_is_not_committed_and_cannot_write(tmp_path: Path) -> None:
    store = open_store(tmp_path / "longshore.db")

    def write(transaction: Transaction) -> list[str]:
        transaction.run(ADD, name="wanted")
        return store.read(names)

    async def run() -> list[str]:
        return await store.write(write)

    assert asyncio.run(run()) == []
    assert store.read(names) == ["wanted"]
    with pytest.raises(AssertionError):
        store.read(lambda t: t.run(ADD, name="x"))
    store.close()


def test_a_failed_commit_is_told_to_all_who_waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "longshore.db")
    seen: list[str] = []
    monkeypatch.setattr(
        store, "_commit", lambda: store._writer.execute("ROLLBACK") and sqlite3.OperationalError("full")
    )

    async def run() -> list[object]:
        def add(transaction: Transaction, name: str) -> None:
            transaction.run(ADD, name=name)
            transaction.after_commit(lambda: seen.append(name))

        return await asyncio.gather(
            store.write(lambda t: add(t, "a")), store.write(lambda t: add(t, "b")), return_exceptions=True
        )

    assert all(isinstance(answer, sqlite3.OperationalError) for answer in asyncio.run(run()))
    assert store.read(names) == [] and seen == []
    store.close()


def test_a_database_of_a_later_longshore_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "longshore.db"
    open_store(path).close()
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version={migrate.REVISION + 1}")
    raw.close()
    with pytest.raises(migrate.DatabaseTooNew):
        open_store(path)


def test_reads_share_a_snapshot_until_the_next_write_and_see_each_acknowledged_one(tmp_path: Path) -> None:
    store = open_store(tmp_path / "longshore.db")
    store.read(lambda transaction: transaction.known.update(seen=True))
    assert store.read(lambda transaction: transaction.known) == {"seen": True}

    async def run() -> None:
        for number in range(3):
            await store.write(lambda t, number=number: t.run(ADD, name=str(number)))
            assert store.read(names) == [str(each) for each in range(number + 1)]

    asyncio.run(run())
    assert store.read(lambda transaction: transaction.known) == {}
    store.close()


def test_what_is_known_in_a_write_is_forgotten_when_a_request_is_rolled_back(tmp_path: Path) -> None:
    store = open_store(tmp_path / "longshore.db")

    def refused(transaction: Transaction) -> None:
        transaction.known["name"] = "never"
        raise LookupError("refused")

    async def run() -> list[object]:
        return await asyncio.gather(store.write(refused), store.write(lambda t: dict(t.known)), return_exceptions=True)

    assert asyncio.run(run())[1] == {}
    store.close()


def test_reads_between_writes_do_not_keep_the_log_from_starting_anew(tmp_path: Path) -> None:
    path = tmp_path / "longshore.db"
    store = open_store(path)

    async def run() -> None:
        for number in range(800):
            written = store.write(lambda t, number=number: t.run(ADD, name=f"{number}." * 4000))
            store.read(lambda t: t.one(NAMES))
            await written
            store.read(lambda t: t.one(NAMES))

    asyncio.run(run())
    # SQLite takes the log into the database at 1,000 pages; several times that would be written without it.
    assert path.with_name("longshore.db-wal").stat().st_size < 3 * 1000 * 4096
    store.close()

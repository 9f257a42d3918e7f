"""A database knows its revision: new ones are made whole, older ones brought forward, newer ones refused untouched."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, String, Table, bindparam, insert, select

from longshore.store import migrate
from longshore.store.engine import open_store
from longshore.store.statement import METADATA, Statement

boats = Table("test_boats", METADATA, Column("id", Integer, primary_key=True), Column("name", String))
ADD = Statement(insert(boats).values(name=bindparam("name")))
NAMES = Statement(select(boats.c.name).order_by(boats.c.id))


def raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def dump(path: Path) -> list[str]:
    connection = raw(path)
    lines = [f"revision {connection.execute('PRAGMA user_version').fetchone()[0]}", *connection.iterdump()]
    connection.close()
    return lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a row in it."""
    made = tmp_path / "longshore.db"
    store = open_store(made)
    store.write_now(lambda transaction: transaction.run(ADD, name="Ann"))
    store.close()
    return made


def names(path: Path) -> list[str]:
    store = open_store(path)
    found = store.read(lambda transaction: [name for (name,) in transaction.all(NAMES)])
    store.close()
    return found


def test_a_new_database_has_every_table_and_the_newest_revision(path: Path) -> None:
    connection = raw(path)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {table.name for table in METADATA.sorted_tables} <= tables
    assert connection.execute("PRAGMA user_version").fetchone() == (migrate.REVISION,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_opening_it_again_changes_nothing(path: Path) -> None:
    before = dump(path)
    assert names(path) == ["Ann"]
    assert dump(path) == before


def test_a_database_of_a_later_longshore_is_refused_untouched(path: Path) -> None:
    connection = raw(path)
    connection.execute(f"PRAGMA user_version={migrate.REVISION + 1}")
    connection.execute("DROP TABLE test_boats")
    connection.close()
    before = dump(path)
    with pytest.raises(migrate.DatabaseTooNew, match="use a newer one"):
        open_store(path)
    assert dump(path) == before


def test_an_older_database_is_brought_forward_step_by_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = migrate.REVISION + 2
    changes = {
        newest - 1: ["ALTER TABLE test_boats ADD COLUMN length INTEGER", "UPDATE test_boats SET length = 7"],
        newest: ["UPDATE test_boats SET name = name || ' of ' || length"],
    }
    monkeypatch.setattr(migrate, "REVISION", newest)
    monkeypatch.setattr(migrate, "CHANGES", changes)
    assert names(path) == ["Ann of 7"]
    assert names(path) == ["Ann of 7"]  # Once.
    assert dump(path)[0] == f"revision {newest}"


def test_a_new_database_takes_no_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "REVISION", migrate.REVISION + 1)
    monkeypatch.setattr(migrate, "CHANGES", {migrate.REVISION: ["ALTER TABLE test_boats ADD COLUMN length INTEGER"]})
    assert names(tmp_path / "new.db") == []


def test_a_step_that_fails_leaves_the_database_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(path)
    newest = migrate.REVISION + 2
    changes = {newest - 1: ["UPDATE test_boats SET name = 'Bob'"], newest: ["UPDATE nowhere SET name = 'x'"]}
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "REVISION", newest)
        patched.setattr(migrate, "CHANGES", changes)
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            open_store(path)
    assert dump(path) == before
    assert names(path) == ["Ann"]


def test_every_revision_after_the_first_has_its_step() -> None:
    assert sorted(migrate.CHANGES) == list(range(2, migrate.REVISION + 1))


def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "longshore.db"
    path.write_text("not a database, and longer than the header of one would be " * 20)
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError):
        open_store(path)
    assert path.read_bytes() == before

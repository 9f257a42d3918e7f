"""A process that writes is killed, again and again: what was acknowledged is there, whole, and nothing is there by half."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from longshore.store import migrate, outbox
from longshore.store.engine import open_store
from store.writing_until_killed import ALL

PROGRAM = Path(__file__).with_name("writing_until_killed.py")


def killed_after(path: Path, acknowledgements: int, seed: int) -> list[int]:
    """The numbers that the program was acknowledged before it was killed."""
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(path), str(seed)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        told = [int(process.stdout.readline()) for _ in range(acknowledgements)]
    finally:
        process.kill()
    told += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return told


def check(path: Path, acknowledged: set[int]) -> set[int]:
    """The numbers that are there; acknowledged ones must be, each with both of its rows and its event."""
    store = open_store(path)
    found = store.read(lambda t: t.all(ALL))
    halves: dict[int, list[int]] = {}
    for number, half in found:
        halves.setdefault(number, []).append(half)
    assert all(each == [1, 2] for each in halves.values())
    events = store.read(lambda t: outbox.after(t, 0, 1_000_000))
    assert sorted(int(body) for _, _, body in events) == sorted(halves)
    sequences = [sequence for sequence, _, _ in events]
    assert sequences == sorted(set(sequences))
    store.close()
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()
    assert acknowledged <= halves.keys()
    return set(halves)


def kills(path: Path, count: int, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: set[int] = set()
    for turn in range(count):
        told = killed_after(path, chance.choice((1, 17, 150, 400)), seed * 1000 + turn)
        assert len(told) == len(set(told)) and not acknowledged & set(
            told
        )  # A number that was given is not given again.
        acknowledged |= set(told)
        acknowledged = check(path, acknowledged)


def test_what_was_acknowledged_outlives_being_killed(tmp_path: Path) -> None:
    kills(tmp_path / "longshore.db", 4, seed=1)


@pytest.mark.long
def test_what_was_acknowledged_outlives_being_killed_many_times(tmp_path: Path) -> None:
    kills(tmp_path / "longshore.db", 40, seed=2)


def test_a_kill_while_the_tables_are_being_made_leaves_none(tmp_path: Path) -> None:
    """A connection that is dropped with its transaction open is what a kill leaves behind."""
    path = tmp_path / "longshore.db"
    raw = sqlite3.connect(path, isolation_level=None)
    statements = migrate._statements()
    raw.execute("BEGIN IMMEDIATE")
    for sql in statements[: len(statements) // 2]:
        raw.execute(sql)
    raw.close()  # No COMMIT.
    store = open_store(path)
    assert asyncio.run(_count(store)) == 0
    store.close()


async def _count(store) -> int:  # type: ignore[no-untyped-def]
    return int(await store.write(lambda t: len(t.all(ALL))))

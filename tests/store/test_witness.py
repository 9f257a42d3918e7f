"""A log that lacks what was acknowledged is noticed at the next start, and left as it is."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from longshore.store.engine import Transaction, open_store
from longshore.store.statement import Statement
from longshore.store.witness import LogIsTorn, Mark, place
from store.test_crash import check, killed_after
from store.writing_until_killed import ALL

FRAME = 4096 + 24


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A folder whose writer was killed, and what it was acknowledged."""
    folder = tmp_path_factory.mktemp("killed")
    return folder, killed_after(folder / "longshore.db", 60, seed=3)


@pytest.fixture
def left(killed: tuple[Path, list[int]], tmp_path: Path) -> Path:
    """The database, as it was left."""
    for each in killed[0].iterdir():
        shutil.copy(each, tmp_path / each.name)
    return tmp_path / "longshore.db"


def log_of(database: Path) -> Path:
    return database.with_name("longshore.db-wal")


def test_a_whole_log_is_taken(left: Path, killed: tuple[Path, list[int]]) -> None:
    assert place(left).exists()
    assert check(left, set(killed[1])) >= set(killed[1])
    assert not place(left).exists() and not log_of(left).exists()  # It was closed.


def flip(at: int) -> Callable[[bytes], bytes]:
    def flipped(whole: bytes) -> bytes:
        changed = bytearray(whole)
        changed[at] ^= 0x40
        return bytes(changed)

    return flipped


TEARS: dict[str, Callable[[bytes], bytes]] = {
    "one byte is missing": lambda whole: whole[:-1],
    "a frame is missing": lambda whole: whole[:-FRAME],
    "half is missing": lambda whole: whole[: len(whole) // 2],
    "all but the header is missing": lambda whole: whole[:32],
    "it is empty": lambda whole: b"",
    "its header is spoilt": flip(20),
    "its first frame is spoilt": flip(32 + 100),
    "a frame in its middle is spoilt": flip(-(FRAME * 3) - 7),
    "its last frame is spoilt": flip(-1),
    "its end is of zeros": lambda whole: whole[:-6000] + bytes(6000),
}


@pytest.mark.parametrize("tear", TEARS)
def test_a_log_that_was_torn_is_refused_and_left_as_it_is(
    left: Path, killed: tuple[Path, list[int]], tear: str
) -> None:
    whole = log_of(left).read_bytes()
    # What was written and not acknowledged may be behind the last commit; a tear of that alone would lose nothing.
    size = 32 + committed_frames(whole) * FRAME
    torn = TEARS[tear](whole[:size])
    log_of(left).write_bytes(torn)
    for _ in range(2):
        with pytest.raises(LogIsTorn, match=r"frames that were acknowledged \d+ can be read"):
            open_store(left)
        assert log_of(left).read_bytes() == torn
    # Whoever has the undamaged one brings it back; whoever has not goes on without.
    log_of(left).write_bytes(whole)
    assert check(left, set(killed[1])) >= set(killed[1])


def committed_frames(whole: bytes) -> int:
    """Up to the last that ends a commit."""
    count = (len(whole) - 32) // FRAME
    return max(n for n in range(1, count + 1) if whole[32 + (n - 1) * FRAME + 4 : 32 + (n - 1) * FRAME + 8] != bytes(4))


def test_who_removes_the_witness_goes_on_without_what_is_lost(left: Path) -> None:
    log_of(left).write_bytes(b"")
    with pytest.raises(LogIsTorn, match=r"remove `longshore\.db-witness`"):
        open_store(left)
    place(left).unlink()
    open_store(left).close()


def test_a_witness_that_is_none_witnesses_nothing(left: Path) -> None:
    for content in (b"", b"x" * 1000, bytes(56)):
        place(left).write_bytes(content)
        open_store(left).close()
        assert not place(left).exists()


def test_another_program_that_took_the_log_in_is_no_loss(left: Path, killed: tuple[Path, list[int]]) -> None:
    connection = sqlite3.connect(left)
    connection.execute("SELECT count(*) FROM test_written").fetchone()
    connection.close()
    assert not log_of(left).exists() and place(left).exists()
    assert check(left, set(killed[1])) >= set(killed[1])


def test_a_log_that_is_begun_anew_is_witnessed_as_the_one_before(tmp_path: Path) -> None:
    """Thousands of pages: SQLite has taken its log in several times, and begun it anew."""
    path = tmp_path / "longshore.db"
    acknowledged: set[int] = set()
    for seed in range(3):
        acknowledged |= set(killed_after(path, 1500, seed=seed))
        store = open_store(path)
        found = {number for number, _ in store.read(lambda t: t.all(ALL))}
        store.close()
        assert acknowledged <= found
        acknowledged = found


marks = st.builds(Mark, st.integers(0, 5), st.integers(0, 5), st.tuples(st.integers(0, 3), st.integers(0, 1)))


@given(marks, st.integers(0, 5))
def test_what_was_found_lacks_nothing_of_itself_and_of_what_was_before_it(mark: Mark, frames: int) -> None:
    assert not mark.lacks(mark)
    longer = Mark(mark.frames + frames, mark.backfilled, mark.salts)
    assert not mark.lacks(longer)
    assert longer.lacks(mark) == (frames > 0 and longer.backfilled < longer.frames)
    later = Mark(1, 0, ((mark.salts[0] + 1) % (1 << 32), 7))
    assert not mark.lacks(later)
    assert later.lacks(mark)


def test_the_salts_of_logs_go_round() -> None:
    last = Mark(3, 0, ((1 << 32) - 1, 5))
    assert not last.lacks(Mark(1, 0, (0, 9))) and Mark(1, 0, (0, 9)).lacks(last)


# SQLite's lock that says that the index of the log is in use. Source: its os_unix.c, UNIX_SHM_DMS.
_TAKE_THE_LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+b") as index:
    try:
        fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
    except OSError:
        sys.exit(0)
sys.exit("the index is nobody's: whoever looks into the database now cuts it short")
"""


def _make(transaction: Transaction, name: str) -> None:
    transaction.run(Statement(text(f"CREATE TABLE {name} (x)")))


def test_another_program_that_looks_into_the_database_finds_it_in_use(tmp_path: Path) -> None:
    """Whoever closes a file that SQLite has locked loses the lock; and the next who looked ended the server by SIGBUS."""

    async def serve() -> None:
        store = open_store(tmp_path / "longshore.db")
        try:
            for number in range(3):
                await store.write(partial(_make, name=f"t{number}"))
                line = [sys.executable, "-c", _TAKE_THE_LOCK, str(tmp_path / "longshore.db-shm")]
                done = subprocess.run(line, capture_output=True, text=True, timeout=20)
                assert done.returncode == 0, done.stderr
        finally:
            store.close()

    asyncio.run(serve())

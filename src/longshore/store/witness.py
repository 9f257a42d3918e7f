"""Whether the write-ahead log has all that was acknowledged: a note beside the database that a start compares it with.

SQLite takes whatever is whole of its log and says nothing of the rest: a log that was cut or spoilt at its end is to it one
that was written no further. So after each commit, when the log is on the disk, the note is made: which log it is (its salts)
and how many frames it has. It is written into memory that is the file's, so that it outlives the process at no cost, and is never
ahead of the log. After the machine went down it may be behind it, which tells less and nothing wrong.

What is noted is the header of SQLite's own index of the log. Source: SQLite, "WAL-mode File Format", section 2.
"""

from __future__ import annotations

import mmap
import os
import sqlite3
import struct
import zlib
from pathlib import Path

import structlog
from msgspec import Struct

log = structlog.get_logger(__name__)

_INDEX_BYTES = 136
_IS_THERE_AT, _FRAMES_AT, _SALTS_AT, _BACKFILLED_AT = 12, 16, 32, 96
_NATIVE = struct.Struct("=I")
_SALTS = struct.Struct(">II")  # as they stand in the log
_MARK = struct.Struct("=QIIII")  # number of the note, frames, those of them that are in the database, both salts
_SLOT_BYTES = _MARK.size + _NATIVE.size  # with a checksum


class LogIsTorn(Exception):
    """The log lacks commits that were acknowledged."""


class Mark(Struct, frozen=True):
    """A place in a log."""

    frames: int
    backfilled: int  # frames that are in the database itself
    salts: tuple[int, int]

    def lacks(self, found: Mark) -> bool:
        """Whether the log that was `found` lacks something that was there."""
        if self.backfilled >= self.frames:
            return False  # All of it is in the database.
        if found.salts == self.salts or not found.frames:
            return found.frames < self.frames
        # Each log's first salt is the one before's and 1; one that is begun has all before it in the database.
        return not 0 < (found.salts[0] - self.salts[0]) % (1 << 32) < 1 << 31


class Witness:
    """Of one database that is open. Two notes in turn: the one that a crash cuts short is not the last whole one."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = place(database)
        self._index_path = database.with_name(f"{database.name}-shm")
        self._index: mmap.mmap | None = None
        self._opened: int | None = None  # SQLite's index of the log
        self._note: mmap.mmap | None = None
        self._number = 0

    def check(self) -> None:
        """Before anybody has opened the database. LogIsTorn."""
        noted = self._last()
        if noted is None or not self._database.exists():
            return
        has_log = self._database.with_name(f"{self._database.name}-wal").exists()
        found = self._found()
        if not has_log:
            # SQLite takes it away when the last who has the database open closes it, `longshore backup` for one.
            log.warning(
                "there is no write-ahead log; another program has taken it in, or it was removed", frames=noted.frames
            )
        elif found is None or noted.lacks(found):
            there = found.frames if found is not None and found.salts == noted.salts else 0
            raise LogIsTorn(
                f"the write-ahead log of the database in `{self._path.parent}` is cut or damaged: of {noted.frames} frames that "
                f"were acknowledged {there} can be read; bring back the undamaged `-wal` file, or restore a backup (to go on "
                f"without what is lost, remove `{self._path.name}`)"
            )

    def _found(self) -> Mark | None:
        """What SQLite reads of its log. By a connection that can't write: another would take the log away when it closes."""
        connection = sqlite3.connect(f"{self._database.absolute().as_uri()}?mode=ro", uri=True)
        try:
            connection.execute("PRAGMA user_version").fetchone()
            return self._look()
        finally:
            connection.close()
            self.forget()  # The next who opens the database makes it anew.

    def begin(self) -> None:
        opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Written, not only made longer: a page that the disk has no room for would end the process when it is touched.
            os.pwrite(opened, bytes(2 * _SLOT_BYTES), 0)
            self._note = mmap.mmap(opened, 2 * _SLOT_BYTES)
        finally:
            os.close(opened)

    def note(self) -> None:
        """After a commit."""
        if self._note is None:
            return
        found = self._look()
        if found is None:
            return
        self._number += 1
        mark = _MARK.pack(self._number, found.frames, found.backfilled, *found.salts)
        at = self._number % 2 * _SLOT_BYTES
        self._note[at : at + _SLOT_BYTES] = mark + _NATIVE.pack(zlib.crc32(mark))

    def end(self, *, is_whole: bool) -> None:
        """`is_whole`: the database is about to be closed, and SQLite takes its log into it and away."""
        if self._note is not None:
            self._note.close()
            self._note = None
        if is_whole:
            self._path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Lets go of SQLite's index of the log; when nobody in this process has the database open, and not before.

        A process that closes any file loses all its locks on it, SQLite's own too: then the next program that looked into the
        database would take itself for the first, cut the index short under the server's feet, and end it (SIGBUS; it happened).
        Source: fcntl(2), "Advisory record locking"; SQLite, "How To Corrupt An SQLite Database File", 2.2.
        """
        if self._index is not None:
            self._index.close()
            self._index = None
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None

    def _look(self) -> Mark | None:
        """None: there is no log, or no index of it."""
        if self._opened is None:
            try:
                self._opened = os.open(self._index_path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
        if self._index is None:
            if os.fstat(self._opened).st_size < _INDEX_BYTES:
                return None
            self._index = mmap.mmap(self._opened, _INDEX_BYTES, prot=mmap.PROT_READ)
        if not self._index[_IS_THERE_AT]:
            return None
        (frames,), (backfilled,) = (_NATIVE.unpack_from(self._index, at) for at in (_FRAMES_AT, _BACKFILLED_AT))
        return Mark(frames, backfilled, _SALTS.unpack_from(self._index, _SALTS_AT))

    def _last(self) -> Mark | None:
        try:
            whole = self._path.read_bytes()
        except FileNotFoundError:
            return None
        good = []
        for slot in (whole[:_SLOT_BYTES], whole[_SLOT_BYTES : 2 * _SLOT_BYTES]):
            if len(slot) == _SLOT_BYTES and slot[_MARK.size :] == _NATIVE.pack(zlib.crc32(slot[: _MARK.size])):
                good.append(_MARK.unpack_from(slot))
        if not good:
            return None
        number, frames, backfilled, *salts = max(good)
        return Mark(frames, backfilled, (salts[0], salts[1])) if number else None


def place(database: Path) -> Path:
    return database.with_name(f"{database.name}-witness")

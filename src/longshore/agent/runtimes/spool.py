"""What a container writes, on its way to whoever sends it on: a pipe, and a file behind it that the agent fills.

Why a pipe and not a file that the container itself writes: a pipe makes a program wait that writes faster than its output
can be sent on, so a flood costs the job its own time and nobody's disk. The pipe has a name and its other end is held by
the container's holder, so an agent may die and come back without a byte lost or the program getting SIGPIPE.

Why a file behind it: what was taken from a pipe is gone, and the agent may die before CloudWatch has it. So bytes go over by
splice(2), in the kernel, and are at each moment in the pipe or in the file. The file's length is how much was written in
all; the part that has been given out is cut from its beginning as a hole, but for a rest that a new agent may ask for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import select
from collections.abc import AsyncIterator
from pathlib import Path

from longshore.agent.runtimes.base import Chunk

WAITING_BYTES = 8 << 20  # not given out yet: more, and the container waits
KEPT_BYTES = 8 << 20  # given out, for who asks again
_CHUNK_BYTES = 256 << 10
_MOVE_BYTES = 1 << 20  # at one go, so that a flood leaves the loop to others
_HOLE_STEP = 1 << 20

_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class Spool:
    """The output of one container. Of the agent's loop."""

    def __init__(self, pipe: Path, file: Path) -> None:
        self._pipe_path = pipe
        self._file_path = file
        self._file = -1  # opened with the first byte: many containers never write one
        self._pipe: int | None = None  # None: not open, or all has been taken
        self._is_watched = False
        self._written = 0
        if file.exists():
            self._open_file()
            self._written = os.fstat(self._file).st_size
        self._given = 0
        self._hole = 0
        self._has_ended = False
        self._news = asyncio.Event()

    def open(self) -> None:
        """Begins to take what is written. Nothing is lost that was written before."""
        if self._pipe is None and not self._has_ended:
            self._pipe = os.open(self._pipe_path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._watch()

    def end(self) -> None:
        """The container has ended: takes what is still in the pipe. Nothing more will come."""
        if self._pipe is not None:
            while self._move(self._pipe) > 0:
                pass
            self._unwatch()
            os.close(self._pipe)
            self._pipe = None
        self._has_ended = True
        self._news.set()

    def close(self) -> None:
        """The container is removed: readers end where they are."""
        self.end()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def beginning(self) -> bytes:
        """The first few thousand bytes, if they are still there."""
        return os.pread(self._file, 4096, 0) if self._file >= 0 and self._hole == 0 else b""

    async def read(self, after: int) -> AsyncIterator[Chunk]:
        """From byte `after` on. What is too far back to be there any more is left out; `Chunk.end` tells."""
        position = max(after, self._hole)
        while True:
            self._news.clear()
            if self._file >= 0 and position < self._written:
                data = os.pread(self._file, min(_CHUNK_BYTES, self._written - position), position)
                position += len(data)
                yield Chunk(data=data, end=position)
                self._on_given(position)
            elif self._has_ended:
                return
            else:
                await self._news.wait()

    def _on_readable(self) -> None:
        assert self._pipe is not None
        moved = self._move(self._pipe)
        if moved == 0:
            # No writer is left, not even the holder; the end itself is told by other ways.
            self._unwatch()
        elif self._written - self._given >= WAITING_BYTES:
            self._unwatch()
        if moved > 0:
            self._news.set()

    def _move(self, pipe: int) -> int:
        """How many bytes went over; 0: there are no writers; -1: there is nothing now."""
        if self._file < 0:
            if not select.select([pipe], [], [], 0)[0]:
                return -1
            self._open_file()
        try:
            moved = os.splice(pipe, self._file, _MOVE_BYTES, offset_dst=self._written)
        except BlockingIOError:
            return -1
        self._written += moved
        return moved

    def _open_file(self) -> None:
        self._file = os.open(self._file_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _on_given(self, position: int) -> None:
        self._given = max(self._given, position)
        if self._pipe is not None and not self._is_watched and self._written - self._given < WAITING_BYTES:
            self._watch()
        hole = (self._given - KEPT_BYTES) // _HOLE_STEP * _HOLE_STEP
        if hole > self._hole and self._file >= 0:
            _libc.fallocate(self._file, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, 0, hole)
            self._hole = hole

    def _watch(self) -> None:
        assert self._pipe is not None
        asyncio.get_running_loop().add_reader(self._pipe, self._on_readable)
        self._is_watched = True

    def _unwatch(self) -> None:
        if self._is_watched and self._pipe is not None:
            with contextlib.suppress(RuntimeError):  # The loop may be gone already when the agent ends.
                asyncio.get_running_loop().remove_reader(self._pipe)
        self._is_watched = False

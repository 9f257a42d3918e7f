"""Lines over a unix socket, with open files beside them."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from longshore.host.lines import Lines, connect, listen


class Ends:
    def __init__(self) -> None:
        a, b = socket.socketpair()
        self.heard: list[bytes] = []
        self.closed: list[str] = []
        self.arrived = asyncio.Event()
        self.here = Lines(a, lambda line: None, lambda: self.closed.append("here"))
        self.there = Lines(b, self._hear, self._close)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self.arrived.clear()
                await self.arrived.wait()

    def close(self) -> None:
        self.here.close()
        self.there.close()

    def _hear(self, line: bytes) -> None:
        self.heard.append(line)
        self.arrived.set()

    def _close(self) -> None:
        self.closed.append("there")
        self.arrived.set()


def run(trial: Callable[[Ends], Awaitable[None]]) -> None:
    async def whole() -> None:
        ends = Ends()
        try:
            await trial(ends)
        finally:
            ends.close()

    asyncio.run(whole())


def test_lines_arrive_whole_and_in_order_whatever_their_length() -> None:
    async def trial(ends: Ends) -> None:
        # More than the kernel takes at once: the rest waits for its turn.
        sent = [b"a", b"", b"b" * 900_000, b"c", b"d" * 300_000]
        for line in sent:
            ends.here.send(line)
        await ends.until(lambda: len(ends.heard) == len(sent))
        assert ends.heard == sent

    run(trial)


def test_open_files_come_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("first")
    (tmp_path / "two").write_text("second")

    async def trial(ends: Ends) -> None:
        opened = [os.open(tmp_path / name, os.O_RDONLY) for name in ("one", "two")]
        ends.here.send(b"no files")
        ends.here.send(b"two files", tuple(opened))
        ends.here.send(b"none again")
        await ends.until(lambda: len(ends.heard) == 3)
        taken = ends.there.take_descriptors(2)
        assert [os.read(each, 100) for each in taken] == [b"first", b"second"]
        for each in taken:
            assert not os.get_inheritable(each)
            os.close(each)
        for each in opened:
            with pytest.raises(OSError):
                os.fstat(each)

    run(trial)


def test_files_that_nobody_took_are_closed_with_the_end() -> None:
    async def trial(ends: Ends) -> None:
        reading, writing = os.pipe()
        ends.here.send(b"one", (writing,))
        await ends.until(lambda: ends.heard)
        ends.there.close()
        assert os.read(reading, 1) == b""  # The last one who could write has gone.
        os.close(reading)

    run(trial)


def test_the_end_of_the_other_end_is_told_once_and_sending_is_then_in_vain() -> None:
    async def trial(ends: Ends) -> None:
        ends.here.send(b"last words")
        ends.here.close()
        ends.here.close()
        await ends.until(lambda: "there" in ends.closed)
        assert ends.heard == [b"last words"]
        assert sorted(ends.closed) == ["here", "there"]
        reading, writing = os.pipe()
        ends.there.send(b"anybody?", (writing,))
        assert os.read(reading, 1) == b""
        os.close(reading)

    run(trial)


def test_a_line_without_end_ends_the_conversation() -> None:
    async def trial(ends: Ends) -> None:
        ends.here.send(b"x" * (3 * 1024 * 1024))
        await ends.until(lambda: "there" in ends.closed)
        assert ends.heard == []

    run(trial)


def test_a_door_is_closed_to_others_and_its_path_may_be_long(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20) / ("longer" * 20)
    folder.mkdir(parents=True)
    for path in (tmp_path / "door", folder / "door"):
        path.write_text("what was left there")
        with listen(path) as door:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with connect(path) as end, door.accept()[0] as guest:
                guest.send(b"hello")
                assert end.recv(10) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            connect(path)
    with pytest.raises(FileNotFoundError):
        connect(tmp_path / "none")

"""Lines over a unix socket, with open files beside them."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_READ = 64 * 1024
_DESCRIPTORS = 16
_LINE_MAX = 1024 * 1024  # Longer than any order: user data ends at 16 KiB, what a console tells at 64.
_PATH_MAX = 100  # unix(7): 108 bytes for the path of a socket


class Lines:
    """One end. `on_line` is called with each line, without its end; `on_close` once, when the other end has gone.

    Open files that come along stay with us until they are taken.
    """

    def __init__(self, end: socket.socket, on_line: Callable[[bytes], None], on_close: Callable[[], None]) -> None:
        end.setblocking(False)
        self._end = end
        self._on_line = on_line
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._read = bytearray()
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self._descriptors: deque[int] = deque()
        self.is_closed = False
        self._loop.add_reader(end.fileno(), self._readable)

    def send(self, line: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """The descriptors are closed here once they are sent. Nothing happens when the other end has gone."""
        if self.is_closed:
            _close_all(list(descriptors))
            return
        self._waiting.append((line + b"\n", list(descriptors)))
        if len(self._waiting) == 1:
            self._write()

    def take_descriptors(self, count: int) -> list[int]:
        return [self._descriptors.popleft() for _ in range(count)]

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._loop.remove_reader(self._end.fileno())
        self._loop.remove_writer(self._end.fileno())
        self._end.close()
        _close_all(self._descriptors)
        for _, descriptors in self._waiting:
            _close_all(descriptors)
        self._waiting.clear()
        self._on_close()

    def _readable(self) -> None:
        try:
            data, attached, _, _ = self._end.recvmsg(
                _READ, socket.CMSG_SPACE(_DESCRIPTORS * 4), socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, attached = b"", []
        for level, kind, content in attached:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
                self._descriptors.extend(numbers)
        if not data or len(self._read) > _LINE_MAX:
            self.close()
            return
        self._read += data
        while not self.is_closed and (end := self._read.find(b"\n")) >= 0:
            line = bytes(self._read[:end])
            del self._read[: end + 1]
            self._on_line(line)

    def _write(self) -> None:
        while self._waiting:
            data, descriptors = self._waiting[0]
            try:
                attached = (
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
                )
                sent = self._end.sendmsg([data], attached)
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._end.fileno(), self._write)
                return
            except OSError:
                self.close()
                return
            # They went with the first byte.
            _close_all(descriptors)
            if sent < len(data):
                self._waiting[0] = (data[sent:], [])
            else:
                self._waiting.popleft()
        self._loop.remove_writer(self._end.fileno())


def connect(path: Path) -> socket.socket:
    """A socket connected to the one at `path`. OSError: nobody listens there."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _reachable(path) as name:
            end.connect(name)
    except OSError:
        end.close()
        raise
    return end


def listen(path: Path, *, mode: int = 0o600, owner: int = -1) -> socket.socket:
    """A socket that listens at `path`, in the place of one that was left there."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777)  # Nobody can connect before mode and owner are what they should be.
    try:
        with _reachable(path) as name:
            door.bind(name)
    finally:
        os.umask(before)
    os.chown(path, owner, -1)
    os.chmod(path, mode)
    door.listen(64)
    return door


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A name of the socket that is short enough for the kernel."""
    if len(os.fsencode(path)) <= _PATH_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)

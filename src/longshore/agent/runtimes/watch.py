"""Files that appear in a folder, as they appear (inotify)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path

_IN_CLOSE_WRITE = 0x8
_IN_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class FolderWatch:
    """Calls `on_file` with the name of each file that has been written or moved into the folder. Of the running loop."""

    def __init__(self, folder: Path, on_file: Callable[[str], None]) -> None:
        self._on_file = on_file
        self._events = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._events < 0:
            raise OSError(ctypes.get_errno(), "inotify can't be had")
        if _libc.inotify_add_watch(self._events, os.fsencode(folder), _IN_CLOSE_WRITE | _IN_MOVED_TO) < 0:
            number = ctypes.get_errno()
            os.close(self._events)
            raise OSError(number, f"`{folder}` can't be watched: {os.strerror(number)}")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._events, self._on_readable)

    def close(self) -> None:
        self._loop.remove_reader(self._events)
        os.close(self._events)

    def _on_readable(self) -> None:
        buffer = os.read(self._events, 1 << 16)
        offset = 0
        while offset < len(buffer):
            _, _, _, length = _EVENT.unpack_from(buffer, offset)
            offset += _EVENT.size
            name = buffer[offset : offset + length].rstrip(b"\0")
            offset += length
            self._on_file(os.fsdecode(name))

"""What the agent keeps for the time after its own restart: small documents under a name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class Shelf(Protocol):
    def put(self, name: str, document: bytes) -> None:
        """`name` is a path of two or three plain parts, `tasks/<id>`."""
        ...

    def get(self, name: str) -> bytes | None: ...

    def remove(self, name: str) -> None: ...

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted, each with the folder in front."""
        ...


class MemoryShelf:
    """Lives as long as the object: a simulation hands the same one to the next agent of the instance."""

    def __init__(self) -> None:
        self._documents: dict[str, bytes] = {}

    def put(self, name: str, document: bytes) -> None:
        self._documents[name] = document

    def get(self, name: str) -> bytes | None:
        return self._documents.get(name)

    def remove(self, name: str) -> None:
        self._documents.pop(name, None)

    def names(self, folder: str) -> list[str]:
        return sorted(name for name in self._documents if name.startswith(folder + "/"))


class JournalShelf:
    """One file to whose end every change is written; what counts is held in memory, and read from the file at a start.

    A file for each document, replaced by renaming, was tried: ext4 writes a file's data out when it is renamed over
    another, 1.6 ms each, a dozen of them a job. Not synced: the journal has to outlive the agent, and an instance does not
    outlive its host. A record that was cut short by the agent's death is the last one, and is taken off at the next start.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = folder / "journal"
        self._documents: dict[str, bytes] = {}
        self._size = 0  # of the file
        self._compact_at = _JOURNAL_BYTES_MAX
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._read()
        self._compact()

    def put(self, name: str, document: bytes) -> None:
        self._documents[name] = document
        self._append(_record(name, document))

    def get(self, name: str) -> bytes | None:
        return self._documents.get(name)

    def remove(self, name: str) -> None:
        if self._documents.pop(name, None) is not None:
            self._append(_removal(name))

    def names(self, folder: str) -> list[str]:
        return sorted(name for name in self._documents if name.startswith(folder + "/"))

    def close(self) -> None:
        os.close(self._file)

    def _append(self, record: bytes) -> None:
        _write(self._file, record)
        self._size += len(record)
        if self._size > self._compact_at:
            self._compact()

    def _read(self) -> None:
        whole = self._path.read_bytes()
        at = 0
        while (end := whole.find(b"\n", at)) >= 0:
            name, _, length = whole[at:end].decode("utf-8", "replace").rpartition(" ")
            if length == _REMOVED:
                self._documents.pop(name, None)
                at = end + 1
                continue
            following = end + 1 + (int(length) if length.isdigit() else len(whole)) + 1
            if following > len(whole):
                break
            self._documents[name] = whole[end + 1 : following - 1]
            at = following
        self._size = at

    def _compact(self) -> None:
        """The file anew, with what counts alone."""
        whole = b"".join(_record(name, document) for name, document in self._documents.items())
        fresh = self._path.with_name("journal~")
        file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        _write(file, whole)
        fresh.rename(self._path)
        os.close(self._file)
        self._file, self._size = file, len(whole)
        self._compact_at = max(_JOURNAL_BYTES_MAX, 2 * len(whole))


_JOURNAL_BYTES_MAX = 4 * 1024 * 1024
_REMOVED = "-"


def _record(name: str, document: bytes) -> bytes:
    return b"%s %d\n%s\n" % (name.encode(), len(document), document)


def _removal(name: str) -> bytes:
    return f"{name} {_REMOVED}\n".encode()


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]

"""What the agent keeps for the time after its own restart: small documents under a name."""

from __future__ import annotations

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


class FolderShelf:
    """Files, each written whole beside its place and renamed, so that a reader finds the old one or the new one.

    Not synced: it has to outlive the agent, and an instance does not outlive its host.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, name: str, document: bytes) -> None:
        path = self._folder / name
        fresh = path.with_name(path.name + "~")
        try:
            fresh.write_bytes(document)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_bytes(document)
        fresh.rename(path)

    def get(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        place = self._folder / folder
        if not place.is_dir():
            return []
        return sorted(f"{folder}/{path.name}" for path in place.iterdir() if not path.name.endswith("~"))

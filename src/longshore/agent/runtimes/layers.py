"""What containers write over their image: an overlay each, of a layer on disk.

A layer that its container has left untouched serves the next one of the same image, mounted as it is. Most short jobs write
nothing but output, and making a layer anew costs a dozen inodes, which ext4 in particular is slow to give out again when
thousands were deleted in the last seconds (it looks past each of them): tried, create and remove together went from 12 ms
to 3 at 60 containers a second.

    <layers>/<name>/    upper, work, output; hosts, hostname, resolv.conf: the container's own of these in /etc
    <roots>/<name>      where the overlay is mounted: what the container has as its root
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from longshore.host import mounts
from longshore.host.namespaces import is_root_of_the_host

FILES = ("hosts", "hostname", "resolv.conf")

_SPARE_MAX = 8  # of all images together
_SPARE_SECONDS = 30.0  # an image that was removed keeps its place on the disk as long


_Look = tuple[tuple[int, ...], ...]


class _Spare(Struct):
    name: str
    digest: str
    image: int  # an open file that holds the image
    since: float


class Layers:
    """`throw_away`: takes a folder that is no longer needed. Of the agent's loop."""

    def __init__(self, layers: Path, roots: Path, throw_away: Callable[[Path], None]) -> None:
        self._layers = layers
        self._roots = roots
        self._throw_away = throw_away
        self._untouched: dict[str, _Look] = {}  # layer -> how it was before its container ran
        self._spares: list[_Spare] = []  # the one that waits longest first
        self._clearing: asyncio.TimerHandle | None = None
        # What the overlay notes on folders: attributes that only the host's root can write, or those that all can.
        self._marks = "" if is_root_of_the_host() else ",userxattr"
        for folder in (layers, roots):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def folder(self, name: str) -> Path:
        return self._layers / name

    def root(self, name: str) -> Path:
        return self._roots / name

    def take(self, digest: str, lower: Path) -> str:
        """The name of a layer over the image of this digest, whose unpacked files are `lower`. OSError: it can't be mounted."""
        for spare in self._spares:
            if spare.digest == digest:
                self._spares.remove(spare)
                os.close(spare.image)
                return spare.name
        name = secrets.token_hex(8)
        self._make(name, lower)
        return name

    def write(self, name: str, texts: dict[str, str]) -> None:
        """The layer's own files, by their names in /etc. Afterwards nothing may be written to it but by its container."""
        for file, text in texts.items():
            place = self.folder(name) / file
            with contextlib.suppress(FileNotFoundError):
                if place.read_bytes() == text.encode():
                    continue  # It served before.
            place.write_text(text)
            place.chmod(0o644)
        self._untouched[name] = self._look(name)

    def give_back(self, name: str, digest: str, hold: Callable[[], int | None]) -> bool:
        """Takes the layer of a removed container in for the next one. False: it is used up, and to be dropped.

        `hold` gives an open file that holds the image, None if it is no more.
        """
        known = self._untouched.get(name)
        if known is None or len(self._spares) >= _SPARE_MAX or self._look(name) != known:
            return False
        image = hold()
        if image is None:
            return False
        with contextlib.suppress(FileNotFoundError):
            (self.folder(name) / "output").unlink()
        loop = asyncio.get_running_loop()
        self._spares.append(_Spare(name=name, digest=digest, image=image, since=loop.time()))
        self._clear_later()
        return True

    def drop(self, name: str) -> None:
        """The layer is no more. Takes the kernel some milliseconds when it is mounted: see `unmount`."""
        self.unmount(name)
        with contextlib.suppress(OSError):
            self.root(name).rmdir()
        self._untouched.pop(name, None)
        self._throw_away(self.folder(name))

    def unmount(self, name: str) -> None:
        """Touches nothing but the mount, so that it may be called on another thread before `drop`."""
        if self.root(name).exists():
            with contextlib.suppress(OSError):
                mounts.unmount(str(self.root(name)))

    def sweep(self, used: set[str]) -> None:
        """Drops those of an earlier agent that no container has."""
        spare = {each.name for each in self._spares}
        for name in {each.name for folder in (self._layers, self._roots) for each in folder.iterdir()} - used - spare:
            self.drop(name)

    def close(self) -> None:
        """Spares go; layers of containers stay."""
        if self._clearing is not None:
            self._clearing.cancel()
            self._clearing = None
        self._drop_spares(0)

    def _make(self, name: str, lower: Path) -> None:
        folder, root = self.folder(name), self.root(name)
        upper, work = folder / "upper", folder / "work"
        folder.mkdir(mode=0o700)
        for each in (root, upper, work):
            each.mkdir()
        found = lower.stat()
        upper.chmod(stat.S_IMODE(found.st_mode))
        os.chown(upper, found.st_uid, found.st_gid)
        options = f"lowerdir={_escaped(lower)},upperdir={_escaped(upper)},workdir={_escaped(work)}{self._marks}"
        try:
            try:
                # `volatile`: a layer does not outlive its instance, so its end need not wait for the disk.
                mounts.mount("overlay", str(root), flags=mounts.NO_DEVICES, options=f"{options},volatile")
            except OSError:
                mounts.mount("overlay", str(root), flags=mounts.NO_DEVICES, options=options)
        except OSError:
            self.drop(name)
            raise

    def _look(self, name: str) -> _Look:
        """Two that are the same tell that nothing has happened in between.

        Whatever is written, renamed, deleted or given another mode in the overlay leaves something in the upper directory, if
        only a change of its own, since the first thing that befalls any file of the image is that it is copied there.
        """
        folder = self.folder(name)
        found = [(folder / each).stat() for each in ("upper", *FILES)]
        looks = tuple((each.st_ctime_ns, each.st_mode, each.st_uid, each.st_gid, each.st_size) for each in found)
        return ((len(os.listdir(folder / "upper")),), *looks)

    def _clear_later(self) -> None:
        if self._clearing is None:
            self._clearing = asyncio.get_running_loop().call_later(_SPARE_SECONDS, self._clear)

    def _clear(self) -> None:
        self._clearing = None
        self._drop_spares(asyncio.get_running_loop().time() - _SPARE_SECONDS)
        if self._spares:
            self._clear_later()

    def _drop_spares(self, before: float) -> None:
        """Those that wait since before that time; 0: all."""
        for spare in [each for each in self._spares if before == 0 or each.since <= before]:
            self._spares.remove(spare)
            self.drop(spare.name)
            os.close(spare.image)


def _escaped(path: Path) -> str:
    text = str(path)
    for special in ("\\", ",", ":"):
        text = text.replace(special, f"\\{special}")
    return text

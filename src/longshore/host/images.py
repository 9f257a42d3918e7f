"""Images on this machine: unpacked once, then shared read only by all that runs from them.

    names/<hash of the name>     which image a name means
    unpacked/<digest>/           rootfs (the lower directory of every container), image.json, lock
    work/<random>/               what is being made or thrown away

Everything appears by one rename, so that a reader, be it an instance that sees the folder read only, finds a whole image or
none, and whoever dies leaves only something in `work`, which the next one clears. `lock` is locked, shared, by whoever runs
containers from the image, and its unpacked tree goes only when nobody does.

Reading and unpacking is left to skopeo and umoci, which know every format and keep an archive's paths inside.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import os
import secrets
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
from msgspec import Struct

from longshore.host.image_names import ImageName, UnpackedImage, parse_name


class ImageError(Exception):
    """An image that can't be had; the text says why."""


class Named(Struct, frozen=True, kw_only=True):
    name: str  # in full: docker.io/library/busybox:latest
    digest: str
    named_at: datetime


Kind = Literal["oci-layout", "oci-archive", "docker-archive", "root-file-system"]

_TAG = "image"  # what the one image of a layout that we make is called in it


class ImageStore:
    """A folder of images. Its calls block: a few file operations for `find` and `path`, as long as it takes for the rest."""

    def __init__(self, folder: Path, *, is_lasting: bool = False) -> None:
        """`is_lasting`: an image that was imported is there after a power failure too."""
        self._folder = folder
        self._is_lasting = is_lasting

    def find(self, name: str) -> UnpackedImage | None:
        """None: it isn't here. ValueError: no name of an image."""
        parsed = parse_name(name)
        digest = self._digest_of(str(parsed)) or parsed.digest
        return self._read(digest) if digest else None

    def rootfs(self, digest: str) -> Path:
        return self._place(digest) / "rootfs"

    def hold(self, digest: str) -> int | None:
        """An open file: as long as it, or what inherits it, is open, the image stays. None: the image has gone.

        Works on a folder that can only be read.
        """
        place = self._place(digest) / "lock"
        try:
            held = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        fcntl.flock(held, fcntl.LOCK_SH)
        # Whoever throws it away moves it first, under the other kind of lock.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(held).st_ino == place.stat().st_ino:
                return held
        os.close(held)
        return None

    def names(self) -> list[Named]:
        """All names, sorted."""
        found = []
        for file in self._names().glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                found.append(msgspec.json.decode(file.read_bytes(), type=Named))
        return sorted(found, key=lambda each: each.name)

    def import_file(self, name: str, file: Path) -> UnpackedImage:
        """An OCI layout (folder or archive), what `docker save` wrote, or a root file system as a tar, under this name.

        ImageError: it is none of these, or broken. ValueError: no name of an image.
        """
        parsed = parse_name(name)
        if parsed.digest:
            raise ImageError(f"an image is imported under a name and tag, not under a digest as in `{name}`")
        if not file.exists():
            raise ImageError(f"there is no file `{file}`")
        kind = kind_of(file)
        with self._work() as work:
            source = work / "source"
            # A path may hold a colon, which skopeo would take for the end of it.
            source.symlink_to(file.resolve())
            layout = work / "layout"
            if kind == "root-file-system":
                _layout_of_root_file_system(source, layout)
            elif kind == "docker-archive":
                _copy(f"docker-archive:{source}{_choice_in_docker_archive(source, parsed)}", layout, work)
            else:
                transport = "oci" if kind == "oci-layout" else "oci-archive"
                _copy(f"{transport}:{source}{_choice_in_layout(source, kind, parsed)}", layout, work)
            image = self._take_in(layout, work, str(parsed))
        self.collect()
        return image

    def pull(self, name: str, *, seconds: float = 600.0) -> UnpackedImage:
        """The image from its registry. ImageError, in words that fit behind `CannotPullContainerError: `."""
        parsed = parse_name(name)
        if not parsed.registry:
            raise ImageError(f"there is no image `{name}` here, and a digest alone does not say where to find it")
        _reach(parsed)
        with self._work() as work:
            layout = work / "layout"
            _copy(f"docker://{parsed}", layout, work, seconds=seconds)
            image = self._take_in(layout, work, str(parsed))
        self.collect()
        return image

    def remove(self, name: str) -> bool:
        """Forgets the name; the files go with the last name and the last container. False: there was no such name."""
        try:
            self._name_file(str(parse_name(name))).unlink()
        except FileNotFoundError:
            return False
        self.collect()
        return True

    def collect(self) -> list[str]:
        """Throws away what has no name and no container, and what the dead left behind. The digests that went."""
        gone = []
        for place in self._unpacked().iterdir() if self._unpacked().is_dir() else ():
            if self._throw_away(place):
                gone.append(f"sha256:{place.name}")
        for place in self._works().iterdir() if self._works().is_dir() else ():
            with _locked(place / "lock") as is_ours:
                if is_ours or _was_left_without_lock(place):
                    _remove_tree(place)
        return sorted(gone)

    def _take_in(self, layout: Path, work: Path, name: str) -> UnpackedImage:
        """The layout's one image, unpacked if it isn't there yet, under the name."""
        digest = _only_manifest(layout)
        # Held from the first moment to the name: an image without a name is thrown away when nobody holds it.
        held = self.hold(digest)
        if held is None:
            held = self._unpack(layout, work, digest)
        try:
            image = self._read(digest)
            assert image is not None
            self._name(name, digest)
        finally:
            os.close(held)
        return image

    def _unpack(self, layout: Path, work: Path, digest: str) -> int:
        """Puts the image among the unpacked ones. The open file that holds it."""
        fresh = work / "fresh"
        fresh.mkdir()
        rootfs = fresh / "rootfs"
        _run(["umoci", "raw", "unpack", *_rootless(), "--image", f"{layout}:{_TAG}", str(rootfs)], "can't be unpacked")
        if rootfs.stat().st_mode & 0o005 != 0o005:
            rootfs.chmod(0o755)  # An archive without an entry for its root says nothing of its mode.
        _make_places(rootfs)
        (fresh / "image.json").write_bytes(msgspec.json.encode(_described(layout, digest, rootfs)))
        held = os.open(fresh / "lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(held, fcntl.LOCK_SH)
        if self._is_lasting:
            _run(["sync", "-f", str(fresh)], "can't be brought to disk")
        place = self._place(digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.rename(place)
        except OSError:
            os.close(held)
            # Another was faster; its image is the same.
            theirs = self.hold(digest)
            if theirs is None:
                raise
            return theirs
        if self._is_lasting:
            _sync_folder(place.parent)
        return held

    def _read(self, digest: str) -> UnpackedImage | None:
        try:
            return msgspec.json.decode((self._place(digest) / "image.json").read_bytes(), type=UnpackedImage)
        except FileNotFoundError:
            return None

    def _digest_of(self, name: str) -> str | None:
        try:
            return msgspec.json.decode(self._name_file(name).read_bytes(), type=Named).digest
        except FileNotFoundError:
            return None

    def _name(self, name: str, digest: str) -> None:
        self._names().mkdir(parents=True, exist_ok=True)
        file = self._name_file(name)
        fresh = file.with_name(f"{file.stem}.{secrets.token_hex(4)}~")
        record = Named(name=name, digest=digest, named_at=datetime.now(UTC))
        with fresh.open("wb") as out:
            out.write(msgspec.json.encode(record))
            if self._is_lasting:
                out.flush()
                os.fsync(out.fileno())
        fresh.rename(file)
        if self._is_lasting:
            _sync_folder(file.parent)

    def _throw_away(self, place: Path) -> bool:
        with _locked(place / "lock") as is_ours:
            # Whoever gives an image a name holds it meanwhile: only now, locked, is it certain that it has none.
            if not is_ours or self._is_named(f"sha256:{place.name}"):
                return False
            with self._work() as work:
                try:
                    place.rename(work / "old")
                except FileNotFoundError:
                    return False
        return True

    def _is_named(self, digest: str) -> bool:
        return any(each.digest == digest for each in self.names())

    @contextlib.contextmanager
    def _work(self) -> Iterator[Path]:
        """A folder for the time of one piece of work, known by its lock to be alive."""
        work = self._works() / secrets.token_hex(8)
        work.mkdir(parents=True, mode=0o700)
        held = os.open(work / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield work
        finally:
            _remove_tree(work)
            os.close(held)

    def _place(self, digest: str) -> Path:
        return self._unpacked() / digest.removeprefix("sha256:")

    def _unpacked(self) -> Path:
        return self._folder / "unpacked"

    def _names(self) -> Path:
        return self._folder / "names"

    def _works(self) -> Path:
        return self._folder / "work"

    def _name_file(self, name: str) -> Path:
        # A name can be longer than a file's may be, and holds slashes.
        return self._names() / f"{hashlib.sha256(name.encode()).hexdigest()}.json"


def kind_of(file: Path) -> Kind:
    """ImageError: neither an image nor a tar."""
    if file.is_dir():
        if (file / "oci-layout").is_file():
            return "oci-layout"
        raise ImageError(f"`{file}` is a folder without an `oci-layout` file; a root file system is imported as a tar")
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                match member.name.removeprefix("./"):
                    # `docker save` of today writes both; the OCI side of it comes first.
                    case "oci-layout":
                        return "oci-archive"
                    case "manifest.json" if _is_docker_manifest(archive, member):
                        return "docker-archive" if not _has(file, "oci-layout") else "oci-archive"
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ImageError(f"`{file}` can't be read as an archive: {error}") from error
    return "root-file-system"


def _is_docker_manifest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    """Not just a file of that name in a root file system."""
    content = archive.extractfile(member) if member.isfile() else None
    try:
        entries = msgspec.json.decode(content.read(), type=list[dict[str, Any]]) if content else []
    except msgspec.MsgspecError:
        return False
    return bool(entries) and all("Layers" in entry and "Config" in entry for entry in entries)


def _has(file: Path, name: str) -> bool:
    with tarfile.open(file) as archive:
        return any(member.name.removeprefix("./") == name for member in archive)


def _choice_in_docker_archive(file: Path, name: ImageName) -> str:
    """How skopeo is told which of the archive's images is meant: nothing if there is but one."""
    entries = msgspec.json.decode(_member(file, "manifest.json"), type=list[dict[str, Any]])
    if len(entries) == 1:
        return ""
    for index, entry in enumerate(entries):
        if str(name) in {str(parse_name(tag)) for tag in entry.get("RepoTags") or ()}:
            return f":@{index}"
    tags = ", ".join(f"`{tag}`" for entry in entries for tag in entry.get("RepoTags") or ())
    raise ImageError(f"the archive has {len(entries)} images and none is called `{name}`; it has {tags}")


def _choice_in_layout(place: Path, kind: Kind, name: ImageName) -> str:
    text = (place / "index.json").read_bytes() if kind == "oci-layout" else _member(place, "index.json")
    entries = msgspec.json.decode(text, type=dict[str, Any]).get("manifests") or ()
    if len(entries) == 1:
        return ""
    called = {str(entry.get("annotations", {}).get("org.opencontainers.image.ref.name", "")) for entry in entries}
    for candidate in (str(name), name.tag or ""):
        if candidate and candidate in called:
            return f":{candidate}"
    tags = ", ".join(f"`{tag}`" for tag in sorted(called))
    raise ImageError(f"the layout has {len(entries)} images and none is called `{name}` or `{name.tag}`; it has {tags}")


def _member(file: Path, name: str) -> bytes:
    with tarfile.open(file) as archive:
        for member in archive:
            if member.name.removeprefix("./") == name and member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                return content.read()
    raise ImageError(f"the archive has no `{name}`")


def _layout_of_root_file_system(file: Path, layout: Path) -> None:
    """An OCI layout of one layer, the archive as it is. Nothing of the day is in it: the same file is the same image."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer = blobs / "layer"
    hashed = hashlib.sha256()
    with _plain(file) as source, layer.open("wb") as out:
        while piece := source.read(1 << 20):
            hashed.update(piece)
            out.write(piece)
    digest = f"sha256:{hashed.hexdigest()}"
    size = layer.stat().st_size
    layer.rename(blobs / hashed.hexdigest())
    config = _blob(
        blobs,
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest]},
        },
    )
    manifest = _blob(
        blobs,
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size}],
        },
    )
    (layout / "oci-layout").write_bytes(b'{"imageLayoutVersion": "1.0.0"}')
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        **manifest,
        "annotations": {"org.opencontainers.image.ref.name": _TAG},
    }
    (layout / "index.json").write_bytes(msgspec.json.encode({"schemaVersion": 2, "manifests": [entry]}))


def _blob(blobs: Path, document: dict[str, Any]) -> dict[str, Any]:
    content = msgspec.json.encode(document, order="deterministic")
    name = hashlib.sha256(content).hexdigest()
    (blobs / name).write_bytes(content)
    return {"digest": f"sha256:{name}", "size": len(content)}


def _plain(file: Path) -> AbstractContextManager[BinaryIO]:
    """The archive without its compression."""
    with file.open("rb") as raw:
        start = raw.read(6)
    for magic, module in ((b"\x1f\x8b", "gzip"), (b"BZh", "bz2"), (b"\xfd7zXZ\x00", "lzma")):
        if start.startswith(magic):
            opened: AbstractContextManager[BinaryIO] = importlib.import_module(module).open(file)
            return opened
    return file.open("rb")


def _only_manifest(layout: Path) -> str:
    index = msgspec.json.decode((layout / "index.json").read_bytes(), type=dict[str, Any])
    return str(index["manifests"][0]["digest"])


def _described(layout: Path, digest: str, rootfs: Path) -> UnpackedImage:
    def blob(name: str) -> dict[str, Any]:
        content = (layout / "blobs" / "sha256" / name.removeprefix("sha256:")).read_bytes()
        return msgspec.json.decode(content, type=dict[str, Any])

    config = blob(blob(digest)["config"]["digest"]).get("config") or {}
    return UnpackedImage(
        digest=digest,
        entry_point=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        environment=tuple(config.get("Env") or ()),
        user=config.get("User") or "",
        working_directory=config.get("WorkingDir") or "",
        stop_signal=config.get("StopSignal") or "",
        passwd=_text_inside(rootfs, "etc/passwd"),
        group=_text_inside(rootfs, "etc/group"),
        size_bytes=_size(rootfs),
    )


_LINKS_MAX = 40  # The kernel's own bound.
_TEXT_MAX = 1 << 20


def _text_inside(root: Path, path: str) -> str:
    """A file of the tree, links followed as the container would follow them: never out of it. "": there is none."""
    waiting = path.split("/")[::-1]
    place: list[str] = []
    links = 0
    while waiting:
        part = waiting.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del place[-1:]
            continue
        here = root.joinpath(*place, part)
        if here.is_symlink():
            links += 1
            if links > _LINKS_MAX:
                return ""
            target = str(here.readlink())
            if target.startswith("/"):
                place = []
            waiting += target.split("/")[::-1]
            continue
        place.append(part)
    found = root.joinpath(*place)
    if not found.is_file() or found.is_symlink():
        return ""
    with found.open("rb") as file:
        return file.read(_TEXT_MAX).decode(errors="replace")


def _make_places(root: Path) -> None:
    """Where every container gets something mounted, as in the layer that Docker puts on each image: made once and not by
    each container anew."""
    for name in ("dev", "etc", "proc", "sys"):
        if not os.path.lexists(root / name):
            (root / name).mkdir(mode=0o755)
    for name in ("hostname", "hosts", "resolv.conf"):
        place = root / "etc" / name
        if (root / "etc").is_dir() and not (root / "etc").is_symlink() and not os.path.lexists(place):
            place.touch(mode=0o644)


def _size(root: Path) -> int:
    total = 0
    for folder, _, files in os.walk(root):
        total += sum(os.lstat(os.path.join(folder, file)).st_size for file in files)
    return total


def _copy(source: str, layout: Path, work: Path, *, seconds: float | None = None) -> None:
    """One image, for this machine's platform, as a layout of its own; skopeo checks all digests on the way."""
    command = ["skopeo", "--insecure-policy", "--tmpdir", str(work)]
    if seconds is not None:
        command += ["--command-timeout", f"{seconds:.0f}s"]
    command += ["copy", "--quiet", "--dest-compress-level", "1", source, f"oci:{layout}:{_TAG}"]
    _run(command, "can't be read")


def _run(command: list[str], trouble: str) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except FileNotFoundError as error:
        raise ImageError(f"the image {trouble}: the program `{command[0]}` is not installed") from error
    if done.returncode != 0:
        raise ImageError(f"the image {trouble}: {_message(done.stderr) or f'exit status {done.returncode}'}")


def _message(output: str) -> str:
    """The last thing a program said, without the frame that Go's loggers put around it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if not lines:
        return ""
    _, found, message = lines[-1].partition('msg="')
    return message.removesuffix('"').replace('\\"', '"') if found else lines[-1]


_REACH_SECONDS = 4.0


def _reach(name: ImageName) -> None:
    """Asks whether the registry is there at all: a machine without a way out is told so at once, not after half a minute.

    Behind a proxy that is for the proxy to say.
    """
    if any(os.environ.get(each) for each in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return
    host, _, port = name.registry.partition(":")
    host = "registry-1.docker.io" if host == "docker.io" else host
    trouble: list[str] = [f"no answer within {_REACH_SECONDS:.0f} s"]

    def connect() -> None:
        try:
            socket.create_connection((host, int(port or 443)), timeout=_REACH_SECONDS).close()
            trouble.clear()
        except OSError as error:
            trouble[:] = [error.strerror or str(error)]

    # The resolver has no time limit that a caller could set, hence a thread that may be left behind.
    asking = threading.Thread(target=connect, daemon=True)
    asking.start()
    asking.join(_REACH_SECONDS)
    if trouble:
        raise ImageError(
            f"image `{name}` is not on this machine and its registry can't be reached ({host}: {trouble[0]}); "
            f"load it with `longshore images import {name} FILE`"
        )


def _rootless() -> list[str]:
    return [] if os.geteuid() == 0 else ["--rootless"]


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[bool]:
    """Whether the lock was free and is ours for the time."""
    try:
        held = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Just made, or just going: whoever does it will be done in a moment.
        yield False
        return
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(held)


_ABANDONED_SECONDS = 60.0


def _was_left_without_lock(place: Path) -> bool:
    """Whether its maker died between making the folder and locking it."""
    with contextlib.suppress(FileNotFoundError):
        return not (place / "lock").exists() and time.time() - place.stat().st_mtime > _ABANDONED_SECONDS
    return False


def _remove_tree(place: Path) -> None:
    """Also what an image has forbidden to be changed, as far as we may."""
    shutil.rmtree(place, ignore_errors=True)
    if place.exists():
        place.chmod(0o700)
        for folder, below, _ in os.walk(place):
            for name in below:  # before the walk comes to them
                if not os.path.islink(os.path.join(folder, name)):
                    os.chmod(os.path.join(folder, name), 0o700)
        shutil.rmtree(place)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

"""A backup: one file with the database as it was at one moment and the keys without which it can't be read.

    manifest.json               what is in it: size and SHA-256 of each file, revision of the tables
    longshore.db                a snapshot; what was acknowledged before the backup began is in it
    sealing.key ...             the keys that live beside the database

A tar, of mode 0600. It holds every secret of the house: whoever can read it can open what is sealed.

A backup is read through a connection of its own, so that the server neither stops nor waits. It appears under its name
whole or not at all. A restore puts nothing in place before all has been checked; as long as it is at work, or when it was
cut short, the folder has a folder `restoring` and no server starts from it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import secrets
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, BinaryIO

import msgspec
from msgspec import Struct

from longshore.store.migrate import REVISION
from longshore.store.witness import LogIsTorn, Witness

DATABASE = "longshore.db"
_KEYS = ("sealing.key", "identity-document-key.pem", "root-credentials.json")
# Without the first, `up` would make again what a user took away; the second is there once accounts were added.
_MARKS = ("defaults-written", "account-credentials.json")
_NAMES = (DATABASE, *_KEYS, *_MARKS)
_MANIFEST = "manifest.json"
_MANIFEST_BYTES_MAX = 65_536
_FORMAT = 1
_CHUNK = 1024 * 1024
RESTORING = "restoring"


class BackupError(Exception):
    """Why there is no backup, or nothing was restored, in words for the one who asked."""


class Held(Struct, frozen=True):
    size: int
    sha256: str


class Manifest(Struct, frozen=True, kw_only=True):
    format: int
    version: str  # of the Longshore that wrote it
    revision: int  # of the tables
    made_at: datetime
    files: dict[str, Held]


def back_up(state: Path, file: Path) -> Manifest:
    """Writes the file, while a server runs or when none does. BackupError: there is no such file then."""
    try:
        _check_places(state, file)
        with _snapshot(state / DATABASE, file.parent) as (database, revision):
            # The keys are older than all that they have sealed, so those of after the snapshot serve.
            contents: dict[str, BinaryIO] = {DATABASE: database}
            for name in _KEYS:
                contents[name] = io.BytesIO((state / name).read_bytes())
            for name in _MARKS:
                if (state / name).exists():
                    contents[name] = io.BytesIO((state / name).read_bytes())
            manifest = Manifest(
                format=_FORMAT,
                version=version("longshore"),
                revision=revision,
                made_at=datetime.now(UTC),
                files={name: _measure(content) for name, content in contents.items()},
            )
            with _appearing(file) as whole:
                _write(whole, manifest, contents)
    except FileExistsError as error:
        raise BackupError(f"`{file}` is there already, and a backup overwrites nothing") from error
    except FileNotFoundError as error:
        raise BackupError(f"`{error.filename}` is missing: no server has got as far as to make it") from error
    except OSError as error:
        raise BackupError(f"can't back up `{state}` to `{file}`: {error.strerror}") from error
    except sqlite3.Error as error:
        raise BackupError(f"can't read `{state / DATABASE}`: {error}") from error
    except LogIsTorn as error:
        raise BackupError(str(error)) from error
    return manifest


def _check_places(state: Path, file: Path) -> None:
    if not (state / DATABASE).exists() or (state / RESTORING).exists():
        raise BackupError(f"no server has kept anything in `{state}`: there is no database")
    if file.exists() or file.is_symlink():
        raise BackupError(f"`{file}` is there already, and a backup overwrites nothing")
    if not file.parent.is_dir():
        raise BackupError(f"there is no folder `{file.parent}`")


@contextlib.contextmanager
def _snapshot(path: Path, folder: Path) -> Iterator[tuple[BinaryIO, int]]:
    """(the database as it is now, the revision of its tables); in a file without a name in `folder`."""
    draft = folder / f".longshore-{secrets.token_hex(8)}"
    handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "r+b") as file:
        try:
            target = sqlite3.connect(draft, isolation_level=None)
        finally:
            # SQLite has it open. Without a name from here on: whoever kills this process leaves nothing behind.
            draft.unlink()
        with contextlib.closing(target):
            target.execute("PRAGMA journal_mode=OFF")
            target.execute("PRAGMA synchronous=OFF")
            Witness(path).check()
            with contextlib.closing(_read_only(path)) as source:
                # One transaction: in WAL mode it sees one moment, and holds up nobody who writes.
                source.execute("BEGIN")
                _check(source, "quick_check", path)
                (revision,) = source.execute("PRAGMA user_version").fetchone()
                source.backup(target, pages=-1)
                source.execute("COMMIT")
        yield file, revision


def _read_only(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA busy_timeout=10000")
    return connection


def _check(connection: sqlite3.Connection, pragma: str, path: Path) -> None:
    (found,) = connection.execute(f"PRAGMA {pragma}(1)").fetchone()
    if found != "ok":
        raise BackupError(f"`{path}` is damaged: {found}")


def _measure(content: BinaryIO) -> Held:
    digest = hashlib.sha256()
    size = 0
    content.seek(0)
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    content.seek(0)
    return Held(size, digest.hexdigest())


def _write(whole: BinaryIO, manifest: Manifest, contents: dict[str, BinaryIO]) -> None:
    described = msgspec.json.encode(manifest)
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, size, content in (
            (_MANIFEST, len(described), io.BytesIO(described)),
            *((name, manifest.files[name].size, content) for name, content in contents.items()),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = size, 0o600, int(manifest.made_at.timestamp())
            tar.addfile(member, content)


@contextlib.contextmanager
def _appearing(file: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when the block has ended well. FileExistsError: the name was taken meanwhile."""
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        draft: Path | None = None
        try:
            handle = os.open(file.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:  # NFS, for one, has no files without a name.
            draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
            handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "r+b") as whole:
                yield whole
                whole.flush()
                os.fsync(whole.fileno())
                # `src_dir_fd` counts for nothing beside an absolute path, but has linkat(2) called: link(2) follows no link.
                os.link(draft or f"/proc/self/fd/{whole.fileno()}", file, src_dir_fd=folder, follow_symlinks=True)
                os.fsync(folder)
        finally:
            if draft is not None:
                draft.unlink(missing_ok=True)
    finally:
        os.close(folder)


def restore(file: Path, state: Path) -> Manifest:
    """Puts what the file holds into a folder without a database or a server. BackupError: nothing was put in place."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        state.chmod(0o700)
        with _held(state / "lock", "server"), _held(state / "supervisor.lock", "supervisor"):
            _make_room(state)
            draft = state / RESTORING
            draft.mkdir(mode=0o700)
            try:
                manifest = _unpack(file, draft)
                _check_database(draft / DATABASE, manifest)
            except BaseException:
                shutil.rmtree(draft)
                raise
            _put_in_place(draft, state, manifest)
    except OSError as error:
        raise BackupError(f"can't restore into `{state}`: {error.strerror}: `{error.filename}`") from error
    return manifest


@contextlib.contextmanager
def _held(path: Path, who: str) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise BackupError(f"a {who} has the state folder `{path.parent}`") from error
    finally:
        os.close(handle)


def _make_room(state: Path) -> None:
    """Takes away what a restore that was cut short has left. BackupError: something else is there."""
    if (state / RESTORING).exists():
        # Invariant: it began in a folder without any of the names, and no server has started since: they are its own.
        for name in _NAMES:
            (state / name).unlink(missing_ok=True)
        shutil.rmtree(state / RESTORING)
        return
    for name in (*_NAMES, f"{DATABASE}-wal", f"{DATABASE}-journal", f"{DATABASE}-witness"):
        if (state / name).exists():
            raise BackupError(f"`{state / name}` is there already, and a restore overwrites nothing")


def _unpack(file: Path, draft: Path) -> Manifest:
    """The files of the backup, each as the manifest says. BackupError: it is no backup, or not whole."""
    try:
        with tarfile.open(file, "r:") as tar:
            manifest = _manifest(tar, file)
            for name, expected in manifest.files.items():
                member = tar.next()
                if member is None or member.name != name or not member.isfile() or member.size != expected.size:
                    raise BackupError(f"`{file}` is damaged: `{name}` is not where it should be")
                content = tar.extractfile(member)
                assert content is not None
                if _copy(content, draft / name) != expected:
                    raise BackupError(f"`{file}` is damaged: `{name}` is not what was written")
            if tar.next() is not None:
                raise BackupError(f"`{file}` has more in it than a backup has")
    except tarfile.TarError as error:
        raise BackupError(f"`{file}` is no backup, or not a whole one: {error}") from error
    return manifest


def _manifest(tar: tarfile.TarFile, file: Path) -> Manifest:
    first = tar.next()
    if first is None or first.name != _MANIFEST or not first.isfile() or first.size > _MANIFEST_BYTES_MAX:
        raise BackupError(f"`{file}` is no backup of Longshore: it doesn't begin with a `{_MANIFEST}`")
    content = tar.extractfile(first)
    assert content is not None
    try:
        manifest = msgspec.json.decode(content.read(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise BackupError(f"`{file}` is no backup of Longshore: its manifest can't be read: {error}") from error
    if manifest.format != _FORMAT or manifest.revision > REVISION:
        raise BackupError(f"`{file}` was written by Longshore {manifest.version}, a later one; use that")
    if not {DATABASE, *_KEYS} <= manifest.files.keys() <= set(_NAMES):
        raise BackupError(f"`{file}` is no backup of Longshore: it has {', '.join(sorted(manifest.files))}")
    return manifest


def _copy(content: IO[bytes], path: Path) -> Held:
    digest = hashlib.sha256()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as made:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            made.write(chunk)
        made.flush()
        os.fsync(made.fileno())
        return Held(made.tell(), digest.hexdigest())


def _check_database(path: Path, manifest: Manifest) -> None:
    try:
        # Immutable: no log beside it is looked for, and none is made.
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
            _check(connection, "integrity_check", path)
            (revision,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"the database of the backup can't be read: {error}") from error
    if revision != manifest.revision or not revision:
        raise BackupError(
            f"the database of the backup is of revision {revision}, its manifest says {manifest.revision}"
        )


def _put_in_place(draft: Path, state: Path, manifest: Manifest) -> None:
    """No server starts while `draft` is there, so it goes last, when all the rest is on the disk."""
    for name in manifest.files:
        (draft / name).rename(state / name)
    _sync(state)
    draft.rmdir()
    _sync(state)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

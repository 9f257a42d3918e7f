"""Keys that live beside the database, never in it: mode 0600, written once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from longshore.aws.ids import Ids
from longshore.kit.sealing import IdentityDocuments, Sealer, new_identity_document_key

_OF_ACCOUNTS = "account-credentials.json"
_ROOT_ID = "LONGSHORE_ROOT_ACCESS_KEY_ID"
_ROOT_SECRET = "LONGSHORE_ROOT_SECRET_ACCESS_KEY"


class RootKeys(msgspec.Struct, frozen=True):
    access_key_id: str
    secret_access_key: str


class HalfGiven(Exception):
    """One of the two environment variables of the root keys is set, and the other is not."""


def root_keys(state: Path | None, ids: Ids, account: str) -> RootKeys:
    """From the environment, which is scrubbed of them so that no child inherits them; else made once and kept."""
    access_key_id, secret = os.environ.pop(_ROOT_ID, None), os.environ.pop(_ROOT_SECRET, None)
    if (access_key_id is None) != (secret is None):
        raise HalfGiven(f"`{_ROOT_ID}` and `{_ROOT_SECRET}` are set together or not at all")
    if access_key_id and secret:
        made = RootKeys(access_key_id, secret)
        if state is not None:
            # `longshore env` shows the keys that the server takes now.
            replace_file(state / "root-credentials.json", msgspec.json.encode(made))
        return made
    fresh = msgspec.json.encode(RootKeys(ids.access_key_id("AKIA", account), ids.secret()))
    if state is None:
        return msgspec.json.decode(fresh, type=RootKeys)
    return msgspec.json.decode(_kept(state / "root-credentials.json", lambda: fresh), type=RootKeys)


def read_root_keys(state: Path) -> RootKeys | None:
    """What a server of this state folder takes; None: none has been started yet."""
    try:
        return msgspec.json.decode((state / "root-credentials.json").read_bytes(), type=RootKeys)
    except FileNotFoundError:
        return None


def read_account_keys(state: Path) -> dict[str, RootKeys]:
    """Account number -> its root key, of those that were added here; the first account's is not among them."""
    try:
        return msgspec.json.decode((state / _OF_ACCOUNTS).read_bytes(), type=dict[str, RootKeys])
    except FileNotFoundError:
        return {}


def keep_account_keys(state: Path, account: str, made: RootKeys) -> None:
    """Beside those that are kept already, whoever else adds an account at the same time."""
    folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        replace_file(state / _OF_ACCOUNTS, msgspec.json.encode({**read_account_keys(state), account: made}))
    finally:
        os.close(folder)


def sealer(state: Path | None) -> Sealer:
    return Sealer(os.urandom(32) if state is None else _kept(state / "sealing.key", lambda: os.urandom(32)))


def identity_documents(state: Path | None) -> IdentityDocuments:
    if state is None:
        return IdentityDocuments(new_identity_document_key())
    return IdentityDocuments(_kept(state / "identity-document-key.pem", new_identity_document_key))


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        replace_file(path, make())
        return path.read_bytes()


def replace_file(path: Path, content: bytes) -> None:
    """Whole or not at all, also when the machine dies in between."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)

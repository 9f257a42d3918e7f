"""The managed policies that AWS itself keeps: data, read when first asked for.

Those that Batch, ECS, EC2 and their users meet stand by themselves, `managed_policies/*.json` with ARN, version, dates and
document of each. All others are in `managed_policies.zip`: an index, and the documents in blocks of some forty. Both are
brought up to date by `scripts/refresh-managed-policies`; what stands by itself goes before what is in the archive.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib import resources

import msgspec

from longshore.services.iam.records import Policy, PolicyVersion

_PREFIX = "arn:aws:iam::aws:policy"
_ROOM = resources.files("longshore.services.iam")
_FOLDER = _ROOM / "managed_policies"
_ARCHIVE = _ROOM / "managed_policies.zip"


class _File(msgspec.Struct, frozen=True):
    arn: str
    version: str  # "v10"
    created: datetime
    updated: datetime
    document: msgspec.Raw


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """A line of the archive's index."""

    arn: str
    version: str
    created: datetime
    updated: datetime
    block: str  # the member that holds the document, by the policy's name


_INDEX = msgspec.json.Decoder(list[_Entry])
_BLOCK = msgspec.json.Decoder(dict[str, msgspec.Raw])


def is_aws_managed(policy_arn: str) -> bool:
    return policy_arn.startswith(_PREFIX + "/")


@lru_cache(1024)
def find(policy_arn: str) -> Policy | None:
    """None: AWS keeps no such policy."""
    if not is_aws_managed(policy_arn):
        return None
    by_hand = _FOLDER / f"{policy_arn.rsplit('/', 1)[1]}.json"
    if by_hand.is_file():
        policy = _of_file(by_hand.read_bytes())
        return policy if policy.arn == policy_arn else None
    entry = _index().get(policy_arn)
    if entry is None:
        return None
    return _policy(entry, _document(_block(entry.block)[policy_arn.rsplit("/", 1)[1]]))


def listed() -> tuple[Policy, ...]:
    """All of them with their documents, by name. It takes a while: see `headers`."""
    return tuple(found for each in headers() if (found := find(each.arn)) is not None)


@cache
def headers() -> tuple[Policy, ...]:
    """All of them by name, without their versions' documents: `versions` is empty."""
    found = {arn: _policy(entry, None) for arn, entry in _index().items()}
    for path in _FOLDER.iterdir():
        if path.name.endswith(".json"):
            policy = _of_file(path.read_bytes())
            found[policy.arn] = msgspec.structs.replace(policy, versions=())
    return tuple(sorted(found.values(), key=lambda policy: policy.name.lower()))


@cache
def _index() -> Mapping[str, _Entry]:
    return {entry.arn: entry for entry in _INDEX.decode(_member("index.json"))}


@lru_cache(8)
def _block(name: str) -> Mapping[str, msgspec.Raw]:
    return _BLOCK.decode(_member(name))


def _member(name: str) -> bytes:
    with _ARCHIVE.open("rb") as file, zipfile.ZipFile(file) as archive:
        return archive.read(name)


def _of_file(text: bytes) -> Policy:
    file = msgspec.json.decode(text, type=_File)
    return _policy(file, _document(file.document))


def _document(raw: msgspec.Raw) -> str:
    return msgspec.json.encode(msgspec.json.decode(raw)).decode()  # Without white space.


def _policy(entry: _File | _Entry, document: str | None) -> Policy:
    path, _, name = entry.arn.removeprefix(_PREFIX).rpartition("/")
    number = int(entry.version.removeprefix("v"))
    updated = entry.updated.astimezone(UTC)
    version = PolicyVersion(number=number, document=document, created_at=updated) if document is not None else None
    return Policy(
        name=name,
        path=path + "/",
        policy_id=_policy_id(name),
        arn=entry.arn,
        created_at=entry.created.astimezone(UTC),
        updated_at=updated,
        versions=(version,) if version is not None else (),
        default_number=number,
        next_number=number + 1,
    )


def _policy_id(name: str) -> str:
    """An id in AWS's form, the same in every house. AWS's own ids are in no public list of these policies."""
    return "ANPA" + base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()[:17]

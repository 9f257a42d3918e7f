"""The managed policies that AWS itself keeps: data, read when first asked for.

`managed_policies/*.json` hold ARN, version, dates and document of each.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from longshore.services.iam.records import Policy, PolicyVersion

_PREFIX = "arn:aws:iam::aws:policy"


class _File(msgspec.Struct, frozen=True):
    arn: str
    version: str  # "v10"
    created: datetime
    updated: datetime
    document: dict[str, Any]


def is_aws_managed(policy_arn: str) -> bool:
    return policy_arn.startswith(_PREFIX + "/")


@cache
def find(policy_arn: str) -> Policy | None:
    """None: AWS keeps no such policy, or Longshore does not have it."""
    if not is_aws_managed(policy_arn):
        return None
    folder = resources.files("longshore.services.iam") / "managed_policies"
    entry = folder / f"{policy_arn.rsplit('/', 1)[1]}.json"
    if not entry.is_file():
        return None
    policy = _policy(msgspec.json.decode(entry.read_bytes(), type=_File))
    return policy if policy.arn == policy_arn else None


@cache
def listed() -> tuple[Policy, ...]:
    folder = resources.files("longshore.services.iam") / "managed_policies"
    entries = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".json")), key=lambda each: each.name.lower()
    )
    return tuple(_policy(msgspec.json.decode(entry.read_bytes(), type=_File)) for entry in entries)


def _policy(file: _File) -> Policy:
    path, _, name = file.arn.removeprefix(_PREFIX).rpartition("/")
    number = int(file.version.removeprefix("v"))
    document = msgspec.json.encode(file.document).decode()
    return Policy(
        name=name,
        path=path + "/",
        policy_id=_policy_id(name),
        arn=file.arn,
        created_at=file.created.astimezone(UTC),
        updated_at=file.updated.astimezone(UTC),
        versions=(PolicyVersion(number=number, document=document, created_at=file.updated.astimezone(UTC)),),
        default_number=number,
        next_number=number + 1,
    )


def _policy_id(name: str) -> str:
    """An id in AWS's form, the same in every house. AWS's own ids are in no public list of these policies."""
    return "ANPA" + base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()[:17]

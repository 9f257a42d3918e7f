"""What is kept of identities and policies."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from msgspec import Struct


class Role(Struct, frozen=True, kw_only=True):
    name: str
    path: str
    role_id: str  # AROA...
    arn: str
    created_at: datetime
    trust: str  # the document as it was sent
    trusted_ids: dict[str, str] = {}  # ARN of a user or role in it -> the unique id that it had when it was written
    description: str | None = None
    max_session_seconds: int | None = None  # None: never set; it is an hour then
    boundary_arn: str | None = None
    tags: dict[str, str] = {}
    inline: dict[str, str] = {}  # policy name -> document
    attached: tuple[str, ...] = ()  # ARNs of managed policies, in the order of attaching
    service: str | None = None  # of a service-linked role: whose it is


class User(Struct, frozen=True, kw_only=True):
    name: str
    path: str
    user_id: str  # AIDA...
    arn: str
    created_at: datetime
    boundary_arn: str | None = None
    tags: dict[str, str] = {}
    inline: dict[str, str] = {}
    attached: tuple[str, ...] = ()


class Group(Struct, frozen=True, kw_only=True):
    """Who is in it is kept apart (`store.members_of`): members come and go without a change of the group itself."""

    name: str
    path: str
    group_id: str  # AGPA...
    arn: str
    created_at: datetime
    inline: dict[str, str] = {}
    attached: tuple[str, ...] = ()


class InstanceProfile(Struct, frozen=True, kw_only=True):
    name: str
    path: str
    profile_id: str  # AIPA...
    arn: str
    created_at: datetime
    role_name: str | None = None  # None: it has none; a profile has one at most
    tags: dict[str, str] = {}


class PolicyVersion(Struct, frozen=True, kw_only=True):
    number: int
    document: str
    created_at: datetime


class Policy(Struct, frozen=True, kw_only=True):
    """A managed policy. `versions` oldest first; numbers are never given twice."""

    name: str
    path: str
    policy_id: str  # ANPA...
    arn: str
    created_at: datetime
    updated_at: datetime
    versions: tuple[PolicyVersion, ...]
    default_number: int
    next_number: int = 2
    description: str | None = None
    tags: dict[str, str] = {}

    def version(self, version_id: str) -> PolicyVersion | None:
        return next((each for each in self.versions if f"v{each.number}" == version_id), None)

    @property
    def default_document(self) -> str:
        return next(each.document for each in self.versions if each.number == self.default_number)


class AccessKey(Struct, frozen=True, kw_only=True):
    access_key_id: str
    user_name: str
    sealed_secret: bytes
    is_active: bool
    created_at: datetime


Holder = TypeVar("Holder", Role, User, Group)  # of policies, attached or inline

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


class Login(Struct, frozen=True, kw_only=True):
    """A user's password, for a console."""

    created_at: datetime
    changed_at: datetime
    sealed_hash: bytes  # the sealed scrypt hash: a copy of the database alone gives nothing to guess against
    earlier: tuple[bytes, ...] = ()  # of passwords before it, the newest first: for PasswordReusePrevention
    must_reset: bool = False
    session_seconds_max: int | None = None  # MaxSigninSessionDuration


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
    login: Login | None = None  # None: no password


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


class PasswordPolicy(Struct, frozen=True, kw_only=True):
    """What the account asks of its users' passwords."""

    length_min: int = 6
    symbols: bool = False
    numbers: bool = False
    uppercase: bool = False
    lowercase: bool = False
    users_may_change: bool = False
    age_days_max: int | None = None  # None: passwords do not grow old
    reuse_prevention: int | None = None  # how many passwords back may not come again
    hard_expiry: bool | None = None


class CredentialReport(Struct, frozen=True, kw_only=True):
    content: str  # CSV
    generated_at: datetime


class AccountFacts(Struct, frozen=True, kw_only=True):
    """What is kept of the account as a whole."""

    alias: str | None = None
    password_policy: PasswordPolicy | None = None  # None: AWS's default holds
    credential_report: CredentialReport | None = None


class Use(Struct, frozen=True, kw_only=True):
    """The last time that a principal called an action, or that a key was used for anything."""

    at: int  # epoch milliseconds
    service: str  # "ecs"
    region: str
    principal_id: str = ""  # AIDA, AROA; empty: of a key
    action: str = ""  # "ListClusters"


Holder = TypeVar("Holder", Role, User, Group)  # of policies, attached or inline

"""The documents that hang on a user, a group or a role, each with the name by which the policy simulator tells it.

Beside `entitlements`, which compiles them for decisions; here nothing is cached.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from longshore.policy.simulate import BOUNDARY, IDENTITY, Source
from longshore.services.iam import entitlements, managed, store
from longshore.services.iam.records import Group, Role, User
from longshore.store.engine import Transaction

Holder = User | Group | Role
HolderKind = Literal["user", "group", "role"]


class Attached(Struct, frozen=True):
    """One document of a holder. `arn` None: it is an inline policy."""

    source: Source
    name: str
    arn: str | None
    holder_kind: HolderKind
    holder_name: str

    @property
    def kind(self) -> str:
        """As a PolicyExclusionList names it."""
        if self.arn is None:
            return "inline"
        return "aws-managed" if managed.is_aws_managed(self.arn) else "user-managed"


def kind_of(holder: Holder) -> HolderKind:
    return "user" if isinstance(holder, User) else "group" if isinstance(holder, Group) else "role"


def find(transaction: Transaction, account: str, kind: str, name: str) -> Holder | None:
    if kind == "user":
        return store.find(transaction, User, account, name)
    if kind == "group":
        return store.find(transaction, Group, account, name)
    return store.find(transaction, Role, account, name) if kind == "role" else None


def identity(transaction: Transaction, account: str, holder: Holder) -> list[Attached]:
    """All identity-based policies that count for the holder: a user's groups' too, a policy that several hold once."""
    holders = [holder]
    if isinstance(holder, User):
        holders += store.groups_of(transaction, account, holder)
    found = [each for one in holders for each in _of(transaction, account, one)]
    return list({each.arn or each.source.policy_id: each for each in reversed(found)}.values())[::-1]


def _of(transaction: Transaction, account: str, holder: Holder) -> Iterator[Attached]:
    kind = kind_of(holder)
    for name, text in holder.inline.items():
        # Recorded (2020): the simulator names inline policies so.
        source = Source(f"{kind}_{holder.name}_{name}", IDENTITY, text)
        yield Attached(source, name, None, kind, holder.name)
    for arn in holder.attached:
        policy = entitlements.find_policy(transaction, account, arn)
        if policy is not None:
            source = Source(policy.name, IDENTITY, policy.default_document)
            yield Attached(source, policy.name, arn, kind, holder.name)


def boundary(transaction: Transaction, account: str, holder: Holder) -> Source | None:
    """The permissions boundary. One whose policy is gone allows nothing."""
    if isinstance(holder, Group) or holder.boundary_arn is None:
        return None
    policy = entitlements.find_policy(transaction, account, holder.boundary_arn)
    text = policy.default_document if policy is not None else '{"Statement": []}'
    return Source(holder.boundary_arn.rsplit("/", 1)[1], BOUNDARY, text)

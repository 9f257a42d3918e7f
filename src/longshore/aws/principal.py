"""Who calls. Made from verified credentials, or by the house itself for a service that acts for its customer."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

PrincipalKind = Literal["root", "user", "assumed-role", "federated-user", "service"]


class Principal(Struct, frozen=True, kw_only=True):
    """One identity. `arn` is the ARN that AWS names in messages: the user's, or the session's (without the role's path)."""

    kind: PrincipalKind
    account: str
    arn: str  # root: arn:aws:iam::ACCT:root; service: the service principal itself, `batch.amazonaws.com`
    user_id: str  # AIDA..., AROA...:session, the account id of a root user
    access_key_id: str | None = None  # None: no credentials were shown (a service of the house)
    user_name: str | None = None  # of a user only
    role_arn: str | None = None  # of a role session only, with the role's path
    role_id: str | None = None  # AROA...
    session_name: str | None = None
    session_policies: tuple[str, ...] = ()  # JSON documents; each narrows the session
    session_tags: tuple[tuple[str, str], ...] = ()
    transitive_tag_keys: tuple[str, ...] = ()
    source_identity: str | None = None
    multi_factor: bool | None = None  # None: the key is absent from the context (long-term keys)
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    assumed_by: str | None = None  # who took the role: a service principal such as `ec2.amazonaws.com`, or an ARN
    assumed_by_id: str | None = None  # of a federated user: the AIDA... of the user for whom it stands
    # Only in credentials that the metadata service handed out.
    source_instance_arn: str | None = None
    source_vpc: str | None = None
    source_private_ip: str | None = None

    @property
    def is_service(self) -> bool:
        return self.kind == "service"


def root(account: str, access_key_id: str | None = None) -> Principal:
    return Principal(
        kind="root", account=account, arn=f"arn:aws:iam::{account}:root", user_id=account, access_key_id=access_key_id
    )


def service(name: str, account: str) -> Principal:
    """A service of the house, such as `batch.amazonaws.com`, acting in `account`."""
    return Principal(kind="service", account=account, arn=name, user_id=name)

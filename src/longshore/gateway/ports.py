"""What the gateway asks and tells. The rooms that answer are named in server.py alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct

from longshore.aws.principal import Principal
from longshore.policy.document import Document
from longshore.policy.evaluate import Policies
from longshore.store.engine import Transaction


class Identities(Protocol):
    def find(
        self, transaction: Transaction, access_key_id: str, token: str | None, now: datetime
    ) -> tuple[Principal, str]:
        """Whose key it is, and its secret. AwsError InvalidClientTokenId, ExpiredToken."""
        ...


class Entitlements(Protocol):
    def policies_of(self, transaction: Transaction, principal: Principal) -> Policies: ...

    def is_there(self, transaction: Transaction, principal: Principal) -> bool:
        """False: a session whose user or role is gone."""
        ...

    def service_control_of(self, transaction: Transaction, account: str) -> tuple[tuple[Document, ...], ...]:
        """Level by level; empty: the account has none."""
        ...

    def trust_policy_of(self, transaction: Transaction, role_arn: str) -> Document | None:
        """None: there is no such role."""
        ...

    def principal_tags(self, transaction: Transaction, principal: Principal) -> Mapping[str, str]: ...

    def role_tags(self, transaction: Transaction, role_arn: str) -> Mapping[str, str]:
        """Of the role that is to be assumed; none: there is no such role."""
        ...


class TrailEntry(Struct, frozen=True, kw_only=True):
    """One call, as it will be looked up. `error_code` None: it was answered."""

    time: datetime
    request_id: str
    principal: Principal
    service: str  # "ecs"
    operation: str
    region: str
    source_ip: str
    user_agent: str
    read_only: bool
    resource: str | None = None  # the first that was asked about
    error_code: str | None = None
    error_message: str | None = None
    invoked_by: str | None = None  # the service that called for the principal
    request: Mapping[str, Any] | None = None  # as the service model names its members; None: it could not be read
    response: Mapping[str, Any] | None = None  # of a call that changed something


class Trail(Protocol):
    def record(self, entry: TrailEntry) -> None:
        """Keeps the entry: a refusal at once, the rest within a second. Never waits."""
        ...


RefusalDetail = Mapping[str, Any]

"""What the calls that are made tell of keys, users and roles: when each was last used, and for what.

The room of the trail hands over what it keeps, in the transaction that keeps it and so off the way of every answer: this is
one of those who hear it (wired in `server/assemble.py`). Refused calls count too, as at AWS.

Source: IAM user guide, "Refining permissions in AWS using last accessed information".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from longshore.aws.clock import milliseconds
from longshore.aws.principal import Principal
from longshore.services.iam import store
from longshore.services.iam.records import Use
from longshore.store.engine import Transaction


class Entry(Protocol):
    """One call; what is asked of the trail's own entries here."""

    @property
    def time(self) -> datetime: ...
    @property
    def principal(self) -> Principal: ...
    @property
    def service(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def region(self) -> str: ...


def observe(transaction: Transaction, entries: Iterable[Entry]) -> None:
    """Keeps the last use of each principal, action and key among the entries."""
    of_principals: dict[tuple[str, str, str, str], tuple[str, Use]] = {}
    of_keys: dict[str, Use] = {}
    for entry in entries:
        principal = entry.principal
        principal_id = _unique_id(principal)
        at = milliseconds(entry.time)
        if principal_id is not None:
            key = (principal.account, principal_id, entry.service, entry.operation)
            known = of_principals.get(key)
            if known is None or known[1].at <= at:
                use = Use(
                    at=at,
                    service=entry.service,
                    region=entry.region,
                    principal_id=principal_id,
                    action=entry.operation,
                )
                of_principals[key] = principal.account, use
        if principal.access_key_id and principal.issued_at is None and principal.kind in ("user", "root"):
            last = of_keys.get(principal.access_key_id)
            if last is None or last.at <= at:
                of_keys[principal.access_key_id] = Use(at=at, service=entry.service, region=entry.region)
    if of_principals or of_keys:
        store.keep_uses(transaction, of_principals.values(), of_keys)


def _unique_id(principal: Principal) -> str | None:
    """Of the user or the role. None: a root user, a federated one or a service, for which nothing is kept."""
    if principal.kind == "user":
        return principal.user_id
    return principal.role_id if principal.kind == "assumed-role" else None

"""The accounts of this server, and the service control policies of each; with their SQL.

The first account is a setting, and its root key lives beside the database: it is here only when service control policies
were given to it. The others are made here, each with a root key whose secret is sealed.

Source: Organizations user guide, "Service control policies": every level from the root down to the account must allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Column, LargeBinary, String, Table, bindparam, delete, insert, select

from longshore.kit.call import Call
from longshore.policy.document import Document, parse
from longshore.services.iam import store
from longshore.store.engine import Transaction
from longshore.store.statement import METADATA, Statement

PURPOSE = "root-key"  # what the secret of an account's root key is sealed for
_CACHED_MAX = 20_000

Levels = tuple[tuple[Document, ...], ...]


class ControlPolicy(Struct, frozen=True):
    name: str
    document: str


class Account(Struct, frozen=True, kw_only=True):
    account: str
    name: str
    created_at: datetime
    root_key_id: str | None = None  # None: the first account, whose key lives beside the database
    sealed_secret: bytes = b""
    controls: tuple[tuple[ControlPolicy, ...], ...] = ()  # of each level, the account's own last; none: all is allowed


accounts = Table(
    "iam_accounts",
    METADATA,
    Column("account", String, primary_key=True),
    Column("root_key_id", String, index=True),
    Column("document", LargeBinary, nullable=False),
)

_FIND = Statement(select(accounts.c.document).where(accounts.c.account == bindparam("account")))
_BY_KEY = Statement(select(accounts.c.document).where(accounts.c.root_key_id == bindparam("root_key_id")))
_LIST = Statement(select(accounts.c.document).order_by(accounts.c.account))
_ADD = Statement(
    insert(accounts).values(
        account=bindparam("account"), root_key_id=bindparam("root_key_id"), document=bindparam("document")
    )
)
_DROP = Statement(delete(accounts).where(accounts.c.account == bindparam("account")))
_DECODER = msgspec.json.Decoder(Account)

# (account, identity version) -> its levels, compiled
_controls: dict[tuple[str, int], Levels] = {}


def find(transaction: Transaction, account: str) -> Account | None:
    """None: it is the first one, without service control policies, or there is none of that number."""
    row = transaction.one(_FIND, account=account)
    return _DECODER.decode(row[0]) if row else None


def find_by_root_key(transaction: Transaction, access_key_id: str) -> Account | None:
    row = transaction.one(_BY_KEY, root_key_id=access_key_id)
    return _DECODER.decode(row[0]) if row else None


def is_here(call: Call, account: str) -> bool:
    """Whether it is an account of this server, the caller's own among them."""
    first = call.house.settings.account
    return account in (call.account, first) or find(call.transaction, account) is not None


def listed(transaction: Transaction) -> list[Account]:
    """By number."""
    return [_DECODER.decode(document) for (document,) in transaction.all(_LIST)]


def keep(transaction: Transaction, account: Account) -> None:
    document = msgspec.json.encode(account)
    transaction.run(_DROP, account=account.account)
    transaction.run(_ADD, account=account.account, root_key_id=account.root_key_id, document=document)
    store.touch(transaction, account.account)


def service_control_of(transaction: Transaction, account: str) -> Levels:
    """What limits everybody of the account; empty: nothing does."""
    key = (account, store.version(transaction, account))
    found = _controls.get(key)
    if found is None:
        here = find(transaction, account)
        found = _compiled(here.controls) if here is not None else ()
        if len(_controls) >= _CACHED_MAX:
            _controls.clear()
        _controls[key] = found
    return found


def _compiled(levels: Sequence[Sequence[ControlPolicy]]) -> Levels:
    return tuple(tuple(parse(policy.document) for policy in level) for level in levels)


def forget() -> None:
    _controls.clear()


def shown(account: Account) -> dict[str, Any]:
    return {
        "account": account.account,
        "name": account.name,
        "createdAt": account.created_at.isoformat(),
        "serviceControlPolicies": [[policy.name for policy in level] for level in account.controls],
    }

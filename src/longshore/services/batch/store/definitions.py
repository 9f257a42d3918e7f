"""Job definitions."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from sqlalchemy import bindparam, func, insert, select, update

from longshore.services.batch.records import Definition
from longshore.services.batch.store.names import name_of
from longshore.services.batch.store.tables import definitions
from longshore.store.engine import Transaction
from longshore.store.statement import Statement, document

_DEFINITION = msgspec.json.Decoder(Definition)
_DEFINITION_NEW = Statement(insert(definitions))
_DEFINITION_SAVE = Statement(
    update(definitions)
    .where(definitions.c.number == bindparam("b_number"))
    .values(status=bindparam("b_status"), document=bindparam("b_document"), version=definitions.c.version + 1)
)
_DEFINITION_BY_NUMBER = Statement(
    select(definitions.c.document, definitions.c.task_definition_arn).where(definitions.c.number == bindparam("number"))
)
_TASK_DEFINITION_SAVE = Statement(
    update(definitions)
    .where(definitions.c.number == bindparam("b_number"))
    .values(task_definition_arn=bindparam("b_task_definition_arn"))
)
_OF_NAME = (
    definitions.c.account == bindparam("account"),
    definitions.c.region == bindparam("region"),
    definitions.c.name == bindparam("name"),
)
_DEFINITION_REVISION = Statement(
    select(definitions.c.document).where(*_OF_NAME, definitions.c.revision == bindparam("revision"))
)
_DEFINITION_NEWEST = Statement(
    select(definitions.c.document)
    .where(*_OF_NAME, definitions.c.status == "ACTIVE")
    .order_by(definitions.c.revision.desc())
    .limit(1)
)
_DEFINITION_LAST_REVISION = Statement(select(func.coalesce(func.max(definitions.c.revision), 0)).where(*_OF_NAME))
_DEFINITION_PAGE = Statement(
    select(definitions.c.document)
    .where(
        definitions.c.account == bindparam("account"),
        definitions.c.region == bindparam("region"),
        definitions.c.number > bindparam("after"),
        definitions.c.status.like(bindparam("status")),
    )
    .order_by(definitions.c.number)
    .limit(bindparam("limit"))
)
_DEFINITION_PAGE_OF_NAME = Statement(
    select(definitions.c.document)
    .where(*_OF_NAME, definitions.c.number > bindparam("after"), definitions.c.status.like(bindparam("status")))
    .order_by(definitions.c.number)
    .limit(bindparam("limit"))
)


def insert_definition(tx: Transaction, definition: Definition) -> None:
    tx.known.pop(_DEFINITION_NEWEST, None)
    tx.run(
        _DEFINITION_NEW,
        number=definition.number,
        account=definition.account,
        region=definition.region,
        name=definition.name,
        revision=definition.revision,
        status=definition.status,
        task_definition_arn=None,
        version=1,
        document=document(definition),
    )


def save_definition(tx: Transaction, definition: Definition) -> None:
    tx.known.pop(_DEFINITION_NEWEST, None)
    tx.known.pop(_DEFINITION_BY_NUMBER, None)
    tx.run(
        _DEFINITION_SAVE,
        b_number=definition.number,
        b_status=definition.status,
        b_document=document(definition),
    )


def definition(tx: Transaction, number: int) -> tuple[Definition, str | None]:
    """The definition, and the ARN of the task definition that stands for it in ECS. None: not registered yet.

    Read once for all that happens in one commit.
    """
    known: dict[int, tuple[Definition, str | None]] = tx.known.setdefault(_DEFINITION_BY_NUMBER, {})
    if number not in known:
        row = tx.one(_DEFINITION_BY_NUMBER, number=number)
        known[number] = _DEFINITION.decode(row[0]), row[1]
    return known[number]


def save_task_definition(tx: Transaction, number: int, task_definition_arn: str) -> None:
    tx.known.pop(_DEFINITION_BY_NUMBER, None)
    tx.run(_TASK_DEFINITION_SAVE, b_number=number, b_task_definition_arn=task_definition_arn)


def definition_named(tx: Transaction, account: str, region: str, reference: str) -> Definition | None:
    """By `name:revision`, `name` (the newest active one), or an ARN of either form."""
    found = definition_document(tx, account, region, reference)
    return None if found is None else read_definition(found)


def definition_document(tx: Transaction, account: str, region: str, reference: str) -> bytes | None:
    """As `definition_named`, unread: what is made of a definition can be kept under its very bytes.

    Read once for all submissions of one commit.
    """
    named: dict[Any, bytes] = tx.known.setdefault(_DEFINITION_NEWEST, {})
    found = named.get((account, region, reference))
    if found is None:
        found = _definition_document(tx, account, region, reference)
        if found is not None:
            named[account, region, reference] = found
    return found


def _definition_document(tx: Transaction, account: str, region: str, reference: str) -> bytes | None:
    name = name_of(account, region, reference, "job-definition")
    if not name:
        return None
    name, _, revision = name.partition(":")
    if not revision:
        row = tx.one(_DEFINITION_NEWEST, account=account, region=region, name=name)
    elif revision.isdecimal() and len(revision) < 10:
        row = tx.one(_DEFINITION_REVISION, account=account, region=region, name=name, revision=int(revision))
    else:
        row = None
    return None if row is None else cast("bytes", row[0])


def read_definition(found: bytes) -> Definition:
    return _DEFINITION.decode(found)


def last_revision(tx: Transaction, account: str, region: str, name: str) -> int:
    return int(tx.one(_DEFINITION_LAST_REVISION, account=account, region=region, name=name)[0])


def definitions_page(
    tx: Transaction, account: str, region: str, *, name: str | None, status: str | None, after: int, limit: int
) -> list[Definition]:
    found = {"account": account, "region": region, "status": status or "%", "after": after, "limit": limit}
    rows = tx.all(_DEFINITION_PAGE, **found) if name is None else tx.all(_DEFINITION_PAGE_OF_NAME, name=name, **found)
    return [_DEFINITION.decode(row[0]) for row in rows]

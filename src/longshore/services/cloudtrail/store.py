"""The trail's table. One row a call, in the order in which they were kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table, bindparam, delete, func, insert, select

from longshore.store.engine import Transaction
from longshore.store.statement import METADATA, Statement

events = Table(
    "cloudtrail_events",
    METADATA,
    Column("sequence", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("at", Integer, nullable=False),  # epoch milliseconds
    Column("name", String, nullable=False),
    Column("source", String, nullable=False),
    Column("user", String, nullable=False),
    Column("access_key_id", String, nullable=False),
    Column("resource", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("read_only", String, nullable=False),  # true, false
    Column("body", LargeBinary, nullable=False),
)
Index("cloudtrail_events_at", events.c.account, events.c.region, events.c.at, events.c.sequence)

_INSERT = Statement(
    insert(events).values(
        {column.name: bindparam(column.name) for column in events.columns if column.name != "sequence"}
    )
)
_TRIM = Statement(
    delete(events).where(events.c.sequence <= select(func.max(events.c.sequence) - bindparam("kept")).scalar_subquery())
)


# LookupEvents takes one attribute; each has a column. Newest first.
_ATTRIBUTES = {
    "EventName": events.c.name,
    "EventSource": events.c.source,
    "Username": events.c.user,
    "AccessKeyId": events.c.access_key_id,
    "EventId": events.c.event_id,
    "ReadOnly": events.c.read_only,
    "ResourceName": events.c.resource,
}


def _page(column: Any) -> Statement:
    query = select(events.c.sequence, events.c.at, events.c.body).where(
        events.c.account == bindparam("account"),
        events.c.region == bindparam("region"),
        events.c.at >= bindparam("start"),
        events.c.at <= bindparam("end"),
        events.c.sequence < bindparam("before"),
    )
    if column is not None:
        query = query.where(column == bindparam("value"))
    return Statement(query.order_by(events.c.sequence.desc()).limit(bindparam("limit")))


_PAGES: dict[str | None, Statement] = {
    None: _page(None),
    **{name: _page(column) for name, column in _ATTRIBUTES.items()},
}


def add(transaction: Transaction, rows: Iterable[Mapping[str, Any]]) -> None:
    transaction.many(_INSERT, rows)


def trim(transaction: Transaction, kept: int) -> None:
    transaction.run(_TRIM, kept=kept)


def page(transaction: Transaction, attribute: str | None, **parameters: Any) -> list[Any]:
    """Rows (sequence, epoch milliseconds, CloudTrail record), newest first."""
    return transaction.all(_PAGES[attribute], **parameters)


def is_known(attribute: str) -> bool:
    return attribute in _ATTRIBUTES

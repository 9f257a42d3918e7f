"""The trail's table. One row a call, in the order in which they were kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
)

from longshore.services.cloudtrail.record import Row
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
    Column("event_id", String, nullable=False),  # empty: made of the sequence (`record.event_id`)
    Column("read_only", String, nullable=False),  # true, false
    Column("body", LargeBinary, nullable=False),
)
Index("cloudtrail_events_at", events.c.account, events.c.region, events.c.at, events.c.sequence)

_INSERT = Statement(
    insert(events).values(
        {column.name: bindparam(column.name) for column in events.columns if column.name != "sequence"}
    )
)
# The oldest, so many at once: those beyond the number that is kept, and those older than what is kept.
_TRIM = Statement(
    delete(events).where(
        events.c.sequence.in_(select(events.c.sequence).order_by(events.c.sequence).limit(bindparam("limit"))),
        or_(
            events.c.sequence <= select(func.max(events.c.sequence) - bindparam("kept")).scalar_subquery(),
            events.c.at < bindparam("oldest"),
        ),
    )
)


_COLUMNS = (
    events.c.sequence, events.c.account, events.c.region, events.c.at, events.c.name, events.c.source,
    events.c.resource, events.c.read_only, events.c.event_id, events.c.body, events.c.user,
    events.c.access_key_id,
)  # fmt: skip


def _is_named() -> Any:
    """The whole ARN, or the name at its end."""
    resource: Any = events.c.resource
    value: Any = bindparam("value")
    end = func.substr(resource, -func.length(value) - 1)
    return or_(resource == value, end == literal("/") + value, end == literal(":") + value)


# LookupEvents takes one attribute; each is looked for in a column.
_ATTRIBUTES: Mapping[str | None, Any] = {
    None: None,
    "EventName": events.c.name == bindparam("value"),
    "EventSource": events.c.source == bindparam("value"),
    "Username": events.c.user == bindparam("value"),
    "AccessKeyId": events.c.access_key_id == bindparam("value"),
    "ReadOnly": events.c.read_only == bindparam("value"),
    "ResourceName": _is_named(),
    "ResourceType": events.c.resource.op("GLOB")(bindparam("value")),
    # Newer rows are found by the number that the id ends in.
    "EventId": or_(events.c.event_id == bindparam("value"), events.c.sequence == bindparam("number")),
}


def _page(condition: Any) -> Statement:
    query = select(*_COLUMNS).where(
        events.c.account == bindparam("account"),
        events.c.region == bindparam("region"),
        events.c.at >= bindparam("start"),
        events.c.at <= bindparam("end"),
        events.c.sequence < bindparam("before"),
    )
    if condition is not None:
        query = query.where(condition)
    return Statement(query.order_by(events.c.sequence.desc()).limit(bindparam("limit")))


_PAGES: dict[str | None, Statement] = {name: _page(condition) for name, condition in _ATTRIBUTES.items()}


def add(transaction: Transaction, rows: Iterable[Mapping[str, Any]]) -> None:
    transaction.many(_INSERT, rows)


def trim(transaction: Transaction, *, kept: int, oldest: int, limit: int) -> int:
    """Of the oldest `limit` calls those go that are not among the newest `kept`, or were made before `oldest`."""
    return transaction.run(_TRIM, kept=kept, oldest=oldest, limit=limit)


def page(transaction: Transaction, attribute: str | None, **parameters: Any) -> list[tuple[Row, str, str]]:
    """(row, Username, AccessKeyId), newest first."""
    return [(Row(*found[:10]), found[10], found[11]) for found in transaction.all(_PAGES[attribute], **parameters)]


def is_known(attribute: str) -> bool:
    return attribute in _ATTRIBUTES

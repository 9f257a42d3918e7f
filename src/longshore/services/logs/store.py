"""Tables and queries of groups, streams and events.

An event's place in its stream is (its time, its number); tokens name places, so that pages neither repeat nor skip while
others write.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy import and_ as sql_and

from longshore.services.logs.records import LogGroup, LogStream
from longshore.store.engine import Transaction
from longshore.store.statement import METADATA, Statement

groups = Table(
    "logs_groups",
    METADATA,
    Column("key", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("name", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    UniqueConstraint("account", "region", "name"),
)
streams = Table(
    "logs_streams",
    METADATA,
    Column("key", Integer, primary_key=True),
    Column("group_key", Integer, nullable=False),
    Column("name", String, nullable=False),
    Column("last_event", Integer, nullable=False),  # epoch milliseconds; 0: none
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    UniqueConstraint("group_key", "name"),
)
Index("logs_streams_last_event", streams.c.group_key, streams.c.last_event)
events = Table(
    "logs_events",
    METADATA,
    Column("stream_key", Integer, primary_key=True),
    Column("at", Integer, primary_key=True),  # epoch milliseconds
    Column("number", Integer, primary_key=True),
    Column("ingested", Integer, nullable=False),
    Column("message", String, nullable=False),
    sqlite_with_rowid=False,
)

_GROUP = Statement(
    select(groups.c.key, groups.c.document).where(
        groups.c.account == bindparam("account"),
        groups.c.region == bindparam("region"),
        groups.c.name == bindparam("name"),
    )
)
_GROUPS = Statement(
    select(groups.c.key, groups.c.document)
    .where(
        groups.c.account == bindparam("account"),
        groups.c.region == bindparam("region"),
        groups.c.name > bindparam("after"),
        groups.c.name >= bindparam("prefix"),
    )
    .order_by(groups.c.name)
    .limit(bindparam("limit"))
)
_ADD_GROUP = Statement(
    insert(groups).values(
        account=bindparam("account"),
        region=bindparam("region"),
        name=bindparam("name"),
        version=1,
        document=bindparam("document"),
    )
)
_SAVE_GROUP = Statement(
    update(groups)
    .where(groups.c.key == bindparam("b_key"))
    .values(version=groups.c.version + 1, document=bindparam("b_document"))
)
_DROP_GROUP = Statement(delete(groups).where(groups.c.key == bindparam("key")))
_STREAM = Statement(
    select(streams.c.key, streams.c.document).where(
        streams.c.group_key == bindparam("group_key"), streams.c.name == bindparam("name")
    )
)
_NAMED_SO = (
    streams.c.group_key == bindparam("group_key"),
    streams.c.name >= bindparam("prefix"),
    streams.c.name < bindparam("beyond"),
)
_STREAM_PAGES = {
    # (by the time of the last event, descending) -> a page from behind a place
    (False, False): Statement(
        select(streams.c.key, streams.c.document)
        .where(*_NAMED_SO, streams.c.name > bindparam("name"), streams.c.last_event >= bindparam("at"))
        .order_by(streams.c.name)
        .limit(bindparam("limit"))
    ),
    (False, True): Statement(
        select(streams.c.key, streams.c.document)
        .where(*_NAMED_SO, streams.c.name < bindparam("name"), streams.c.last_event <= bindparam("at"))
        .order_by(streams.c.name.desc())
        .limit(bindparam("limit"))
    ),
    (True, False): Statement(
        select(streams.c.key, streams.c.document)
        .where(
            *_NAMED_SO,
            or_(
                streams.c.last_event > bindparam("at"),
                sql_and(streams.c.last_event == bindparam("at"), streams.c.name > bindparam("name")),
            ),
        )
        .order_by(streams.c.last_event, streams.c.name)
        .limit(bindparam("limit"))
    ),
    (True, True): Statement(
        select(streams.c.key, streams.c.document)
        .where(
            *_NAMED_SO,
            or_(
                streams.c.last_event < bindparam("at"),
                sql_and(streams.c.last_event == bindparam("at"), streams.c.name < bindparam("name")),
            ),
        )
        .order_by(streams.c.last_event.desc(), streams.c.name.desc())
        .limit(bindparam("limit"))
    ),
}
_ADD_STREAM = Statement(
    insert(streams).values(
        group_key=bindparam("group_key"),
        name=bindparam("name"),
        last_event=0,
        version=1,
        document=bindparam("document"),
    )
)
_SAVE_STREAM = Statement(
    update(streams)
    .where(streams.c.key == bindparam("b_key"))
    .values(version=streams.c.version + 1, last_event=bindparam("b_last_event"), document=bindparam("b_document"))
)
_DROP_STREAM = Statement(delete(streams).where(streams.c.key == bindparam("key")))
_DROP_STREAMS = Statement(delete(streams).where(streams.c.group_key == bindparam("group_key")))
_DROP_EVENTS = Statement(delete(events).where(events.c.stream_key == bindparam("stream_key")))
_DROP_GROUP_EVENTS = Statement(
    delete(events).where(
        events.c.stream_key.in_(select(streams.c.key).where(streams.c.group_key == bindparam("group_key")))
    )
)
_GROUPS_WITH_KEYS = Statement(
    select(groups.c.key, groups.c.document).where(groups.c.key > bindparam("after")).order_by(groups.c.key)
)
_DROP_OLD = Statement(
    delete(events).where(
        events.c.at < bindparam("before"),
        events.c.stream_key.in_(select(streams.c.key).where(streams.c.group_key == bindparam("group_key"))),
    )
)
_ADD_EVENT = Statement(
    insert(events).values(
        stream_key=bindparam("stream_key"),
        at=bindparam("at"),
        number=bindparam("number"),
        ingested=bindparam("ingested"),
        message=bindparam("message"),
    )
)
_COLUMNS = (events.c.at, events.c.number, events.c.ingested, events.c.message)
_WITHIN = (
    events.c.stream_key == bindparam("stream_key"),
    events.c.at >= bindparam("start"),
    events.c.at < bindparam("end"),
)
_FORWARD = Statement(
    select(*_COLUMNS)
    .where(
        *_WITHIN,
        or_(
            events.c.at > bindparam("at"),
            sql_and(events.c.at == bindparam("at"), events.c.number > bindparam("number")),
        ),
    )
    .order_by(events.c.at, events.c.number)
    .limit(bindparam("limit"))
)
_BACKWARD = Statement(
    select(*_COLUMNS)
    .where(
        *_WITHIN,
        or_(
            events.c.at < bindparam("at"),
            sql_and(events.c.at == bindparam("at"), events.c.number < bindparam("number")),
        ),
    )
    .order_by(events.c.at.desc(), events.c.number.desc())
    .limit(bindparam("limit"))
)

# Of many streams together: an event's place is (its time, its stream's key, its number).
_ACROSS = Statement(
    select(streams.c.name, events.c.stream_key, *_COLUMNS)
    .join_from(streams, events, events.c.stream_key == streams.c.key)
    .where(
        *_NAMED_SO,
        events.c.at >= bindparam("start"),
        events.c.at <= bindparam("end"),
        or_(
            events.c.at > bindparam("at"),
            sql_and(events.c.at == bindparam("at"), events.c.stream_key > bindparam("key")),
            sql_and(
                events.c.at == bindparam("at"),
                events.c.stream_key == bindparam("key"),
                events.c.number > bindparam("number"),
            ),
        ),
    )
    .order_by(events.c.at, events.c.stream_key, events.c.number)
    .limit(bindparam("limit"))
)

_BEYOND = "\U0010ffff"  # behind every name
_ENDLESS = 1 << 62
_GROUP_DECODER = msgspec.json.Decoder(LogGroup)
_STREAM_DECODER = msgspec.json.Decoder(LogStream)


def _group(row: Any) -> LogGroup:
    return replace(_GROUP_DECODER.decode(row[1]), key=row[0])


def _stream(row: Any) -> LogStream:
    return replace(_STREAM_DECODER.decode(row[1]), key=row[0])


def find_group(transaction: Transaction, account: str, region: str, name: str) -> LogGroup | None:
    row = transaction.one(_GROUP, account=account, region=region, name=name)
    return _group(row) if row else None


def list_groups(
    transaction: Transaction, account: str, region: str, *, prefix: str, after: str, limit: int
) -> list[LogGroup]:
    """By name; those that begin with `prefix`, after the name `after`."""
    rows = transaction.all(_GROUPS, account=account, region=region, prefix=prefix, after=after, limit=limit)
    return [group for group in map(_group, rows) if group.name.startswith(prefix)]


def add_group(transaction: Transaction, account: str, region: str, group: LogGroup) -> None:
    transaction.run(_ADD_GROUP, account=account, region=region, name=group.name, document=msgspec.json.encode(group))


def save_group(transaction: Transaction, group: LogGroup) -> None:
    transaction.run(_SAVE_GROUP, b_key=group.key, b_document=msgspec.json.encode(group))


def drop_group(transaction: Transaction, group: LogGroup) -> None:
    transaction.run(_DROP_GROUP_EVENTS, group_key=group.key)
    transaction.run(_DROP_STREAMS, group_key=group.key)
    transaction.run(_DROP_GROUP, key=group.key)


def every_group(transaction: Transaction) -> list[LogGroup]:
    """Of all accounts and regions."""
    return [_group(row) for row in transaction.all(_GROUPS_WITH_KEYS, after=0)]


def drop_events_before(transaction: Transaction, group: LogGroup, before_ms: int) -> int:
    """How many there were."""
    return transaction.run(_DROP_OLD, group_key=group.key, before=before_ms)


def find_stream(transaction: Transaction, group: LogGroup, name: str) -> LogStream | None:
    row = transaction.one(_STREAM, group_key=group.key, name=name)
    return _stream(row) if row else None


def page_of_streams(
    transaction: Transaction,
    group: LogGroup,
    *,
    prefix: str = "",
    by_time: bool = False,
    descending: bool = False,
    after: tuple[int, str] | None,
    limit: int,
) -> list[LogStream]:
    """Streams behind the place `after`, (time of the last event, name); None: from the beginning."""
    at, name = after or ((_ENDLESS, _BEYOND) if descending else (-1, ""))
    if not by_time:
        at = _ENDLESS if descending else -1
    rows = transaction.all(
        _STREAM_PAGES[by_time, descending],
        group_key=group.key,
        prefix=prefix,
        beyond=prefix + _BEYOND,
        at=at,
        name=name,
        limit=limit,
    )
    return [_stream(row) for row in rows]


def add_stream(transaction: Transaction, group: LogGroup, stream: LogStream) -> None:
    transaction.run(_ADD_STREAM, group_key=group.key, name=stream.name, document=msgspec.json.encode(stream))


def save_stream(transaction: Transaction, stream: LogStream) -> None:
    transaction.run(
        _SAVE_STREAM,
        b_key=stream.key,
        b_last_event=stream.last_event_ms or 0,
        b_document=msgspec.json.encode(stream),
    )


def drop_stream(transaction: Transaction, stream: LogStream) -> None:
    transaction.run(_DROP_EVENTS, stream_key=stream.key)
    transaction.run(_DROP_STREAM, key=stream.key)


def add_events(transaction: Transaction, stream: LogStream, rows: Iterable[tuple[int, str]], ingested_ms: int) -> None:
    """`rows` are (epoch milliseconds, message); numbered on from the stream's `next_sequence`."""
    transaction.many(
        _ADD_EVENT,
        [
            {
                "stream_key": stream.key,
                "at": at,
                "number": stream.next_sequence + offset,
                "ingested": ingested_ms,
                "message": message,
            }
            for offset, (at, message) in enumerate(rows)
        ],
    )


def events_after(
    transaction: Transaction, stream: LogStream, at: int, number: int, *, start: int, end: int, limit: int
) -> list[Any]:
    """Rows (at, number, ingested, message) after the place, oldest first."""
    start = max(start, at)  # The bound by which the rows before the place are not walked through.
    return transaction.all(_FORWARD, stream_key=stream.key, at=at, number=number, start=start, end=end, limit=limit)


def events_before(
    transaction: Transaction, stream: LogStream, at: int, number: int, *, start: int, end: int, limit: int
) -> list[Any]:
    """Rows (at, number, ingested, message) before the place, oldest first."""
    end = min(end, at + 1)
    rows = transaction.all(_BACKWARD, stream_key=stream.key, at=at, number=number, start=start, end=end, limit=limit)
    return rows[::-1]


def events_across(
    transaction: Transaction,
    group: LogGroup,
    after: tuple[int, int, int],
    *,
    prefix: str,
    start: int,
    end: int,
    limit: int,
) -> list[Any]:
    """Rows (stream's name, stream's key, at, number, ingested, message) behind the place `after`, oldest first.

    `end` is included here.
    """
    at, key, number = after
    start = max(start, at)
    return transaction.all(
        _ACROSS,
        group_key=group.key,
        prefix=prefix,
        beyond=prefix + _BEYOND,
        start=start,
        end=end,
        at=at,
        key=key,
        number=number,
        limit=limit,
    )

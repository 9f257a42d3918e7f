"""The outbox: what has happened, written in the transaction that made it happen, in order.

Each subscriber has a cursor, committed with the change that the event caused: an event reaches it at least once, and its
effect is kept once.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Column, Integer, LargeBinary, String, Table, bindparam, delete, func, insert, select, update

from longshore.store.engine import Transaction
from longshore.store.statement import METADATA, Statement

outbox = Table(
    "outbox",
    METADATA,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("detail_type", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,  # A number is never given twice, though old rows are deleted.
)
cursors = Table(
    "outbox_cursors",
    METADATA,
    Column("subscriber", String, primary_key=True),
    Column("sequence", Integer, nullable=False),
)
parked = Table(
    "outbox_parked",
    METADATA,
    Column("subscriber", String, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("resource", String, nullable=False),
    Column("error", String, nullable=False),
)

_APPEND = Statement(insert(outbox).values(detail_type=bindparam("detail_type"), body=bindparam("body")))
_AFTER = Statement(
    select(outbox.c.sequence, outbox.c.detail_type, outbox.c.body)
    .where(outbox.c.sequence > bindparam("after"))
    .order_by(outbox.c.sequence)
    .limit(bindparam("limit"))
)
_CURSOR = Statement(select(cursors.c.sequence).where(cursors.c.subscriber == bindparam("subscriber")))
_CURSORS = Statement(select(cursors.c.subscriber, cursors.c.sequence))
_NEW_CURSOR = Statement(insert(cursors).values(subscriber=bindparam("subscriber"), sequence=bindparam("sequence")))
_ADVANCE = Statement(
    update(cursors).where(cursors.c.subscriber == bindparam("b_subscriber")).values(sequence=bindparam("b_sequence"))
)
_LAST = Statement(select(func.coalesce(func.max(outbox.c.sequence), 0)))
_PARK = Statement(
    insert(parked).values(
        subscriber=bindparam("subscriber"),
        sequence=bindparam("sequence"),
        resource=bindparam("resource"),
        error=bindparam("error"),
    )
)
_IS_PARKED = Statement(
    select(parked.c.sequence).where(
        parked.c.subscriber == bindparam("subscriber"), parked.c.resource == bindparam("resource")
    )
)

# What is parked stays, so that it can be taken in once what stood in its way is mended.
_TRIM = Statement(
    delete(outbox).where(
        outbox.c.sequence <= bindparam("upto"), outbox.c.sequence.not_in(select(parked.c.sequence).distinct())
    )
)
_PARKED_EVENTS = Statement(
    select(outbox.c.sequence, outbox.c.detail_type, outbox.c.body)
    .join_from(parked, outbox, outbox.c.sequence == parked.c.sequence)
    .where(parked.c.subscriber == bindparam("subscriber"))
    .order_by(outbox.c.sequence)
)
_UNPARK = Statement(
    delete(parked).where(parked.c.subscriber == bindparam("subscriber"), parked.c.sequence == bindparam("sequence"))
)
_FORGET = [Statement(delete(table).where(table.c.subscriber == bindparam("subscriber"))) for table in (cursors, parked)]
_PARKED = Statement(select(parked.c.resource).where(parked.c.subscriber == bindparam("subscriber")).distinct())


def append(transaction: Transaction, detail_type: str, body: bytes) -> None:
    transaction.run(_APPEND, detail_type=detail_type, body=body)


def cursor(transaction: Transaction, subscriber: str) -> int:
    """The last event that the subscriber has taken in. A new subscriber hears what happens from now on."""
    row = transaction.one(_CURSOR, subscriber=subscriber)
    if row is not None:
        return int(row[0])
    (last,) = transaction.one(_LAST)
    transaction.run(_NEW_CURSOR, subscriber=subscriber, sequence=last)
    return int(last)


def after(transaction: Transaction, sequence: int, limit: int) -> list[tuple[int, str, bytes]]:
    return transaction.all(_AFTER, after=sequence, limit=limit)


def advance(transaction: Transaction, subscriber: str, sequence: int) -> None:
    transaction.run(_ADVANCE, b_subscriber=subscriber, b_sequence=sequence)


def park(transaction: Transaction, subscriber: str, sequence: int, resource: str, error: str) -> None:
    """An event that can't be handled stops its own resource for this subscriber, not the house."""
    transaction.run(_PARK, subscriber=subscriber, sequence=sequence, resource=resource, error=error)


def is_parked(transaction: Transaction, subscriber: str, resource: str) -> bool:
    return transaction.one(_IS_PARKED, subscriber=subscriber, resource=resource) is not None


def parked_resources(transaction: Transaction, subscriber: str) -> set[str]:
    return {resource for (resource,) in transaction.all(_PARKED, subscriber=subscriber)}


def unpark(transaction: Transaction, subscriber: str) -> list[tuple[int, str, bytes]]:
    """All that is parked for the subscriber, in order, to be handled again; what can't be is to be parked anew.

    What an older Longshore parked and trimmed is not among it, and goes on to hold up its resource.
    """
    found = transaction.all(_PARKED_EVENTS, subscriber=subscriber)
    for sequence, _, _ in found:
        transaction.run(_UNPARK, subscriber=subscriber, sequence=sequence)
    return found


def keep_subscribers(transaction: Transaction, names: Collection[str]) -> None:
    """Forgets all others: a room that is no longer there would hold up the trimming for ever."""
    for subscriber, _ in transaction.all(_CURSORS):
        if subscriber not in names:
            for statement in _FORGET:
                transaction.run(statement, subscriber=subscriber)


def trim(transaction: Transaction) -> int:
    """Drops what every subscriber has taken in; how many rows. What is parked stays."""
    rows = transaction.all(_CURSORS)
    return transaction.run(_TRIM, upto=min((sequence for _, sequence in rows), default=0))

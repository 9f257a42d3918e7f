"""Arrays whose children wait for those of another, and the children whose end others are to be told."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, select, update

from longshore.services.batch.records import Array
from longshore.services.batch.store.tables import array_links, child_releases
from longshore.store.engine import Transaction
from longshore.store.statement import Statement

_LINK_NEW = Statement(insert(array_links))
_LINKS_OF = Statement(
    select(array_links.c.waits_for).where(array_links.c.number == bindparam("number")).order_by(array_links.c.waits_for)
)
_LINKED = Statement(
    select(array_links.c.number)
    .where(array_links.c.waits_for == bindparam("waits_for"), array_links.c.number > bindparam("after"))
    .order_by(array_links.c.number)
    .limit(bindparam("limit"))
)
_LINKS_FORGET = Statement(delete(array_links).where(array_links.c.number == bindparam("number")))
_CHILD_RELEASE_NEW = Statement(insert(child_releases))
_CHILD_RELEASE_SAVE = Statement(
    update(child_releases).where(child_releases.c.number == bindparam("b_number")).values(after=bindparam("b_after"))
)
_CHILD_RELEASE_DELETE = Statement(delete(child_releases).where(child_releases.c.number == bindparam("number")))
_CHILD_RELEASES = Statement(
    select(child_releases.c.number, child_releases.c.succeeded, child_releases.c.after)
    .order_by(child_releases.c.number)
    .limit(1)
)


def add_link(tx: Transaction, number: int, waits_for: int) -> None:
    """Each child of the one array waits for its counterpart in the other."""
    tx.run(_LINK_NEW, number=number, waits_for=waits_for)


def links_of(tx: Transaction, number: int) -> list[int]:
    """The arrays for whose children those of the array wait."""
    return [int(row[0]) for row in tx.all(_LINKS_OF, number=number)]


def linked(tx: Transaction, number: int, after: int, limit: int) -> list[int]:
    """The arrays whose children wait for those of the array."""
    return [int(row[0]) for row in tx.all(_LINKED, waits_for=number, after=after, limit=limit)]


def forget_links(tx: Transaction, number: int) -> None:
    tx.run(_LINKS_FORGET, number=number)


def add_child_release(tx: Transaction, one: Array, index: int, succeeded: bool) -> None:
    """Notes that who waits for the child is to be told of its end; nothing when nobody does."""
    if one.is_sequential or tx.one(_LINKED, waits_for=one.number, after=0, limit=1) is not None:
        tx.run(_CHILD_RELEASE_NEW, number=one.first + index, succeeded=int(succeeded), after=0)


def next_child_release(tx: Transaction) -> tuple[int, bool, int] | None:
    """(number of the child, whether it succeeded, the array up to which all have been told)"""
    row = tx.one(_CHILD_RELEASES)
    return None if row is None else (int(row[0]), bool(row[1]), int(row[2]))


def save_child_release(tx: Transaction, number: int, after: int) -> None:
    tx.run(_CHILD_RELEASE_SAVE, b_number=number, b_after=after)


def remove_child_release(tx: Transaction, number: int) -> None:
    tx.run(_CHILD_RELEASE_DELETE, number=number)

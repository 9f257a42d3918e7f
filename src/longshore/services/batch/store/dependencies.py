"""Who waits for whom, and the ended jobs whose dependents are to be told."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, func, insert, select

from longshore.services.batch.store.tables import dependencies, releases
from longshore.store.engine import Transaction
from longshore.store.statement import Statement

_DEPENDENCY_NEW = Statement(insert(dependencies))
_DEPENDENCY_COUNT = Statement(
    select(func.count()).select_from(dependencies).where(dependencies.c.number == bindparam("number"))
)
_DEPENDENTS = Statement(
    select(dependencies.c.number)
    .where(dependencies.c.waits_for == bindparam("waits_for"))
    .order_by(dependencies.c.number)
    .limit(bindparam("limit"))
)
_DEPENDENCY_DELETE = Statement(
    delete(dependencies).where(
        dependencies.c.waits_for == bindparam("waits_for"), dependencies.c.number == bindparam("number")
    )
)
_DEPENDENCIES_FORGET = Statement(delete(dependencies).where(dependencies.c.number == bindparam("number")))
_WAITED_FOR = Statement(
    select(dependencies.c.waits_for)
    .where(dependencies.c.waits_for >= bindparam("low"), dependencies.c.waits_for < bindparam("high"))
    .distinct()
)
_RELEASE_NEW = Statement(insert(releases))
_RELEASE_DELETE = Statement(delete(releases).where(releases.c.number == bindparam("number")))
_RELEASES = Statement(select(releases.c.number, releases.c.succeeded).order_by(releases.c.number).limit(1))


def add_dependency(tx: Transaction, number: int, waits_for: int) -> None:
    tx.run(_DEPENDENCY_NEW, number=number, waits_for=waits_for)


def count_dependencies(tx: Transaction, number: int) -> int:
    return int(tx.one(_DEPENDENCY_COUNT, number=number)[0])


def dependents(tx: Transaction, number: int, limit: int) -> list[int]:
    return [int(row[0]) for row in tx.all(_DEPENDENTS, waits_for=number, limit=limit)]


def waited_for(tx: Transaction, low: int, high: int) -> list[int]:
    """The jobs from number `low` on, before `high`, for which others wait."""
    return [int(row[0]) for row in tx.all(_WAITED_FOR, low=low, high=high)]


def remove_dependency(tx: Transaction, number: int, waits_for: int) -> None:
    tx.run(_DEPENDENCY_DELETE, number=number, waits_for=waits_for)


def forget_dependencies(tx: Transaction, number: int) -> None:
    tx.run(_DEPENDENCIES_FORGET, number=number)


def add_release(tx: Transaction, number: int, succeeded: bool) -> None:
    """Notes that the dependents of a job that has ended are to be told; nothing when it has none."""
    if tx.one(_DEPENDENTS, waits_for=number, limit=1) is not None:
        tx.run(_RELEASE_NEW, number=number, succeeded=int(succeeded))


def next_release(tx: Transaction) -> tuple[int, bool] | None:
    row = tx.one(_RELEASES)
    return None if row is None else (int(row[0]), bool(row[1]))


def remove_release(tx: Transaction, number: int) -> None:
    tx.run(_RELEASE_DELETE, number=number)

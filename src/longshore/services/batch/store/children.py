"""Children of arrays, those that have a row and those that have none."""

from __future__ import annotations

from itertools import islice

from sqlalchemy import bindparam, insert, select

from longshore.services.batch import arrays as children
from longshore.services.batch.records import Array, Job, Status
from longshore.services.batch.store.arrays import array, parent, save_array
from longshore.services.batch.store.rows import JOB, JOB_SAVE, RETRIES_BEFORE, moving
from longshore.services.batch.store.tables import jobs
from longshore.store.engine import Transaction
from longshore.store.statement import Statement

_CHILD_NEW = Statement(insert(jobs))
_CHILDREN_UNENDED = Statement(
    select(jobs.c.document)
    .where(jobs.c.number >= bindparam("low"), jobs.c.number < bindparam("high"), jobs.c.status < int(Status.SUCCEEDED))
    .order_by(jobs.c.number)
    .limit(bindparam("limit"))
)
_PLACED_IN = (
    jobs.c.queue == bindparam("queue"), jobs.c.status == bindparam("status"),
    jobs.c.position >= bindparam("low"), jobs.c.position < bindparam("high"),
)  # fmt: skip
_CHILDREN_OF_STATUS = Statement(
    select(jobs.c.document).where(*_PLACED_IN).order_by(jobs.c.position).limit(bindparam("limit"))
)
_CHILD_NUMBERS_OF_STATUS = Statement(select(jobs.c.number).where(*_PLACED_IN).order_by(jobs.c.position))


def save_child(tx: Transaction, before: Job, after: Job, now: int) -> None:
    """A child after something has befallen it: it gets a row, unless it is still like its siblings."""
    assert before.array is not None
    columns = moving(after)
    has_row = bool(tx.run(JOB_SAVE, b_number=after.number, **columns))
    siblings = array(tx, before.array)
    if has_row:
        changed = children.moved(siblings, before.status, after.status, now)
    else:
        changed, needs_row = children.befallen(parent(tx, before.array), siblings, before, after, now)
    if changed is not siblings:
        save_array(tx, changed)
    if not has_row and needs_row:
        tx.run(
            _CHILD_NEW,
            number=after.number,
            job_id=after.job_id,
            cpu=after.cpu,
            memory_mib=after.memory_mib,
            gpus=after.gpus,
            name=after.name,
            definition_arn=after.definition_arn,
            created_at=after.created_at,
            version=1,
            **{name.removeprefix("b_"): value for name, value in columns.items()},
        )


def unended_children(tx: Transaction, one: Array, low: int, high: int, limit: int) -> list[Job]:
    """Those from `low` on, before `high`, that have a row."""
    rows = tx.all(_CHILDREN_UNENDED, low=one.first + low, high=one.first + high, limit=limit)
    return [JOB.decode(row[0]) for row in rows]


def children_in(tx: Transaction, one: Array, status: Status, low: int, high: int) -> int:
    """Those from `low` on, before `high`, that have a row and are in that status, which is not RUNNABLE. As a set."""
    rows = tx.all(
        _CHILD_NUMBERS_OF_STATUS, queue=-one.number, status=int(status), low=one.first + low, high=one.first + high
    )
    found = 0
    for (number,) in rows:
        found |= 1 << (number - one.first)
    return found


def children_page(tx: Transaction, above: Job, one: Array, status: Status, *, low: int, limit: int) -> list[Job]:
    """The first from `low` on that are in the status, by index."""
    here = {"status": int(status), "limit": limit}
    if status is Status.RUNNABLE:
        anew = RETRIES_BEFORE
        rows = tx.all(_CHILDREN_OF_STATUS, queue=one.queue, low=one.first + low, high=one.number, **here)
        rows += tx.all(_CHILDREN_OF_STATUS, queue=one.queue, low=one.first + low - anew, high=one.number - anew, **here)
    else:
        rows = tx.all(_CHILDREN_OF_STATUS, queue=-one.number, low=one.first + low, high=one.number, **here)
    found = [JOB.decode(row[0]) for row in rows]
    for index in islice(children.members(children.status_sets(above, one, status), low), limit):
        without_row = children.child(above, one, index)
        assert without_row is not None
        found.append(without_row)
    return sorted(found, key=lambda each: each.number)[:limit]

"""The jobs of a queue: whose turn it is, and lists of them."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import islice

from sqlalchemy import bindparam, func, select

from longshore.services.batch import arrays as children
from longshore.services.batch import job_ids
from longshore.services.batch.records import TERMINAL, Job, Status
from longshore.services.batch.store.arrays import ARRAY, array
from longshore.services.batch.store.rows import JOB, position
from longshore.services.batch.store.tables import arrays, jobs
from longshore.store.engine import Transaction
from longshore.store.statement import Statement

_HEADS = Statement(
    select(jobs.c.position, jobs.c.number, jobs.c.cpu, jobs.c.memory_mib, jobs.c.gpus)
    .where(jobs.c.queue == bindparam("queue"), jobs.c.status == int(Status.RUNNABLE))
    .order_by(jobs.c.position)
    .limit(bindparam("limit"))
)
_AHEAD = Statement(
    select(func.count())
    .select_from(jobs)
    .where(
        jobs.c.queue == bindparam("queue"),
        jobs.c.status == int(Status.RUNNABLE),
        jobs.c.position < bindparam("position"),
    )
)
_WITH_READY = Statement(
    select(arrays.c.document, jobs.c.cpu, jobs.c.memory_mib, jobs.c.gpus)
    .join(jobs, jobs.c.number == arrays.c.number)
    .where(arrays.c.queue == bindparam("queue"), arrays.c.number > bindparam("after"), arrays.c.ready > 0)
    .order_by(arrays.c.number)
    .limit(bindparam("limit"))
)
_READY_AHEAD = Statement(
    select(func.coalesce(func.sum(arrays.c.ready), 0)).where(
        arrays.c.queue == bindparam("queue"), arrays.c.number < bindparam("number"), arrays.c.ready > 0
    )
)
_ARRAYS_AT_ONCE = 8  # that are read to find the first RUNNABLE children of a queue; one alone may have enough
_UNENDED_OF_QUEUE = Statement(
    select(jobs.c.document)
    .where(jobs.c.queue == bindparam("queue"), jobs.c.status == bindparam("status"))
    .order_by(jobs.c.position)
    .limit(bindparam("limit"))
)
_IS_NO_CHILD = func.length(jobs.c.job_id) == job_ids.LENGTH
_PAGE_OF_STATUS = Statement(
    select(jobs.c.document, jobs.c.position)
    .where(
        jobs.c.queue == bindparam("queue"),
        jobs.c.status == bindparam("status"),
        jobs.c.position < bindparam("before"),
        _IS_NO_CHILD,
    )
    .order_by(jobs.c.position.desc())
    .limit(bindparam("limit"))
)
_FILTERED = (
    # By the numbers alone: the index of queues would be gone through whole, a million entries for a page.
    jobs.c.queue + 0 == bindparam("queue"), jobs.c.number < bindparam("before"), jobs.c.number > bindparam("after"),
    _IS_NO_CHILD,
)  # fmt: skip
_BY_NAME = Statement(
    select(jobs.c.document)
    .where(*_FILTERED, func.lower(jobs.c.name).op("GLOB")(bindparam("value")))
    .order_by(jobs.c.number.desc())
    .limit(bindparam("limit"))
)
_BY_DEFINITION = Statement(
    select(jobs.c.document)
    .where(*_FILTERED, jobs.c.definition_arn.op("GLOB")(bindparam("value")))
    .order_by(jobs.c.number.desc())
    .limit(bindparam("limit"))
)
_BY_CREATED_BEFORE = Statement(
    select(jobs.c.document)
    .where(*_FILTERED, jobs.c.created_at < bindparam("value"))
    .order_by(jobs.c.number.desc())
    .limit(bindparam("limit"))
)
_BY_CREATED_AFTER = Statement(
    select(jobs.c.document)
    .where(*_FILTERED, jobs.c.created_at > bindparam("value"))
    .order_by(jobs.c.number.desc())
    .limit(bindparam("limit"))
)
_FILTERS = {
    "JOB_NAME": _BY_NAME,
    "JOB_DEFINITION": _BY_DEFINITION,
    "BEFORE_CREATED_AT": _BY_CREATED_BEFORE,
    "AFTER_CREATED_AT": _BY_CREATED_AFTER,
}


def heads(tx: Transaction, queue_number: int, limit: int) -> list[tuple[int, int, int, int]]:
    """(number, CPU units, memory in MiB, GPUs) of the first RUNNABLE jobs, in order; children that have no row, too."""
    rows = tx.all(_HEADS, queue=queue_number, limit=limit)
    return [row[1:] for row in islice(merge(rows, _heads_of_arrays(tx, queue_number)), limit)]


def _heads_of_arrays(tx: Transaction, queue_number: int) -> Iterator[tuple[int, int, int, int, int]]:
    """The same with their positions before them. Read as far as they are asked for."""
    after = 0
    while rows := tx.all(_WITH_READY, queue=queue_number, after=after, limit=_ARRAYS_AT_ONCE):
        for found, cpu, memory_mib, gpus in rows:
            one = ARRAY.decode(found)
            for index in children.members(children.bits(one.ready)):
                number = one.first + index
                yield number, number, cpu, memory_mib, gpus
            after = one.number


def count_ahead(tx: Transaction, one: Job) -> int:
    ahead = int(tx.one(_AHEAD, queue=one.queue, position=position(one))[0])
    if position(one) < 0:
        return ahead  # A retry. No child without a row is one.
    ahead += int(tx.one(_READY_AHEAD, queue=one.queue, number=one.number)[0])
    if one.array is not None and one.index is not None:
        siblings = array(tx, one.array)
        ahead += (children.bits(siblings.ready) & children.between(0, one.index)).bit_count()
    return ahead


def unended_jobs(tx: Transaction, queue_number: int, limit: int) -> list[Job]:
    """Jobs of the queue that have not ended, in the order of their lives."""
    found: list[Job] = []
    for status in Status:
        if status not in TERMINAL and len(found) < limit:
            rows = tx.all(_UNENDED_OF_QUEUE, queue=queue_number, status=int(status), limit=limit - len(found))
            found += [JOB.decode(row[0]) for row in rows]
    return found


def jobs_page(tx: Transaction, queue_number: int, status: Status, before: int, limit: int) -> list[tuple[Job, int]]:
    """(job, where the next page goes on), newest first."""
    rows = tx.all(_PAGE_OF_STATUS, queue=queue_number, status=int(status), before=before, limit=limit)
    return [(JOB.decode(row[0]), int(row[1])) for row in rows]


def filtered_jobs(
    tx: Transaction, queue_number: int, filter_name: str, value: str | int, *, after: int, before: int, limit: int
) -> list[Job]:
    """Jobs whose number lies between the two, newest first."""
    rows = tx.all(_FILTERS[filter_name], queue=queue_number, value=value, after=after, before=before, limit=limit)
    return [JOB.decode(row[0]) for row in rows]

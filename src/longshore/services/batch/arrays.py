"""Array jobs. Pure: which children there are, and what becomes of many of them at once.

An array is its parent and a record of its children. A child gets a row of its own when something befalls it alone: it is
placed, called off, told why it stands. Until then it is one bit in one of four sets, so that ten thousand are submitted, released
or called off as fast as two, and the scheduler takes from a set as many as it can place. Whoever asks for a child that has no
row gets the job that it would be (`child`), which is why nobody else need know the difference.

Numbers: the children's, then the parent's. So the newest number stays that of the newest submission, a child stands in its
queue where its parent was submitted, and the number of a child tells its parent: the next number that has a body.

    unborn ----> ready ----> (a row) RUNNABLE, STARTING, RUNNING, SUCCEEDED | FAILED
       |  \\       ^  \\
       |   \\----> waiting    for its predecessor (SEQUENTIAL), its counterparts in other arrays (N_TO_N)
       |             |
       +-------------+---> dropped: FAILED, all for one reason

Sources: AWS Batch user guide, "Array jobs", "Job dependencies"; API reference, SubmitJob, ArrayPropertiesDetail.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from longshore.services.batch import job_ids
from longshore.services.batch.lifecycle import DEPENDENCY_FAILED
from longshore.services.batch.records import Array, Job, Status

# Where the record keeps a child that has no row, once its parent was released.
_SETS = {Status.PENDING: "waiting", Status.RUNNABLE: "ready"}


def new(*, number: int, queue: int, size: int, is_sequential: bool, now: int) -> Array:
    return Array(
        number=number,
        queue=queue,
        size=size,
        is_sequential=is_sequential,
        updated_at=now,
        unborn=_kept((1 << size) - 1),
    )


# --- one child ---


def child(parent: Job, array: Array, index: int) -> Job | None:
    """The child, as one that has no row. None: it has one, or the array is not that large."""
    if not 0 <= index < array.size:
        return None
    if holds(array.ready, index):
        return _child(parent, array, index, Status.RUNNABLE)
    if holds(array.waiting, index):
        return _child(parent, array, index, Status.PENDING)
    if holds(array.dropped, index):
        return _child(parent, array, index, Status.FAILED)
    if holds(array.unborn, index):
        return _child(parent, array, index, unborn_status(parent))
    return None


def unborn_status(parent: Job) -> Status:
    return Status.SUBMITTED if parent.status is Status.SUBMITTED else Status.PENDING


def _child(parent: Job, array: Array, index: int, status: Status) -> Job:
    is_called_off = parent.ending is not None and status is not Status.RUNNABLE
    reason = stopped_at = None
    if status is Status.FAILED:
        reason, stopped_at = array.dropped_because, array.dropped_at
        is_called_off = reason != DEPENDENCY_FAILED
    return Job(
        number=array.first + index,
        job_id=job_ids.child_id(parent.job_id, index),
        account=parent.account,
        region=parent.region,
        name=parent.name,
        queue=parent.queue,
        definition_arn=parent.definition_arn,
        # API reference, JobDetail, createdAt: of a child, when it was spawned.
        created_at=parent.spawned_at or parent.created_at,
        status=status,
        cpu=parent.cpu,
        memory_mib=parent.memory_mib,
        gpus=parent.gpus,
        attempts_allowed=parent.attempts_allowed,
        rules=parent.rules,
        timeout_seconds=parent.timeout_seconds,
        status_reason=reason,
        stopped_at=stopped_at,
        is_cancelled=is_called_off and parent.is_cancelled,
        is_terminated=is_called_off and parent.is_terminated,
        ending=parent.ending if is_called_off and status is not Status.FAILED else None,
        array=array.number,
        index=index,
    )


def befallen(parent: Job, array: Array, before: Job, after: Job, now: int) -> tuple[Array, bool]:
    """The record after something befell a child that has no row, and whether it now needs one: it is unlike the others."""
    index = before.index
    assert index is not None
    was_unborn = holds(array.unborn, index)
    bare = replace(
        array,
        unborn=_without(array.unborn, index),
        waiting=_without(array.waiting, index),
        ready=_without(array.ready, index),
    )
    bare = moved(bare, None if was_unborn else before.status, after.status, now)
    name = _SETS.get(after.status)
    if name is not None and after == _child(parent, bare, index, after.status):
        return replace(bare, **{name: _kept(bits(getattr(bare, name)) | 1 << index)}), False
    return bare, True


def moved(array: Array, before: Status | None, after: Status, now: int, many: int = 1) -> Array:
    """With the children counted anew. `before` None: unborn, which are not counted."""
    if before is after or not many:
        return array
    counts = list(array.counts)
    if before is not None:
        counts[before] -= many
    counts[after] += many
    return replace(array, counts=tuple(counts), updated_at=now)


def summary(parent: Job, array: Array) -> dict[str, int]:
    """Name of a status -> how many children are in it, zeros too."""
    shown = {status.name: array.counts[status] for status in Status}
    shown[unborn_status(parent).name] += bits(array.unborn).bit_count()
    return shown


# --- many children ---


def spawned(array: Array, low: int, high: int, *, free: int, now: int) -> Array:
    """The unborn ones from `low` on, before `high`, come to wait: the `free` ones for a place, the others for other jobs."""
    mask = bits(array.unborn) & between(low, high)
    free &= mask
    waits = mask & ~free
    array = replace(
        array,
        unborn=_kept(bits(array.unborn) & ~mask),
        ready=_kept(bits(array.ready) | free),
        waiting=_kept(bits(array.waiting) | waits),
        spawn_from=high if high < array.size else None,
    )
    array = moved(array, None, Status.RUNNABLE, now, free.bit_count())
    return moved(array, None, Status.PENDING, now, waits.bit_count())


def drop(array: Array, mask: int, because: str, now: int) -> Array:
    """Those of the mask that have no row and have not ended fail, without ever having been anywhere."""
    unborn, waiting, ready = bits(array.unborn) & mask, bits(array.waiting) & mask, bits(array.ready) & mask
    if not unborn | waiting | ready:
        return array
    array = replace(
        array,
        unborn=_kept(bits(array.unborn) & ~mask),
        waiting=_kept(bits(array.waiting) & ~mask),
        ready=_kept(bits(array.ready) & ~mask),
        dropped=_kept(bits(array.dropped) | unborn | waiting | ready),
        dropped_because=array.dropped_because or because,
        dropped_at=array.dropped_at or now,
    )
    array = moved(array, None, Status.FAILED, now, unborn.bit_count())
    array = moved(array, Status.PENDING, Status.FAILED, now, waiting.bit_count())
    return moved(array, Status.RUNNABLE, Status.FAILED, now, ready.bit_count())


# --- sets ---


def bits(kept: bytes) -> int:
    return int.from_bytes(kept, "little")


def _kept(mask: int) -> bytes:
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def between(low: int, high: int) -> int:
    """The children from `low` on, before `high`."""
    return (1 << max(low, high)) - (1 << low)


def holds(kept: bytes, index: int) -> bool:
    return index >> 3 < len(kept) and bool(kept[index >> 3] >> (index & 7) & 1)


def _without(kept: bytes, index: int) -> bytes:
    return _kept(bits(kept) & ~(1 << index)) if holds(kept, index) else kept


def members(mask: int, low: int = 0) -> Iterator[int]:
    """The indices in the set from `low` on, in order. Run by run: of a set without gaps, each costs next to nothing."""
    rest, at = mask >> low, low
    while rest:
        skipped = (rest & -rest).bit_length() - 1
        rest >>= skipped
        run = (~rest & (rest + 1)).bit_length() - 1
        yield from range(at + skipped, at + skipped + run)
        rest >>= run
        at += skipped + run


def status_sets(parent: Job, array: Array, status: Status) -> int:
    """Those in the status that have no row."""
    found = bits(array.unborn) if status is unborn_status(parent) else 0
    match status:
        case Status.PENDING:
            return found | bits(array.waiting)
        case Status.RUNNABLE:
            return bits(array.ready)
        case Status.FAILED:
            return bits(array.dropped)
        case _:
            return found

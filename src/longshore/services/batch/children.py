"""Arrays gone through, a portion of their children at a time; each portion is one step of the scheduler's loop.

What is asked of a parent (be spawned, be called off) is written on its record with the child from which it goes on, so that a
crash between two portions loses nothing. Children without a row are moved as a set; each with one, like a job of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.services.batch import arrays, life, lifecycle, news, store
from longshore.services.batch.acting import within
from longshore.services.batch.records import Array, Job, Status

if TYPE_CHECKING:
    from longshore.kit.call import Call

ROWS_AT_ONCE = (
    64  # children of a portion that each are a step of their own: they have a row, or somebody is told of them
)
CHILDREN_AT_ONCE = 1024  # of a portion that moves them as a set


def is_waited_for(call: Call) -> bool:
    """Whether there is an array to go through, or a child's end to tell of."""
    return store.busy_array(call.transaction) is not None or store.next_child_release(call.transaction) is not None


def move(call: Call) -> None:
    """Tells of ends first: who is told of one may be part of an array that is gone through."""
    if store.next_child_release(call.transaction) is not None:
        _tell_of_ends(call)
    else:
        _go_through(call)


def _go_through(call: Call) -> None:
    """A portion of one array."""
    array = store.busy_array(call.transaction)
    if array is None:
        return
    parent = store.parent(call.transaction, array.number)
    inner = within(call, parent.account, parent.region)
    if array.call_off_from is not None:
        _call_off(inner, parent, array, array.call_off_from)
    elif array.spawn_from is not None:
        _spawn(inner, parent, array, array.spawn_from)
    elif array.drop_from is not None:
        _drop(inner, array, array.drop_from)
    life.end_array(inner, store.array(call.transaction, array.number))


# --- spawned ---


def _spawn(call: Call, parent: Job, array: Array, low: int) -> None:
    tx = call.transaction
    links = [store.array(tx, number) for number in store.links_of(tx, array.number)]
    is_told_one_by_one = bool(links) or call.is_heard(life.JOB_CHANGED)
    high = min(array.size, low + ROWS_AT_ONCE) if is_told_one_by_one else array.size  # one set, one write
    born = arrays.bits(array.unborn) & arrays.between(low, high)
    free, failed = born, 0
    if array.is_sequential:
        free &= 1
    for other in links:
        free &= store.children_in(tx, other, Status.SUCCEEDED, low, high)
        failed |= store.children_in(tx, other, Status.FAILED, low, high) | arrays.bits(other.dropped)
    alone = store.children_in(tx, array, Status.PENDING, low, high)  # called off by themselves before
    array = arrays.spawned(array, low, high, free=free, now=milliseconds(call.now))
    store.save_array(tx, array)
    _tell(call, array, born)
    if free:
        news.queue_changed(call, array.queue)
    for index in arrays.members(alone | (born & failed)):
        if failed >> index & 1:
            _befall(call, array, index, lifecycle.DependencyFailed())
        else:
            _release(call, array, index)


def _release(call: Call, array: Array, index: int) -> None:
    """The child waits no more if all that it waits for has succeeded."""
    if arrays.holds(array.unborn, index):
        return  # Looked at when it is spawned.
    if array.is_sequential and index and not _has_succeeded(call, array, index - 1):
        return
    for number in store.links_of(call.transaction, array.number):
        if not _has_succeeded(call, store.array(call.transaction, number), index):
            return
    _befall(call, array, index, lifecycle.Released())


def _has_succeeded(call: Call, array: Array, index: int) -> bool:
    child = store.job(call.transaction, array.first + index)
    return child is not None and child.status is Status.SUCCEEDED


# --- called off, dropped ---


def _call_off(call: Call, parent: Job, array: Array, low: int) -> None:
    """Those that wait for other jobs are only marked (through their parent), and fail when these have ended."""
    reason = array.called_off or ""
    event: lifecycle.Event = lifecycle.Cancelled(reason)
    if array.is_terminated:
        event = lifecycle.Terminated(reason)
    if parent.spawned_at is None:
        event = (
            lifecycle.DependencyFailed()
        )  # Those that were called off by themselves need not be waited for any more.
    high = _lose(call, array, low, arrays.bits(array.unborn) | arrays.bits(array.ready), reason, event)
    _go_on(call, array.number, call_off_from=high)
    news.queue_changed(call, array.queue)


def _drop(call: Call, array: Array, low: int) -> None:
    """Those that wait will never be released."""
    waits = arrays.bits(array.unborn) | arrays.bits(array.waiting)
    reason = array.called_off or lifecycle.DEPENDENCY_FAILED
    high = _lose(call, array, low, waits, reason, lifecycle.DependencyFailed())
    _go_on(call, array.number, drop_from=high)


def _lose(call: Call, array: Array, low: int, mask: int, reason: str, event: lifecycle.Event) -> int:
    """Has a portion of the mask fail at once, and the event befall those that have a row; where the next one begins."""
    tx = call.transaction
    has_links = bool(store.linked(tx, array.number, 0, 1))
    high = min(array.size, low + (ROWS_AT_ONCE if has_links or call.is_heard(life.JOB_CHANGED) else CHILDREN_AT_ONCE))
    rows = store.unended_children(tx, array, low, high, ROWS_AT_ONCE)
    if len(rows) == ROWS_AT_ONCE:
        high = rows[-1].number - array.first + 1
    mask &= arrays.between(low, high)
    array = arrays.drop(array, mask, reason, milliseconds(call.now))
    store.save_array(tx, array)
    _tell(call, array, mask)
    for number in store.waited_for(tx, array.first + low, array.first + high):
        if mask >> (number - array.first) & 1:
            store.add_release(tx, number, succeeded=False)
    if has_links:
        for index in arrays.members(mask):
            store.add_child_release(tx, array, index, succeeded=False)
    elif array.is_sequential and mask:
        # All that come after the first: the others have been told by it.
        store.add_child_release(tx, array, next(arrays.members(mask)), succeeded=False)
    for child in rows:
        life.apply(call, child, event)
    return high


def _go_on(call: Call, number: int, **cursor: int) -> None:
    array = store.array(call.transaction, number)
    ((name, high),) = cursor.items()
    store.save_array(call.transaction, replace(array, **{name: high if high < array.size else None}))


# --- the end of a child, told to those that wait for it ---


def _tell_of_ends(call: Call) -> None:
    """A bounded number of those that wait for children that have ended: their successors, and their counterparts."""
    tx = call.transaction
    told = 0
    while told < ROWS_AT_ONCE and (release := store.next_child_release(tx)) is not None:
        number, has_succeeded, after = release
        child = store.job(tx, number)
        assert child is not None and child.array is not None and child.index is not None
        array = store.array(tx, child.array)
        inner = within(call, child.account, child.region)
        if array.is_sequential and after == 0 and child.index + 1 < array.size:
            _tell_successor(inner, array, child.index + 1, has_succeeded)
        linked = store.linked(tx, array.number, after, ROWS_AT_ONCE)
        for other in linked:
            _tell_counterpart(inner, store.array(tx, other), child.index, has_succeeded)
        if len(linked) == ROWS_AT_ONCE:
            store.save_child_release(tx, number, linked[-1])
        else:
            store.remove_child_release(tx, number)
        told += 1 + len(linked)


def _tell_successor(call: Call, array: Array, index: int, has_succeeded: bool) -> None:
    """Batch user guide, "Array jobs": under SEQUENTIAL, after a child that failed no other is started."""
    if has_succeeded:
        _release(call, array, index)
        return
    low = index if array.drop_from is None else min(index, array.drop_from)
    store.save_array(call.transaction, replace(array, drop_from=low))


def _tell_counterpart(call: Call, array: Array, index: int, has_succeeded: bool) -> None:
    parent = store.parent(call.transaction, array.number)
    inner = within(call, parent.account, parent.region)
    if has_succeeded:
        _release(inner, array, index)
    elif not arrays.holds(array.unborn, index):
        _befall(inner, array, index, lifecycle.DependencyFailed())


def _befall(call: Call, array: Array, index: int, event: lifecycle.Event) -> None:
    child = store.job(call.transaction, array.first + index)
    if child is not None and child.status is Status.PENDING:
        life.apply(call, child, event)


def _tell(call: Call, array: Array, mask: int) -> None:
    """Source: user guide, "AWS Batch Events": each child's changes are told like any job's."""
    if not call.is_heard(life.JOB_CHANGED):
        return
    parent = store.parent(call.transaction, array.number)
    for index in arrays.members(mask):
        child = arrays.child(parent, array, index)
        if child is not None:
            life.announce(call, child)

"""The record of an array's children: what has no row is in one set, and is counted where it is, whatever befalls it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from longshore.services.batch import arrays, job_ids, lifecycle
from longshore.services.batch.lifecycle import step
from longshore.services.batch.records import TERMINAL, Array, Job, Status

SIZE = 20
PARENT = Job(
    number=120, job_id="p", account="1", region="r", name="n", queue=1, definition_arn="d", created_at=1,
    status=Status.SUBMITTED, cpu=1024, memory_mib=128, attempts_allowed=2, timeout_seconds=60, size=SIZE,
)  # fmt: skip
SPAWNED = replace(PARENT, status=Status.PENDING, spawned_at=7)


def new(size: int = SIZE) -> Array:
    return arrays.new(number=120, queue=1, size=size, is_sequential=False, now=1)


def statuses(parent: Job, array: Array) -> list[str]:
    """Of those without a row; of others, `-`."""
    found = [arrays.child(parent, array, index) for index in range(array.size)]
    return ["-" if each is None else each.status.name for each in found]


@given(st.integers(0, (1 << 300) - 1), st.integers(0, 310))
def test_the_members_of_a_set_are_its_bits_in_order(mask: int, low: int) -> None:
    assert list(arrays.members(mask, low)) == [index for index in range(low, 300) if mask >> index & 1]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 45))
def test_between_holds_what_lies_between(low: int, high: int, index: int) -> None:
    assert bool(arrays.between(low, high) >> index & 1) == (low <= index < high)


def test_a_child_is_its_parents_but_for_its_place() -> None:
    child = arrays.child(SPAWNED, arrays.spawned(new(), 0, SIZE, free=(1 << SIZE) - 1, now=7), 3)
    assert child == replace(
        SPAWNED,
        number=103,
        job_id="p:3",
        status=Status.RUNNABLE,
        created_at=7,
        size=None,
        spawned_at=None,
        array=120,
        index=3,
    )
    assert arrays.child(SPAWNED, new(), SIZE) is None
    assert arrays.child(SPAWNED, new(), -1) is None


@pytest.mark.parametrize(
    "text, expected",
    [
        ("9e3779b9-7f4b-41b4-8998-f31f6a16258c:0", ("9e3779b9-7f4b-41b4-8998-f31f6a16258c", 0)),
        ("9e3779b9-7f4b-41b4-8998-f31f6a16258c:9999", ("9e3779b9-7f4b-41b4-8998-f31f6a16258c", 9_999)),
        ("9e3779b9-7f4b-41b4-8998-f31f6a16258c:10000", None),
        ("9e3779b9-7f4b-41b4-8998-f31f6a16258c:00", None),
        ("9e3779b9-7f4b-41b4-8998-f31f6a16258c:", None),
        ("9e3779b9-7f4b-41b4-8998-f31f6a16258c", None),
        ("short:0", None),
        ("9e3779b9-7f4b-41b4-8998-f31f6a16258c:٣", None),
    ],
)
def test_the_id_of_a_child(text: str, expected: tuple[str, int] | None) -> None:
    assert job_ids.child(text) == expected


def test_the_unborn_are_as_their_parent() -> None:
    assert set(statuses(PARENT, new())) == {"SUBMITTED"}
    assert arrays.summary(PARENT, new())["SUBMITTED"] == SIZE
    held = replace(PARENT, status=Status.PENDING)
    assert set(statuses(held, new())) == {"PENDING"}
    assert arrays.summary(held, new())["PENDING"] == SIZE


def test_the_dropped_bear_one_reason_and_moment() -> None:
    called_off = replace(SPAWNED, ending="enough", is_terminated=True)
    array = arrays.drop(arrays.spawned(new(), 0, SIZE, free=0b1111, now=7), 0b111, "enough", 9)
    array = arrays.drop(array, 0b1000, "again", 10)
    child = arrays.child(called_off, array, 3)
    assert child is not None
    assert (child.status, child.status_reason, child.stopped_at) == (Status.FAILED, "enough", 9)
    assert (child.is_terminated, child.is_cancelled, child.ending) == (True, False, None)
    lost = arrays.child(called_off, arrays.drop(new(), 1, lifecycle.DEPENDENCY_FAILED, 9), 0)
    assert lost is not None
    assert (lost.status_reason, lost.is_terminated) == ("Dependent Job failed", False)


def test_ten_thousand_children_cost_less_than_a_byte_each() -> None:
    array = new(10_000)
    assert len(msgspec.json.encode(array)) < 2_000
    spawned = arrays.spawned(array, 0, 10_000, free=(1 << 10_000) - 1, now=7)
    dropped = arrays.drop(spawned, arrays.between(3, 7_000), "x", 8)
    assert len(msgspec.json.encode(dropped)) < 4_000
    assert dropped.counts[Status.FAILED] == 6_997


_SOME = st.integers(0, (1 << SIZE) - 1)
_EVENTS: list[Any] = [
    lifecycle.Released(), lifecycle.DependencyFailed(), lifecycle.Placed(3, 4, "t"), lifecycle.Unplaced("t"),
    lifecycle.Cancelled("c"), lifecycle.Terminated("t"), lifecycle.Blocked("why"), lifecycle.Blocked(None),
    lifecycle.StartFailed("t", "no"),
]  # fmt: skip
_ACTS = st.one_of(
    st.tuples(st.just("spawn"), _SOME),
    st.tuples(st.just("drop"), _SOME),
    st.tuples(st.integers(0, SIZE - 1), st.sampled_from(_EVENTS)),
)


@settings(max_examples=300)
@given(st.lists(_ACTS, max_size=80))
def test_whatever_befalls_its_children_each_is_in_one_place_and_counted_there(acts: list[tuple[Any, Any]]) -> None:
    array, rows = new(), dict[int, Job]()
    for now, (what, how) in enumerate(acts, 10):
        if what == "spawn":
            array = arrays.spawned(array, 0, SIZE, free=how, now=now)
        elif what == "drop":
            array = arrays.drop(array, how, "dropped", now)
        else:
            before = rows.get(what) or arrays.child(SPAWNED, array, what)
            assert before is not None
            after, _ = step(before, how, now)
            if after is before:
                continue
            if what in rows:
                array, rows[what] = arrays.moved(array, before.status, after.status, now), after
            else:
                array, needs_row = arrays.befallen(SPAWNED, array, before, after, now)
                if needs_row:
                    rows[what] = after
                else:
                    assert arrays.child(SPAWNED, array, what) == after
        counted = dict.fromkeys(Status, 0)
        for index in range(SIZE):
            without_row = arrays.child(SPAWNED, array, index)
            assert (without_row is None) == (index in rows)
            counted[(without_row or rows[index]).status] += 1
        assert arrays.summary(SPAWNED, array) == {status.name: number for status, number in counted.items()}
        assert array.has_ended == (sum(counted[status] for status in TERMINAL) == SIZE)
        for status in Status:
            shown = list(arrays.members(arrays.status_sets(SPAWNED, array, status)))
            expected = [
                index
                for index in range(SIZE)
                if (one := arrays.child(SPAWNED, array, index)) is not None and one.status is status
            ]
            assert shown == expected

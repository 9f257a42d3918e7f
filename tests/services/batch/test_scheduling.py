"""What the scheduler decides on a snapshot, in tables; and what must hold whatever the snapshot is."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from longshore.services.batch.records import Trouble
from longshore.services.batch.scheduling import capacity
from longshore.services.batch.scheduling.decide import Block, Launch, Place, Retire, decide, next_wake
from longshore.services.batch.scheduling.placement import Room, Rooms, least_of
from longshore.services.batch.scheduling.snapshot import (
    EnvironmentView,
    Head,
    InstanceType,
    InstanceView,
    QueueView,
    Snapshot,
)

NOW = 1_000_000_000
IDLE = 300
LONG_AGO = NOW - 1000 * IDLE
SMALL = InstanceType("c.small", 2048, 4064)
MIDDLE = InstanceType("c.middle", 4096, 8160)
LARGE = InstanceType("c.large", 16384, 32736)
ROOMY = InstanceType("r.small", 2048, 16352)
TYPES = (SMALL, ROOMY, MIDDLE, LARGE)


def instance(
    number: int, phase: str = "joined", *, kind: InstanceType = SMALL, jobs: int = 0, **more: Any
) -> InstanceView:
    """With `jobs` of one vCPU and 1 GiB."""
    given: dict[str, Any] = {
        "instance_id": None if phase == "asked" else f"i-{number}",
        "idle_since": NOW,
        "asked_at": NOW,
        "launched_at": None if phase == "asked" else NOW,
        "connected": phase == "joined",
        **more,
    }
    return InstanceView(
        number=number, instance_type=kind.name, cpu=kind.cpu, memory_mib=kind.memory_mib, jobs=jobs,
        cpu_used=1024 * jobs, memory_used=1024 * jobs, phase=phase, **given,
    )  # fmt: skip


def environment(*instances: InstanceView, number: int = 1, **more: Any) -> EnvironmentView:
    given: dict[str, Any] = {
        "managed": True,
        "enabled": True,
        "status": "VALID",
        "vcpus_max": 16,
        "types": TYPES,
        **more,
    }
    return EnvironmentView(number=number, name=f"ce{number}", status_reason="", instances=instances, **given)


def heads(*sizes: tuple[float, int], start: int = 1) -> tuple[Head, ...]:
    """Of (vCPUs, MiB)."""
    return tuple(Head(at, int(1024 * vcpus), memory) for at, (vcpus, memory) in enumerate(sizes, start))


def queue(
    *jobs: Head, number: int = 1, environments: tuple[int, ...] = (1,), priority: int = 1, valid: bool = True
) -> QueueView:
    return QueueView(
        number=number, name=f"q{number}", priority=priority, valid=valid, environments=environments, heads=jobs
    )


def decided(*parts: EnvironmentView | QueueView, now: int = NOW) -> list[Any]:
    return decide(snapshot(*parts), now, IDLE)


def snapshot(*parts: EnvironmentView | QueueView) -> Snapshot:
    environments = {part.number: part for part in parts if isinstance(part, EnvironmentView)}
    return Snapshot(tuple(part for part in parts if isinstance(part, QueueView)), environments)


def launches(kind: InstanceType, count: int = 1, environment: int = 1) -> list[Launch]:
    return [Launch(environment, kind.name, kind.cpu, kind.memory_mib)] * count


ONE = (1, 1024)


# --- placing ---


def test_jobs_are_placed_in_their_order_while_there_is_room() -> None:
    found = decided(environment(instance(1), instance(2, jobs=1), vcpus_max=4), queue(*heads(ONE, ONE, ONE, ONE)))
    assert found == [Place(1, 1, 2), Place(2, 1, 1), Place(3, 1, 1), Block(1, 4, None)]


def test_a_job_goes_where_least_is_left_over() -> None:
    full, empty = instance(1, kind=LARGE), instance(2, kind=LARGE, jobs=5)
    assert decided(environment(full, empty), queue(*heads(ONE)))[0] == Place(1, 1, 2)


def test_the_first_that_can_not_be_placed_holds_back_those_behind_it() -> None:
    found = decided(environment(instance(1), vcpus_max=2), queue(*heads((4, 1024), ONE)))
    assert [type(each) for each in found] == [Block]


def test_nothing_is_launched_for_those_behind_one_that_can_not_start() -> None:
    assert not any(isinstance(each, Launch) for each in decided(environment(), queue(*heads((400, 1024), ONE, ONE))))


def test_the_queue_of_higher_priority_comes_first() -> None:
    found = decided(
        environment(instance(1, jobs=1), vcpus_max=2),
        queue(*heads(ONE), number=1, priority=1),
        queue(*heads(ONE, start=11), number=2, priority=5),
    )
    assert found[0] == Place(11, 1, 1)
    assert found[1] == Block(1, 1, None)


def test_the_environments_are_tried_in_the_queues_order() -> None:
    one, two = environment(instance(1), number=1), environment(instance(2), number=2)
    assert decided(one, two, queue(*heads(ONE), environments=(2, 1)))[0] == Place(1, 2, 2)
    assert decided(one, replace(two, instances=()), queue(*heads(ONE), environments=(2, 1)))[0] == Place(1, 1, 1)


UNUSABLE = [
    {"enabled": False},
    {"status": "INVALID"},
    {"status": "UPDATING"},
    {"troubles": (Trouble("no", "start", NOW + 1),)},
]


@pytest.mark.parametrize("more", UNUSABLE)
def test_an_environment_that_can_not_be_used_gets_no_job(more: dict[str, Any]) -> None:
    assert not any(
        isinstance(each, Place | Launch) for each in decided(environment(instance(1), **more), queue(*heads(ONE)))
    )


NOT_READY = [
    instance(1, "asked"),
    instance(1, "launched"),
    instance(1, "retiring"),
    instance(1, connected=False, disconnected_at=NOW),
    instance(1, active=False),
    instance(1, outdated_until=NOW + 1000, jobs=1),
    instance(1, held_until=NOW + 1),
]


@pytest.mark.parametrize("one", NOT_READY)
def test_an_instance_that_is_not_ready_gets_no_job(one: InstanceView) -> None:
    assert not any(isinstance(each, Place) for each in decided(environment(one), queue(*heads(ONE))))


def test_an_invalid_queue_is_left_alone() -> None:
    assert decided(environment(instance(1)), queue(*heads(ONE), valid=False)) == []


def test_a_job_with_gpus_is_never_placed_here() -> None:
    found = decided(environment(instance(1)), queue(Head(1, 1024, 1024, gpus=1)))
    assert [type(each) for each in found] == [Block]


def test_an_instance_whose_time_was_up_is_kept_when_it_gets_a_job() -> None:
    one = instance(1, idle_since=LONG_AGO)
    assert decided(environment(one), queue(*heads(ONE))) == [Place(1, 1, 1)]


# --- launching ---

LAUNCHES: list[tuple[str, dict[str, Any], tuple[tuple[float, int], ...], list[Launch]]] = [
    ("the smallest that holds a lone job", {}, (ONE,), launches(SMALL)),
    ("one for a crowd", {}, (ONE,) * 16, launches(LARGE)),
    ("the largest that the crowd fills", {}, (ONE,) * 5, [*launches(MIDDLE), *launches(SMALL)]),
    ("by memory, too", {"types": (SMALL, MIDDLE, LARGE)}, ((1, 8000),), launches(MIDDLE)),
    ("fewer vCPUs where memory is wanted", {}, ((1, 8000),), launches(ROOMY)),
    ("never beyond maxvCpus", {"vcpus_max": 4}, (ONE,) * 16, launches(MIDDLE)),
    ("by one instance beyond maxvCpus", {"vcpus_max": 5, "may_exceed": True}, (ONE,) * 16,
     [*launches(MIDDLE), *launches(SMALL)]),
    ("as ordered", {"ordered": True, "types": (LARGE, SMALL)}, (ONE,), launches(LARGE)),
    ("nothing where it is too large", {}, ((17, 1024),), []),
    ("not while permissions lack", {"troubles": (Trouble("no", "permissions", NOW + 1),)}, (ONE,), []),
    ("again when the trouble is over", {"troubles": (Trouble("no", "permissions", NOW),)}, (ONE,), launches(SMALL)),
    ("a smaller one where a larger found no room",
     {"troubles": (Trouble("no", "capacity", NOW + 1, instance_type="c.middle"),)}, (ONE,) * 16, launches(SMALL, 8)),
    ("none where the smallest found no room",
     {"troubles": (Trouble("no", "capacity", NOW + 1, instance_type="c.small"),)}, (ONE,) * 16, []),
]  # fmt: skip


@pytest.mark.parametrize("name, more, jobs, expected", LAUNCHES, ids=[row[0] for row in LAUNCHES])
def test_what_is_launched(
    name: str, more: dict[str, Any], jobs: tuple[tuple[float, int], ...], expected: list[Launch]
) -> None:
    found = decided(environment(**more), queue(*heads(*jobs)))
    assert [each for each in found if isinstance(each, Launch)] == expected


COMING = [
    instance(1, "asked"),
    instance(1, "launched"),
    instance(1, connected=False),
    instance(1, connected=False, disconnected_at=NOW - 119_000),
    instance(1, held_until=NOW + 1),
]


@pytest.mark.parametrize("one", COMING)
def test_what_is_on_its_way_is_waited_for(one: InstanceView) -> None:
    assert [type(each) for each in decided(environment(one), queue(*heads(ONE, ONE)))] == [Block]
    assert decided(environment(one), queue(*heads(ONE, ONE, ONE)))[1:] == launches(SMALL)


NOT_COMING = [
    instance(1, "retiring"),
    instance(1, active=False),
    instance(1, outdated_until=NOW + 1000, jobs=1),
    instance(1, connected=False, disconnected_at=NOW - 120_000),
]


@pytest.mark.parametrize("one", NOT_COMING)
def test_what_will_not_come_is_not_waited_for(one: InstanceView) -> None:
    assert [each for each in decided(environment(one), queue(*heads(ONE))) if isinstance(each, Launch)] == launches(
        SMALL
    )


def test_jobs_that_only_wait_behind_another_need_no_instance_where_there_is_room() -> None:
    found = decided(environment(instance(1, kind=MIDDLE, jobs=2)), queue(*heads((4, 1024), ONE, ONE)))
    assert found == [Block(1, 1, None), *launches(MIDDLE)]


def test_an_unmanaged_environment_launches_nothing() -> None:
    view = environment(managed=False, types=(), vcpus_max=0)
    assert [type(each) for each in decided(view, queue(*heads(ONE)))] == [Block]
    placed = decided(replace(view, instances=(instance(1, idle_since=LONG_AGO),)), queue(*heads(ONE)))
    assert placed == [Place(1, 1, 1)]


# --- minvCpus, desiredvCpus ---


@pytest.mark.parametrize("enabled", [True, False])
def test_minvcpus_is_kept_up_even_while_disabled(enabled: bool) -> None:
    assert decided(environment(vcpus_min=4, enabled=enabled)) == launches(MIDDLE)
    assert decided(environment(instance(1), vcpus_min=4, enabled=enabled)) == launches(SMALL)
    assert decided(environment(instance(1, kind=MIDDLE), vcpus_min=4, enabled=enabled)) == []


def test_minvcpus_that_no_type_meets_exactly_is_exceeded() -> None:
    assert decided(environment(vcpus_min=3)) == launches(SMALL, 2)


def test_what_was_asked_for_by_hand_is_launched() -> None:
    assert decided(environment(vcpus_wanted=4)) == launches(MIDDLE)


def test_an_invalid_environment_is_not_kept_up() -> None:
    assert decided(environment(vcpus_min=4, status="INVALID")) == []


def test_instances_that_will_be_replaced_do_not_count() -> None:
    old = instance(1, kind=MIDDLE, outdated_until=NOW + 1000, jobs=1)
    assert decided(environment(old, vcpus_min=4)) == launches(MIDDLE)


# --- giving back ---

RETIRED: list[tuple[str, InstanceView, dict[str, Any], bool]] = [
    ("idle for its time", instance(1, idle_since=LONG_AGO), {}, True),
    ("not yet", instance(1, idle_since=LONG_AGO + 1), {}, False),
    ("never with a job", instance(1, idle_since=0, jobs=1), {}, False),
    ("not below minvCpus", instance(1, idle_since=0), {"vcpus_min": 1}, False),
    ("of an INVALID one, minvCpus or not", instance(1, idle_since=0), {"vcpus_min": 2, "status": "INVALID"}, True),
    ("of a DISABLED one", instance(1, idle_since=LONG_AGO), {"enabled": False}, True),
    ("not of one that is being deleted: that ends them itself", instance(1, idle_since=0), {"status": "DELETING"}, False),
    ("kept for its delay after a job", instance(1, idle_since=LONG_AGO, used=True), {"scale_down_delay_seconds": 1200}, False),
    ("gone after that delay", instance(1, idle_since=NOW - 1_200_000, used=True), {"scale_down_delay_seconds": 1200}, True),
    ("no such delay for one that never had a job", instance(1, idle_since=LONG_AGO), {"scale_down_delay_seconds": 1200}, True),
    ("never joined, and nobody waits", instance(1, "launched", asked_at=LONG_AGO), {}, True),
    ("just asked for", instance(1, "asked", asked_at=0), {}, False),
    ("already going", instance(1, "retiring", idle_since=0), {}, False),
    ("to be replaced, without a job: at once", instance(1, outdated_until=NOW + 1000), {"vcpus_min": 2}, True),
    ("to be replaced, its job waited for", instance(1, outdated_until=NOW + 1, jobs=1), {}, False),
    ("to be replaced, its job's time is up", instance(1, outdated_until=NOW, jobs=1), {}, True),
    ("drained by somebody, minvCpus or not", instance(1, active=False, idle_since=LONG_AGO), {"vcpus_min": 2}, True),
]  # fmt: skip


@pytest.mark.parametrize("name, one, more, retired", RETIRED, ids=[row[0] for row in RETIRED])
def test_what_is_given_back(name: str, one: InstanceView, more: dict[str, Any], retired: bool) -> None:
    found = [each for each in decided(environment(one, **more)) if isinstance(each, Retire)]
    assert found == ([Retire(1, 1)] if retired else [])


def test_one_that_has_not_joined_is_kept_while_a_job_waits_for_it() -> None:
    one = instance(1, "launched", asked_at=0, launched_at=0)
    assert not any(isinstance(each, Retire) for each in decided(environment(one), queue(*heads(ONE))))


def test_only_what_is_above_minvcpus_is_given_back() -> None:
    view = environment(*(instance(at, idle_since=0) for at in (1, 2, 3)), vcpus_min=3)
    assert decided(view) == [Retire(1, 1)]


SHORT = {"number": 2, "troubles": (Trouble("no", "capacity", NOW + 60_000, instance_type="c.small"),)}
GIVES_WAY: list[tuple[str, InstanceView, dict[str, Any], bool]] = [
    ("idle for a moment", instance(1, idle_since=NOW - 5_000), {}, True),
    ("just used", instance(1, idle_since=NOW - 4_999), {}, False),
    ("with a job", instance(1, idle_since=0, jobs=1), {}, False),
    ("of minvCpus", instance(1, idle_since=0), {"vcpus_min": 2}, False),
    ("kept for its delay", instance(1, idle_since=NOW - 5_000, used=True), {"scale_down_delay_seconds": 1200}, False),
]  # fmt: skip


@pytest.mark.parametrize("name, one, more, retired", GIVES_WAY, ids=[row[0] for row in GIVES_WAY])
def test_an_idle_instance_gives_way_to_a_job_that_finds_no_capacity(
    name: str, one: InstanceView, more: dict[str, Any], retired: bool
) -> None:
    has, lacks = environment(one, **more), environment(**SHORT)
    found = decided(has, lacks, queue(*heads(ONE), environments=(2,)))
    assert [each for each in found if isinstance(each, Retire)] == ([Retire(1, 1)] if retired else [])
    assert not any(isinstance(each, Retire) for each in decided(has, lacks))


def test_it_looks_again_when_an_instance_may_give_way() -> None:
    found = snapshot(environment(instance(1, idle_since=NOW)), environment(**SHORT))
    assert next_wake(found, NOW, IDLE) == NOW + 5_000


# --- when to look again ---


def test_it_looks_again_when_an_instance_has_been_idle_for_its_time() -> None:
    assert next_wake(snapshot(environment(instance(1))), NOW, IDLE) == NOW + 1000 * IDLE
    assert next_wake(snapshot(environment(instance(1, jobs=1))), NOW, IDLE) is None


@pytest.mark.parametrize(
    "view, moment",
    [
        (environment(troubles=(Trouble("no", "capacity", NOW + 7),)), NOW + 7),
        (environment(instance(1, jobs=1, held_until=NOW + 7)), NOW + 7),
        (environment(instance(1, jobs=1, outdated_until=NOW + 7)), NOW + 7),
        (environment(instance(1, "launched")), NOW + 20_000),
        (environment(instance(1, "launched", launched_at=NOW - 30_000, asked_at=NOW)), NOW + 90_000),
        (environment(instance(1, jobs=1, connected=False, disconnected_at=NOW - 30_000, launched_at=0)), NOW + 90_000),
    ],
)
def test_it_looks_again_when_time_alone_changes_something(view: EnvironmentView, moment: int) -> None:
    assert next_wake(snapshot(view), NOW, IDLE) == moment


# --- types ---


def test_a_family_stands_for_its_sizes_and_a_bundle_for_its_families() -> None:
    offered = [
        InstanceType(name, 1024, 1024) for name in ("m6i.large", "c6i.large", "m6i.metal", "m5.large", "m6i.xlarge")
    ]
    names = lambda wanted: [one.name for one in capacity.expand(wanted, offered)]  # noqa: E731
    assert names(["m6i"]) == ["m6i.large", "m6i.xlarge"]
    assert names(["optimal"]) == ["m6i.large", "c6i.large", "m6i.xlarge"]
    assert names(["m5.large", "m6i", "m6i.large"]) == ["m5.large", "m6i.large", "m6i.xlarge"]
    assert names(["m6i.metal"]) == ["m6i.metal"]
    assert capacity.unknown(["m6i", "optimal", "m6i.large", "m7", "x.y"], [one.name for one in offered]) == [
        "m7",
        "x.y",
    ]


# --- whatever the snapshot ---

_sizes = st.tuples(st.sampled_from([256, 1024, 2048, 4096, 40_000]), st.sampled_from([100, 1024, 8000, 99_999]))


@st.composite
def _snapshots(draw: st.DrawFn) -> Snapshot:
    numbers = iter(range(1, 10_000))
    environments = {}
    for number in range(1, draw(st.integers(1, 3)) + 1):
        instances = []
        for _ in range(draw(st.integers(0, 5))):
            kind = draw(st.sampled_from(TYPES))
            used = draw(st.integers(0, 4))
            instances.append(
                InstanceView(
                    number=next(numbers), instance_id="i", instance_type=kind.name, cpu=kind.cpu,
                    memory_mib=kind.memory_mib, jobs=used, cpu_used=min(kind.cpu, 512 * used),
                    memory_used=min(kind.memory_mib, 900 * used),
                    phase=draw(st.sampled_from(["asked", "launched", "joined", "joined", "retiring"])),
                    connected=draw(st.booleans()), active=draw(st.booleans()),
                    outdated_until=draw(st.sampled_from([None, None, NOW - 1, NOW + 1])),
                    held_until=draw(st.sampled_from([0, NOW + 1])), idle_since=draw(st.sampled_from([0, NOW])),
                    launched_at=0,
                )
            )  # fmt: skip
        environments[number] = EnvironmentView(
            number=number, name=str(number), managed=draw(st.booleans()), enabled=draw(st.booleans()),
            status=draw(st.sampled_from(["VALID", "VALID", "INVALID", "DELETING"])), status_reason="",
            vcpus_min=draw(st.sampled_from([0, 2, 5])), vcpus_max=draw(st.sampled_from([0, 5, 16])), types=TYPES,
            instances=tuple(instances), may_exceed=draw(st.booleans()),
            troubles=draw(st.sampled_from([(), (Trouble("x", "capacity", NOW + 1, instance_type="c.small"),)])),
        )  # fmt: skip
    queues = []
    for number in range(1, draw(st.integers(0, 3)) + 1):
        jobs = tuple(Head(next(numbers), *size) for size in draw(st.lists(_sizes, max_size=12)))
        order = tuple(draw(st.permutations(sorted(environments))))
        queues.append(queue(*jobs, number=number, environments=order, priority=draw(st.integers(0, 2))))
    return Snapshot(tuple(queues), environments)


@settings(max_examples=300, deadline=None)
@given(_snapshots())
def test_whatever_the_snapshot_no_instance_gets_more_than_it_has_and_order_is_kept(given_: Snapshot) -> None:
    found = decide(given_, NOW, IDLE)
    assert found == decide(given_, NOW, IDLE)
    by_number = {one.number: (view, one) for view in given_.environments.values() for one in view.instances}
    sizes = {head.job: head for each in given_.queues for head in each.heads}
    left = {
        number: [one.cpu - one.cpu_used, one.memory_mib - one.memory_used] for number, (_, one) in by_number.items()
    }
    placed = [each for each in found if isinstance(each, Place)]
    retired = {each.instance for each in found if isinstance(each, Retire)}
    assert len({each.job for each in placed}) == len(placed)
    for each in placed:
        view, one = by_number[each.instance]
        assert view.usable and one.usable and one.held_until <= NOW
        assert each.instance not in retired
        left[each.instance][0] -= sizes[each.job].cpu
        left[each.instance][1] -= sizes[each.job].memory_mib
        assert min(left[each.instance]) >= 0
    for number in retired:
        view, one = by_number[number]
        assert view.managed and (not one.jobs or one.outdated_until == NOW - 1)
    jobs_placed = {each.job for each in placed}
    for each in given_.queues:
        # A prefix of the queue is placed, and the next job is the one that is told why it stands.
        order = [head.job in jobs_placed for head in each.heads]
        assert order == sorted(order, reverse=True)
        blocked = [block.job for block in found if isinstance(block, Block) and block.queue == each.number]
        assert blocked == [head.job for head in each.heads if head.job not in jobs_placed][:1]
    for view in given_.environments.values():
        launched = [each for each in found if isinstance(each, Launch) and each.environment == view.number]
        assert not launched or (view.managed and view.status == "VALID")
        before = view.vcpus + sum(each.cpu for each in launched[:-1]) // 1024
        after = view.vcpus + sum(each.cpu for each in launched) // 1024
        assert not launched or after <= view.vcpus_max or (view.may_exceed and before < view.vcpus_max)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=8),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20),
)
def test_a_room_is_found_as_by_looking_at_each(rooms: list[tuple[int, int]], jobs: list[tuple[int, int]]) -> None:
    wanted = [Head(at, cpu, memory) for at, (cpu, memory) in enumerate(jobs)]
    found = Rooms(least_of(wanted))
    plain = [Room(memory, cpu, number) for number, (cpu, memory) in enumerate(rooms)]
    for number, (cpu, memory) in enumerate(rooms):
        found.add(Room(memory, cpu, number))
    for head in wanted:
        fitting = [room for room in plain if room.memory_left >= head.memory_mib and room.cpu_left >= head.cpu]
        expected = min(fitting, default=None)
        assert found.take(head) == (None if expected is None else expected.number)
        if expected is not None:
            expected.memory_left -= head.memory_mib
            expected.cpu_left -= head.cpu


def test_a_decision_with_200_instances_and_1000_heads_is_made_in_milliseconds() -> None:
    """Measured: 2 ms. The bound is wide, since machines are shared; a search through all for each would break it."""
    instances = tuple(instance(at, kind=LARGE, jobs=at % 17) for at in range(1, 201))
    view = environment(*instances, vcpus_max=100_000)
    jobs = queue(*heads(*((1 + at % 4, 512 * (1 + at % 9)) for at in range(1000))))
    started = time.process_time()
    found = decided(view, jobs)
    assert time.process_time() - started < 0.1
    assert any(isinstance(each, Place) for each in found) and any(isinstance(each, Launch) for each in found)

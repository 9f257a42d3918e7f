"""The life of a task on its instance: each row once, every event in every state, and a long random walk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from longshore.agent import machine
from longshore.agent.machine import (
    Accepted,
    Change,
    Create,
    Created,
    Effect,
    Event,
    Exited,
    NotStarted,
    Pull,
    Pulled,
    Release,
    Report,
    Start,
    Started,
    Stop,
    StopWanted,
    Task,
    step,
)
from longshore.agent.order import Container, Dependency, Status


def task(*containers: Container) -> Task:
    return Task(arn="arn:aws:ecs:us-east-1:1:task/demo/t", containers=containers or (Container(name="main"),))


def after(subject: Task, *events: Event) -> tuple[Task, list[Effect]]:
    effects: list[Effect] = []
    for event in events:
        subject, more = step(subject, event)
        effects += more
    return subject, effects


def at(known: Status, *, busy: bool = False) -> Task:
    return task(Container(name="main", known=known, busy=busy))


ENDED = Change(container_name="main", status="STOPPED", exit_code=0)


def test_a_task_goes_through_all_its_steps() -> None:
    subject, effects = after(task(), Accepted(), Pulled("main"), Created("main"), Started("main"), Exited("main", 0))
    assert effects == [
        Pull("main"),
        Create("main"),
        Start("main"),
        Report("RUNNING", (Change(container_name="main", status="RUNNING"),)),
        Report("STOPPED", (ENDED,)),
        Release(),
    ]
    assert subject.has_ended


@pytest.mark.parametrize("event", [NotStarted("main", "CannotPullContainerError: x"), Exited("main", None, "lost")])
def test_a_task_that_never_ran_is_reported_once_as_stopped(event: Event) -> None:
    _, effects = after(task(), Accepted(), event)
    reason = "CannotPullContainerError: x" if isinstance(event, NotStarted) else "lost"
    assert effects[1:] == [
        Report("STOPPED", (Change(container_name="main", status="STOPPED", reason=reason),)),
        Release(),
    ]


def test_a_stop_that_is_wanted_before_anything_began_ends_the_task_without_a_container() -> None:
    _, effects = after(task(), StopWanted())
    assert effects == [Report("STOPPED", (Change(container_name="main", status="STOPPED"),)), Release()]


def test_a_stop_waits_for_what_is_under_way() -> None:
    subject, effects = after(task(), Accepted(), StopWanted())
    assert effects == [Pull("main")]
    _, effects = after(subject, Pulled("main"))
    assert effects[-1] == Release()


def test_a_running_container_is_stopped_once() -> None:
    subject, _ = after(task(), Accepted(), Pulled("main"), Created("main"), Started("main"))
    subject, effects = after(subject, StopWanted(), StopWanted())
    assert effects == [Stop("main", 30.0)]
    _, effects = after(subject, Exited("main", 143))
    assert effects[-1] == Release()


def test_the_end_of_an_essential_container_stops_the_others_and_of_another_does_not() -> None:
    pair = task(Container(name="main"), Container(name="side", essential=False))
    subject, _ = after(
        pair, Accepted(), *(kind(name) for name in ("main", "side") for kind in (Pulled, Created, Started))
    )
    _, effects = after(subject, Exited("side", 0))
    assert effects == []
    _, effects = after(subject, Exited("main", 0))
    assert effects == [Stop("side", 30.0)]


@pytest.mark.parametrize(
    ("condition", "events", "starts"),
    [
        ("START", [Started("side")], True),
        ("COMPLETE", [Started("side")], False),
        ("COMPLETE", [Started("side"), Exited("side", 1)], True),
        ("SUCCESS", [Started("side"), Exited("side", 0)], True),
    ],
)
def test_a_container_starts_when_its_dependency_is_met(condition: str, events: list[Event], starts: bool) -> None:
    pair = task(
        Container(name="main", depends_on=(Dependency("side", condition),)), Container(name="side", essential=False)
    )
    subject, _ = after(pair, Accepted(), Pulled("main"), Pulled("side"), Created("side"))
    _, effects = after(subject, *events)
    assert (Create("main") in effects) is starts


def test_a_dependency_that_can_not_be_met_any_more_ends_the_task() -> None:
    pair = task(
        Container(name="main", depends_on=(Dependency("side", "SUCCESS"),)), Container(name="side", essential=False)
    )
    subject, effects = after(
        pair, Accepted(), Pulled("main"), Pulled("side"), Created("side"), Started("side"), Exited("side", 3)
    )
    assert subject.has_ended
    (main,) = [each for each in effects[-2].changes if each.container_name == "main"]  # type: ignore[union-attr]
    assert main.reason is not None and "can never start" in main.reason


def test_containers_end_against_the_order_in_which_they_started() -> None:
    pair = task(Container(name="app", depends_on=(Dependency("db", "START"),)), Container(name="db"))
    subject, _ = after(
        pair, Accepted(), Pulled("db"), Created("db"), Started("db"), Pulled("app"), Created("app"), Started("app")
    )
    subject, effects = after(subject, StopWanted())
    assert effects == [Stop("app", 30.0)]
    _, effects = after(subject, Exited("app", 0))
    assert effects == [Stop("db", 30.0)]


# Nothing is under way for a container that runs or has ended.
STATES = [
    at(known, busy=busy)
    for known, busy in itertools.product(Status, (False, True))
    if not busy or known < Status.RUNNING
]
EVENTS: list[Event] = [
    Accepted(), StopWanted(), Pulled("main"), Created("main"), Started("main"), NotStarted("main", "x"),
    Exited("main", 0), Exited("main", None),
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=lambda state: f"{state.known.name} {state.containers[0].busy}")
@pytest.mark.parametrize("event", EVENTS, ids=repr)
def test_every_event_in_every_state_leads_somewhere_sound(state: Task, event: Event) -> None:
    changed, effects = step(state, event)
    check(state, changed, effects)
    again, more = step(changed, event)
    check(changed, again, more)


def check(before: Task, now: Task, effects: list[Effect]) -> None:
    for old, new in zip(before.containers, now.containers, strict=True):
        assert new.known >= old.known, "a container never goes back"
        if old.has_ended:
            assert new == old, "an end is an end"
        if new.known is Status.RUNNING:
            assert not new.busy
    for effect in effects:
        match effect:
            case Start(name) | Create(name) | Pull(name):
                assert not now.is_to_stop or before.container(name).known < now.container(name).known
                assert now.container(name).busy
            case Stop(name):
                assert now.container(name).known is Status.RUNNING and now.container(name).is_stopping
    assert now.reported >= before.reported
    assert (Release() in effects) == (now.reported is Status.STOPPED and before.reported is not Status.STOPPED)
    if now.has_ended:
        assert now.reported is Status.STOPPED


names = ("a", "b", "c")


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    containers = []
    for index, name in enumerate(names[: draw(st.integers(1, 3))]):
        earlier = names[:index]
        depends_on = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
        conditions = st.sampled_from(("START", "COMPLETE", "SUCCESS"))
        containers.append(
            Container(
                name=name,
                essential=draw(st.booleans()) or index == 0,
                depends_on=tuple(Dependency(each, draw(conditions)) for each in depends_on),
            )
        )
    return task(*containers)


def answers(effect: Effect) -> Iterator[Event]:
    """What may come of an effect."""
    match effect:
        case Pull(name):
            yield from (Pulled(name), NotStarted(name, "pull"))
        case Create(name):
            yield from (Created(name), NotStarted(name, "create"))
        case Start(name):
            yield from (Started(name), NotStarted(name, "start"))
        case Stop(name):
            yield Exited(name, 143)


@settings(max_examples=300, deadline=None)
@given(tasks(), st.data())
def test_whatever_happens_a_task_comes_to_its_end(subject: Task, data: st.DataObject) -> None:
    """Effects are answered in any order, containers end by themselves, the server stops the task, news come twice."""
    subject, pending = step(subject, Accepted())
    reports: list[str] = []
    releases = 0
    for _ in range(200):
        running = [each.name for each in subject.containers if each.known is Status.RUNNING]
        open_effects = [each for each in pending if isinstance(each, Pull | Create | Start | Stop)]
        choices: list[tuple[Effect | None, Event]] = [
            (effect, event) for effect in open_effects for event in answers(effect)
        ]
        choices += [(None, Exited(name, code)) for name in running for code in (0, 1)]
        if not choices:
            break
        choices += [(None, StopWanted()), (None, Accepted())]
        effect, event = data.draw(st.sampled_from(choices))
        before = subject
        subject, more = step(subject, event)
        check(before, subject, more)
        pending = [each for each in pending if each is not effect] + more
        reports += [each.status for each in more if isinstance(each, Report)]
        releases += more.count(Release())
        for each in more:
            if isinstance(each, Start):
                container = subject.container(each.name)
                others = {other.name: other for other in subject.containers}
                assert machine.may_start(container, others)
    else:
        subject, more = step(subject, StopWanted())
        return
    assert subject.has_ended
    assert reports in (["STOPPED"], ["RUNNING", "STOPPED"])
    assert releases == 1
    assert subject == replace(subject, changes=())

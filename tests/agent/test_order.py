from __future__ import annotations

import pytest

from longshore.agent.order import Container, Dependency, Status, broken_dependency, circle, may_start, may_stop


def containers(**depends_on: str) -> dict[str, Container]:
    return {
        name: Container(name=name, depends_on=tuple(Dependency(each, "START") for each in others.split()))
        for name, others in depends_on.items()
    }


@pytest.mark.parametrize(
    ("depends_on", "stuck"),
    [
        ({"a": ""}, None),
        ({"a": "b", "b": ""}, None),
        ({"a": "b c", "b": "c", "c": ""}, None),
        ({"a": "a"}, "a"),
        ({"a": "b", "b": "a"}, "a"),
        ({"a": "", "b": "nowhere"}, "b"),
    ],
)
def test_a_circle_is_found(depends_on: dict[str, str], stuck: str | None) -> None:
    assert circle(containers(**depends_on)) == stuck


@pytest.mark.parametrize(
    ("condition", "known", "exit_code", "met", "broken"),
    [
        ("START", Status.CREATED, None, False, False),
        ("START", Status.RUNNING, None, True, False),
        ("START", Status.STOPPED, 1, True, False),
        ("START", Status.STOPPED, None, False, True),
        ("COMPLETE", Status.RUNNING, None, False, False),
        ("COMPLETE", Status.STOPPED, 1, True, False),
        ("SUCCESS", Status.STOPPED, 0, True, False),
        ("SUCCESS", Status.STOPPED, 1, False, True),
        ("HEALTHY", Status.RUNNING, None, False, False),
    ],
)
def test_conditions(condition: str, known: Status, exit_code: int | None, met: bool, broken: bool) -> None:
    waiting = Container(name="main", depends_on=(Dependency("side", condition),))
    others = {"main": waiting, "side": Container(name="side", known=known, exit_code=exit_code)}
    assert may_start(waiting, others) is met
    assert broken_dependency(waiting, others) == ("side" if broken else None)


def test_a_container_ends_after_those_that_wait_for_it() -> None:
    others = containers(app="db", db="")
    assert may_stop(others["app"], others)
    assert not may_stop(others["db"], others)

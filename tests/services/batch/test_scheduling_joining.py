"""When an environment whose instances do not join is given up."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.services.batch.scheduling.joining import deadline, has_failed, next_deadline
from longshore.services.batch.scheduling.snapshot import EnvironmentView, InstanceView, Snapshot

START = 1_000_000


def instance(phase: str = "launched", launched_at: int | None = START, **more: Any) -> InstanceView:
    given: dict[str, Any] = {
        "number": 1, "instance_id": "i-1", "instance_type": "c", "cpu": 2048, "memory_mib": 4096,
        "connected": phase == "joined", "phase": phase, "launched_at": launched_at,
    }  # fmt: skip
    return InstanceView(**{**given, **more})


def environment(*instances: InstanceView, **more: Any) -> EnvironmentView:
    given = {"managed": True, "enabled": True, "status": "VALID", "status_reason": ""}
    return EnvironmentView(number=1, name="ce", instances=instances, **{**given, **more})


# (what there is, the environment, when it is given up)
CASES: list[tuple[str, EnvironmentView, int | None]] = [
    ("no instance", environment(), None),
    ("one that is awaited", environment(instance()), START + 60_000),
    ("the first of two counts", environment(instance(launched_at=START + 5), instance()), START + 60_000),
    ("one that is only asked for", environment(instance("asked", launched_at=None)), None),
    ("one that is on its way out", environment(instance("retiring")), None),
    ("one that joined", environment(instance("joined")), None),
    ("one that joined and was lost", environment(instance("joined", connected=False, disconnected_at=START)), None),
    ("one that may not listen", environment(instance("joined", connected=False)), START + 60_000),
    ("one of two joined", environment(instance(), instance("joined")), None),
    ("one that is to be replaced", environment(instance(outdated_until=START)), None),
    ("INVALID already", environment(instance(), status="INVALID"), None),
    ("unmanaged", environment(instance(), managed=False), None),
]


@pytest.mark.parametrize("name, view, moment", CASES, ids=[case[0] for case in CASES])
def test_when_it_is_given_up(name: str, view: EnvironmentView, moment: int | None) -> None:
    assert deadline(view, since=0, join_seconds=60) == moment
    assert next_deadline(Snapshot((), {1: view}), since=0, join_seconds=60) == moment
    if moment is not None:
        assert not has_failed(view, moment - 1, since=0, join_seconds=60)
    assert has_failed(view, START + 60_000, since=0, join_seconds=60) is (moment is not None)


def test_while_the_server_was_away_nobody_could_join() -> None:
    view = environment(instance())
    assert not has_failed(view, START + 900_000, since=START + 890_000, join_seconds=60)
    assert has_failed(view, START + 950_000, since=START + 890_000, join_seconds=60)

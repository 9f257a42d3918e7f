"""Why a job waits: AWS's texts at the head of a queue, and all of it in plain words."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.services.batch.records import Trouble
from longshore.services.batch.scheduling.explain import blocked_reason, explain
from longshore.services.batch.scheduling.snapshot import (
    EnvironmentView,
    Head,
    InstanceType,
    InstanceView,
    QueueView,
    Snapshot,
)

NOW = 1_000_000_000
SMALL, LARGE = InstanceType("c.small", 2048, 4064), InstanceType("c.large", 16384, 32736)


def instance(phase: str = "joined", **more: Any) -> InstanceView:
    given: dict[str, Any] = {
        "number": 1, "instance_id": "i-1", "instance_type": "c.small", "cpu": 2048, "memory_mib": 4064,
        "connected": phase == "joined", "launched_at": NOW, "asked_at": NOW,
    }  # fmt: skip
    return InstanceView(phase=phase, **{**given, **more})


def environment(*instances: InstanceView, number: int = 1, **more: Any) -> EnvironmentView:
    given = {
        "managed": True, "enabled": True, "status": "VALID", "status_reason": "ComputeEnvironment Healthy",
        "vcpus_max": 4, "types": (SMALL, LARGE),
    }  # fmt: skip
    return EnvironmentView(number=number, name=f"ce{number}", instances=instances, **{**given, **more})


def snapshot(*views: EnvironmentView) -> Snapshot:
    numbers = tuple(view.number for view in views)
    one = QueueView(number=1, name="q", priority=1, valid=True, environments=numbers)
    return Snapshot((one,), {view.number: view for view in views})


ONE = Head(1, 1024, 1024)


def trouble(code: str, text: str = "why", until: int = NOW + 1, instance_type: str | None = None) -> dict[str, Any]:
    return {"troubles": (Trouble(text, code, until, instance_type=instance_type),)}


ROLE = "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS – Batch service role has a permission issue."
JOB = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher than that can"
    " be met by the CE(s) attached to the job queue."
)
CPU = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot meet the CPU"
    " requirement of the job."
)
INVALID = "ACTION_REQUIRED - CE(s) associated with the job queue are invalid."
CAPACITY = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for instance type"
    " [c.small] ce1: why"
)
ABSENT = "ACTION_REQUIRED - instance i-1 of compute environment ce1 has not joined its cluster"
SILENT = "ACTION_REQUIRED - the agent of instance i-1 of compute environment ce1 is not connected"

# (what is so, the environments, the job, the statusReason at the head)
BLOCKED: list[tuple[str, tuple[EnvironmentView, ...], Head, str | None]] = [
    ("nothing is there yet", (environment(),), ONE, None),
    ("one is on its way", (environment(instance("launched")),), ONE, None),
    ("all is taken", (environment(instance(jobs=2, cpu_used=2048)),), ONE, None),
    ("being made", (environment(status="CREATING"),), ONE, None),
    ("being changed", (environment(status="UPDATING"),), ONE, None),
    ("DISABLED", (environment(enabled=False),), ONE, "ACTION_REQUIRED - compute environment ce1 is DISABLED"),
    ("INVALID", (environment(status="INVALID", status_reason="CLIENT_ERROR - x"),), ONE,
     f"{INVALID} ce1: CLIENT_ERROR - x"),
    ("too much memory", (environment(vcpus_max=64),), Head(1, 1024, 99_999), JOB),
    ("a GPU", (environment(vcpus_max=64),), Head(1, 1024, 1024, gpus=1), JOB),
    ("more vCPUs than maxvCpus", (environment(),), Head(1, 8192, 1024), CPU),
    ("which one instance may exceed", (environment(may_exceed=True),), Head(1, 8192, 1024), None),
    ("the service role lacks something", (environment(**trouble("permissions")),), ONE, f"{ROLE} ce1: why"),
    ("it may not start tasks", (environment(instance(), **trouble("start")),), ONE, f"{ROLE} ce1: why"),
    ("which is over", (environment(**trouble("permissions", until=NOW)),), ONE, None),
    ("a launch was refused", (environment(**trouble("launch")),), ONE,
     "ACTION_REQUIRED - compute environment ce1 can't launch instances: why"),
    ("no capacity", (environment(**trouble("capacity", instance_type="c.small")),), ONE, CAPACITY),
    ("no capacity for more, but one is there",
     (environment(instance(jobs=1), **trouble("capacity", instance_type="c.small")),), ONE, None),
    ("no capacity for a large one, a small one will do",
     (environment(**trouble("capacity", instance_type="c.large")),), ONE, None),
    ("late", (environment(instance("launched", launched_at=NOW - 20_000)),), ONE,
     f"{ABSENT}, more than 20 s after its launch"),
    ("very late", (environment(instance("launched", launched_at=NOW - 500_000)),), ONE,
     f"{ABSENT}, more than 120 s after its launch"),
    ("refused", (environment(instance("launched", refusal="User: x is not authorized")),), ONE,
     f"{ABSENT}: its agent's call was refused: User: x is not authorized"),
    ("a broken chain", (environment(instance("launched"), diagnosis=("instance profile x holds no role",)),), ONE,
     f"{ABSENT}: instance profile x holds no role"),
    ("a silent agent, for a moment", (environment(instance(connected=False, disconnected_at=NOW - 19_999)),), ONE, None),
    ("a silent agent", (environment(instance(connected=False, disconnected_at=NOW - 20_000)),), ONE,
     f"{SILENT} for more than 20 s"),
    ("an agent that may not listen", (environment(instance(connected=False, refusal="no")),), ONE,
     f"{SILENT}: its agent's call was refused: no"),
    ("a broken chain of one that was there",
     (environment(instance(connected=False, disconnected_at=NOW), diagnosis=("x",)),), ONE, f"{SILENT}: x"),
    ("an unmanaged one without instances", (environment(managed=False, types=()),), ONE,
     "ACTION_REQUIRED - unmanaged compute environment ce1 has no instance"),
    ("an unmanaged one, too small", (environment(instance(), managed=False, types=()),), Head(1, 8192, 1024), JOB),
    ("one environment can't, the other may",
     (environment(enabled=False), environment(number=2)), ONE, None),
    ("neither can", (environment(status="INVALID", status_reason="x"), environment(number=2, enabled=False)), ONE,
     f"{INVALID} ce1: x"),
    ("no environment is left", (), ONE, INVALID),
]  # fmt: skip


@pytest.mark.parametrize("name, views, head, expected", BLOCKED, ids=[row[0] for row in BLOCKED])
def test_the_head_of_a_queue_is_told_why_it_stands(
    name: str, views: tuple[EnvironmentView, ...], head: Head, expected: str | None
) -> None:
    seen = snapshot(*views)
    assert blocked_reason(seen, seen.queues[0], head, NOW) == expected


EXPLAINED: list[tuple[str, tuple[EnvironmentView, ...], Head, int, list[str]]] = [
    ("nothing is there yet", (environment(),), ONE, 0, ["compute environment ce1 has room or is about to make it"]),
    ("others are before it", (environment(),), ONE, 2,
     ["2 jobs are before it in job queue q, which starts them in order",
      "compute environment ce1 has room or is about to make it"]),
    ("one is asked for", (environment(instance("asked", instance_id=None)),), ONE, 0,
     ["compute environment ce1 is launching an instance of type c.small"]),
    ("one is on its way", (environment(instance("launched", launched_at=NOW - 3_000)),), ONE, 0,
     ["instance i-1 launched 3 s ago and has not joined its cluster yet"]),
    ("all is taken", (environment(instance(jobs=2)),), ONE, 0,
     ["compute environment ce1: its 1 instance (2 of at most 4 vCPUs) is taken by 2 jobs"]),
    ("DISABLED", (environment(enabled=False),), ONE, 0, ["compute environment ce1 is DISABLED"]),
    ("INVALID", (environment(status="INVALID", status_reason="x"),), ONE, 0, ["compute environment ce1 is INVALID: x"]),
    ("too large", (environment(),), Head(1, 2048, 99_999), 0,
     ["the job needs 2 vCPUs and 99999 MiB; the largest instance that compute environment ce1 may have (c.small) offers"
      " 2 vCPUs and 4064 MiB"]),
    ("too large for all it has", (environment(instance(), managed=False, types=()),), Head(1, 4096, 10), 0,
     ["the job needs 4 vCPUs and 10 MiB; no instance registered in compute environment ce1 is that large"]),
    ("less than the smallest", (environment(vcpus_max=1),), ONE, 0,
     ["the job needs 1 vCPUs and 1024 MiB; compute environment ce1 allows 1 vCPUs, less than its smallest type has"]),
    ("a GPU", (environment(),), Head(1, 1024, 10, gpus=2), 0,
     ["the job needs 1 vCPUs and 10 MiB and 2 GPUs; compute environment ce1 has no GPU"]),
    ("a trouble", (environment(**trouble("launch")),), ONE, 0, ["compute environment ce1: why"]),
    ("a broken chain", (environment(instance("launched"), diagnosis=("x",)),), ONE, 0,
     ["instance i-1 of compute environment ce1 has not joined its cluster: x"]),
    ("held", (environment(instance(held_until=NOW + 1, held_because="RESOURCE:MEMORY")),), ONE, 0,
     ["instance i-1 is left alone for a moment, since ECS refused a task there: RESOURCE:MEMORY"]),
    ("drained", (environment(instance(active=False)),), ONE, 0,
     ["instance i-1 takes no new jobs, since its container instance is not ACTIVE"]),
    ("being replaced", (environment(instance(outdated_until=NOW + 1, jobs=1)),), ONE, 0,
     ["instance i-1 takes no new jobs, since compute environment ce1 was updated; it goes when it has none"]),
    ("going", (environment(instance("retiring")),), ONE, 0, ["instance i-1 is being terminated"]),
    ("silent for a moment", (environment(instance(connected=False, disconnected_at=NOW)),), ONE, 0,
     ["the agent of instance i-1 is not connected"]),
    ("each environment says its own", (environment(enabled=False), environment(number=2, enabled=False)), ONE, 0,
     ["compute environment ce1 is DISABLED", "compute environment ce2 is DISABLED"]),
]  # fmt: skip


@pytest.mark.parametrize("name, views, head, ahead, expected", EXPLAINED, ids=[row[0] for row in EXPLAINED])
def test_a_waiting_job_is_explained(
    name: str, views: tuple[EnvironmentView, ...], head: Head, ahead: int, expected: list[str]
) -> None:
    assert explain(snapshot(*views), 1, head, ahead, NOW) == expected


def test_whatever_stands_at_the_head_of_a_queue_can_be_explained() -> None:
    for _, views, head, _ in BLOCKED:
        if views:
            assert explain(snapshot(*views), 1, head, 0, NOW)


def test_a_queue_that_is_gone_or_not_valid_is_said_so() -> None:
    seen = snapshot(environment())
    assert explain(seen, 9, ONE, 0, NOW) == ["its job queue is gone"]
    creating = Snapshot((QueueView(number=1, name="q", priority=1, valid=False, environments=(1,)),), seen.environments)
    assert explain(creating, 1, ONE, 0, NOW)[0] == "job queue q is not VALID"

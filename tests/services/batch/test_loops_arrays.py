"""Array jobs through the whole house: real agents on `memory` machines, containers whose ends are scripted, virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from batch_house import BatchHouse
from in_process import InProcessHouse

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
DEPENDENCY_FAILED = "Dependent Job failed"
SEQUENTIAL = {"type": "SEQUENTIAL"}


@pytest.fixture
def batch(house: InProcessHouse) -> Iterator[BatchHouse]:
    """With the whole chain. At the end, what the scheduler remembers is what the store says."""
    made = BatchHouse(house).chain()
    yield made
    made.assert_memory_is_the_store()


def array(batch: BatchHouse, size: int, **more: Any) -> str:
    return batch.submit(arrayProperties={"size": size}, **more)


def n_to_n(job_id: str) -> dict[str, str]:
    return {"jobId": job_id, "type": "N_TO_N"}


def children(batch: BatchHouse, job_id: str, size: int) -> list[dict[str, Any]]:
    """As DescribeJobs shows them, by index."""
    shown = batch.batch.describe_jobs(jobs=[f"{job_id}:{index}" for index in range(size)])["jobs"]
    assert [each["jobId"] for each in shown] == [f"{job_id}:{index}" for index in range(size)]
    return list(shown)


def statuses(batch: BatchHouse, job_id: str, size: int) -> list[str]:
    return [each["status"] for each in children(batch, job_id, size)]


def summary(batch: BatchHouse, job_id: str) -> dict[str, int]:
    """Those that are not zero."""
    shown = batch.job(job_id)["arrayProperties"]["statusSummary"]
    assert tuple(sorted(shown)) == tuple(sorted(STATUSES))
    return {status: number for status, number in shown.items() if number}


def settle(batch: BatchHouse, job_id: str, **counts: int) -> None:
    batch.house.settle(lambda: summary(batch, job_id) == counts, 300.0)


# --- run ---


def test_an_array_is_run_child_by_child(batch: BatchHouse) -> None:
    job_id = array(batch, 3, script={"LOG": "one\\ntwo"})
    parent = batch.ended(job_id)
    assert parent["status"] == "SUCCEEDED"
    assert (parent["attempts"], parent["isTerminated"]) == ([], False)
    assert "taskArn" not in parent["container"]
    assert parent["arrayProperties"]["size"] == 3
    assert parent["arrayProperties"]["statusSummary"] == {**dict.fromkeys(STATUSES, 0), "SUCCEEDED": 3}
    assert parent["arrayProperties"]["statusSummaryLastUpdatedAt"] == parent["stoppedAt"]
    streams = set()
    for index, child in enumerate(children(batch, job_id, 3)):
        assert child["arrayProperties"] == {"index": index}
        assert (child["jobArn"], child["jobName"]) == (f"{parent['jobArn']}:{index}", "job")
        assert (child["status"], len(child["attempts"]), child["container"]["exitCode"]) == ("SUCCEEDED", 1, 0)
        stream = child["container"]["logStreamName"]
        streams.add(stream)
        events = batch.logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)["events"]
        assert [event["message"] for event in events] == ["one", "two"]
        cluster = batch.described()["ecsClusterArn"]
        (task,) = batch.ecs.describe_tasks(cluster=cluster, tasks=[child["container"]["taskArn"]])["tasks"]
        (override,) = task["overrides"]["containerOverrides"]
        told = {each["name"]: each["value"] for each in override["environment"]}
        assert told["AWS_BATCH_JOB_ID"] == f"{job_id}:{index}"
        assert told["AWS_BATCH_JOB_ARRAY_INDEX"] == str(index)
    assert len(streams) == 3

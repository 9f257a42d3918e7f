"""Array jobs through the whole house: real agents on `memory` machines, containers whose ends are scripted, virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from batch_house import BatchHouse, heard
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


def test_a_child_that_fails_stops_no_other_and_is_told_on_the_parent(batch: BatchHouse) -> None:
    """Each child is tried as often as the job allows, and the parent waits for all."""
    job_id = array(batch, 3, script={"EXIT_CODE": "1,0", "RUN_SECONDS": "5"}, retryStrategy={"attempts": 2})
    batch.until(f"{job_id}:1", "RUNNING")
    batch.batch.terminate_job(jobId=f"{job_id}:1", reason="not this one")
    parent = batch.ended(job_id)
    assert (parent["status"], parent["statusReason"]) == ("FAILED", "Array Child Job failed")
    assert (parent["isTerminated"], parent["isCancelled"]) == (False, False)
    first, second, third = children(batch, job_id, 3)
    assert [len(each["attempts"]) for each in (first, second, third)] == [2, 1, 2]
    assert [each["status"] for each in (first, second, third)] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert (second["statusReason"], second["isTerminated"]) == ("not this one", True)
    assert parent["stoppedAt"] >= max(each["stoppedAt"] for each in (first, second, third))


def test_the_timeout_is_each_childs_own(batch: BatchHouse) -> None:
    job_id = array(batch, 2, script={"RUN_SECONDS": "1000"}, timeout={"attemptDurationSeconds": 60})
    assert batch.ended(job_id, 600.0)["status"] == "FAILED"
    for child in children(batch, job_id, 2):
        assert child["statusReason"] == "Job attempt duration exceeded timeout"


def test_children_start_in_order_where_their_parent_was_submitted_and_retries_go_first(batch: BatchHouse) -> None:
    """One place: what runs is what comes first."""
    batch.environment("small", maxvCpus=2, instanceTypes=["c6i.large"])
    batch.queue("narrow", "small")
    batch.define("wide", vcpus="2")
    before = batch.submit(queue="narrow", definition="wide", script={"RUN_SECONDS": "1"})
    job_id = array(
        batch, 3, queue="narrow", definition="wide", script={"RUN_SECONDS": "1", "EXIT_CODE": "1,0"},
        retryStrategy={"attempts": 2},
    )  # fmt: skip
    after = batch.submit(queue="narrow", definition="wide", script={"RUN_SECONDS": "1"})
    batch.ended(after, 600.0)
    shown = [batch.job(before), *children(batch, job_id, 3), batch.job(after)]
    spans = [(each["attempts"][0]["startedAt"], each["attempts"][-1]["stoppedAt"]) for each in shown]
    assert spans == sorted(spans)
    assert all(ended <= began for (_, ended), (began, _) in pairwise(spans))


def test_an_array_of_ten_thousand_has_rows_only_for_what_has_been_placed(batch: BatchHouse) -> None:
    job_id = array(batch, 10_000, script={"RUN_SECONDS": "10000"})
    batch.house.settle(lambda: summary(batch, job_id).get("RUNNING") == 16, 300.0)
    assert summary(batch, job_id) == {"RUNNING": 16, "RUNNABLE": 9_984}
    rows = batch.house.house.store.read(lambda tx: tx._connection.execute("SELECT count(*) FROM batch_jobs").fetchone())
    assert rows[0] < 64  # The parent, those that run, and those that were told why they stand.
    last = batch.job(f"{job_id}:9999")
    assert (last["status"], last["attempts"], last["arrayProperties"]) == ("RUNNABLE", [], {"index": 9_999})
    assert last["createdAt"] == batch.job(f"{job_id}:0")["createdAt"]
    reasons = batch.explained(f"{job_id}:9999")
    assert reasons[0] == "9983 jobs are before it in job queue q, which starts them in order"
    behind = batch.submit()
    batch.until(behind, "RUNNABLE")
    assert batch.explained(behind)[0] == "9984 jobs are before it in job queue q, which starts them in order"
    batch.batch.terminate_job(jobId=job_id, reason="enough")
    parent = batch.ended(job_id, 600.0)
    assert (parent["status"], parent["statusReason"], parent["isTerminated"]) == ("FAILED", "enough", True)
    assert summary(batch, job_id) == {"FAILED": 10_000}
    assert batch.job(f"{job_id}:9999")["statusReason"] == "enough"
    assert batch.job(f"{job_id}:9999")["isTerminated"] is True
    assert batch.ended(behind)["status"] == "SUCCEEDED"


# --- called off ---


def test_a_cancelled_array_lets_those_go_on_that_have_started(batch: BatchHouse) -> None:
    job_id = array(batch, 20, script={"RUN_SECONDS": "30"})
    settle(batch, job_id, RUNNING=16, RUNNABLE=4)
    batch.batch.cancel_job(jobId=job_id, reason="too many")
    parent = batch.ended(job_id, 600.0)
    assert (parent["status"], parent["statusReason"], parent["isCancelled"]) == ("FAILED", "too many", True)
    assert statuses(batch, job_id, 20) == ["SUCCEEDED"] * 16 + ["FAILED"] * 4
    last = batch.job(f"{job_id}:19")
    assert (last["statusReason"], last["isCancelled"], last["attempts"]) == ("too many", True, [])


def test_a_cancelled_array_all_of_whose_children_had_started_succeeds(batch: BatchHouse) -> None:
    job_id = array(batch, 2, script={"RUN_SECONDS": "30"})
    settle(batch, job_id, RUNNING=2)
    batch.batch.cancel_job(jobId=job_id, reason="too late")
    parent = batch.ended(job_id)
    assert (parent["status"], parent["isCancelled"], "statusReason" in parent) == ("SUCCEEDED", True, False)


def test_a_terminated_array_has_those_stopped_that_run(batch: BatchHouse) -> None:
    job_id = array(batch, 20, script={"RUN_SECONDS": "1000"})
    settle(batch, job_id, RUNNING=16, RUNNABLE=4)
    batch.batch.cancel_job(jobId=job_id, reason="first")
    batch.batch.terminate_job(jobId=job_id, reason="second")
    parent = batch.ended(job_id, 600.0)
    assert (parent["status"], parent["statusReason"]) == ("FAILED", "first")
    shown = children(batch, job_id, 20)
    assert {each["status"] for each in shown} == {"FAILED"}
    assert [each["container"].get("exitCode") for each in shown[:16]] == [143] * 16
    assert {each["statusReason"] for each in shown[:16]} == {"second"}
    assert all("exitCode" not in each["container"] for each in shown[16:])


def test_of_a_child_that_is_called_off_alone_the_others_know_nothing(batch: BatchHouse) -> None:
    job_id = array(batch, 20, script={"RUN_SECONDS": "30"})
    settle(batch, job_id, RUNNING=16, RUNNABLE=4)
    batch.batch.cancel_job(jobId=f"{job_id}:18", reason="not this one")
    assert summary(batch, job_id) == {"RUNNING": 16, "RUNNABLE": 3, "FAILED": 1}
    assert batch.ended(job_id, 600.0)["statusReason"] == "Array Child Job failed"
    expected = ["SUCCEEDED"] * 18 + ["FAILED", "SUCCEEDED"]
    assert statuses(batch, job_id, 20) == expected


def test_an_array_ends_with_its_queue(batch: BatchHouse) -> None:
    other = array(batch, 40, script={"RUN_SECONDS": "1000"})
    batch.environment("second", maxvCpus=4)
    batch.queue("going", "second")
    runs = array(batch, 30, queue="going", script={"RUN_SECONDS": "1000"})
    waits = array(batch, 40, queue="going", dependsOn=[n_to_n(other)])
    held = array(batch, 5, queue="going", dependsOn=[{"jobId": other}])
    settle(batch, waits, PENDING=40)
    settle(batch, runs, RUNNING=4, RUNNABLE=26)
    batch.batch.update_job_queue(jobQueue="going", state="DISABLED")
    batch.house.settle(lambda: batch.queue_described("going")["status"] == "VALID")
    batch.batch.delete_job_queue(jobQueue="going")
    batch.house.settle(lambda: batch.queue_described("going")["status"] is None, 300.0)
    for job_id, size in ((runs, 30), (waits, 40), (held, 5)):
        assert batch.job(job_id)["status"] == "FAILED"
        assert batch.job(job_id)["statusReason"] == "Job queue deleted"
        assert summary(batch, job_id) == {"FAILED": size}
    assert batch.job(other)["status"] == "PENDING"


# --- dependencies ---


def test_what_depends_on_an_array_waits_for_all_of_it(batch: BatchHouse) -> None:
    job_id = array(batch, 3, script={"RUN_SECONDS": "10"})
    after = batch.submit(dependsOn=[{"jobId": job_id}])
    assert batch.ended(after)["status"] == "SUCCEEDED"
    assert batch.job(after)["startedAt"] >= batch.job(job_id)["stoppedAt"]


def test_what_depends_on_one_child_waits_for_it_alone(batch: BatchHouse) -> None:
    """Whether the child has a row yet or not, and however it ends."""
    job_id = array(batch, 20, script={"RUN_SECONDS": "30"})
    after_first, after_last = (batch.submit(dependsOn=[{"jobId": f"{job_id}:{index}"}]) for index in (0, 19))
    after_lost = batch.submit(dependsOn=[{"jobId": f"{job_id}:18"}])
    settle(batch, job_id, RUNNING=16, RUNNABLE=4)
    batch.batch.cancel_job(jobId=f"{job_id}:18", reason="no")
    assert batch.ended(after_lost)["statusReason"] == DEPENDENCY_FAILED
    assert batch.ended(after_first)["status"] == "SUCCEEDED"
    assert batch.ended(after_last, 600.0)["status"] == "SUCCEEDED"
    assert batch.job(after_last)["startedAt"] >= batch.job(f"{job_id}:19")["stoppedAt"]


def test_what_depends_on_children_that_are_called_off_with_their_array_fails(batch: BatchHouse) -> None:
    first = batch.submit(script={"RUN_SECONDS": "100"})
    job_id = array(batch, 200, dependsOn=[{"jobId": first}])
    after = [batch.submit(dependsOn=[{"jobId": f"{job_id}:{index}"}]) for index in (3, 3, 150)]
    batch.batch.terminate_job(jobId=job_id, reason="enough")
    batch.batch.terminate_job(jobId=first, reason="enough")
    assert batch.ended(job_id)["statusReason"] == "enough"
    assert [batch.ended(each)["statusReason"] for each in after] == [DEPENDENCY_FAILED] * 3


def test_an_array_is_spawned_when_what_it_depends_on_has_succeeded(batch: BatchHouse) -> None:
    first = batch.submit(script={"RUN_SECONDS": "30"})
    job_id = array(batch, 3, dependsOn=[{"jobId": first}])
    settle(batch, job_id, PENDING=3)
    assert batch.job(f"{job_id}:2")["status"] == "PENDING"
    assert batch.ended(job_id)["status"] == "SUCCEEDED"
    spawned = {each["createdAt"] for each in children(batch, job_id, 3)}
    assert len(spawned) == 1
    assert min(spawned) >= batch.job(first)["stoppedAt"]


def test_an_array_fails_whole_with_what_it_depends_on(batch: BatchHouse) -> None:
    first = batch.submit(script={"EXIT_CODE": "1", "RUN_SECONDS": "10"})
    job_id = array(batch, 3_000, dependsOn=[{"jobId": first}])
    after = array(batch, 3_000, dependsOn=[n_to_n(job_id)])
    for each in (job_id, after):
        parent = batch.ended(each)
        assert (parent["status"], summary(batch, each)) == ("FAILED", {"FAILED": 3_000})
        child = batch.job(f"{each}:2999")
        assert (child["statusReason"], child["attempts"], child["isCancelled"]) == (DEPENDENCY_FAILED, [], False)
    assert batch.job(job_id)["statusReason"] == DEPENDENCY_FAILED
    late = array(batch, 2, dependsOn=[{"jobId": job_id}])
    assert batch.ended(late)["statusReason"] == DEPENDENCY_FAILED


def test_n_to_n_each_child_waits_for_its_counterpart(batch: BatchHouse) -> None:
    first = array(batch, 20, script={"RUN_SECONDS": "30"})
    second = array(batch, 20, dependsOn=[n_to_n(first)])
    settle(batch, first, RUNNING=16, RUNNABLE=4)
    assert summary(batch, second) == {"PENDING": 20}
    batch.batch.terminate_job(jobId=f"{first}:1", reason="no")
    batch.batch.terminate_job(jobId=f"{first}:19", reason="no")
    batch.ended(f"{second}:0")
    assert batch.job(first)["status"] == "PENDING"  # What it waited for was the child alone.
    assert batch.ended(second, 600.0)["statusReason"] == "Array Child Job failed"
    shown = children(batch, second, 20)
    assert [each["jobId"] for each in shown if each["status"] == "FAILED"] == [f"{second}:1", f"{second}:19"]
    assert (shown[19]["statusReason"], shown[19]["attempts"]) == (DEPENDENCY_FAILED, [])
    for before, after in zip(children(batch, first, 20), shown, strict=True):
        if after["status"] == "SUCCEEDED":
            assert after["startedAt"] >= before["stoppedAt"]


def test_n_to_n_on_an_array_that_has_ended_looks_at_each_child(batch: BatchHouse) -> None:
    first = array(batch, 130)
    settle_by = [f"{first}:{index}" for index in (3, 70, 129)]
    for each in settle_by:
        batch.batch.cancel_job(jobId=each, reason="no")
    batch.ended(first, 900.0)
    second = array(batch, 130, dependsOn=[n_to_n(first)])
    assert batch.ended(second, 900.0)["status"] == "FAILED"
    assert statuses(batch, second, 100) == statuses(batch, first, 100)
    assert summary(batch, second) == summary(batch, first) == {"SUCCEEDED": 127, "FAILED": 3}
    third = array(batch, 130, dependsOn=[n_to_n(first), n_to_n(second)])
    assert batch.ended(third, 900.0)["status"] == "FAILED"
    assert summary(batch, third) == summary(batch, first)


def test_n_to_n_on_two_arrays_waits_for_both(batch: BatchHouse) -> None:
    quick = array(batch, 2)
    slow = array(batch, 2, script={"RUN_SECONDS": "50"})
    third = array(batch, 2, dependsOn=[n_to_n(quick), n_to_n(slow)])
    batch.ended(quick)
    assert summary(batch, third) == {"PENDING": 2}
    assert batch.ended(third)["status"] == "SUCCEEDED"
    assert batch.job(f"{third}:0")["startedAt"] >= batch.job(f"{slow}:0")["stoppedAt"]


def test_a_child_that_waits_for_its_counterpart_is_called_off_when_that_has_ended(batch: BatchHouse) -> None:
    first = array(batch, 2, script={"RUN_SECONDS": "30"})
    second = array(batch, 2, dependsOn=[n_to_n(first)])
    settle(batch, second, PENDING=2)
    batch.batch.cancel_job(jobId=f"{second}:0", reason="alone")
    batch.batch.terminate_job(jobId=second, reason="all")
    shown = children(batch, second, 2)
    assert [(each["status"], each["isCancelled"], each["isTerminated"]) for each in shown] == [
        ("PENDING", True, True),
        ("PENDING", False, True),
    ]
    assert batch.ended(second)["statusReason"] == "all"
    assert [each["statusReason"] for each in children(batch, second, 2)] == ["alone", "all"]
    assert batch.ended(first)["status"] == "SUCCEEDED"


def test_sequential_children_run_one_after_another(batch: BatchHouse) -> None:
    job_id = array(batch, 4, dependsOn=[SEQUENTIAL], script={"RUN_SECONDS": "5"})
    batch.until(f"{job_id}:0", "RUNNING")
    assert summary(batch, job_id) == {"RUNNING": 1, "PENDING": 3}
    assert batch.ended(job_id)["status"] == "SUCCEEDED"
    shown = children(batch, job_id, 4)
    assert all(after["startedAt"] >= before["stoppedAt"] for before, after in pairwise(shown))


def test_sequential_after_a_child_that_failed_no_other_is_started(batch: BatchHouse) -> None:
    job_id = array(batch, 5_000, dependsOn=[SEQUENTIAL], script={"EXIT_CODE": "1"}, retryStrategy={"attempts": 2})
    parent = batch.ended(job_id, 300.0)
    assert (parent["status"], parent["statusReason"]) == ("FAILED", "Array Child Job failed")
    assert summary(batch, job_id) == {"FAILED": 5_000}
    first, second = children(batch, job_id, 2)
    assert (len(first["attempts"]), len(second["attempts"])) == (2, 0)
    assert second["statusReason"] == batch.job(f"{job_id}:4999")["statusReason"] == DEPENDENCY_FAILED


@pytest.mark.parametrize("operation", ["cancel_job", "terminate_job"])
def test_sequential_called_off_in_the_midst(batch: BatchHouse, operation: str) -> None:
    job_id = array(batch, 3, dependsOn=[SEQUENTIAL], script={"RUN_SECONDS": "60"})
    batch.until(f"{job_id}:0", "RUNNING")
    getattr(batch.batch, operation)(jobId=job_id, reason="enough")
    assert batch.ended(job_id, 300.0)["statusReason"] == "enough"
    first, *others = children(batch, job_id, 3)
    assert first["status"] == ("SUCCEEDED" if operation == "cancel_job" else "FAILED")
    assert [(each["status"], each["attempts"]) for each in others] == [("FAILED", [])] * 2
    assert others[0]["statusReason"] == "enough"


def test_sequential_and_n_to_n_at_once(batch: BatchHouse) -> None:
    first = array(batch, 3, script={"RUN_SECONDS": "5"})
    second = array(batch, 3, dependsOn=[n_to_n(first), SEQUENTIAL], script={"RUN_SECONDS": "5"})
    assert batch.ended(second, 300.0)["status"] == "SUCCEEDED"
    shown = children(batch, second, 3)
    assert all(after["startedAt"] >= before["stoppedAt"] for before, after in pairwise(shown))
    for before, after in zip(children(batch, first, 3), shown, strict=True):
        assert after["startedAt"] >= before["stoppedAt"]


# --- what is told ---


def test_each_childs_changes_are_told_once(batch: BatchHouse) -> None:
    """Where somebody hears them: by themselves, in order; of those that never had a row, too."""
    told = heard(batch, "Batch Job State Change")
    job_id = array(batch, 70, dependsOn=[SEQUENTIAL], script={"RUN_SECONDS": "5"})
    batch.until(f"{job_id}:1", "RUNNING", "SUCCEEDED")
    batch.batch.terminate_job(jobId=job_id, reason="enough")
    batch.ended(job_id, 300.0)
    assert len(told) == len(set(told))
    assert [status for of, status in told if of == job_id] == ["PENDING", "FAILED"]
    assert [status for of, status in told if of == f"{job_id}:0"] == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    assert [status for of, status in told if of == f"{job_id}:69"] == ["PENDING", "FAILED"]

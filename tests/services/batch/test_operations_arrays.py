"""Array jobs at the front door: submitted, shown, listed, tagged, called off. The loops stand still."""

from __future__ import annotations

from typing import Any

import pytest

from batch_room import Room, arn, denial, refusal
from in_process import ACCOUNT, REGION
from longshore.services.batch import lifecycle, store
from longshore.services.batch.lifecycle import Placed, Released

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
UNKNOWN = "9e3779b9-7f4b-41b4-8998-f31f6a16258c"


def listed(room: Room, job_id: str, status: str | None = None, **more: Any) -> list[int]:
    """Indices, over all pages."""
    if status is not None:
        more["jobStatus"] = status
    pages = room.batch.get_paginator("list_jobs").paginate(arrayJobId=job_id, **more)
    return [each["arrayProperties"]["index"] for page in pages for each in page["jobSummaryList"]]


def summary(room: Room, job_id: str) -> dict[str, int]:
    counts = room.job(job_id)["arrayProperties"]["statusSummary"]
    return {status: number for status, number in counts.items() if number}


# --- submitted ---


def test_an_array_is_answered_as_any_job_and_shown_with_its_children(ready: Room) -> None:
    answer = ready.batch.submit_job(
        jobName="many", jobQueue="q", jobDefinition="jd", arrayProperties={"size": 10_000}, tags={"a": "b"}
    )
    job_id = answer["jobId"]
    assert answer["jobArn"] == arn(f"job/{job_id}")
    parent = ready.job(job_id)
    assert parent["arrayProperties"]["size"] == 10_000
    assert parent["arrayProperties"]["statusSummary"] == {**dict.fromkeys(STATUSES, 0), "SUBMITTED": 10_000}
    assert parent["arrayProperties"]["statusSummaryLastUpdatedAt"] == parent["createdAt"]
    first, last = (ready.job(f"{job_id}:{index}") for index in (0, 9_999))
    assert first["arrayProperties"] == {"index": 0}
    assert (last["jobId"], last["jobArn"]) == (f"{job_id}:9999", f"{answer['jobArn']}:9999")
    assert (last["jobName"], last["status"], last["attempts"]) == ("many", "SUBMITTED", [])
    for member in ("jobQueue", "jobDefinition", "container", "parameters", "dependsOn", "createdAt", "tags"):
        assert last[member] == parent[member]


def test_the_next_job_stands_behind_all_children(ready: Room) -> None:
    first = ready.array(10)
    second = ready.submit()
    third = ready.array(2)
    ready.spawn(third)
    ready.spawn(first)
    ready.befall(second, Released())

    def heads(call: Any) -> list[int]:
        queue = store.queue_named(call.transaction, ACCOUNT, REGION, "q")
        return [head[0] for head in store.heads(call.transaction, queue.number, 12)]

    found = [
        ready.read(lambda call, number=number: store.job(call.transaction, number)) for number in ready.read(heads)
    ]
    assert [each.job_id for each in found] == [*(f"{first}:{index}" for index in range(10)), second, f"{third}:0"]


SUBMISSIONS: list[tuple[dict[str, Any], str]] = [
    ({"arrayProperties": {"size": 0}}, "! Array size must be between 2 and 10000, got 0."),
    ({"arrayProperties": {"size": 1}}, "! Array size must be between 2 and 10000, got 1."),
    ({"arrayProperties": {"size": 10_001}}, "! Array size must be between 2 and 10000, got 10001."),
    ({"dependsOn": [{"type": "SEQUENTIAL"}]}, "! Dependency type SEQUENTIAL is only applicable for array jobs."),
    (
        {"arrayProperties": {}, "dependsOn": [{"type": "N_TO_N", "jobId": "x"}]},
        "! Dependency type N_TO_N is only applicable for array jobs.",
    ),
    (
        {"arrayProperties": {"size": 2}, "dependsOn": [{"type": "SEQUENTIAL", "jobId": "x"}]},
        "! jobId can not be provided for dependency type SEQUENTIAL.",
    ),
    ({"arrayProperties": {"size": 2}, "dependsOn": [{"type": "N_TO_N"}]}, "! jobId is required in dependsOn."),
    (
        {"arrayProperties": {"size": 2}, "dependsOn": [{"type": "N_TO_N", "jobId": UNKNOWN}]},
        f"Job {UNKNOWN} not found.",
    ),
]


def test_an_array_that_cannot_be(ready: Room) -> None:
    good = {"jobName": "job", "jobQueue": "q", "jobDefinition": "jd"}
    for change, text in SUBMISSIONS:
        assert refusal(ready.batch.submit_job, **{**good, **change}) == text, change


def test_n_to_n_needs_an_array_of_the_same_size(ready: Room) -> None:
    single, other = ready.submit(), ready.array(3)
    good = {"jobName": "job", "jobQueue": "q", "jobDefinition": "jd", "arrayProperties": {"size": 2}}
    for job_id, text in (
        (single, f"Job {single} is not an array job, so no N_TO_N dependency can be on it."),
        (f"{other}:1", f"Job {other}:1 is not an array job, so no N_TO_N dependency can be on it."),
        (
            other,
            f"An N_TO_N dependency must be on an array of the same size: {other} has 3 children, not 2.",
        ),
    ):
        depends_on = [{"jobId": job_id, "type": "N_TO_N"}]
        assert refusal(ready.batch.submit_job, **good, dependsOn=depends_on) == text
    depends_on = [{"jobId": f"{other}:3"}]
    assert refusal(ready.batch.submit_job, **good, dependsOn=depends_on) == f"Job {other}:3 not found."


def test_one_who_may_not_submit_submits_no_array(ready: Room) -> None:
    nobody = ready.user("nobody", {"Effect": "Allow", "Action": "batch:ListJobs", "Resource": "*"})
    text = denial(nobody.submit_job, jobName="j", jobQueue="q", jobDefinition="jd", arrayProperties={"size": 2})
    assert "batch:SubmitJob" in text


# --- shown ---


def test_ids_that_are_no_childs_are_left_out(ready: Room) -> None:
    job_id, single = ready.array(10), ready.submit()
    asked = [f"{job_id}:{index}" for index in ("10", "01", "-1", "x", "", "00000", "9", "+1")]
    asked += [f"{single}:0", f"{UNKNOWN[:-1]}e:0", f"{job_id}:1:1", f"{job_id}#0"]
    assert [each["jobId"] for each in ready.batch.describe_jobs(jobs=asked)["jobs"]] == [f"{job_id}:9"]


def test_a_child_is_told_from_its_siblings_once_something_befell_it(ready: Room) -> None:
    job_id = ready.array(3)
    ready.spawn(job_id)
    ready.befall(f"{job_id}:1", Placed(1, 1, "t"))
    assert [ready.job(f"{job_id}:{index}")["status"] for index in range(3)] == ["RUNNABLE", "STARTING", "RUNNABLE"]
    assert summary(ready, job_id) == {"RUNNABLE": 2, "STARTING": 1}
    ready.befall(f"{job_id}:1", lifecycle.Unplaced("t"))
    assert summary(ready, job_id) == {"RUNNABLE": 3}


# --- listed ---


def test_children_are_listed_by_their_array_and_never_by_their_queue(ready: Room) -> None:
    single, job_id = ready.submit("single"), ready.array(5)
    ready.befall(single, Released())
    ready.spawn(job_id)
    ready.befall(f"{job_id}:3", lifecycle.Blocked("CODE - why"))  # RUNNABLE, with a row of its own
    ready.befall(f"{job_id}:4", Placed(1, 1, "t"))

    def of_queue(**more: Any) -> list[str]:
        return [each["jobId"] for each in ready.batch.list_jobs(jobQueue="q", **more)["jobSummaryList"]]

    assert of_queue(jobStatus="RUNNABLE") == [single]
    assert of_queue(jobStatus="PENDING") == [job_id]
    assert of_queue(jobStatus="STARTING") == []
    for name, value in (("JOB_NAME", "*"), ("JOB_DEFINITION", "jd"), ("AFTER_CREATED_AT", "0")):
        assert sorted(of_queue(filters=[{"name": name, "values": [value]}])) == sorted([single, job_id])
    (shown,) = ready.batch.list_jobs(jobQueue="q", jobStatus="PENDING")["jobSummaryList"]
    assert shown["arrayProperties"]["size"] == 5
    assert shown["arrayProperties"]["statusSummary"]["RUNNABLE"] == 4
    assert listed(ready, job_id) == []  # RUNNING, unless asked otherwise
    assert listed(ready, job_id, "RUNNABLE") == [0, 1, 2, 3]
    assert listed(ready, job_id, "STARTING") == [4]
    by_name = [{"name": "JOB_NAME", "values": ["*"]}]
    assert ready.batch.list_jobs(arrayJobId=job_id, filters=by_name)["jobSummaryList"] == []


def test_each_status_is_listed_whether_its_children_have_rows_or_not(ready: Room) -> None:
    other = ready.array(40)
    job_id = ready.array(40, dependsOn=[{"jobId": other, "type": "N_TO_N"}], retryStrategy={"attempts": 2})
    assert listed(ready, job_id, "SUBMITTED") == list(range(40))
    ready.batch.cancel_job(jobId=f"{job_id}:5", reason="no")
    assert listed(ready, job_id, "FAILED") == [5]
    ready.spawn(other)
    ready.spawn(job_id)
    assert listed(ready, job_id, "PENDING", PaginationConfig={"PageSize": 7}) == [i for i in range(40) if i != 5]
    ready.batch.cancel_job(jobId=f"{job_id}:7", reason="no")
    assert ready.job(f"{job_id}:7")["isCancelled"] is True
    assert 7 in listed(ready, job_id, "PENDING")
    for index in (1, 2, 4):
        run(ready, f"{other}:{index}", 0)
    run(ready, f"{other}:7", 0)
    ready.go_through()
    assert listed(ready, job_id, "FAILED") == [5, 7]
    assert listed(ready, job_id, "RUNNABLE") == [1, 2, 4]
    run(ready, f"{job_id}:4", 1)  # Tried again, it goes to the front, but is listed where it belongs.
    assert listed(ready, job_id, "RUNNABLE", PaginationConfig={"PageSize": 1}) == [1, 2, 4]
    run(ready, f"{job_id}:2", 0)
    assert listed(ready, job_id, "SUCCEEDED") == [2]
    ready.batch.terminate_job(jobId=other, reason="enough")
    ready.go_through()
    assert listed(ready, other, "FAILED", PaginationConfig={"PageSize": 9}) == [
        i for i in range(40) if i not in (1, 2, 4, 7)
    ]
    assert summary(ready, other) == {"SUCCEEDED": 4, "FAILED": 36}
    assert summary(ready, job_id) == {"SUCCEEDED": 1, "RUNNABLE": 2, "FAILED": 37}
    assert ready.job(other)["status"] == "FAILED"


def run(room: Room, job_id: str, exit_code: int) -> None:
    """An attempt of it."""
    token, task = f"t-{job_id}", f"task-{job_id}"
    room.befall(
        job_id,
        Placed(1, 1, token),
        lifecycle.TaskAccepted(token, task, "ci"),
        lifecycle.TaskRunning(task, 5, "stream"),
        lifecycle.TaskStopped(task_arn=task, status_reason="exited", exit_code=exit_code),
    )


def test_pages_of_an_array_are_bounded_and_their_tokens_hold_for_it_alone(ready: Room) -> None:
    job_id, other = ready.array(2_500), ready.array(2_500)
    page = ready.batch.list_jobs(arrayJobId=job_id, jobStatus="SUBMITTED")
    assert [each["arrayProperties"]["index"] for each in page["jobSummaryList"]] == list(range(1000))
    again = ready.batch.list_jobs(arrayJobId=job_id, jobStatus="SUBMITTED", nextToken=page["nextToken"])
    assert again["jobSummaryList"][0]["jobId"] == f"{job_id}:1000"
    text = refusal(ready.batch.list_jobs, arrayJobId=other, jobStatus="SUBMITTED", nextToken=page["nextToken"])
    assert text == "The nextToken is invalid."
    assert len(listed(ready, job_id, "SUBMITTED")) == 2_500


@pytest.mark.parametrize("parent", ["single", "child", "nobody"])
def test_what_is_no_array_has_no_children(ready: Room, parent: str) -> None:
    ids = {"single": ready.submit(), "child": f"{ready.array(2)}:0", "nobody": "nobody"}
    assert ready.batch.list_jobs(arrayJobId=ids[parent], jobStatus="SUBMITTED")["jobSummaryList"] == []


# --- tags ---


def test_tags_are_the_parents(ready: Room) -> None:
    """API reference, TagResource: children of arrays are not supported."""
    job_id = ready.array(2, tags={"a": "b"})
    assert ready.batch.list_tags_for_resource(resourceArn=arn(f"job/{job_id}"))["tags"] == {"a": "b"}
    child = arn(f"job/{job_id}:0")
    assert refusal(ready.batch.list_tags_for_resource, resourceArn=child) == f"{child} does not exist"
    assert refusal(ready.batch.tag_resource, resourceArn=child, tags={"c": "d"}) == f"{child} does not exist"
    assert refusal(ready.batch.untag_resource, resourceArn=child, tagKeys=["a"]) == f"{child} does not exist"
    assert ready.job(f"{job_id}:1")["tags"] == {"a": "b"}


# --- called off before it was looked at ---


@pytest.mark.parametrize("operation, member", [("cancel_job", "isCancelled"), ("terminate_job", "isTerminated")])
def test_a_submitted_array_is_called_off_whole(ready: Room, operation: str, member: str) -> None:
    job_id = ready.array(10_000)
    ready.batch.cancel_job(jobId=f"{job_id}:7", reason="alone")
    getattr(ready.batch, operation)(jobId=job_id, reason="enough")
    ready.go_through()
    parent = ready.job(job_id)
    assert (parent["status"], parent["statusReason"], parent[member]) == ("FAILED", "enough", True)
    assert summary(ready, job_id) == {"FAILED": 10_000}
    child, alone = ready.job(f"{job_id}:9999"), ready.job(f"{job_id}:7")
    assert (child["status"], child["statusReason"], child[member]) == ("FAILED", "enough", True)
    assert (alone["statusReason"], alone["isCancelled"], alone["isTerminated"]) == ("alone", True, False)
    assert child["stoppedAt"] >= child["createdAt"]


def test_calling_off_is_asked_of_the_policies_by_the_childs_own_arn(ready: Room) -> None:
    job_id = ready.array(2)
    statement = {"Effect": "Allow", "Action": "batch:TerminateJob", "Resource": arn(f"job/{job_id}:1")}
    user = ready.user("user", statement)
    user.terminate_job(jobId=f"{job_id}:1", reason="may")
    assert f"job/{job_id}:0" in denial(user.terminate_job, jobId=f"{job_id}:0", reason="may not")
    assert f"job/{job_id}" in denial(user.terminate_job, jobId=job_id, reason="may not")
    assert summary(ready, job_id) == {"SUBMITTED": 1, "FAILED": 1}

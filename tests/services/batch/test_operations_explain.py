"""The extension, asked as `longshore explain` asks it: a signed GET."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from batch_room import Room
from in_process import ACCOUNT, ENDPOINT, REGION, ROOT
from longshore.aws.wire.http import HttpRequest
from longshore.services.batch import store
from longshore.services.batch.lifecycle import (
    Placed,
    Released,
    TaskAccepted,
    TaskRunning,
    TaskStopped,
    Terminated,
    Waits,
)
from longshore.services.batch.records import Instance


def ask(room: Room, job_id: str, credentials: Credentials | None = None) -> tuple[int, dict[str, Any]]:
    """Status and answer."""
    request = AWSRequest("GET", f"{ENDPOINT}/_longshore/explain/{job_id}")
    root = Credentials(ROOT.access_key_id, ROOT.secret_access_key)
    SigV4Auth(credentials or root, "batch", REGION).add_auth(request)
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    sent = HttpRequest(
        method="GET",
        path=f"/_longshore/explain/{job_id}",
        query_string="",
        headers={**headers, "host": ENDPOINT.removeprefix("http://")},
        body=b"",
        source_ip="127.0.0.1",
    )
    answer = room.house.loop.run_until_complete(room.house.assembly.gateway.handle(sent, ENDPOINT))
    return answer.status, json.loads(answer.body)


def explained(room: Room, job_id: str) -> dict[str, Any]:
    status, answer = ask(room, job_id)
    assert status == 200, answer
    assert answer["jobId"] == job_id
    assert answer["status"] == room.job(job_id)["status"]
    return answer


def instance(room: Room) -> None:
    room.write(
        lambda call: store.insert_instance(
            call.transaction,
            Instance(
                number=1, environment=1, account=ACCOUNT, region=REGION, token="t", instance_type="m6i.large", cpu=2048,
                memory_mib=7900, phase="joined", asked_at=0, instance_id="i-1", launched_at=0,
                container_instance_arn="ci-1", connected=True,
            ),
        )
    )  # fmt: skip


def test_a_job_is_explained_all_its_life(ready: Room) -> None:
    instance(ready)
    first = ready.submit("first")
    assert explained(ready, first)["reasons"] == ["the scheduler has not looked at it yet"]
    job_id = ready.submit(
        dependsOn=[{"jobId": first}], retryStrategy={"attempts": 2}, timeout={"attemptDurationSeconds": 60}
    )
    ready.befall(job_id, Waits())
    assert explained(ready, job_id)["reasons"] == [f"it depends on job {first} (first), which is SUBMITTED"]
    ready.befall(job_id, Released(), Placed(1, 1, "t1"))
    answer = explained(ready, job_id)
    assert answer["reasons"] == ["it has its place on instance i-1; ECS has not accepted its task yet"]
    assert answer["computeEnvironment"]["status"] == "VALID"
    assert (answer["instance"]["instanceId"], answer["instance"]["agentConnected"]) == ("i-1", True)
    assert answer["needs"] == {"vcpus": 1.0, "memoryMiB": 128, "gpus": 0}
    ready.befall(job_id, TaskAccepted("t1", "task-1", "ci-1"))
    assert explained(ready, job_id)["reasons"] == [
        "its task is on instance i-1, where the agent gets its image and makes its container"
    ]
    ready.befall(job_id, TaskRunning("task-1", 1_767_225_600_000, "stream"))
    assert explained(ready, job_id)["reasons"] == [
        "its container runs on instance i-1 since 2026-01-01T00:00:00Z, for 60 s at most"
    ]
    stopped = TaskStopped(
        task_arn="task-1",
        status_reason="Essential container in task exited",
        exit_code=137,
        reason="OutOfMemoryError: Container killed due to memory usage",
    )
    ready.befall(job_id, stopped)
    told = (
        "attempt 1 of 2 ended: Essential container in task exited (exit code 137);"
        " OutOfMemoryError: Container killed due to memory usage"
    )
    assert explained(ready, job_id)["reasons"][0] == told
    ready.befall(job_id, Placed(1, 1, "t2"), TaskAccepted("t2", "task-2", "ci-1"), Terminated("enough"))
    assert explained(ready, job_id)["reasons"] == ["its task is being stopped on instance i-1: enough", told]
    ready.befall(job_id, TaskStopped(task_arn="task-2", status_reason="stopped", exit_code=143))
    answer = explained(ready, job_id)
    assert (answer["status"], answer["statusReason"]) == ("FAILED", "enough")
    assert answer["reasons"] == [told, "attempt 2 of 2 ended: enough (exit code 143)"]
    assert "instance" not in answer


def test_a_job_that_never_ran_says_why(ready: Room) -> None:
    job_id = ready.submit()
    ready.batch.cancel_job(jobId=job_id, reason="not needed")
    assert explained(ready, job_id)["reasons"] == ["it ended without an attempt: not needed"]


def test_a_job_that_waits_is_told_what_for(ready: Room) -> None:
    first, second = ready.submit("a"), ready.submit("b")
    large = ready.submit("c", containerOverrides={"resourceRequirements": [{"type": "MEMORY", "value": "99999999"}]})
    for job_id in (first, second, large):
        ready.befall(job_id, Released())
    reasons = explained(ready, second)["reasons"]
    assert reasons[0] == "1 job is before it in job queue q, which starts them in order"
    reasons = explained(ready, large)["reasons"]
    assert (
        "the job needs 1 vCPUs and 99999999 MiB; the largest instance that compute environment ce may have"
        in reasons[1]
    )
    ready.batch.update_compute_environment(computeEnvironment="ce", state="DISABLED")
    ready.settle_environment()
    assert explained(ready, first)["reasons"] == ["compute environment ce is DISABLED"]


def test_one_that_is_not_there_or_not_ones_own_is_not_explained(ready: Room) -> None:
    status, answer = ask(ready, "nobody")
    assert (status, answer["message"]) == (404, "Job nobody not found.")
    job_id = ready.submit()
    ready.iam.create_user(UserName="bob")
    key = ready.iam.create_access_key(UserName="bob")["AccessKey"]
    status, answer = ask(ready, job_id, Credentials(key["AccessKeyId"], key["SecretAccessKey"]))
    assert status == 403
    assert "is not authorized to perform: batch:DescribeJobs on resource: *" in answer["message"]
    status, answer = ask(ready, job_id, Credentials("AKIANOBODY", "x"))
    assert status in (400, 403) and "invalid" in answer["message"]


@pytest.mark.parametrize("path", ["", "a/b"])
def test_other_paths_are_not_offered(ready: Room, path: str) -> None:
    assert ask(ready, path)[0] == 404


def test_a_child_is_explained_and_so_is_its_parent(ready: Room) -> None:
    first = ready.array(3)
    second = ready.array(3, dependsOn=[{"jobId": first, "type": "N_TO_N"}, {"type": "SEQUENTIAL"}])
    third = ready.array(3, dependsOn=[{"jobId": first}])
    assert explained(ready, f"{first}:0")["reasons"] == ["the scheduler has not looked at it yet"]
    for job_id in (first, second):
        ready.spawn(job_id)
    ready.befall(third, Waits())
    parent = explained(ready, first)
    assert parent["arrayProperties"]["statusSummary"]["RUNNABLE"] == 3
    assert parent["reasons"][0] == "it ends when all its 3 children have: 3 RUNNABLE"
    assert parent["reasons"][1].startswith("child 0: compute environment ce")
    child = explained(ready, f"{first}:2")
    assert child["reasons"][0] == "2 jobs are before it in job queue q, which starts them in order"
    assert explained(ready, f"{second}:0")["reasons"] == [f"it depends on job {first}:0 (N_TO_N), which is RUNNABLE"]
    assert explained(ready, f"{second}:2")["reasons"] == [
        f"it depends on job {first}:2 (N_TO_N), which is RUNNABLE",
        f"it depends on job {second}:1 (SEQUENTIAL), which is PENDING",
    ]
    assert explained(ready, second)["reasons"] == [
        "it ends when all its 3 children have: 3 PENDING",
        f"child 0: it depends on job {first}:0 (N_TO_N), which is RUNNABLE",
    ]
    assert explained(ready, third)["reasons"] == [f"it depends on job {first} (job), which is PENDING"]
    assert explained(ready, f"{third}:1")["reasons"] == [
        "its array has not been released yet",
        f"it depends on job {first} (job), which is PENDING",
    ]
    ready.batch.terminate_job(jobId=first, reason="enough")
    ready.go_through()
    assert explained(ready, first)["reasons"] == ["its 3 children have ended (3 FAILED): enough"]
    assert explained(ready, f"{first}:1")["reasons"] == ["it ended without an attempt: enough"]


def test_between_the_end_of_what_it_waited_for_and_its_release_a_job_has_a_reason_too(ready: Room) -> None:
    job_id = ready.array(3)
    ready.befall(job_id, Released())
    about_to = "what it waited for has ended, and the scheduler is about to look at it"
    assert explained(ready, f"{job_id}:2")["reasons"] == [about_to]
    first = ready.submit()
    after = ready.submit(dependsOn=[{"jobId": first}])
    ready.befall(after, Waits())
    token, task = "t", "task"
    stopped = TaskStopped(task_arn=task, status_reason="exited", exit_code=0)
    ready.befall(first, Released(), Placed(1, 1, token), TaskAccepted(token, task, "ci"), stopped)
    assert explained(ready, after)["reasons"] == [about_to]

from __future__ import annotations

from typing import Any

import pytest

from batch_room import CONTAINER, Room, arn, denial, refusal, trust
from in_process import ACCOUNT
from longshore.services.batch import lifecycle, store
from longshore.services.batch.lifecycle import Placed, Released, TaskAccepted, TaskRunning, TaskStopped, Waits

REASON = {"reason": "enough"}


def start(room: Room, job_id: str, task: str = "task-1") -> None:
    room.befall(
        job_id, Released(), Placed(1, 1, f"token-{task}"), TaskAccepted(f"token-{task}", task, "instance-arn"),
        TaskRunning(task, 5000, f"jd/default/{task}"),
    )  # fmt: skip


def stop(room: Room, job_id: str, exit_code: int = 0, task: str = "task-1") -> None:
    room.befall(
        job_id,
        TaskStopped(task_arn=task, status_reason=lifecycle.EXITED, exit_code=exit_code, stopped_at=9000),
    )


def test_a_job_is_submitted_and_shown_as_it_was_merged(ready: Room) -> None:
    answer = ready.batch.submit_job(
        jobName="first_Job-1",
        jobQueue=arn("job-queue/q"),
        jobDefinition="jd",
        containerOverrides={"environment": [{"name": "A", "value": "1"}], "command": ["true"]},
        retryStrategy={"attempts": 2},
        timeout={"attemptDurationSeconds": 100},
        propagateTags=True,
        tags={"team": "a"},
    )
    job_id = answer["jobId"]
    assert (answer["jobName"], answer["jobArn"]) == ("first_Job-1", arn(f"job/{job_id}"))
    shown = ready.job(job_id)
    assert shown == {
        "jobArn": arn(f"job/{job_id}"),
        "jobName": "first_Job-1",
        "jobId": job_id,
        "jobQueue": arn("job-queue/q"),
        "status": "SUBMITTED",
        "attempts": [],
        "createdAt": 1_767_225_600_000,
        "dependsOn": [],
        "jobDefinition": arn("job-definition/jd:1"),
        "parameters": {},
        "container": {
            **CONTAINER,
            "command": ["true"],
            "environment": [{"name": "A", "value": "1"}],
            "volumes": [],
            "mountPoints": [],
            "ulimits": [],
            "networkInterfaces": [],
            "secrets": [],
        },
        "retryStrategy": {"attempts": 2},
        "timeout": {"attemptDurationSeconds": 100},
        "propagateTags": True,
        "platformCapabilities": [],
        "tags": {"team": "a"},
        "eksAttempts": [],
        "isCancelled": False,
        "isTerminated": False,
    }


def test_a_job_is_frozen_as_it_was_submitted(ready: Room) -> None:
    job_id = ready.submit()
    ready.define(container={"command": ["other"]})
    assert ready.job(job_id)["container"]["command"] == ["echo", "hello"]
    assert ready.job(job_id)["jobDefinition"] == arn("job-definition/jd:1")
    assert ready.job(ready.submit())["container"]["command"] == ["other"]
    ready.batch.deregister_job_definition(jobDefinition="jd:2")
    assert ready.job(ready.submit())["jobDefinition"] == arn("job-definition/jd:1")


def test_parameters_are_put_into_the_command(ready: Room) -> None:
    ready.define("p", {"command": ["Ref::tool", "--codec=Ref::codec"]}, parameters={"tool": "ffmpeg", "codec": "mp4"})
    shown = ready.job(ready.submit(definition="p", parameters={"codec": "ogg"}))
    assert shown["container"]["command"] == ["ffmpeg", "--codec=ogg"]
    assert shown["parameters"] == {"tool": "ffmpeg", "codec": "ogg"}
    overridden = {"command": ["Ref::x"]}
    text = refusal(ready.submit, definition="p", containerOverrides=overridden)
    assert text == "! Unable to substitute value. No parameter found for reference x"


def test_what_the_definition_says_holds_where_the_submission_is_silent(ready: Room) -> None:
    ready.define(
        "full",
        retryStrategy={"attempts": 3, "evaluateOnExit": [{"action": "EXIT", "onExitCode": "2"}]},
        timeout={"attemptDurationSeconds": 60},
        propagateTags=True,
        schedulingPriority=4,
        platformCapabilities=["EC2"],
    )
    job_id = ready.submit(definition="full")
    shown = ready.job(job_id)
    assert shown["retryStrategy"] == {"attempts": 3, "evaluateOnExit": [{"action": "exit", "onExitCode": "2"}]}
    assert shown["timeout"] == {"attemptDurationSeconds": 60}
    assert (shown["propagateTags"], shown["schedulingPriority"]) == (True, 4)
    assert shown["platformCapabilities"] == ["EC2"]
    record = ready.record(job_id)
    assert (record.attempts_allowed, record.timeout_seconds, record.rules[0].on_exit_code) == (3, 60, "2")
    assert ready.job(ready.submit(definition="full", propagateTags=False))["propagateTags"] is False


SUBMISSIONS: list[tuple[dict[str, Any], str]] = [
    ({"jobName": "_a"}, "! Job name should match valid pattern"),
    ({"jobName": "a b"}, "! Job name should match valid pattern"),
    ({"jobName": "x" * 129}, "! Job name should match valid pattern"),
    ({"jobQueue": "nobody"}, "JobQueue nobody not found."),
    ({"jobQueue": arn("job-queue/nobody")}, f"JobQueue {arn('job-queue/nobody')} not found."),
    (
        {"jobQueue": "arn:aws:batch:eu-west-1:123456789012:job-queue/q"},
        "JobQueue arn:aws:batch:eu-west-1:123456789012:job-queue/q not found.",
    ),
    ({"jobQueue": "closed"}, "JobQueue closed is not in ENABLED state."),
    ({"jobDefinition": "nobody"}, "JobDefinition name nobody does not exist or is not in ACTIVE status"),
    ({"jobDefinition": "jd:7"}, "JobDefinition name jd:7 does not exist or is not in ACTIVE status"),
    ({"jobDefinition": "old"}, "JobDefinition name old does not exist or is not in ACTIVE status"),
    ({"jobDefinition": "old:1"}, "JobDefinition name old:1 does not exist or is not in ACTIVE status"),
    (
        {"jobDefinition": arn("job-definition/jd:7")},
        f"JobDefinition {arn('job-definition/jd:7')} not found.",
    ),
    ({"jobDefinition": "a b"}, "Provided name a b is not supported pattern[a-zA-Z_0-9-]{1,128}"),
    ({"jobDefinition": "jd:x"}, "Provided name jd:x is not supported pattern[a-zA-Z_0-9-]{1,128}"),
    (
        {"shareIdentifier": "A"},
        "! Job with shareIdentifier or schedulingPriority can only be submitted to job queue with fair share"
        " scheduling policy.",
    ),
    (
        {"schedulingPriorityOverride": 0},
        "! Job with shareIdentifier or schedulingPriority can only be submitted to job queue with fair share"
        " scheduling policy.",
    ),
    (
        {"nodeOverrides": {"numNodes": 2}},
        "! Multi-node parallel jobs are not offered by this endpoint; leave nodeOverrides out.",
    ),
    (
        {"ecsPropertiesOverride": {"taskProperties": []}},
        "! Jobs with ecsProperties are not offered by this endpoint; leave ecsPropertiesOverride out.",
    ),
    (
        {"eksPropertiesOverride": {"podProperties": {}}},
        "! Jobs on Amazon EKS are not offered by this endpoint; leave eksPropertiesOverride out.",
    ),
    (
        {"consumableResourcePropertiesOverride": {"consumableResourceList": []}},
        "! Consumable resources are not offered by this endpoint; leave consumableResourcePropertiesOverride out.",
    ),
    ({"retryStrategy": {"attempts": 11}}, "! RetryAttempts must be between 1 and 10."),
    ({"timeout": {"attemptDurationSeconds": 1}}, "! AttemptDurationSeconds in Timeout must be at least 60 seconds."),
    ({"dependsOn": [{"jobId": "nobody"}]}, "Job nobody not found."),
    ({"dependsOn": [{}]}, "! jobId is required in dependsOn."),
    (
        {"dependsOn": [{"jobId": "x", "type": "N_TO_N"}]},
        "! Dependency type N_TO_N is only applicable for array jobs.",
    ),
    ({"dependsOn": [{"jobId": "x"}] * 21}, "! A job can depend on at most 20 jobs, got 21."),
    (
        {"containerOverrides": {"command": [""]}},
        "! Container override command can not contain an empty string.",
    ),
    (
        {"containerOverrides": {"instanceType": "m5.large"}},
        "! instanceType is only applicable for multi-node parallel jobs.",
    ),
    (
        {"containerOverrides": {"environment": [{"name": "AWS_BATCH_X", "value": ""}]}},
        "! Environment variable names cannot start with AWS_BATCH: AWS_BATCH_X",
    ),
    (
        {"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "0.5"}]}},
        "! Value 0.5 for type VCPU in resourceRequirement is not valid. Please provide a numeric value.",
    ),
    ({"containerOverrides": {"memory": 1}}, "! Memory must be at least 4 MiB, got 1."),
    ({"parameters": {"p": "x" * 47 * 1024}}, "Job size must be less than 30 KiB, got 48 KiB"),
    ({"tags": {"aws:x": "y"}}, "Tag keys starting with aws: are reserved for AWS use."),
]


def test_a_submission_that_cannot_be(ready: Room) -> None:
    ready.queue("closed", state="DISABLED")
    ready.define("old")
    ready.batch.deregister_job_definition(jobDefinition="old:1")
    good = {"jobName": "job", "jobQueue": "q", "jobDefinition": "jd"}
    for change, text in SUBMISSIONS:
        assert refusal(ready.batch.submit_job, **{**good, **change}) == text, change
    for status in lifecycle.Status:
        assert ready.batch.list_jobs(jobQueue="q", jobStatus=status.name)["jobSummaryList"] == []
    ready.batch.submit_job(**good, arrayProperties={}, dependsOn=[], containerOverrides={})  # As some SDKs send it.


def test_overrides_meet_the_definition_member_by_member(ready: Room) -> None:
    """A deprecated override does not override what resourceRequirements say."""
    resources = [{"type": "MEMORY", "value": "256"}, {"type": "VCPU", "value": "3"}]
    record = ready.record(ready.submit(containerOverrides={"resourceRequirements": resources}))
    assert (record.cpu, record.memory_mib) == (3072, 256)
    record = ready.record(ready.submit(containerOverrides={"vcpus": 8, "memory": 9999}))
    assert (record.cpu, record.memory_mib) == (1024, 128)
    ready.batch.register_job_definition(
        jobDefinitionName="old", type="container", containerProperties={"image": "i", "vcpus": 1, "memory": 128}
    )
    record = ready.record(ready.submit(definition="old", containerOverrides={"vcpus": 8}))
    assert (record.cpu, record.memory_mib) == (8192, 128)
    body = ready.read(lambda call: store.body(call.transaction, record.number))
    assert body.override == {"cpu": 8192}
    job_id = ready.submit(definition="old", containerOverrides={"resourceRequirements": resources})
    container = ready.job(job_id)["container"]
    assert container["resourceRequirements"] == resources
    assert "vcpus" not in container and "memory" not in container


def test_the_course_of_a_job_is_shown(ready: Room) -> None:
    job_id = ready.submit(retryStrategy={"attempts": 2})
    start(ready, job_id)
    shown = ready.job(job_id)
    assert (shown["status"], shown["startedAt"], shown["attempts"]) == ("RUNNING", 5000, [])
    assert "stoppedAt" not in shown and "exitCode" not in shown["container"]
    assert shown["container"]["logStreamName"] == "jd/default/task-1"
    assert (shown["container"]["taskArn"], shown["container"]["containerInstanceArn"]) == ("task-1", "instance-arn")
    stop(ready, job_id, 3)
    shown = ready.job(job_id)
    assert shown["status"] == "RUNNABLE"
    assert shown["attempts"] == [
        {
            "container": {
                "containerInstanceArn": "instance-arn",
                "taskArn": "task-1",
                "exitCode": 3,
                "logStreamName": "jd/default/task-1",
                "networkInterfaces": [],
            },
            "startedAt": 5000,
            "stoppedAt": 9000,
            "statusReason": "Essential container in task exited",
        }
    ]
    ready.befall(job_id, Placed(1, 1, "t2"), TaskAccepted("t2", "task-2", "instance-arn"))
    ready.befall(job_id, TaskRunning("task-2", 10_000, "jd/default/task-2"))
    stop(ready, job_id, 0, "task-2")
    shown = ready.job(job_id)
    assert (shown["status"], shown["statusReason"]) == ("SUCCEEDED", "Essential container in task exited")
    assert (shown["container"]["exitCode"], len(shown["attempts"])) == (0, 2)
    (summary,) = ready.batch.list_jobs(jobQueue="q", jobStatus="SUCCEEDED")["jobSummaryList"]
    assert summary["container"] == {"exitCode": 0}
    assert not {"isCancelled", "isTerminated"} & set(summary)


def test_describe_takes_a_hundred_ids_and_leaves_out_what_is_not_there(ready: Room) -> None:
    job_id = ready.submit()
    describe = ready.batch.describe_jobs
    assert [job["jobId"] for job in describe(jobs=["nobody", job_id, job_id])["jobs"]] == [job_id]
    assert ready.house.client("batch", region="eu-west-1").describe_jobs(jobs=[job_id])["jobs"] == []
    assert describe(jobs=[])["jobs"] == []
    text = refusal(describe, jobs=[f"j{i}" for i in range(101)])
    assert text == "Maximum number of jobs supported is 100, got 101."


# Dependencies.


def test_a_job_waits_for_those_that_have_not_ended(ready: Room) -> None:
    first, second, third = ready.submit("a"), ready.submit("b"), ready.submit("c")
    start(ready, third)
    stop(ready, third)
    depends_on = [{"jobId": each} for each in (first, second, third, first)]
    job_id = ready.submit("d", dependsOn=depends_on)
    assert ready.job(job_id)["dependsOn"] == depends_on
    number = ready.record(job_id).number
    assert ready.read(lambda call: store.count_dependencies(call.transaction, number)) == 2


def test_a_job_that_depends_on_a_failed_one_fails(ready: Room) -> None:
    first = ready.submit("a")
    start(ready, first)
    stop(ready, first, 1)
    job_id = ready.submit("b", dependsOn=[{"jobId": first}])
    shown = ready.job(job_id)
    assert (shown["status"], shown["statusReason"]) == ("FAILED", "Dependent Job failed")


# Lists.


def listed(room: Room, **request: Any) -> list[str]:
    return [each["jobName"] for each in room.batch.list_jobs(jobQueue="q", **request)["jobSummaryList"]]


def test_running_jobs_are_listed_unless_another_status_is_asked_for(ready: Room) -> None:
    ready.submit("waits")
    start(ready, ready.submit("runs"))
    assert listed(ready) == ["runs"]
    assert listed(ready, jobStatus="SUBMITTED") == ["waits"]
    assert listed(ready, jobStatus="FAILED") == []
    ready.queue("other")
    assert ready.batch.list_jobs(jobQueue="other", jobStatus="SUBMITTED")["jobSummaryList"] == []


def test_the_newest_is_listed_first_page_by_page(ready: Room) -> None:
    for index in range(5):
        ready.submit(f"j{index}")
    first = ready.batch.list_jobs(jobQueue="q", jobStatus="SUBMITTED", maxResults=2)
    assert [each["jobName"] for each in first["jobSummaryList"]] == ["j4", "j3"]
    ready.submit("later")
    pages = ready.batch.get_paginator("list_jobs").paginate(
        jobQueue="q", jobStatus="SUBMITTED", PaginationConfig={"PageSize": 2, "StartingToken": None}
    )
    assert [each["jobName"] for page in pages for each in page["jobSummaryList"]] == [
        "later",
        "j4",
        "j3",
        "j2",
        "j1",
        "j0",
    ]
    rest = ready.batch.list_jobs(jobQueue="q", jobStatus="SUBMITTED", nextToken=first["nextToken"])
    assert [each["jobName"] for each in rest["jobSummaryList"]] == ["j2", "j1", "j0"]
    text = refusal(ready.batch.list_jobs, jobQueue="q", jobStatus="RUNNING", nextToken=first["nextToken"])
    assert text == "The nextToken is invalid."


def test_a_filter_finds_jobs_of_every_status(ready: Room) -> None:
    ready.define("other")
    ready.define("jd2")
    start(ready, ready.submit("Alpha"))
    ready.house.pass_time(10)
    ready.submit("alphabet", definition="other")
    ready.submit("beta", definition="jd2")

    def by(name: str, value: str) -> list[str]:
        return listed(ready, filters=[{"name": name, "values": [value]}], jobStatus="FAILED")

    assert by("JOB_NAME", "ALPHA") == ["Alpha"]
    assert by("JOB_NAME", "alpha*") == ["alphabet", "Alpha"]
    assert by("JOB_NAME", "*") == ["beta", "alphabet", "Alpha"]
    assert by("JOB_NAME", "a?pha") == by("JOB_NAME", "[a]lpha") == by("JOB_NAME", "*pha") == []
    assert by("JOB_DEFINITION", "jd") == ["Alpha"]
    assert by("JOB_DEFINITION", "jd*") == ["beta", "Alpha"]
    assert by("JOB_DEFINITION", "JD*") == []
    assert by("JOB_DEFINITION", arn("job-definition/other:1")) == ["alphabet"]
    assert by("JOB_DEFINITION", arn("job-definition/other:*")) == []
    moment = str(1_767_225_600_000 + 5000)
    assert by("BEFORE_CREATED_AT", moment) == ["Alpha"]
    assert by("AFTER_CREATED_AT", moment) == ["beta", "alphabet"]
    assert by("SHARE_IDENTIFIER", "x") == []
    pages = ready.batch.get_paginator("list_jobs").paginate(
        jobQueue="q", filters=[{"name": "JOB_NAME", "values": ["a*"]}], PaginationConfig={"PageSize": 1}
    )
    assert [each["jobName"] for page in pages for each in page["jobSummaryList"]] == ["alphabet", "Alpha"]


def test_a_filter_looks_through_so_many_jobs_a_page(ready: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longshore.services.batch.operations.jobs._LOOKED_THROUGH", 3)
    for index in range(10):
        ready.submit("odd" if index % 5 == 0 else f"j{index}")
    request = {"jobQueue": "q", "filters": [{"name": "JOB_NAME", "values": ["odd"]}]}
    pages = [page["jobSummaryList"] for page in ready.batch.get_paginator("list_jobs").paginate(**request)]
    assert [len(page) for page in pages] == [0, 1, 0, 1]
    listed = ready.batch.get_paginator("list_jobs").paginate(**request, PaginationConfig={"PageSize": 1})
    assert sum(len(page["jobSummaryList"]) for page in listed) == 2


LISTS: list[tuple[dict[str, Any], str]] = [
    ({}, "Exactly one of jobQueue, arrayJobId and multiNodeJobId must be specified."),
    (
        {"jobQueue": "q", "arrayJobId": "a"},
        "Exactly one of jobQueue, arrayJobId and multiNodeJobId must be specified.",
    ),
    ({"jobQueue": "nobody"}, "JobQueue nobody not found."),
    ({"jobQueue": "q", "maxResults": 1001}, "maxResults must be between 1 and 1000, got 1001."),
    (
        {"jobQueue": "q", "maxResults": 101, "filters": [{"name": "JOB_NAME", "values": ["a"]}]},
        "maxResults must be between 1 and 100, got 101.",
    ),
    (
        {"jobQueue": "q", "filters": [{"name": "JOB_NAME", "values": ["a"]}] * 2},
        "Only one filter can be used at a time.",
    ),
    ({"jobQueue": "q", "filters": [{"name": "JOB_NAME", "values": []}]}, "A filter must have exactly one value."),
    (
        {"jobQueue": "q", "filters": [{"name": "AFTER_CREATED_AT", "values": ["noon"]}]},
        "Filter AFTER_CREATED_AT needs a time in milliseconds, got noon.",
    ),
    (
        {"jobQueue": "q", "filters": [{"name": "COLOUR", "values": ["a"]}]},
        "Filter COLOUR is not one of [JOB_NAME, JOB_DEFINITION, BEFORE_CREATED_AT, AFTER_CREATED_AT, SHARE_IDENTIFIER].",
    ),
    ({"jobQueue": "q", "nextToken": "x"}, "The nextToken is invalid."),
]


def test_a_list_that_cannot_be(ready: Room) -> None:
    for request, text in LISTS:
        assert refusal(ready.batch.list_jobs, **request) == text, request
    assert ready.batch.list_jobs(arrayJobId=ready.submit())["jobSummaryList"] == []


# Calling off.


def test_cancelling_ends_a_job_that_waits(ready: Room) -> None:
    submitted, runnable = ready.submit("a"), ready.submit("b")
    ready.befall(runnable, Released())
    for job_id in (submitted, runnable):
        ready.batch.cancel_job(jobId=job_id, **REASON)
        shown = ready.job(job_id)
        assert (shown["status"], shown["statusReason"], shown["isCancelled"]) == ("FAILED", "enough", True)
    summaries = ready.batch.list_jobs(jobQueue="q", jobStatus="FAILED")["jobSummaryList"]
    assert [each["isCancelled"] for each in summaries] == [True, True]


def test_a_pending_job_that_is_cancelled_fails_when_its_dependencies_have_ended(ready: Room) -> None:
    job_id = ready.submit("b", dependsOn=[{"jobId": ready.submit("a")}])
    ready.befall(job_id, Waits())
    ready.batch.cancel_job(jobId=job_id, **REASON)
    assert (ready.job(job_id)["status"], ready.job(job_id)["isCancelled"]) == ("PENDING", True)
    ready.befall(job_id, Released())
    assert (ready.job(job_id)["status"], ready.job(job_id)["statusReason"]) == ("FAILED", "enough")


def test_cancelling_a_running_job_succeeds_and_does_nothing(ready: Room) -> None:
    job_id = ready.submit()
    start(ready, job_id)
    before = ready.job(job_id)
    ready.batch.cancel_job(jobId=job_id, **REASON)
    assert ready.job(job_id) == before


def test_terminating_a_running_job_has_its_task_stopped(ready: Room) -> None:
    job_id = ready.submit(retryStrategy={"attempts": 5})
    start(ready, job_id)
    ready.batch.terminate_job(jobId=job_id, **REASON)
    assert (ready.job(job_id)["status"], ready.job(job_id)["isTerminated"]) == ("RUNNING", True)
    (intent,) = ready.intents("stop")
    assert (intent.subject, intent.text) == (ready.record(job_id).number, "enough")
    stop(ready, job_id, 137)
    assert (ready.job(job_id)["status"], ready.job(job_id)["statusReason"]) == ("FAILED", "enough")


@pytest.mark.parametrize("operation", ["cancel_job", "terminate_job"])
def test_calling_off_what_has_ended_or_never_was_changes_nothing(ready: Room, operation: str) -> None:
    job_id = ready.submit()
    start(ready, job_id)
    stop(ready, job_id)
    before = ready.job(job_id)
    call_off = getattr(ready.batch, operation)
    call_off(jobId=job_id, **REASON)
    call_off(jobId="nobody", **REASON)
    assert ready.job(job_id) == before
    text = refusal(call_off, jobId=job_id, reason="x" * 1025)
    assert text == "Reason must be at most 1024 characters."


# Who may.


def test_definition_and_queue_must_both_be_allowed_the_definition_first(ready: Room) -> None:
    queue = {"Effect": "Allow", "Action": "batch:SubmitJob", "Resource": arn("job-queue/q")}
    definition = {"Effect": "Allow", "Action": "batch:SubmitJob", "Resource": arn("job-definition/jd")}
    request = {"jobName": "j", "jobQueue": "q", "jobDefinition": "jd"}
    assert denial(ready.user("none").submit_job, **request) == (
        f"User: arn:aws:iam::{ACCOUNT}:user/none is not authorized to perform: batch:SubmitJob on resource:"
        f" {arn('job-definition/jd')} because no identity-based policy allows the batch:SubmitJob action"
    )
    text = denial(ready.user("half", definition).submit_job, **request)
    assert f"batch:SubmitJob on resource: {arn('job-queue/q')} " in text
    user = ready.user("both", definition, queue)
    user.submit_job(**request)
    # A revision is a resource of its own; tags take a right of their own.
    text = denial(user.submit_job, **{**request, "jobDefinition": "jd:1"})
    assert f"on resource: {arn('job-definition/jd:1')} " in text
    assert f"batch:TagResource on resource: {arn('job/*')} " in denial(user.submit_job, **request, tags={"a": "b"})


def test_a_jobs_tags_decide_who_may_end_it(ready: Room) -> None:
    mine, other = ready.submit("a", tags={"owner": "bob"}), ready.submit("b", tags={"owner": "eve"})
    user = ready.user(
        "bob",
        {
            "Effect": "Allow",
            "Action": ["batch:TerminateJob", "batch:CancelJob"],
            "Resource": arn("job/*"),
            "Condition": {"StringEquals": {"aws:ResourceTag/owner": "${aws:username}"}},
        },
    )
    user.cancel_job(jobId=mine, **REASON)
    assert f"batch:TerminateJob on resource: {arn(f'job/{other}')} " in denial(
        user.terminate_job, jobId=other, **REASON
    )
    assert ready.job(other)["status"] == "SUBMITTED"


def test_a_session_of_a_role_is_named_in_its_refusal(ready: Room) -> None:
    ready.iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust_account())
    role = ready.iam.get_role(RoleName="r")["Role"]["Arn"]
    user = ready.user("bob", {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}, service="sts")
    answer = user.assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    client = ready.house.client("batch", answer["AccessKeyId"], answer["SecretAccessKey"], token=answer["SessionToken"])
    text = denial(client.describe_jobs, jobs=["x"])
    assert text.startswith(
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/r/session is not authorized to perform: batch:DescribeJobs"
    )


def trust_account() -> str:
    return trust("x.amazonaws.com").replace('{"Service": "x.amazonaws.com"}', f'{{"AWS": "{ACCOUNT}"}}')

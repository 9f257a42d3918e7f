from __future__ import annotations

from typing import Any

from batch_room import Room, arn, denial, refusal


def order(*names: str) -> list[dict[str, Any]]:
    return [{"order": index, "computeEnvironment": name} for index, name in enumerate(names, 1)]


def described(room: Room, name: str = "q") -> dict[str, Any]:
    (found,) = room.batch.describe_job_queues(jobQueues=[name])["jobQueues"]
    assert isinstance(found, dict)
    return found


def test_one_is_created_and_taken_up_behind_the_answer(room: Room) -> None:
    room.environment("a")
    room.environment("b")
    actions = [
        {
            "reason": "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
            "state": "RUNNABLE",
            "maxTimeSeconds": 600,
            "action": "CANCEL",
        }
    ]
    answer = room.batch.create_job_queue(
        jobQueueName="q",
        priority=7,
        computeEnvironmentOrder=[
            {"order": 5, "computeEnvironment": arn("compute-environment/b")},
            {"order": 2, "computeEnvironment": "a"},
        ],
        jobStateTimeLimitActions=actions,
        tags={"team": "a"},
    )
    assert (answer["jobQueueName"], answer["jobQueueArn"]) == ("q", arn("job-queue/q"))
    assert described(room) == {
        "jobQueueName": "q",
        "jobQueueArn": arn("job-queue/q"),
        "state": "ENABLED",
        "status": "CREATING",
        "statusReason": "",
        "priority": 7,
        "computeEnvironmentOrder": [
            {"order": 2, "computeEnvironment": arn("compute-environment/a")},
            {"order": 5, "computeEnvironment": arn("compute-environment/b")},
        ],
        "serviceEnvironmentOrder": [],
        "jobQueueType": "ECS",
        "tags": {"team": "a"},
        "jobStateTimeLimitActions": actions,
    }


TIME_LIMIT = {
    "reason": "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    "state": "RUNNABLE",
    "maxTimeSeconds": 600,
    "action": "CANCEL",
}
CREATIONS: list[tuple[dict[str, Any], str]] = [
    ({"jobQueueName": "a.b"}, "! Job queue name should match valid pattern"),
    ({"computeEnvironmentOrder": []}, "! computeEnvironmentOrder is required."),
    ({"computeEnvironmentOrder": None}, "! computeEnvironmentOrder is required."),
    (
        {"computeEnvironmentOrder": order("a", "b", "c", "d")},
        "! Only 3 environments are allowed in job queue request.",
    ),
    (
        {"computeEnvironmentOrder": [{"order": 1, "computeEnvironment": name} for name in ("a", "b")]},
        "! Duplicate ComputeEnvironment order values.",
    ),
    ({"computeEnvironmentOrder": order("a", "a")}, "! Duplicate ComputeEnvironment in computeEnvironmentOrder."),
    (
        {"computeEnvironmentOrder": order("a", "nobody")},
        "! Compute Environments must be created and valid before attaching them to a job queue",
    ),
    (
        {"computeEnvironmentOrder": order("new")},
        "! Compute Environments must be created and valid before attaching them to a job queue",
    ),
    (
        {"schedulingPolicyArn": arn("scheduling-policy/p")},
        "! Scheduling policies are not offered by this endpoint; leave schedulingPolicyArn out for first-in, first-out.",
    ),
    (
        {"serviceEnvironmentOrder": [{"order": 1, "serviceEnvironment": "s"}]},
        "! Service environments are not offered by this endpoint; use computeEnvironmentOrder.",
    ),
    (
        {"jobQueueType": "SAGEMAKER_TRAINING"},
        "! Job queues of type SAGEMAKER_TRAINING are not offered by this endpoint; use ECS.",
    ),
    (
        {"jobStateTimeLimitActions": [{**TIME_LIMIT, "action": "TERMINATE"}]},
        "! Invalid job action. Valid job actions: [CANCEL]",
    ),
    (
        {"jobStateTimeLimitActions": [{**TIME_LIMIT, "maxTimeSeconds": 599}]},
        "! maxTimeSeconds should be between 600 and 86400.",
    ),
    (
        {"jobStateTimeLimitActions": [{**TIME_LIMIT, "reason": "WEATHER"}]},
        "! Invalid reason. Valid reasons: [CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY,"
        " MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE, MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT,"
        " MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED]",
    ),
    ({"tags": {"aws:mine": "x"}}, "Tag keys starting with aws: are reserved for AWS use."),
]


def test_a_creation_that_cannot_be(room: Room) -> None:
    for name in ("a", "b", "c", "d"):
        room.environment(name)
    room.create_environment("new")  # It is CREATING.
    good: dict[str, Any] = {"jobQueueName": "q", "priority": 1, "computeEnvironmentOrder": order("a")}
    for change, text in CREATIONS:
        request = {key: value for key, value in {**good, **change}.items() if value is not None}
        assert refusal(room.batch.create_job_queue, **request) == text, change
    assert room.batch.describe_job_queues()["jobQueues"] == []
    room.batch.create_job_queue(**good)
    assert refusal(room.batch.create_job_queue, **good) == "Object already exists"


def test_an_update_replaces_what_it_names(room: Room) -> None:
    room.queue(jobStateTimeLimitActions=[TIME_LIMIT])
    room.environment("other")
    room.batch.update_job_queue(jobQueue="q", priority=0, state="DISABLED", computeEnvironmentOrder=order("other"))
    shown = described(room)
    assert (shown["status"], shown["state"], shown["priority"]) == ("UPDATING", "DISABLED", 0)
    assert shown["computeEnvironmentOrder"] == [{"order": 1, "computeEnvironment": arn("compute-environment/other")}]
    assert shown["jobStateTimeLimitActions"] == [TIME_LIMIT]
    assert (
        refusal(room.batch.update_job_queue, jobQueue="q", priority=1) == "Cannot update, resource is being modified."
    )
    room.settle_queue()
    room.batch.update_job_queue(jobQueue=arn("job-queue/q"), jobStateTimeLimitActions=[])
    assert described(room)["jobStateTimeLimitActions"] == []
    # What it no longer names can go.
    room.batch.update_compute_environment(computeEnvironment="ce", state="DISABLED")
    room.settle_environment("ce")
    room.batch.delete_compute_environment(computeEnvironment="ce")


def test_an_environment_that_has_become_invalid_can_stay(room: Room) -> None:
    room.queue()
    room.environment("other")
    room.settle_environment("ce", "INVALID")
    room.batch.update_job_queue(jobQueue="q", computeEnvironmentOrder=order("other", "ce"))
    assert len(described(room)["computeEnvironmentOrder"]) == 2


def test_an_update_that_cannot_be(room: Room) -> None:
    room.queue()
    update = room.batch.update_job_queue
    assert refusal(update, jobQueue="nobody", priority=1) == f"{arn('job-queue/nobody')} does not exist"
    assert refusal(update, jobQueue="q", computeEnvironmentOrder=[]) == "! computeEnvironmentOrder is required."
    assert refusal(update, jobQueue="q", computeEnvironmentOrder=order("x")) == (
        "! Compute Environments must be created and valid before attaching them to a job queue"
    )
    assert described(room)["status"] == "VALID"


def test_one_is_deleted_when_it_is_disabled(room: Room) -> None:
    room.queue()
    delete = room.batch.delete_job_queue
    assert refusal(delete, jobQueue="q") == "Cannot delete, state must be DISABLED"
    room.batch.update_job_queue(jobQueue="q", state="DISABLED")
    assert refusal(delete, jobQueue="q") == "Cannot delete, resource is being modified."
    room.settle_queue()
    delete(jobQueue="q")
    assert described(room)["status"] == "DELETING"
    assert refusal(delete, jobQueue="q") == "Cannot delete, resource is being modified."
    assert refusal(delete, jobQueue="nobody") == f"{arn('job-queue/nobody')} does not exist"


def test_they_are_described_by_name_and_page_by_page(room: Room) -> None:
    for name in ("b", "a", "c"):
        room.queue(name)
    found = room.batch.describe_job_queues(jobQueues=["c", "nobody", "c", arn("job-queue/a")])["jobQueues"]
    assert [each["jobQueueName"] for each in found] == ["c", "a"]
    pages = room.batch.get_paginator("describe_job_queues").paginate(PaginationConfig={"PageSize": 2})
    assert [[each["jobQueueName"] for each in page["jobQueues"]] for page in pages] == [["a", "b"], ["c"]]


def test_a_token_of_another_query_is_refused(room: Room) -> None:
    for name in ("a", "b"):
        room.environment(name)
        room.queue(f"q-{name}", name)
    token = room.batch.describe_compute_environments(maxResults=1)["nextToken"]
    assert room.batch.describe_job_queues(
        maxResults=1, nextToken=room.batch.describe_job_queues(maxResults=1)["nextToken"]
    )
    room.define("a")
    room.define("a")
    of_a = room.batch.describe_job_definitions(jobDefinitionName="a", maxResults=1)["nextToken"]
    text = refusal(room.batch.describe_job_definitions, jobDefinitionName="b", nextToken=of_a)
    assert text == "The nextToken is invalid."
    # A name in place of a number.
    assert refusal(room.batch.describe_job_definitions, nextToken=token) == "The nextToken is invalid."


def test_the_queue_and_each_of_its_environments_must_be_allowed(room: Room) -> None:
    room.environment("mine")
    room.environment("theirs")
    user = room.user(
        "bob",
        {
            "Effect": "Allow",
            "Action": ["batch:CreateJobQueue", "batch:UpdateJobQueue"],
            "Resource": [arn("job-queue/*"), arn("compute-environment/mine")],
        },
    )
    user.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order("mine"))
    room.settle_queue()
    text = denial(user.update_job_queue, jobQueue="q", computeEnvironmentOrder=order("mine", "theirs"))
    assert f"batch:UpdateJobQueue on resource: {arn('compute-environment/theirs')} " in text
    tagged = denial(
        user.create_job_queue, jobQueueName="r", priority=1, computeEnvironmentOrder=order("mine"), tags={"a": "b"}
    )
    assert f"batch:TagResource on resource: {arn('job-queue/r')} " in tagged

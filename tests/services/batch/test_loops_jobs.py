"""Jobs through the whole house: real agents on `memory` machines, containers whose ends are scripted, virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_house import BatchHouse, heard
from in_process import InProcessHouse

EXITED = "Essential container in task exited"
SERVICE_POLICY = "arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole"


@pytest.fixture
def batch(house: InProcessHouse) -> Iterator[BatchHouse]:
    """With the whole chain. At the end, what the scheduler remembers is what the store says."""
    made = BatchHouse(house).chain()
    yield made
    made.assert_memory_is_the_store()


# --- one job ---


def test_a_job_is_run_and_its_log_can_be_read(batch: BatchHouse) -> None:
    ended = batch.ended(batch.submit(script={"LOG": "one\\ntwo"}))
    container = ended["container"]
    assert (ended["status"], ended["statusReason"], container["exitCode"]) == ("SUCCEEDED", EXITED, 0)
    (attempt,) = ended["attempts"]
    assert attempt["container"]["taskArn"] == container["taskArn"]
    assert container["logStreamName"] == f"jd/default/{container['taskArn'].rpartition('/')[2]}"
    events = batch.logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=container["logStreamName"])[
        "events"
    ]
    assert [event["message"] for event in events] == ["one", "two"]


def test_the_container_is_told_what_batch_tells_every_job(batch: BatchHouse) -> None:
    job_id = batch.submit(script={"EXIT_CODE": "1,0"}, retryStrategy={"attempts": 2})
    for attempt in batch.ended(job_id)["attempts"]:
        cluster = batch.described()["ecsClusterArn"]
        (task,) = batch.ecs.describe_tasks(cluster=cluster, tasks=[attempt["container"]["taskArn"]])["tasks"]
        (override,) = task["overrides"]["containerOverrides"]
        told = {each["name"]: each["value"] for each in override["environment"]}
        assert told["AWS_BATCH_JOB_ID"] == job_id
        assert (told["AWS_BATCH_CE_NAME"], told["AWS_BATCH_JQ_NAME"]) == ("ce", "q")
        assert told["AWS_BATCH_JOB_ATTEMPT"] in ("1", "2")
        assert told["LONGSHORE_EXIT_CODE"] == "1,0"


def test_overrides_reach_the_task(batch: BatchHouse) -> None:
    batch.define("echo", container={"command": ["echo", "Ref::what"]}, parameters={"what": "nothing"})
    requirements = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "700"}]
    job_id = batch.submit(
        definition="echo", parameters={"what": "it"}, containerOverrides={"resourceRequirements": requirements}
    )
    task_arn = batch.ended(job_id)["container"]["taskArn"]
    (task,) = batch.ecs.describe_tasks(cluster=batch.described()["ecsClusterArn"], tasks=[task_arn])["tasks"]
    (override,) = task["overrides"]["containerOverrides"]
    assert (override["command"], override["cpu"], override["memory"]) == (["echo", "it"], 2048, 700)


def test_one_task_definition_stands_for_all_jobs_of_a_definition(batch: BatchHouse) -> None:
    for job_id in [batch.submit() for _ in range(3)]:
        batch.ended(job_id)
    (arn,) = batch.ecs.list_task_definitions()["taskDefinitionArns"]
    shown = batch.ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    (container,) = shown["containerDefinitions"]
    assert (shown["family"], shown["networkMode"]) == ("jd", "host")
    assert (container["name"], container["cpu"], container["memory"]) == ("default", 1024, 512)
    assert container["logConfiguration"] == {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": "/aws/batch/job",
            "awslogs-region": "us-east-1",
            "awslogs-stream-prefix": "jd",
        },
    }


def test_a_task_definition_that_somebody_deregistered_is_made_anew(batch: BatchHouse) -> None:
    batch.ended(batch.submit())
    (arn,) = batch.ecs.list_task_definitions()["taskDefinitionArns"]
    batch.ecs.deregister_task_definition(taskDefinition=arn)
    assert batch.ended(batch.submit())["status"] == "SUCCEEDED"


def test_tags_are_propagated_when_asked(batch: BatchHouse) -> None:
    batch.define("tagged", tags={"a": "definition", "b": "definition"}, propagateTags=True)
    ended = batch.ended(batch.submit(definition="tagged", tags={"a": "job"}))
    assert ended["status"] == "SUCCEEDED"
    tags = batch.ecs.list_tags_for_resource(resourceArn=ended["container"]["taskArn"])["tags"]
    own = {"aws:batch:compute-environment": "ce", "aws:batch:job-queue": "q"}
    assert {tag["key"]: tag["value"] for tag in tags} == {"a": "job", "b": "definition", **own}


def test_batchs_own_tags_are_set_by_batch_alone(batch: BatchHouse) -> None:
    task = batch.ended(batch.submit())["container"]["taskArn"]
    own = [{"key": "aws:batch:compute-environment", "value": "ce"}, {"key": "aws:batch:job-queue", "value": "q"}]
    assert batch.ecs.list_tags_for_resource(resourceArn=task)["tags"] == own
    for change in (
        lambda: batch.ecs.tag_resource(resourceArn=task, tags=own[:1]),
        lambda: batch.ecs.untag_resource(resourceArn=task, tagKeys=["aws:batch:job-queue"]),
    ):
        with pytest.raises(ClientError, match="Tag keys can not start with 'aws:'"):
            change()
    many = [{"key": f"k{at}", "value": ""} for at in range(50)]
    batch.ecs.tag_resource(resourceArn=task, tags=many)  # Those of a service do not count.
    with pytest.raises(ClientError, match="The maximum number of tags is 50"):
        batch.ecs.tag_resource(resourceArn=task, tags=[{"key": "one more", "value": ""}])


def test_a_service_role_need_not_be_allowed_to_tag_for_batchs_own_tags(batch: BatchHouse) -> None:
    """They are the service's, not the customer's."""
    batch.role("service", service="batch.amazonaws.com", policy=SERVICE_POLICY)
    batch.allow("service", "ecs:TagResource", effect="Deny", name="no")
    batch.environment("served", serviceRole="service")
    batch.queue("served", "served")
    batch.define("tagged", tags={"a": "1"}, propagateTags=True)
    assert batch.ended(batch.submit(queue="served"))["status"] == "SUCCEEDED"
    refused = batch.submit(queue="served", definition="tagged")
    assert "is not authorized to perform: ecs:TagResource" in batch.reason(refused, "MISCONFIGURATION", seconds=15)


def test_a_log_group_that_is_deleted_is_made_again_with_the_next_job(batch: BatchHouse) -> None:
    batch.ended(batch.submit())
    for _ in range(2):
        batch.logs.delete_log_group(logGroupName="/aws/batch/job")
        ended = batch.ended(batch.submit(script={"LOG": "said"}))
        assert ended["status"] == "SUCCEEDED", ended["statusReason"]
        stream = ended["container"]["logStreamName"]
        assert batch.logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)["events"]


# --- how attempts end ---

ENDS: list[tuple[str, dict[str, str], dict[str, Any], str]] = [
    ("an exit code", {"EXIT_CODE": "3"}, {"exitCode": 3}, EXITED),
    ("out of memory", {"EXIT_CODE": "137", "REASON": "OutOfMemoryError: Container killed due to memory usage"},
     {"exitCode": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"}, EXITED),
    ("no image", {"PULL_ERROR": "no such image"}, {"reason": "CannotPullContainerError: no such image"},
     "Task failed to start"),
    ("no start", {"START_ERROR": "no such command"}, {"reason": "CannotStartContainerError: no such command"},
     "Task failed to start"),
]  # fmt: skip


@pytest.mark.parametrize("name, script, container, reason", ENDS, ids=[row[0] for row in ENDS])
def test_an_attempt_fails_in_awss_words(
    batch: BatchHouse, name: str, script: dict[str, str], container: dict[str, Any], reason: str
) -> None:
    ended = batch.ended(batch.submit(script=script))
    assert (ended["status"], ended["statusReason"]) == ("FAILED", reason)
    for shown in (ended["container"], ended["attempts"][0]["container"]):
        assert {name: shown.get(name) for name in ("exitCode", "reason")} == {
            "exitCode": None,
            "reason": None,
            **container,
        }
    assert "startedAt" in ended["attempts"][0] or "exitCode" not in container


def test_a_job_is_tried_again_until_it_succeeds(batch: BatchHouse) -> None:
    ended = batch.ended(batch.submit(script={"EXIT_CODE": "1,2,0"}, retryStrategy={"attempts": 5}))
    assert ended["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in ended["attempts"]] == [1, 2, 0]


def test_a_rule_ends_the_tries(batch: BatchHouse) -> None:
    strategy = {"attempts": 5, "evaluateOnExit": [{"action": "EXIT", "onReason": "CannotPullContainerError*"}]}
    ended = batch.ended(batch.submit(script={"PULL_ERROR": "x"}, retryStrategy=strategy))
    assert len(ended["attempts"]) == 1


def test_an_attempt_that_lasts_too_long_is_stopped(batch: BatchHouse) -> None:
    job_id = batch.submit(
        script={"RUN_SECONDS": "1000"}, timeout={"attemptDurationSeconds": 60}, retryStrategy={"attempts": 3}
    )
    running = batch.until(job_id, "RUNNING")
    ended = batch.ended(job_id)
    assert (ended["status"], ended["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
    assert len(ended["attempts"]) == 1 and ended["container"]["exitCode"] == 143
    assert 60_000 <= ended["stoppedAt"] - running["startedAt"] < 62_000


def test_a_running_job_is_terminated_with_the_callers_reason(batch: BatchHouse) -> None:
    job_id = batch.submit(script={"RUN_SECONDS": "1000"})
    batch.until(job_id, "RUNNING")
    batch.batch.cancel_job(jobId=job_id, reason="in vain")
    batch.batch.terminate_job(jobId=job_id, reason="enough")
    ended = batch.ended(job_id)
    assert (ended["status"], ended["statusReason"], ended["isTerminated"]) == ("FAILED", "enough", True)
    assert ended["container"]["exitCode"] == 143


def test_a_job_that_waits_is_cancelled_at_once(batch: BatchHouse) -> None:
    job_id = batch.submit(containerOverrides={"resourceRequirements": [{"type": "MEMORY", "value": "99999999"}]})
    batch.until(job_id, "RUNNABLE")
    batch.batch.cancel_job(jobId=job_id, reason="enough")
    assert batch.ended(job_id)["statusReason"] == "enough"
    assert batch.ended(batch.submit())["status"] == "SUCCEEDED"


def test_a_stop_by_ecss_own_operation_ends_the_attempt_with_its_reason(batch: BatchHouse) -> None:
    job_id = batch.submit(script={"RUN_SECONDS": "1000"})
    task_arn = batch.until(job_id, "RUNNING")["container"]["taskArn"]
    batch.ecs.stop_task(cluster=batch.described()["ecsClusterArn"], task=task_arn, reason="by hand")
    assert batch.ended(job_id)["statusReason"] == "by hand"


def test_a_job_role_that_ecs_can_not_take_fails_the_job_in_awss_words(batch: BatchHouse) -> None:
    batch.role("jobs", service="ec2.amazonaws.com", policy=None)
    batch.define("with-role", container={"jobRoleArn": "arn:aws:iam::123456789012:role/jobs"})
    ended = batch.ended(batch.submit(definition="with-role"))
    assert ended["statusReason"].startswith(
        "ECS was unable to assume the role 'arn:aws:iam::123456789012:role/jobs' that was provided for this task."
    )
    assert ended["status"] == "FAILED"


def test_overrides_that_ecs_finds_too_long_fail_the_job(batch: BatchHouse) -> None:
    ended = batch.ended(batch.submit(containerOverrides={"environment": [{"name": "LONG", "value": "x" * 9000}]}))
    assert (ended["status"], ended["statusReason"]) == ("FAILED", "Container Overrides length must be at most 8192")


# --- hosts and agents ---


def test_an_attempt_ends_with_its_host_and_the_next_one_runs_elsewhere(batch: BatchHouse) -> None:
    strategy = {"attempts": 2, "evaluateOnExit": [{"action": "RETRY", "onStatusReason": "Host EC2*"}]}
    job_id = batch.submit(script={"RUN_SECONDS": "50"}, retryStrategy=strategy)
    batch.until(job_id, "RUNNING")
    (lost,) = batch.instances()
    batch.house.assembly.machines.fail(lost["InstanceId"])
    ended = batch.ended(job_id)
    assert ended["status"] == "SUCCEEDED"
    first, second = ended["attempts"]
    assert first["statusReason"] == f"Host EC2 (instance {lost['InstanceId']}) terminated."
    assert "exitCode" not in first["container"] and "reason" not in first["container"]
    assert first["container"]["containerInstanceArn"] != second["container"]["containerInstanceArn"]


def test_a_crashed_agent_ends_no_attempt(batch: BatchHouse) -> None:
    job_id = batch.submit(script={"RUN_SECONDS": "50"}, retryStrategy={"attempts": 3})
    batch.until(job_id, "RUNNING")
    batch.house.assembly.indoors.crash(batch.instances()[0]["InstanceId"])
    ended = batch.ended(job_id)
    assert (ended["status"], len(ended["attempts"])) == ("SUCCEEDED", 1)


def test_nothing_is_placed_on_an_instance_whose_agent_is_away(batch: BatchHouse) -> None:
    batch.ended(batch.submit())
    (instance,) = batch.instances()
    batch.house.assembly.indoors.crash(instance["InstanceId"])
    job_id = batch.submit()
    assert batch.ended(job_id)["status"] == "SUCCEEDED"
    assert len(batch.instances()) == 1


# --- dependencies ---


def test_a_job_waits_for_those_it_depends_on(batch: BatchHouse) -> None:
    first, second = (batch.submit(script={"RUN_SECONDS": seconds}) for seconds in ("5", "30"))
    dependent = batch.submit(dependsOn=[{"jobId": first}, {"jobId": second}])
    batch.ended(first)
    assert batch.job(dependent)["status"] == "PENDING"
    batch.ended(second)
    ended = batch.ended(dependent)
    assert ended["status"] == "SUCCEEDED"
    assert ended["startedAt"] >= batch.job(second)["stoppedAt"]


def test_a_failed_dependency_fails_the_whole_chain(batch: BatchHouse) -> None:
    first = batch.submit(script={"EXIT_CODE": "1", "RUN_SECONDS": "5"})
    second = batch.submit(dependsOn=[{"jobId": first}])
    third = batch.submit(dependsOn=[{"jobId": second}])
    ended = batch.ended(third)
    assert (ended["status"], ended["statusReason"], ended["attempts"]) == ("FAILED", "Dependent Job failed", [])
    assert batch.job(second)["statusReason"] == "Dependent Job failed"


def test_many_dependents_are_all_released(batch: BatchHouse) -> None:
    first = batch.submit(script={"RUN_SECONDS": "5"})
    dependents = [batch.submit(dependsOn=[{"jobId": first}]) for _ in range(150)]
    batch.house.settle(lambda: batch.job(dependents[-1])["status"] == "SUCCEEDED")
    assert {batch.job(each)["status"] for each in dependents} == {"SUCCEEDED"}


def test_a_cancelled_job_that_is_pending_fails_when_its_dependency_has_ended(batch: BatchHouse) -> None:
    first = batch.submit(script={"RUN_SECONDS": "5"})
    second = batch.submit(dependsOn=[{"jobId": first}])
    batch.until(second, "PENDING")
    batch.batch.cancel_job(jobId=second, reason="no more")
    assert batch.job(second)["status"] == "PENDING"
    assert batch.ended(second)["statusReason"] == "no more"
    assert batch.job(first)["status"] == "SUCCEEDED"


# --- order ---


def test_jobs_start_in_the_order_of_their_submission_and_retries_go_first(batch: BatchHouse) -> None:
    whole = [{"type": "VCPU", "value": "16"}]
    script = {"RUN_SECONDS": "10"}
    ids = [batch.submit(script=script, containerOverrides={"resourceRequirements": whole}) for _ in range(3)]
    retried = batch.submit(
        script={**script, "EXIT_CODE": "1,0"}, retryStrategy={"attempts": 2},
        containerOverrides={"resourceRequirements": whole},
    )  # fmt: skip
    last = batch.submit(script=script, containerOverrides={"resourceRequirements": whole})
    ended = [batch.ended(each, seconds=600) for each in (*ids, retried, last)]
    assert {each["status"] for each in ended} == {"SUCCEEDED"}
    starts = [each["startedAt"] for each in ended]
    assert starts == sorted(starts)


def test_the_queue_of_higher_priority_is_served_first(batch: BatchHouse) -> None:
    batch.queue("urgent", priority=9)
    whole = {"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "16"}]}}
    running = batch.submit(script={"RUN_SECONDS": "10"}, **whole)
    batch.until(running, "RUNNING")
    ordinary, urgent = batch.submit(**whole), batch.submit(queue="urgent", **whole)
    assert batch.ended(ordinary)["startedAt"] >= batch.ended(urgent)["stoppedAt"]


# --- events ---


def test_each_change_of_a_job_is_told_once(batch: BatchHouse) -> None:
    batch.house.house.outbox.hears = lambda detail_type, facts: True
    told = heard(batch, "Batch Job State Change")
    job_id = batch.submit(script={"EXIT_CODE": "1,0", "RUN_SECONDS": "1"}, retryStrategy={"attempts": 2})
    batch.ended(job_id)
    attempt = ["RUNNABLE", "STARTING", "RUNNING"]
    assert [status for about, status in told if about == job_id] == [*attempt, *attempt, "SUCCEEDED"]


def test_a_task_whose_end_is_the_first_that_is_reported_ran_all_the_same(batch: BatchHouse) -> None:
    told = heard(batch, "Batch Job State Change")
    job_id = batch.submit(script={"PULL_SECONDS": "30"})
    batch.until(job_id, "STARTING")
    task_arn = batch.house.settle(lambda: batch.job(job_id)["container"].get("taskArn"))
    batch.ecs.submit_task_state_change(
        cluster=batch.described()["ecsClusterArn"],
        task=task_arn,
        status="STOPPED",
        containers=[{"containerName": "default", "status": "STOPPED", "exitCode": 0}],
    )
    ended = batch.ended(job_id)
    assert (ended["status"], ended["attempts"][0]["startedAt"]) == ("SUCCEEDED", ended["startedAt"])
    assert [status for about, status in told if about == job_id] == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]


def test_a_job_that_stands_at_the_head_of_its_queue_is_told_of(batch: BatchHouse) -> None:
    told = heard(batch, "Batch Job Queue Blocked")
    large = [{"type": "MEMORY", "value": "99999999"}]
    job_id = batch.submit(containerOverrides={"resourceRequirements": large})
    batch.reason(job_id, "MISCONFIGURATION")
    batch.house.pass_time(300)
    assert told == [(job_id, "RUNNABLE")]

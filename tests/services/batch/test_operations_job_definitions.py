from __future__ import annotations

from typing import Any

from batch_room import CONTAINER, Room, arn, denial, refusal, trust
from in_process import ACCOUNT

EMPTY: dict[str, Any] = {name: [] for name in ("environment", "mountPoints", "secrets", "ulimits", "volumes")}


def described(room: Room, reference: str) -> dict[str, Any]:
    (found,) = room.batch.describe_job_definitions(jobDefinitions=[reference])["jobDefinitions"]
    assert isinstance(found, dict)
    return found


def test_revisions_count_from_one_and_are_shown_as_they_were_given(room: Room) -> None:
    first = room.batch.register_job_definition(jobDefinitionName="jd", type="container", containerProperties=CONTAINER)
    assert (first["jobDefinitionName"], first["revision"]) == ("jd", 1)
    assert first["jobDefinitionArn"] == arn("job-definition/jd:1")
    assert room.define() == arn("job-definition/jd:2")
    assert room.define("other") == arn("job-definition/other:1")
    assert described(room, "jd:1") == {
        "jobDefinitionName": "jd",
        "jobDefinitionArn": arn("job-definition/jd:1"),
        "revision": 1,
        "status": "ACTIVE",
        "type": "container",
        "parameters": {},
        "containerProperties": {**EMPTY, **CONTAINER},
        "tags": {},
        "containerOrchestrationType": "ECS",
    }


WHOLE: dict[str, Any] = {
    "parameters": {"codec": "mp4"},
    "schedulingPriority": 5,
    "retryStrategy": {
        "attempts": 3,
        "evaluateOnExit": [
            {"action": "RETRY", "onStatusReason": "Host EC2*", "onReason": "*"},
            {"action": "exit", "onExitCode": "1*"},
        ],
    },
    "timeout": {"attemptDurationSeconds": 60},
    "propagateTags": True,
    "platformCapabilities": ["EC2"],
    "tags": {"team": "a"},
}
CONTAINER_WHOLE: dict[str, Any] = {
    "image": "busybox:local",
    "command": ["echo", "Ref::codec"],
    "vcpus": 2,
    "memory": 64,
    "volumes": [{"name": "data", "host": {"sourcePath": "/data"}}],
    "mountPoints": [{"sourceVolume": "data", "containerPath": "/d", "readOnly": True}],
    "environment": [{"name": "A", "value": ""}],
    "ulimits": [{"name": "nofile", "hardLimit": 10, "softLimit": 5}],
    "user": "nobody",
    "privileged": False,
    "readonlyRootFilesystem": True,
    "linuxParameters": {"maxSwap": 10, "swappiness": 60, "initProcessEnabled": True},
    "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g"}, "secretOptions": []},
    "resourceRequirements": [],
    "secrets": [],
}


def test_what_is_described_can_be_registered_again(room: Room) -> None:
    room.batch.register_job_definition(
        jobDefinitionName="jd", type="container", containerProperties=CONTAINER_WHOLE, **WHOLE
    )
    shown = described(room, "jd:1")
    assert shown["containerProperties"] == CONTAINER_WHOLE
    assert [rule["action"] for rule in shown["retryStrategy"]["evaluateOnExit"]] == ["retry", "exit"]
    assert {key: shown[key] for key in WHOLE if key != "retryStrategy"} == {
        key: value for key, value in WHOLE.items() if key != "retryStrategy"
    }
    again = {
        key: value
        for key, value in shown.items()
        if key not in ("jobDefinitionArn", "revision", "status", "containerOrchestrationType")
    }
    room.batch.register_job_definition(**again)
    second = described(room, "jd:2")
    assert {**second, "revision": 1, "jobDefinitionArn": shown["jobDefinitionArn"]} == shown


CONTAINERS: list[tuple[dict[str, Any], str]] = [
    ({"image": ""}, "! Image should not be null or empty."),
    ({"resourceRequirements": []}, "! vCPU is required."),
    ({"resourceRequirements": [{"type": "VCPU", "value": "1"}]}, "! Memory is required."),
    ({"vcpus": 1}, "! Cannot provide duplicates in resourceRequirements."),
    ({"memory": 64}, "! Cannot provide duplicates in resourceRequirements."),
    (
        {"resourceRequirements": [{"type": "VCPU", "value": "1"}] * 2},
        "! Cannot provide duplicates in resourceRequirements.",
    ),
    (
        {"resourceRequirements": [{"type": "VCPU", "value": "1.0"}]},
        "! Value 1.0 for type VCPU in resourceRequirement is not valid. Please provide a numeric value.",
    ),
    (
        {"resourceRequirements": [{"type": "MEMORY", "value": "lots"}]},
        "! Value lots for type MEMORY in resourceRequirement is not valid. Please provide a numeric value.",
    ),
    ({"resourceRequirements": [{"type": "VCPU", "value": "0"}]}, "! vCPU must be at least 1, got 0."),
    ({"resourceRequirements": [{"type": "MEMORY", "value": "3"}]}, "! Memory must be at least 4 MiB, got 3."),
    ({"resourceRequirements": [{"type": "GPU", "value": "0"}]}, "! GPU must be at least 1, got 0."),
    ({"vcpus": 0, "resourceRequirements": [{"type": "MEMORY", "value": "8"}]}, "! vCPU must be at least 1, got 0."),
    ({"environment": [{"value": "x"}]}, "! Environment variable names should not be null or empty."),
    (
        {"environment": [{"name": "AWS_BATCH_JOB_ID", "value": "x"}]},
        "! Environment variable names cannot start with AWS_BATCH: AWS_BATCH_JOB_ID",
    ),
    ({"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]}, "! Unknown volume 'v' in mountPoints."),
    (
        {"volumes": [{"name": "v"}], "mountPoints": [{"sourceVolume": "v"}]},
        "! containerPath is required in mountPoints.",
    ),
    ({"volumes": [{"name": "v"}, {"name": "v"}]}, "! Volume names must be unique: v"),
    ({"volumes": [{"host": {"sourcePath": "/x"}}]}, "! Volume name should match valid pattern: ''"),
    (
        {"volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]},
        "! Volumes with efsVolumeConfiguration are not offered by this endpoint; use a host path.",
    ),
    (
        {"secrets": [{"name": "S", "valueFrom": "arn"}]},
        "! executionRoleArn cannot be empty when using secrets or secretOptions",
    ),
    (
        {"secrets": [{"name": "S", "valueFrom": "arn"}], "executionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/x"},
        "! Secrets Manager and Systems Manager parameters are not offered by this endpoint; leave secrets out.",
    ),
    (
        {"linuxParameters": {"maxSwap": 5}},
        "! When container specified swap memory, swappiness value is required.",
    ),
    ({"linuxParameters": {"swappiness": 101}}, "! swappiness should be between 0 and 100."),
    ({"linuxParameters": {"swappiness": 1, "maxSwap": -1}}, "! maxSwap should be 0 or more."),
    (
        {"logConfiguration": {"logDriver": "awslogs", "options": {"syslog-address": "x"}}},
        "! Log driver awslogs disallows options: syslog-address",
    ),
    ({"networkConfiguration": {"assignPublicIp": "ENABLED"}}, "! networkConfiguration not applicable for EC2."),
    ({"runtimePlatform": {"cpuArchitecture": "ARM64"}}, "! runtimePlatform is not applicable for EC2."),
    ({"instanceType": "m5.large"}, "! instanceType is only applicable for multi-node parallel jobs."),
    (
        {"enableExecuteCommand": True},
        "! ECS Exec is not offered by this endpoint; leave enableExecuteCommand out.",
    ),
    (
        {"repositoryCredentials": {"credentialsParameter": "arn"}},
        "! Credentials of private registries are not offered by this endpoint; leave repositoryCredentials out.",
    ),
]
REGISTRATIONS: list[tuple[dict[str, Any], str]] = [
    ({"jobDefinitionName": "a b"}, "! Job definition name should match valid pattern"),
    ({"containerProperties": None}, "! Container properties should not be empty."),
    (
        {"type": "multinode"},
        "! Multi-node parallel jobs are not offered by this endpoint; use type container with containerProperties.",
    ),
    (
        {"eksProperties": {"podProperties": {}}},
        "! Job definitions with eksProperties are not offered by this endpoint; use containerProperties.",
    ),
    (
        {"ecsProperties": {"taskProperties": [{"containers": [{"image": "i"}]}]}},
        "! Job definitions with ecsProperties are not offered by this endpoint; use containerProperties.",
    ),
    (
        {"consumableResourceProperties": {"consumableResourceList": [{"consumableResource": "r", "quantity": 1}]}},
        "! Consumable resources are not offered by this endpoint; leave consumableResourceProperties out.",
    ),
    ({"platformCapabilities": ["EC2", "FARGATE"]}, "! Exactly 1 capability must be provided."),
    (
        {"platformCapabilities": ["FARGATE"]},
        "! Jobs with platform capability FARGATE are not offered by this endpoint; use EC2.",
    ),
    ({"schedulingPriority": 10_000}, "! schedulingPriority should be between 0 and 9999."),
    (
        {"retryStrategy": {"evaluateOnExit": [{"action": "EXIT", "onExitCode": "1"}]}},
        "! RetryAttempts must be provided with retry strategy.",
    ),
    ({"retryStrategy": {"attempts": 0}}, "! RetryAttempts must be between 1 and 10."),
    ({"retryStrategy": {"attempts": 11}}, "! RetryAttempts must be between 1 and 10."),
    (
        {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT"}]}},
        "! EvaluateOnExit should contain at least one of onExitCode, onReason or onStatusReason",
    ),
    (
        {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onExitCode": "1"}] * 6}},
        "! EvaluateOnExit should contain at most 5 conditions",
    ),
    (
        {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onExitCode": "1x"}]}},
        "! Evaluate on exit condition contains restricted characters.",
    ),
    (
        {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onReason": "*x"}]}},
        "! Evaluate on exit condition contains restricted characters.",
    ),
    (
        {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "WAIT", "onReason": "x"}]}},
        "Value 'WAIT' at 'retryStrategy.evaluateOnExit.1.member.action' failed to satisfy constraint:"
        " Member must satisfy enum value set: [RETRY, EXIT]",
    ),
    ({"timeout": {"attemptDurationSeconds": 59}}, "! AttemptDurationSeconds in Timeout must be at least 60 seconds."),
    ({"parameters": {"p": "x" * 25_000}}, "! Job definition size must be less than 24 KiB, got 25 KiB"),
    ({"tags": {"AWS:mine": "x"}}, "Tag keys starting with aws: are reserved for AWS use."),
]


def test_a_registration_that_cannot_be(room: Room) -> None:
    good: dict[str, Any] = {"jobDefinitionName": "jd", "type": "container", "containerProperties": CONTAINER}
    cases = [*REGISTRATIONS, *(({"containerProperties": {**CONTAINER, **change}}, text) for change, text in CONTAINERS)]
    for change, text in cases:
        request = {key: value for key, value in {**good, **change}.items() if value is not None}
        assert refusal(room.batch.register_job_definition, **request) == text, change
    assert room.batch.describe_job_definitions()["jobDefinitions"] == []


def test_a_revision_that_is_given_up_stays_and_its_number_is_not_given_again(room: Room) -> None:
    room.define()
    room.define()
    deregister = room.batch.deregister_job_definition
    deregister(jobDefinition=arn("job-definition/jd:2"))
    deregister(jobDefinition="jd:2")
    assert described(room, "jd:2")["status"] == "INACTIVE"
    assert room.define() == arn("job-definition/jd:3")
    assert refusal(deregister, jobDefinition="jd") == "Job definition jd must be given with its revision."
    for unknown in ("jd:9", "jd:99999999999999999999", "nobody:1", "jd:x"):
        assert refusal(deregister, jobDefinition=unknown) == f"JobDefinition {unknown} not found."


def test_they_are_described_by_reference_by_name_by_status_and_page_by_page(room: Room) -> None:
    for name in ("b", "a", "b"):
        room.define(name)
    room.batch.deregister_job_definition(jobDefinition="b:1")
    describe = room.batch.describe_job_definitions

    def names(**request: Any) -> list[str]:
        found = describe(**request)["jobDefinitions"]
        return [f"{each['jobDefinitionName']}:{each['revision']}" for each in found]

    assert names() == ["b:1", "a:1", "b:2"]
    assert names(jobDefinitionName="b") == ["b:1", "b:2"]
    assert names(jobDefinitionName="b", status="ACTIVE") == ["b:2"]
    assert names(status="INACTIVE") == ["b:1"]
    assert names(jobDefinitions=["b:2", "nobody:1", "b:1"]) == ["b:2", "b:1"]
    assert names(jobDefinitions=[arn("job-definition/b:1")], status="ACTIVE") == []
    assert names(jobDefinitions=["b"]) == []
    pages = room.batch.get_paginator("describe_job_definitions").paginate(PaginationConfig={"PageSize": 2})
    assert [len(page["jobDefinitions"]) for page in pages] == [2, 1]
    assert refusal(describe, status="%") == "Job definition status must be ACTIVE or INACTIVE, got %."
    text = refusal(describe, jobDefinitions=["b:1"], jobDefinitionName="b")
    assert text == "jobDefinitions and jobDefinitionName can not be used together."


def test_the_roles_of_its_jobs_must_be_passable(room: Room) -> None:
    role = room.iam.create_role(RoleName="job", AssumeRolePolicyDocument=trust("ecs-tasks.amazonaws.com"))["Role"][
        "Arn"
    ]
    registers = {"Effect": "Allow", "Action": "batch:RegisterJobDefinition", "Resource": "*"}
    passes = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": role,
        "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    }
    bob, eve = room.user("bob", registers), room.user("eve", registers, passes)
    for member in ("jobRoleArn", "executionRoleArn"):
        request = {
            "jobDefinitionName": "jd",
            "type": "container",
            "containerProperties": {**CONTAINER, member: role},
        }
        assert denial(bob.register_job_definition, **request) == (
            f"User: arn:aws:iam::{ACCOUNT}:user/bob is not authorized to perform: iam:PassRole on resource: {role}"
            " because no identity-based policy allows the iam:PassRole action"
        )
        eve.register_job_definition(**request)


def test_rights_can_hang_on_what_the_container_is(room: Room) -> None:
    user = room.user(
        "bob",
        {"Effect": "Allow", "Action": "batch:RegisterJobDefinition", "Resource": arn("job-definition/mine*")},
        {
            "Effect": "Deny",
            "Action": "batch:RegisterJobDefinition",
            "Resource": "*",
            "Condition": {"Bool": {"batch:Privileged": "true"}},
        },
        {
            "Effect": "Deny",
            "Action": "batch:RegisterJobDefinition",
            "Resource": "*",
            "Condition": {"StringNotLike": {"batch:Image": "busybox*"}},
        },
        {
            "Effect": "Deny",
            "Action": "batch:RegisterJobDefinition",
            "Resource": "*",
            "Condition": {"StringEquals": {"batch:User": "root", "batch:LogDriver": "json-file"}},
        },
        {
            "Effect": "Deny",
            "Action": "batch:RegisterJobDefinition",
            "Resource": "*",
            "Condition": {"StringEquals": {"batch:AWSLogsGroup": "secret"}},
        },
    )

    def register(name: str = "mine", **change: Any) -> Any:
        properties = {**CONTAINER, **change}
        return user.register_job_definition(jobDefinitionName=name, type="container", containerProperties=properties)

    register()
    assert f"on resource: {arn('job-definition/other')} " in denial(register, name="other")
    for change in (
        {"privileged": True},
        {"image": "alpine"},
        {"user": "root", "logConfiguration": {"logDriver": "json-file"}},
        {"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "secret"}}},
    ):
        assert "with an explicit deny" in denial(register, **change)

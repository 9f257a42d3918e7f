"""Instances that a user launches on machines of this host: which join a cluster, and what those say that do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from system.chain import Chain
from system.running import wait_for


@pytest.fixture
def instances(local: Chain) -> Iterator[Callable[..., str]]:
    """RunInstances: of the image of this name, with this user data, perhaps with the profile. Ended with the test."""
    made: list[str] = []

    def run(image: str, user_data: str, *, has_profile: bool = True) -> str:
        found = local.ec2.describe_images(
            Owners=["amazon"],
            Filters=[{"Name": "name", "Values": [image]}, {"Name": "architecture", "Values": ["x86_64"]}],
        )["Images"]
        profile = {"IamInstanceProfile": {"Name": "ecsInstanceRole"}} if has_profile else {}
        answer = local.ec2.run_instances(
            ImageId=found[0]["ImageId"], InstanceType="t3.small", MinCount=1, MaxCount=1,
            UserData=user_data, **profile,
        )  # fmt: skip
        made.append(answer["Instances"][0]["InstanceId"])
        return made[-1]

    yield run
    if made:
        local.ec2.terminate_instances(InstanceIds=made)
        wait_for(lambda: all(state == "terminated" for key, state in local.states().items() if key in made))


OPTIMISED, BARE = "al2023-ami-ecs-hvm-*", "al2023-ami-2023*"
STARTS_AGENT = "systemctl enable --now ecs\n"


def joins(cluster: str, *more: str) -> str:
    return "\n".join(["#!/bin/bash", f"echo ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config", *more, ""])


def members(local: Chain, cluster: str) -> dict[str, str]:
    """EC2 instance id -> container instance ARN, of those whose agent is connected."""
    arns = local.ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
    if not arns:
        return {}
    shown = local.ecs.describe_container_instances(cluster=cluster, containerInstances=arns)["containerInstances"]
    return {each["ec2InstanceId"]: each["containerInstanceArn"] for each in shown if each["agentConnected"]}


@pytest.mark.parametrize("image, starts", [(OPTIMISED, ""), (BARE, STARTS_AGENT)], ids=["optimised", "bare"])
def test_an_instance_joins_the_cluster_that_its_user_data_names(
    local: Chain, instances: Callable[..., str], image: str, starts: str
) -> None:
    cluster = f"mine-{'bare' if starts else 'optimised'}"
    local.ecs.create_cluster(clusterName=cluster)
    instance_id = instances(image, joins(cluster, "ECS=1", starts))
    joined = wait_for(lambda: members(local, cluster).get(instance_id), 20)
    task = local.ecs.register_task_definition(
        family=cluster,
        networkMode="host",
        containerDefinitions=[{"name": "c", "image": "busybox", "memory": 64, "command": ["sh", "-c", "exit 3"]}],
    )["taskDefinition"]["taskDefinitionArn"]
    (started,) = local.ecs.run_task(cluster=cluster, taskDefinition=task)["tasks"]
    assert started["containerInstanceArn"] == joined

    def stopped() -> dict:
        (found,) = local.ecs.describe_tasks(cluster=cluster, tasks=[started["taskArn"]])["tasks"]
        return found if found["lastStatus"] == "STOPPED" else {}

    assert wait_for(stopped)["containers"][0]["exitCode"] == 3


def test_a_bare_image_without_such_user_data_does_not_join(local: Chain, instances: Callable[..., str]) -> None:
    local.ecs.create_cluster(clusterName="nobody")
    instance_id = instances(BARE, joins("nobody", "echo user data has run; cat /etc/ecs/ecs.config"))
    console = wait_for(lambda: "ECS_CLUSTER=nobody" in (text := local.console(instance_id)) and text, 20)
    assert "user data has run" in console
    assert members(local, "nobody") == {}


@pytest.mark.parametrize("image, starts", [(OPTIMISED, ""), (BARE, STARTS_AGENT)], ids=["optimised", "bare"])
def test_without_an_instance_profile_none_joins_and_the_console_says_why(
    local: Chain, instances: Callable[..., str], image: str, starts: str
) -> None:
    local.ecs.create_cluster(clusterName="lonely")
    instance_id = instances(image, joins("lonely", starts), has_profile=False)
    # GetConsoleOutput, as AWS's: the text in base64, which botocore undoes.
    console = wait_for(lambda: "NoCredentialProviders" in (text := local.console(instance_id)) and text, 20)
    assert "no valid providers in chain" in console and "instance profile" in console
    raw = local.server.aws("ec2", "get-console-output", "--instance-id", instance_id, "--output", "text")
    assert raw.returncode == 0 and "NoCredentialProviders" in raw.stdout
    assert members(local, "lonely") == {}
    assert local.states()[instance_id] == "running"


def test_a_task_that_ignores_the_first_signal_gets_the_second_after_its_grace(
    local: Chain, instances: Callable[..., str]
) -> None:
    local.ecs.create_cluster(clusterName="grace")
    instance_id = instances(OPTIMISED, joins("grace", "echo ECS_CONTAINER_STOP_TIMEOUT=2s >> /etc/ecs/ecs.config"))
    wait_for(lambda: members(local, "grace").get(instance_id), 20)
    local.logs.create_log_group(logGroupName="grace")
    options = {"awslogs-group": "grace", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}
    script = "trap 'echo asked' TERM; echo up; while :; do sleep 0.1; done"
    task = local.ecs.register_task_definition(
        family="grace",
        networkMode="host",
        containerDefinitions=[
            {
                "name": "c", "image": "busybox", "memory": 64, "command": ["sh", "-c", script],
                "logConfiguration": {"logDriver": "awslogs", "options": options},
            }
        ],
    )["taskDefinition"]["taskDefinitionArn"]  # fmt: skip
    arn = local.ecs.run_task(cluster="grace", taskDefinition=task)["tasks"][0]["taskArn"]
    stream = f"p/c/{arn.rpartition('/')[2]}"

    def described() -> dict:
        return local.ecs.describe_tasks(cluster="grace", tasks=[arn])["tasks"][0]

    def lines() -> list[str]:
        events = local.logs.get_log_events(logGroupName="grace", logStreamName=stream, startFromHead=True)["events"]
        return [event["message"] for event in events]

    wait_for(lambda: described()["lastStatus"] == "RUNNING" and lines() == ["up"], 20)
    began = time.monotonic()
    local.ecs.stop_task(cluster="grace", task=arn, reason="by hand")
    ended = wait_for(lambda: (found := described())["lastStatus"] == "STOPPED" and found, 20)
    assert 1.9 < time.monotonic() - began < 15
    assert ended["containers"][0]["exitCode"] == 137
    assert ended["stoppedReason"] == "by hand" and ended["stopCode"] == "UserInitiated"
    assert lines() == ["up", "asked"]

"""An unmodified botocore client at the room: names, types, errors, paginators and waiters (clients.md 10)."""

import pytest
from botocore.exceptions import ClientError, WaiterError

AT_ONCE = {"Delay": 0, "MaxAttempts": 1}


def test_a_task_as_a_program_sees_it(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    ecs = room.client()
    definition = ecs.register_task_definition(
        family="fam",
        containerDefinitions=[
            {"name": "main", "image": "busybox", "memory": 64, "environment": [{"name": "Ä", "value": "ö"}]},
        ],
    )["taskDefinition"]
    assert definition["containerDefinitions"][0]["environment"] == [{"name": "Ä", "value": "ö"}]
    (task,) = ecs.run_task(cluster="demo", taskDefinition="fam")["tasks"]
    asked = {"cluster": "demo", "tasks": [task["taskArn"]]}
    with pytest.raises(WaiterError):
        ecs.get_waiter("tasks_running").wait(**asked, WaiterConfig=AT_ONCE)
    report = {"cluster": "demo", "task": task["taskArn"]}
    ecs.submit_task_state_change(
        **report, status="RUNNING", containers=[{"containerName": "main", "status": "RUNNING"}]
    )
    ecs.get_waiter("tasks_running").wait(**asked, WaiterConfig=AT_ONCE)
    ecs.submit_task_state_change(
        **report,
        status="STOPPED",
        executionStoppedAt=room.clock.now(),
        containers=[{"containerName": "main", "status": "STOPPED", "exitCode": 3}],
    )
    ecs.get_waiter("tasks_stopped").wait(**asked, WaiterConfig=AT_ONCE)
    (found,) = ecs.describe_tasks(**asked)["tasks"]
    assert (found["containers"][0]["exitCode"], found["stopCode"]) == (3, "EssentialContainerExited")
    assert found["createdAt"] <= found["startedAt"] <= found["executionStoppedAt"] <= found["stoppedAt"]
    assert found["containerInstanceArn"] == arn


def test_pages_are_turned(room) -> None:  # type: ignore[no-untyped-def]
    room.joined()
    ecs = room.client()
    room.define(container={"cpu": 1, "memory": 6})
    started = [ecs.run_task(cluster="demo", taskDefinition="fam")["tasks"][0]["taskArn"] for _ in range(5)]
    for name, member, expected, more in (
        ("list_tasks", "taskArns", started, {"cluster": "demo"}),
        ("list_task_definitions", "taskDefinitionArns", [room.define() for _ in range(4)], {}),
    ):
        pages = list(ecs.get_paginator(name).paginate(**more, PaginationConfig={"PageSize": 2}))
        assert [arn for page in pages for arn in page[member]][-len(expected) :] == expected
        assert len(pages) > 1


@pytest.mark.parametrize(
    ("operation", "request_", "code"),
    [
        ("list_tasks", {"cluster": "ghost"}, "ClusterNotFoundException"),
        ("describe_task_definition", {"taskDefinition": "ghost"}, "ClientException"),
        ("stop_task", {"cluster": "demo", "task": "ghost"}, "InvalidParameterException"),
        (
            "run_task",
            {"cluster": "demo", "taskDefinition": "ghost", "launchType": "FARGATE"},
            "UnsupportedFeatureException",
        ),
        ("delete_cluster", {"cluster": "demo"}, "ClusterContainsContainerInstancesException"),
    ],
)
def test_errors_are_those_of_the_model(room, operation, request_, code) -> None:  # type: ignore[no-untyped-def]
    room.joined()
    ecs = room.client()
    with pytest.raises(ClientError) as refused:
        getattr(ecs, operation)(**request_)
    assert refused.value.response["Error"]["Code"] == code
    assert isinstance(refused.value, getattr(ecs.exceptions, code))
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_an_instance_as_awsbhosts_sees_it(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    ecs = room.client()
    assert ecs.list_container_instances(cluster="demo")["containerInstanceArns"] == [arn]
    (found,) = ecs.describe_container_instances(cluster="demo", containerInstances=[arn])["containerInstances"]
    assert (found["ec2InstanceId"], found["runningTasksCount"], found["agentConnected"]) == (
        "i-0123456789abcdef0",
        0,
        True,
    )
    assert {each["name"] for each in found["remainingResources"]} == {"CPU", "MEMORY", "PORTS", "PORTS_UDP"}

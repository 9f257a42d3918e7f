import pytest

from longshore.aws.errors import AwsError

ROLE = "arn:aws:iam::123456789012:role/jobRole"


def refusal(room, name, request) -> AwsError:  # type: ignore[no-untyped-def]
    with pytest.raises(AwsError) as refused:
        room.call(name, request)
    return refused.value


def run(room, **more):  # type: ignore[no-untyped-def]
    return room.call("RunTask", {"cluster": "demo", "taskDefinition": "fam", **more})


def test_tasks_spread_over_instances_until_nothing_fits(room) -> None:  # type: ignore[no-untyped-def]
    first, _ = room.joined()
    second = room.register("i-0fedcba9876543210")["containerInstanceArn"]
    room.open(second, "i-0fedcba9876543210")
    room.define(container={"memory": 2000})
    answer = run(room, count=5)
    assert [each["containerInstanceArn"] for each in answer["tasks"]] == [first, second, first, second]
    assert {(each["arn"], each["reason"]) for each in answer["failures"]} == {
        (first, "RESOURCE:MEMORY"),
        (second, "RESOURCE:MEMORY"),
    }
    assert answer["failures"][0]["detail"] == "Insufficient memory available (2000 requested, 96 available)."


def test_an_empty_cluster_is_an_error_of_its_own(room) -> None:  # type: ignore[no-untyped-def]
    room.call("CreateCluster", {"clusterName": "demo"})
    room.define()
    error = refusal(room, "RunTask", {"cluster": "demo", "taskDefinition": "fam"})
    assert (error.code, error.message) == (
        "InvalidParameterException",
        "No Container Instances were found in your cluster.",
    )


def test_the_same_client_token_gives_the_same_tasks(room) -> None:  # type: ignore[no-untyped-def]
    room.joined()
    room.define()
    first, again = run(room, clientToken="t"), run(room, clientToken="t")
    assert [each["taskArn"] for each in first["tasks"]] == [each["taskArn"] for each in again["tasks"]]
    assert refusal(
        room, "RunTask", {"cluster": "demo", "taskDefinition": "fam", "count": 2, "clientToken": "t"}
    ).code == ("ConflictException")


def test_overrides_reach_the_agent_merged(room) -> None:  # type: ignore[no-untyped-def]
    _, socket = room.joined()
    room.define(container={"environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]})
    override = {"name": "main", "command": ["true"], "memory": 128, "environment": [{"name": "B", "value": "3"}]}
    (task,) = run(room, overrides={"containerOverrides": [override]})["tasks"]
    assert task["overrides"]["containerOverrides"] == [override]
    (sent,) = socket.of("PayloadMessage")[0]["tasks"]
    (container,) = sent["containers"]
    assert (container["command"], container["memory"], container["overrides"]) == (["true"], 128, "{}")
    assert container["environment"] == {"A": "1", "B": "3", "AWS_EXECUTION_ENV": "AWS_ECS_EC2"}


def test_roles_are_passed_by_definitions_and_by_overrides(room) -> None:  # type: ignore[no-untyped-def]
    room.joined()
    room.define(executionRoleArn="short-name")
    assert ("iam:PassRole", "arn:aws:iam::123456789012:role/short-name") in room.authorizer.asked
    room.authorizer.asked.clear()
    run(room, overrides={"taskRoleArn": ROLE})
    assert ("iam:PassRole", ROLE) in room.authorizer.asked
    room.authorizer.refuses.add("iam:PassRole")
    assert refusal(room, "RunTask", {"cluster": "demo", "taskDefinition": "fam"}).code == "AccessDeniedException"


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        ({"taskDefinition": "nobody"}, "ClientException", "TaskDefinition not found."),
        ({"taskDefinition": "fam:9"}, "ClientException", "TaskDefinition not found."),
        ({"taskDefinition": "fam:nine"}, "ClientException", "TaskDefinition not found."),
        ({"cluster": "other"}, "ClusterNotFoundException", "Cluster not found."),
        ({"count": 11}, "InvalidParameterException", "Count should be between 1 and 10."),
        (
            {"overrides": {"containerOverrides": [{"name": "main", "command": ["x" * 8200]}]}},
            "InvalidParameterException",
            "Container Overrides length must be at most 8192",
        ),
        (
            {"overrides": {"containerOverrides": [{"name": "ghost"}]}},
            "InvalidParameterException",
            "Override for container named ghost is not a container in the TaskDefinition.",
        ),
    ],
)
def test_what_run_task_refuses(room, request_, code, message) -> None:  # type: ignore[no-untyped-def]
    room.joined()
    room.define()
    error = refusal(room, "RunTask", {"cluster": "demo", "taskDefinition": "fam", **request_})
    assert (error.code, error.message) == (code, message)


def test_tasks_are_listed_by_what_is_asked_and_in_pages(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    room.define()
    room.define(family="other")
    tasks = [run(room, startedBy=f"intent/{n}")["tasks"][0]["taskArn"] for n in range(3)]
    other = run(room, taskDefinition="other")["tasks"][0]["taskArn"]

    def listed(**asked: object) -> list[str]:
        return room.call("ListTasks", {"cluster": "demo", **asked})["taskArns"]  # type: ignore[no-any-return]

    assert listed() == [*tasks, other]
    assert listed(startedBy="intent/1") == [tasks[1]]
    assert listed(family="other") == [other]
    assert listed(containerInstance=arn, startedBy="intent/2") == [tasks[2]]
    assert listed(desiredStatus="STOPPED") == [] == listed(launchType="FARGATE")
    room.call("StopTask", {"cluster": "demo", "task": tasks[0]})
    assert listed(desiredStatus="STOPPED") == [tasks[0]]
    page = room.call("ListTasks", {"cluster": "demo", "maxResults": 2})
    assert page["taskArns"] == tasks[1:]
    assert listed(maxResults=2, nextToken=page["nextToken"]) == [other]
    assert refusal(room, "ListTasks", {"cluster": "demo", "nextToken": "?"}).code == "InvalidParameterException"


def test_a_fixed_port_is_given_once(room) -> None:  # type: ignore[no-untyped-def]
    room.joined()
    room.define(container={"portMappings": [{"containerPort": 80, "hostPort": 8080}]})
    assert len(run(room)["tasks"]) == 1
    assert [each["reason"] for each in run(room)["failures"]] == ["RESOURCE:PORTS"]


def test_an_instance_without_the_attribute_will_not_do(room) -> None:  # type: ignore[no-untyped-def]
    room.joined()
    room.define(container={"privileged": True})
    (failure,) = run(room)["failures"]
    assert failure["reason"] == "ATTRIBUTE"


def test_constraints_choose_and_distinct_instances_hold(room) -> None:  # type: ignore[no-untyped-def]
    room.joined()
    room.define()
    member_of = [{"type": "memberOf", "expression": "attribute:stack == prod"}]
    assert [each["reason"] for each in run(room, placementConstraints=member_of)["failures"]] == [
        "MemberOf placement constraint unsatisfied."
    ]
    assert (
        len(run(room, placementConstraints=[{"type": "memberOf", "expression": "attribute:stack =~ te.*"}])["tasks"])
        == 1
    )
    assert run(room, placementConstraints=[{"type": "distinctInstance"}])["tasks"] == []


def test_stopping_what_is_not_there_and_describing_it(room) -> None:  # type: ignore[no-untyped-def]
    room.joined()
    error = refusal(room, "StopTask", {"cluster": "demo", "task": "f" * 32})
    assert (error.code, error.message) == ("InvalidParameterException", "The referenced task was not found.")
    answer = room.call("DescribeTasks", {"cluster": "demo", "tasks": ["f" * 32]})
    assert answer["failures"][0]["reason"] == "MISSING"


def test_stopped_tasks_are_forgotten_after_an_hour_and_not_before(room) -> None:  # type: ignore[no-untyped-def]
    from longshore.services.ecs.loops import Housekeeping

    room.joined()
    room.define()
    (task,) = run(room)["tasks"]
    room.call("SubmitTaskStateChange", {"cluster": "demo", "task": task["taskArn"], "status": "STOPPED"}, room.agent())
    asked = {"cluster": "demo", "tasks": [task["taskArn"]]}
    housekeeping = Housekeeping()
    for passed, there in ((3500, 1), (200, 0)):
        room.turn(passed)
        room.loop.run_until_complete(housekeeping.tick(room.house, room.clock.now()))
        assert len(room.call("DescribeTasks", asked)["tasks"]) == there

import pytest

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal

OWN = "i-0123456789abcdef0"
OTHER = "i-0fedcba9876543210"


def refusal(room, name, request, as_=None) -> AwsError:  # type: ignore[no-untyped-def]
    with pytest.raises(AwsError) as refused:
        room.call(name, request, as_)
    return refused.value


def registration(room, document_of: str, **more):  # type: ignore[no-untyped-def]
    document, signature = room.document(document_of)
    return {
        "cluster": "demo",
        "instanceIdentityDocument": document,
        "instanceIdentityDocumentSignature": signature,
        **more,
    }


def test_every_attribute_that_was_sent_comes_back_as_it_was(room) -> None:  # type: ignore[no-untyped-def]
    """The original agent ends with exit code 5 when one is missing."""
    room.call("CreateCluster", {"clusterName": "demo"})
    sent = [{"name": f"a{n}", "value": str(n)} for n in range(53)] + [{"name": "ecs.capability.full-sync"}]
    answer = room.register(attributes=sent, tags=[{"key": "team", "value": "batch"}])
    for attribute in sent:
        assert attribute in answer["attributes"]
    added = {each["name"]: each.get("value") for each in answer["attributes"]}
    assert added["ecs.availability-zone"] == "us-east-1a" and added["ecs.instance-type"] == "m5.large"
    assert (answer["status"], answer["agentConnected"], answer["ec2InstanceId"]) == ("ACTIVE", False, OWN)
    assert answer["tags"] == [{"key": "team", "value": "batch"}]
    assert answer["containerInstanceArn"].startswith("arn:aws:ecs:us-east-1:123456789012:container-instance/demo/")


def test_a_restarted_agent_keeps_its_instance_and_what_it_did_not_say_again(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    task = room.call("StartTask", {"cluster": "demo", "containerInstances": [arn], "taskDefinition": room.define()})
    assert task["failures"] == []
    again = room.register(containerInstanceArn=arn, attributes=[{"name": "ecs.os-type", "value": "linux"}])
    assert again["containerInstanceArn"] == arn
    assert {"name": "stack", "value": "test"} in again["attributes"]
    assert (again["pendingTasksCount"], again["remainingResources"][0]["integerValue"]) == (1, 2048 - 128)


def test_a_registration_whose_answer_was_lost_is_not_counted_twice(room) -> None:  # type: ignore[no-untyped-def]
    room.call("CreateCluster", {"clusterName": "demo"})
    assert room.register()["containerInstanceArn"] == room.register()["containerInstanceArn"]


@pytest.mark.parametrize(
    "session",
    [
        pytest.param({"session_name": OTHER}, id="of another instance"),
        pytest.param({"assumed_by": "arn:aws:iam::123456789012:user/mallory"}, id="taken by a user under that name"),
        pytest.param({"account": "999999999999"}, id="of another account"),
        pytest.param(
            {"source_instance_arn": f"arn:aws:ec2:us-east-1:123456789012:instance/{OTHER}"}, id="given out elsewhere"
        ),
    ],
)
def test_nobody_registers_for_another(room, session) -> None:  # type: ignore[no-untyped-def]
    from msgspec.structs import replace

    room.call("CreateCluster", {"clusterName": "demo"})
    caller: Principal = replace(room.agent(OWN), **session)
    assert refusal(room, "RegisterContainerInstance", registration(room, OWN), caller).code == "AccessDeniedException"


def test_a_document_that_was_changed_is_refused(room) -> None:  # type: ignore[no-untyped-def]
    room.call("CreateCluster", {"clusterName": "demo"})
    request = registration(room, OWN)
    request["instanceIdentityDocument"] = request["instanceIdentityDocument"].replace(OWN, OTHER)
    assert refusal(room, "RegisterContainerInstance", request, room.agent(OTHER)).code == "ClientException"


def test_an_unknown_cluster_is_said_so_that_the_agent_makes_the_default_one(room) -> None:  # type: ignore[no-untyped-def]
    request = {**registration(room, OWN), "cluster": ""}
    error = refusal(room, "RegisterContainerInstance", request, room.agent(OWN))
    assert (error.code, error.message) == ("ClusterNotFoundException", "Cluster not found.")
    room.call("CreateCluster", {"clusterName": "default"}, room.agent(OWN))
    room.call("RegisterContainerInstance", request, room.agent(OWN))


def test_the_poll_endpoint_is_where_the_agent_reached_us(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    answer = room.call("DiscoverPollEndpoint", {"cluster": "demo", "containerInstance": arn}, room.agent())
    assert answer == {"endpoint": "http://127.0.0.1:4570/acs", "telemetryEndpoint": "http://127.0.0.1:4570/tcs"}
    asked = {"cluster": "demo", "containerInstance": arn}
    assert refusal(room, "DiscoverPollEndpoint", asked, room.agent(OTHER)).code == "AccessDeniedException"


def test_an_agent_reports_for_its_own_tasks_only(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    (task,) = room.call("StartTask", {"cluster": "demo", "containerInstances": [arn], "taskDefinition": room.define()})[
        "tasks"
    ]
    report = {"cluster": "demo", "task": task["taskArn"], "status": "STOPPED"}
    assert refusal(room, "SubmitTaskStateChange", report, room.agent(OTHER)).code == "AccessDeniedException"
    unknown = {**report, "task": task["taskArn"][:-4] + "beef"}
    error = refusal(room, "SubmitTaskStateChange", unknown, room.agent())
    assert error.code == "InvalidParameterException"  # By which the original agent drops the report.


def test_an_agent_drains_and_deregisters_itself_only(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    other = room.register(OTHER)["containerInstanceArn"]
    drain = {"cluster": "demo", "containerInstances": [other], "status": "DRAINING"}
    assert refusal(room, "UpdateContainerInstancesState", drain, room.agent()).code == "AccessDeniedException"
    deregister = {"cluster": "demo", "containerInstance": other}
    assert refusal(room, "DeregisterContainerInstance", deregister, room.agent()).code == "AccessDeniedException"
    answer = room.call("UpdateContainerInstancesState", {**drain, "containerInstances": [arn]}, room.agent())
    assert answer["containerInstances"][0]["status"] == "DRAINING"


def test_a_draining_instance_gets_nothing_new_and_is_listed_by_its_status(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    room.call("UpdateContainerInstancesState", {"cluster": "demo", "containerInstances": [arn], "status": "DRAINING"})
    answer = room.call("StartTask", {"cluster": "demo", "containerInstances": [arn], "taskDefinition": room.define()})
    assert [each["reason"] for each in answer["failures"]] == ["INACTIVE"]
    assert room.call("ListContainerInstances", {"cluster": "demo", "status": "ACTIVE"})["containerInstanceArns"] == []
    assert room.call("ListContainerInstances", {"cluster": "demo"})["containerInstanceArns"] == [arn]


def test_what_is_not_there_is_missing(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    answer = room.call("DescribeContainerInstances", {"cluster": "demo", "containerInstances": [arn, "f" * 32]})
    assert [each["containerInstanceArn"] for each in answer["containerInstances"]] == [arn]
    assert answer["failures"] == [
        {"arn": f"arn:aws:ecs:us-east-1:123456789012:container-instance/demo/{'f' * 32}", "reason": "MISSING"}
    ]


def test_deregistering_with_tasks_needs_force_and_ends_them(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    (task,) = room.call("StartTask", {"cluster": "demo", "containerInstances": [arn], "taskDefinition": room.define()})[
        "tasks"
    ]
    asked = {"cluster": "demo", "containerInstance": arn}
    error = refusal(room, "DeregisterContainerInstance", asked)
    assert (error.code, error.message) == ("InvalidParameterException", "Found running tasks on the instance.")
    gone = room.call("DeregisterContainerInstance", {**asked, "force": True})["containerInstance"]
    assert gone["status"] == "INACTIVE"
    (found,) = room.call("DescribeTasks", {"cluster": "demo", "tasks": [task["taskArn"]]})["tasks"]
    assert found["stoppedReason"] == f"Host EC2 (instance {OWN}) terminated."
    assert refusal(
        room, "RegisterContainerInstance", registration(room, OWN, containerInstanceArn=arn), room.agent()
    ).code == ("ClientException")


def test_agents_of_a_former_life_of_the_server_are_not_connected(room) -> None:  # type: ignore[no-untyped-def]
    from longshore.services.ecs import streams
    from longshore.services.ecs.loops import mark_disconnected

    arn, _ = room.joined()
    room.loop.run_until_complete(mark_disconnected(room.house))
    asked = {"cluster": "demo", "containerInstances": [arn]}
    assert room.call("DescribeContainerInstances", asked)["containerInstances"][0]["agentConnected"] is True
    streams.registry(room.house).clear()
    room.loop.run_until_complete(mark_disconnected(room.house))
    assert room.call("DescribeContainerInstances", asked)["containerInstances"][0]["agentConnected"] is False


def test_attributes_of_ones_own_serve_filters(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    target = {"targetType": "container-instance", "targetId": arn}
    room.call("PutAttributes", {"cluster": "demo", "attributes": [{"name": "rack", "value": "7", **target}]})
    listed = room.call("ListContainerInstances", {"cluster": "demo", "filter": "attribute:rack == 7"})
    assert listed["containerInstanceArns"] == [arn]
    listed = room.call("ListContainerInstances", {"cluster": "demo", "filter": "attribute:rack == 8"})
    assert listed["containerInstanceArns"] == []
    found = room.call(
        "ListAttributes", {"cluster": "demo", "targetType": "container-instance", "attributeName": "rack"}
    )
    assert [each["value"] for each in found["attributes"]] == ["7"]
    room.call("DeleteAttributes", {"cluster": "demo", "attributes": [{"name": "rack", **target}]})
    found = room.call(
        "ListAttributes", {"cluster": "demo", "targetType": "container-instance", "attributeName": "rack"}
    )
    assert found["attributes"] == []

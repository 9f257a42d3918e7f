"""The agent's streams, with frames of the captured shapes."""

import json
from typing import Any

import pytest

from longshore.aws.errors import AwsError
from longshore.kit.event import Event

ROLE = "arn:aws:iam::123456789012:role/jobRole"


def start(room: Any, arn: str, definition: str, **more: Any) -> dict[str, Any]:
    answer = room.call(
        "StartTask", {"cluster": "demo", "containerInstances": [arn], "taskDefinition": definition, **more}
    )
    assert answer["failures"] == []
    (task,) = answer["tasks"]
    return task  # type: ignore[no-any-return]


def describe(room: Any, task: dict[str, Any]) -> dict[str, Any]:
    (found,) = room.call("DescribeTasks", {"cluster": "demo", "tasks": [task["taskArn"]]})["tasks"]
    return found  # type: ignore[no-any-return]


def instance(room: Any, arn: str) -> dict[str, Any]:
    (found,) = room.call("DescribeContainerInstances", {"cluster": "demo", "containerInstances": [arn]})[
        "containerInstances"
    ]
    return found  # type: ignore[no-any-return]


def acknowledge(socket: Any, message: dict[str, Any]) -> None:
    socket.say("AckRequest", {"cluster": "demo", "containerInstance": "arn", "messageId": message["messageId"]})


def test_a_task_reaches_its_agent_at_once_and_its_report_ends_it(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    definition = room.define()
    task = start(room, arn, definition, startedBy="batch-intent-1")
    assert (task["lastStatus"], task["desiredStatus"], task["version"], task["group"]) == (
        "PENDING",
        "RUNNING",
        1,
        "family:fam",
    )

    (payload,) = socket.of("PayloadMessage")
    assert payload["containerInstanceArn"] == arn
    (sent,) = payload["tasks"]
    assert sent["arn"] == task["taskArn"]
    assert (sent["family"], sent["version"], sent["desiredStatus"]) == ("fam", "1", "RUNNING")
    (container,) = sent["containers"]
    assert container["command"] == ["sh", "-c", "exit 3"] and container["overrides"] == "{}"
    assert json.loads(container["dockerConfig"]["hostConfig"])["NetworkMode"] == "bridge"
    acknowledge(socket, payload)
    room.turn()

    report = {"cluster": "demo", "task": task["taskArn"], "reason": ""}
    running = {"containerName": "main", "exitCode": 3, "runtimeId": "7d7d", "status": "RUNNING"}
    answer = room.call("SubmitTaskStateChange", {**report, "status": "RUNNING", "containers": [running]}, room.agent())
    assert answer["acknowledgment"]
    found = describe(room, task)
    assert (found["lastStatus"], found["connectivity"], found["containers"][0].get("exitCode")) == (
        "RUNNING",
        "CONNECTED",
        None,
    )
    assert (instance(room, arn)["runningTasksCount"], instance(room, arn)["pendingTasksCount"]) == (1, 0)

    ended = {**running, "status": "STOPPED"}
    room.call("SubmitTaskStateChange", {**report, "status": "STOPPED", "containers": [ended]}, room.agent())
    found = describe(room, task)
    assert (found["lastStatus"], found["stopCode"], found["stoppedReason"], found["containers"][0]["exitCode"]) == (
        "STOPPED", "EssentialContainerExited", "Essential container in task exited", 3,
    )  # fmt: skip
    cpu, memory, *_ = instance(room, arn)["remainingResources"]
    assert (cpu["integerValue"], memory["integerValue"]) == (2048, 4096)
    assert instance(room, arn)["runningTasksCount"] == 0
    assert [each["lastStatus"] for each in room.events("ECS Task State Change")] == ["PENDING", "RUNNING", "STOPPED"]


def test_what_was_not_acknowledged_is_sent_again_and_what_was_is_not(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    definition = room.define()
    first, second = start(room, arn, definition), start(room, arn, definition)
    acknowledge(socket, socket.of("PayloadMessage")[0])
    room.turn()
    again = room.open(arn)
    assert [each["tasks"][0]["arn"] for each in again.of("PayloadMessage")] == [second["taskArn"]]
    (manifest,) = again.of("TaskManifestMessage")
    assert [each["taskArn"] for each in manifest["tasks"]] == [first["taskArn"], second["taskArn"]]
    assert manifest["timeline"] > socket.of("PayloadMessage")[-1]["seqNum"]


def test_sequence_numbers_only_grow(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    definition = room.define()
    for _ in range(3):
        start(room, arn, definition)
    numbers = [
        socket.of("TaskManifestMessage")[0]["timeline"],
        *(each["seqNum"] for each in socket.of("PayloadMessage")),
    ]
    assert numbers == sorted(set(numbers))


def test_a_stop_reaches_the_agent_and_the_callers_reason_stays(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    task = start(room, arn, room.define())
    acknowledge(socket, socket.of("PayloadMessage")[0])
    room.turn()
    answer = room.call("StopTask", {"cluster": "demo", "task": task["taskArn"], "reason": "no longer needed"})["task"]
    assert (answer["desiredStatus"], answer["lastStatus"]) == ("STOPPED", "PENDING")
    stop = socket.of("PayloadMessage")[-1]
    assert (stop["tasks"][0]["arn"], stop["tasks"][0]["desiredStatus"]) == (task["taskArn"], "STOPPED")
    assert len(socket.of("PayloadMessage")) == 2
    acknowledge(socket, stop)
    room.turn()
    assert room.open(arn).of("PayloadMessage") == []
    report = {"cluster": "demo", "task": task["taskArn"], "status": "STOPPED"}
    room.call(
        "SubmitTaskStateChange",
        {**report, "containers": [{"containerName": "main", "status": "STOPPED"}]},
        room.agent(),
    )
    assert describe(room, task)["stoppedReason"] == "no longer needed"


def test_the_agent_is_connected_while_its_stream_is_open(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    assert instance(room, arn)["agentConnected"] is True
    assert instance(room, arn)["versionInfo"]["dockerVersion"] == "DockerVersion: 20.10.24+dfsg1"
    socket.inbox.put_nowait(None)
    room.turn()
    assert instance(room, arn)["agentConnected"] is False
    assert [each["agentConnected"] for each in room.events("ECS Container Instance State Change")] == [
        False,
        True,
        False,
    ]


def test_a_silent_agent_ends_no_task_but_gets_no_new_one(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    definition = room.define()
    task = start(room, arn, definition)
    socket.inbox.put_nowait(None)
    room.turn(7200)
    assert describe(room, task)["lastStatus"] == "PENDING"
    assert describe(room, task)["connectivity"] == "DISCONNECTED"
    answer = room.call("StartTask", {"cluster": "demo", "containerInstances": [arn], "taskDefinition": definition})
    assert (answer["tasks"], answer["failures"][0]["reason"]) == ([], "AGENT")


def test_a_newer_stream_takes_the_place_of_the_older(room) -> None:  # type: ignore[no-untyped-def]
    arn, older = room.joined()
    newer = room.open(arn)
    assert older.closed and not newer.closed
    assert instance(room, arn)["agentConnected"] is True
    start(room, arn, room.define())
    assert older.of("PayloadMessage") == [] and len(newer.of("PayloadMessage")) == 1


def test_hearts_beat_in_silence(room) -> None:  # type: ignore[no-untyped-def]
    _, socket = room.joined()
    room.turn(95)
    assert len(socket.of("HeartbeatMessage")) == 3


def test_role_credentials_come_with_the_task_and_are_renewed_before_they_end(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    task = start(room, arn, room.define(taskRoleArn=ROLE))
    assert ("iam:PassRole", ROLE) in room.authorizer.asked
    (payload,) = socket.of("PayloadMessage")
    given = payload["tasks"][0]["roleCredentials"]
    assert given["roleArn"] == ROLE and given["accessKeyId"].startswith("ASIA")
    assert "executionRoleCredentials" not in payload["tasks"][0]
    acknowledge(socket, payload)
    room.turn(46 * 60)
    (renewed,) = socket.of("IAMRoleCredentialsMessage")
    assert (renewed["roleType"], renewed["taskArn"]) == ("TaskApplication", task["taskArn"])
    assert renewed["roleCredentials"]["credentialsId"] == given["credentialsId"]
    assert renewed["roleCredentials"]["accessKeyId"] != given["accessKeyId"]
    again = room.open(arn)  # Its process is new: it has lost the credentials that it had.
    assert len(again.of("IAMRoleCredentialsMessage")) == 1


def test_a_role_that_does_not_trust_ecs_is_refused_when_the_task_is_asked_for(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    definition = room.define(taskRoleArn=ROLE)
    room.peers.refused_roles.add(ROLE)
    with pytest.raises(AwsError) as refused:
        start(room, arn, definition)
    assert refused.value.code == "ClientException"
    assert f"ECS was unable to assume the role '{ROLE}'" in refused.value.message


def test_a_role_withdrawn_before_the_task_was_sent_ends_it(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    definition = room.define(taskRoleArn=ROLE)
    send = room.peers.call

    def once_then_refuse(*args: Any, **more: Any) -> Any:
        answer = send(*args, **more)
        room.peers.refused_roles.add(ROLE)
        return answer

    room.peers.call = once_then_refuse
    task = start(room, arn, definition)
    found = describe(room, task)
    assert (found["lastStatus"], found["stopCode"]) == ("STOPPED", "TaskFailedToStart")
    assert found["stoppedReason"].startswith("ECS was unable to assume the role")
    assert socket.of("PayloadMessage") == []


def test_tasks_that_the_manifest_did_not_name_may_be_killed_only_when_they_have_ended(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    task = start(room, arn, room.define())
    stranger = "arn:aws:ecs:us-east-1:123456789012:task/demo/" + "f" * 32
    (manifest,) = socket.of("TaskManifestMessage")
    candidates = [
        {"desiredStatus": "STOPPED", "taskArn": each, "taskClusterArn": "arn"} for each in (task["taskArn"], stranger)
    ]
    socket.say("TaskStopVerificationMessage", {"messageId": manifest["messageId"], "stopCandidates": candidates})
    room.turn()
    (verified,) = socket.of("TaskStopVerificationAck")
    assert verified["messageId"] == manifest["messageId"]
    assert [each["taskArn"] for each in verified["stopTasks"]] == [stranger]


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", '{"type": 1}', '{"type": "Unheard", "message": {}}', '{"message": {}}']
)
def test_what_is_no_frame_is_dropped(room, text) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    socket.inbox.put_nowait(text)
    start(room, arn, room.define())
    assert len(socket.of("PayloadMessage")) == 1


def test_another_instances_agent_is_refused_the_stream(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    with pytest.raises(AwsError) as refused:
        room.open(arn, "i-0fedcba9876543210")
    assert refused.value.code == "AccessDeniedException"


def test_a_deregistered_instance_is_told_that_it_is_inactive(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    room.call("DeregisterContainerInstance", {"cluster": "demo", "containerInstance": arn})
    assert socket.closed
    with pytest.raises(AwsError) as refused:
        room.open(arn)
    assert refused.value.code == "InactiveInstanceException"


def test_a_terminated_host_ends_its_tasks_and_its_stream(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    task = start(room, arn, room.define())
    event = Event(
        source="aws.ec2", detail_type="EC2 Instance State-change Notification", account="123456789012",
        region="us-east-1", time=room.clock.now(), resource="arn:aws:ec2:us-east-1:123456789012:instance/i-0123456789abcdef0",
        detail={"instance-id": "i-0123456789abcdef0", "state": "terminated"},
    )  # fmt: skip
    room.hear(event)
    room.hear(event)
    found = describe(room, task)
    assert (found["lastStatus"], found["stoppedReason"], found["stopCode"]) == (
        "STOPPED", "Host EC2 (instance i-0123456789abcdef0) terminated.", "TerminationNotice",
    )  # fmt: skip
    gone = instance(room, arn)
    assert (gone["status"], gone["agentConnected"], gone["pendingTasksCount"]) == ("INACTIVE", False, 0)
    assert gone["remainingResources"] == gone["registeredResources"]
    assert socket.closed
    assert room.call("ListContainerInstances", {"cluster": "demo"})["containerInstanceArns"] == []
    assert len([each for each in room.events("ECS Task State Change") if each["lastStatus"] == "STOPPED"]) == 1


def test_measurements_are_answered_in_the_agents_own_form(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    socket = room.open(arn, path="/tcs/ws")
    signed = "Authorization: AWS4-HMAC-SHA256 Credential=x\r\nHost: 127.0.0.1\r\nX-Amz-Date: 20261123T174804Z\r\n\r\n"
    for kind in ("PublishMetricsRequest", "PublishInstanceStatusRequest"):
        socket.inbox.put_nowait(signed + json.dumps({"type": kind, "message": {"metadata": {"idle": True}}}))
    room.turn()
    assert socket.sent == [
        {"type": "AckPublishMetric", "message": {"message": "ok"}},
        {"type": "AckPublishInstanceStatus", "message": {"message": "ok"}},
    ]
    room.turn(31)
    assert len(socket.of("HeartbeatMessage")) == 1
    socket.inbox.put_nowait(None)
    room.turn()


def role_changed(room: Any, account: str = "123456789012") -> None:
    room.hear(
        Event(
            source="aws.iam",
            detail_type="IAM Role Changed",
            account=account,
            region="us-east-1",
            time=room.clock.now(),
            resource=f"arn:aws:iam::{account}:role/ecsInstanceRole",
            detail={"roleName": "ecsInstanceRole"},
        )
    )


def test_a_stream_whose_role_may_poll_no_longer_ends(room) -> None:  # type: ignore[no-untyped-def]
    arn, socket = room.joined()
    role_changed(room)
    assert not socket.closed  # The role has changed, and may still poll.
    socket.allowed = False
    role_changed(room, account="999999999999")
    assert not socket.closed  # Another account's roles are none of it.
    role_changed(room)
    assert socket.closed
    assert not instance(room, arn)["agentConnected"]
    room.open(arn)
    assert instance(room, arn)["agentConnected"]


def test_a_stream_that_was_let_in_while_its_role_changed_ends_before_anything_is_said(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    late = room.open(arn, allowed=False)
    assert (late.closed, late.sent) == (True, [])
    assert not instance(room, arn)["agentConnected"]


def test_measurements_end_with_the_right_to_send_them(room) -> None:  # type: ignore[no-untyped-def]
    arn, _ = room.joined()
    socket = room.open(arn, path="/tcs/ws")
    room.turn(100)
    assert not socket.closed and len(socket.of("HeartbeatMessage")) == 3
    socket.allowed = False
    room.turn(31)
    assert socket.closed

"""How the agent joins, and how it keeps its streams."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from agent.scripted_server import (
    CLUSTER,
    CONFIG,
    DENIED,
    INSTANCE,
    Bench,
    container,
    refused,
    session,
    task,
    task_arn,
)
from longshore.agent.session import FINAL, RESTART
from longshore.agent.transport import TransportError
from longshore.aws.errors import AwsError

EXPIRED = AwsError("ExpiredTokenException", "The security token included in the request is expired", status=400)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def long_task(name: str = "t1", **more: object) -> dict[str, object]:
    return task(name, container(environment={"LONGSHORE_RUN_SECONDS": "100000"}), **more)


# Registration


def test_it_registers_as_the_original_does(bench: Bench) -> None:
    bench.joined()
    (request,) = bench.server.params("RegisterContainerInstance")
    assert request["cluster"] == "demo"
    assert request["instanceIdentityDocument"] == '{"instanceId":"i-0123456789abcdef0"}'
    assert request["instanceIdentityDocumentSignature"] == "signature"
    assert "containerInstanceArn" not in request
    attributes = {each["name"]: each.get("value") for each in request["attributes"]}
    assert attributes["stack"] == "test"
    assert attributes["ecs.os-type"] == "linux"
    assert attributes["ecs.vpc-id"] == "vpc-1"
    assert "com.amazonaws.ecs.capability.logging-driver.awslogs" in attributes
    assert request["totalResources"] == [
        {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 4096},
        {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "2375", "2376", "51678", "51679"]},
        {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
    ]


def test_a_new_start_names_the_instance_it_was_and_not_its_own_attributes(bench: Bench) -> None:
    bench.joined()
    bench.kill()
    bench.joined()
    _, request = bench.server.params("RegisterContainerInstance")
    assert request["containerInstanceArn"] == INSTANCE
    assert "stack" not in {each["name"] for each in request["attributes"]}


def test_without_a_role_it_says_so_in_the_words_of_the_original_and_asks_for_a_new_start(bench: Bench) -> None:
    bench.server.role = None
    bench.start()
    ended = bench.ended()
    assert (ended.status, str(ended)) == (
        RESTART,
        "NoCredentialProviders: no valid providers in chain. Deprecated.",
    )
    assert bench.server.calls == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DENIED, RESTART),
        (AwsError("ClientException", "The referenced container instance was inactive.", status=400), FINAL),
        (AwsError("InvalidParameterException", "x", status=400), FINAL),
        (AwsError("ClusterNotFoundException", "Cluster not found.", status=400), RESTART),
    ],
)
def test_a_refused_registration_ends_it_with_the_text(bench: Bench, error: AwsError, status: int) -> None:
    bench.server.always["RegisterContainerInstance"] = error
    bench.start()
    ended = bench.ended()
    assert ended.status == status
    assert error.message in str(ended)


def test_a_registration_that_is_not_answered_is_tried_again_for_an_hour(bench: Bench) -> None:
    bench.server.always["RegisterContainerInstance"] = AwsError("ServerException", "broken", status=500)
    bench.start()
    bench.pass_time(3500)
    assert len(bench.server.params("RegisterContainerInstance")) > 300
    assert bench.ended().status == RESTART


def test_the_cluster_default_is_made_where_none_is_named(bench: Bench) -> None:
    gone = AwsError("ClusterNotFoundException", "Cluster not found.", status=400)
    bench.config = replace(CONFIG, cluster="")
    bench.server.faults["RegisterContainerInstance"] = [gone]
    bench.joined()
    assert bench.server.params("CreateCluster") == [{"clusterName": "default"}]
    assert [each["cluster"] for each in bench.server.params("RegisterContainerInstance")] == ["default", "default"]


def test_an_attribute_that_does_not_come_back_ends_it_for_good(bench: Bench) -> None:
    bench.server.attributes_lost = {"stack"}
    bench.start()
    ended = bench.ended()
    assert (ended.status, "stack" in str(ended)) == (FINAL, True)


def test_another_cluster_than_before_ends_it_for_good(bench: Bench) -> None:
    bench.joined()
    bench.kill()
    bench.start(replace(CONFIG, cluster="other"))
    assert bench.ended().status == FINAL


def test_data_of_another_instance_are_thrown_away(bench: Bench) -> None:
    kept = {"cluster": "demo", "container_instance_arn": "arn:old", "instance_id": "i-other"}
    bench.shelf.put("agent/registration", json.dumps(kept).encode())
    bench.start()
    assert bench.ended().status == RESTART
    bench.joined()
    assert "containerInstanceArn" not in bench.server.params("RegisterContainerInstance")[0]


def test_it_waits_for_a_metadata_service_that_is_away(bench: Bench) -> None:
    bench.server.metadata_is_away = True
    bench.start()
    bench.pass_time(600)
    bench.server.metadata_is_away = False
    bench.until(lambda: bench.server.streams, seconds=6)


def test_a_metadata_token_that_holds_no_longer_is_replaced(bench: Bench) -> None:
    bench.joined()
    bench.server.valid_token = "of another life of the service"
    bench.server.faults["SubmitTaskStateChange"] = [EXPIRED]
    bench.pay(task("t1"))
    bench.until(lambda: bench.server.reports()[-1:] == ["STOPPED"])
    assert bench.server.tokens == 2


# Credentials of the instance's role


def test_credentials_are_fetched_again_when_they_are_about_to_end(bench: Bench) -> None:
    bench.server.session_seconds = 3600
    bench.joined()
    assert bench.server.sessions == 1
    bench.pass_time(3590)
    bench.pay(task("t1"))
    bench.until(lambda: bench.server.reports()[-1:] == ["STOPPED"])
    keys = [each.access_key_id for name, _, each in bench.server.calls if name == "SubmitTaskStateChange"]
    assert set(keys) == {f"ASIA{bench.server.sessions}"} != {"ASIA1"}


def test_a_session_that_was_refused_as_expired_is_replaced_at_once(bench: Bench) -> None:
    bench.joined()
    bench.server.faults["SubmitTaskStateChange"] = [EXPIRED]
    began = bench.loop.time()
    bench.pay(task("t1"))
    bench.until(lambda: len(bench.server.reports()) == 3)
    assert bench.loop.time() - began < 0.1
    keys = [each.access_key_id for name, _, each in bench.server.calls if name == "SubmitTaskStateChange"]
    assert keys == ["ASIA1", "ASIA2", "ASIA2"]


# The stream of tasks


def test_the_handshake_says_what_the_original_says(bench: Bench) -> None:
    stream = bench.joined()
    assert stream.query["clusterArn"] == "demo"
    assert stream.query["containerInstanceArn"] == INSTANCE
    assert (stream.query["seqNum"], stream.query["protocolVersion"]) == ("1", "2")
    assert stream.query["sendCredentials"] == "true"
    stream.drop()
    bench.until(lambda: len(bench.server.streams) == 2)
    assert bench.stream.query["sendCredentials"] == "false"


def test_the_version_it_tells_is_the_package_s() -> None:
    from importlib.metadata import version

    from longshore.agent.protocol import VERSION

    assert version("longshore") == VERSION


def test_heartbeats_are_acknowledged(bench: Bench) -> None:
    stream = bench.joined()
    stream.tell("HeartbeatMessage", healthy=True, messageId="h1")
    bench.until(lambda: stream.of("HeartbeatAckRequest") == [{"messageId": "h1"}])


def test_a_payload_is_acknowledged_with_its_roles(bench: Bench) -> None:
    stream = bench.joined()
    bench.pay(long_task(roleCredentials=session("c1"), executionRoleCredentials=session("e1")))
    bench.until(lambda: stream.of("AckRequest"))
    assert stream.of("AckRequest") == [{"cluster": CLUSTER, "containerInstance": INSTANCE, "messageId": "m1"}]
    acknowledged = stream.of("IAMRoleCredentialsAckRequest")
    assert [(each["credentialsId"], each["messageId"]) for each in acknowledged] == [("c1", "m1"), ("e1", "m1")]


def test_renewed_credentials_are_acknowledged_for_tasks_that_are_here(bench: Bench) -> None:
    stream = bench.joined()
    bench.pay(long_task(roleCredentials=session("c1")))
    for name in ("t1", "unknown"):
        stream.tell(
            "IAMRoleCredentialsMessage", messageId=f"of {name}", taskArn=task_arn(name), taskClusterArn=CLUSTER,
            roleType="TaskApplication", roleCredentials=session("c1", ends="2026-01-01T12:00:00Z"),
        )  # fmt: skip
    bench.pass_time(1)
    assert [each["messageId"] for each in stream.of("IAMRoleCredentialsAckRequest")] == ["m1", "of t1"]


def test_a_stream_on_which_nothing_comes_is_left_after_a_minute_or_two(bench: Bench) -> None:
    bench.joined()
    bench.pass_time(59)
    assert len(bench.server.streams) == 1
    bench.pass_time(62)
    assert len(bench.server.streams) == 2


def test_a_stream_is_left_after_half_an_hour(bench: Bench) -> None:
    stream = bench.joined()
    for _ in range(36):
        stream.tell("HeartbeatMessage", healthy=True, messageId="h")
        bench.pass_time(59)
        if len(bench.server.streams) > 1:
            break
    assert 1800 <= bench.loop.time() <= 2160


def test_pauses_between_streams_grow_and_end_with_the_first_message(bench: Bench) -> None:
    bench.server.stream_faults = [TransportError("away")] * 8
    bench.joined()
    pauses = [later - earlier for earlier, later in itertools.pairwise(bench.server.handshakes)]
    assert 0.25 <= pauses[0] <= 0.3
    assert all(later > earlier for earlier, later in itertools.pairwise(pauses[:6]))
    assert max(pauses) <= 12
    bench.stream.tell("HeartbeatMessage", healthy=True, messageId="h")
    bench.pass_time(1)
    bench.stream.drop()
    bench.pass_time(0.31)
    assert len(bench.server.streams) == 2


def test_streams_that_say_nothing_are_not_opened_without_end(bench: Bench) -> None:
    bench.joined()
    for _ in range(600):
        bench.stream.drop()
        bench.pass_time(0.1)
    assert len(bench.server.streams) < 20


def test_a_refused_stream_heals_within_ten_seconds_of_the_mending(bench: Bench) -> None:
    bench.server.stream_faults = [refused("AccessDeniedException")] * 100
    bench.start()
    bench.pass_time(300)
    assert bench.server.sessions > 10, "each attempt goes with a fresh session of the role"
    bench.server.stream_faults = []
    bench.until(lambda: bench.server.streams, seconds=10)


def test_a_deregistered_instance_asks_once_an_hour(bench: Bench) -> None:
    bench.server.stream_faults = [refused("InactiveInstanceException")]
    bench.start()
    bench.pass_time(3599)
    assert len(bench.server.handshakes) == 1
    assert bench.server.streams == []
    bench.until(lambda: bench.server.streams, seconds=800)


def test_a_task_that_the_manifest_does_not_name_is_killed_when_the_server_says_so(bench: Bench) -> None:
    stream = bench.joined()
    bench.pay(long_task("t1"), long_task("t2"))
    bench.until(lambda: bench.acknowledged() == ["m1"])
    manifest = {
        "messageId": "m2", "clusterArn": CLUSTER, "containerInstanceArn": INSTANCE, "generatedAt": 1,
        "tasks": [{"taskArn": task_arn("t1"), "taskClusterArn": CLUSTER, "desiredStatus": "RUNNING"}],
    }  # fmt: skip
    stream.tell("TaskManifestMessage", **{**manifest, "messageId": "old"}, timeline=1)
    stream.tell("TaskManifestMessage", **manifest, timeline=100)
    bench.until(lambda: stream.of("TaskStopVerificationMessage"))
    assert stream.of("TaskStopVerificationMessage") == [
        {
            "messageId": "m2",
            "stopCandidates": [{"taskArn": task_arn("t2"), "taskClusterArn": CLUSTER, "desiredStatus": "STOPPED"}],
        }
    ]
    assert bench.acknowledged() == ["m1", "m2"]
    stop = {"taskArn": task_arn("t2"), "taskClusterArn": CLUSTER, "desiredStatus": "STOPPED"}
    stream.tell("TaskStopVerificationAck", generatedAt=1, messageId="m2", stopTasks=[stop])
    bench.until(lambda: bench.server.reports("t2")[-1:] == ["STOPPED"])
    assert bench.server.reports("t1") == ["RUNNING"]


def test_a_manifest_of_a_new_stream_counts_though_the_server_s_clock_was_set_back(bench: Bench) -> None:
    manifest = {"clusterArn": CLUSTER, "containerInstanceArn": INSTANCE, "generatedAt": 1, "tasks": []}
    first = bench.joined()
    first.tell("TaskManifestMessage", **manifest, messageId="m1", timeline=1000)
    bench.until(lambda: bench.acknowledged() == ["m1"])
    first.drop()
    bench.until(lambda: bench.stream is not first)
    bench.stream.tell("TaskManifestMessage", **manifest, messageId="m2", timeline=5)
    bench.until(lambda: bench.acknowledged() == ["m1", "m2"])


def test_a_task_of_which_nothing_was_kept_has_ended(bench: Bench) -> None:
    """Not at once: the payload of one that is new may follow the manifest that names it."""
    stream = bench.joined()
    bench.pay(long_task("t1"))
    bench.until(lambda: bench.server.reports("t1") == ["RUNNING"])
    named = [
        {"taskArn": task_arn(each), "taskClusterArn": CLUSTER, "desiredStatus": "RUNNING"}
        for each in ("t1", "t2", "t3")
    ]
    stream.tell(
        "TaskManifestMessage", messageId="m2", clusterArn=CLUSTER, containerInstanceArn=INSTANCE, generatedAt=1,
        tasks=named, timeline=100,
    )  # fmt: skip
    bench.pass_time(30)
    bench.pay(long_task("t3"))
    bench.pass_time(29)
    assert bench.server.reports("t2") == []
    bench.pass_time(2)
    assert bench.server.reports("t2") == ["STOPPED"]
    assert bench.server.reports("t1") == bench.server.reports("t3") == ["RUNNING"]
    # Given after all, it is not begun: it has ended.
    bench.pay(long_task("t2"))
    bench.pass_time(10)
    assert bench.server.reports("t2") == ["STOPPED"]


def test_updates_are_declined_and_the_unknown_passed_over(bench: Bench) -> None:
    stream = bench.joined()
    stream.tell("PerformUpdateMessage", messageId="u1", clusterArn=CLUSTER, containerInstanceArn=INSTANCE)
    stream.tell("SomethingNew", messageId="x")
    stream._inbox.put_nowait("not json")
    stream._inbox.put_nowait('{"type":"PayloadMessage","message":{"tasks":[{"arn":7},"x",{"arn":""}]}}')
    stream.tell("HeartbeatMessage", healthy=True, messageId="h1")
    bench.until(lambda: stream.of("HeartbeatAckRequest"))
    assert stream.of("NackRequest")[0]["reason"] == "Updates are disabled"


def test_running_tasks_go_on_while_the_server_is_away(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("t1", container(environment={"LONGSHORE_RUN_SECONDS": "30", "LONGSHORE_EXIT_CODE": "2"})))
    bench.until(lambda: bench.server.reports() == ["RUNNING"])
    away = TransportError("away")
    bench.server.stream_faults = [away] * 1000
    bench.server.always = dict.fromkeys(("SubmitTaskStateChange", "DiscoverPollEndpoint"), away)
    bench.stream.drop()
    bench.pass_time(300)
    bench.server.stream_faults, bench.server.always = [], {}
    bench.until(lambda: bench.server.reports()[-1:] == ["STOPPED"], seconds=12)
    assert bench.server.last_report()["containers"][0]["exitCode"] == 2
    bench.until(lambda: len(bench.server.streams) == 2, seconds=13)


# The stream of measurements


def test_telemetry_is_signed_frame_by_frame(bench: Bench) -> None:
    bench.joined()
    bench.until(lambda: bench.server.telemetry and len(bench.server.telemetry[-1].raw) == 2)
    stream = bench.server.telemetry[-1]
    assert stream.query["containerInstance"] == INSTANCE
    for text in stream.raw:
        head, _, body = text.partition("\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.split("\r\n"))
        assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=ASIA1/")
        assert headers["X-Amz-Security-Token"] == "t"
        assert json.loads(body)["type"].startswith("Publish")
    (metrics,) = stream.of("PublishMetricsRequest")
    assert metrics["metadata"]["idle"] is True
    bench.pass_time(41)
    assert len(stream.of("PublishMetricsRequest")) == 3

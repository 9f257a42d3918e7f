from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from longshore.services.ecs.acs import Frame, RoleCredentials
from longshore.services.ecs.poll_protocol import Acknowledge, Conversation, VerifyStops, roles
from longshore.services.ecs.records import Amounts, Task

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TASK = Task(
    id="t", arn="arn:t", cluster="c", cluster_arn="arn:c", task_definition_arn="arn:d", family="f", revision=1,
    container_instance_id="i", container_instance_arn="arn:i", ec2_instance_id="i-1", availability_zone=None,
    containers=(), takes=Amounts(), created_at=NOW, task_role_arn="arn:r", task_credentials_id="c1",
)  # fmt: skip


def credentials(seconds: float) -> RoleCredentials:
    return RoleCredentials(
        credentials_id="c1", role_arn="arn:r", access_key_id="A", secret_access_key="s", session_token="t",
        expires_at=NOW + timedelta(seconds=seconds),
    )  # fmt: skip


def test_a_wish_is_sent_once_on_a_stream_and_a_changed_wish_again() -> None:
    talk = Conversation(30)
    assert talk.to_send([TASK]) == [TASK]
    talk.sent_payload("m1", TASK)
    assert talk.to_send([TASK]) == []
    stopped = replace(TASK, desired_status="STOPPED")
    assert talk.to_send([stopped]) == [stopped]


def test_an_acknowledgement_is_for_the_wish_that_was_sent() -> None:
    talk = Conversation(30)
    talk.sent_payload("m1", TASK)
    talk.sent_payload("m2", replace(TASK, desired_status="STOPPED"))
    assert talk.on_frame(Frame("AckRequest", {"messageId": "m1"})) == Acknowledge("t", "RUNNING")
    assert talk.on_frame(Frame("AckRequest", {"messageId": "m1"})) is None
    assert talk.on_frame(Frame("AckRequest", {"messageId": "m2"})) == Acknowledge("t", "STOPPED")
    assert talk.on_frame(Frame("HeartbeatAckRequest", {"messageId": "m3"})) is None


def test_stop_candidates_without_an_arn_are_passed_over() -> None:
    heard = Conversation(30).on_frame(
        Frame("TaskStopVerificationMessage", {"messageId": "m", "stopCandidates": [{"taskArn": "arn:t"}, {}]})
    )
    assert heard == VerifyStops("m", ({"taskArn": "arn:t"},))


def test_numbers_grow_even_when_the_clock_goes_back() -> None:
    talk = Conversation(30)
    first = talk.sequence(NOW)
    assert talk.sequence(NOW) == first + 1
    assert talk.sequence(NOW - timedelta(hours=1)) == first + 2


def test_a_heart_beats_only_after_silence() -> None:
    talk = Conversation(30)
    assert talk.is_heartbeat_due(NOW)
    talk.spoke(NOW)
    assert not talk.is_heartbeat_due(NOW + timedelta(seconds=29))
    assert talk.next_wake(NOW) == NOW + timedelta(seconds=30)
    assert talk.is_heartbeat_due(NOW + timedelta(seconds=30))


def test_sessions_are_renewed_with_a_quarter_of_their_life_left() -> None:
    talk = Conversation(30)
    talk.spoke(NOW)
    talk.sent_credentials(TASK, "TaskApplication", credentials(20), NOW)
    assert talk.next_wake(NOW) == NOW + timedelta(seconds=15)
    assert talk.to_renew(NOW + timedelta(seconds=14)) == []
    assert talk.to_renew(NOW + timedelta(seconds=15)) == [("t", "TaskApplication")]
    talk.renew_later(TASK, "TaskApplication", NOW + timedelta(seconds=15))
    assert talk.to_renew(NOW + timedelta(seconds=16)) == []
    talk.forget_credentials("t", "TaskApplication")
    assert talk.next_wake(NOW) == NOW + timedelta(seconds=30)


def test_a_tasks_roles_have_their_own_ids() -> None:
    both = replace(TASK, execution_role_arn="arn:e", execution_credentials_id="c2")
    assert [(role.role_type, role.credentials_id) for role in roles(both)] == [
        ("TaskApplication", "c1"),
        ("TaskExecution", "c2"),
    ]

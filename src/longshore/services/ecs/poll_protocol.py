"""What a stream to an agent remembers and decides. Pure: frames and rows in, what is to be done out.

A payload carries one task: the original agent acknowledges none of a message in which one task is bad. What it has not
acknowledged is sent again by the next stream, for the agent knows a task that it has already. A wish that was
acknowledged is not sent again.

Its memory is the stream's; what outlives it is the column `acknowledged`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from longshore.aws.clock import milliseconds
from longshore.services.ecs.acs import APPLICATION, EXECUTION, Frame, RoleCredentials
from longshore.services.ecs.records import Task

_AFTER_REFUSAL = timedelta(minutes=1)


class Acknowledge(Struct, frozen=True):
    """The agent knows that the task is to be so."""

    task_id: str
    desired_status: str


class VerifyStops(Struct, frozen=True):
    """The agent has tasks that the manifest did not name; may it kill them?"""

    message_id: str
    candidates: tuple[dict[str, str], ...]


class Role(Struct, frozen=True):
    """A role that a task was given, and the id under which its containers ask for its session."""

    role_type: str
    role_arn: str
    credentials_id: str


def roles(task: Task) -> list[Role]:
    found = []
    if task.task_role_arn and task.task_credentials_id:
        found.append(Role(APPLICATION, task.task_role_arn, task.task_credentials_id))
    if task.execution_role_arn and task.execution_credentials_id:
        found.append(Role(EXECUTION, task.execution_role_arn, task.execution_credentials_id))
    return found


class Conversation:
    """One stream's memory."""

    def __init__(self, heartbeat_seconds: float) -> None:
        self._heartbeat = timedelta(seconds=heartbeat_seconds)
        self._sequence = 0
        self._silent_since: datetime | None = None
        self._waiting: dict[str, tuple[str, str]] = {}  # message id -> task id, desired status
        self._sent: dict[str, str] = {}  # task id -> the desired status last sent on this stream
        self._renew_at: dict[tuple[str, str], datetime] = {}  # task id, role type -> when

    def sequence(self, now: datetime) -> int:
        """Greater than every one before, on earlier streams too: the agent drops what is not."""
        self._sequence = max(self._sequence + 1, milliseconds(now))
        return self._sequence

    def to_send(self, undelivered: Iterable[Task]) -> list[Task]:
        """Of the tasks whose wish is not acknowledged, those whose wish this stream has not sent yet."""
        return [task for task in undelivered if self._sent.get(task.id) != task.desired_status]

    def sent_payload(self, message_id: str, task: Task) -> None:
        self._waiting[message_id] = (task.id, task.desired_status)
        self._sent[task.id] = task.desired_status

    def sent_credentials(self, task: Task, role_type: str, credentials: RoleCredentials, now: datetime) -> None:
        """They are renewed when a quarter of their life is left."""
        self._renew_at[task.id, role_type] = now + (credentials.expires_at - now) * 3 / 4

    def renew_later(self, task: Task, role_type: str, now: datetime) -> None:
        """The role was refused; it may be mended before the session ends."""
        self._renew_at[task.id, role_type] = now + _AFTER_REFUSAL

    def to_renew(self, now: datetime) -> list[tuple[str, str]]:
        """Task id and role type of the sessions that are to be renewed now, the oldest first."""
        due = [(moment, key) for key, moment in self._renew_at.items() if moment <= now]
        return [key for _, key in sorted(due)]

    def forget_credentials(self, task_id: str, role_type: str) -> None:
        self._renew_at.pop((task_id, role_type), None)

    def spoke(self, now: datetime) -> None:
        self._silent_since = now

    def is_heartbeat_due(self, now: datetime) -> bool:
        return self._silent_since is None or now - self._silent_since >= self._heartbeat

    def next_wake(self, now: datetime) -> datetime:
        """When something is due at the latest: a heartbeat, or a role's session."""
        moments = [now + self._heartbeat if self._silent_since is None else self._silent_since + self._heartbeat]
        moments.extend(self._renew_at.values())
        return min(moments)

    def on_frame(self, received: Frame) -> Acknowledge | VerifyStops | None:
        message = received.message
        if received.type == "AckRequest":
            known = self._waiting.pop(str(message.get("messageId")), None)
            return Acknowledge(*known) if known is not None else None
        if received.type == "TaskStopVerificationMessage":
            candidates = tuple(each for each in message.get("stopCandidates") or () if each.get("taskArn"))
            return VerifyStops(str(message.get("messageId")), candidates)
        return None  # HeartbeatAckRequest, IAMRoleCredentialsAckRequest, and what we do not know: no news.

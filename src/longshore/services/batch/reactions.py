"""What the room hears, and what follows: tasks and container instances of ECS, instances of EC2, roles of IAM, log groups,
refusals.

Every reaction may be heard twice and changes nothing the second time. Who may end an attempt: ECS, when the agent has
reported the task's end; and whoever says that the instance is no more. A silent agent ends nothing.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.kit.service import Rule, Subscription
from longshore.services.batch import acting, chain, environments, instances, life, news, store, tasks, troubles
from longshore.services.batch.acting import within
from longshore.services.batch.lifecycle import EXITED, TaskAccepted, TaskRunning, TaskStopped
from longshore.services.batch.records import Environment, Instance, Status, Wire

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.event import Event

PROFILE_CHANGED = "IAM Instance Profile Changed"
FAILED_TO_START = "Task failed to start"


# --- tasks ---


def on_task(call: Call, event: Event) -> None:
    """Source: ECS developer guide, "Task state change events": detail as DescribeTasks shows the task."""
    task = event.detail
    job = store.job_of_task(call.transaction, task["taskArn"])
    if job is None and task.get("startedBy"):
        job = store.job_of_token(call.transaction, task["startedBy"])
        if job is not None:
            token = task["startedBy"]
            job = life.apply(call, job, TaskAccepted(token, task["taskArn"], task["containerInstanceArn"]))
    if job is None:
        return
    started_at = _moment(task.get("startedAt"))
    stream = None
    if started_at is not None:
        stream = job.log_stream or tasks.log_stream(job, store.body(call.transaction, job.number), task["taskArn"])
        if job.status is Status.STARTING:
            # Of a task that ended at once no RUNNING may have been reported. It ran all the same, and that is told.
            job = life.apply(call, job, TaskRunning(task["taskArn"], started_at, stream))
    if task["lastStatus"] == "STOPPED":
        life.apply(call, job, _stopped(task, started_at, stream))


def _stopped(task: Wire, started_at: int | None, stream: str | None) -> TaskStopped:
    """The end of a task in Batch's words (batch.md 6.3)."""
    container: Wire = next((each for each in task["containers"] if each["name"] == tasks.CONTAINER), {})
    status_reason, reason = task.get("stoppedReason") or EXITED, container.get("reason")
    exit_code = container.get("exitCode")
    code = task.get("stopCode")
    if code == "EssentialContainerExited":
        status_reason = EXITED
    elif code == "TaskFailedToStart" and not status_reason.startswith("ECS was unable to assume the role"):
        # What ECS says of the task (ResourceInitializationError: ...) Batch says of the container.
        if reason is None and status_reason != FAILED_TO_START:
            reason = status_reason
        status_reason = FAILED_TO_START
    elif code in ("TerminationNotice", "SpotInterruption"):
        exit_code = reason = None  # Whatever was reported of its containers, the attempt ended with its host.
    return TaskStopped(
        task_arn=task["taskArn"],
        status_reason=status_reason,
        exit_code=exit_code,
        reason=reason,
        log_stream=stream,
        started_at=started_at,
        stopped_at=_moment(task.get("stoppedAt")),
    )


def _moment(text: str | None) -> int | None:
    """Epoch milliseconds of an event's time."""
    return None if text is None else milliseconds(datetime.fromisoformat(text))


# --- container instances ---


def on_container_instance(call: Call, event: Event) -> None:
    """Source: ECS developer guide, "Container instance state change events". Those that tell of its tasks are not heard."""
    detail = event.detail
    one = store.instance_of_id(call.transaction, detail["ec2InstanceId"])
    if one is not None and one.container_instance_arn is not None:
        if one.container_instance_arn != detail["containerInstanceArn"]:
            return  # It is registered in another cluster, too, or was before.
        if detail["status"] != "INACTIVE":
            _change(call, one, detail)
            return
    environment = store.environment_of_cluster(call.transaction, detail["clusterArn"])
    if environment is None or (one is not None and one.environment != environment.number):
        return
    if detail["status"] == "INACTIVE":
        _leave(call, environment, one)
    elif one is None:
        if environment.type == "UNMANAGED" and environment.status != "DELETING":
            _join(call, environment, _newcomer(call, environment, detail), detail)
    elif one.phase == "launched":
        _join(call, environment, one, detail)


def _newcomer(call: Call, environment: Environment, detail: Wire) -> Instance:
    """An instance of an unmanaged environment: whoever joins its cluster belongs to it."""
    now = milliseconds(call.now)
    attributes = {attribute["name"]: attribute.get("value") for attribute in detail.get("attributes") or ()}
    newcomer = Instance(
        number=store.next_number(call.transaction, "instance"),
        environment=environment.number,
        account=environment.account,
        region=environment.region,
        token=call.ids.uuid(),
        instance_type=attributes.get("ecs.instance-type") or "",
        cpu=0,
        memory_mib=0,
        phase="launched",
        asked_at=now,
        instance_id=detail["ec2InstanceId"],
        launched_at=now,
    )
    store.insert_instance(call.transaction, newcomer)
    return newcomer


def _join(call: Call, environment: Environment, one: Instance, detail: Wire) -> None:
    """It takes jobs from now on, as large as it says it is."""
    cpu, memory_mib = _registered(detail, one)
    if environment.type == "MANAGED" and (cpu, memory_mib) != (one.cpu, one.memory_mib):
        # The next decision counts on what such an instance really offers, or it would launch them for ever.
        seen = {**environment.registered, one.instance_type: (cpu, memory_mib)}
        if seen != environment.registered:
            store.save_environment(call.transaction, replace(environment, registered=seen))
        news.environment_changed(call, environment.number)
    joined = replace(
        one,
        phase="joined",
        container_instance_arn=detail["containerInstanceArn"],
        cpu=cpu,
        memory_mib=memory_mib,
        connected=detail["agentConnected"],
        active=detail["status"] == "ACTIVE",
        idle_since=milliseconds(call.now),
        refusal=None,
    )
    store.save_instance(call.transaction, joined)
    news.instance_changed(call, one.environment, one.number)


def _change(call: Call, one: Instance, detail: Wire) -> None:
    cpu, memory_mib = _registered(detail, one)
    connected = detail["agentConnected"]
    changed = replace(
        one,
        cpu=cpu,
        memory_mib=memory_mib,
        connected=connected,
        disconnected_at=None if connected else one.disconnected_at,
        active=detail["status"] == "ACTIVE",
        refusal=None if connected else one.refusal,
    )
    if one.connected and not connected:
        changed = replace(changed, disconnected_at=milliseconds(call.now))
    if connected and not one.connected:
        changed = replace(changed, held_until=0, held_because=None)
    if changed != one:
        store.save_instance(call.transaction, changed)
        news.instance_changed(call, one.environment, one.number)


def _leave(call: Call, environment: Environment, one: Instance | None) -> None:
    """Its container instance was deregistered: ECS ends its tasks, and tells of each. The machine may still be there."""
    if one is None:
        return
    if environment.type == "UNMANAGED":
        store.delete_instance(call.transaction, one.number)
    elif one.phase == "joined":
        away = replace(one, phase="launched", container_instance_arn=None, connected=False, disconnected_at=None)
        store.save_instance(call.transaction, away)
    news.environment_changed(call, one.environment)


def _registered(detail: Wire, one: Instance) -> tuple[int, int]:
    """(CPU units, memory in MiB)"""
    amounts = {each["name"]: each.get("integerValue") for each in detail.get("registeredResources") or ()}
    return amounts.get("CPU") or one.cpu, amounts.get("MEMORY") or one.memory_mib


# --- instances ---


def on_instance(call: Call, event: Event) -> None:
    """Source: EC2 user guide, "Amazon EC2 instance state change events"."""
    state = event.detail["state"]
    one = store.instance_of_id(call.transaction, event.detail["instance-id"])
    if one is None:
        return
    if state == "terminated":
        instances.gone(call, one, event.detail.get("reason") or "")
    elif state in ("shutting-down", "stopping", "stopped") and one.phase in ("launched", "joined"):
        # Somebody else ends it: nothing more is placed there; what runs goes on until it is gone.
        store.save_instance(call.transaction, replace(one, phase="retiring"))
        news.instance_changed(call, one.environment, one.number)


# --- roles and profiles ---


def on_iam_change(call: Call, event: Event) -> None:
    """What was refused is tried again, what was INVALID is looked at again, and reasons are found anew."""
    acting.forget_sessions(call.house)
    for environment in store.environments_of_account(call.transaction, event.account):
        inner = within(call, environment.account, environment.region)
        troubles.look_again(inner, environment, partial(chain.stands, inner, environment))
        news.environment_changed(inner, environment.number)
        is_its_own = event.resource == environment.service_role
        may_come_back = environment.status == "INVALID" and not environments.is_given_up(environment)
        if may_come_back or (environment.status == "VALID" and is_its_own):
            _prepare_again(inner, environment)
        if event.detail_type == PROFILE_CHANGED:
            _replace_orphans(inner, environment)
    if store.hasten_intents(call.transaction, event.account, milliseconds(call.now)):
        call.wake(news.EFFECTS)


def _replace_orphans(call: Call, environment: Environment) -> None:
    """A machine that was launched with a profile that is gone can't join any more, whatever is mended: another takes its
    place. One that has joined goes on as long as its session does."""
    if environment.status != "VALID" or environment.type != "MANAGED":
        return
    for one in store.instances_of(call.transaction, environment.number):
        if one.phase == "launched" and chain.is_orphaned(call, environment, one):
            instances.retire(call, one)


def _prepare_again(call: Call, environment: Environment) -> None:
    if not store.intents_of(call.transaction, "prepare", environment.number):
        life.intend(call, environment.account, environment.region, "prepare", environment.number)


# --- refused calls ---

# Without these an agent does not join, or joins and hears nothing.
_TO_JOIN = frozenset({"RegisterContainerInstance", "DiscoverPollEndpoint", "Poll"})


def on_refused_call(call: Call, event: Event) -> None:
    """An agent that was refused: its instance bears the reason, so that the jobs that wait can say it.

    Source: the trail's records of refusals (CloudTrail user guide, "CloudTrail record contents").
    """
    record: dict[str, Any] = event.detail
    if record["eventSource"] != "ecs.amazonaws.com" or record["eventName"] not in _TO_JOIN:
        return
    session_name = record["userIdentity"].get("principalId", "").partition(":")[2]
    one = store.instance_of_id(call.transaction, session_name) if session_name.startswith("i-") else None
    if one is None or one.connected or one.refusal == record["errorMessage"]:
        return
    store.save_instance(call.transaction, replace(one, refusal=record["errorMessage"]))
    news.instance_changed(call, one.environment, one.number)


SUBSCRIPTIONS: dict[str, Subscription | Rule] = {
    # That a task was placed is known already: whoever placed it has its ARN from the same transaction.
    "ECS Task State Change": Rule(on_task, {"lastStatus": frozenset({"RUNNING", "STOPPED"})}),
    "ECS Container Instance State Change": Rule(on_container_instance, {"cause": frozenset({"itself"})}),
    "EC2 Instance State-change Notification": on_instance,
    "IAM Role Changed": on_iam_change,
    "IAM Account Changed": on_iam_change,
    "Log Group Deleted": tasks.forget_log_group,
    PROFILE_CHANGED: on_iam_change,
    "AWS API Call via CloudTrail": on_refused_call,
}

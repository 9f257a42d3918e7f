"""Jobs as tasks of ECS: the definition that stands for a job definition, tasks started and stopped.

Source: task definitions and tasks as Batch's users see them in ECS (batch.md 10.4): one container named `default`, host
networking, awslogs into /aws/batch/job under the definition's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.services.batch import acting, life, merge, news, store, troubles
from longshore.services.batch.environments import is_linked
from longshore.services.batch.further import SERVICE_TAG
from longshore.services.batch.lifecycle import StartFailed, TaskAccepted, Unplaced
from longshore.services.batch.records import ACTIVE, Body, Definition, Environment, Instance, Intent, Job, Wire
from longshore.services.batch.troubles import Later

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.event import Event
    from longshore.kit.house import House

CONTAINER = "default"
LOG_GROUP = "/aws/batch/job"
_PREFIX_LENGTH = 200  # User guide, "Using the awslogs log driver": the first 200 characters of the definition's name.
_TAGS_MAX = 50
_GROUPS_PORT = "batch.log_groups"
# For how long nothing is placed on an instance where ECS had no place for a task, by what it said.
_HELD_MS = {"AGENT": 5_000, "RESOURCE": 2_000}
_HELD_OTHERWISE_MS = 30_000
# Members of containerProperties that a container definition of ECS has under the same name.
_SHARED = (
    "image", "command", "environment", "mountPoints", "readonlyRootFilesystem", "privileged", "ulimits", "user",
    "linuxParameters", "secrets", "repositoryCredentials",
)  # fmt: skip


class _Refused(Exception):
    """ECS will not run such a task, now or later."""


# --- start ---


Started = TaskAccepted | StartFailed | Unplaced | Later  # what came of a start: an event of the job's, or nothing yet


def start_at_once(call: Call, job: Job, body: Body, environment: Environment, one: Instance) -> Started:
    """Starts the task of a job that is being placed, in the transaction that places it.

    `job` is as it will be then. ECS only writes the task down, so decision and task are one step, and no intent need be kept
    between the two.
    """
    return _begin(call, job, body, environment, one, tries=0, may_be_repeated=False)


def start(call: Call, intent: Intent, *, may_be_repeated: bool) -> Later | None:
    """Starts the job's task on its instance. The task and the job's knowledge of it are one change.

    `may_be_repeated`: the task is looked for by its `startedBy` first. An attempt is started at most once.
    """
    tx = call.transaction
    job = store.job(tx, intent.subject)
    if job is None or job.token != intent.token or job.task_arn is not None or job.status not in ACTIVE:
        return None
    one = store.instance(tx, job.instance or 0)
    environment = store.environment(tx, job.environment or 0)
    found: Started = Unplaced(intent.token)
    if one is not None and environment is not None:
        body = store.body(tx, job.number)
        found = _begin(call, job, body, environment, one, tries=intent.tries, may_be_repeated=may_be_repeated)
    if isinstance(found, Later):
        return found
    life.apply(call, job, found)
    return None


def _begin(
    call: Call, job: Job, body: Body, environment: Environment, one: Instance, *, tries: int, may_be_repeated: bool
) -> Started:
    assert job.token is not None
    if one.container_instance_arn is None or environment.cluster_arn is None:
        return Unplaced(job.token)
    try:
        answer = _start(call, job, body, environment, one, may_be_repeated)
    except _Refused as refused:
        return StartFailed(job.token, str(refused))
    except AwsError as error:
        return _not_started(call, job.token, environment, tries, error)
    if answer["tasks"]:
        task = answer["tasks"][0]
        troubles.end(call, environment, "start")
        return TaskAccepted(job.token, task["taskArn"], task["containerInstanceArn"])
    failure = answer["failures"][0]
    _hold(call, one, failure["reason"], failure.get("detail"))
    return Unplaced(job.token)


def _start(
    call: Call, job: Job, body: Body, environment: Environment, one: Instance, may_be_repeated: bool
) -> dict[str, Any]:
    session = acting.session(call, environment)
    if may_be_repeated:
        there = _started_before(call, environment, job, session)
        if there:
            return {"tasks": there, "failures": []}
    definition, task_definition_arn = store.definition(call.transaction, body.definition)
    _ensure_log_group(call, body, session)
    if task_definition_arn is None:
        task_definition_arn = _register(call, definition, environment, session)
    request: dict[str, Any] = {
        "cluster": environment.cluster_arn,
        "containerInstances": [one.container_instance_arn],
        "taskDefinition": task_definition_arn,
        "startedBy": job.token,
        "overrides": {"containerOverrides": [_override(job, body, environment)]},
        "tags": _tags(call, job, body, environment, definition),
    }
    try:
        return call.peer("ecs", "StartTask", request, as_=session)
    except AwsError as error:
        if error.code != "ClientException" or "TaskDefinition" not in error.message:
            raise
        # Somebody deregistered it. A new one takes its place; what it says can't have changed.
        request["taskDefinition"] = _register(call, definition, environment, session)
        return call.peer("ecs", "StartTask", request, as_=session)


def _started_before(call: Call, environment: Environment, job: Job, session: Principal) -> list[dict[str, Any]]:
    """The task that a former try started, whatever has become of it since."""
    for status in ("RUNNING", "STOPPED"):
        request = {"cluster": environment.cluster_arn, "startedBy": job.token, "desiredStatus": status}
        arns = call.peer("ecs", "ListTasks", request, as_=session)["taskArns"]
        if arns:
            asked = {"cluster": environment.cluster_arn, "tasks": arns[:1]}
            tasks: list[dict[str, Any]] = call.peer("ecs", "DescribeTasks", asked, as_=session)["tasks"]
            return tasks
    return []


def _not_started(call: Call, token: str, environment: Environment, tries: int, error: AwsError) -> Started:
    """ECS refused. Whose fault is it: the job's (the attempt failed), the role's, or the moment's?"""
    if (error.status or 400) >= 500:
        return troubles.later(tries)
    if error.code == "ClusterNotFoundException":
        troubles.add(call, environment, "start", "Clusters can not be blank.")
        return Unplaced(token)
    if troubles.is_refusal(error) and "iam:PassRole" not in error.message:
        # The service role lacks something: the job is not to blame, and waits.
        troubles.add(call, environment, "start", error.message)
        return Unplaced(token)
    return StartFailed(token, error.message)


def _hold(call: Call, one: Instance, reason: str, detail: str | None) -> None:
    kind = reason.partition(":")[0]
    until = milliseconds(call.now) + _HELD_MS.get(kind, _HELD_OTHERWISE_MS)
    because = f"{reason}, {detail}" if detail else reason
    store.save_instance(call.transaction, replace(one, held_until=until, held_because=because))
    news.instance_changed(call, one.environment, one.number)


def _override(job: Job, body: Body, environment: Environment) -> Wire:
    """What the task definition does not say: this job's own, and what Batch tells every job (clients.md 2)."""
    own = {
        "AWS_BATCH_JOB_ID": job.job_id,
        "AWS_BATCH_JOB_ATTEMPT": str(job.attempt),
        "AWS_BATCH_CE_NAME": environment.name,
        "AWS_BATCH_JQ_NAME": _queue_name(body),
    }
    if job.index is not None:
        own["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
    variables = [*body.override.get("environment", ()), *({"name": name, "value": own[name]} for name in own)]
    return {**body.override, "name": CONTAINER, "environment": variables}


def _tags(call: Call, job: Job, body: Body, environment: Environment, definition: Definition) -> list[Wire]:
    """Batch's own, and where they are to be propagated the definition's and the job's, the job's first. Too many: it fails.

    Sources: tasks of Batch as users see them (batch.md 1); API reference, SubmitJob, propagateTags.
    """
    tags: dict[str, str] = {}
    if body.propagate_tags:
        tags = {**definition.tags, **store.tags_of_job(call.transaction, job.submission)}
        if len(tags) > _TAGS_MAX:
            raise _Refused(f"The job and its definition have {len(tags)} tags to propagate, more than {_TAGS_MAX}.")
    tags["aws:batch:compute-environment"] = environment.name
    tags["aws:batch:job-queue"] = _queue_name(body)
    return [{"key": key, "value": value} for key, value in tags.items()]


def _queue_name(body: Body) -> str:
    return body.queue_arn.rpartition("/")[2]


# --- the task definition, and where its containers log ---


def _register(call: Call, definition: Definition, environment: Environment, session: Principal) -> str:
    """The ARN of the task definition that stands for the job definition, made once for all its jobs."""
    request = task_definition(definition)
    if is_linked(environment):
        request["tags"] = [{"key": key, "value": value} for key, value in SERVICE_TAG.items()]
    answer = call.peer("ecs", "RegisterTaskDefinition", request, as_=session)
    arn: str = answer["taskDefinition"]["taskDefinitionArn"]
    store.save_task_definition(call.transaction, definition.number, arn)
    return arn


def task_definition(definition: Definition) -> Wire:
    """The request by which a job definition is registered with ECS."""
    properties = definition.detail["containerProperties"]
    needs = merge.needs(properties)
    container: Wire = {name: properties[name] for name in _SHARED if properties.get(name) is not None}
    container |= {
        "name": CONTAINER,
        "essential": True,
        "cpu": needs.cpu,
        "memory": needs.memory_mib,
        "logConfiguration": _log_configuration(definition.name, definition.region, properties),
    }
    request: Wire = {"family": definition.name, "networkMode": "host", "containerDefinitions": [container]}
    for theirs, ours in (("jobRoleArn", "taskRoleArn"), ("executionRoleArn", "executionRoleArn")):
        if properties.get(theirs):
            request[ours] = properties[theirs]
    if properties.get("volumes"):
        request["volumes"] = properties["volumes"]
    return request


def _log_configuration(definition_name: str, region: str, properties: Wire) -> Wire:
    """awslogs into Batch's own group unless the definition says otherwise, wholly or in part."""
    given = properties.get("logConfiguration") or {"logDriver": "awslogs"}
    if given["logDriver"] != "awslogs":
        return dict(given)
    options = {
        "awslogs-group": LOG_GROUP,
        "awslogs-region": region,
        "awslogs-stream-prefix": definition_name[:_PREFIX_LENGTH],
        **(given.get("options") or {}),
    }
    return {**given, "options": options}


def log_stream(job: Job, body: Body, task_arn: str) -> str | None:
    """The name of the stream that the task's container writes to; None: it does not write to CloudWatch Logs."""
    configuration = _log_configuration(body.definition_name, job.region, body.container)
    if configuration["logDriver"] != "awslogs":
        return None
    return f"{configuration['options']['awslogs-stream-prefix']}/{CONTAINER}/{task_arn.rpartition('/')[2]}"


def log_place(job: Job, body: Body) -> tuple[str, str] | None:
    """Group and stream of the job's next task, whose id is not known; None: none of this region's."""
    stream = log_stream(job, body, f"task/{'0' * 32}")
    options = _log_configuration(body.definition_name, job.region, body.container).get("options") or {}
    if stream is None or options["awslogs-region"] != job.region:
        return None
    return options["awslogs-group"], stream


def _ensure_log_group(call: Call, body: Body, session: Principal) -> None:
    """Batch's own group is made with the first job that writes to it. A role that may not: the container will say so."""
    options = _log_configuration(body.definition_name, call.region, body.container).get("options") or {}
    if options.get("awslogs-group") != LOG_GROUP:
        return
    known, here = _groups(call.house), (call.account, call.region)
    if here in known:
        return
    try:
        found = call.peer("logs", "DescribeLogGroups", {"logGroupNamePrefix": LOG_GROUP}, as_=session)["logGroups"]
        if not any(group["logGroupName"] == LOG_GROUP for group in found):
            call.peer("logs", "CreateLogGroup", {"logGroupName": LOG_GROUP}, as_=session)
    except AwsError as error:
        if not troubles.is_refusal(error):
            raise
        return
    call.after_commit(lambda: known.add(here))


def forget_log_group(call: Call, event: Event) -> None:
    """Somebody has deleted a log group: Batch's own is made again with the next job."""
    if event.detail["logGroupName"] == LOG_GROUP:
        _groups(call.house).discard((event.account, event.region))


def _groups(house: House) -> set[tuple[str, str]]:
    """Accounts and regions whose group is there: it was seen since the server was started, and not deleted since."""
    known: set[tuple[str, str]] = house.ports.setdefault(_GROUPS_PORT, set())
    return known


# --- stop ---


def stop(call: Call, intent: Intent) -> Later | None:
    """Asks ECS to stop the task. The attempt ends when the task has."""
    job = store.job(call.transaction, intent.subject)
    if job is None or job.status not in ACTIVE or job.task_arn is None:
        return None
    environment = store.environment(call.transaction, job.environment or 0)
    if environment is None:
        return None
    request = {"cluster": environment.cluster_arn, "task": job.task_arn, "reason": intent.text}
    try:
        call.peer("ecs", "StopTask", request, as_=acting.session(call, environment))
    except AwsError as error:
        if error.code in ("InvalidParameterException", "ClusterNotFoundException"):
            return None  # ECS no longer knows the task: its end is news that is on its way.
        return troubles.later(intent.tries)
    return None

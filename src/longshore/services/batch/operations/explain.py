"""Why a job is where it is: the question that users of Batch ask most, and for which AWS has no operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longshore.aws.clock import from_milliseconds, milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.operation import Request, Response, extension
from longshore.services.batch import acting, arrays, environments, job_ids, links, snapshots, store, views
from longshore.services.batch.records import TERMINAL, Array, Body, Job, Status, Wire
from longshore.services.batch.scheduling import explain as scheduling
from longshore.services.batch.scheduling.snapshot import Head

if TYPE_CHECKING:
    from longshore.kit.call import Call


_TO_BE_RELEASED = "what it waited for has ended, and the scheduler is about to look at it"


@extension("GET", "/_longshore/explain/{jobId}", action="batch:DescribeJobs")
def explain(call: Call, request: Request) -> Response:
    """Status, statusReason, and `reasons`: what it waits for, or how it ended, the nearest first.

    `chain`: the links of the chain of roles that do not hold, the first first, each with what mends it. Empty: all hold, as
    far as the job has to do with them.
    404: the account has no such job. Its region is not asked for.
    """
    job_id = request["jobId"]
    found = store.whole_job(call.transaction, job_id)
    if found is None or found[0].account != call.account:
        raise AwsError("ClientException", f"Job {job_id} not found.", status=404)
    job, body, tags, array = found
    detail = views.job_detail(job, body, tags, array)
    # What keeps an array's parent is what keeps its children, of whom the first that waits stands for all.
    stands_for = _first_runnable(call, job, array) or job
    broken = links.of_job(call, stands_for, body)
    answer: Response = {
        "jobId": job.job_id,
        "jobName": job.name,
        "jobArn": detail["jobArn"],
        "jobQueue": body.queue_arn,
        "jobDefinition": job.definition_arn,
        "status": job.status.name,
        "statusReason": job.status_reason,
        "reasons": [*_reasons(call, job, body, array), *links.told(broken, stands_for)],
        "chain": [links.shown(each) for each in broken],
        "createdAt": job.created_at,
        "startedAt": job.started_at,
        "stoppedAt": job.stopped_at,
        "needs": {"vcpus": job.cpu / 1024, "memoryMiB": job.memory_mib, "gpus": job.gpus},
        "attempts": detail["attempts"],
        "container": {
            name: detail["container"].get(name) for name in ("exitCode", "reason", "taskArn", "logStreamName")
        },
    }
    if "arrayProperties" in detail:
        answer["arrayProperties"] = detail["arrayProperties"]
    if job.environment is not None and job.status not in TERMINAL:
        answer["computeEnvironment"] = _environment(call, job.environment)
        answer["instance"] = _instance(call, job.instance)
    return answer


def _reasons(call: Call, job: Job, body: Body, array: Array | None) -> list[str]:
    if array is not None and job.status in (Status.PENDING, *TERMINAL):
        return _of_children(call, job, body, array)
    match job.status:
        case Status.SUBMITTED:
            return ["the scheduler has not looked at it yet", *_dependencies(call, body)]
        case Status.PENDING:
            ending = [f"it will fail when these have ended: {job.ending}"] if job.ending else []
            waits = [*_its_array(call, job, body), *_dependencies(call, body)] or [_TO_BE_RELEASED]
            return [*waits, *ending]
        case Status.RUNNABLE:
            return [*_earlier(job), *_waits(call, job)]
        case Status.STARTING | Status.RUNNING:
            return [_under_way(call, job), *_earlier(job)]
        case _:
            return _ended(job)


def _dependencies(call: Call, body: Body) -> list[str]:
    waits: list[str] = []
    for dependency in body.depends_on:
        if dependency.get("type"):
            continue
        other = store.job_of_id(call.transaction, dependency["jobId"])
        if other is not None and other.status is not Status.SUCCEEDED:
            waits.append(f"it depends on job {other.job_id} ({other.name}), which is {other.status.name}")
    return waits


def _first_runnable(call: Call, job: Job, array: Array | None) -> Job | None:
    if array is None:
        return None
    return next(iter(store.children_page(call.transaction, job, array, Status.RUNNABLE, low=0, limit=1)), None)


def _of_children(call: Call, job: Job, body: Body, array: Array) -> list[str]:
    """What an array's parent waits for: its dependencies, then its children. Or how these ended."""
    summary = arrays.summary(job, array)
    counted = ", ".join(f"{number} {status}" for status, number in summary.items() if number)
    if job.status in TERMINAL:
        reason = f": {job.status_reason}" if job.status_reason else ""
        return [f"its {array.size} children have ended ({counted}){reason}"]
    ending = [f"it will fail when these have ended: {job.ending}"] if job.ending else []
    if job.spawned_at is None:
        return [*_dependencies(call, body), *ending] or ["the scheduler has not released its children yet"]
    told = [f"it ends when all its {array.size} children have: {counted}", *ending]
    runnable = _first_runnable(call, job, array)
    if runnable is not None:
        told += [f"child {runnable.index}: {reason}" for reason in _reasons(call, runnable, body, None)]
    elif not summary["STARTING"] + summary["RUNNING"]:
        waiting = store.children_page(call.transaction, job, array, Status.PENDING, low=0, limit=1)
        told += [f"child {each.index}: {reason}" for each in waiting for reason in _its_array(call, each, body)]
    return told


def _its_array(call: Call, job: Job, body: Body) -> list[str]:
    """For which other children an array's child waits."""
    if job.array is None or job.index is None:
        return []
    parent = store.parent(call.transaction, job.array)
    if parent.spawned_at is None:
        return ["its array has not been released yet"]
    waits: list[str] = []
    for dependency in body.depends_on:
        match dependency.get("type"):
            case "SEQUENTIAL":
                other_id = job_ids.child_id(parent.job_id, job.index - 1)
            case "N_TO_N":
                other_id = job_ids.child_id(dependency["jobId"], job.index)
            case _:
                continue
        other = store.job_of_id(call.transaction, other_id)  # Child 0 has no predecessor.
        if other is not None and other.status is not Status.SUCCEEDED:
            waits.append(f"it depends on job {other.job_id} ({dependency['type']}), which is {other.status.name}")
    return waits


def _waits(call: Call, job: Job) -> list[str]:
    head = Head(job.number, job.cpu, job.memory_mib, job.gpus)
    ahead = store.count_ahead(call.transaction, job)
    snapshot = snapshots.current(acting.within(call, job.account, job.region))
    return scheduling.explain(snapshot, job.queue, head, ahead, milliseconds(call.now))


def _under_way(call: Call, job: Job) -> str:
    instance = store.instance(call.transaction, job.instance) if job.instance is not None else None
    where = f"on instance {instance.instance_id}" if instance is not None else "on an instance that is gone"
    if job.ending is not None:
        return f"its task is being stopped {where}: {job.ending}"
    if job.status is Status.RUNNING and job.started_at is not None:
        since = from_milliseconds(job.started_at).strftime("%Y-%m-%dT%H:%M:%SZ")
        limit = f", for {job.timeout_seconds} s at most" if job.timeout_seconds is not None else ""
        return f"its container runs {where} since {since}{limit}"
    if job.task_arn is None:
        return f"it has its place {where}; ECS has not accepted its task yet"
    return f"its task is {where}, where the agent gets its image and makes its container"


def _earlier(job: Job) -> list[str]:
    """How the attempts before this one ended."""
    return [
        f"attempt {number} of {job.attempts_allowed} ended: {_told(attempt.status_reason, attempt.exit_code, attempt.reason)}"
        for number, attempt in enumerate(job.attempts, 1)
    ]


def _ended(job: Job) -> list[str]:
    if job.attempts:
        return _earlier(job)
    return [f"it ended without an attempt: {job.status_reason}"]


def _told(status_reason: str, exit_code: int | None, reason: str | None) -> str:
    code = f" (exit code {exit_code})" if exit_code is not None else ""
    return f"{status_reason}{code}{f'; {reason}' if reason else ''}"


def _environment(call: Call, number: int) -> Wire | None:
    found = store.environment(call.transaction, number)
    if found is None:
        return None
    return {
        "computeEnvironmentArn": found.arn,
        "state": found.state,
        "status": found.status,
        "statusReason": environments.status_reason(call, found),
        "ecsClusterArn": found.cluster_arn,
    }


def _instance(call: Call, number: int | None) -> Wire | None:
    found = store.instance(call.transaction, number) if number is not None else None
    if found is None:
        return None
    return {
        "instanceId": found.instance_id,
        "instanceType": found.instance_type,
        "containerInstanceArn": found.container_instance_arn,
        "agentConnected": found.connected,
        "launchedAt": found.launched_at,
        "refusal": found.refusal,
    }

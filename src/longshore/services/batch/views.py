"""Our records as the wire shows them: the one crossing from snake_case to AWS's names."""

from __future__ import annotations

from typing import Any

from longshore.services.batch import arrays
from longshore.services.batch.records import Array, Attempt, Body, Definition, Environment, Job, Queue, Wire


def job_arn(job: Job) -> str:
    return f"arn:aws:batch:{job.region}:{job.account}:job/{job.job_id}"


def job_detail(job: Job, body: Body, tags: dict[str, str], array: Array | None = None) -> Wire:
    """As DescribeJobs and the event "Batch Job State Change" show it. `array`: of an array's parent, its children.

    attempts holds those that have ended; container shows the one under way, or the last.
    """
    container = dict(body.container)
    last = job.attempts[-1] if job.attempts else None
    task_arn, instance_arn = job.task_arn, job.container_instance_arn
    if task_arn is None and last is not None and not _under_way(job):
        task_arn, instance_arn = last.task_arn, last.container_instance_arn
    _add(
        container,
        exitCode=job.exit_code,
        reason=job.reason,
        containerInstanceArn=instance_arn,
        taskArn=task_arn,
        logStreamName=job.log_stream,
    )
    detail: Wire = {
        "jobArn": job_arn(job),
        "jobName": job.name,
        "jobId": job.job_id,
        "jobQueue": body.queue_arn,
        "status": job.status.name,
        "attempts": [_attempt(attempt) for attempt in job.attempts],
        "createdAt": job.created_at,
        "dependsOn": list(body.depends_on),
        "jobDefinition": job.definition_arn,
        "parameters": body.parameters,
        "container": container,
        "tags": tags,
        "propagateTags": body.propagate_tags,
        "platformCapabilities": list(body.platform_capabilities),
        "eksAttempts": [],
        "isCancelled": job.is_cancelled,
        "isTerminated": job.is_terminated,
    }
    _add(
        detail,
        statusReason=job.status_reason,
        startedAt=job.started_at,
        stoppedAt=job.stopped_at,
        retryStrategy=body.retry_strategy,
        timeout=body.timeout,
        schedulingPriority=body.scheduling_priority,
        arrayProperties=_array_properties(job, array),
    )
    return detail


def _array_properties(job: Job, array: Array | None) -> Wire | None:
    """None: it has nothing to do with an array."""
    if job.index is not None:
        return {"index": job.index}
    if array is None:
        return None
    return {
        "size": array.size,
        "statusSummary": arrays.summary(job, array),
        "statusSummaryLastUpdatedAt": array.updated_at,
    }


def _under_way(job: Job) -> bool:
    return job.attempt > len(job.attempts)


def _attempt(attempt: Attempt) -> Wire:
    container: Wire = {"networkInterfaces": []}
    _add(
        container,
        containerInstanceArn=attempt.container_instance_arn,
        taskArn=attempt.task_arn,
        exitCode=attempt.exit_code,
        reason=attempt.reason,
        logStreamName=attempt.log_stream,
    )
    shown: Wire = {"container": container, "statusReason": attempt.status_reason}
    _add(shown, startedAt=attempt.started_at, stoppedAt=attempt.stopped_at)
    return shown


def job_summary(job: Job, array: Array | None = None) -> Wire:
    """As ListJobs shows it: isCancelled and isTerminated only when true. `array`: of an array's parent, its children."""
    shown: Wire = {
        "jobArn": job_arn(job),
        "jobId": job.job_id,
        "jobName": job.name,
        "createdAt": job.created_at,
        "status": job.status.name,
        "jobDefinition": job.definition_arn,
    }
    container: Wire = {}
    _add(container, exitCode=job.exit_code, reason=job.reason)
    _add(
        shown,
        statusReason=job.status_reason,
        startedAt=job.started_at,
        stoppedAt=job.stopped_at,
        container=container or None,
        isCancelled=job.is_cancelled or None,
        isTerminated=job.is_terminated or None,
        arrayProperties=_array_properties(job, array),
    )
    return shown


def environment(record: Environment, desired_vcpus: int, status_reason: str) -> Wire:
    shown: Wire = {
        "computeEnvironmentName": record.name,
        "computeEnvironmentArn": record.arn,
        "tags": record.tags,
        "type": record.type,
        "state": record.state,
        "status": record.status,
        "statusReason": status_reason,
        "serviceRole": record.service_role,
        "containerOrchestrationType": "ECS",
        "uuid": record.uuid,
    }
    resources = record.resources
    if resources is not None:
        resources = {**resources, "desiredvCpus": desired_vcpus}
    _add(
        shown,
        ecsClusterArn=record.cluster_arn,
        computeResources=resources,
        unmanagedvCpus=record.unmanaged_vcpus,
        updatePolicy=record.update_policy,
        ecsSettings=record.ecs_settings,
        context=record.context,
    )
    return shown


def queue(record: Queue, arns: dict[int, str]) -> Wire:
    """`arns`: number of a compute environment -> its ARN."""
    return {
        "jobQueueName": record.name,
        "jobQueueArn": record.arn,
        "state": record.state,
        "status": record.status,
        "statusReason": record.status_reason,
        "priority": record.priority,
        "computeEnvironmentOrder": [
            {"order": order, "computeEnvironment": arns[number]} for order, number in record.environments
        ],
        "serviceEnvironmentOrder": [],
        "jobQueueType": "ECS",
        "tags": record.tags,
        "jobStateTimeLimitActions": list(record.time_limit_actions),
    }


def definition(record: Definition) -> Wire:
    return {
        "jobDefinitionName": record.name,
        "jobDefinitionArn": record.arn,
        "revision": record.revision,
        "status": record.status,
        **record.detail,
        "tags": record.tags,
        "containerOrchestrationType": "ECS",
    }


def _add(shown: Wire, **members: Any) -> None:
    """Those that have a value; Batch leaves the others out."""
    for name, value in members.items():
        if value is not None:
            shown[name] = value

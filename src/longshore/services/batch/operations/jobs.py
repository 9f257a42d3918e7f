"""Jobs: submitted, shown, listed, called off. SubmitJob writes a job in status SUBMITTED; what follows is the loops' work."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from longshore.aws.clock import milliseconds
from longshore.kit.operation import Request, Response, operation
from longshore.services.batch import arrays, job_ids, life, lifecycle, merge, news, rules, store, views
from longshore.services.batch.operations import pages
from longshore.services.batch.operations.job_definitions import retry_strategy
from longshore.services.batch.records import Body, Definition, EvaluateOnExit, Job, Queue, Status, Wire
from longshore.services.batch.rules import client_exception

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longshore.kit.call import Call

_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,128}(:[0-9]+)?")
_ITS_OWN: Wire = {}  # of a job that overrides nothing
_encode = msgspec.json.Encoder().encode


class _Ready(Struct, frozen=True):
    """A definition, and what is made of it once for all its jobs."""

    definition: Definition
    template: merge.Template
    parameters: dict[str, str]
    retry_strategy: Wire | None
    timeout: Wire | None


@lru_cache(1024)
def _ready(document: bytes) -> _Ready:
    """Kept under the definition's very bytes, so that nothing needs to be forgotten when one changes."""
    definition = store.read_definition(document)
    detail = definition.detail
    return _Ready(
        definition=definition,
        template=merge.template(detail["containerProperties"]),
        parameters=detail["parameters"],
        retry_strategy=detail.get("retryStrategy"),
        timeout=detail.get("timeout"),
    )


@operation
def submit_job(call: Call, request: Request) -> Response:
    tx = call.transaction
    rules.check_job_size(len(_encode(request)))
    ready = _definition(call, request["jobDefinition"])
    definition = ready.definition
    queue = _queue(call, request["jobQueue"])
    if queue.state != "ENABLED":
        raise client_exception(f"JobQueue {queue.name} is not in ENABLED state.")  # our words
    parameters = request.get("parameters")
    parameters = {**ready.parameters, **parameters} if parameters else ready.parameters
    with rules.executing(call.request_id):
        rules.check_submission(request)
        try:
            merged = merge.merge(ready.template, request.get("containerOverrides") or _ITS_OWN, parameters)
        except merge.MissingParameter as missing:
            raise rules.Refused(
                f"Unable to substitute value. No parameter found for reference {missing.name}"
            ) from None
    strategy = request.get("retryStrategy")
    strategy = retry_strategy(_given(strategy)) if strategy else ready.retry_strategy
    timeout = request.get("timeout") or ready.timeout
    depends_on = request.get("dependsOn") or ()
    size = (request.get("arrayProperties") or _ITS_OWN).get("size")
    waits = _dependencies(call, depends_on, size) if depends_on else _WAITS_FOR_NOTHING
    propagate_tags = request.get("propagateTags")
    detail = definition.detail
    number = store.next_job_number(tx) + (size or 0)  # The numbers before it are its children's.
    job_id = job_ids.job_id(number, call.ids.uuid())
    job = Job(
        number=number,
        job_id=job_id,
        account=call.account,
        region=call.region,
        name=request["jobName"],
        queue=queue.number,
        definition_arn=definition.arn,
        created_at=milliseconds(call.now),
        status=Status.SUBMITTED,
        cpu=merged.needs.cpu,
        memory_mib=merged.needs.memory_mib,
        gpus=merged.needs.gpus,
        attempts_allowed=strategy["attempts"] if strategy else 1,
        rules=_rules(strategy) if strategy else (),
        timeout_seconds=timeout["attemptDurationSeconds"] if timeout else None,
        size=size,
    )
    body = Body(
        queue_arn=queue.arn,
        definition=definition.number,
        definition_name=definition.name,
        container=merged.container,
        override=merged.override,
        parameters=parameters,
        depends_on=tuple(_given(each) for each in depends_on),
        retry_strategy=strategy,
        timeout=timeout,
        propagate_tags=bool(detail.get("propagateTags") if propagate_tags is None else propagate_tags),
        platform_capabilities=tuple(detail.get("platformCapabilities") or ()),
        scheduling_priority=detail.get("schedulingPriority"),
    )
    store.insert_job(tx, job, body)
    if size is not None:
        store.insert_array(
            tx,
            arrays.new(
                number=number, queue=queue.number, size=size, is_sequential=waits.is_sequential, now=job.created_at
            ),
        )
    if request.get("tags"):
        store.save_tags_of_job(tx, job.number, rules.check_tags(request["tags"]))
    for other in waits.jobs:
        store.add_dependency(tx, number, other)
    for other in waits.arrays:
        store.add_link(tx, number, other)
    if waits.has_failed:
        life.apply(call, job, lifecycle.DependencyFailed())
    call.wake(news.SCHEDULER)
    return {"jobArn": views.job_arn(job), "jobName": job.name, "jobId": job_id}


def _definition(call: Call, reference: str) -> _Ready:
    """ClientException: there is none such, or it is INACTIVE."""
    if not reference.startswith("arn:") and not _REFERENCE.fullmatch(reference):
        raise client_exception(f"Provided name {reference} is not supported pattern[a-zA-Z_0-9-]{{1,128}}")
    document = store.definition_document(call.transaction, call.account, call.region, reference)
    ready = None if document is None else _ready(document)
    if ready is None and reference.startswith("arn:"):
        raise client_exception(f"JobDefinition {reference} not found.")
    if ready is None or ready.definition.status != "ACTIVE":
        raise client_exception(f"JobDefinition name {reference} does not exist or is not in ACTIVE status")
    return ready


def _queue(call: Call, reference: str) -> Queue:
    queue = store.queue_named(call.transaction, call.account, call.region, reference)
    if queue is None:
        raise client_exception(f"JobQueue {reference} not found.")
    return queue


def _rules(strategy: Wire) -> tuple[EvaluateOnExit, ...]:
    return tuple(
        EvaluateOnExit(
            action=rule["action"],
            on_status_reason=rule.get("onStatusReason"),
            on_reason=rule.get("onReason"),
            on_exit_code=rule.get("onExitCode"),
        )
        for rule in strategy.get("evaluateOnExit") or ()
    )


class _Waits(Struct, frozen=True):
    """What a submission depends on, as far as it has not succeeded yet."""

    jobs: tuple[int, ...] = ()
    arrays: tuple[int, ...] = ()  # child by child
    is_sequential: bool = False
    has_failed: bool = False


_WAITS_FOR_NOTHING = _Waits()


def _dependencies(call: Call, depends_on: Sequence[Wire], size: int | None) -> _Waits:
    """ClientException: there is no such job. One that has expired can't be told from one that never was. The words are ours."""
    jobs: dict[int, None] = {}
    counterparts: dict[int, None] = {}
    is_sequential = has_failed = False
    for dependency in depends_on:
        kind = dependency.get("type")
        if kind == "SEQUENTIAL":
            is_sequential = True
            continue
        found = _find(call, dependency["jobId"])
        if found is None:
            raise client_exception(f"Job {dependency['jobId']} not found.")
        if kind == "N_TO_N":
            # User guide, "Job dependencies": each child of this job on that of the same index.
            if found.size is None:
                raise client_exception(f"Job {found.job_id} is not an array job, so no N_TO_N dependency can be on it.")
            if found.size != size:
                raise client_exception(
                    f"An N_TO_N dependency must be on an array of the same size: {found.job_id} has {found.size} children,"
                    f" not {size}."
                )
        if found.status is Status.SUCCEEDED:
            continue
        if kind == "N_TO_N":
            counterparts[found.number] = None  # If it has failed, not each of its children need have.
        elif found.status is Status.FAILED:
            has_failed = True
        else:
            jobs[found.number] = None
    return _Waits(tuple(jobs), tuple(counterparts), is_sequential, has_failed)


def _given(structure: Any) -> Any:
    return {key: value for key, value in structure.items() if value is not None}


def _find(call: Call, job_id: str) -> Job | None:
    """The job of that id in the caller's account and region."""
    job = store.job_of_id(call.transaction, job_id)
    if job is None or job.account != call.account or job.region != call.region:
        return None
    return job


@operation
def describe_jobs(call: Call, request: Request) -> Response:
    """Those that there are; unknown ids are left out."""
    ids = request["jobs"]
    if len(ids) > rules.IDS_MAX:
        raise client_exception(f"Maximum number of jobs supported is {rules.IDS_MAX}, got {len(ids)}.")
    shown = []
    for job_id in dict.fromkeys(ids):
        found = store.whole_job(call.transaction, job_id)
        if found is not None and found[0].account == call.account and found[0].region == call.region:
            shown.append(views.job_detail(*found))
    return {"jobs": shown}


_PAGE_MAX = 1000  # API reference, ListJobs, maxResults: without filters; with filters 100
_FILTERED_PAGE_MAX = 100
_LOOKED_THROUGH = 10_000  # jobs, by a page with a filter: some 25 ms among a million
_ALL = 1 << 62


@operation
def list_jobs(call: Call, request: Request) -> Response:
    """The newest first. Of a queue, those of one status; with a filter, whatever their status."""
    parents = [request.get(member) for member in ("jobQueue", "arrayJobId", "multiNodeJobId")]
    if sum(1 for each in parents if each) != 1:
        # API reference, ListJobs. The words are ours.
        raise client_exception("Exactly one of jobQueue, arrayJobId and multiNodeJobId must be specified.")
    filters = request.get("filters") or []
    limit = pages.size(request, _FILTERED_PAGE_MAX if filters else _PAGE_MAX)
    if request.get("arrayJobId"):
        return _children(call, request, limit)
    if not request.get("jobQueue"):
        return {"jobSummaryList": []}  # There are no multi-node jobs here.
    queue = _queue(call, request["jobQueue"])
    position = pages.number(request)
    before = _ALL if position is None else position
    if filters:
        return _filtered(call, request, queue, before, limit)
    status = Status[request.get("jobStatus") or "RUNNING"]
    found = store.jobs_page(call.transaction, queue.number, status, before, limit + 1)
    token = None
    if len(found) > limit:
        found = found[:limit]
        token = pages.token(request, str(found[-1][1]))
    return {"jobSummaryList": [_summary(call, job) for job, _ in found], "nextToken": token}


def _children(call: Call, request: Request, limit: int) -> Response:
    """Of an array, by index, those of one status. Filters are not for them (API reference, ListJobs, filters)."""
    parent = _find(call, request["arrayJobId"])
    if parent is None or parent.size is None or request.get("filters"):
        return {"jobSummaryList": []}
    array = store.array(call.transaction, parent.number)
    status = Status[request.get("jobStatus") or "RUNNING"]
    low = pages.number(request) or 0
    if not 0 <= low < array.size:
        raise pages.invalid_token()
    found = store.children_page(call.transaction, parent, array, status, low=low, limit=limit + 1)
    token = None
    if len(found) > limit:
        found = found[:limit]
        token = pages.token(request, str(found[-1].number - array.first + 1))
    return {"jobSummaryList": [views.job_summary(job) for job in found], "nextToken": token}


def _summary(call: Call, job: Job) -> Wire:
    return views.job_summary(job, store.array(call.transaction, job.number) if job.size is not None else None)


def _filtered(call: Call, request: Request, queue: Queue, before: int, limit: int) -> Response:
    """A page looks through so many jobs and no more, so that nobody else waits for long: it may be short, or empty, and
    yet have a next one."""
    name, value = _filter(call, request["filters"])
    before = min(before, store.next_job_number(call.transaction))
    after = max(0, before - 1 - _LOOKED_THROUGH)
    found = []
    if name != "SHARE_IDENTIFIER":  # No queue here has a scheduling policy, so no job has a share.
        found = store.filtered_jobs(
            call.transaction, queue.number, name, value, after=after, before=before, limit=limit + 1
        )
    token = None
    if len(found) > limit:
        found = found[:limit]
        token = pages.token(request, str(found[-1].number))
    elif after:
        token = pages.token(request, str(after + 1))
    return {"jobSummaryList": [_summary(call, job) for job in found], "nextToken": token}


def _filter(call: Call, filters: Sequence[Wire]) -> tuple[str, str | int]:
    """API reference, ListJobs, filters: one at a time. The words of the refusals are ours."""
    if len(filters) > 1:
        raise client_exception("Only one filter can be used at a time.")
    name, values = filters[0].get("name"), filters[0].get("values") or []
    if len(values) != 1:
        raise client_exception("A filter must have exactly one value.")
    value: str = values[0]
    match name:
        case "JOB_NAME":
            return name, _glob(value.lower())
        case "JOB_DEFINITION":
            return name, _definitions(call, value)
        case "BEFORE_CREATED_AT" | "AFTER_CREATED_AT":
            if not (value.isascii() and value.isdigit() and len(value) < 16):
                raise client_exception(f"Filter {name} needs a time in milliseconds, got {value}.")
            return name, int(value)
        case "SHARE_IDENTIFIER":
            return name, value
    known = "JOB_NAME, JOB_DEFINITION, BEFORE_CREATED_AT, AFTER_CREATED_AT, SHARE_IDENTIFIER"
    raise client_exception(f"Filter {name} is not one of [{known}].")


def _definitions(call: Call, value: str) -> str:
    """A pattern of ARNs: of all revisions of a name, of all names that begin so (`*`), or of one revision (an ARN)."""
    if value.startswith("arn:"):
        return _literally(value)
    if value.endswith("*"):
        return _literally(call.arn(f"job-definition/{value[:-1]}")) + "*"
    return _literally(call.arn(f"job-definition/{value}")) + ":*"


def _glob(value: str) -> str:
    return _literally(value[:-1]) + "*" if value.endswith("*") else _literally(value)


def _literally(text: str) -> str:
    """For SQLite's GLOB: only the `*` that stands at the end of a filter's value is one."""
    return "".join(f"[{each}]" if each in "*?[" else each for each in text)


@operation
def cancel_job(call: Call, request: Request) -> Response:
    """Nothing happens to one that has started, and that is no error."""
    return _call_off(call, request, lifecycle.Cancelled(request["reason"]))


@operation
def terminate_job(call: Call, request: Request) -> Response:
    return _call_off(call, request, lifecycle.Terminated(request["reason"]))


def _call_off(call: Call, request: Request, event: lifecycle.Event) -> Response:
    """Answers alike for a job that has ended, or never was."""
    rules.check_reason(request["reason"])
    job = _find(call, request["jobId"])
    if job is not None:
        life.apply(call, job, event)
    return {}

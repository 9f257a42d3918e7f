"""The shell of `lifecycle`: takes a job through an event, in the transaction of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.services.batch import lifecycle, news, store, views
from longshore.services.batch.lifecycle import (
    CallOffChildren,
    DropChildren,
    FreePlace,
    ReleaseDependents,
    SpawnChildren,
    StopTask,
    WithdrawStart,
)  # fmt: skip
from longshore.services.batch.records import ACTIVE, TERMINAL, Array, Body, Intent, Job, Kind, Status
from longshore.services.batch.scheduling.snapshot import Head

if TYPE_CHECKING:
    from longshore.kit.call import Call

JOB_CHANGED = "Batch Job State Change"


def apply(call: Call, job: Job, *events: lifecycle.Event) -> Job:
    """The job after the events, kept, announced, and what follows from them written down. Kept once: what lay between
    was never to be seen."""
    tx = call.transaction
    after, effects = job, list[lifecycle.Effect]()
    for event in events:
        after, more = lifecycle.step(after, event, milliseconds(call.now))
        effects += more
    if after is job and not effects:
        return job
    if job.array is None:
        store.save_job(tx, after)
    else:
        store.save_child(tx, job, after, milliseconds(call.now))
    for effect in effects:
        match effect:
            case StopTask(reason):
                intend(call, after.account, after.region, "stop", after.number, text=reason)
            case WithdrawStart():
                for intent in store.intents_of(tx, "start", job.number):
                    store.delete_intent(tx, intent.number)
            case ReleaseDependents(succeeded):
                store.forget_dependencies(tx, job.number)
                store.add_release(tx, job.number, succeeded)
                if job.array is not None and job.index is not None:
                    store.add_child_release(tx, store.array(tx, job.array), job.index, succeeded)
                elif job.size is not None:
                    store.forget_links(tx, job.number)
                call.wake(news.SCHEDULER)
            case SpawnChildren() | CallOffChildren() | DropChildren():
                _go_through(call, after.number, effect)
            case FreePlace(environment, instance):
                _free(call, environment, instance)
    if after.status is not job.status:
        announce(call, after)
        if after.status is Status.RUNNABLE:
            head = Head(after.number, after.cpu, after.memory_mib, after.gpus)
            news.job_arrived(call, after.queue, store.position(after), head)
        elif job.status is Status.RUNNABLE:
            news.queue_changed(call, after.queue)
        if after.status is Status.RUNNING and after.timeout_seconds is not None:
            call.wake(news.SCHEDULER)  # Its time has begun to run.
        if after.status in ACTIVE and job.status not in ACTIVE:
            assert after.environment is not None and after.instance is not None
            news.instance_changed(call, after.environment, after.instance)
        if after.array is not None and after.status in TERMINAL:
            end_array(call, store.array(tx, after.array))
    return after


def _go_through(call: Call, number: int, wish: SpawnChildren | CallOffChildren | DropChildren) -> None:
    """The scheduler goes through the children, a portion at a time."""
    array = store.array(call.transaction, number)
    match wish:
        case SpawnChildren():
            array = replace(array, spawn_from=0)
        case CallOffChildren(reason, stops):
            is_terminated = array.is_terminated or stops
            array = replace(array, spawn_from=None, call_off_from=0, called_off=reason, is_terminated=is_terminated)
        case DropChildren():
            array = replace(array, drop_from=0)
    store.save_array(call.transaction, array)
    call.wake(news.SCHEDULER)


def end_array(call: Call, array: Array) -> None:
    """The parent ends with the last of its children."""
    if array.has_ended:
        succeeded = array.counts[Status.SUCCEEDED] == array.size
        apply(call, store.parent(call.transaction, array.number), lifecycle.ChildrenEnded(succeeded))


def _free(call: Call, environment: int, number: int) -> None:
    """The job's place is free. With its last job an instance begins to be idle."""
    one = store.instance(call.transaction, number)
    if one is not None and not store.is_used(call.transaction, number):
        store.save_instance(call.transaction, replace(one, idle_since=milliseconds(call.now), used=True))
    news.instance_changed(call, environment, number)


def announce(call: Call, job: Job, body: Body | None = None) -> None:
    """Source: user guide, "AWS Batch Events": detail is as DescribeJobs shows the job."""
    if not call.is_heard(JOB_CHANGED):
        return
    tx = call.transaction
    body = body or store.body(tx, job.number)
    array = store.array(tx, job.number) if job.size is not None else None
    detail = views.job_detail(job, body, store.tags_of_job(tx, job.submission), array)
    call.emit(JOB_CHANGED, views.job_arn(job), detail)


def intend(
    call: Call,
    account: str,
    region: str,
    kind: Kind,
    subject: int,
    *,
    text: str = "",
    token: str | None = None,
    tries: int = 0,
    after_ms: int = 0,
) -> Intent:
    """Writes down an effect that is wanted, now or in a while. The effects loop carries it out after the commit.

    `tries`: those that were made already.
    """
    intent = Intent(
        number=store.next_number(call.transaction, "intent"),
        token=token or call.ids.uuid(),
        kind=kind,
        account=account,
        region=region,
        subject=subject,
        tries=tries,
        text=text,
    )
    store.insert_intent(call.transaction, intent, milliseconds(call.now) + after_ms)
    call.wake(news.EFFECTS)
    return intent

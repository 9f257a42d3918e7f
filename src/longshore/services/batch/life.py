"""The shell of `lifecycle`: takes a job through an event, in the transaction of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.services.batch import lifecycle, news, store, views
from longshore.services.batch.lifecycle import FreePlace, ReleaseDependents, StopTask, WithdrawStart
from longshore.services.batch.records import ACTIVE, Body, Intent, Job, Kind, Status
from longshore.services.batch.scheduling.snapshot import Head

if TYPE_CHECKING:
    from longshore.kit.call import Call

JOB_CHANGED = "Batch Job State Change"


def apply(call: Call, job: Job, event: lifecycle.Event) -> Job:
    """The job after the event, kept, announced, and what follows from it written down."""
    tx = call.transaction
    after, effects = lifecycle.step(job, event, milliseconds(call.now))
    if after is job:
        return job
    store.save_job(tx, after)
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
                call.wake(news.SCHEDULER)
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
    return after


def _free(call: Call, environment: int, number: int) -> None:
    """The job's place is free. With its last job an instance begins to be idle."""
    one = store.instance(call.transaction, number)
    if one is not None and store.used_on_instance(call.transaction, number)[0] == 0:
        store.save_instance(call.transaction, replace(one, idle_since=milliseconds(call.now), used=True))
    news.instance_changed(call, environment, number)


def announce(call: Call, job: Job, body: Body | None = None) -> None:
    """Source: user guide, "AWS Batch Events": detail is as DescribeJobs shows the job."""
    if not call.is_heard(JOB_CHANGED):
        return
    body = body or store.body(call.transaction, job.number)
    detail = views.job_detail(job, body, store.tags_of_job(call.transaction, job.number))
    call.emit(JOB_CHANGED, views.job_arn(job), detail)


def intend(
    call: Call, account: str, region: str, kind: Kind, subject: int, *, text: str = "", token: str | None = None
) -> Intent:
    """Writes down an effect that is wanted now. The effects loop carries it out after the commit."""
    intent = Intent(
        number=store.next_number(call.transaction, "intent"),
        token=token or call.ids.uuid(),
        kind=kind,
        account=account,
        region=region,
        subject=subject,
        text=text,
    )
    store.insert_intent(call.transaction, intent, milliseconds(call.now))
    call.wake(news.EFFECTS)
    return intent

"""The chain of roles as one job hangs on it: which links do not hold, and what mends each; for explanations.

A job that waits is asked about all that is before it: its queue's environments, their instances, its own roles. One that is
under way, about its agent's reports. One whose attempt failed before its container ran, about what the failure names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from longshore.services.batch import acting, chain, mending, store, tasks
from longshore.services.batch.chain import Broken
from longshore.services.batch.mending import Mend
from longshore.services.batch.records import ACTIVE, Body, Environment, Instance, Job, Status, Wire

if TYPE_CHECKING:
    from longshore.kit.call import Call

_ASSUME = "ECS was unable to assume the role"
_LOG_STREAM = "failed to create Cloudwatch log stream"


class Found(Struct, frozen=True):
    """A link that does not hold. `environment` None: it is the job's own."""

    broken: Broken
    mend: Mend
    environment: str | None = None


def of_job(call: Call, job: Job, body: Body) -> list[Found]:
    """The nearest first. `call` is the asker's; that a link is broken is found as Batch, which may look."""
    inner = acting.within(call, job.account, job.region)
    asker = acting.acting(call, call.principal, region=job.region, source_ip=call.source_ip)
    return [
        Found(broken, mending.mend(asker, broken), environment) for broken, environment in _broken(inner, job, body)
    ]


# A broken link, and the name of its compute environment. None: it is the job's own.
_Link = tuple[Broken, str | None]


def _broken(call: Call, job: Job, body: Body) -> list[_Link]:
    if job.status is Status.RUNNABLE:
        return _before(call, job, body)
    if job.status in ACTIVE:
        return _under_way(call, job)
    if job.status is Status.FAILED:
        return _after(call, job, body)
    return []


def _before(call: Call, job: Job, body: Body) -> list[_Link]:
    queue = store.queue(call.transaction, job.queue)
    numbers = [number for _, number in queue.environments] if queue is not None else []
    environments = [each for number in numbers if (each := store.environment(call.transaction, number)) is not None]
    found = [each for environment in environments for each in _in_environment(call, environment)]
    own = _own_roles(call, job, body, environments[0] if environments else None)
    return [*found, *((each, None) for each in own)]


def _in_environment(call: Call, environment: Environment) -> list[_Link]:
    broken = chain.diagnose_service_role(call, environment)
    if not broken and environment.type == "MANAGED":
        broken = _to_join(call, environment)
    return [(each, environment.name) for each in broken]


def _to_join(call: Call, environment: Environment) -> list[Broken]:
    """Of the first instance that is not there, or, where there is none, of the next that will be launched."""
    instances = [one for one in store.instances_of(call.transaction, environment.number) if one.phase != "retiring"]
    absent = next((one for one in instances if one.instance_id and not one.connected), None)
    if absent is None and any(one.connected for one in instances):
        return []
    broken = chain.diagnose(call, environment, absent)
    return broken if absent is None else [_as_refused(each, absent) for each in broken]


def _as_refused(broken: Broken, one: Instance) -> Broken:
    """What only the call itself could tell it has told, where the trail has it."""
    refused = chain.refusal_in(one.refusal)
    if not broken.unsure or refused is None or refused.action != broken.action:
        return broken
    return Broken(
        link=broken.link,
        of=broken.of,
        name=broken.name,
        text=one.refusal or "",
        principal=refused.principal,
        action=refused.action,
        resource=refused.resource,
    )


def _under_way(call: Call, job: Job) -> list[_Link]:
    environment = store.environment(call.transaction, job.environment or 0)
    one = store.instance(call.transaction, job.instance or 0)
    if environment is None or one is None:
        return []
    if environment.type != "MANAGED":
        return []
    broken = [] if one.connected else [_as_refused(each, one) for each in chain.diagnose(call, environment, one)]
    broken = broken or chain.diagnose_reports(call, environment, one)
    return [(each, environment.name) for each in broken]


def _after(call: Call, job: Job, body: Body) -> list[_Link]:
    """Of a job that failed for a role: what of that has not been mended yet."""
    text = _failure(job)
    environment = store.environment(call.transaction, _environment_of(call, job))
    if "iam:PassRole" in text and environment is not None:
        role = chain.find_role(call, environment.service_role)
        refused = chain.refused_to_service(text, role) if role is not None else None
        return [] if refused is None else [(refused, environment.name)]
    if _ASSUME in text or _LOG_STREAM in text:
        return [(each, None) for each in _own_roles(call, job, body, environment)]
    return []


def _failure(job: Job) -> str:
    """What is said of an attempt whose container never ran; else empty."""
    if job.exit_code is not None:
        return ""
    return f"{job.status_reason or ''} {job.reason or ''}"


def _environment_of(call: Call, job: Job) -> int:
    """Where an ended job ran is kept no more: the first environment of its queue stands for all."""
    queue = store.queue(call.transaction, job.queue)
    return queue.environments[0][1] if queue is not None and queue.environments else 0


def _own_roles(call: Call, job: Job, body: Body, environment: Environment | None) -> list[Broken]:
    return chain.diagnose_roles(
        call,
        environment,
        job_role=body.container.get("jobRoleArn"),
        execution_role=body.container.get("executionRoleArn"),
        log_stream=tasks.log_place(job, body),
    )


# --- how it is told ---


def told(found: list[Found], job: Job) -> list[str]:
    """The first link that does not hold, who is refused what, what would allow it, and what mends it."""
    if not found:
        text = _failure(job) if job.status is Status.FAILED else ""
        healed = _ASSUME in text or _LOG_STREAM in text
        return ["what it failed for has been mended; submit it again"] if healed else []
    first = next((each for each in found if not each.broken.unsure), found[0])
    broken = first.broken
    if broken.unsure:
        return [broken.text]
    lines = [f"the first broken link is {_link(broken)}: {_what(broken)}"]
    if first.mend.allows:
        lines[0] += f"; {first.mend.allows} would allow it"
    if first.mend.command:
        lines.append(f"to mend it: {first.mend.command}")
    if first.mend.withheld:
        lines.append(f"what would mend it is told to those who are allowed {first.mend.withheld}")
    return lines


def _link(broken: Broken) -> str:
    match broken.link:
        case "profile":
            return f"the instance profile {broken.name}"
        case "role" if broken.of == "instance role":
            return f"the role in instance profile {broken.name}"
        case "role":
            return f"the {broken.of} {broken.name}"
        case "trust":
            return f"the trust policy of the {broken.of} {broken.name}"
        case "policy":
            return f"what the {broken.of} {broken.name} may do"


def _what(broken: Broken) -> str:
    if broken.principal is None:
        return broken.text
    return f"{broken.principal} may not do {broken.action} on {broken.resource}"


def shown(found: Found) -> Wire:
    """As JSON. `sure` False: only the call itself can tell."""
    broken = found.broken
    return {
        "link": broken.link,
        "of": "instance profile" if broken.link == "profile" else broken.of,
        "name": broken.name,
        "computeEnvironment": found.environment,
        "text": broken.text,
        "principal": broken.principal,
        "action": broken.action,
        "resource": broken.resource,
        "allowedBy": found.mend.allows,
        "mend": found.mend.command,
        "sure": not broken.unsure,
        "restsOn": list(broken.unsure),
    }

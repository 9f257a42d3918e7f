"""Why a job waits, in plain words. Pure, from the same snapshot that the scheduler decides on."""

from __future__ import annotations

from longshore.services.batch.scheduling import capacity
from longshore.services.batch.scheduling.snapshot import EnvironmentView, Head, InstanceView, QueueView, Snapshot

# How long a launched instance may be away before a waiting job is told so. Twice, so that the text's figure is refreshed.
PATIENCE_SECONDS = (20, 120)

# Batch user guide, "Jobs stuck in RUNNABLE status": the codes; the second dash of PERMISSIONS is an en dash there.
MAX_RESOURCE = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot meet the CPU"
    " requirement of the job."
)
JOB_RESOURCE_REQUIREMENT = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher than that can"
    " be met by the CE(s) attached to the job queue."
)
PERMISSIONS = "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS \N{EN DASH} Batch service role has a permission issue."
INVALID = "ACTION_REQUIRED - CE(s) associated with the job queue are invalid."
CAPACITY = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for instance type [{}]"
)


def blocked_reason(snapshot: Snapshot, queue: QueueView, head: Head, now: int) -> str | None:
    """The statusReason of the job at the head; None while it only waits for what is on its way.

    AWS's text where AWS has one, and behind it what is wrong here. Given only when every environment of the queue has a
    reason: one that is about to take the job is no reason to complain (nextflow-io/nextflow#7479).
    """
    views = [snapshot.environments[number] for number in queue.environments if number in snapshot.environments]
    if not views:
        return INVALID
    reasons = [_blocked_in(view, head, now) for view in views]
    return None if None in reasons else reasons[0]


def _blocked_in(view: EnvironmentView, head: Head, now: int) -> str | None:
    """None: nothing stands in the way but time."""
    if not view.enabled:
        return f"ACTION_REQUIRED - compute environment {view.name} is DISABLED"
    if view.status == "INVALID":
        return f"{INVALID} {view.name}: {view.status_reason}"
    if view.status != "VALID":
        return None
    if not capacity.can_ever_hold(view, head):
        if not view.managed and not view.instances:
            return f"ACTION_REQUIRED - unmanaged compute environment {view.name} has no instance"
        return MAX_RESOURCE if _only_too_few_vcpus(view, head) else JOB_RESOURCE_REQUIREMENT
    for trouble in view.troubles:
        if trouble.until > now and trouble.code in ("permissions", "start"):
            return f"{PERMISSIONS} {view.name}: {trouble.text}"
        if trouble.until > now and trouble.code == "launch":
            return f"ACTION_REQUIRED - compute environment {view.name} can't launch instances: {trouble.text}"
    absent = [text for one in view.instances if (text := absence(view, one, now)) is not None]
    if absent:
        return f"ACTION_REQUIRED - {absent[0]}"
    if any(one.lasts and head.cpu <= one.cpu and head.memory_mib <= one.memory_mib for one in view.instances):
        return None
    if capacity.lacks(view, head, vcpus_left=view.vcpus_max - view.vcpus, now=now):
        shortage = [trouble for trouble in view.troubles if trouble.code == "capacity" and trouble.until > now]
        return f"{CAPACITY.format(shortage[-1].instance_type)} {view.name}: {shortage[-1].text}"
    return None


def _only_too_few_vcpus(view: EnvironmentView, head: Head) -> bool:
    """Whether a type would hold the job, but maxvCpus does not allow one."""
    return view.managed and any(
        head.cpu <= one.cpu and head.memory_mib <= one.memory_mib and not head.gpus for one in view.types
    )


def absence(view: EnvironmentView, one: InstanceView, now: int) -> str | None:
    """What keeps an instance from taking jobs; None: nothing that is known, and it is not late."""
    if one.instance_id is None or not one.lasts or one.usable:
        return None
    since = one.disconnected_at or one.launched_at or now
    seconds = max(0, now - since) // 1000
    why = _why_absent(view, one)
    if why is None and seconds < PATIENCE_SECONDS[0]:
        return None
    if one.phase == "joined":
        text = f"the agent of instance {one.instance_id} of compute environment {view.name} is not connected"
        return f"{text}: {why}" if why else f"{text} for {_late(seconds)}"
    text = f"instance {one.instance_id} of compute environment {view.name} has not joined its cluster"
    return f"{text}: {why}" if why else f"{text}, {_late(seconds)} after its launch"


def _late(seconds: int) -> str:
    """The longest patience that has passed, so that the text doesn't change with every second."""
    passed = max(patience for patience in PATIENCE_SECONDS if patience <= max(seconds, PATIENCE_SECONDS[0]))
    return f"more than {passed} s"


def _why_absent(view: EnvironmentView, one: InstanceView) -> str | None:
    if view.diagnosis:
        return view.diagnosis[0]
    return f"its agent's call was refused: {one.refusal}" if one.refusal else None


def explain(snapshot: Snapshot, queue_number: int, head: Head, ahead: int, now: int) -> list[str]:
    """All that a RUNNABLE job waits for, the nearest first. `ahead` counts the RUNNABLE jobs before it."""
    queue = next((one for one in snapshot.queues if one.number == queue_number), None)
    if queue is None:
        return ["its job queue is gone"]
    reasons: list[str] = []
    if not queue.valid:
        reasons.append(f"job queue {queue.name} is not VALID")
    if ahead:
        noun = "job is" if ahead == 1 else "jobs are"
        reasons.append(f"{ahead} {noun} before it in job queue {queue.name}, which starts them in order")
    for number in queue.environments:
        view = snapshot.environments.get(number)
        reasons += ["a compute environment of its queue is gone"] if view is None else _explain_in(view, head, now)
    return reasons


def _explain_in(view: EnvironmentView, head: Head, now: int) -> list[str]:
    prefix = f"compute environment {view.name}"
    if not view.enabled:
        return [f"{prefix} is DISABLED"]
    if view.status != "VALID":
        return [
            f"{prefix} is {view.status}: {view.status_reason}" if view.status_reason else f"{prefix} is {view.status}"
        ]
    if not capacity.can_ever_hold(view, head):
        return [_too_large(view, head)]
    reasons = [f"{prefix}: {trouble.text}" for trouble in view.troubles if trouble.until > now]
    for one in view.instances:
        text = absence(view, one, now) or _on_its_way(view, one, now)
        if text is not None:
            reasons.append(text)
    if not reasons and view.instances:
        jobs = sum(one.jobs for one in view.instances)
        noun, verb = ("instance", "is") if len(view.instances) == 1 else ("instances", "are")
        of = f" of at most {view.vcpus_max}" if view.managed else ""
        reasons.append(
            f"{prefix}: its {len(view.instances)} {noun} ({view.vcpus}{of} vCPUs) {verb} taken by {jobs}"
            f" {'job' if jobs == 1 else 'jobs'}"
        )
    return reasons or [f"{prefix} has room or is about to make it"]


def _on_its_way(view: EnvironmentView, one: InstanceView, now: int) -> str | None:
    name = f"instance {one.instance_id}"
    if one.phase == "retiring":
        return f"{name} is being terminated" if one.instance_id else None
    if one.outdated_until is not None:
        return f"{name} takes no new jobs, since compute environment {view.name} was updated; it goes when it has none"
    if not one.active:
        return f"{name} takes no new jobs, since its container instance is not ACTIVE"
    if one.phase == "asked":
        return f"compute environment {view.name} is launching an instance of type {one.instance_type}"
    if one.phase == "launched":
        seconds = max(0, now - (one.launched_at or now)) // 1000
        return f"{name} launched {seconds} s ago and has not joined its cluster yet"
    if not one.connected:
        return f"the agent of {name} is not connected"
    if one.held_until > now:
        because = f": {one.held_because}" if one.held_because else ""
        return f"{name} is left alone for a moment, since ECS refused a task there{because}"
    return None


def _too_large(view: EnvironmentView, head: Head) -> str:
    wants = f"the job needs {head.cpu / 1024:g} vCPUs and {head.memory_mib} MiB"
    if head.gpus:
        return f"{wants} and {head.gpus} GPUs; compute environment {view.name} has no GPU"
    if not view.managed:
        return f"{wants}; no instance registered in compute environment {view.name} is that large"
    allowed = [one for one in view.types if view.may_exceed or one.vcpus <= view.vcpus_max]
    if not allowed:
        return (
            f"{wants}; compute environment {view.name} allows {view.vcpus_max} vCPUs, less than its smallest type has"
        )
    largest = max(allowed, key=lambda one: (one.memory_mib, one.cpu))
    return (
        f"{wants}; the largest instance that compute environment {view.name} may have ({largest.name}) offers"
        f" {largest.vcpus} vCPUs and {largest.memory_mib} MiB"
    )

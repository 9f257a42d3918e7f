"""The shell around lifecycle.py: a task's step is written down, its instance's account is kept, the world is told.

Every change of a task goes through `apply`, so that the account of its instance and the events can't be forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from longshore.services.ecs import lifecycle, resources, shapes, store, streams
from longshore.services.ecs.records import Standing, Task
from longshore.services.ecs.references import place

if TYPE_CHECKING:
    from longshore.kit.call import Call

TASK_EVENT = "ECS Task State Change"
INSTANCE_EVENT = "ECS Container Instance State Change"
ITSELF, TASKS = "itself", "tasks"


def begin(call: Call, standing: Standing, task: Task) -> Standing:
    """A task that was placed on the instance begins; the instance afterwards."""
    here = place(call)
    store.insert_task(here, task)
    occupancy = replace(
        standing.occupancy,
        remaining=resources.less(standing.occupancy.remaining, task.takes),
        pending=standing.occupancy.pending + 1,
    )
    standing = _occupied(call, replace(standing, occupancy=occupancy))
    announce_task(call, task, standing)
    wake_stream(call, task.container_instance_arn)
    return standing


def apply(call: Call, task: Task, event: lifecycle.Event) -> Task:
    """Takes one step of the task's life and carries out what follows from it; the task afterwards."""
    after, effects = lifecycle.step(task, event, call.now)
    if after is task:
        return task
    here = place(call)
    store.update_task(here, after)
    if after.last_status != task.last_status:
        _account(call, task, after)
    for effect in effects:
        if isinstance(effect, lifecycle.Announce):
            announce_task(call, after)
        elif isinstance(effect, lifecycle.TellAgent):
            wake_stream(call, after.container_instance_arn)
    return after


def _account(call: Call, before: Task, after: Task) -> None:
    standing = store.find_instance(place(call), after.container_instance_id)
    if standing is None:
        return
    occupancy = standing.occupancy
    moved = {before.last_status: -1, after.last_status: 1}
    occupancy = replace(
        occupancy,
        pending=occupancy.pending + moved.get(lifecycle.PENDING, 0),
        running=occupancy.running + moved.get(lifecycle.RUNNING, 0),
    )
    if after.last_status == lifecycle.STOPPED:
        occupancy = replace(occupancy, remaining=resources.more(occupancy.remaining, after.takes))
    _occupied(call, replace(standing, occupancy=occupancy))


def _occupied(call: Call, standing: Standing) -> Standing:
    standing = replace(standing, version=standing.version + 1)
    store.update_occupancy(place(call), standing)
    announce_instance(call, standing, cause=TASKS)
    return standing


def announce_task(call: Call, task: Task, standing: Standing | None = None) -> None:
    if not call.is_heard(TASK_EVENT, lastStatus=task.last_status):
        return
    if standing is not None:
        connectivity = (standing.agent_connected, standing.connectivity_at)
    else:
        connectivity = store.connectivity(place(call), task.container_instance_id)
    call.emit(TASK_EVENT, task.arn, shapes.event_detail(shapes.task(task, connectivity)), source="aws.ecs")


def announce_instance(call: Call, standing: Standing, *, cause: str = ITSELF) -> None:
    """`cause`: what has changed, the instance ITSELF or the TASKS on it alone."""
    if not call.is_heard(INSTANCE_EVENT, cause=cause):
        return
    detail = shapes.event_detail({"clusterArn": standing.instance.cluster_arn, **shapes.container_instance(standing)})
    call.emit(INSTANCE_EVENT, standing.instance.arn, detail, source="aws.ecs")


def change_instance(call: Call, standing: Standing) -> Standing:
    """Writes the instance down as one version more, and tells of it."""
    standing = replace(standing, version=standing.version + 1)
    store.update_instance(place(call), standing)
    announce_instance(call, standing)
    return standing


def instance_gone(call: Call, standing: Standing) -> Standing:
    """Its tasks end, and it is INACTIVE. Whoever calls this knows that nothing runs there any more."""
    event = lifecycle.InstanceGone(standing.instance.ec2_instance_id)
    here = place(call)
    for task, _ in store.live_tasks(here, standing.instance.id):
        apply(call, task, event)
    current = store.find_instance(here, standing.instance.id)
    assert current is not None
    gone = replace(
        current,
        status="INACTIVE",
        agent_connected=False,
        connectivity_at=call.now if current.agent_connected else current.connectivity_at,
        instance=replace(current.instance, gone_at=call.now),
    )
    wake_stream(call, gone.instance.arn)
    return change_instance(call, gone)


def wake_stream(call: Call, container_instance_arn: str) -> None:
    house = call.house
    call.after_commit(lambda: streams.wake(house, container_instance_arn))

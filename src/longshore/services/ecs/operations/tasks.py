"""Tasks: started on instances, stopped, described. A task is placed before it is written down."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from longshore.aws.errors import AwsError
from longshore.aws.principal import service
from longshore.kit.operation import Request, Response, operation
from longshore.services.ecs import changes, lifecycle, placement, references, resources, rules, shapes, store
from longshore.services.ecs.records import Amounts, Cluster, Container, Standing, Task, TaskDefinition
from longshore.services.ecs.references import place
from longshore.services.ecs.rules import client_error, invalid

if TYPE_CHECKING:
    from longshore.kit.call import Call

ECS_TASKS = "ecs-tasks.amazonaws.com"
_COUNT_MAX = 10  # API reference: RunTask up to 10 tasks, StartTask up to 10 instances a call.


class _Order:
    """What is to be started, checked and resolved once for all tasks of a call."""

    def __init__(self, call: Call, request: Request, *, started_by_max: int) -> None:
        self.cluster = references.find_cluster(call, request.get("cluster"))
        self.definition = _usable_definition(call, request["taskDefinition"])
        body = self.definition.body
        rules.check_started_by(request.get("startedBy"), started_by_max)
        self.overrides = rules.check_overrides(request.get("overrides"), body)
        self.containers = resources.effective_containers(body, self.overrides)
        self.need = resources.need(body, self.overrides, self.containers)
        self.group = request.get("group") or f"family:{self.definition.family}"
        self.started_by: str | None = request.get("startedBy")
        self.tags = _tags(call, request, self.definition)
        self.enable_execute_command = bool(request.get("enableExecuteCommand"))
        self.task_role = self._role(call, "taskRoleArn")
        self.execution_role = self._role(call, "executionRoleArn")

    def _role(self, call: Call, member: str) -> str | None:
        """The role that is handed over: the caller must be allowed to pass it, and ECS to take it."""
        reference = self.overrides.get(member) or self.definition.body.get(member)
        if not reference:
            return None
        arn = references.role_arn(call, reference)
        call.require("iam:PassRole", arn, {"iam:PassedToService": ECS_TASKS})
        try:
            call.peer(
                "sts",
                "AssumeRole",
                {"RoleArn": arn, "RoleSessionName": "ecs", "_sourceArn": references.source_arn(call)},
                as_=service(ECS_TASKS, call.account),
            )
        except AwsError as error:
            raise client_error(lifecycle.role_refusal(arn)) from error
        return arn


def _usable_definition(call: Call, reference: str) -> TaskDefinition:
    definition = references.find_definition(call, reference)
    if definition is None:
        raise client_error("TaskDefinition not found.")
    if definition.status != "ACTIVE":
        raise client_error("TaskDefinition is inactive")
    return definition


def _tags(call: Call, request: Request, definition: TaskDefinition) -> dict[str, str]:
    own = rules.check_tags(request.get("tags"), call.via_service)
    if request.get("propagateTags") == "TASK_DEFINITION":
        return {**definition.tags, **own}
    return own


@operation
def start_task(call: Call, request: Request) -> Response:
    """A task on each of the named instances; where it can't be, a failure in place of it."""
    references_ = request["containerInstances"]
    if not references_:
        raise invalid("Container instances cannot be empty.")
    if len(references_) > _COUNT_MAX:
        raise invalid(f"Container instances can have at most {_COUNT_MAX} items.")
    order = _Order(call, request, started_by_max=36)
    tasks: list[Response] = []
    failures: list[Response] = []
    for reference in references_:
        standing = references.find_instance(call, order.cluster, reference)
        if standing is None:
            arn = references.container_instance_arn(call, order.cluster.name, reference)
            failures.append({"arn": arn, "reason": "MISSING"})
            continue
        refusal = placement.unfit(standing, order.need, order.definition.requires_attributes)
        if refusal is not None:
            failures.append(_failure(refusal))
            continue
        tasks.append(_start(call, order, standing)[0])
    return {"tasks": tasks, "failures": failures}


@operation
def run_task(call: Call, request: Request) -> Response:
    """`count` tasks where they fit. The same client token again gives the same tasks again."""
    count = request.get("count")
    count = 1 if count is None else count
    if not 1 <= count <= _COUNT_MAX:
        raise invalid(f"Count should be between 1 and {_COUNT_MAX}.")
    if request.get("launchType") in ("FARGATE", "EXTERNAL", "MANAGED_INSTANCES"):
        raise AwsError(
            "UnsupportedFeatureException", f"The launch type {request['launchType']} isn't supported by this endpoint."
        )
    token = request.get("clientToken")
    asked = _fingerprint(request)
    if token:
        known = store.find_token(place(call), token)
        if known is not None:
            return _repeated(call, known, asked)
    order = _Order(call, request, started_by_max=128)
    wish = placement.Wish(
        need=order.need,
        group=order.group,
        attributes=order.definition.requires_attributes,
        constraints=[
            *order.definition.body.get("placementConstraints", ()),
            *(request.get("placementConstraints") or ()),
        ],
        strategies=request.get("placementStrategy") or (),
    )
    candidates = _candidates(call, order.cluster)
    if not candidates:
        # Seen in users' reports (ECS developer guide, "API failures"): an empty cluster is no failure but an error.
        raise invalid("No Container Instances were found in your cluster.")
    tasks: list[Response] = []
    started: list[str] = []
    failures: list[Response] = []
    for _ in range(count):
        found = placement.place(wish, candidates, lambda n: int(call.ids.hex(8), 16) % n)
        if isinstance(found, list):
            failures.extend(_failure(refusal) for refusal in found)
            break
        shown, task, standing = _start(call, order, found.standing)
        tasks.append(shown)
        started.append(task.id)
        after = placement.Candidate(standing, (*found.groups, order.group))
        candidates = [after if each is found else each for each in candidates]
    if token:
        store.put_token(place(call), token, asked, started, call.now)
    return {"tasks": tasks, "failures": failures}


def _candidates(call: Call, cluster: Cluster) -> list[placement.Candidate]:
    here = place(call)
    found = []
    for _, standing in store.instances_of_cluster(here, cluster.name):
        groups: tuple[str, ...] = ()
        if standing.occupancy.running + standing.occupancy.pending > 0:
            groups = tuple(task.group for task, _ in store.live_tasks(here, standing.instance.id))
        found.append(placement.Candidate(standing, groups))
    return found


def _fingerprint(request: Request) -> bytes:
    return msgspec.json.encode({key: request[key] for key in sorted(request) if key != "clientToken"})


def _repeated(call: Call, known: tuple[bytes, list[str]], asked: bytes) -> Response:
    before, task_ids = known
    if before != asked:
        raise AwsError(
            "ConflictException",
            "The request could not be processed because of conflict in the current state of the resource.",
            fields={"resourceIds": task_ids},
        )
    found = [store.find_task(place(call), task_id) for task_id in task_ids]
    return {"tasks": [_shown(call, task) for task in found if task is not None], "failures": []}


def _failure(refusal: placement.Refusal) -> Response:
    return {"arn": refusal.arn, "reason": refusal.reason, "detail": refusal.detail}


def _start(call: Call, order: _Order, standing: Standing) -> tuple[Response, Task, Standing]:
    task = _task(call, order, standing)
    standing = changes.begin(call, standing, task)
    return shapes.task(task, (standing.agent_connected, standing.connectivity_at)), task, standing


def _task(call: Call, order: _Order, standing: Standing) -> Task:
    instance, cluster, definition = standing.instance, order.cluster, order.definition
    task_id = call.ids.hex(32)
    attributes = {attribute["name"]: attribute.get("value") for attribute in instance.attributes}
    takes = resources.chosen(standing.occupancy.remaining, order.need)
    cpu = order.overrides.get("cpu") or definition.body.get("cpu")
    memory = order.overrides.get("memory") or definition.body.get("memory")
    return Task(
        id=task_id,
        arn=call.arn(f"task/{cluster.name}/{task_id}"),
        cluster=cluster.name,
        cluster_arn=cluster.arn,
        task_definition_arn=definition.arn,
        family=definition.family,
        revision=definition.revision,
        container_instance_id=instance.id,
        container_instance_arn=instance.arn,
        ec2_instance_id=instance.ec2_instance_id,
        availability_zone=attributes.get("ecs.availability-zone"),
        cpu_architecture=attributes.get("ecs.cpu-architecture"),
        containers=tuple(_containers(call, order, cluster, task_id, takes)),
        takes=takes,
        created_at=call.now,
        cpu=resources.cpu_units(cpu) if cpu else None,
        memory=resources.memory_mib(memory) if memory else None,
        group=order.group,
        started_by=order.started_by,
        overrides=order.overrides,
        tags=order.tags,
        enable_execute_command=order.enable_execute_command,
        task_role_arn=order.task_role,
        execution_role_arn=order.execution_role,
        task_credentials_id=call.ids.uuid() if order.task_role else None,
        execution_credentials_id=call.ids.uuid() if order.execution_role else None,
    )


def _containers(call: Call, order: _Order, cluster: Cluster, task_id: str, takes: Amounts) -> Iterable[Container]:
    gpus = list(takes.gpus)
    for container in order.containers:
        count = resources.gpu_count(container)
        own, gpus = gpus[:count], gpus[count:]
        yield Container(
            name=container["name"],
            arn=call.arn(f"container/{cluster.name}/{task_id}/{call.ids.uuid()}"),
            image=container["image"],
            essential=container.get("essential", True),
            cpu=container.get("cpu") or 0,
            memory=container.get("memory"),
            memory_reservation=container.get("memoryReservation"),
            gpu_ids=tuple(own),
        )


@operation
def stop_task(call: Call, request: Request) -> Response:
    """desiredStatus STOPPED at once; lastStatus when the agent says so. What has ended stays as it is."""
    cluster = references.find_cluster(call, request.get("cluster"))
    task = references.find_task(call, cluster, request["task"])
    if task is None:
        raise invalid("The referenced task was not found.")
    event = lifecycle.StopWanted(reason=request.get("reason") or "Task stopped by user")
    return {"task": _shown(call, changes.apply(call, task, event))}


@operation
def describe_tasks(call: Call, request: Request) -> Response:
    cluster = references.find_cluster(call, request.get("cluster"))
    asked = request["tasks"]
    if not asked:
        raise invalid("Tasks cannot be empty.")
    if len(asked) > 100:
        raise invalid("Tasks can have at most 100 items.")
    include = request.get("include") or ()
    here = place(call)
    connectivity: dict[str, Any] = {}
    found, failures = [], []
    for reference in asked:
        task = references.find_task(call, cluster, reference)
        if task is None:
            failures.append({"arn": references.task_arn(call, cluster.name, reference), "reason": "MISSING"})
            continue
        instance_id = task.container_instance_id
        if instance_id not in connectivity:
            connectivity[instance_id] = store.connectivity(here, instance_id)
        found.append(shapes.task(task, connectivity[instance_id], include))
    return {"tasks": found, "failures": failures}


@operation
def list_tasks(call: Call, request: Request) -> Response:
    """ARNs, oldest first; of those whose desiredStatus is RUNNING if nothing else is asked."""
    cluster = references.find_cluster(call, request.get("cluster"))
    if request.get("serviceName"):
        raise AwsError("ServiceNotFoundException", "Service not found.")
    size = references.page(request.get("maxResults"))
    if request.get("launchType") not in (None, "EC2"):
        return {"taskArns": []}
    instance_id = None
    if request.get("containerInstance"):
        standing = references.find_instance(call, cluster, request["containerInstance"])
        if standing is None:
            raise invalid("Referenced container instance not found.")
        instance_id = standing.instance.id
    rows = store.list_tasks(
        place(call),
        cluster=cluster.name,
        desired_status=request.get("desiredStatus") or "RUNNING",
        family=request.get("family"),
        container_instance=instance_id,
        started_by=request.get("startedBy"),
        after=references.position_of(request.get("nextToken")),
        limit=size + 1,
    )
    return {
        "taskArns": [call.arn(f"task/{name}/{task_id}") for _, name, task_id in rows[:size]],
        "nextToken": str(rows[size - 1][0]) if len(rows) > size else None,
    }


def _shown(call: Call, task: Task) -> Response:
    return shapes.task(task, store.connectivity(place(call), task.container_instance_id))

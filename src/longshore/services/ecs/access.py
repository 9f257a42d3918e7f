"""What each operation asks of its caller.

Source: service authorization reference, "Actions, resources, and condition keys for Amazon Elastic Container Service".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.access import Access, Context, Question, pass_role, tag_context
from longshore.kit.operation import Request
from longshore.services.ecs import agents, references, rules, store
from longshore.services.ecs.operations.tags import tags_of

if TYPE_CHECKING:
    from longshore.kit.call import Call

ECS_TASKS = "ecs-tasks.amazonaws.com"

Resources = Callable[["Call", Request], Iterable[str]]


def _cluster(call: Call, request: Request) -> Iterable[str]:
    return [references.cluster_arn(call, request.get("cluster"))]


def _clusters(call: Call, request: Request) -> Iterable[str]:
    return [references.cluster_arn(call, each) for each in request.get("clusters") or ["default"]]


def _new_cluster(call: Call, request: Request) -> Iterable[str]:
    return [references.cluster_arn(call, request.get("clusterName"))]


def _instances(call: Call, request: Request) -> Iterable[str]:
    cluster = request.get("cluster")
    return [references.container_instance_arn(call, cluster, each) for each in request["containerInstances"]]


def _instance(call: Call, request: Request) -> Iterable[str]:
    reference = request.get("containerInstance")
    return [references.container_instance_arn(call, request.get("cluster"), reference)] if reference else ["*"]


def _targets(call: Call, request: Request) -> Iterable[str]:
    cluster = request.get("cluster")
    return [
        references.container_instance_arn(call, cluster, each["targetId"]) if each.get("targetId") else "*"
        for each in request["attributes"]
    ]


def _definition(call: Call, request: Request) -> Iterable[str]:
    return [references.task_definition_arn(call, request["taskDefinition"])]


def _new_definition(call: Call, request: Request) -> Iterable[str]:
    return [call.arn(f"task-definition/{request['family']}:*")]


def _task(call: Call, request: Request) -> Iterable[str]:
    return [references.task_arn(call, request.get("cluster"), request["task"])]


def _tasks(call: Call, request: Request) -> Iterable[str]:
    return [references.task_arn(call, request.get("cluster"), each) for each in request["tasks"]]


def _services(call: Call, request: Request) -> Iterable[str]:
    name = references.cluster_name(request.get("cluster"))
    return [
        each if each.startswith("arn:") else call.arn(f"service/{name}/{each}", service="ecs")
        for each in request["services"]
    ]


def _tagged(call: Call, request: Request) -> Iterable[str]:
    return [request["resourceArn"]]


def _in_cluster(call: Call, request: Request) -> Context:
    return {"ecs:cluster": references.cluster_arn(call, request.get("cluster")), **_with_tags(call, request)}


def _started(call: Call, request: Request) -> Context:
    instances = [
        references.container_instance_arn(call, request.get("cluster"), each) for each in request["containerInstances"]
    ]
    return {**_in_cluster(call, request), "ecs:container-instances": instances}


def _with_tags(call: Call, request: Request) -> Context:
    return tag_context(_tag_map(call, request))


def _with_tag_keys(call: Call, request: Request) -> Context:
    return {"aws:TagKeys": list(request["tagKeys"])}


def _tag_map(call: Call, request: Request) -> Mapping[str, str]:
    """What the caller asks for. Tags of its own that a service sets for him are not his to be allowed."""
    return {
        tag["key"]: tag.get("value") or ""
        for tag in request.get("tags") or ()
        if tag.get("key") and not rules.is_own(tag["key"], call.via_service)
    }


def _tags_at_creation(resource: Resources) -> Callable[[Call, Request], Iterable[Question]]:
    """Who tags what he makes needs ecs:TagResource too (developer guide, "Tag resources during creation")."""

    def ask(call: Call, request: Request) -> Iterable[Question]:
        if not _tag_map(call, request):
            return
        context: dict[str, Any] = {**_with_tags(call, request), "ecs:CreateAction": call.operation}
        for arn in resource(call, request):
            yield Question("ecs:TagResource", arn, context)

    return ask


def _new_task(call: Call, request: Request) -> Iterable[str]:
    return [call.arn(f"task/{references.cluster_name(request.get('cluster'))}/*", service="ecs")]


def _new_instance(call: Call, request: Request) -> Iterable[str]:
    return [call.arn(f"container-instance/{references.cluster_name(request.get('cluster'))}/*", service="ecs")]


def _passes_roles(call: Call, request: Request) -> Iterable[Question]:
    """The roles that a definition hands to its tasks. Those of RunTask and StartTask are asked there: the definition
    must be read for them."""
    for member in ("taskRoleArn", "executionRoleArn"):
        if request.get(member):
            yield pass_role(references.role_arn(call, request[member]), ECS_TASKS)
    yield from _tags_at_creation(_new_definition)(call, request)


# The two streams. Their requests are the query strings of their handshakes; what is refused here is refused by HTTP,
# before a socket is open, in the form that the original agent understands.


def _polled(call: Call, request: Request) -> Iterable[str]:
    return [request["containerInstanceArn"]]


def _measured(call: Call, request: Request) -> Iterable[str]:
    return [request["containerInstance"]]


def _polled_cluster(call: Call, request: Request) -> Context:
    return {"ecs:cluster": references.cluster_arn(call, request.get("clusterArn"))}


def _own_stream(arn_of: Resources) -> Callable[[Call, Request], Iterable[Question]]:
    """Nothing more is asked of policies; but a stream is for the instance itself alone, and not for a deregistered one.

    InactiveInstanceException makes the original agent wait an hour, so it is said only to those.
    """

    def check(call: Call, request: Request) -> Iterable[Question]:
        (arn,) = arn_of(call, request)
        region = arn.split(":")[3] if arn.count(":") >= 5 else call.region
        here = store.Place(call.transaction, call.account, region)
        standing = store.find_instance(here, references.last_part(arn))
        if standing is None or standing.instance.arn != arn:
            raise AwsError("InvalidInstanceException", f"There is no container instance {arn}.")
        agents.must_be_own(call, standing.instance)
        if standing.status == "INACTIVE":
            raise AwsError("InactiveInstanceException", f"The container instance {arn} was deregistered.")
        return ()

    return check


_ANY = Access()
_TAGS = Access(_tagged, _with_tags)

_ROWS: dict[str, Access] = {
    # clusters
    "CreateCluster": Access(_new_cluster, _with_tags, _tags_at_creation(_new_cluster)),
    "DescribeClusters": Access(_clusters),
    "ListClusters": _ANY,
    "UpdateCluster": Access(_cluster),
    "UpdateClusterSettings": Access(_cluster),
    "DeleteCluster": Access(_cluster),
    # task definitions
    "RegisterTaskDefinition": Access(_new_definition, _with_tags, _passes_roles),
    "DescribeTaskDefinition": _ANY,
    "DeregisterTaskDefinition": _ANY,
    "ListTaskDefinitions": _ANY,
    "ListTaskDefinitionFamilies": _ANY,
    # container instances
    "RegisterContainerInstance": Access(_cluster, _with_tags, _tags_at_creation(_new_instance)),
    "DeregisterContainerInstance": Access(_cluster),
    "DescribeContainerInstances": Access(_instances, _in_cluster),
    "ListContainerInstances": Access(_cluster),
    "UpdateContainerInstancesState": Access(_instances, _in_cluster),
    "UpdateContainerAgent": Access(_instance, _in_cluster),
    "DiscoverPollEndpoint": _ANY,
    "PutAttributes": Access(_targets, _in_cluster),
    "DeleteAttributes": Access(_targets, _in_cluster),
    "ListAttributes": Access(_cluster),
    # tasks
    "RunTask": Access(_definition, _in_cluster, _tags_at_creation(_new_task)),
    "StartTask": Access(_definition, _started, _tags_at_creation(_new_task)),
    "StopTask": Access(_task, _in_cluster),
    "DescribeTasks": Access(_tasks, _in_cluster),
    "ListTasks": Access(_instance, _in_cluster),
    # agents
    "Poll": Access(_polled, _polled_cluster, _own_stream(_polled)),
    "StartTelemetrySession": Access(_measured, _in_cluster, _own_stream(_measured)),
    "SubmitTaskStateChange": Access(_cluster),
    "SubmitContainerStateChange": Access(_cluster),
    "SubmitAttachmentStateChanges": Access(_cluster),
    # the rest
    "ListTagsForResource": Access(_tagged),
    "TagResource": _TAGS,
    "UntagResource": Access(_tagged, _with_tag_keys),
    "ListAccountSettings": _ANY,
    "PutAccountSetting": _ANY,
    "PutAccountSettingDefault": _ANY,
    "DeleteAccountSetting": _ANY,
    "ListServices": _ANY,
    "DescribeServices": Access(_services, _in_cluster),
}
# Every resource may have tags, which are looked up when a policy asks for one.
ACCESS = {name: replace(row, tags_of=tags_of) for name, row in _ROWS.items()}

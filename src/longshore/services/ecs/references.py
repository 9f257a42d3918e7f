"""Names and ARNs: clusters, task definitions, tasks and container instances as requests name them.

Source: ECS API reference, "cluster: the short name or full ARN", and the forms of ARNs in the service authorization
reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longshore.aws.errors import AwsError
from longshore.services.ecs import store
from longshore.services.ecs.records import Cluster, Standing, Task, TaskDefinition

if TYPE_CHECKING:
    from longshore.kit.call import Call

CLUSTER_NOT_FOUND = "Cluster not found."


def place(call: Call) -> store.Place:
    return store.Place(call.transaction, call.account, call.region)


def cluster_name(reference: str | None) -> str:
    """Of a name or an ARN; nothing is the cluster `default`."""
    return reference.rpartition("cluster/")[2] if reference else "default"


def cluster_arn(call: Call, reference: str | None) -> str:
    """As policies are asked about it: what was sent, if it was an ARN."""
    if reference and reference.startswith("arn:"):
        return reference
    return call.arn(f"cluster/{cluster_name(reference)}", service="ecs")


def is_foreign(call: Call, arn: str) -> bool:
    """An ARN of another account or region, which has nothing here."""
    parts = arn.split(":", 5)
    return len(parts) < 6 or parts[3] != call.region or parts[4] != call.account


def find_cluster(call: Call, reference: str | None) -> Cluster:
    """ClusterNotFoundException: there is none, or it was deleted."""
    foreign = bool(reference) and str(reference).startswith("arn:") and is_foreign(call, str(reference))
    cluster = None if foreign else store.find_cluster(place(call), cluster_name(reference))
    if cluster is None:
        raise AwsError("ClusterNotFoundException", CLUSTER_NOT_FOUND)
    if cluster.status != "ACTIVE":
        raise AwsError("ClusterNotFoundException", "The referenced cluster was inactive.")
    return cluster


def last_part(reference: str) -> str:
    """The id of a task or container instance named by id, by long ARN or by the older ARN without a cluster."""
    return reference.rpartition("/")[2]


def container_instance_arn(call: Call, cluster: str | None, reference: str) -> str:
    if reference.startswith("arn:"):
        return reference
    return call.arn(f"container-instance/{cluster_name(cluster)}/{reference}", service="ecs")


def task_arn(call: Call, cluster: str | None, reference: str) -> str:
    if reference.startswith("arn:"):
        return reference
    return call.arn(f"task/{cluster_name(cluster)}/{reference}", service="ecs")


def find_instance(call: Call, cluster: Cluster, reference: str) -> Standing | None:
    """The container instance of that cluster; an INACTIVE one too."""
    if reference.startswith("arn:") and is_foreign(call, reference):
        return None
    found = store.find_instance(place(call), last_part(reference))
    return found if found is not None and found.instance.cluster == cluster.name else None


def find_task(call: Call, cluster: Cluster, reference: str) -> Task | None:
    if reference.startswith("arn:") and is_foreign(call, reference):
        return None
    found = store.find_task(place(call), last_part(reference))
    return found if found is not None and found.cluster == cluster.name else None


def family_and_revision(reference: str) -> tuple[str, int | None]:
    """Of `family`, `family:3` or an ARN. Revision None: the newest. A revision that is no number is -1: it is none."""
    name = reference.rpartition("task-definition/")[2]
    family, colon, revision = name.partition(":")
    if not colon:
        return family, None
    return family, int(revision) if revision.isascii() and revision.isdigit() and len(revision) < 18 else -1


def task_definition_arn(call: Call, reference: str) -> str:
    """As policies are asked about it; of a family alone, its newest revision."""
    if reference.startswith("arn:"):
        return reference
    family, revision = family_and_revision(reference)
    if revision is None:
        found = store.find_definition(place(call), family, None)
        revision = found.revision if found is not None else None
    return call.arn(f"task-definition/{family}:{'*' if revision is None else revision}", service="ecs")


def find_definition(call: Call, reference: str) -> TaskDefinition | None:
    if reference.startswith("arn:") and is_foreign(call, reference):
        return None
    return store.find_definition(place(call), *family_and_revision(reference))


def role_arn(call: Call, reference: str) -> str:
    """Task definitions may name a role by its name alone."""
    return reference if reference.startswith("arn:") else f"arn:aws:iam::{call.account}:role/{reference}"


def source_arn(call: Call) -> str:
    """For what ECS takes the roles of tasks (aws:SourceArn).

    ECS developer guide, "Task IAM role": trust policies name the account and the region; a cluster can't be told apart.
    """
    return call.arn("*", service="ecs")


def page(call_size: Any, most: int = 100) -> int:
    """maxResults as it holds: 1 to `most`; more or less is answered with `most`."""
    return int(call_size) if call_size and 1 <= int(call_size) <= most else most


def position_of(token: str | None) -> int:
    """Where a page begins. InvalidParameterException: the token is none of ours."""
    if not token:
        return 0
    if not (token.isascii() and token.isdigit() and len(token) < 18):
        raise AwsError("InvalidParameterException", "Invalid token")
    return int(token)

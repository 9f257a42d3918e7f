"""Compute environments made ready and taken down: what `prepare` and `dismantle` intend.

Everything that can make an environment INVALID is really tried here, as the session of its service role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.services.batch import acting, chain, further, life, news, roles, rules, store, troubles
from longshore.services.batch.acting import within
from longshore.services.batch.further import SERVICE_TAG
from longshore.services.batch.records import Environment, Instance, Intent
from longshore.services.batch.troubles import Later

if TYPE_CHECKING:
    from longshore.kit.call import Call

# Batch user guide, "INVALID compute environment": unlike the other texts there, without `CLIENT_ERROR - ` before it.
NONE_JOINED = (
    "Your compute environment has been INVALIDATED and scaled down because none of the instances joined the underlying ECS"
    " Cluster. Common issues preventing instances joining are the following: VPC/Subnet configuration preventing"
    " communication to ECS, incorrect Instance Profile policy preventing authorization to ECS, or customized AMI or"
    " LaunchTemplate configurations affecting ECS agent."
)
_TRIES_MAX = 8  # in which a cluster must let itself be deleted; about half a minute


class _Invalid(Exception):
    """What the environment was given can't be used; the text is AWS's."""


def is_linked(environment: Environment) -> bool:
    """Whether Batch's own service-linked role serves it. That one demands tags which ordinary roles need not allow."""
    return rules.SERVICE_LINKED in environment.service_role


# --- prepare ---


def prepare(call: Call, intent: Intent) -> Later | None:
    """Afterwards the environment is VALID, or INVALID and says why. Done again, it finds its cluster there."""
    environment = store.environment(call.transaction, intent.subject)
    if environment is None or environment.status == "DELETING":
        return None
    try:
        cluster_arn = call.transaction.savepoint(lambda: _make_ready(call, environment))
    except _Invalid as invalid:
        _become_invalid(call, environment, f"CLIENT_ERROR - {invalid}")
        return None
    except AwsError as error:
        if (error.status or 400) >= 500:
            return troubles.later(intent.tries)
        _become_invalid(call, environment, f"CLIENT_ERROR - {error.message}")
        return None
    ready = replace(environment, status="VALID", cluster_arn=cluster_arn, tries=0)
    if environment.status != "VALID":
        # One that was VALID and is looked at again keeps its troubles: they end when what they say no longer holds.
        ready = replace(ready, status_reason=troubles.HEALTHY, troubles=())
    store.save_environment(call.transaction, ready)
    news.environment_changed(call, environment.number)
    return None


def _become_invalid(call: Call, environment: Environment, reason: str) -> None:
    invalid = replace(environment, status="INVALID", status_reason=reason, tries=environment.tries + 1)
    store.save_environment(call.transaction, invalid)
    news.environment_changed(call, environment.number)


def _make_ready(call: Call, environment: Environment) -> str:
    """The ARN of its cluster. AwsError or _Invalid: it can't be."""
    session = acting.session(call, environment)
    if environment.resources is not None:
        _check_resources(call, environment.resources, session)
    further.require(call, "prepare", environment, session)
    if environment.cluster_arn is not None:
        _check_cluster(call, environment.cluster_arn, session)
        return environment.cluster_arn
    request: dict[str, Any] = {"clusterName": cluster_name(environment)}
    if is_linked(environment):
        request["tags"] = [{"key": key, "value": value} for key, value in SERVICE_TAG.items()]
    insights = (environment.ecs_settings or {}).get("containerInsights")
    if insights:
        request["settings"] = [{"name": "containerInsights", "value": insights.lower()}]
    cluster_arn: str = call.peer("ecs", "CreateCluster", request, as_=session)["cluster"]["clusterArn"]
    return cluster_arn


def cluster_name(environment: Environment) -> str:
    """As Batch names clusters, by the kind of its role: the service-linked one may only touch `AWSBatch*`."""
    if is_linked(environment):
        return f"AWSBatch-{environment.name}-{environment.uuid}"
    return f"{environment.name}_Batch_{environment.uuid}"


def _check_resources(call: Call, resources: dict[str, Any], session: Principal) -> None:
    name_or_arn = resources["instanceRole"]
    if roles.find_profile(call, name_or_arn, as_=session) is None:
        # Netflix/metaflow-tools#9; by ARN: users' reports, batch.md 3.3.
        raise _Invalid(
            f"Instance profile {name_or_arn} does not exist"
            if name_or_arn.startswith("arn:")
            else f"Invalid IamInstanceProfile: {name_or_arn}"
        )
    call.peer("ec2", "DescribeSubnets", {"SubnetIds": resources["subnets"]}, as_=session)
    call.peer("ec2", "DescribeSecurityGroups", {"GroupIds": resources["securityGroupIds"]}, as_=session)
    images = [
        entry["imageIdOverride"] for entry in resources.get("ec2Configuration") or () if entry.get("imageIdOverride")
    ]
    if resources.get("imageId"):
        images.append(resources["imageId"])
    if images:
        call.peer("ec2", "DescribeImages", {"ImageIds": list(dict.fromkeys(images))}, as_=session)


def _check_cluster(call: Call, cluster_arn: str, session: Principal) -> None:
    found = call.peer("ecs", "DescribeClusters", {"clusters": [cluster_arn]}, as_=session)["clusters"]
    if not any(cluster["status"] == "ACTIVE" for cluster in found):
        raise _Invalid("Clusters can not be blank.")  # Seen when a cluster was deleted behind Batch's back.


# --- give up ---


def give_up(call: Call, environment: Environment) -> None:
    """None of its instances has joined: it is INVALID, and they end. Mended and updated, it begins anew."""
    given_up = replace(environment, status="INVALID", status_reason=NONE_JOINED, troubles=())
    store.save_environment(call.transaction, given_up)
    news.environment_changed(call, environment.number)
    _end_instances(call, given_up)


def is_given_up(environment: Environment) -> bool:
    """Such a one does not come back by itself: whether its instances would join now can't be told without launching them."""
    return environment.status == "INVALID" and environment.status_reason.endswith(NONE_JOINED)


def status_reason(call: Call, environment: Environment) -> str:
    """As it is shown: one whose instances can't join, as roles stand now, is not called healthy for that it is VALID.

    AWS tells so only when it gives the environment up.
    """
    if environment.status != "VALID" or environment.status_reason != troubles.HEALTHY or environment.type != "MANAGED":
        return environment.status_reason
    for one in store.instances_of(call.transaction, environment.number):
        is_absent = one.phase == "launched" or (one.phase == "joined" and not one.connected)
        if not is_absent or one.outdated_at is not None:
            continue
        inner = within(call, environment.account, environment.region)
        sure = [broken for broken in chain.diagnose(inner, environment, one) if not broken.unsure]
        if sure or one.refusal:
            return f"CLIENT_ERROR - {sure[0].text if sure else one.refusal}"
    return environment.status_reason


# --- dismantle ---


def dismantle(call: Call, intent: Intent) -> Later | None:
    """Its instances end, then its cluster, then itself. Done again, it goes on where it stands."""
    environment = store.environment(call.transaction, intent.subject)
    if environment is None or environment.status != "DELETING":
        return None
    try:
        session = acting.session(call, environment)
        further.require(call, "dismantle", environment, session)
        if _end_instances(call, environment):
            return Later(60_000)  # The end of an instance hastens this.
        if environment.cluster_arn is not None:
            call.peer("ecs", "DeleteCluster", {"cluster": environment.cluster_arn}, as_=session)
    except AwsError as error:
        return _undeleted(call, environment, intent, error)
    store.delete_environment(call.transaction, environment.number)
    news.environment_changed(call, environment.number)
    return None


def _end_instances(call: Call, environment: Environment) -> bool:
    """Asks for the end of each that there is; whether any is left. An unmanaged environment's are not Batch's to end."""
    left = False
    for one in store.instances_of(call.transaction, environment.number):
        if one.instance_id is None or environment.type != "MANAGED":
            _drop(call, one)
            continue
        left = True
        if one.phase != "retiring":
            store.save_instance(call.transaction, replace(one, phase="retiring"))
            life.intend(call, one.account, one.region, "terminate", one.number)
            news.instance_changed(call, one.environment, one.number)
    return left


def _drop(call: Call, one: Instance) -> None:
    """The row of an instance that was not launched, or that is not Batch's own."""
    for intent in store.intents_of(call.transaction, "launch", one.number):
        store.delete_intent(call.transaction, intent.number)
    store.delete_instance(call.transaction, one.number)
    news.instance_changed(call, one.environment, one.number)


def _undeleted(call: Call, environment: Environment, intent: Intent, error: AwsError) -> Later | None:
    """A cluster that is not empty yet is tried again for a while. Else the environment is INVALID: mend it, delete again."""
    if error.code == "ClusterNotFoundException":
        store.delete_environment(call.transaction, environment.number)
        news.environment_changed(call, environment.number)
        return None
    if error.code.startswith("ClusterContains") and intent.tries < _TRIES_MAX:
        return Later(100 * 2**intent.tries)
    if (error.status or 400) >= 500:
        return troubles.later(intent.tries)
    _become_invalid(call, environment, f"CLIENT_ERROR - {error.message}")
    return None

"""Instances of compute environments: launched, terminated, gone."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.services.batch import acting, further, life, lifecycle, news, snapshots, store, troubles
from longshore.services.batch.acting import within
from longshore.services.batch.further import SERVICE_TAG
from longshore.services.batch.records import Environment, Instance, Intent, Wire
from longshore.services.batch.scheduling.capacity import RESERVED_MIB, expand
from longshore.services.batch.troubles import Later

if TYPE_CHECKING:
    from longshore.kit.call import Call

# API reference, Ec2Configuration, imageType -> names of the images that AWS publishes for it.
_IMAGE_NAMES = {
    "ECS_AL2": "amzn2-ami-ecs-hvm-*",
    "ECS_AL2_NVIDIA": "amzn2-ami-ecs-hvm-*",
    "ECS_AL2023": "al2023-ami-ecs-hvm-*",
    "ECS_AL2023_NVIDIA": "al2023-ami-ecs-hvm-*",
}
_NO_CAPACITY = "InsufficientInstanceCapacity"


# --- launch ---


def launch(call: Call, intent: Intent) -> Later | None:
    """Runs the instance under the intent's token. Refused, the wish is dropped: the scheduler makes a new one in time."""
    one = store.instance(call.transaction, intent.subject)
    if one is None or one.phase != "asked":
        return None
    environment = store.environment(call.transaction, one.environment)
    if environment is None or environment.status != "VALID" or not _is_wanted(call, environment, one):
        _drop(call, one)
        return None
    try:
        instance_id = call.transaction.savepoint(lambda: _run(call, environment, environment.resources or {}, one))
    except AwsError as error:
        if (error.status or 400) >= 500 and error.code != _NO_CAPACITY:
            return troubles.later(intent.tries)
        _drop(call, one)
        if error.code == _NO_CAPACITY:
            troubles.add(call, environment, "capacity", error.message, one.instance_type)
        else:
            code = "permissions" if troubles.is_refusal(error) else "launch"
            troubles.add(call, environment, code, error.message)
        return None
    launched = replace(one, phase="launched", instance_id=instance_id, launched_at=milliseconds(call.now))
    store.save_instance(call.transaction, launched)
    troubles.end(call, environment, "permissions", "launch")
    news.instance_changed(call, environment.number, one.number)
    return None


def _is_wanted(call: Call, environment: Environment, one: Instance) -> bool:
    """Whether the environment still wants instances of the type: it may have been updated since the decision."""
    wanted = (environment.resources or {}).get("instanceTypes") or ()
    return any(one.instance_type == each.name for each in expand(wanted, snapshots.catalogue(call)))


def _drop(call: Call, one: Instance) -> None:
    store.delete_instance(call.transaction, one.number)
    news.environment_changed(call, one.environment)


def _run(call: Call, environment: Environment, resources: Wire, one: Instance) -> str:
    """The id of the instance. AwsError, as EC2 answers it."""
    session = acting.session(call, environment)
    further.require(call, "launch", environment, session)
    profile = resources["instanceRole"]
    subnets = resources["subnets"]
    tags = {**(resources.get("tags") or {}), **SERVICE_TAG}
    request: dict[str, Any] = {
        "ClientToken": one.token,
        "MinCount": 1,
        "MaxCount": 1,
        "ImageId": _image(call, resources, one.instance_type, session),
        "InstanceType": one.instance_type,
        "SubnetId": subnets[one.number % len(subnets)],
        "SecurityGroupIds": resources["securityGroupIds"],
        "IamInstanceProfile": {"Arn" if profile.startswith("arn:") else "Name": profile},
        "UserData": base64.b64encode(user_data(environment).encode()).decode(),
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
    }
    if resources.get("ec2KeyPair"):
        request["KeyName"] = resources["ec2KeyPair"]
    if resources["type"] == "SPOT":
        request["InstanceMarketOptions"] = {"MarketType": "spot"}
    answer = call.peer("ec2", "RunInstances", request, as_=session)
    instance_id: str = answer["Instances"][0]["InstanceId"]
    return instance_id


def user_data(environment: Environment) -> str:
    """What an ECS-optimised image needs to join the environment's cluster, as large as the scheduler expects it."""
    cluster = (environment.cluster_arn or "").rpartition("/")[2]
    settings = {"ECS_CLUSTER": cluster, "ECS_RESERVED_MEMORY": str(RESERVED_MIB)}
    lines = [f"echo {key}={value} >> /etc/ecs/ecs.config" for key, value in settings.items()]
    return "\n".join(["#!/bin/bash", *lines, ""])


def _image(call: Call, resources: Wire, instance_type: str, session: Principal) -> str:
    """User guide, "AMI selection order": imageIdOverride, then imageId, then the newest of the image type."""
    configuration = (resources.get("ec2Configuration") or [{}])[0]
    given: str | None = configuration.get("imageIdOverride") or resources.get("imageId")
    if given:
        return given
    kind = call.peer("ec2", "DescribeInstanceTypes", {"InstanceTypes": [instance_type]}, as_=call.as_service())
    architecture = kind["InstanceTypes"][0]["ProcessorInfo"]["SupportedArchitectures"][0]
    name = _IMAGE_NAMES[configuration.get("imageType") or "ECS_AL2023"]
    request = {
        "Owners": ["amazon"],
        "Filters": [
            {"Name": "name", "Values": [name]},
            {"Name": "architecture", "Values": [architecture]},
            {"Name": "state", "Values": ["available"]},
        ],
    }
    images = call.peer("ec2", "DescribeImages", request, as_=session)["Images"]
    if not images:
        raise AwsError("InvalidAMIID.NotFound", f"There is no image named {name} for {architecture}")
    newest: str = max(images, key=lambda image: str(image["CreationDate"]))["ImageId"]
    return newest


# --- terminate ---


def terminate(call: Call, intent: Intent) -> Later | None:
    """Ends the instance. Its row goes when EC2 says that it is terminated."""
    one = store.instance(call.transaction, intent.subject)
    if one is None:
        return None
    environment = store.environment(call.transaction, one.environment)
    if one.instance_id is None or environment is None:
        _drop(call, one)
        return None
    try:
        session = acting.session(call, environment)
        further.require(call, "terminate", environment, session)
        call.peer("ec2", "TerminateInstances", {"InstanceIds": [one.instance_id]}, as_=session)
    except AwsError as error:
        if error.code == "InvalidInstanceID.NotFound":
            gone(call, one)
            return None
        if troubles.is_refusal(error):
            troubles.add(call, environment, "permissions", error.message)
        return troubles.later(intent.tries)
    troubles.end(call, environment, "permissions")
    return None


def retire(call: Call, one: Instance) -> None:
    """The instance takes no more jobs, and the intent to terminate it stands."""
    store.save_instance(call.transaction, replace(one, phase="retiring"))
    life.intend(call, one.account, one.region, "terminate", one.number)
    news.instance_changed(call, one.environment, one.number)


# --- gone ---


def gone(call: Call, one: Instance, reason: str = "") -> None:
    """The machine's own kind has said that the instance is no more: its jobs' attempts end, its place is free.

    `reason`: EC2's, which begins with `Server.` when the machine ended by itself.
    """
    tx = call.transaction
    for job in store.jobs_on_instance(tx, one.number):
        inner = within(call, job.account, job.region)
        life.apply(inner, job, lifecycle.HostGone(one.number, one.instance_id or ""))
    for kind in ("launch", "terminate"):
        for intent in store.intents_of(tx, kind, one.number):
            store.delete_intent(tx, intent.number)
    store.delete_instance(tx, one.number)
    news.environment_changed(call, one.environment)
    for intent in store.intents_of(tx, "dismantle", one.environment):
        store.postpone_intent(tx, intent, milliseconds(call.now))
        call.wake(news.EFFECTS)
    environment = store.environment(tx, one.environment)
    if environment is None or one.phase != "launched" or not reason.startswith("Server."):
        _end_shortages(call)
        return
    # It never came up: launching the same again at once would only turn in circles.
    if _NO_CAPACITY in reason:
        troubles.add(call, environment, "capacity", reason, one.instance_type)
    else:
        troubles.add(call, environment, "launch", reason)


def _end_shortages(call: Call) -> None:
    """What an instance held is free: whoever was told that there is no capacity may try again."""
    for environment in store.all_environments(call.transaction):
        if any(trouble.code == "capacity" for trouble in environment.troubles):
            troubles.end(within(call, environment.account, environment.region), environment, "capacity")

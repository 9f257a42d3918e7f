"""What `longshore up` promises a first job: the roles, the network, a compute environment and a queue.

The same that the first-run wizard of AWS's console makes, by the same operations, as the account's root user. Made once
per state folder: what a user takes away afterwards stays away. Each step may be repeated, so a start that was cut short
goes on at the next.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from longshore.aws.errors import AwsError
from longshore.server.assemble import Assembly
from longshore.server.keys import replace_file
from longshore.services.ec2.machines.base import Machines

ROLE = "ecsInstanceRole"
POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
NAME = "default"  # of the compute environment and of the queue
_VCPUS_MAX = 256  # the wizard's own default
_OPTIMAL_MIB = 4096  # c6i.large, the smallest
_SETTLES_SECONDS = 20.0

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


class NotSettled(Exception):
    """The compute environment did not become VALID."""


async def write_defaults(assembly: Assembly, state: Path) -> None:
    """Returns when jobs can be submitted to the queue. NotSettled."""
    done = state / "defaults-written"
    if done.exists():
        return
    await _instance_role(assembly)
    await _compute_environment(assembly)
    await _settled(assembly)
    await _ignoring(
        assembly, "batch", "CreateJobQueue",
        {
            "jobQueueName": NAME,
            "state": "ENABLED",
            "priority": 1,
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": NAME}],
        },
        "Object already exists",
    )  # fmt: skip
    replace_file(done, b"")


async def _instance_role(assembly: Assembly) -> None:
    """The four steps of the Batch guide's page "Amazon ECS instance role"."""
    exists = "EntityAlreadyExists"
    role = {"RoleName": ROLE, "AssumeRolePolicyDocument": json.dumps(_TRUST)}
    await _ignoring(assembly, "iam", "CreateRole", role, exists)
    await _ignoring(assembly, "iam", "CreateInstanceProfile", {"InstanceProfileName": ROLE}, exists)
    # A profile holds one role: where it holds one already, AWS says LimitExceeded.
    into = {"InstanceProfileName": ROLE, "RoleName": ROLE}
    await _ignoring(assembly, "iam", "AddRoleToInstanceProfile", into, "LimitExceeded")
    await assembly.call_as_root("iam", "AttachRolePolicy", {"RoleName": ROLE, "PolicyArn": POLICY})


async def _compute_environment(assembly: Assembly) -> None:
    machines: Machines = assembly.house.ports["machines"]
    vcpus, memory_mib = machines.capacity()
    subnets = (await assembly.call_as_root("ec2", "DescribeSubnets", {}))["Subnets"]
    groups = (await assembly.call_as_root("ec2", "DescribeSecurityGroups", {}))["SecurityGroups"]
    request = {
        "computeEnvironmentName": NAME,
        "type": "MANAGED",
        "state": "ENABLED",
        "computeResources": {
            "type": "EC2",
            "allocationStrategy": "BEST_FIT_PROGRESSIVE",
            "minvCpus": 0,
            "maxvCpus": max(1, min(vcpus, _VCPUS_MAX)),
            # On a small host none of the sizes that `optimal` stands for would ever fit.
            "instanceTypes": ["optimal"] if memory_mib >= _OPTIMAL_MIB else ["t3"],
            "subnets": [each["SubnetId"] for each in subnets],
            "securityGroupIds": [each["GroupId"] for each in groups if each["GroupName"] == "default"],
            "instanceRole": ROLE,
        },
    }
    await _ignoring(assembly, "batch", "CreateComputeEnvironment", request, "Object already exists")


async def _settled(assembly: Assembly) -> None:
    async with asyncio.timeout(_SETTLES_SECONDS):
        while True:
            shown = await assembly.call_as_root("batch", "DescribeComputeEnvironments", {"computeEnvironments": [NAME]})
            for environment in shown["computeEnvironments"]:
                if environment["status"] == "VALID":
                    return
                if environment["status"] == "INVALID":
                    raise NotSettled(f"the compute environment `{NAME}` is INVALID: {environment['statusReason']}")
            await asyncio.sleep(0.01)


async def _ignoring(assembly: Assembly, service: str, operation: str, request: dict[str, Any], there: str) -> None:
    """`there` is the code, or a part of the text, by which the service says that it exists already."""
    try:
        await assembly.call_as_root(service, operation, request)
    except AwsError as error:
        if error.code != there and there not in error.message:
            raise

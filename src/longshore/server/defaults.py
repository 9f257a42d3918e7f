"""What `longshore up` has written before it says ready: the role chain, a network, a compute environment, a queue."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from longshore.aws.errors import AwsError
from longshore.server.assemble import Assembly

INSTANCE_ROLE = "ecsInstanceRole"
COMPUTE_ENVIRONMENT = "default"
JOB_QUEUE = "default"
_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
# "Already there" in the words of each room.
_THERE = frozenset({"EntityAlreadyExists", "InvalidInput", "LimitExceeded"})


async def write_defaults(assembly: Assembly, *, vcpus: int) -> None:
    """Each step is left out when its result is there: repeating changes nothing, also after a crash half-way."""
    await _unless_there(assembly, "iam", "CreateServiceLinkedRole", {"AWSServiceName": "batch.amazonaws.com"})
    await _unless_there(
        assembly,
        "iam",
        "CreateRole",
        {"RoleName": INSTANCE_ROLE, "AssumeRolePolicyDocument": json.dumps(_TRUST)},
    )
    await assembly.call_as_root("iam", "AttachRolePolicy", {"RoleName": INSTANCE_ROLE, "PolicyArn": _POLICY})
    await _unless_there(assembly, "iam", "CreateInstanceProfile", {"InstanceProfileName": INSTANCE_ROLE})
    await _unless_there(
        assembly,
        "iam",
        "AddRoleToInstanceProfile",
        {"InstanceProfileName": INSTANCE_ROLE, "RoleName": INSTANCE_ROLE},
    )
    if not await _has(assembly, "DescribeComputeEnvironments", "computeEnvironments", COMPUTE_ENVIRONMENT):
        subnets = (await assembly.call_as_root("ec2", "DescribeSubnets", {}))["Subnets"]
        groups = (await assembly.call_as_root("ec2", "DescribeSecurityGroups", {}))["SecurityGroups"]
        await assembly.call_as_root(
            "batch",
            "CreateComputeEnvironment",
            {
                "computeEnvironmentName": COMPUTE_ENVIRONMENT,
                "type": "MANAGED",
                "state": "ENABLED",
                "computeResources": {
                    "type": "EC2",
                    "minvCpus": 0,
                    "maxvCpus": max(vcpus, 1),
                    "instanceTypes": ["optimal"],
                    "subnets": [subnet["SubnetId"] for subnet in subnets[:1]],
                    "securityGroupIds": [group["GroupId"] for group in groups[:1]],
                    "instanceRole": INSTANCE_ROLE,
                },
            },
        )
    while not await _is_valid(assembly):
        await asyncio.sleep(0.01)
    if not await _has(assembly, "DescribeJobQueues", "jobQueues", JOB_QUEUE):
        await assembly.call_as_root(
            "batch",
            "CreateJobQueue",
            {
                "jobQueueName": JOB_QUEUE,
                "state": "ENABLED",
                "priority": 1,
                "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": COMPUTE_ENVIRONMENT}],
            },
        )


async def _unless_there(assembly: Assembly, service: str, operation: str, request: dict[str, Any]) -> None:
    try:
        await assembly.call_as_root(service, operation, request)
    except AwsError as error:
        if error.code not in _THERE:
            raise


async def _has(assembly: Assembly, operation: str, member: str, name: str) -> bool:
    return bool((await assembly.call_as_root("batch", operation, {member: [name]}))[member])


async def _is_valid(assembly: Assembly) -> bool:
    answer = await assembly.call_as_root(
        "batch", "DescribeComputeEnvironments", {"computeEnvironments": [COMPUTE_ENVIRONMENT]}
    )
    status = answer["computeEnvironments"][0]["status"]
    return status in ("VALID", "INVALID")

"""The same account in every server: a user whose policies must be read, a role, and what a job needs."""

from __future__ import annotations

import json
import time
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from bench.servers import ACCOUNT, REGION, Server

ROLE = "benchRole"
QUEUE = "bench-queue"
DEFINITION = "bench-definition"
_ENVIRONMENT = "bench-environment"
_POLICIES = 10
_VALID_SECONDS_MAX = 20
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
FAULTS = (ClientError, BotoCoreError)


class Caller(Struct, frozen=True):
    access_key_id: str
    secret_access_key: str


def client(server: Server, service: str, caller: Caller | None = None) -> Any:
    """An unmodified botocore client; `caller` None: the root user."""
    return botocore.session.get_session().create_client(
        service,
        region_name=REGION,
        endpoint_url=server.endpoint,
        aws_access_key_id=caller.access_key_id if caller else server.access_key_id,
        aws_secret_access_key=caller.secret_access_key if caller else server.secret_access_key,
        config=Config(retries={"max_attempts": 0}, read_timeout=60),
    )


def make_caller(server: Server) -> Caller:
    """A user with ten policies of five statements, the last of which allows what is measured. And the role."""
    iam = client(server, "iam")
    iam.create_user(UserName="bench")
    for number in range(_POLICIES):
        document = json.dumps({"Version": "2012-10-17", "Statement": _statements(number)})
        policy = iam.create_policy(PolicyName=f"bench-{number}", PolicyDocument=document)["Policy"]
        iam.attach_user_policy(UserName="bench", PolicyArn=policy["Arn"])
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(_TRUST))
    key = iam.create_access_key(UserName="bench")["AccessKey"]
    return Caller(key["AccessKeyId"], key["SecretAccessKey"])


def _statements(number: int) -> list[dict[str, Any]]:
    """What policies of a busy account look like: wildcards, conditions, a denial that does not concern the caller."""
    team = f"team-{number}"
    statements: list[dict[str, Any]] = [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:Put*"],
            "Resource": [f"arn:aws:s3:::{team}/*", f"arn:aws:s3:::{team}-*/shared/*"],
        },
        {
            "Effect": "Allow",
            "Action": ["logs:*", "cloudwatch:Get*"],
            "Resource": f"arn:aws:logs:*:{ACCOUNT}:log-group:/{team}/*",
        },
        {
            "Effect": "Deny",
            "Action": ["iam:*", "batch:*"],
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:PrincipalTag/team": f"not-{team}"}},
        },
        {
            "Effect": "Allow",
            "Action": ["ec2:Describe*", "ec2:RunInstances"],
            "Resource": "*",
            "Condition": {"StringLike": {"aws:RequestedRegion": "eu-*"}},
        },
    ]
    if number == _POLICIES - 1:
        resource = f"arn:aws:iam::{ACCOUNT}:role/bench*"
        allowed = {"Effect": "Allow", "Action": "iam:Get*", "Resource": resource}
        # MiniStack asks about `*` where Batch asks about queue and definition.
        return [*statements, allowed, {"Effect": "Allow", "Action": "batch:Submit*", "Resource": "*"}]
    elsewhere = f"arn:aws:iam::{ACCOUNT}:role/{team}/*"
    return [*statements, {"Effect": "Allow", "Action": "iam:Get*", "Resource": elsewhere}]


def make_queue(server: Server) -> None:
    """A queue of a managed compute environment without instances, and a definition: jobs wait in it."""
    iam, ec2, batch = (client(server, service) for service in ("iam", "ec2", "batch"))
    iam.create_instance_profile(InstanceProfileName=ROLE)
    iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
    subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]]
    groups = [each["GroupId"] for each in ec2.describe_security_groups()["SecurityGroups"]]
    trust = json.dumps(_TRUST).replace("ec2.amazonaws.com", "batch.amazonaws.com")
    iam.create_role(RoleName="benchBatchService", AssumeRolePolicyDocument=trust)
    # In its own words: not every peer knows AWS's managed policy for it.
    everything = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    iam.put_role_policy(RoleName="benchBatchService", PolicyName="all", PolicyDocument=json.dumps(everything))
    batch.create_compute_environment(
        computeEnvironmentName=_ENVIRONMENT,
        type="MANAGED",
        state="ENABLED",
        serviceRole=f"arn:aws:iam::{ACCOUNT}:role/benchBatchService",
        computeResources={
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": 16,
            "instanceTypes": ["optimal"],
            "subnets": subnets[:1],
            "securityGroupIds": groups[:1],
            "instanceRole": f"arn:aws:iam::{ACCOUNT}:instance-profile/{ROLE}",
        },
    )
    environments = {"computeEnvironments": [_ENVIRONMENT]}
    until(lambda: batch.describe_compute_environments(**environments)["computeEnvironments"][0]["status"] == "VALID")
    batch.create_job_queue(
        jobQueueName=QUEUE,
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": _ENVIRONMENT}],
    )
    until(lambda: batch.describe_job_queues(jobQueues=[QUEUE])["jobQueues"][0]["status"] == "VALID")
    register_definition(batch, "busybox:bench")


def register_definition(batch: Any, image: str) -> None:
    batch.register_job_definition(
        jobDefinitionName=DEFINITION,
        type="container",
        containerProperties={
            "image": image,
            "command": ["true"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
        },
    )


def until(condition: Any, seconds: float = _VALID_SECONDS_MAX) -> None:
    """TimeoutError: it did not come about."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"it did not come about within {seconds} s")
        time.sleep(0.1)

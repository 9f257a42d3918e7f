"""What a user with AWSBatchFullAccess can do, and no more: the policy as AWS has it, in its version 7."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_room import CONTAINER, RESOURCES, Room, arn, denial, trust
from in_process import ACCOUNT

ALLOW_ALL = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
POLICY = "arn:aws:iam::aws:policy/AWSBatchFullAccess"


class User:
    """Clients of one user, who has the policy and nothing else."""

    def __init__(self, room: Room) -> None:
        room.iam.create_user(UserName="bob")
        room.iam.attach_user_policy(UserName="bob", PolicyArn=POLICY)
        key = room.iam.create_access_key(UserName="bob")["AccessKey"]
        self.client = lambda service: room.house.client(service, key["AccessKeyId"], key["SecretAccessKey"])
        self.batch = self.client("batch")


@pytest.fixture
def bob(room: Room) -> Iterator[User]:
    room.profile()
    yield User(room)


def role(room: Room, name: str, service: str, path: str = "/") -> str:
    made = room.iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust(service))
    return str(made["Role"]["Arn"])


def job_with(role_arn: str, member: str = "jobRoleArn") -> dict[str, Any]:
    return {"jobDefinitionName": "jd", "type": "container", "containerProperties": {**CONTAINER, member: role_arn}}


def refused(call: Any, **request: Any) -> str:
    """The code of the refusal, whichever the service calls it."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)
    return str(answer["Error"]["Code"])


def test_from_the_first_environment_to_the_last_job_it_is_enough(room: Room, bob: User) -> None:
    order = [{"order": 1, "computeEnvironment": "ce"}]
    bob.batch.create_compute_environment(computeEnvironmentName="ce", type="MANAGED", computeResources=RESOURCES)
    room.settle_environment()
    bob.batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
    room.settle_queue()
    bob.batch.register_job_definition(jobDefinitionName="jd", type="container", containerProperties=CONTAINER)
    job_id = bob.batch.submit_job(jobName="job", jobQueue="q", jobDefinition="jd")["jobId"]
    assert [each["jobId"] for each in bob.batch.describe_jobs(jobs=[job_id])["jobs"]] == [job_id]
    bob.batch.terminate_job(jobId=job_id, reason="Enough")
    bob.batch.tag_resource(resourceArn=arn("job-queue/q"), tags={"a": "b"})
    bob.batch.update_job_queue(jobQueue="q", state="DISABLED")
    # What is looked at beside it.
    assert bob.client("ecs").list_clusters()["clusterArns"] is not None
    assert bob.client("ec2").describe_subnets()["Subnets"] is not None
    assert bob.client("iam").list_instance_profiles()["InstanceProfiles"]
    assert bob.client("iam").list_roles()["Roles"]
    assert bob.client("logs").describe_log_groups()["logGroups"] is not None


@pytest.mark.parametrize("member", ["jobRoleArn", "executionRoleArn"])
def test_a_job_gets_a_role_that_the_policy_lists_and_no_other(room: Room, bob: User, member: str) -> None:
    listed = role(room, "AWSBatchJobRoleOfMine", "ecs-tasks.amazonaws.com")
    bob.batch.register_job_definition(**job_with(listed, member))
    for name, path in (("admin", "/"), ("AWSBatchJobRole", "/elsewhere/"), ("MyAWSBatchJobRole", "/")):
        other = role(room, name, "ecs-tasks.amazonaws.com", path)
        assert denial(bob.batch.register_job_definition, **job_with(other, member)) == (
            f"User: arn:aws:iam::{ACCOUNT}:user/bob is not authorized to perform: iam:PassRole on resource: {other}"
            " because no identity-based policy allows the iam:PassRole action"
        )
    found = bob.batch.describe_job_definitions(jobDefinitionName="jd")["jobDefinitions"]
    assert [each["containerProperties"][member] for each in found] == [listed]


def test_an_environment_gets_an_instance_role_and_a_service_role_of_the_list_and_no_other(
    room: Room, bob: User
) -> None:
    room.profile("other")
    request = {"computeEnvironmentName": "ce", "type": "MANAGED", "computeResources": RESOURCES}
    with_other = {**request, "computeResources": {**RESOURCES, "instanceRole": "other"}}
    assert "iam:PassRole" in denial(bob.batch.create_compute_environment, **with_other)
    admin = role(room, "admin", "batch.amazonaws.com")
    assert f"iam:PassRole on resource: {admin} " in denial(
        bob.batch.create_compute_environment, serviceRole=admin, **request
    )
    assert bob.batch.describe_compute_environments()["computeEnvironments"] == []
    listed = role(room, "AWSBatchServiceRole", "batch.amazonaws.com", "/service-role/")
    bob.batch.create_compute_environment(serviceRole=listed, **request)
    room.settle_environment()
    assert "iam:PassRole" in denial(bob.batch.update_compute_environment, computeEnvironment="ce", serviceRole=admin)


def test_a_deny_beside_it_wins(room: Room, bob: User) -> None:
    statement = {"Effect": "Deny", "Action": "batch:SubmitJob", "Resource": "*"}
    room.iam.put_user_policy(
        UserName="bob", PolicyName="no", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statement})
    )
    room.queue()
    room.define()
    text = denial(bob.batch.submit_job, jobName="j", jobQueue="q", jobDefinition="jd")
    assert "with an explicit deny in an identity-based policy" in text


BEYOND: list[tuple[str, str, dict[str, Any]]] = [
    ("iam", "create_user", {"UserName": "eve"}),
    ("iam", "create_access_key", {"UserName": "bob"}),
    ("iam", "create_role", {"RoleName": "r", "AssumeRolePolicyDocument": trust("ec2.amazonaws.com")}),
    ("iam", "put_user_policy", {"UserName": "bob", "PolicyName": "p", "PolicyDocument": ALLOW_ALL}),
    ("iam", "attach_user_policy", {"UserName": "bob", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
    ("iam", "attach_role_policy", {"RoleName": "ecsInstanceRole", "PolicyArn": POLICY}),
    ("iam", "get_role", {"RoleName": "ecsInstanceRole"}),
    ("iam", "create_service_linked_role", {"AWSServiceName": "ecs.amazonaws.com"}),
    ("sts", "assume_role", {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/ecsInstanceRole", "RoleSessionName": "session"}),
    ("ec2", "run_instances", {"ImageId": "ami-1", "InstanceType": "t3.small", "MinCount": 1, "MaxCount": 1}),
    ("ec2", "terminate_instances", {"InstanceIds": ["i-0123456789abcdef0"]}),
    ("ec2", "describe_instances", {}),
    ("ec2", "get_console_output", {"InstanceId": "i-0123456789abcdef0"}),
    ("ecs", "run_task", {"taskDefinition": "t"}),
    ("ecs", "register_task_definition", {"family": "f", "containerDefinitions": [{"name": "c", "image": "i"}]}),
    ("ecs", "create_cluster", {"clusterName": "c"}),
    ("ecs", "stop_task", {"task": "t"}),
    ("logs", "create_log_group", {"logGroupName": "g"}),
    ("logs", "put_log_events", {"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]}),
    ("logs", "delete_log_group", {"logGroupName": "/aws/batch/job"}),
]  # fmt: skip


@pytest.mark.parametrize("service, operation, request_", BEYOND, ids=[f"{a}-{b}" for a, b, _ in BEYOND])
def test_beyond_the_list_it_is_refused(bob: User, service: str, operation: str, request_: dict[str, Any]) -> None:
    code = refused(getattr(bob.client(service), operation), **request_)
    assert code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")

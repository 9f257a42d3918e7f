"""The room of Batch in its house, its loops standing still: what its operations write down stays as they wrote it.

Answers are serialized strictly: a member that the service model does not know is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from in_process import ACCOUNT, REGION, InProcessHouse
from longshore.kit.call import Call
from longshore.services.batch import children, life, lifecycle, store
from longshore.services.batch.records import Intent, Job

RESOURCES: dict[str, Any] = {
    "type": "EC2",
    "minvCpus": 0,
    "maxvCpus": 16,
    "instanceTypes": ["optimal"],
    "subnets": ["subnet-1"],
    "securityGroupIds": ["sg-1"],
    "instanceRole": "ecsInstanceRole",
}
CONTAINER: dict[str, Any] = {
    "image": "busybox:local",
    "command": ["echo", "hello"],
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
}


def trust(service: str) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
        }
    )


def arn(resource: str) -> str:
    return f"arn:aws:batch:{REGION}:{ACCOUNT}:{resource}"


def refusal(call: Callable[..., Any], **request: Any) -> str:
    """The text of the ClientException that the call gets, its request id left out."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response
    assert error["Error"]["Code"] == "ClientException", error
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    text = str(error["Error"]["Message"])
    prefix = "Error executing request, Exception : "
    if text.startswith(prefix):
        text, _, request_id = text.removeprefix(prefix).rpartition(", RequestId: ")
        assert request_id == error["ResponseMetadata"]["RequestId"]
        return "! " + text
    return text


def denial(call: Callable[..., Any], **request: Any) -> str:
    """The text by which the caller is refused for want of a permission."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response
    assert error["Error"]["Code"] == "AccessDeniedException", error
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 403
    return str(error["Error"]["Message"])


class Room:
    def __init__(self, house: InProcessHouse) -> None:
        self.house = house
        self.batch = house.client("batch")
        self.iam = house.client("iam")

    def write(self, function: Callable[[Call], Any]) -> Any:
        turn = self.house.house.turn("batch")
        return self.house.loop.run_until_complete(turn.write(function))

    def read(self, function: Callable[[Call], Any]) -> Any:
        return self.house.house.turn("batch").read(function)

    # What is needed before anything else.

    def profile(self, name: str = "ecsInstanceRole") -> None:
        """A role and an instance profile of one name, one in the other."""
        self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
        policy = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
        self.iam.attach_role_policy(RoleName=name, PolicyArn=policy)
        self.iam.create_instance_profile(InstanceProfileName=name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)

    def user(self, name: str, *statements: dict[str, Any], service: str = "batch") -> Any:
        """A client of a user who may do so much."""
        self.iam.create_user(UserName=name)
        if statements:
            document = {"Version": "2012-10-17", "Statement": list(statements)}
            self.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return self.house.client(service, key["AccessKeyId"], key["SecretAccessKey"])

    # Compute environments and queues, as the loops would make them.

    def create_environment(self, name: str = "ce", **resources: Any) -> str:
        answer = self.batch.create_compute_environment(
            computeEnvironmentName=name, type="MANAGED", computeResources={**RESOURCES, **resources}
        )
        return str(answer["computeEnvironmentArn"])

    def environment(self, name: str = "ce", **resources: Any) -> str:
        """One that is VALID."""
        made = self.create_environment(name, **resources)
        self.settle_environment(name)
        return made

    def settle_environment(self, name: str = "ce", status: str = "VALID") -> None:
        def settle(call: Call) -> None:
            found = store.environment_named(call.transaction, ACCOUNT, REGION, name)
            assert found is not None
            for intent in store.intents_of(call.transaction, "prepare", found.number):
                store.delete_intent(call.transaction, intent.number)
            store.save_environment(call.transaction, replace(found, status=status))

        self.write(settle)

    def queue(self, name: str = "q", environment: str = "ce", **more: Any) -> str:
        """One that is VALID, on an environment that is."""
        if not self.batch.describe_compute_environments(computeEnvironments=[environment])["computeEnvironments"]:
            self.environment(environment)
        order = [{"order": 1, "computeEnvironment": environment}]
        answer = self.batch.create_job_queue(jobQueueName=name, priority=1, computeEnvironmentOrder=order, **more)
        self.settle_queue(name)
        return str(answer["jobQueueArn"])

    def settle_queue(self, name: str = "q") -> None:
        def settle(call: Call) -> None:
            found = store.queue_named(call.transaction, ACCOUNT, REGION, name)
            assert found is not None
            store.save_queue(call.transaction, replace(found, status="VALID"))

        self.write(settle)

    def define(self, name: str = "jd", container: dict[str, Any] | None = None, **more: Any) -> str:
        answer = self.batch.register_job_definition(
            jobDefinitionName=name, type="container", containerProperties={**CONTAINER, **(container or {})}, **more
        )
        return str(answer["jobDefinitionArn"])

    # Jobs.

    def submit(self, name: str = "job", queue: str = "q", definition: str = "jd", **more: Any) -> str:
        answer = self.batch.submit_job(jobName=name, jobQueue=queue, jobDefinition=definition, **more)
        return str(answer["jobId"])

    def array(self, size: int, **more: Any) -> str:
        return self.submit(arrayProperties={"size": size}, **more)

    def spawn(self, job_id: str) -> None:
        """An array is released, as the scheduler would do it."""
        self.befall(job_id, lifecycle.Released())
        self.go_through()

    def go_through(self) -> None:
        """What is to be done with the children of arrays is done."""
        while self.read(children.is_waited_for):
            self.write(children.move)

    def job(self, job_id: str) -> dict[str, Any]:
        """As DescribeJobs shows it."""
        (shown,) = self.batch.describe_jobs(jobs=[job_id])["jobs"]
        assert isinstance(shown, dict)
        return shown

    def record(self, job_id: str) -> Job:
        found = self.read(lambda call: store.job_of_id(call.transaction, job_id))
        assert isinstance(found, Job)
        return found

    def befall(self, job_id: str, *events: lifecycle.Event) -> None:
        """Events happen to a job, as the loops would have them happen."""
        for event in events:
            self.write(lambda call, event=event: life.apply(call, self.record(job_id), event))

    def intents(self, kind: str) -> list[Intent]:
        def read(call: Call) -> list[Intent]:
            return [each for each in store.due_intents(call.transaction, 1 << 60, 1000) if each.kind == kind]

        found = self.read(read)
        assert isinstance(found, list)
        return found

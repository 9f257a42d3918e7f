"""A house in which Batch's loops turn: real agents on `memory` machines, containers whose ends are scripted."""

from __future__ import annotations

import json
from typing import Any

from batch_room import trust
from in_process import InProcessHouse
from longshore.kit.call import Call
from longshore.services.batch import snapshots, store
from longshore.services.batch.records import Job

ROLE = "ecsInstanceRole"
POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"


class BatchHouse:
    def __init__(self, house: InProcessHouse) -> None:
        self.house = house
        self.batch, self.iam, self.ecs, self.ec2, self.logs = (
            house.client(name) for name in ("batch", "iam", "ecs", "ec2", "logs")
        )

    # --- what is there before a job ---

    def role(self, name: str = ROLE, *, service: str = "ec2.amazonaws.com", policy: str | None = POLICY) -> None:
        self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(service))
        if policy is not None:
            self.iam.attach_role_policy(RoleName=name, PolicyArn=policy)

    def profile(self, name: str = ROLE, role: str | None = ROLE) -> None:
        self.iam.create_instance_profile(InstanceProfileName=name)
        if role is not None:
            self.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)

    def allow(self, role: str, *actions: str, effect: str = "Allow", name: str = "p") -> None:
        statement = {"Effect": effect, "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": statement})
        self.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)

    def environment(self, name: str = "ce", *, settled: bool = True, **more: Any) -> str:
        """`more`: members of computeResources, and serviceRole."""
        subnets = self.ec2.describe_subnets()["Subnets"]
        groups = self.ec2.describe_security_groups()["SecurityGroups"]
        roles = {"serviceRole": more.pop("serviceRole")} if "serviceRole" in more else {}
        resources = {
            "type": "EC2",
            "allocationStrategy": "BEST_FIT_PROGRESSIVE",
            "minvCpus": 0,
            "maxvCpus": 16,
            "instanceTypes": ["optimal"],
            "subnets": [each["SubnetId"] for each in subnets],
            "securityGroupIds": [each["GroupId"] for each in groups],
            "instanceRole": ROLE,
            **more,
        }
        self.batch.create_compute_environment(
            computeEnvironmentName=name, type="MANAGED", computeResources=resources, **roles
        )
        if settled:
            self.house.settle(lambda: self.described(name)["status"] == "VALID")
        return name

    def described(self, name: str = "ce") -> dict[str, Any]:
        found = self.batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
        return dict(found[0]) if found else {"status": None, "statusReason": None}

    def queue(self, name: str = "q", *environments: str, priority: int = 1, **more: Any) -> str:
        order = [{"order": at, "computeEnvironment": each} for at, each in enumerate(environments or ("ce",), 1)]
        self.batch.create_job_queue(jobQueueName=name, priority=priority, computeEnvironmentOrder=order, **more)
        self.house.settle(lambda: self.queue_described(name)["status"] == "VALID")
        return name

    def queue_described(self, name: str = "q") -> dict[str, Any]:
        found = self.batch.describe_job_queues(jobQueues=[name])["jobQueues"]
        return dict(found[0]) if found else {"status": None}

    def define(self, name: str = "jd", *, vcpus: str = "1", memory: str = "512", **more: Any) -> str:
        container = {
            "image": "busybox:local",
            "command": ["true"],
            "resourceRequirements": [{"type": "VCPU", "value": vcpus}, {"type": "MEMORY", "value": memory}],
            **more.pop("container", {}),
        }
        self.batch.register_job_definition(
            jobDefinitionName=name, type="container", containerProperties=container, **more
        )
        return name

    def chain(self, **resources: Any) -> BatchHouse:
        """All of it: role, profile, environment `ce`, queue `q`, definition `jd`."""
        self.role()
        self.profile()
        self.environment(**resources)
        self.queue()
        self.define()
        return self

    # --- jobs ---

    def submit(
        self, *, queue: str = "q", definition: str = "jd", script: dict[str, str] | None = None, **more: Any
    ) -> str:
        """`script`: environment variables that tell the container of the `memory` runtime what to do."""
        if script is not None:
            variables = [{"name": f"LONGSHORE_{name}", "value": value} for name, value in script.items()]
            more["containerOverrides"] = {**more.get("containerOverrides", {}), "environment": variables}
        answer = self.batch.submit_job(jobName="job", jobQueue=queue, jobDefinition=definition, **more)
        return str(answer["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        (shown,) = self.batch.describe_jobs(jobs=[job_id])["jobs"]
        return dict(shown)

    def until(self, job_id: str, *statuses: str, seconds: float = 120.0) -> dict[str, Any]:
        """The job, once it is in one of the statuses."""

        def there() -> dict[str, Any] | None:
            shown = self.job(job_id)
            return shown if shown["status"] in statuses else None

        found: dict[str, Any] = self.house.settle(there, seconds)
        return found

    def ended(self, job_id: str, seconds: float = 120.0) -> dict[str, Any]:
        return self.until(job_id, "SUCCEEDED", "FAILED", seconds=seconds)

    def reason(self, job_id: str, part: str, seconds: float = 120.0) -> str:
        """The job's statusReason, once it has one with this part."""

        def there() -> str | None:
            text = self.job(job_id).get("statusReason") or ""
            return text if part in text else None

        found: str = self.house.settle(there, seconds)
        return found

    def explained(self, job_id: str) -> list[str]:
        """What explain says of a RUNNABLE job, from a snapshot read anew."""
        from longshore.aws.clock import milliseconds
        from longshore.services.batch.scheduling.explain import explain
        from longshore.services.batch.scheduling.snapshot import Head

        def read(call: Call) -> list[str]:
            job = self.record(job_id)
            head = Head(job.number, job.cpu, job.memory_mib, job.gpus)
            ahead = store.count_ahead(call.transaction, job)
            return explain(snapshots.current(call), job.queue, head, ahead, milliseconds(call.now))

        found: list[str] = self.read(read)
        return found

    # --- underneath ---

    def read(self, function: Any) -> Any:
        return self.house.house.turn("batch").read(function)

    def record(self, job_id: str) -> Job:
        found = self.read(lambda call: store.job_of_id(call.transaction, job_id))
        assert isinstance(found, Job)
        return found

    def instances(self, *states: str) -> list[dict[str, Any]]:
        """Of EC2, in these states."""
        filters = [{"Name": "instance-state-name", "Values": list(states or ("pending", "running"))}]
        reservations = self.ec2.describe_instances(Filters=filters)["Reservations"]
        return [instance for each in reservations for instance in each["Instances"]]

    def assert_memory_is_the_store(self) -> None:
        found = snapshots.differences(self.house.house)
        assert not found, found


def heard(batch: BatchHouse, detail_type: str) -> list[tuple[str, str]]:
    """(id of the job, its status) of each event of the type, from now on."""
    told: list[tuple[str, str]] = []
    outbox = batch.house.house.outbox
    append, hears = outbox.append, outbox.hears

    def hear(transaction: Any, event: Any) -> None:
        if event.detail_type == detail_type:
            told.append((event.resource.rpartition("/")[2], event.detail["status"]))
        append(transaction, event)

    outbox.append, outbox.hears = hear, lambda asked, facts: asked == detail_type or hears(asked, facts)
    return told

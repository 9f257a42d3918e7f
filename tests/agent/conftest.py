"""A house with a cluster, a role for its instances, and instances of the kind `memory` with the production agent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import botocore.auth
import pytest

from agent.over_sockets import Running
from in_process import InProcessHouse

ROLE_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
ECS_IMAGE = "ecs"
BARE_IMAGE = "bare"


class Site:
    def __init__(self, house: InProcessHouse) -> None:
        self.house = house
        self.iam, self.ec2, self.ecs, self.logs = (house.client(name) for name in ("iam", "ec2", "ecs", "logs"))
        self.ecs.create_cluster(clusterName="demo")
        self.logs.create_log_group(logGroupName="/jobs")
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ],
        }
        self.iam.create_role(RoleName="ecsInstanceRole", AssumeRolePolicyDocument=json.dumps(trust))
        self.iam.create_instance_profile(InstanceProfileName="ecsInstanceRole")
        self.iam.add_role_to_instance_profile(InstanceProfileName="ecsInstanceRole", RoleName="ecsInstanceRole")
        self.iam.attach_role_policy(RoleName="ecsInstanceRole", PolicyArn=ROLE_POLICY)
        images = [each for each in self.ec2.describe_images()["Images"] if each["Architecture"] == "x86_64"]
        self.images = {
            ECS_IMAGE: next(each["ImageId"] for each in images if "ecs" in each["Name"]),
            BARE_IMAGE: next(each["ImageId"] for each in images if "ecs" not in each["Name"]),
        }

    def launch(
        self,
        *,
        image: str = ECS_IMAGE,
        user_data: str = "#!/bin/bash\necho ECS_CLUSTER=demo >> /etc/ecs/ecs.config\n",
        profile: str | None = "ecsInstanceRole",
        instance_type: str = "m5.large",
    ) -> str:
        more: dict[str, Any] = {"IamInstanceProfile": {"Name": profile}} if profile else {}
        answer = self.ec2.run_instances(
            ImageId=self.images[image], InstanceType=instance_type, MinCount=1, MaxCount=1, UserData=user_data, **more
        )
        return str(answer["Instances"][0]["InstanceId"])

    def container_instances(self, *, connected: bool = True) -> list[dict[str, Any]]:
        arns = self.ecs.list_container_instances(cluster="demo")["containerInstanceArns"]
        if not arns:
            return []
        found = self.ecs.describe_container_instances(cluster="demo", containerInstances=arns)["containerInstances"]
        return [each for each in found if each["agentConnected"] is connected]

    def joined(self, **launch: Any) -> dict[str, Any]:
        """A new instance that has joined the cluster."""
        instance_id = self.launch(**launch)
        return self.house.settle(
            lambda: next((each for each in self.container_instances() if each["ec2InstanceId"] == instance_id), None)
        )

    def console(self, instance_id: str) -> str:
        """What the instance wrote; the service posts it a moment later."""
        self.house.pass_time(2)
        text: str = self.house.loop.run_until_complete(
            self.house.assembly.machines.console_output(instance_id)
        ).decode()
        return text

    def define(self, family: str = "fam", task: dict[str, Any] | None = None, **container: Any) -> str:
        log = {
            "logDriver": "awslogs",
            "options": {"awslogs-group": "/jobs", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "jd"},
        }
        definition = {
            "name": "main", "image": "busybox:local", "cpu": 128, "memory": 64, "logConfiguration": log, **container
        }  # fmt: skip
        answer = self.ecs.register_task_definition(
            family=family, networkMode="host", containerDefinitions=[definition], **(task or {})
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def run(self, family: str = "fam", **environment: str) -> str:
        override = {
            "containerOverrides": [
                {
                    "name": "main",
                    "environment": [{"name": name, "value": value} for name, value in environment.items()],
                }
            ]
        }
        answer = self.ecs.run_task(cluster="demo", taskDefinition=family, overrides=override)
        assert not answer["failures"], answer["failures"]
        return str(answer["tasks"][0]["taskArn"])

    def task(self, arn: str) -> dict[str, Any]:
        (found,) = self.ecs.describe_tasks(cluster="demo", tasks=[arn])["tasks"]
        return dict(found)

    def until(self, arn: str, status: str = "STOPPED", seconds: float = 120.0) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            task = self.task(arn)
            return task if task["lastStatus"] == status else None

        return self.house.settle(reached, seconds)  # type: ignore[no-any-return]

    def log_of(self, arn: str) -> list[str]:
        stream = f"jd/main/{arn.rpartition('/')[2]}"
        events = self.logs.get_log_events(logGroupName="/jobs", logStreamName=stream, startFromHead=True)["events"]
        return [each["message"] for each in events]


@pytest.fixture
def site(house: InProcessHouse) -> Iterator[Site]:
    yield Site(house)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    # Tests on virtual time hand botocore their own.
    monkeypatch.setattr(
        botocore.auth,
        "get_current_datetime",
        lambda remove_tzinfo=True: datetime.now(UTC).replace(tzinfo=None if remove_tzinfo else UTC),
    )
    made = Running()
    yield made
    made.close()

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from people import EC2_TRUST, Person

if TYPE_CHECKING:
    from in_process import InProcessHouse


@pytest.fixture
def person(house: InProcessHouse) -> Callable[..., Person]:
    """`person("anna")`: a user with a key, `.client("ec2")` acting as that user."""
    return lambda name, **more: Person(house, name, **more)


@pytest.fixture
def ec2(house: InProcessHouse) -> Any:
    return house.client("ec2")


@pytest.fixture
def bare(ec2: Any) -> str:
    """An image that starts no agent, and has version 2 of the metadata service required."""
    return image(ec2, "al2023-ami-2023*x86_64")


@pytest.fixture
def launch(house: InProcessHouse, ec2: Any, bare: str) -> Callable[..., Any]:
    """Launches one instance and waits till it runs; its description."""

    def make(**more: Any) -> Any:
        request = {"ImageId": bare, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, **more}
        instance_id = ec2.run_instances(**request)["Instances"][0]["InstanceId"]
        return house.settle(lambda: running(ec2, instance_id))

    return make


@pytest.fixture
def profile(house: InProcessHouse) -> Callable[..., str]:
    """An instance profile with a role of the same name in it; its ARN."""

    def make(name: str = "worker", trust: str = EC2_TRUST, role: bool = True) -> str:
        iam = house.client("iam")
        arn: str = iam.create_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Arn"]
        if role:
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        return arn

    return make


def image(ec2: Any, name: str) -> str:
    found = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": [name]}])["Images"]
    newest: str = max(found, key=lambda each: each["CreationDate"])["ImageId"]
    return newest


def running(ec2: Any, instance_id: str) -> Any:
    described = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return described if described["State"]["Name"] == "running" else None


@pytest.fixture
def metadata(house: InProcessHouse) -> Callable[..., Any]:
    """Asks the metadata service for an instance, with a token: `metadata(instance_id, "meta-data/iam/info")`.

    JSON documents come read, other pages as text; None: there is no such page.
    """

    def ask(instance_id: str, path: str) -> Any:
        service = house.house.ports["imds"]
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        status, token = _run(house, service.request(instance_id, "PUT", "/latest/api/token", lifetime))
        assert status == 200, token
        given = {"X-aws-ec2-metadata-token": token}
        status, text = _run(house, service.request(instance_id, "GET", f"/latest/{path}", given))
        if status == 404:
            return None
        assert status == 200, text
        return json.loads(text) if text.startswith("{") else text

    return ask


def _run(house: InProcessHouse, awaitable: Any) -> Any:
    return house.loop.run_until_complete(awaitable)

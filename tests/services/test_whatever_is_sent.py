"""Whatever is sent, half sensible and half rubbish: the answer is one of AWS's, never a broken house."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from people import EC2_TRUST, Person, allow, trust
from refusals import unchecked

ROOMS = ("iam", "sts", "ec2", "logs", "cloudtrail", "ecs", "batch")
CALLS = 700
ACCOUNT = "123456789012"
# Failures that AWS itself answers with 500.
FAILURES_OF_AWS = {"InsufficientInstanceCapacity"}
WORDS = [
    "a", "b", "ops", "worker", "", "x" * 70, "é☃", "\x01", "*", "/", "/a/", "true", "-1", "²", "::1/64", "999.1.1.1",
    "arn:aws:iam::aws:policy/AdministratorAccess", f"arn:aws:iam::{ACCOUNT}:policy/a", f"arn:aws:iam::{ACCOUNT}:role/ops",
    f"arn:aws:iam::{ACCOUNT}:instance-profile/worker", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/batch/job",
    "i-0123456789abcdef0", "vpc-12345678", "subnet-12345678", "sg-12345678", "ami-12345678", "m5.large", "us-east-1a",
    "10.0.0.0/16", "10.0.1.0/24", "v1", "batch.amazonaws.com", "tag:a", "instance-id", "/aws/batch/job", "MTIz",
    "f/" + "0" * 56, "task/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch/1", "a:1", "default", "1024",
]  # fmt: skip
DOCUMENTS = [
    EC2_TRUST, trust({"AWS": [f"arn:aws:iam::{ACCOUNT}:user/a", "x"]}), json.dumps({"Statement": allow("*")}),
    json.dumps({"Version": "2012-10-17", "Statement": [allow("s3:*", Condition={"StringEquals": {"a": ["b"]}})]}),
    "{}", "{", "[]", "null", '{"Version":"2012-10-17","Statement":[[]]}',
]  # fmt: skip


class Sender:
    """Requests by the model: mostly of the right form, their values from words that mean something here."""

    def __init__(self, chance: random.Random, words: list[str]) -> None:
        self._chance = chance
        self._words = words

    def value(self, shape: Any, depth: int = 0) -> Any:
        chance = self._chance
        kind = shape.type_name
        if kind == "structure":
            wanted = 0.3 if depth == 0 else 0.4
            return {
                name: self.value(member, depth + 1)
                for name, member in shape.members.items()
                if depth < 5 and (chance.random() < (0.97 if name in shape.required_members else wanted))
            }
        if kind == "list":
            return [self.value(shape.member, depth + 1) for _ in range(chance.choice((0, 1, 1, 2)) if depth < 5 else 0)]
        if kind == "map":
            return {str(self.value(shape.key, depth + 1)): self.value(shape.value, depth + 1) for _ in range(1)}
        if kind in ("integer", "long"):
            return chance.choice((0, 1, 5, -1, 1000, 1767225600000, shape.metadata.get("min", 3)))
        if kind in ("float", "double"):
            return chance.choice((0.0, 1.5, -2.0))
        if kind == "boolean":
            return chance.random() < 0.5
        if kind == "timestamp":
            return chance.choice((0, 1767225600))
        if kind == "blob":
            return chance.choice((b"", b"x", b"\xff" * 10))
        if shape.enum and chance.random() < 0.85:
            return chance.choice(shape.enum)
        if "policydocument" in shape.name.lower() and chance.random() < 0.8:
            return chance.choice(DOCUMENTS)
        return chance.choice(self._words)


def _things(house: Any) -> list[str]:
    """Something to ask about in every room; its identifiers."""
    iam, ec2, logs = house.client("iam"), house.client("ec2"), house.client("logs")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    iam.create_instance_profile(InstanceProfileName="worker")
    iam.add_role_to_instance_profile(InstanceProfileName="worker", RoleName="ops")
    logs.create_log_group(logGroupName="/aws/batch/job")
    logs.create_log_stream(logGroupName="/aws/batch/job", logStreamName="a")
    x86 = [{"Name": "architecture", "Values": ["x86_64"]}, {"Name": "name", "Values": ["al2023-ami-2023*"]}]
    image = ec2.describe_images(Filters=x86)["Images"][0]["ImageId"]
    made = ec2.run_instances(ImageId=image, InstanceType="m5.large", MinCount=1, MaxCount=1)["Instances"][0]
    return [image, made["InstanceId"], made["SubnetId"], made["VpcId"], made["SecurityGroups"][0]["GroupId"]]


@pytest.mark.parametrize("seed", range(int(os.environ.get("LONGSHORE_RUBBISH_SEEDS", "3"))))
def test_whatever_is_sent_the_house_answers_as_aws_does(house, seed) -> None:
    """More seeds: LONGSHORE_RUBBISH_SEEDS=200."""
    chance = random.Random(seed)
    found = _things(house)
    anna = Person(house, "anna")
    anna.may(allow("*"))
    sender = Sender(chance, WORDS + found * 6 + ["a", "ops", "worker", "/aws/batch/job"] * 6)
    services = house.assembly.dispatcher._services
    offered = []
    for room in ROOMS:
        clients = [unchecked(house.client(room)), unchecked(anna.client(room))]
        names = clients[0].meta.service_model.operation_names
        offered += [(clients, name) for name in names if services[room].operation(name)]
    answered = 0
    for _ in range(CALLS):
        clients, name = chance.choice(offered)
        if name in ("DeleteUser", "DeleteAccessKey", "UpdateAccessKey"):
            continue  # anna is still needed.
        client = chance.choice(clients)
        shape = client.meta.service_model.operation_model(name).input_shape
        request = sender.value(shape) if shape is not None else {}
        try:
            getattr(client, xform_name(name))(**request)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            assert status < 500 or code in FAILURES_OF_AWS, (name, request, error.response)
        except (BotoCoreError, ValueError, TypeError, AttributeError, KeyError):
            continue  # Nothing was sent: the client could not write it.
        answered += 1
    assert answered > CALLS // 2
    house.pass_time(5)  # What the loops make of it must not break them either.
    assert house.client("sts").get_caller_identity()["Account"] == ACCOUNT

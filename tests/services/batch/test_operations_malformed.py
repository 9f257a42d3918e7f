"""Whatever is sent, the answer is Batch's own error or a success, and never an internal failure."""

from __future__ import annotations

import random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_room import CONTAINER, RESOURCES, Room, arn
from longshore.aws import model as models
from longshore.services.batch.service import SERVICE

TEXTS = [
    "", " ", "x", "q", "ce", "jd", "jd:1", "jd:", ":", "*", "%", "/", "arn:", "a" * 300, "\N{SNOWMAN}", "\x00", "-1", "1" * 40,
    arn("job-queue/q"), arn("job-definition/jd:1"), arn("compute-environment/"), arn("job/x"), "arn:aws:iam::1:role/r",
    "arn:aws:iam::123456789012:instance-profile/p", "Ref::x", "eyJ4IjoxfQ==", "1e9", "NaN", "[", "a\nb",
]  # fmt: skip
NUMBERS = [-(1 << 70), -(1 << 31), -1, 0, 1, 2, 60, 100, 1 << 31, 1 << 63, 1 << 70]


class Maker:
    """Values of the types of the model, and often of no sense."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def value(self, service: Any, name: str, depth: int = 0) -> Any:
        shape = service.shapes[name]
        choose = self._random.choice
        if shape.type == "structure":
            some = 0.35 if depth < 4 else 0.0
            members = {
                member: self.value(service, reference.shape, depth + 1)
                for member, reference in shape.members.items()
                if member in shape.required or self._random.random() < some
            }
            if members and self._random.random() < 0.1:
                members.pop(choose(list(members)))
            return members
        if shape.type == "list":
            return [self.value(service, shape.member.shape, depth + 1) for _ in range(choose([0, 1, 1, 2, 4]))]
        if shape.type == "map":
            return {choose(TEXTS): self.value(service, shape.value.shape, depth + 1) for _ in range(choose([0, 1, 3]))}
        if shape.type == "boolean":
            return choose([True, False])
        if shape.type in ("integer", "long"):
            return choose(NUMBERS)
        if shape.type in ("float", "double"):
            return float(choose(NUMBERS))
        return choose(shape.enum) if shape.enum and self._random.random() < 0.9 else choose(TEXTS)


SOUND: dict[str, dict[str, Any]] = {
    "CreateComputeEnvironment": {
        "computeEnvironmentName": "new",
        "type": "MANAGED",
        "computeResources": RESOURCES,
    },
    "UpdateComputeEnvironment": {"computeEnvironment": "ce"},
    "DeleteComputeEnvironment": {"computeEnvironment": "ce"},
    "CreateJobQueue": {
        "jobQueueName": "new",
        "priority": 1,
        "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "ce"}],
    },
    "UpdateJobQueue": {"jobQueue": "q"},
    "DeleteJobQueue": {"jobQueue": "q"},
    "RegisterJobDefinition": {"jobDefinitionName": "jd", "type": "container", "containerProperties": CONTAINER},
    "DeregisterJobDefinition": {"jobDefinition": "jd:1"},
    "SubmitJob": {"jobName": "j", "jobQueue": "q", "jobDefinition": "jd"},
    "ListJobs": {"jobQueue": "q"},
    "CancelJob": {"jobId": "x", "reason": "r"},
    "TerminateJob": {"jobId": "x", "reason": "r"},
    "ListTagsForResource": {"resourceArn": arn("job-queue/q")},
    "TagResource": {"resourceArn": arn("job-queue/q"), "tags": {"a": "b"}},
    "UntagResource": {"resourceArn": arn("job-queue/q"), "tagKeys": ["a"]},
}
PATHS = frozenset({"ListTagsForResource", "TagResource", "UntagResource"})
OFFERED = [name for name in models.model("batch").operations if SERVICE.operation(name) is not None]


def lay(sound: dict[str, Any], strange: dict[str, Any], random_: random.Random) -> dict[str, Any]:
    """A sound request with some of its members made strange, so that the strange ones are reached."""
    if random_.random() < 0.15:
        return strange
    laid = dict(sound)
    for member, value in strange.items():
        if member not in laid or random_.random() < 0.15:
            laid[member] = value
        elif isinstance(value, dict) and isinstance(laid[member], dict):
            laid[member] = lay(laid[member], value, random_)
    return laid


@pytest.mark.parametrize("name", OFFERED)
def test_no_request_breaks_the_house(ready: Room, name: str) -> None:
    check(ready, name, 40)


@pytest.mark.long
@pytest.mark.parametrize("name", OFFERED)
def test_no_request_breaks_the_house_in_a_longer_run(ready: Room, name: str) -> None:
    check(ready, name, 2000, seed=1)


def check(room: Room, name: str, count: int, seed: int = 0) -> None:
    client = room.batch
    client._serializer = client._serializer._serializer  # Without the client's own look at the parameters.
    service = models.model("batch")
    operation = service.operations[name]
    maker, random_ = Maker(seed), random.Random(seed)
    call = getattr(client, "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_"))
    for turn in range(count):
        strange = maker.value(service, operation.input.shape)
        request = lay(SOUND.get(name, {}), strange, random_)
        if name in PATHS and not str(request.get("resourceArn") or "").startswith("arn:aws:batch"):
            request["resourceArn"] = arn("job-queue/q")  # Elsewhere the path would name another operation.
        try:
            call(**request)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            # Another account's things are refused to whoever it is, before their form is looked at.
            foreign = (code, status) == ("AccessDeniedException", 403) and "because no resource-based policy" in str(
                error
            )
            assert foreign or (code, status) == ("ClientException", 400), (turn, request, error)


def test_every_operation_that_is_offered_is_here() -> None:
    takes_more = {name for name in OFFERED if models.model("batch").operations[name].input_shape.required}
    assert takes_more - {"DescribeJobs"} == set(SOUND) - {"ListJobs"}

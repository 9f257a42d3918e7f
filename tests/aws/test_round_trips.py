"""Both ways, for every operation of the services: what botocore writes we read, what we write botocore reads."""

from __future__ import annotations

import os
from typing import Any

import pytest
from botocore.model import Shape

from aws.oracle import (
    SERVICES,
    Values,
    as_received,
    botocore_model,
    operation_names,
    read_by_botocore,
    sent_by_botocore,
)
from longshore.aws import model as models
from longshore.aws.wire import codec
from longshore.aws.wire.route import route

# (full, how many nodes at most) of each value; EC2 is larger than all the others together.
FEW = [(True, 3000), (True, 150), (False, 300), (False, 300)]
FEW_OF_EC2 = [(True, 400), (False, 100)]
LONG_ROUNDS = int(os.environ.get("LONGSHORE_LONG_ROUNDS", "25"))


def rounds(service: str) -> list[tuple[bool, int]]:
    return FEW_OF_EC2 if service == "ec2" else FEW


@pytest.mark.parametrize("service", SERVICES)
def test_what_botocore_sends_is_read_as_it_was_meant(service: str) -> None:
    for name in operation_names(service):
        for index, (full, nodes) in enumerate(rounds(service)):
            send_one(service, name, f"{name}.{index}", full=full, nodes=nodes)


@pytest.mark.parametrize("service", SERVICES)
def test_what_we_answer_is_read_by_botocore_as_it_was_meant(service: str) -> None:
    for name in operation_names(service):
        for index, (full, nodes) in enumerate(rounds(service)):
            answer_one(service, name, f"{name}.{index}", full=full, nodes=nodes)


@pytest.mark.long
@pytest.mark.parametrize("service", SERVICES)
def test_many_values_of_every_operation_both_ways(service: str) -> None:
    for name in operation_names(service):
        for index in range(LONG_ROUNDS):
            send_one(service, name, f"{name}.long.{index}", full=index % 5 == 0, nodes=600)
            answer_one(service, name, f"{name}.long.{index}", full=index % 5 == 0, nodes=600)


def send_one(service: str, name: str, seed: str, *, full: bool, nodes: int) -> None:
    theirs = botocore_model(service).operation_model(name)
    meant = Values(seed, full=full, nodes=nodes).of(theirs.input_shape) if theirs.input_shape else {}
    fill_the_path(theirs, meant)
    request = sent_by_botocore(theirs, meant)
    found = route(request)
    assert (found.service, found.operation.name) == (service, name), seed
    ours = models.model(service).operations[name]
    received = codec.parse(ours, request)
    assert received == as_received(models.model(service).protocol, theirs.input_shape, meant), f"seed {seed}"


def answer_one(service: str, name: str, seed: str, *, full: bool, nodes: int) -> None:
    theirs = botocore_model(service).operation_model(name)
    protocol = models.model(service).protocol
    values = Values(seed, full=full, nodes=nodes, milliseconds=True)
    meant = values.of(theirs.output_shape) if theirs.output_shape else {}
    answer = codec.serialize(models.model(service).operations[name], meant, "request-1", strict=True)
    read = read_by_botocore(theirs, answer)
    metadata = read.pop("ResponseMetadata")
    assert metadata["HTTPStatusCode"] == theirs.http.get("responseCode", 200)
    assert metadata["RequestId"] == "request-1"
    if protocol == "ec2":
        assert read.pop("Return", meant.get("Return")) == meant.get("Return")
        meant.pop("Return", None)
    expected = as_read(protocol, theirs.output_shape, meant) if theirs.output_shape else {}
    assert read == expected, f"seed {seed}"


def fill_the_path(operation: Any, value: dict[str, Any]) -> None:
    """What stands in the path cannot be empty: botocore refuses it before it sends."""
    if operation.input_shape is None:
        return
    for name, member in operation.input_shape.members.items():
        if member.serialization.get("location") == "uri" and not value.get(name):
            value[name] = "arn:aws:batch:us-east-1:123456789012:job-queue/a b%2F"


def as_read(protocol: str, shape: Shape, value: Any) -> Any:
    """IAM and STS write times to the second, and no protocol says a flattened list that is empty."""
    match shape.type_name:
        case "structure" if not getattr(shape, "is_document_type", False):
            return {name: as_read(protocol, shape.members[name], inner) for name, inner in value.items()}
        case "list":
            return [as_read(protocol, shape.member, each) for each in value]
        case "map":
            return {name: as_read(protocol, shape.value, each) for name, each in value.items()}
        case "timestamp" if protocol == "query":
            return value.replace(microsecond=0)
    return value


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "ec2"])
def test_the_values_leave_next_to_nothing_of_the_model_out(service: str) -> None:
    within_reach: set[tuple[str, str]] = set()
    seen: set[tuple[str, str]] = set()
    for name in operation_names(service):
        operation = botocore_model(service).operation_model(name)
        for shape in (operation.input_shape, operation.output_shape):
            if shape is None:
                continue
            within_reach |= members_below(shape, set())
            for index, (full, nodes) in enumerate(rounds(service)):
                values = Values(f"{name}.{index}", full=full, nodes=nodes)
                values.of(shape)
                seen |= values.seen
    assert len(seen) >= 0.98 * len(within_reach), sorted(within_reach - seen)


def members_below(shape: Shape, known: set[str]) -> set[tuple[str, str]]:
    if shape.name in known:
        return set()
    known.add(shape.name)
    match shape.type_name:
        case "structure":
            found = {(shape.name, name) for name in shape.members}
            return found.union(*(members_below(member, known) for member in shape.members.values()))
        case "list":
            return members_below(shape.member, known)
        case "map":
            return members_below(shape.value, known)
    return set()

"""The form of requests: what botocore's own validator refuses we refuse, and each constraint in AWS's words."""

from __future__ import annotations

import random
from typing import Any

import pytest
from botocore.validate import ParamValidator

from aws import synthetic
from aws.oracle import SERVICES, Values, botocore_model, operation_names
from longshore.aws import model as models
from longshore.aws.errors import AwsError
from longshore.aws.shapes import check


def lacking(value: Any, chance: random.Random) -> Any:
    """The value with a member, an element or some text lost here and there."""
    if isinstance(value, dict):
        return {name: lacking(each, chance) for name, each in value.items() if chance.random() > 0.08}
    if isinstance(value, list):
        return [] if chance.random() < 0.1 else [lacking(each, chance) for each in value]
    return value


@pytest.mark.parametrize("service", SERVICES)
def test_whatever_a_client_would_not_send_is_refused(service: str) -> None:
    validator = ParamValidator()
    refused = passed = 0
    for name in operation_names(service):
        shape = botocore_model(service).operation_model(name).input_shape
        if shape is None:
            continue
        for number in range(1 if service == "ec2" else 4):
            seed = f"{name}.{number}"
            value = lacking(Values(seed, full=False, nodes=80).of(shape), random.Random(seed))
            theirs = validator.validate(value, shape)
            try:
                check(models.model(service).operations[name], value)
                passed += 1
                # That one member of a union must be set is botocore's to say: the models name no error for it.
                report = theirs.generate_report().splitlines()
                assert all("tagged union" in line for line in report), (seed, report)
            except AwsError as error:
                refused += 1
                assert error.message and error.code
    assert refused > 0 and passed > 0


def refusal(service: str, operation: str, **request: Any) -> tuple[str, str] | None:
    try:
        check(models.model(service).operations[operation], request)
    except AwsError as error:
        assert error.status in (None, 400)
        return error.code, error.message
    return None


ONE = "1 validation error detected: "


@pytest.mark.parametrize(
    ("service", "operation", "request_", "expected"),
    [
        ("iam", "GetRole", {"RoleName": "ops"}, None),
        (
            "iam", "GetRole", {},
            ("ValidationError", f"{ONE}Value null at 'roleName' failed to satisfy constraint: Member must not be null"),
        ),
        (
            "iam", "GetRole", {"RoleName": "a" * 65},
            ("ValidationError", f"{ONE}Value '{'a' * 65}' at 'roleName' failed to satisfy constraint: Member must have length "
             "less than or equal to 64"),
        ),
        (
            "iam", "GetRole", {"RoleName": "a/b"},
            ("ValidationError", "The specified value for roleName is invalid. It must contain only alphanumeric characters "
             "and/or the following: +=,.@_-"),
        ),
        (
            "iam", "ListRoles", {"MaxItems": 0},
            ("ValidationError", f"{ONE}Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater "
             "than or equal to 1"),
        ),
        (
            "iam", "UpdateAccessKey", {"AccessKeyId": "A" * 20, "Status": "On"},
            ("ValidationError", f"{ONE}Value at 'status' failed to satisfy constraint: Member must satisfy enum value set"),
        ),
        (
            "iam", "TagRole", {"RoleName": "ops", "Tags": [{"Key": "a", "Value": "b"}, {"Key": "a"}]},
            ("ValidationError", f"{ONE}Value null at 'tags.2.member.value' failed to satisfy constraint: "
             "Member must not be null"),
        ),
        ("ecs", "DescribeTasks", {"tasks": []}, None),
        ("ec2", "RunInstances", {"MaxCount": 1}, ("MissingParameter", "The request must contain the parameter MinCount")),
        ("logs", "GetLogEvents", {"logStreamName": "s", "limit": 1}, None),
    ],
)  # fmt: skip
def test_each_constraint_in_the_words_of_aws(
    service: str, operation: str, request_: dict[str, Any], expected: tuple[str, str] | None
) -> None:
    assert refusal(service, operation, **request_) == expected


def test_all_faults_are_counted_and_told_together() -> None:
    code, message = refusal("sts", "AssumeRole", RoleArn="x", RoleSessionName="!") or ("", "")
    assert code == "ValidationError"
    assert message.startswith("3 validation errors detected: Value 'x' at 'roleArn' failed to satisfy constraint: ")
    assert message.count("; Value '!' at 'roleSessionName' failed to satisfy constraint: ") == 2


def test_secrets_are_not_repeated() -> None:
    """A sensitive value stays out of the message that refuses it."""
    model = models.model("iam")
    found = [
        (operation.name, name)
        for operation in model.operations.values()
        if operation.input_shape is not None
        for name, member in operation.input_shape.members.items()
        if model.shapes[member.shape].sensitive and model.shapes[member.shape].max is not None
    ]
    assert found
    for operation, name in found:
        _, message = refusal("iam", operation, **{name: "hunter2" * 5000}) or ("", "")
        assert f"'{name[:1].lower()}{name[1:]}'" in message and "hunter2" not in message


def test_a_value_is_shown_in_part_when_it_is_long() -> None:
    _, message = refusal("iam", "GetRole", RoleName="a" * 100_000) or ("", "")
    assert len(message) < 1000


def test_a_shape_within_itself_is_looked_into_as_deep_as_the_value_goes() -> None:
    ours, _ = synthetic.models("json")
    deep: dict[str, Any] = {"name": "x"}
    for _ in range(50):
        deep = {"children": [deep]}
    check(ours.operations["Do"], {"node": deep})

from __future__ import annotations

from typing import Any

import pytest

from longshore.aws.errors import AwsError
from longshore.services.batch import rules
from longshore.services.batch.rules import Refused

RESOURCES: dict[str, Any] = {
    "type": "EC2",
    "minvCpus": 0,
    "maxvCpus": 16,
    "instanceTypes": ["m5.large"],
    "subnets": ["subnet-1"],
    "securityGroupIds": ["sg-1"],
    "instanceRole": "p",
}
OFFERED = {"m5.large": "x86_64", "m5.xlarge": "x86_64", "m6g.large": "arm64"}


@pytest.mark.parametrize(
    "instance_role",
    [
        "ecsInstanceRole",
        "a+b=c,d.e@f-g",
        "arn:aws:iam::123456789012:instance-profile/p",
        "arn:aws:iam::123456789012:instance-profile/a/path/p",
    ],
)
def test_a_profile_is_a_name_or_an_arn(instance_role: str) -> None:
    rules.check_instance_role(instance_role)


@pytest.mark.parametrize(
    "instance_role",
    [
        "arn:aws:iam::123456789012:role/p",
        "arn:aws:iam::123456789012:instance-profile/",
        "arn:aws:iam::12345:instance-profile/p",
        "arn:aws:ec2:us-east-1:123456789012:instance/i-1",
        "arn:",
    ],
)
def test_any_other_arn_is_no_profile(instance_role: str) -> None:
    with pytest.raises(Refused, match="The ECS Instance Role should be an ECS Instance Profile ARN"):
        rules.check_instance_role(instance_role)


SOUND: list[dict[str, Any]] = [
    {},
    {"desiredvCpus": 0},
    {"minvCpus": 16, "desiredvCpus": 16},
    {"allocationStrategy": "BEST_FIT_PROGRESSIVE_ORDERED"},
    {"type": "SPOT", "spotIamFleetRole": "r"},
    {"type": "SPOT", "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED", "bidPercentage": 100},
    {"ec2Configuration": [{"imageType": "ECS_AL2023"}, {"imageType": "ECS_AL2023_NVIDIA"}]},
    {"scalingPolicy": {"minScaleDownDelayMinutes": 0}},
    {"scalingPolicy": {"minScaleDownDelayMinutes": 10_080}},
    {"tags": {"a": "b"}, "placementGroup": "g", "ec2KeyPair": "k", "imageId": "ami-1"},
]


@pytest.mark.parametrize("change", SOUND)
def test_sound_resources(change: dict[str, Any]) -> None:
    rules.check_compute_resources({**RESOURCES, **change})


@pytest.mark.parametrize(
    "wanted", [["m5"], ["m5.large", "m5.xlarge"], ["optimal", "m5"], ["default_arm64", "m6g.large"]]
)
def test_instance_types_of_one_architecture(wanted: list[str]) -> None:
    rules.check_instance_types(wanted, [], OFFERED)


@pytest.mark.parametrize("wanted", [["m5", "m6g"], ["optimal", "default_arm64"], ["default_x86_64", "m6g.large"]])
def test_instance_types_of_two(wanted: list[str]) -> None:
    with pytest.raises(Refused, match="arm-based instance type cannot be used with other instance types"):
        rules.check_instance_types(wanted, [], OFFERED)


@pytest.mark.parametrize(
    "rule",
    [
        {"onExitCode": "137"},
        {"onExitCode": "1*"},
        {"onExitCode": "*"},
        {"onReason": "*"},
        {"onStatusReason": "Host EC2*"},
        {"onReason": "CannotPullContainerError: a.b*", "onExitCode": "1"},
        {"onReason": "x" * 512},
    ],
)
def test_conditions_that_can_be(rule: dict[str, str]) -> None:
    rules.check_retry_strategy({"attempts": 1, "evaluateOnExit": [{"action": "RETRY", **rule}]})


@pytest.mark.parametrize(
    "rule",
    [
        {"onExitCode": "**"},
        {"onExitCode": "-1"},
        {"onExitCode": "1*2"},
        {"onReason": "a*b"},
        {"onReason": "(a)"},
        {"onStatusReason": "a/b"},
        {"onReason": "x" * 513},
    ],
)
def test_conditions_that_cannot(rule: dict[str, str]) -> None:
    with pytest.raises(Refused, match="restricted characters"):
        rules.check_retry_strategy({"attempts": 1, "evaluateOnExit": [{"action": "RETRY", **rule}]})


def test_sizes_are_counted_in_whole_kib() -> None:
    rules.check_job_size(30 * 1024)
    with pytest.raises(AwsError, match="got 31 KiB"):
        rules.check_job_size(30 * 1024 + 1)


def test_a_refusal_is_passed_on_with_the_request_id() -> None:
    with pytest.raises(AwsError) as caught, rules.executing("the-id"):
        raise Refused("No.")
    assert caught.value.code == "ClientException"
    assert caught.value.message == "Error executing request, Exception : No., RequestId: the-id"
    with pytest.raises(AwsError, match="bare"), rules.executing("the-id"):
        raise rules.client_exception("bare")

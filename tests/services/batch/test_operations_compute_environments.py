from __future__ import annotations

from typing import Any

import pytest

from batch_room import RESOURCES, Room, arn, denial, refusal, trust
from in_process import ACCOUNT
from longshore.services.batch import store
from longshore.services.batch.records import Instance

LINKED = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"


def create(room: Room, **more: Any) -> Any:
    request = {"computeEnvironmentName": "ce", "type": "MANAGED", "computeResources": RESOURCES, **more}
    return room.batch.create_compute_environment(**{key: value for key, value in request.items() if value is not None})


def described(room: Room, name: str = "ce") -> dict[str, Any]:
    (found,) = room.batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    assert isinstance(found, dict)
    return found


def test_one_is_created_and_prepared_behind_the_answer(room: Room) -> None:
    room.profile()
    answer = create(room, tags={"team": "a"})
    assert answer["computeEnvironmentName"] == "ce"
    assert answer["computeEnvironmentArn"] == arn("compute-environment/ce")
    shown = described(room)
    assert shown["status"] == "CREATING" and shown["state"] == "ENABLED"
    assert shown["statusReason"] == ""
    assert shown["serviceRole"] == LINKED
    assert shown["containerOrchestrationType"] == "ECS"
    assert shown["tags"] == {"team": "a"}
    assert shown["computeResources"] == {
        **RESOURCES,
        "desiredvCpus": 0,
        "ec2Configuration": [{"imageType": "ECS_AL2023"}],
    }
    (intent,) = room.intents("prepare")
    assert intent.subject == 1


def test_what_was_not_given_is_not_shown(room: Room) -> None:
    create(room)
    shown = described(room)
    assert not {"allocationStrategy", "bidPercentage", "launchTemplate", "tags"} & set(shown["computeResources"])
    assert not {"updatePolicy", "ecsSettings", "context", "unmanagedvCpus", "ecsClusterArn"} & set(shown)


def test_an_unmanaged_one_has_a_cluster_and_a_service_role_only(room: Room) -> None:
    role = room.iam.create_role(RoleName="batch", AssumeRolePolicyDocument=trust("batch.amazonaws.com"))["Role"]
    create(room, type="UNMANAGED", computeResources=None, serviceRole=role["Arn"], unmanagedvCpus=8)
    shown = described(room)
    assert shown["serviceRole"] == role["Arn"]
    assert shown["unmanagedvCpus"] == 8
    assert "computeResources" not in shown


def test_an_empty_service_role_is_the_service_linked_one(room: Room) -> None:
    """Terraform sends it so."""
    create(room, serviceRole="")
    assert described(room)["serviceRole"] == LINKED
    assert room.iam.get_role(RoleName="AWSServiceRoleForBatch")["Role"]["Arn"] == LINKED
    create(room, computeEnvironmentName="another")  # It is there already.


CREATIONS: list[tuple[dict[str, Any], str]] = [
    ({"computeEnvironmentName": "a b"}, "! Compute environment name should match valid pattern"),
    ({"computeEnvironmentName": "x" * 129}, "! Compute environment name should match valid pattern"),
    ({"state": "DISABLED"}, "! Compute Environment must be created in ENABLED state."),
    ({"computeResources": None}, "! computeResources must be provided for a MANAGED compute environment"),
    ({"type": "UNMANAGED", "computeResources": None}, "! ServiceRole is required."),
    (
        {"type": "UNMANAGED", "serviceRole": "r"},
        "! computeResources can not be provided for an UNMANAGED compute environment",
    ),
    (
        {"type": "UNMANAGED", "computeResources": {"type": "FARGATE", "maxvCpus": 4}},
        "! Cannot create an UNMANAGED Fargate Compute Environment.",
    ),
    ({"unmanagedvCpus": 4}, "! unmanagedvCpus can only be provided for an UNMANAGED compute environment"),
    (
        {"eksConfiguration": {"eksClusterArn": "arn:aws:eks:us-east-1:1:cluster/c", "kubernetesNamespace": "n"}},
        "! Compute environments on Amazon EKS are not offered by this endpoint; leave eksConfiguration out.",
    ),
]
RESOURCE_FAULTS: list[tuple[dict[str, Any], str]] = [
    (
        {"type": "FARGATE"},
        "! Compute environments of type FARGATE are not offered by this endpoint; use EC2 or SPOT.",
    ),
    ({"minvCpus": None}, "! Resource minvCpus is required."),
    ({"minvCpus": -1}, "! minvCpus should be greater than or equal to 0."),
    ({"minvCpus": 17}, "! maxvCpus should be greater than or equal to minvCpus."),
    ({"maxvCpus": 0}, "! maxvCpus should be greater than or equal to minvCpus."),
    ({"desiredvCpus": 17}, "! desiredvCpus should be between minvCpus and maxvCpus."),
    ({"instanceTypes": []}, "! Resource instanceTypes are required."),
    ({"instanceTypes": ["m5.large", "m6g.large"]}, "! arm-based instance type cannot be used with other instance types."),
    ({"instanceTypes": ["optimal", "m6g"]}, "! arm-based instance type cannot be used with other instance types."),
    ({"subnets": None}, "! Subnets are required."),
    ({"securityGroupIds": []}, "! Security group ids are required."),
    ({"instanceRole": None}, "! Instance role is required."),
    ({"instanceRole": ""}, "! Instance role is required."),
    (
        {"instanceRole": f"arn:aws:iam::{ACCOUNT}:role/ecsInstanceRole"},
        "! The ECS Instance Role should be an ECS Instance Profile ARN.",
    ),
    (
        {"launchTemplate": {"launchTemplateId": "lt-1"}},
        "! Launch templates are not offered by this endpoint; leave launchTemplate out.",
    ),
    (
        {"ec2Configuration": [{"imageType": "ECS_AL3"}]},
        "! imageType ECS_AL3 is not valid. Valid values: ECS_AL2, ECS_AL2023, ECS_AL2023_NVIDIA, ECS_AL2_NVIDIA",
    ),
    (
        {"ec2Configuration": [{"imageType": "ECS_AL2"}]},
        "! Amazon Linux 2 is end-of-life. Please see"
        " https://docs.aws.amazon.com/batch/latest/userguide/compute_resource_AMIs.html.",
    ),
    ({"ec2Configuration": [{"imageType": "ECS_AL2023"}] * 2}, "! Duplicate imageType in ec2Configuration."),
    ({"ec2Configuration": [{"imageType": "ECS_AL2023"}] * 3}, "! At most 2 ec2Configurations are allowed."),
    (
        {"allocationStrategy": "SPOT_CAPACITY_OPTIMIZED"},
        "! Allocation strategy SPOT_CAPACITY_OPTIMIZED is only applicable for SPOT.",
    ),
    (
        {"allocationStrategy": "BEST_FIT_PROGRESSIVE_ORDERED"},
        "! Allocation strategy BEST_FIT_PROGRESSIVE_ORDERED cannot be used with instance type optimal.",
    ),
    ({"type": "SPOT"}, "! compute resource spotIamFleetRole is required."),
    (
        {"type": "SPOT", "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED", "bidPercentage": 101},
        "! bidPercentage should be between 1 and 100.",
    ),
    ({"scalingPolicy": {"minScaleDownDelayMinutes": 5}}, "! minScaleDownDelayMinutes should be 0 or between 20 and 10080."),
    ({"capacityTags": {"a": "b"}}, "! capacityTags is not applicable for EC2."),
]  # fmt: skip


def test_a_creation_that_cannot_be(room: Room) -> None:
    for change, text in CREATIONS:
        assert refusal(create, room=room, **change) == text, change
    assert room.batch.describe_compute_environments()["computeEnvironments"] == []


def test_resources_that_cannot_be(room: Room) -> None:
    for change, text in RESOURCE_FAULTS:
        resources = {key: value for key, value in {**RESOURCES, **change}.items() if value is not None}
        assert refusal(create, room=room, computeResources=resources) == text, change


def test_an_unknown_instance_type_is_answered_with_those_that_there_are(room: Room) -> None:
    text = refusal(create, room=room, computeResources={**RESOURCES, "instanceTypes": ["m5.large", "q9.huge"]})
    assert text.startswith("! Instance type can only be one of [")
    assert " m5," in text and " m5.large," in text and " optimal" in text


def test_what_the_model_asks_is_refused_in_its_words(room: Room) -> None:
    client = room.batch
    client._serializer = client._serializer._serializer  # Without the client's own look at the parameters.
    assert refusal(client.create_compute_environment, computeEnvironmentName="ce") == (
        "Value null at 'type' failed to satisfy constraint: Member must not be null"
    )
    assert refusal(client.create_compute_environment, computeEnvironmentName="ce", type="SOME") == (
        "Value 'SOME' at 'type' failed to satisfy constraint: Member must satisfy enum value set: [MANAGED, UNMANAGED]"
    )


def test_a_second_one_of_the_name_is_refused(room: Room) -> None:
    create(room)
    assert refusal(create, room=room) == "Object already exists"


def test_a_profile_that_does_not_exist_is_found_later(room: Room) -> None:
    create(room, computeResources={**RESOURCES, "instanceRole": "nobody"})
    assert described(room)["status"] == "CREATING"


@pytest.mark.parametrize(
    "instance_role", ["ecsInstanceRole", f"arn:aws:iam::{ACCOUNT}:instance-profile/ecsInstanceRole"]
)
def test_a_profile_is_given_by_name_or_arn_and_its_role_must_be_passable(room: Room, instance_role: str) -> None:
    room.profile()
    everything = {"Effect": "Allow", "Action": ["batch:*", "iam:CreateServiceLinkedRole"], "Resource": "*"}
    user = room.user("bob", everything)
    request = {
        "computeEnvironmentName": "ce",
        "type": "MANAGED",
        "computeResources": {**RESOURCES, "instanceRole": instance_role},
    }
    assert denial(user.create_compute_environment, **request) == (
        f"User: arn:aws:iam::{ACCOUNT}:user/bob is not authorized to perform: iam:PassRole on resource:"
        f" arn:aws:iam::{ACCOUNT}:role/ecsInstanceRole because no identity-based policy allows the iam:PassRole action"
    )
    passes = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": f"arn:aws:iam::{ACCOUNT}:role/ecsInstanceRole",
        "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    }
    room.user("eve", everything, passes).create_compute_environment(**request)
    assert described(room)["computeResources"]["instanceRole"] == instance_role


def test_the_service_linked_role_is_made_as_the_caller(room: Room) -> None:
    room.profile()
    user = room.user("bob", {"Effect": "Allow", "Action": ["batch:*", "iam:PassRole"], "Resource": "*"})
    request = {"computeEnvironmentName": "ce", "type": "MANAGED", "computeResources": RESOURCES}
    text = denial(user.create_compute_environment, **request)
    assert f"is not authorized to perform: iam:CreateServiceLinkedRole on resource: {LINKED}" in text
    assert room.batch.describe_compute_environments()["computeEnvironments"] == []
    room.iam.attach_user_policy(UserName="bob", PolicyArn="arn:aws:iam::aws:policy/AWSBatchFullAccess")
    user.create_compute_environment(**request)
    # Once it is there, it takes no right to make it.
    room.iam.detach_user_policy(UserName="bob", PolicyArn="arn:aws:iam::aws:policy/AWSBatchFullAccess")
    user.create_compute_environment(**{**request, "computeEnvironmentName": "another"})


def test_a_service_role_and_a_spot_fleet_role_are_passed_too(room: Room) -> None:
    room.profile()
    role = room.iam.create_role(RoleName="batch", AssumeRolePolicyDocument=trust("batch.amazonaws.com"))["Role"]["Arn"]
    fleet = f"arn:aws:iam::{ACCOUNT}:role/fleet"
    everything = {"Effect": "Allow", "Action": "batch:*", "Resource": "*"}
    to_ec2 = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": f"arn:aws:iam::{ACCOUNT}:role/ecsInstanceRole"}
    user = room.user("bob", everything, to_ec2)
    request = {
        "computeEnvironmentName": "ce",
        "type": "MANAGED",
        "computeResources": {**RESOURCES, "type": "SPOT", "spotIamFleetRole": fleet},
    }
    assert f"iam:PassRole on resource: {role} " in denial(user.create_compute_environment, serviceRole=role, **request)
    to_batch = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": role}
    eve = room.user("eve", everything, to_ec2, to_batch)
    assert f"iam:PassRole on resource: {fleet} " in denial(eve.create_compute_environment, serviceRole=role, **request)


def test_tags_at_creation_take_a_right_of_their_own(room: Room) -> None:
    room.profile()
    create = {"Effect": "Allow", "Action": ["batch:CreateComputeEnvironment", "iam:*"], "Resource": "*"}
    user = room.user("bob", create)
    request = {"computeEnvironmentName": "ce", "type": "MANAGED", "computeResources": RESOURCES, "tags": {"a": "b"}}
    assert f"batch:TagResource on resource: {arn('compute-environment/ce')} " in denial(
        user.create_compute_environment, **request
    )


def test_those_named_are_described_where_they_are_and_all_page_by_page(room: Room) -> None:
    for name in ("b", "a", "c"):
        create(room, computeEnvironmentName=name)
    found = room.batch.describe_compute_environments(computeEnvironments=["c", "nobody", arn("compute-environment/a")])
    assert [each["computeEnvironmentName"] for each in found["computeEnvironments"]] == ["c", "a"]
    first = room.batch.describe_compute_environments(maxResults=2)
    assert [each["computeEnvironmentName"] for each in first["computeEnvironments"]] == ["a", "b"]
    second = room.batch.describe_compute_environments(maxResults=2, nextToken=first["nextToken"])
    assert [each["computeEnvironmentName"] for each in second["computeEnvironments"]] == ["c"]
    assert "nextToken" not in second
    pages = room.batch.get_paginator("describe_compute_environments").paginate(PaginationConfig={"PageSize": 1})
    assert [each["computeEnvironmentName"] for page in pages for each in page["computeEnvironments"]] == ["a", "b", "c"]


def test_other_regions_have_their_own(room: Room) -> None:
    create(room)
    elsewhere = room.house.client("batch", region="eu-west-1")
    assert elsewhere.describe_compute_environments()["computeEnvironments"] == []
    assert elsewhere.describe_compute_environments(computeEnvironments=["ce"])["computeEnvironments"] == []


PAGES: list[tuple[dict[str, Any], str]] = [
    ({"maxResults": 0}, "maxResults must be between 1 and 100, got 0."),
    ({"maxResults": 101}, "maxResults must be between 1 and 100, got 101."),
    ({"nextToken": "nonsense"}, "The nextToken is invalid."),
    ({"nextToken": "\N{SNOWMAN}"}, "The nextToken is invalid."),
    (
        {"computeEnvironments": [f"n{i}" for i in range(101)]},
        "Maximum number of compute environments supported is 100, got 101.",
    ),
]


def test_a_page_that_cannot_be(room: Room) -> None:
    for request, text in PAGES:
        assert refusal(room.batch.describe_compute_environments, **request) == text, request


def test_an_update_is_written_down_and_prepared(room: Room) -> None:
    room.environment()
    answer = room.batch.update_compute_environment(
        computeEnvironment=arn("compute-environment/ce"),
        state="DISABLED",
        computeResources={"maxvCpus": 32, "minvCpus": 2},
        updatePolicy={"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 10},
        context="c",
    )
    assert answer["computeEnvironmentName"] == "ce"
    shown = described(room)
    assert (shown["state"], shown["status"]) == ("DISABLED", "UPDATING")
    assert shown["computeResources"]["maxvCpus"] == 32
    assert shown["computeResources"]["desiredvCpus"] == 2
    assert shown["updatePolicy"] == {"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 10}
    assert shown["context"] == "c"
    assert len(room.intents("prepare")) == 1


def update(room: Room, **request: Any) -> Any:
    return room.batch.update_compute_environment(computeEnvironment="ce", **request)


UPDATES: list[tuple[dict[str, Any], str]] = [
    ({"computeResources": {}}, "! At least one compute-resources attribute must be specified"),
    (
        {"computeResources": {"desiredvCpus": 1}},
        "! Manually scaling down compute environment is not supported.  Disconnecting job queues from compute"
        " environment will cause it to scale-down to minvCpus.",
    ),
    ({"computeResources": {"desiredvCpus": 17}}, "! desiredvCpus should be between minvCpus and maxvCpus."),
    ({"computeResources": {"maxvCpus": 1}}, "! maxvCpus should be greater than or equal to minvCpus."),
    (
        {"computeResources": {"instanceTypes": ["c5"]}},
        "! Instances can not be replaced in a compute environment with allocation strategy BEST_FIT.",
    ),
    (
        {"computeResources": {"instanceRole": f"arn:aws:iam::{ACCOUNT}:role/x", "allocationStrategy": "BEST_FIT_PROGRESSIVE"}},
        "! The ECS Instance Role should be an ECS Instance Profile ARN.",
    ),
    (
        {"serviceRole": "other"},
        "! serviceRole can not be changed between a service-linked role and another role.",
    ),
    ({"unmanagedvCpus": 3}, "! unmanagedvCpus can only be provided for an UNMANAGED compute environment"),
]  # fmt: skip


def test_an_update_that_cannot_be(room: Room) -> None:
    room.environment(minvCpus=2)
    before = described(room)
    for change, text in UPDATES:
        assert refusal(update, room=room, **change) == text, change
    assert described(room) == before


def test_one_that_is_not_there_cannot_be_changed(room: Room) -> None:
    there = arn("compute-environment/ce")
    assert refusal(update, room=room, state="DISABLED") == f"{there} does not exist"
    assert refusal(room.batch.delete_compute_environment, computeEnvironment=there) == f"{there} does not exist"


def test_one_that_is_being_made_cannot_be_changed(room: Room) -> None:
    create(room)
    assert refusal(update, room=room, state="DISABLED") == "Cannot update, resource is being modified."
    text = refusal(room.batch.delete_compute_environment, computeEnvironment="ce")
    assert text == "Cannot delete, resource is being modified."


def test_what_is_sent_again_as_it_is_replaces_nothing(room: Room) -> None:
    """Terraform sends more than it changes."""
    room.environment()
    update(room, computeResources={"maxvCpus": 64, "instanceTypes": ["optimal"]}, serviceRole="")
    assert described(room)["computeResources"]["maxvCpus"] == 64


def test_other_instances_are_had_by_replacing_those_that_there_are(room: Room) -> None:
    room.environment(allocationStrategy="BEST_FIT_PROGRESSIVE")

    def up(call: Any) -> None:
        for number in (1, 2):
            store.insert_instance(
                call.transaction,
                Instance(
                    number=number, environment=1, account=ACCOUNT, region=call.region, token=f"t{number}",
                    instance_type="m6i.large", cpu=2048, memory_mib=7900, phase="joined", asked_at=0,
                    instance_id=f"i-{number}", launched_at=0, container_instance_arn=f"ci-{number}", connected=True,
                ),
            )  # fmt: skip

    room.write(up)
    assert described(room)["computeResources"]["desiredvCpus"] == 4
    update(room, computeResources={"instanceTypes": ["c5"], "ec2KeyPair": "k"})
    assert described(room)["computeResources"]["instanceTypes"] == ["c5"]
    assert described(room)["computeResources"]["desiredvCpus"] == 0
    assert sorted(intent.subject for intent in room.intents("terminate")) == [1, 2]
    room.settle_environment()
    update(room, computeResources={"ec2KeyPair": ""})
    assert "ec2KeyPair" not in described(room)["computeResources"]


def test_an_invalid_one_can_be_updated_and_deleted(room: Room) -> None:
    create(room)
    room.settle_environment(status="INVALID")
    update(room, state="DISABLED")
    room.settle_environment(status="INVALID")
    room.batch.delete_compute_environment(computeEnvironment="ce")
    assert described(room)["status"] == "DELETING"
    assert [intent.kind for intent in room.intents("dismantle")] == ["dismantle"]
    assert room.intents("prepare") == []
    text = refusal(room.batch.delete_compute_environment, computeEnvironment="ce")
    assert text == "Cannot delete, resource is being modified."


def test_one_that_is_enabled_or_has_a_queue_is_not_deleted(room: Room) -> None:
    room.queue()
    delete = room.batch.delete_compute_environment
    assert refusal(delete, computeEnvironment="ce") == "Cannot delete, state must be DISABLED"
    update(room, state="DISABLED")
    room.settle_environment()
    assert refusal(delete, computeEnvironment="ce") == "Cannot delete, found existing JobQueue relationship"


def test_rights_can_hang_on_tags_and_names(room: Room) -> None:
    create(room, tags={"team": "a"})
    room.settle_environment()
    create(room, computeEnvironmentName="other", tags={"team": "b"})
    room.settle_environment("other")
    user = room.user(
        "bob",
        {
            "Effect": "Allow",
            "Action": "batch:UpdateComputeEnvironment",
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:ResourceTag/team": "a"}},
        },
    )
    user.update_compute_environment(computeEnvironment="ce", state="DISABLED")
    assert f"batch:UpdateComputeEnvironment on resource: {arn('compute-environment/other')} " in denial(
        user.update_compute_environment, computeEnvironment="other", state="DISABLED"
    )
    assert "batch:DescribeComputeEnvironments on resource: * " in denial(user.describe_compute_environments)

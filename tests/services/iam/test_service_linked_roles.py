"""The role that belongs to Batch."""

from __future__ import annotations

import pytest

from people import EC2_TRUST, allow
from refusals import refused

NAME = "AWSServiceRoleForBatch"
ARN = f"arn:aws:iam::123456789012:role/aws-service-role/batch.amazonaws.com/{NAME}"


def test_it_is_made_once_with_the_policy_of_aws_and_no_suffix(house) -> None:
    iam = house.client("iam")
    made = iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")["Role"]
    assert made["Arn"] == ARN and made["Path"] == "/aws-service-role/batch.amazonaws.com/"
    (attached,) = iam.list_attached_role_policies(RoleName=NAME)["AttachedPolicies"]
    assert attached["PolicyArn"] == "arn:aws:iam::aws:policy/aws-service-role/BatchServiceRolePolicy"
    assert iam.get_role(RoleName=NAME)["Role"]["MaxSessionDuration"] == 3600
    with refused(
        "InvalidInput",
        f"Service role name {NAME} has been taken in this account, please try a different suffix.",
        status=400,
    ):
        iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    with refused("InvalidInput", "Custom suffix is not allowed for batch.amazonaws.com", status=400):
        iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com", CustomSuffix="x")


def test_nobody_but_aws_changes_it(house) -> None:
    iam = house.client("iam")
    iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    message = f"Cannot perform the operation on the protected role '{NAME}' - this role is only modifiable by AWS"
    read = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    for call in (
        lambda: iam.attach_role_policy(RoleName=NAME, PolicyArn=read),
        lambda: iam.delete_role(RoleName=NAME),
        lambda: iam.put_role_policy(RoleName=NAME, PolicyName="p", PolicyDocument="{}"),
        lambda: iam.update_role(RoleName=NAME, Description="ours", MaxSessionDuration=7200),
        lambda: iam.update_assume_role_policy(RoleName=NAME, PolicyDocument=EC2_TRUST),
        lambda: iam.put_role_permissions_boundary(RoleName=NAME, PermissionsBoundary=read),
    ):
        with refused("UnmodifiableEntity", message, status=400):
            call()
    # All but what it is said to be for.
    iam.update_role(RoleName=NAME, Description="ours")
    assert iam.get_role(RoleName=NAME)["Role"]["Description"] == "ours"
    assert iam.update_role_description(RoleName=NAME, Description="theirs")["Role"]["Description"] == "theirs"


def test_it_goes_by_its_own_operation(house) -> None:
    iam = house.client("iam")
    iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    task = iam.delete_service_linked_role(RoleName=NAME)["DeletionTaskId"]
    assert task.startswith(f"task/aws-service-role/batch.amazonaws.com/{NAME}/")
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"
    with refused("NoSuchEntity", status=404):
        iam.get_role(RoleName=NAME)


def test_making_it_needs_the_action_for_that_service(house, person) -> None:
    anna = person("anna")
    anna.may(
        allow(
            "iam:CreateServiceLinkedRole",
            "arn:aws:iam::*:role/aws-service-role/*",
            Condition={"StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}},
        )
    )
    with refused(
        "AccessDenied",
        f"User: {anna.arn} is not authorized to perform: iam:CreateServiceLinkedRole on resource: {ARN} "
        "because no identity-based policy allows the iam:CreateServiceLinkedRole action",
        status=403,
    ):
        anna.client("iam").create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    anna.client("iam").create_service_linked_role(AWSServiceName="spot.amazonaws.com")


@pytest.mark.parametrize(
    ("service", "name", "policy"),
    [
        ("batch.amazonaws.com", "AWSServiceRoleForBatch", "BatchServiceRolePolicy"),
        ("ecs.amazonaws.com", "AWSServiceRoleForECS", "AmazonECSServiceRolePolicy"),
        ("spot.amazonaws.com", "AWSServiceRoleForEC2Spot", "AWSEC2SpotServiceRolePolicy"),
        ("spotfleet.amazonaws.com", "AWSServiceRoleForEC2SpotFleet", "AWSEC2SpotFleetServiceRolePolicy"),
        ("autoscaling.amazonaws.com", "AWSServiceRoleForAutoScaling", "AutoScalingServiceRolePolicy"),
    ],
)
def test_each_service_has_its_role_its_path_and_its_policy(house, service, name, policy) -> None:
    iam = house.client("iam")
    made = iam.create_service_linked_role(AWSServiceName=service, Description="d")["Role"]
    assert made["Arn"] == f"arn:aws:iam::123456789012:role/aws-service-role/{service}/{name}"
    (statement,) = made["AssumeRolePolicyDocument"]["Statement"]
    assert statement == {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Principal": {"Service": [service]}}
    (attached,) = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert attached["PolicyArn"] == f"arn:aws:iam::aws:policy/aws-service-role/{policy}"
    assert iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]["AttachmentCount"] == 1


def test_only_auto_scaling_takes_a_suffix_and_has_several(house) -> None:
    iam = house.client("iam")
    iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com")
    made = iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com", CustomSuffix="second")["Role"]
    assert made["RoleName"] == "AWSServiceRoleForAutoScaling_second"
    with refused("InvalidInput", status=400):
        iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com", CustomSuffix="second")
    with refused("InvalidInput", status=400):
        iam.create_service_linked_role(AWSServiceName="nobody.amazonaws.com")


def test_a_role_that_is_in_use_stays_and_it_is_told_what_uses_it(house) -> None:
    iam, batch, ecs = house.client("iam"), house.client("batch"), house.client("ecs")
    iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    made = batch.create_compute_environment(computeEnvironmentName="ce", type="UNMANAGED", serviceRole=ARN)
    task = iam.delete_service_linked_role(RoleName=NAME)["DeletionTaskId"]
    status = iam.get_service_linked_role_deletion_status(DeletionTaskId=task)
    assert status["Status"] == "FAILED"
    assert status["Reason"]["RoleUsageList"] == [{"Region": "us-east-1", "Resources": [made["computeEnvironmentArn"]]}]
    assert NAME in status["Reason"]["Reason"]
    assert iam.get_role(RoleName=NAME)["Role"]["Arn"] == ARN

    def environments() -> list:
        return batch.describe_compute_environments()["computeEnvironments"]

    house.settle(lambda: environments()[0]["status"] == "VALID")
    batch.update_compute_environment(computeEnvironment="ce", state="DISABLED")
    house.settle(lambda: environments()[0]["status"] == "VALID")
    batch.delete_compute_environment(computeEnvironment="ce")
    house.settle(lambda: not environments())
    task = iam.delete_service_linked_role(RoleName=NAME)["DeletionTaskId"]
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task) | {"ResponseMetadata": None} == {
        "Status": "SUCCEEDED", "ResponseMetadata": None,
    }  # fmt: skip
    iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    again = iam.get_service_linked_role_deletion_status(DeletionTaskId=task)
    assert again["Status"] == "SUCCEEDED"  # The task tells of the role that was there then.
    iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com")
    cluster = ecs.create_cluster(clusterName="c")["cluster"]["clusterArn"]
    task = iam.delete_service_linked_role(RoleName="AWSServiceRoleForECS")["DeletionTaskId"]
    reason = iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Reason"]
    assert cluster in reason["RoleUsageList"][0]["Resources"]
    with refused("NoSuchEntity", status=404):
        iam.get_service_linked_role_deletion_status(
            DeletionTaskId=f"task/aws-service-role/batch.amazonaws.com/{NAME}/x"
        )


def test_a_role_of_the_account_does_not_go_that_way(house) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    with refused("NoSuchEntity", status=404):
        iam.delete_service_linked_role(RoleName="ops")
    with refused("InvalidInput", status=400):
        iam.create_role(
            RoleName="mine", Path="/aws-service-role/batch.amazonaws.com/", AssumeRolePolicyDocument=EC2_TRUST
        )

"""The role that belongs to Batch."""

from __future__ import annotations

from people import allow
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
    ):
        with refused("UnmodifiableEntity", message, status=400):
            call()


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

"""GetAccountAuthorizationDetails: the whole account, with all that hangs on each."""

from __future__ import annotations

import pytest

from people import EC2_TRUST, allow, document
from refusals import refused, unchecked

ACCOUNT = "123456789012"
INSTANCE_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
LISTS = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")


@pytest.fixture
def iam(house):
    iam = house.client("iam")
    own = iam.create_policy(PolicyName="own", Description="ours", PolicyDocument=document(allow("s3:*")))["Policy"]
    iam.create_policy_version(PolicyArn=own["Arn"], PolicyDocument=document(allow("s3:Get*")), SetAsDefault=True)
    iam.create_group(GroupName="ops", Path="/team/")
    iam.attach_group_policy(GroupName="ops", PolicyArn=own["Arn"])
    iam.put_group_policy(GroupName="ops", PolicyName="look", PolicyDocument=document(allow("iam:List*")))
    iam.create_user(UserName="anna", Tags=[{"Key": "team", "Value": "a"}], PermissionsBoundary=own["Arn"])
    iam.put_user_policy(UserName="anna", PolicyName="in", PolicyDocument=document(allow("sqs:*")))
    iam.add_user_to_group(GroupName="ops", UserName="anna")
    iam.create_user(UserName="bert")
    iam.create_role(RoleName="ecsInstanceRole", AssumeRolePolicyDocument=EC2_TRUST, Description="d")
    iam.attach_role_policy(RoleName="ecsInstanceRole", PolicyArn=INSTANCE_POLICY)
    iam.create_instance_profile(InstanceProfileName="ecsInstanceRole")
    iam.add_role_to_instance_profile(InstanceProfileName="ecsInstanceRole", RoleName="ecsInstanceRole")
    return iam


def test_everything_is_told_once_with_what_hangs_on_it(iam) -> None:
    details = iam.get_account_authorization_details()
    assert details["IsTruncated"] is False and "Marker" not in details
    anna, bert = details["UserDetailList"]
    assert anna["GroupList"] == ["ops"] and anna["Tags"] == [{"Key": "team", "Value": "a"}]
    assert anna["UserPolicyList"] == [
        {"PolicyName": "in", "PolicyDocument": {"Version": "2012-10-17", "Statement": [allow("sqs:*")]}}
    ]
    assert anna["PermissionsBoundary"]["PermissionsBoundaryArn"] == f"arn:aws:iam::{ACCOUNT}:policy/own"
    assert bert["GroupList"] == [] and bert["AttachedManagedPolicies"] == [] and "PermissionsBoundary" not in bert
    (group,) = details["GroupDetailList"]
    assert group["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/team/ops"
    assert [each["PolicyName"] for each in group["GroupPolicyList"]] == ["look"]
    assert group["AttachedManagedPolicies"] == [
        {"PolicyName": "own", "PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/own"}
    ]
    (role,) = details["RoleDetailList"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com"}
    assert role["RoleLastUsed"] == {} and role["RolePolicyList"] == []
    (profile,) = role["InstanceProfileList"]
    assert profile["InstanceProfileName"] == "ecsInstanceRole"
    assert [each["RoleName"] for each in profile["Roles"]] == ["ecsInstanceRole"]
    own, aws = details["Policies"]
    assert own["Description"] == "ours" and own["AttachmentCount"] == 1 and own["PermissionsBoundaryUsageCount"] == 1
    assert [(each["VersionId"], each["IsDefaultVersion"]) for each in own["PolicyVersionList"]] == [
        ("v2", True), ("v1", False),
    ]  # fmt: skip
    assert own["PolicyVersionList"][0]["Document"]["Statement"] == [allow("s3:Get*")]
    assert aws["Arn"] == INSTANCE_POLICY and aws["AttachmentCount"] == 1
    assert len(aws["PolicyVersionList"]) == 1


@pytest.mark.parametrize(
    ("kinds", "counts"),
    [
        (["User"], [2, 0, 0, 0]),
        (["Group", "Role"], [0, 1, 1, 0]),
        (["LocalManagedPolicy"], [0, 0, 0, 1]),
        (["AWSManagedPolicy"], [0, 0, 0, 1]),
        (["User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"], [2, 1, 1, 2]),
    ],
)
def test_a_filter_leaves_the_other_lists_empty(iam, kinds, counts) -> None:
    details = iam.get_account_authorization_details(Filter=kinds)
    assert [len(details[each]) for each in LISTS] == counts


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_pages_run_over_the_lists_and_lose_nothing(iam, size) -> None:
    whole = iam.get_account_authorization_details()
    pages = list(iam.get_paginator("get_account_authorization_details").paginate(PaginationConfig={"PageSize": size}))
    assert [sum(len(page[each]) for each in LISTS) for page in pages[:-1]] == [size] * (len(pages) - 1)
    for each in LISTS:
        assert [one for page in pages for one in page[each]] == whole[each]


def test_a_filter_or_marker_of_no_sense_is_refused(iam) -> None:
    with refused("ValidationError", status=400):
        unchecked(iam).get_account_authorization_details(Filter=["Everything"])
    with refused("ValidationError", "Invalid Marker.", status=400):
        iam.get_account_authorization_details(Marker="rubbish")


def test_it_needs_the_right_of_its_name(iam, person) -> None:
    anne = person("anne")
    with refused("AccessDenied", status=403) as caught:
        anne.client("iam").get_account_authorization_details()
    assert "iam:GetAccountAuthorizationDetails on resource: * because" in str(caught.value)
    anne.may(allow("iam:GetAccountAuthorizationDetails"))
    anne.client("iam").get_account_authorization_details()

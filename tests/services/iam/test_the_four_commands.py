"""The Batch guide's page "Amazon ECS instance role", by an unmodified client."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"


def test_the_four_commands_make_a_role_in_a_profile_with_the_fields_of_aws(house) -> None:
    iam = house.client("iam")
    role = iam.create_role(RoleName="ecsInstanceRole", AssumeRolePolicyDocument=TRUST)["Role"]
    assert set(role) == {"Path", "RoleName", "RoleId", "Arn", "CreateDate", "AssumeRolePolicyDocument"}
    assert role["RoleId"].startswith("AROA") and len(role["RoleId"]) == 21
    assert iam.list_instance_profiles()["InstanceProfiles"] == []
    profile = iam.create_instance_profile(InstanceProfileName="ecsInstanceRole")["InstanceProfile"]
    assert profile["InstanceProfileId"].startswith("AIPA") and profile["Roles"] == []
    iam.add_role_to_instance_profile(InstanceProfileName="ecsInstanceRole", RoleName="ecsInstanceRole")
    iam.attach_role_policy(RoleName="ecsInstanceRole", PolicyArn=POLICY)
    held = iam.get_instance_profile(InstanceProfileName="ecsInstanceRole")["InstanceProfile"]["Roles"]
    assert [each["RoleName"] for each in held] == ["ecsInstanceRole"]
    assert iam.get_role(RoleName="ecsInstanceRole")["Role"]["MaxSessionDuration"] == 3600


def test_a_second_user_is_refused_in_the_words_of_aws_until_a_policy_allows(house) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=TRUST)
    arn = iam.create_user(UserName="anna")["User"]["Arn"]
    key = iam.create_access_key(UserName="anna")["AccessKey"]
    anna = house.client("iam", key["AccessKeyId"], key["SecretAccessKey"])
    with pytest.raises(ClientError) as refused:
        anna.get_role(RoleName="ops")
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert refused.value.response["Error"]["Message"] == (
        f"User: {arn} is not authorized to perform: iam:GetRole on resource: arn:aws:iam::123456789012:role/ops "
        "because no identity-based policy allows the iam:GetRole action"
    )
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:GetRole", "Resource": "*"}]}
    iam.put_user_policy(UserName="anna", PolicyName="look", PolicyDocument=json.dumps(allow))
    assert anna.get_role(RoleName="ops")["Role"]["RoleName"] == "ops"
    iam.update_access_key(UserName="anna", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        anna.get_role(RoleName="ops")


def test_the_root_user_is_itself_and_a_wrong_secret_is_refused(house) -> None:
    assert house.client("sts").get_caller_identity()["Arn"] == "arn:aws:iam::123456789012:root"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        house.client("sts", secret_access_key="wrong").get_caller_identity()

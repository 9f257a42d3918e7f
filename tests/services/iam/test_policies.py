"""Managed policies, their versions, where they hang; and documents that are refused."""

from __future__ import annotations

import json

import pytest

from people import EC2_TRUST, allow, document, trust
from refusals import refused

USER = "arn:aws:iam::123456789012:user"
LOOK = document(allow("s3:ListAllMyBuckets"))


def test_a_new_policy_shows_what_aws_shows(house) -> None:
    iam = house.client("iam")
    made = iam.create_policy(PolicyName="look", Path="/team/", PolicyDocument=LOOK, Description="d")["Policy"]
    assert set(made) == {
        "PolicyName", "PolicyId", "Arn", "Path", "DefaultVersionId", "AttachmentCount",
        "PermissionsBoundaryUsageCount", "IsAttachable", "CreateDate", "UpdateDate",
    }  # fmt: skip
    assert made["Arn"] == "arn:aws:iam::123456789012:policy/team/look" and made["DefaultVersionId"] == "v1"
    got = iam.get_policy(PolicyArn=made["Arn"])["Policy"]
    assert got["Description"] == "d" and got["Tags"] == []
    with refused(
        "EntityAlreadyExists", "A policy called look already exists. Duplicate names are not allowed.", status=409
    ):
        iam.create_policy(PolicyName="look", PolicyDocument=LOOK)


def test_versions_are_five_at_most_and_their_numbers_are_never_given_again(house) -> None:
    iam = house.client("iam")
    arn = iam.create_policy(PolicyName="look", PolicyDocument=LOOK)["Policy"]["Arn"]
    for number in range(2, 6):
        made = iam.create_policy_version(PolicyArn=arn, PolicyDocument=LOOK)["PolicyVersion"]
        assert (made["VersionId"], made["IsDefaultVersion"]) == (f"v{number}", False)
    with refused(
        "LimitExceeded",
        "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing "
        "version.",
        status=409,
    ):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=LOOK)
    with refused("DeleteConflict", "Cannot delete the default version of a policy.", status=409):
        iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    iam.delete_policy_version(PolicyArn=arn, VersionId="v5")
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=LOOK, SetAsDefault=True)
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [each["VersionId"] for each in versions] == ["v6", "v4", "v3", "v2", "v1"]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v6"
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    shown = iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]
    assert shown["IsDefaultVersion"] and shown["Document"] == json.loads(LOOK)
    with refused("NoSuchEntity", status=404):
        iam.get_policy_version(PolicyArn=arn, VersionId="v5")
    with refused(
        "DeleteConflict",
        "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
        "The default version is deleted with the policy.",
        status=409,
    ):
        iam.delete_policy(PolicyArn=arn)


def test_a_policy_in_use_stays(house) -> None:
    iam = house.client("iam")
    arn = iam.create_policy(PolicyName="look", PolicyDocument=LOOK)["Policy"]["Arn"]
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    iam.create_user(UserName="anna", PermissionsBoundary=arn)
    iam.attach_role_policy(RoleName="ops", PolicyArn=arn)
    got = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (got["AttachmentCount"], got["PermissionsBoundaryUsageCount"]) == (1, 1)
    entities = iam.list_entities_for_policy(PolicyArn=arn)
    assert [each["RoleName"] for each in entities["PolicyRoles"]] == ["ops"]
    with refused("DeleteConflict", "Cannot delete a policy attached to entities.", status=409):
        iam.delete_policy(PolicyArn=arn)
    iam.detach_role_policy(RoleName="ops", PolicyArn=arn)
    with refused("DeleteConflict", "Cannot delete a policy attached to entities.", status=409):
        iam.delete_policy(PolicyArn=arn)
    iam.delete_user_permissions_boundary(UserName="anna")
    iam.delete_policy(PolicyArn=arn)
    with refused("NoSuchEntity", f"Policy {arn} was not found.", status=404):
        iam.delete_policy(PolicyArn=arn)


def test_arns_of_nothing_and_what_is_no_arn(house) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    gone = "arn:aws:iam::123456789012:policy/gone"
    with refused("NoSuchEntity", f"Policy {gone} does not exist or is not attachable.", status=404):
        iam.attach_role_policy(RoleName="ops", PolicyArn=gone)
    with refused("ValidationError", "Invalid ARN:  Could not be parsed!", status=400):
        iam.attach_role_policy(RoleName="ops", PolicyArn="this-is-not-an-arn-at-all")
    with refused("NoSuchEntity", f"Policy {gone} was not found.", status=404):
        iam.get_policy(PolicyArn=gone)
    with refused("NoSuchEntity", status=404):
        iam.attach_role_policy(RoleName="gone", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")


def test_the_policies_of_aws_are_listed_read_and_left_alone(house) -> None:
    iam = house.client("iam")
    arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    version = iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
    actions = {action for each in version["Document"]["Statement"] for action in _listed(each["Action"])}
    assert {"ecs:RegisterContainerInstance", "ecs:Poll", "logs:PutLogEvents"} <= actions
    assert "logs:CreateLogGroup" not in actions
    found = iam.get_paginator("list_policies").paginate(Scope="AWS").build_full_result()
    listed = {each["PolicyName"] for each in found["Policies"]}
    assert {"AdministratorAccess", "AWSBatchFullAccess", "BatchServiceRolePolicy", "ReadOnlyAccess"} <= listed
    assert iam.list_policies(Scope="Local")["Policies"] == []
    with refused("AccessDenied", status=403):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=LOOK)
    for each in iam.list_policies(Scope="AWS", MaxItems=1000)["Policies"]:
        version = iam.get_policy_version(PolicyArn=each["Arn"], VersionId=each["DefaultVersionId"])["PolicyVersion"]
        assert version["Document"]["Statement"]


def _listed(value):
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "This policy contains invalid Json"),
        (trust({"Service": "ec2.amazonaws.com"}, "s3:GetObject"), "AssumeRole policy may only specify STS AssumeRole actions."),
        (trust({"Service": "ec2.amazonaws.com"}, Resource="*"), "Has prohibited field Resource"),
        (trust({"AWS": f"{USER}/nobody"}), f'Invalid principal in policy: "AWS":"{USER}/nobody"'),
        (trust("*"), 'AssumeRolepolicy contained an invalid principal: "STAR":"*"'),
    ],
)  # fmt: skip
def test_malformed_trust_is_refused_at_creation_and_at_update(house, text, message) -> None:
    iam = house.client("iam")
    with refused("MalformedPolicyDocument", message, status=400):
        iam.create_role(RoleName="ops", AssumeRolePolicyDocument=text)
    assert iam.list_roles()["Roles"] == []
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    with refused("MalformedPolicyDocument", message, status=400):
        iam.update_assume_role_policy(RoleName="ops", PolicyDocument=text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Syntax errors in policy."),
        (document(allow("s3:*"), version="2008-10-17"), "Policy document must be version 2012-10-17 or greater."),
        (document(allow("GetObject")), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        (document(allow("s3:Get", "bucket")), 'Resource bucket must be in ARN format or "*".'),
        (document({"Effect": "Allow", "Action": "s3:*"}), "Policy statement must contain resources."),
        (document(allow("s3:*", Principal="*")), "Policy document should not specify a principal."),
    ],
)  # fmt: skip
def test_malformed_policies_are_refused(house, text, message) -> None:
    with refused("MalformedPolicyDocument", message, status=400):
        house.client("iam").create_policy(PolicyName="p", PolicyDocument=text)
    assert house.client("iam").list_policies(Scope="Local")["Policies"] == []

"""What IAM decides about its own operations: default deny, its reasons, boundaries, PassRole, tags, and how fast."""

from __future__ import annotations

import pytest

from people import EC2_TRUST, allow, deny, document, trust
from refusals import refused

ACCOUNT = "123456789012"


def denied(arn: str, action: str, resource: str, because: str) -> str:
    return f"User: {arn} is not authorized to perform: {action} on resource: {resource} {because}"


def silent(action: str, kind: str = "identity-based policy") -> str:
    return f"because no {kind} allows the {action} action"


def test_a_user_without_policies_may_do_nothing_and_is_told_why(house, person) -> None:
    anna = person("anna")
    iam = anna.client("iam")
    role = f"arn:aws:iam::{ACCOUNT}:role/ops"
    cases = [
        ("iam:CreateRole", role, lambda: iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)),
        ("iam:DeleteRole", role, lambda: iam.delete_role(RoleName="ops")),
        ("iam:ListRoles", f"arn:aws:iam::{ACCOUNT}:role/", lambda: iam.list_roles()),
        ("iam:GetUser", f"arn:aws:iam::{ACCOUNT}:user/anna", lambda: iam.get_user()),
        (
            "iam:CreateInstanceProfile",
            f"arn:aws:iam::{ACCOUNT}:instance-profile/a/p",
            lambda: iam.create_instance_profile(InstanceProfileName="p", Path="/a/"),
        ),
        (
            "iam:CreatePolicy",
            f"arn:aws:iam::{ACCOUNT}:policy/p",
            lambda: iam.create_policy(PolicyName="p", PolicyDocument=document(allow("*"))),
        ),
    ]
    for action, resource, call in cases:
        with refused("AccessDenied", denied(anna.arn, action, resource, silent(action)), status=403):
            call()


def test_a_missing_role_is_refused_and_not_named_to_one_who_may_not_read_it(house, person) -> None:
    iam = person("anna").client("iam")
    with refused("AccessDenied", status=403):
        iam.get_role(RoleName="gone")


def test_an_explicit_deny_wins_and_says_where_it_stands(house, person) -> None:
    house.client("iam").create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    anna = person("anna")
    anna.may(allow("iam:*"), deny("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/o?s"))
    message = denied(
        anna.arn, "iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/ops",
        "with an explicit deny in an identity-based policy",
    )  # fmt: skip
    with refused("AccessDenied", message, status=403):
        anna.client("iam").get_role(RoleName="ops")
    anna.client("iam").list_roles()


def test_a_changed_policy_bites_on_the_next_request(house, person) -> None:
    iam = house.client("iam")
    anna = person("anna")
    hers = anna.client("iam")
    arn = iam.create_policy(PolicyName="look", PolicyDocument=document(allow("iam:ListRoles")))["Policy"]["Arn"]
    iam.attach_user_policy(UserName="anna", PolicyArn=arn)
    hers.list_roles()
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("iam:ListUsers")), SetAsDefault=True)
    with refused("AccessDenied"):
        hers.list_roles()
    hers.list_users()
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    hers.list_roles()
    iam.detach_user_policy(UserName="anna", PolicyArn=arn)
    with refused("AccessDenied"):
        hers.list_roles()


def test_a_boundary_limits_whatever_else_is_given(house, person) -> None:
    iam = house.client("iam")
    only = iam.create_policy(PolicyName="only", PolicyDocument=document(allow("iam:ListRoles")))["Policy"]["Arn"]
    anna = person("anna", PermissionsBoundary=only)
    boundary = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": only}
    assert iam.get_user(UserName="anna")["User"]["PermissionsBoundary"] == boundary
    anna.may(allow("iam:*"))
    hers = anna.client("iam")
    hers.list_roles()
    message = denied(
        anna.arn, "iam:ListUsers", f"arn:aws:iam::{ACCOUNT}:user/", silent("iam:ListUsers", "permissions boundary")
    )
    with refused("AccessDenied", message, status=403):
        hers.list_users()
    iam.delete_user_permissions_boundary(UserName="anna")
    hers.list_users()
    with refused("NoSuchEntity", status=404):
        iam.put_user_permissions_boundary(UserName="anna", PermissionsBoundary=f"arn:aws:iam::{ACCOUNT}:policy/gone")


def test_who_creates_roles_can_be_bound_to_give_them_a_boundary(house, person) -> None:
    iam = house.client("iam")
    only = iam.create_policy(PolicyName="only", PolicyDocument=document(allow("s3:*")))["Policy"]["Arn"]
    anna = person("anna")
    anna.may(allow("iam:CreateRole", Condition={"StringEquals": {"iam:PermissionsBoundary": only}}))
    hers = anna.client("iam")
    with refused("AccessDenied", status=403):
        hers.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    hers.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST, PermissionsBoundary=only)
    assert iam.get_role(RoleName="ops")["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == only


def test_to_put_a_role_in_a_profile_it_must_be_passed(house, person) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", Path="/team/", AssumeRolePolicyDocument=EC2_TRUST)
    iam.create_instance_profile(InstanceProfileName="ops")
    anna = person("anna")
    hers = anna.client("iam")
    anna.may(allow("iam:AddRoleToInstanceProfile"))
    role = f"arn:aws:iam::{ACCOUNT}:role/team/ops"
    with refused("AccessDenied", denied(anna.arn, "iam:PassRole", role, silent("iam:PassRole")), status=403):
        hers.add_role_to_instance_profile(InstanceProfileName="ops", RoleName="ops")
    anna.may(allow("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/ops"), name="path-left-out")
    with refused("AccessDenied", status=403):
        hers.add_role_to_instance_profile(InstanceProfileName="ops", RoleName="ops")
    condition = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    anna.may(allow("iam:PassRole", role, Condition=condition), name="another-service")
    with refused("AccessDenied", status=403):
        hers.add_role_to_instance_profile(InstanceProfileName="ops", RoleName="ops")
    condition = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    anna.may(allow("iam:PassRole", role, Condition=condition), name="right")
    hers.add_role_to_instance_profile(InstanceProfileName="ops", RoleName="ops")


def test_tags_at_creation_ask_for_the_tagging_action_too(house, person) -> None:
    anna = person("anna")
    anna.may(allow("iam:CreateRole"))
    hers = anna.client("iam")
    role = f"arn:aws:iam::{ACCOUNT}:role/ops"
    with refused("AccessDenied", denied(anna.arn, "iam:TagRole", role, silent("iam:TagRole")), status=403):
        hers.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST, Tags=[{"Key": "team", "Value": "a"}])
    anna.may(allow("iam:TagRole", Condition={"StringEquals": {"aws:RequestTag/team": "a"}}), name="tags")
    with refused("AccessDenied", status=403):
        hers.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST, Tags=[{"Key": "team", "Value": "b"}])
    hers.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST, Tags=[{"Key": "team", "Value": "a"}])


def test_tags_of_person_and_target_are_compared(house, person) -> None:
    iam = house.client("iam")
    for team in ("a", "b"):
        tags = [{"Key": "team", "Value": team}]
        iam.create_role(RoleName=f"role-{team}", AssumeRolePolicyDocument=EC2_TRUST, Tags=tags)
    anna = person("anna", Tags=[{"Key": "Team", "Value": "a"}])
    condition = {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    anna.may(allow("iam:GetRole", Condition=condition))
    assert anna.client("iam").get_role(RoleName="role-a")
    with refused("AccessDenied", status=403):
        anna.client("iam").get_role(RoleName="role-b")
    iam.tag_role(RoleName="role-b", Tags=[{"Key": "team", "Value": "a"}])
    assert anna.client("iam").get_role(RoleName="role-b")


def test_attaching_can_be_limited_to_a_policy(house, person) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    anna = person("anna")
    read = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    anna.may(allow("iam:AttachRolePolicy", Condition={"ArnEquals": {"iam:PolicyARN": read}}))
    anna.client("iam").attach_role_policy(RoleName="ops", PolicyArn=read)
    with refused("AccessDenied", status=403):
        anna.client("iam").attach_role_policy(RoleName="ops", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")


def test_conditions_on_the_request_hold(house, person) -> None:
    anna = person("anna")
    hers = anna.client("iam")
    for condition, allowed in [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": "2025-12-31T00:00:00Z"}}, True),
        ({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}, True),
        ({"StringEquals": {"aws:username": "anna"}}, True),
        ({"Null": {"aws:MultiFactorAuthPresent": "true"}}, True),
        ({"Null": {"aws:TokenIssueTime": "false"}}, False),
        ({"StringLike": {"aws:userid": "AIDA*"}}, True),
        ({"ArnEquals": {"aws:PrincipalArn": anna.arn}}, True),
        ({"StringEquals": {"aws:PrincipalType": "User"}}, True),
    ]:
        anna.may(allow("iam:ListRoles", Condition=condition))
        if allowed:
            hers.list_roles()
        else:
            with refused("AccessDenied", status=403):
                hers.list_roles()


def test_the_four_commands_with_no_more_rights_than_they_need(house, person) -> None:
    """The page of the guide by a user who may do just this, as a company would give it."""
    anna = person("anna")
    base = f"arn:aws:iam::{ACCOUNT}"
    role, profile = f"{base}:role/ecsInstanceRole", f"{base}:instance-profile/ecsInstanceRole"
    anna.may(
        allow(["iam:CreateRole", "iam:AttachRolePolicy"], role),
        allow(["iam:CreateInstanceProfile", "iam:AddRoleToInstanceProfile"], profile),
        allow("iam:PassRole", role),
    )
    iam = anna.client("iam")
    iam.create_role(RoleName="ecsInstanceRole", AssumeRolePolicyDocument=EC2_TRUST)
    iam.create_instance_profile(InstanceProfileName="ecsInstanceRole")
    iam.add_role_to_instance_profile(InstanceProfileName="ecsInstanceRole", RoleName="ecsInstanceRole")
    iam.attach_role_policy(
        RoleName="ecsInstanceRole",
        PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role",
    )
    with refused("AccessDenied", status=403):
        iam.get_instance_profile(InstanceProfileName="ecsInstanceRole")


@pytest.mark.parametrize("kind", ["user", "role"])
def test_a_person_that_is_made_anew_is_another_one_for_trust(house, person, kind) -> None:
    """IAM user guide, "AWS JSON policy elements: Principal": an ARN becomes the unique id when it is saved."""
    iam = house.client("iam")
    if kind == "user":
        old = iam.create_user(UserName="anna")["User"]
    else:
        old = iam.create_role(RoleName="anna", AssumeRolePolicyDocument=EC2_TRUST)["Role"]
    unique = old.get("UserId") or old["RoleId"]
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=trust({"AWS": [old["Arn"], ACCOUNT]}))

    def named():
        found = iam.get_role(RoleName="ops")["Role"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["AWS"]
        return {found} if isinstance(found, str) else set(found)

    assert named() == {old["Arn"], f"arn:aws:iam::{ACCOUNT}:root"}
    iam.delete_user(UserName="anna") if kind == "user" else iam.delete_role(RoleName="anna")
    assert named() == {unique, f"arn:aws:iam::{ACCOUNT}:root"}
    if kind == "user":
        iam.create_user(UserName="anna")
    else:
        iam.create_role(RoleName="anna", AssumeRolePolicyDocument=EC2_TRUST)
    assert named() == {unique, f"arn:aws:iam::{ACCOUNT}:root"}
    iam.update_assume_role_policy(RoleName="ops", PolicyDocument=trust({"AWS": old["Arn"]}))
    assert named() == {old["Arn"]}

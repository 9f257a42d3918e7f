"""Groups: who is in them, what that gives, and what must be gone before they go."""

from __future__ import annotations

import pytest

from people import EC2_TRUST, allow, deny, document, trust
from refusals import refused

ACCOUNT = "123456789012"
READ = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def names(answer, member: str, name: str) -> list[str]:
    return [each[name] for each in answer[member]]


def test_a_group_is_made_shown_listed_and_deleted(house) -> None:
    iam = house.client("iam")
    made = iam.create_group(GroupName="Ops", Path="/team/")["Group"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/team/Ops" and made["Path"] == "/team/"
    assert made["GroupId"].startswith("AGPA") and len(made["GroupId"]) == 21
    shown = iam.get_group(GroupName="ops")
    assert shown["Group"] == made and shown["Users"] == [] and shown["IsTruncated"] is False
    with refused("EntityAlreadyExists", "Group with name oPS already exists.", status=409):
        iam.create_group(GroupName="oPS")
    iam.create_group(GroupName="dev")
    assert names(iam.list_groups(), "Groups", "GroupName") == ["dev", "Ops"]
    assert names(iam.list_groups(PathPrefix="/team/"), "Groups", "GroupName") == ["Ops"]
    iam.delete_group(GroupName="ops")
    for call in (iam.get_group, iam.delete_group, iam.list_group_policies, iam.list_attached_group_policies):
        with refused("NoSuchEntity", "The group with name Ops cannot be found.", status=404):
            call(GroupName="Ops")


def test_who_is_in_a_group_may_what_it_gives_from_the_next_request_on(house, person) -> None:
    iam = house.client("iam")
    anna = person("anna")
    hers = anna.client("iam")
    iam.create_group(GroupName="ops")
    iam.put_group_policy(GroupName="ops", PolicyName="look", PolicyDocument=document(allow("iam:ListRoles")))
    with refused("AccessDenied"):
        hers.list_roles()
    iam.add_user_to_group(GroupName="ops", UserName="anna")
    hers.list_roles()
    with refused("AccessDenied"):
        hers.list_users()
    users = iam.create_policy(PolicyName="users", PolicyDocument=document(allow("iam:ListUsers")))["Policy"]["Arn"]
    iam.attach_group_policy(GroupName="ops", PolicyArn=users)
    hers.list_users()
    iam.put_group_policy(GroupName="ops", PolicyName="no", PolicyDocument=document(deny("iam:ListUsers")))
    anna.may(allow("iam:ListUsers"))
    with refused(
        "AccessDenied",
        f"User: {anna.arn} is not authorized to perform: iam:ListUsers on resource: arn:aws:iam::{ACCOUNT}:user/ "
        "with an explicit deny in an identity-based policy",
        status=403,
    ):
        hers.list_users()
    iam.delete_group_policy(GroupName="ops", PolicyName="no")
    hers.list_users()
    iam.remove_user_from_group(GroupName="ops", UserName="anna")
    with refused("AccessDenied"):
        hers.list_roles()
    hers.list_users()


def test_the_users_boundary_limits_what_its_groups_give(house, person) -> None:
    iam = house.client("iam")
    only = iam.create_policy(PolicyName="only", PolicyDocument=document(allow("iam:ListRoles")))["Policy"]["Arn"]
    anna = person("anna", PermissionsBoundary=only)
    iam.create_group(GroupName="ops")
    iam.attach_group_policy(GroupName="ops", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    iam.add_user_to_group(GroupName="ops", UserName="anna")
    anna.client("iam").list_roles()
    with refused("AccessDenied", status=403) as caught:
        anna.client("iam").list_users()
    assert "because no permissions boundary allows" in str(caught.value)


def test_members_are_listed_from_both_sides_page_by_page(house) -> None:
    iam = house.client("iam")
    iam.create_group(GroupName="ops")
    for number in range(5):
        iam.create_user(UserName=f"user-{number}")
        iam.add_user_to_group(GroupName="OPS", UserName=f"USER-{number}")
    iam.add_user_to_group(GroupName="ops", UserName="user-0")  # Once more changes nothing.
    pages = list(iam.get_paginator("get_group").paginate(GroupName="ops", PaginationConfig={"PageSize": 2}))
    assert [names(each, "Users", "UserName") for each in pages] == [
        ["user-0", "user-1"], ["user-2", "user-3"], ["user-4"],
    ]  # fmt: skip
    assert [each["Group"]["GroupName"] for each in pages] == ["ops"] * 3
    iam.create_group(GroupName="dev")
    iam.add_user_to_group(GroupName="dev", UserName="user-0")
    assert names(iam.list_groups_for_user(UserName="user-0"), "Groups", "GroupName") == ["dev", "ops"]
    first = iam.list_groups_for_user(UserName="user-0", MaxItems=1)
    assert names(first, "Groups", "GroupName") == ["dev"]
    rest = iam.list_groups_for_user(UserName="user-0", Marker=first["Marker"])
    assert names(rest, "Groups", "GroupName") == ["ops"]
    with refused("ValidationError", "Invalid Marker.", status=400):
        iam.list_groups(Marker=first["Marker"])
    with refused("NoSuchEntity", "The user with name nobody cannot be found.", status=404):
        iam.list_groups_for_user(UserName="nobody")


@pytest.mark.parametrize("operation", ["add_user_to_group", "remove_user_from_group"])
def test_both_must_be_there(house, operation) -> None:
    iam = house.client("iam")
    iam.create_group(GroupName="ops")
    iam.create_user(UserName="anna")
    with refused("NoSuchEntity", "The group with name gone cannot be found.", status=404):
        getattr(iam, operation)(GroupName="gone", UserName="anna")
    with refused("NoSuchEntity", "The user with name gone cannot be found.", status=404):
        getattr(iam, operation)(GroupName="ops", UserName="gone")


def test_who_is_not_in_a_group_cannot_be_taken_out_of_it(house) -> None:
    iam = house.client("iam")
    iam.create_group(GroupName="ops")
    iam.create_user(UserName="anna")
    with refused("NoSuchEntity", status=404):
        iam.remove_user_from_group(GroupName="ops", UserName="anna")


def test_a_group_goes_only_when_nothing_hangs_on_it(house) -> None:
    iam = house.client("iam")
    iam.create_group(GroupName="ops")
    iam.create_user(UserName="anna")
    iam.add_user_to_group(GroupName="ops", UserName="anna")
    iam.attach_group_policy(GroupName="ops", PolicyArn=READ)
    iam.put_group_policy(GroupName="ops", PolicyName="p", PolicyDocument=document(allow("s3:*")))
    with refused("DeleteConflict", "Cannot delete entity, must remove users from group first.", status=409):
        iam.delete_group(GroupName="ops")
    with refused("DeleteConflict", "Cannot delete entity, must remove users from group first.", status=409):
        iam.delete_user(UserName="anna")
    iam.remove_user_from_group(GroupName="ops", UserName="anna")
    iam.delete_user(UserName="anna")
    with refused("DeleteConflict", "Cannot delete entity, must detach all policies first.", status=409):
        iam.delete_group(GroupName="ops")
    iam.detach_group_policy(GroupName="ops", PolicyArn=READ)
    with refused("DeleteConflict", "Cannot delete entity, must delete policies first.", status=409):
        iam.delete_group(GroupName="ops")
    iam.delete_group_policy(GroupName="ops", PolicyName="p")
    iam.delete_group(GroupName="ops")


def test_policies_of_a_group_are_shown_as_those_of_others(house) -> None:
    iam = house.client("iam")
    iam.create_group(GroupName="ops")
    own = iam.create_policy(PolicyName="own", Path="/a/", PolicyDocument=document(allow("s3:*")))["Policy"]["Arn"]
    iam.attach_group_policy(GroupName="ops", PolicyArn=own)
    iam.attach_group_policy(GroupName="ops", PolicyArn=own)
    iam.attach_group_policy(GroupName="ops", PolicyArn=READ)
    attached = iam.list_attached_group_policies(GroupName="ops")["AttachedPolicies"]
    assert attached == [
        {"PolicyName": "own", "PolicyArn": own}, {"PolicyName": "ReadOnlyAccess", "PolicyArn": READ},
    ]  # fmt: skip
    under = iam.list_attached_group_policies(GroupName="ops", PathPrefix="/a/")["AttachedPolicies"]
    assert under == attached[:1]
    assert iam.get_policy(PolicyArn=own)["Policy"]["AttachmentCount"] == 1
    with refused("DeleteConflict", "Cannot delete a policy attached to entities.", status=409):
        iam.delete_policy(PolicyArn=own)
    iam.put_group_policy(GroupName="ops", PolicyName="look", PolicyDocument=document(allow("s3:Get*")))
    shown = iam.get_group_policy(GroupName="OPS", PolicyName="look")
    assert shown["GroupName"] == "ops" and shown["PolicyDocument"]["Statement"] == [allow("s3:Get*")]
    assert iam.list_group_policies(GroupName="ops")["PolicyNames"] == ["look"]
    for call in (iam.get_group_policy, iam.delete_group_policy):
        with refused("NoSuchEntity", "The group policy with name gone cannot be found.", status=404):
            call(GroupName="ops", PolicyName="gone")
    with refused("NoSuchEntity", status=404):
        iam.detach_group_policy(GroupName="ops", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")


def test_the_limits_of_groups(house) -> None:
    iam = house.client("iam")
    iam.create_user(UserName="anna")
    for number in range(11):
        iam.create_group(GroupName=f"group-{number}")
    for number in range(10):
        iam.add_user_to_group(GroupName=f"group-{number}", UserName="anna")
    with refused("LimitExceeded", "Cannot exceed quota for GroupsPerUser: 10", status=409):
        iam.add_user_to_group(GroupName="group-10", UserName="anna")
    iam.add_user_to_group(GroupName="group-9", UserName="anna")
    for number in range(11):
        made = iam.create_policy(PolicyName=f"policy-{number}", PolicyDocument=document(allow("s3:*")))["Policy"]
        if number == 10:
            with refused("LimitExceeded", "Cannot exceed quota for PoliciesPerGroup: 10", status=409):
                iam.attach_group_policy(GroupName="group-0", PolicyArn=made["Arn"])
        else:
            iam.attach_group_policy(GroupName="group-0", PolicyArn=made["Arn"])
    text = document(allow("s3:GetObject", [f"arn:aws:s3:::bucket/{number:070d}" for number in range(28)]))
    iam.put_group_policy(GroupName="group-1", PolicyName="a", PolicyDocument=text)
    with refused("LimitExceeded", "Maximum policy size of 5120 bytes exceeded for group group-1", status=409):
        iam.put_group_policy(GroupName="group-1", PolicyName="b", PolicyDocument=text)


def test_a_group_that_moves_keeps_its_users_and_policies(house, person) -> None:
    iam = house.client("iam")
    anna = person("anna")
    old = iam.create_group(GroupName="ops")["Group"]
    iam.put_group_policy(GroupName="ops", PolicyName="look", PolicyDocument=document(allow("iam:ListRoles")))
    iam.add_user_to_group(GroupName="ops", UserName="anna")
    iam.update_group(GroupName="ops", NewGroupName="Operators", NewPath="/team/")
    moved = iam.get_group(GroupName="operators")
    assert moved["Group"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/team/Operators"
    assert moved["Group"]["GroupId"] == old["GroupId"] and names(moved, "Users", "UserName") == ["anna"]
    anna.client("iam").list_roles()
    with refused("NoSuchEntity"):
        iam.get_group(GroupName="ops")
    iam.create_group(GroupName="ops")
    with refused("EntityAlreadyExists", "Group with name OPERATORS already exists.", status=409):
        iam.update_group(GroupName="ops", NewGroupName="OPERATORS")
    iam.update_group(GroupName="Operators", NewGroupName="OPERATORS")  # Its own name in other letters.
    assert names(iam.list_groups_for_user(UserName="anna"), "Groups", "GroupName") == ["OPERATORS"]


def test_a_user_that_moves_is_the_same_to_all_who_know_it(house, person) -> None:
    iam = house.client("iam")
    anna = person("anna")
    anna.may(allow("iam:GetUser"), allow("sts:AssumeRole"))
    iam.create_group(GroupName="ops")
    iam.put_group_policy(GroupName="ops", PolicyName="look", PolicyDocument=document(allow("iam:ListRoles")))
    iam.add_user_to_group(GroupName="ops", UserName="anna")
    iam.create_role(RoleName="hers", AssumeRolePolicyDocument=trust({"AWS": anna.arn}))
    iam.update_user(UserName="anna", NewUserName="Anne", NewPath="/team/")
    arn = f"arn:aws:iam::{ACCOUNT}:user/team/Anne"
    shown = anna.client("iam").get_user()["User"]
    assert (shown["UserName"], shown["Arn"], shown["UserId"]) == ("Anne", arn, anna.user["UserId"])
    assert anna.client("sts").get_caller_identity()["Arn"] == arn
    anna.client("iam").list_roles()
    role = iam.get_role(RoleName="hers")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"AWS": arn}
    anna.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="se")
    assert names(iam.list_access_keys(UserName="anne"), "AccessKeyMetadata", "UserName") == ["Anne"]
    iam.create_user(UserName="bert")
    with refused("EntityAlreadyExists", "User with name ANNE already exists.", status=409):
        iam.update_user(UserName="bert", NewUserName="ANNE")
    with refused("NoSuchEntity", "The user with name anna cannot be found.", status=404):
        iam.update_user(UserName="anna", NewUserName="x")


def test_a_session_of_a_user_that_moves_goes_on_until_the_user_is_deleted(house, person) -> None:
    iam = house.client("iam")
    anna = person("anna")
    iam.create_group(GroupName="ops")
    iam.put_group_policy(GroupName="ops", PolicyName="look", PolicyDocument=document(allow("ecs:ListClusters")))
    iam.add_user_to_group(GroupName="ops", UserName="anna")
    given = anna.client("sts").get_session_token()["Credentials"]
    session = house.client("ecs", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    session.list_clusters()
    iam.update_user(UserName="anna", NewUserName="anne")
    session.list_clusters()
    person("anna").may(allow("*"))  # Another one, of the old name.
    iam.remove_user_from_group(GroupName="ops", UserName="anne")
    with refused("AccessDeniedException"):
        session.list_clusters()


def test_who_moves_a_user_must_be_allowed_on_both_names(house, person) -> None:
    iam = house.client("iam")
    anna = person("anna")
    iam.create_user(UserName="bert")
    anna.may(allow("iam:UpdateUser", f"arn:aws:iam::{ACCOUNT}:user/bert"))
    with refused("AccessDenied", status=403) as caught:
        anna.client("iam").update_user(UserName="bert", NewUserName="carl")
    assert f"on resource: arn:aws:iam::{ACCOUNT}:user/carl because" in str(caught.value)
    anna.may(allow("iam:UpdateUser", [f"arn:aws:iam::{ACCOUNT}:user/{name}" for name in ("bert", "x/carl")]))
    anna.client("iam").update_user(UserName="bert", NewUserName="carl", NewPath="/x/")


def test_entities_of_a_policy_are_groups_users_and_roles(house) -> None:
    iam = house.client("iam")
    arn = iam.create_policy(PolicyName="p", PolicyDocument=document(allow("s3:*")))["Policy"]["Arn"]
    iam.create_group(GroupName="g")
    iam.create_user(UserName="u")
    iam.create_user(UserName="bounded", PermissionsBoundary=arn)
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=EC2_TRUST)
    iam.attach_group_policy(GroupName="g", PolicyArn=arn)
    iam.attach_user_policy(UserName="u", PolicyArn=arn)
    iam.attach_role_policy(RoleName="r", PolicyArn=arn)

    def listed(**more) -> list[list[str]]:
        found = iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn, **more).build_full_result()
        return [
            names(found, "PolicyGroups", "GroupName"), names(found, "PolicyUsers", "UserName"),
            names(found, "PolicyRoles", "RoleName"),
        ]  # fmt: skip

    assert listed() == [["g"], ["bounded", "u"], ["r"]]
    assert listed(PaginationConfig={"PageSize": 1}) == listed()
    assert listed(EntityFilter="Group") == [["g"], [], []]
    assert listed(PolicyUsageFilter="PermissionsPolicy") == [["g"], ["u"], ["r"]]
    assert listed(PolicyUsageFilter="PermissionsBoundary") == [[], ["bounded"], []]
    shown = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (shown["AttachmentCount"], shown["PermissionsBoundaryUsageCount"]) == (3, 1)

"""Roles and instance profiles: their fields, names, limits, pages and ends."""

from __future__ import annotations

import json

import pytest

from in_process import InProcessHouse
from people import EC2_TRUST, allow, document, trust
from refusals import refused, unchecked

POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"


def test_a_role_shows_the_fields_that_aws_shows_in_each_operation(house) -> None:
    iam = house.client("iam")
    made = iam.create_role(
        RoleName="ops", Path="/team/", AssumeRolePolicyDocument=EC2_TRUST, Description="runs", MaxSessionDuration=7200,
        Tags=[{"Key": "team", "Value": "a"}],
    )["Role"]  # fmt: skip
    common = {"Path", "RoleName", "RoleId", "Arn", "CreateDate", "AssumeRolePolicyDocument", "Description"}
    assert set(made) == common | {"Tags"}
    assert made["Arn"] == "arn:aws:iam::123456789012:role/team/ops"
    got = iam.get_role(RoleName="ops")["Role"]
    assert set(got) == common | {"Tags", "MaxSessionDuration", "RoleLastUsed"}
    assert got["MaxSessionDuration"] == 7200 and got["RoleLastUsed"] == {}
    assert got["AssumeRolePolicyDocument"] == json.loads(EC2_TRUST)
    (listed,) = iam.list_roles()["Roles"]
    assert set(listed) == common | {"MaxSessionDuration"}


def test_a_document_with_percent_signs_comes_back_as_it_was_sent(house) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    text = document(allow("s3:GetObject", "arn:aws:s3:::bucket/a%20b/*"))
    iam.put_role_policy(RoleName="ops", PolicyName="p", PolicyDocument=text)
    assert iam.get_role_policy(RoleName="ops", PolicyName="p")["PolicyDocument"] == json.loads(text)


def test_names_are_unique_whatever_their_case_and_path(house) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="Ops", AssumeRolePolicyDocument=EC2_TRUST)
    with refused("EntityAlreadyExists", "Role with name ops already exists.", status=409):
        iam.create_role(RoleName="ops", Path="/team/", AssumeRolePolicyDocument=EC2_TRUST)
    iam.create_instance_profile(InstanceProfileName="Ops")
    with refused("EntityAlreadyExists", "Instance Profile ops already exists.", status=409):
        iam.create_instance_profile(InstanceProfileName="ops")
    iam.create_user(UserName="Anna")
    with refused("EntityAlreadyExists", "User with name anna already exists.", status=409):
        iam.create_user(UserName="anna")
    assert iam.get_role(RoleName="OPS")["Role"]["RoleName"] == "Ops"


def test_what_does_not_exist_is_named_in_the_words_of_aws(house) -> None:
    iam = house.client("iam")
    with refused("NoSuchEntity", "The role with name gone cannot be found.", status=404):
        iam.get_role(RoleName="gone")
    with refused("NoSuchEntity", "The role with name gone cannot be found.", status=404):
        iam.delete_role(RoleName="gone")
    with refused("NoSuchEntity", "Instance Profile gone cannot be found.", status=404):
        iam.get_instance_profile(InstanceProfileName="gone")
    with refused("NoSuchEntity", "The user with name gone cannot be found.", status=404):
        iam.get_user(UserName="gone")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    with refused("NoSuchEntity", "The role policy with name gone cannot be found.", status=404):
        iam.get_role_policy(RoleName="ops", PolicyName="gone")
    iam.create_user(UserName="anna")
    with refused("NoSuchEntity", "The user policy with name gone cannot be found.", status=404):
        iam.delete_user_policy(UserName="anna", PolicyName="gone")


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        (
            "RoleName", "r" * 65,
            f"1 validation error detected: Value '{'r' * 65}' at 'roleName' failed to satisfy constraint: "
            "Member must have length less than or equal to 64",
        ),
        (
            "RoleName", "a b",
            "The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the "
            "following: +=,.@_-",
        ),
        (
            "Path", "team/",
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric "
            "characters and/or / characters.",
        ),
    ],
)  # fmt: skip
def test_names_and_paths_of_the_wrong_form_are_refused(house, member, value, message) -> None:
    request = {"RoleName": "ops", "AssumeRolePolicyDocument": EC2_TRUST, member: value}
    with refused("ValidationError", message, status=400):
        house.client("iam").create_role(**request)


def test_the_path_of_service_linked_roles_is_reserved(house) -> None:
    with refused(
        "InvalidInput", "Paths beginning with '/aws-service-role' are reserved for AWS Service Linked Roles", status=400
    ):
        house.client("iam").create_role(
            RoleName="ops", Path="/aws-service-role/batch.amazonaws.com/", AssumeRolePolicyDocument=EC2_TRUST
        )


def test_a_session_duration_outside_its_range_is_refused(house) -> None:
    iam = unchecked(house.client("iam"))
    with refused(
        "ValidationError",
        "1 validation error detected: Value '3599' at 'maxSessionDuration' failed to satisfy constraint: "
        "Member must have value greater than or equal to 3600",
        status=400,
    ):
        iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST, MaxSessionDuration=3599)
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    iam.update_role(RoleName="ops", Description="new", MaxSessionDuration=43200)
    got = iam.get_role(RoleName="ops")["Role"]
    assert (got["Description"], got["MaxSessionDuration"]) == ("new", 43200)


def test_a_role_goes_only_when_nothing_hangs_on_it(house) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    iam.create_instance_profile(InstanceProfileName="ops")
    iam.add_role_to_instance_profile(InstanceProfileName="ops", RoleName="ops")
    iam.attach_role_policy(RoleName="ops", PolicyArn=POLICY)
    iam.put_role_policy(RoleName="ops", PolicyName="p", PolicyDocument=document(allow("s3:*")))
    with refused("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.", status=409):
        iam.delete_role(RoleName="ops")
    with refused("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.", status=409):
        iam.delete_instance_profile(InstanceProfileName="ops")
    iam.remove_role_from_instance_profile(InstanceProfileName="ops", RoleName="ops")
    with refused("DeleteConflict", "Cannot delete entity, must detach all policies first.", status=409):
        iam.delete_role(RoleName="ops")
    iam.detach_role_policy(RoleName="ops", PolicyArn=POLICY)
    with refused("DeleteConflict", "Cannot delete entity, must delete policies first.", status=409):
        iam.delete_role(RoleName="ops")
    iam.delete_role_policy(RoleName="ops", PolicyName="p")
    iam.delete_role(RoleName="ops")
    iam.delete_instance_profile(InstanceProfileName="ops")
    assert iam.list_roles()["Roles"] == [] and iam.list_instance_profiles()["InstanceProfiles"] == []


def test_a_profile_holds_one_role_and_a_role_may_be_in_many(house) -> None:
    iam = house.client("iam")
    for name in ("one", "two"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=EC2_TRUST)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName="one")
    with refused("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1", status=409):
        iam.add_role_to_instance_profile(InstanceProfileName="one", RoleName="two")
    with refused("NoSuchEntity", status=404):
        iam.remove_role_from_instance_profile(InstanceProfileName="one", RoleName="two")
    found = iam.list_instance_profiles_for_role(RoleName="one")["InstanceProfiles"]
    assert [each["InstanceProfileName"] for each in found] == ["one", "two"]
    (role,) = found[0]["Roles"]
    assert set(role) == {"Path", "RoleName", "RoleId", "Arn", "CreateDate", "AssumeRolePolicyDocument"}


def test_lists_come_in_pages_without_a_marker_on_the_last(house) -> None:
    iam = house.client("iam")
    for index in range(5):
        iam.create_role(RoleName=f"r{index}", Path="/a/" if index % 2 else "/b/", AssumeRolePolicyDocument=EC2_TRUST)
    first = iam.list_roles(MaxItems=2)
    assert first["IsTruncated"] and [each["RoleName"] for each in first["Roles"]] == ["r0", "r1"]
    iam.delete_role(RoleName="r0")  # The place is that of a name, not of a number: nothing is skipped.
    second = iam.list_roles(MaxItems=2, Marker=first["Marker"])
    assert [each["RoleName"] for each in second["Roles"]] == ["r2", "r3"]
    last = iam.list_roles(MaxItems=2, Marker=second["Marker"])
    assert [each["RoleName"] for each in last["Roles"]] == ["r4"]
    assert not last["IsTruncated"] and "Marker" not in last
    assert [each["RoleName"] for each in iam.list_roles(PathPrefix="/a/")["Roles"]] == ["r1", "r3"]
    pages = iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 1})
    assert [each["RoleName"] for page in pages for each in page["Roles"]] == ["r1", "r2", "r3", "r4"]
    with refused("ValidationError", status=400):
        iam.list_roles(Marker="rubbish")


def test_tags_are_told_apart_whatever_their_case(house) -> None:
    iam = house.client("iam")
    duplicate = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    with refused("InvalidInput", duplicate, status=400):
        iam.create_role(
            RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST,
            Tags=[{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}],
        )  # fmt: skip
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    iam.tag_role(RoleName="ops", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    iam.tag_role(RoleName="ops", Tags=[{"Key": "A", "Value": "3"}])
    tags = {tag["Key"]: tag["Value"] for tag in iam.list_role_tags(RoleName="ops")["Tags"]}
    assert {key.lower(): value for key, value in tags.items()} == {"a": "3", "b": "2"}
    iam.untag_role(RoleName="ops", TagKeys=["B"])
    assert len(iam.list_role_tags(RoleName="ops")["Tags"]) == 1
    with refused("LimitExceeded", status=409):
        iam.tag_role(RoleName="ops", Tags=[{"Key": f"k{index}", "Value": ""} for index in range(50)])


@pytest.mark.parametrize("key", ["aws:", "AWS:team", "aWs:cloudformation:stack-name"])
def test_tags_of_aws_s_own_nobody_sets(house, key) -> None:
    iam = house.client("iam")
    mine, stolen = [{"Key": "aws", "Value": "aws:team"}], [{"Key": "team", "Value": "a"}, {"Key": key, "Value": "a"}]
    kinds = {
        "role": {"RoleName": "ops"},
        "user": {"UserName": "anna"},
        "policy": {"PolicyArn": "arn:aws:iam::123456789012:policy/p"},
        "instance_profile": {"InstanceProfileName": "worker"},
    }
    for kind, named in kinds.items():
        made = {"PolicyName": "p", "PolicyDocument": document(allow("s3:*"))} if kind == "policy" else dict(named)
        if kind == "role":
            made["AssumeRolePolicyDocument"] = EC2_TRUST
        reserved = "aws: prefixed tag key names are not allowed for external use."
        with refused("InvalidInput", reserved, status=400):
            getattr(iam, f"create_{kind}")(**made, Tags=stolen)
        with refused("NoSuchEntity", status=404):
            getattr(iam, f"get_{kind}")(**named)
        getattr(iam, f"create_{kind}")(**made, Tags=mine)
        with refused("InvalidInput", reserved, status=400):
            getattr(iam, f"tag_{kind}")(**named, Tags=stolen)
        assert getattr(iam, f"list_{kind}_tags")(**named)["Tags"] == mine


def test_sizes_are_counted_without_white_space(house) -> None:
    iam = house.client("iam")
    names = [f"arn:aws:sts::123456789012:assumed-role/someone/{index:04d}" for index in range(40)]
    with refused("LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048", status=409):
        iam.create_role(RoleName="ops", AssumeRolePolicyDocument=trust({"AWS": names}))
    wide = json.dumps(json.loads(EC2_TRUST), indent=60)
    assert len(wide) > 2048 // 4
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=wide + " " * 3000)
    large = document(allow("s3:GetObject", [f"arn:aws:s3:::bucket/{index:040d}" for index in range(120)]))
    iam.put_role_policy(RoleName="ops", PolicyName="one", PolicyDocument=large)
    with refused("LimitExceeded", "Maximum policy size of 10240 bytes exceeded for role ops", status=409):
        iam.put_role_policy(RoleName="ops", PolicyName="two", PolicyDocument=large)
    iam.put_role_policy(RoleName="ops", PolicyName="one", PolicyDocument=large)  # In its own place it counts once.


def test_a_role_takes_twenty_managed_policies(house) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    arns = [
        iam.create_policy(PolicyName=f"p{index}", PolicyDocument=document(allow("s3:*")))["Policy"]["Arn"]
        for index in range(21)
    ]
    for arn in arns[:20]:
        iam.attach_role_policy(RoleName="ops", PolicyArn=arn)
    iam.attach_role_policy(RoleName="ops", PolicyArn=arns[0])  # Attaching twice changes nothing.
    with refused("LimitExceeded", "Cannot exceed quota for PoliciesPerRole: 20", status=409):
        iam.attach_role_policy(RoleName="ops", PolicyArn=arns[20])
    iam.detach_role_policy(RoleName="ops", PolicyArn=arns[0])
    with refused("NoSuchEntity", status=404):  # Detaching twice does.
        iam.detach_role_policy(RoleName="ops", PolicyArn=arns[0])


def test_an_account_has_room_for_so_many_of_each_as_its_settings_say() -> None:
    kinds = ("Roles", "Users", "Groups", "Policies", "InstanceProfiles")
    house = InProcessHouse(iam_quotas={f"{kind}PerAccount": 1 for kind in kinds})
    iam = house.client("iam")
    makers = {
        "Roles": lambda name: iam.create_role(RoleName=name, AssumeRolePolicyDocument=EC2_TRUST),
        "Users": lambda name: iam.create_user(UserName=name),
        "Groups": lambda name: iam.create_group(GroupName=name),
        "Policies": lambda name: iam.create_policy(PolicyName=name, PolicyDocument=document(allow("s3:*"))),
        "InstanceProfiles": lambda name: iam.create_instance_profile(InstanceProfileName=name),
    }
    for kind, make in makers.items():
        make("one")
        with refused("LimitExceeded", f"Cannot exceed quota for {kind}PerAccount: 1", status=409):
            make("two")
    house.close()

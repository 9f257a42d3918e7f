"""A real account's identities, rebuilt: the same as there, once and for all, without what can't be the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from in_process import ACCOUNT, InProcessHouse
from longshore.cli.rehearsal.command import carry_out, look_here
from longshore.cli.rehearsal.plan import Left, NoDetails, Plan, document_of, moved, plan, source_of

THERE = "111122223333"  # the account that the file is of
INSTANCE = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"


def allow(*actions: str, resource: str = "*") -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(**principal: Any) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def iam(house: InProcessHouse) -> Any:
    return house.client("iam")


def details(iam: Any) -> dict[str, Any]:
    found = iam.get_paginator("get_account_authorization_details").paginate().build_full_result()
    shown: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return shown


def taken_over(iam: Any, file: dict[str, Any]) -> Plan:
    """The plan, carried out."""
    made = plan(file, look_here(iam, ACCOUNT))
    assert carry_out(iam, made) == []
    return made


def build(iam: Any) -> None:
    """An account with some of everything."""
    root = f"arn:aws:iam::{ACCOUNT}"
    limit = iam.create_policy(PolicyName="limit", Path="/team/", PolicyDocument=allow("s3:*"))["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=limit, PolicyDocument=allow("s3:*", "ecs:*"), SetAsDefault=True)
    iam.create_policy_version(PolicyArn=limit, PolicyDocument=allow("ec2:*"))
    own = iam.create_policy(
        PolicyName="own", Description="what it is", PolicyDocument=allow("iam:PassRole", resource=f"{root}:role/*")
    )["Policy"]["Arn"]
    iam.create_group(GroupName="team", Path="/a/")
    iam.put_group_policy(GroupName="team", PolicyName="p", PolicyDocument=allow("batch:*"))
    iam.attach_group_policy(GroupName="team", PolicyArn=own)
    iam.create_user(UserName="ann", Path="/people/", Tags=[{"Key": "a", "Value": "1 2"}], PermissionsBoundary=limit)
    iam.put_user_policy(UserName="ann", PolicyName="q", PolicyDocument=allow("ecs:*"))
    iam.attach_user_policy(UserName="ann", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.add_user_to_group(GroupName="team", UserName="ann")
    iam.create_user(UserName="bob")
    iam.create_access_key(UserName="bob")
    iam.create_role(RoleName="instances", AssumeRolePolicyDocument=trust(Service="ec2.amazonaws.com"),
                    Tags=[{"Key": "b", "Value": "2"}])  # fmt: skip
    iam.attach_role_policy(RoleName="instances", PolicyArn=INSTANCE)
    iam.create_instance_profile(InstanceProfileName="instances", Path="/nodes/")
    iam.add_role_to_instance_profile(InstanceProfileName="instances", RoleName="instances")
    # Two that trust each other, one that trusts itself, a user, the account, and another account's role.
    iam.create_role(RoleName="a", AssumeRolePolicyDocument=trust(AWS=ACCOUNT), PermissionsBoundary=limit)
    iam.create_role(RoleName="b", AssumeRolePolicyDocument=trust(AWS=f"{root}:role/a"))
    everyone = [f"{root}:role/b", f"{root}:role/a", f"{root}:user/people/ann", "arn:aws:iam::999999999999:role/ci"]
    iam.update_assume_role_policy(RoleName="a", PolicyDocument=trust(AWS=everyone, Service="lambda.amazonaws.com"))
    iam.put_role_policy(RoleName="a", PolicyName="r", PolicyDocument=allow("sts:AssumeRole", resource=f"{root}:role/b"))
    iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")


@pytest.fixture(scope="module")
def printed() -> str:
    """What AWS's command would print of such an account."""
    house = InProcessHouse(seed=1)
    try:
        iam = house.client("iam")
        build(iam)
        return json.dumps(details(iam)).replace(ACCOUNT, THERE)
    finally:
        house.close()


@pytest.fixture
def file(printed: str) -> Any:
    return json.loads(printed)


# What no import can make the same.
_MADE_ANEW = re.compile(r"Id$|Date$|LastUsed$|VersionId$|Count$")


def essence(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: essence(each) for key, each in value.items() if not _MADE_ANEW.search(key)}
    return [essence(each) for each in value] if isinstance(value, list) else value


def test_an_account_is_rebuilt_as_it_is_there(iam: Any, file: dict[str, Any]) -> None:
    made = taken_over(iam, file)
    assert made.left == ()
    assert essence(details(iam)) == essence(moved(file, THERE, ACCOUNT))
    assert iam.list_access_keys(UserName="bob")["AccessKeyMetadata"] == []


def test_importing_twice_changes_nothing(iam: Any, file: dict[str, Any]) -> None:
    taken_over(iam, file)
    before = details(iam)
    assert plan(file, look_here(iam, ACCOUNT)) == Plan((), ())
    taken_over(iam, file)
    assert details(iam) == before


def test_documents_may_be_texts_encoded_or_not(iam: Any, file: dict[str, Any]) -> None:
    """As the API gives them, and as other programs print them."""

    def with_documents(value: Any, form: Callable[[Any], Any]) -> Any:
        if isinstance(value, dict):
            return {key: form(each) if "Document" in key else with_documents(each, form) for key, each in value.items()}
        return [with_documents(each, form) for each in value] if isinstance(value, list) else value

    here = look_here(iam, ACCOUNT)
    wanted = plan(file, here)
    for form in (json.dumps, lambda each: quote(json.dumps(each), safe="")):
        assert plan(with_documents(file, form), here) == wanted
    assert document_of(quote('{"a": "%41"}', safe="")) == {"a": "%41"}


# --- what has changed meanwhile ---

CHANGES: dict[str, Callable[[Any], Any]] = {
    "a policy attached": lambda iam: iam.attach_user_policy(UserName="bob", PolicyArn=INSTANCE),
    "a policy detached": lambda iam: iam.detach_role_policy(RoleName="instances", PolicyArn=INSTANCE),
    "an inline policy": lambda iam: iam.put_role_policy(RoleName="b", PolicyName="n", PolicyDocument=allow("s3:*")),
    "an inline policy changed": lambda iam: iam.put_user_policy(
        UserName="ann", PolicyName="q", PolicyDocument=allow("ecs:Poll")),
    "an inline policy gone": lambda iam: iam.delete_group_policy(GroupName="team", PolicyName="p"),
    "a new version": lambda iam: iam.create_policy_version(
        PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/own", PolicyDocument=allow("s3:*"), SetAsDefault=True),
    "another default version": lambda iam: iam.set_default_policy_version(
        PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/team/limit", VersionId="v1"),
    "a trust policy": lambda iam: iam.update_assume_role_policy(
        RoleName="instances", PolicyDocument=trust(Service="ecs-tasks.amazonaws.com")),
    "a boundary": lambda iam: iam.put_role_permissions_boundary(
        RoleName="b", PermissionsBoundary=f"arn:aws:iam::{ACCOUNT}:policy/own"),
    "no boundary": lambda iam: iam.delete_user_permissions_boundary(UserName="ann"),
    "a tag": lambda iam: iam.tag_role(RoleName="instances", Tags=[{"Key": "c", "Value": "3"}]),
    "no tag": lambda iam: iam.untag_user(UserName="ann", TagKeys=["a"]),
    "a member": lambda iam: iam.add_user_to_group(GroupName="team", UserName="bob"),
    "no member": lambda iam: iam.remove_user_from_group(GroupName="team", UserName="ann"),
    "another role in the profile": lambda iam: (
        iam.remove_role_from_instance_profile(InstanceProfileName="instances", RoleName="instances"),
        iam.add_role_to_instance_profile(InstanceProfileName="instances", RoleName="b")),
    "no profile": lambda iam: (
        iam.remove_role_from_instance_profile(InstanceProfileName="instances", RoleName="instances"),
        iam.delete_instance_profile(InstanceProfileName="instances")),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_here_becomes_again_as_it_is_there(iam: Any, file: dict[str, Any], name: str) -> None:
    taken_over(iam, file)
    counting = {f"{each['Arn']}": None for each in details(iam)["Policies"]}
    before = essence({**details(iam), "Policies": sorted(counting)})
    CHANGES[name](iam)
    made = taken_over(iam, file)
    assert 1 <= len(made.steps) <= 3
    assert essence({**details(iam), "Policies": sorted(counting)}) == before
    assert plan(file, look_here(iam, ACCOUNT)) == Plan((), ())


def test_what_the_file_does_not_name_stays(iam: Any, file: dict[str, Any]) -> None:
    iam.create_role(RoleName="mine", AssumeRolePolicyDocument=trust(Service="ec2.amazonaws.com"))
    iam.put_role_policy(RoleName="mine", PolicyName="p", PolicyDocument=allow("s3:*"))
    taken_over(iam, file)
    assert iam.list_role_policies(RoleName="mine")["PolicyNames"] == ["p"]


def test_a_policy_with_as_many_versions_as_there_may_be_makes_room(iam: Any, file: dict[str, Any]) -> None:
    taken_over(iam, file)
    arn = f"arn:aws:iam::{ACCOUNT}:policy/own"
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=allow("a:*"), SetAsDefault=True)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    for action in ("b:*", "c:*", "d:*", "e:*"):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=allow(action))
    assert [step.do.operation for step in taken_over(iam, file).steps] == ["DeletePolicyVersion", "CreatePolicyVersion"]


# --- what can't be taken over ---


def test_tags_of_aws_s_own_are_listed_and_all_others_set(iam: Any, file: dict[str, Any]) -> None:
    (user,) = [each for each in file["UserDetailList"] if each["UserName"] == "ann"]
    user["Tags"].append({"Key": "aws:cloudformation:stack-name", "Value": "people"})
    made = taken_over(iam, file)
    because = "tag keys that begin with aws: are set by AWS alone"
    assert made.left == (Left("user ann", "the tag aws:cloudformation:stack-name", because),)
    assert iam.list_user_tags(UserName="ann")["Tags"] == [{"Key": "a", "Value": "1 2"}]
    assert plan(file, look_here(iam, ACCOUNT)).steps == ()


def test_who_is_not_there_is_not_trusted_and_is_listed(iam: Any, file: dict[str, Any]) -> None:
    (role,) = [each for each in file["RoleDetailList"] if each["RoleName"] == "b"]
    gone = f"arn:aws:iam::{THERE}:user/gone"
    role["AssumeRolePolicyDocument"] = json.loads(trust(AWS=[gone, "AIDAAAAAAAAAAAAAAAAAA"]))
    made = taken_over(iam, file)
    here = f"arn:aws:iam::{ACCOUNT}:user/gone"
    assert made.left == (Left("role b", f"its trust in {here}", "there is no such user or role in the file"),)
    shown = iam.get_role(RoleName="b")["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert [each["Principal"] for each in shown] == [{"AWS": ["AIDAAAAAAAAAAAAAAAAAA"]}]
    role["AssumeRolePolicyDocument"] = json.loads(trust(AWS=gone))
    taken_over(iam, file)
    (statement,) = iam.get_role(RoleName="b")["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"  # Nobody is left to be trusted.
    assert plan(file, look_here(iam, ACCOUNT)).steps == ()


def test_a_policy_of_aws_that_is_not_known_here_is_stood_in_for(iam: Any, file: dict[str, Any]) -> None:
    arn = "arn:aws:iam::aws:policy/service-role/Newest"
    file["RoleDetailList"][0]["AttachedManagedPolicies"] = [{"PolicyName": "Newest", "PolicyArn": arn}]
    versions = [{"Document": json.loads(allow("x:*")), "VersionId": "v7", "IsDefaultVersion": True}]
    file["Policies"].append(
        {"PolicyName": "Newest", "Arn": arn, "Path": "/service-role/", "PolicyVersionList": versions}
    )
    made = taken_over(iam, file)
    assert made.left == () and not any("Unused" in step.of for step in made.steps)
    name = file["RoleDetailList"][0]["RoleName"]
    (attached,) = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert attached["PolicyArn"] == f"arn:aws:iam::{ACCOUNT}:policy/aws/Newest"
    assert plan(file, look_here(iam, ACCOUNT)) == Plan((), ())
    file["Policies"].pop()
    made = plan(file, look_here(iam, ACCOUNT))
    assert made.left == (
        Left(f"role {name}", f"the policy {arn}", f"{arn} is not known here, and the file does not have it"),
    )


def test_what_is_here_under_another_path_is_listed(iam: Any, file: dict[str, Any]) -> None:
    iam.create_policy(PolicyName="limit", PolicyDocument=allow("s3:*"))
    iam.create_role(RoleName="b", Path="/x/", AssumeRolePolicyDocument=trust(Service="ec2.amazonaws.com"))
    iam.create_instance_profile(InstanceProfileName="instances")
    made = plan(file, look_here(iam, ACCOUNT))
    assert {(each.of, each.what) for each in made.left} == {
        ("policy limit", "all of it"), ("role b", "its path"), ("instance profile instances", "its path"),
    }  # fmt: skip


def test_what_the_server_refuses_is_listed_and_all_else_is_done(iam: Any, file: dict[str, Any]) -> None:
    file["RoleDetailList"].append({
        "RoleName": "AWSServiceRoleForSupport", "Path": "/aws-service-role/support.amazonaws.com/",
        "Arn": f"arn:aws:iam::{THERE}:role/aws-service-role/support.amazonaws.com/AWSServiceRoleForSupport",
        "AssumeRolePolicyDocument": json.loads(trust(Service="support.amazonaws.com")),
    })  # fmt: skip
    made = plan(file, look_here(iam, ACCOUNT))
    (left,) = carry_out(iam, made)
    assert (left.of, left.what) == ("role AWSServiceRoleForSupport", "CreateServiceLinkedRole")
    assert "not supported for service-linked roles" in left.because
    assert [step.of for step in plan(file, look_here(iam, ACCOUNT)).steps] == ["role AWSServiceRoleForSupport"]


# --- the number of the account ---


def test_the_accounts_number_is_moved_in_arns_and_alone() -> None:
    given = {
        "a": f"arn:aws:iam::{THERE}:role/x", "b": THERE, "c": [f"arn:aws:s3:::logs-{THERE}/*", f"x{THERE}"],
        "d": f"arn:aws-us-gov:batch:us-east-1:{THERE}:job-queue/*", "e": 5, "f": f"arn:aws:iam::{THERE}4:role/x",
    }  # fmt: skip
    assert moved(given, THERE, ACCOUNT) == {
        "a": f"arn:aws:iam::{ACCOUNT}:role/x", "b": ACCOUNT, "c": [f"arn:aws:s3:::logs-{THERE}/*", f"x{THERE}"],
        "d": f"arn:aws-us-gov:batch:us-east-1:{ACCOUNT}:job-queue/*", "e": 5, "f": f"arn:aws:iam::{THERE}4:role/x",
    }  # fmt: skip


def test_what_is_no_file_of_details_is_told(iam: Any) -> None:
    here = look_here(iam, ACCOUNT)
    for given in ({}, {"Users": []}, {"RoleDetailList": [{"Arn": "x"}]}):
        with pytest.raises(NoDetails, match="get-account-authorization-details"):
            plan(given, here)
    broken = {"RoleDetailList": [{"Arn": f"arn:aws:iam::{THERE}:role/x", "AssumeRolePolicyDocument": "{"}]}
    assert source_of(broken) == THERE
    with pytest.raises(NoDetails, match="a policy in it is no JSON"):
        plan(broken, here)

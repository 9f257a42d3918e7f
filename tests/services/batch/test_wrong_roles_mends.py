"""The command that mends a broken link: no more than is needed, whole as a line for a shell, and for those who may see it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batch_house import POLICY, ROLE, BatchHouse
from batch_room import trust
from in_process import ACCOUNT, InProcessHouse
from longshore.aws.principal import root
from longshore.services.batch import acting, mending
from longshore.services.batch.chain import Broken
from longshore.services.batch.mending import Mend
from wrong_roles import carry_out, explained

POLL = "arn:aws:ecs:us-east-1:123456789012:container-instance/c/1"
DENIED = "with an explicit deny in an identity-based policy"
DENIED_BY_BOUNDARY = "with an explicit deny in a permissions boundary"
SILENT = "because no identity-based policy allows the ecs:Poll action"
BOUNDED = "because no permissions boundary allows the ecs:Poll action"


@pytest.fixture
def batch(house: InProcessHouse) -> BatchHouse:
    made = BatchHouse(house)
    made.role()
    return made


def poll(because: str, **more: Any) -> Broken:
    """The instance role may not listen."""
    given: dict[str, Any] = {
        "link": "policy", "name": ROLE, "text": f"User: x is not authorized to perform: ecs:Poll on resource: {POLL} {because}",
        "principal": "x", "action": "ecs:Poll", "resource": POLL,
    }  # fmt: skip
    return Broken(**{**given, **more})


def mended(batch: BatchHouse, broken: Broken) -> Mend:
    """As the account's root is told."""
    found: Mend = batch.read(lambda call: mending.mend(acting.acting(call, root(ACCOUNT)), broken))
    return found


def statement(effect: str, *actions: str, **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": list(actions), "Resource": "*", **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def inline(batch: BatchHouse, *statements: dict[str, Any], name: str = "p") -> None:
    batch.iam.put_role_policy(RoleName=ROLE, PolicyName=name, PolicyDocument=document(*statements))


def managed(batch: BatchHouse, name: str, *statements: dict[str, Any]) -> str:
    arn: str = batch.iam.create_policy(PolicyName=name, PolicyDocument=document(*statements))["Policy"]["Arn"]
    return arn


def inline_now(batch: BatchHouse, name: str = "p") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = batch.iam.get_role_policy(RoleName=ROLE, PolicyName=name)["PolicyDocument"][
        "Statement"
    ]
    return found


ALL = statement("Allow", "*")
# (what denies, the statements that are left when it is mended; None: the policy is gone)
DENIALS: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]] | None]] = [
    ("alone", [statement("Deny", "ecs:Poll")], None),
    ("beside an allowance", [ALL, statement("Deny", "ecs:Poll")], [ALL]),
    ("with other actions", [statement("Deny", "ecs:poll", "ecs:RunTask")], [statement("Deny", "ecs:RunTask")]),
    ("by a pattern", [ALL, statement("Deny", "ecs:P*")], [ALL]),
    ("by NotAction", [ALL, {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}], [ALL]),
    ("of another resource too", [ALL, statement("Deny", "ecs:Poll", Resource="arn:aws:ecs:*:*:task/*"),
                                 statement("Deny", "ecs:Poll")],
     [ALL, statement("Deny", "ecs:Poll", Resource="arn:aws:ecs:*:*:task/*")]),
    ("twice", [statement("Deny", "ecs:Poll"), ALL, statement("Deny", "ecs:*")], [ALL]),
]  # fmt: skip


@pytest.mark.parametrize("name, before, after", DENIALS, ids=[case[0] for case in DENIALS])
def test_a_denial_is_taken_out_and_all_else_stays(
    batch: BatchHouse, name: str, before: list[dict[str, Any]], after: list[dict[str, Any]] | None
) -> None:
    inline(batch, statement("Deny", "s3:*"), name="other")
    inline(batch, *before)
    told = mended(batch, poll(DENIED))
    assert told.allows is None and told.command is not None
    carry_out(batch, told.command)
    if after is None:
        assert batch.iam.list_role_policies(RoleName=ROLE)["PolicyNames"] == ["other"]
    else:
        assert inline_now(batch) == after
    assert inline_now(batch, "other") == [statement("Deny", "s3:*")]


def test_a_managed_policy_that_denies_gets_a_new_version_or_is_detached(batch: BatchHouse) -> None:
    whole = managed(batch, "whole", statement("Deny", "ecs:*"))
    batch.iam.attach_role_policy(RoleName=ROLE, PolicyArn=whole)
    assert mended(batch, poll(DENIED)).command == f"aws iam detach-role-policy --role-name {ROLE} --policy-arn {whole}"
    batch.iam.detach_role_policy(RoleName=ROLE, PolicyArn=whole)
    mixed = managed(batch, "mixed", ALL, statement("Deny", "ecs:*"))
    batch.iam.attach_role_policy(RoleName=ROLE, PolicyArn=mixed)
    command = mended(batch, poll(DENIED)).command
    assert command is not None and command.startswith(f"aws iam create-policy-version --policy-arn {mixed}")
    carry_out(batch, command)
    version = batch.iam.get_policy(PolicyArn=mixed)["Policy"]["DefaultVersionId"]
    assert version == "v2"


def test_a_policy_with_as_many_versions_as_there_may_be_loses_the_oldest(batch: BatchHouse) -> None:
    arn = managed(batch, "limit", statement("Allow", "s3:*"))
    for _ in range(4):
        batch.iam.create_policy_version(
            PolicyArn=arn, PolicyDocument=document(statement("Allow", "s3:*")), SetAsDefault=False
        )
    batch.iam.put_role_permissions_boundary(RoleName=ROLE, PermissionsBoundary=arn)
    told = mended(batch, poll(BOUNDED))
    assert told.command is not None
    assert told.command.startswith(f"aws iam delete-policy-version --policy-arn {arn} --version-id v2 && ")
    carry_out(batch, told.command)
    found = batch.iam.get_policy_version(PolicyArn=arn, VersionId="v6")["PolicyVersion"]
    assert found["IsDefaultVersion"]
    assert found["Document"]["Statement"] == [
        statement("Allow", "s3:*"), {"Effect": "Allow", "Action": "ecs:Poll", "Resource": POLL},
    ]  # fmt: skip
    assert json.loads(told.allows or "") == found["Document"]["Statement"][1]


def test_a_boundary_that_only_aws_can_change_is_taken_away(batch: BatchHouse) -> None:
    arn = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    batch.iam.put_role_permissions_boundary(RoleName=ROLE, PermissionsBoundary=arn)
    assert mended(batch, poll(BOUNDED)).command == f"aws iam delete-role-permissions-boundary --role-name {ROLE}"


def test_a_boundary_that_denies_keeps_the_rest(batch: BatchHouse) -> None:
    arn = managed(batch, "limit", ALL, statement("Deny", "ecs:Poll", "iam:*"))
    batch.iam.put_role_permissions_boundary(RoleName=ROLE, PermissionsBoundary=arn)
    command = mended(batch, poll(DENIED_BY_BOUNDARY)).command
    assert command is not None
    carry_out(batch, command)
    found = batch.iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]["Document"]["Statement"]
    assert found == [ALL, statement("Deny", "iam:*")]


def test_what_no_managed_policy_of_the_role_gives_is_allowed_by_a_policy_of_its_own(batch: BatchHouse) -> None:
    silent = "because no identity-based policy allows the x action"
    first = poll(silent, action="ecr:DescribeImages", resource="arn:aws:ecr:us-east-1:123456789012:repository/a")
    told = mended(batch, first)
    assert told.command is not None
    assert told.command.startswith(f"aws iam put-role-policy --role-name {ROLE} --policy-name allow-DescribeImages ")
    carry_out(batch, told.command)
    second = poll(silent, action="ecr:DescribeImages", resource="arn:aws:ecr:us-east-1:123456789012:repository/b")
    again = mended(batch, second).command
    assert again is not None
    carry_out(batch, again)  # The first is not forgotten.
    assert [each["Resource"][-1] for each in inline_now(batch, "allow-DescribeImages")] == ["a", "b"]
    assert mended(batch, poll(SILENT)).allows == POLICY


def test_a_trust_policy_gets_what_it_lacks_and_loses_what_denies(batch: BatchHouse) -> None:
    given = json.loads(trust("lambda.amazonaws.com"))
    given["Statement"] += [
        {"Effect": "Deny", "Principal": {"Service": ["ec2.amazonaws.com"]}, "Action": "sts:AssumeRole"},
        {"Effect": "Deny", "Principal": {"Service": "glue.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ]
    batch.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(given))
    told = mended(batch, Broken(link="trust", name=ROLE, text="x"))
    assert told.command is not None
    carry_out(batch, told.command)
    kept = batch.iam.get_role(RoleName=ROLE)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert [(each["Effect"], each["Principal"]["Service"]) for each in kept] == [
        ("Allow", "lambda.amazonaws.com"), ("Deny", "glue.amazonaws.com"), ("Allow", "ec2.amazonaws.com"),
    ]  # fmt: skip
    assert json.loads(told.allows or "") == kept[2]


MISSING: list[tuple[str, Broken, str]] = [
    ("a profile whose role is there", Broken(link="profile", name=ROLE, text="x"),
     f"aws iam create-instance-profile --instance-profile-name {ROLE} && "
     f"aws iam add-role-to-instance-profile --instance-profile-name {ROLE} --role-name {ROLE}"),
    ("an empty profile", Broken(link="role", name=ROLE, text="x"),
     f"aws iam add-role-to-instance-profile --instance-profile-name {ROLE} --role-name {ROLE}"),
    ("an empty profile, no role of its name", Broken(link="role", name="new", text="x"),
     "aws iam create-role --role-name new --assume-role-policy-document "
     '\'{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},'
     '"Action":"sts:AssumeRole"}]}\' && '
     f"aws iam attach-role-policy --role-name new --policy-arn {POLICY} && "
     "aws iam add-role-to-instance-profile --instance-profile-name new --role-name new"),
    ("a job role", Broken(link="role", of="job role", name="job", text="x"),
     "aws iam create-role --role-name job --assume-role-policy-document "
     '\'{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},'
     '"Action":"sts:AssumeRole"}]}\''),
    ("the service-linked role", Broken(link="role", of="service role", name="AWSServiceRoleForBatch", text="x"),
     "aws iam create-service-linked-role --aws-service-name batch.amazonaws.com"),
]  # fmt: skip


@pytest.mark.parametrize("name, broken, command", MISSING, ids=[case[0] for case in MISSING])
def test_what_is_missing_is_made(batch: BatchHouse, name: str, broken: Broken, command: str) -> None:
    assert mended(batch, broken) == Mend(command=command)


def test_what_only_aws_can_change_and_what_is_not_sure_has_no_mend(batch: BatchHouse) -> None:
    batch.iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    linked = poll(SILENT, of="service role", name="AWSServiceRoleForBatch")
    assert mended(batch, linked) == Mend()
    assert mended(batch, poll(SILENT, unsure=("aws:sourceip",))) == Mend()


def test_an_instance_whose_profile_was_made_again_is_associated_anew(batch: BatchHouse) -> None:
    """One that has joined and runs jobs: it is not replaced, so its association is."""
    batch.profile()
    batch.environment(minvCpus=2, maxvCpus=2, instanceTypes=["c6i.large"])
    batch.house.settle(lambda: batch.instances("running"))
    (instance,) = batch.instances()
    broken = Broken(link="profile", name=ROLE, text="x", association=instance["InstanceId"])
    command = mended(batch, broken).command
    assert command is not None
    carry_out(batch, command)
    found = batch.ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
    assert [each["InstanceId"] for each in found] == [instance["InstanceId"]]
    assert found[0]["AssociationId"] not in command


# --- who is told ---

SEES: list[tuple[str, list[str], str | None]] = [
    ("nothing of IAM", [], "iam:GetRole"),
    ("roles, not their policies", ["iam:GetRole"], "iam:ListRolePolicies"),
    ("all", ["iam:Get*", "iam:List*"], None),
]


@pytest.mark.parametrize("name, actions, withheld", SEES, ids=[case[0] for case in SEES])
def test_who_may_not_read_policies_is_not_told_what_stands_in_them(
    batch: BatchHouse, name: str, actions: list[str], withheld: str | None
) -> None:
    batch.profile()
    batch.environment()
    batch.queue()
    batch.define()
    inline(batch, ALL, statement("Deny", "ecs:RegisterContainerInstance", Sid="Secret"))
    job_id = batch.submit()
    batch.reason(job_id, "ACTION_REQUIRED", seconds=15)
    batch.iam.create_user(UserName="ann")
    allowed = document(statement("Allow", "batch:DescribeJobs", *actions))
    batch.iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=allowed)
    key = batch.iam.create_access_key(UserName="ann")["AccessKey"]
    batch.house.pass_time(2)
    answer = explained(batch, job_id, key["AccessKeyId"], key["SecretAccessKey"])
    first = answer["chain"][0]
    assert first["action"] == "ecs:RegisterContainerInstance"  # That much stands in the job's statusReason.
    if withheld is None:
        assert first["mend"].startswith("aws iam put-role-policy ")
    else:
        assert first["mend"] is None
        assert answer["reasons"][-1] == f"what would mend it is told to those who are allowed {withheld}"
    batch.house.pass_time(2)
    events = batch.house.client("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "Username", "AttributeValue": "ann"}]
    )["Events"]
    assert {each["EventName"] for each in events} <= {"DescribeJobs"}

"""The commands: whole as a line for a shell, and no wider than what was asked."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from doctor_accounts import NUMBER, ROLE, document, healthy, trust, with_role
from longshore.cli.doctor import mend
from longshore.cli.doctor.account import NOT_THERE_YET, Asked, Policy
from longshore.cli.doctor.mend import Do

ME = f"{ROLE}ecsInstanceRole"
LIMIT = f"arn:aws:iam::{NUMBER}:policy/limit"


def statements(do: Do) -> Any:
    return json.loads(do.parameters["PolicyDocument"])["Statement"]


def test_a_command_is_one_line_for_a_shell() -> None:
    done = Do("iam", "CreatePolicyVersion", {"PolicyArn": "a", "PolicyDocument": '{"a": "b c"}', "SetAsDefault": True})
    assert (
        done.command
        == 'aws iam create-policy-version --policy-arn a --policy-document \'{"a": "b c"}\' --set-as-default'
    )
    nested = Do(
        "batch", "UpdateComputeEnvironment", {"computeEnvironment": "ce", "computeResources": {"instanceRole": "p"}}
    )
    assert nested.command.endswith("--compute-environment ce --compute-resources instanceRole=p")
    assert mend.line((done, nested)) == f"{done.command} && {nested.command}"
    assert mend.line(()) is None


def test_what_is_added_is_as_narrow_as_what_was_asked() -> None:
    account = replace(healthy(), managed={})
    refused = [
        Asked(ME, "ecs:Poll", f"arn:aws:ecs:us-east-1:{NUMBER}:container-instance/c/{NOT_THERE_YET}"),
        Asked(ME, "ecs:SubmitTaskStateChange", "arn:c"),
        Asked(ME, "ecs:RegisterContainerInstance", "arn:c"),
        Asked(ME, "iam:PassRole", f"{ROLE}a", (("iam:PassedToService", "ec2.amazonaws.com"),)),
        Asked(ME, "iam:PassRole", f"{ROLE}b", (("iam:PassedToService", "ec2.amazonaws.com"),)),
    ]
    (done,) = mend.allow(account, account.roles["ecsInstanceRole"], "instance role", refused)
    assert statements(done) == [
        {"Effect": "Allow", "Action": "ecs:Poll",
         "Resource": f"arn:aws:ecs:us-east-1:{NUMBER}:container-instance/c/*"},
        {"Effect": "Allow", "Action": ["ecs:SubmitTaskStateChange", "ecs:RegisterContainerInstance"], "Resource": "arn:c"},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": [f"{ROLE}a", f"{ROLE}b"]},
    ]  # fmt: skip


def test_a_policy_that_was_added_before_keeps_what_it_has() -> None:
    before = document("Allow", "s3:*")
    account = with_role(replace(healthy(), managed={}), "job", policies=(Policy("inline", "allow-job-role", before),))
    (done,) = mend.allow(account, account.roles["job"], "job role", [Asked("a", "s3:GetObject", "b")])
    assert statements(done) == [*before["Statement"], {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "b"}]


def test_a_policy_of_aws_is_attached_only_if_it_gives_all() -> None:
    account = healthy()
    role = account.roles["execution"]
    (done,) = mend.allow(account, role, "execution role", [Asked("a", "logs:PutLogEvents", "arn:x")])
    assert done.operation == "AttachRolePolicy"
    (done,) = mend.allow(account, role, "execution role", [Asked("a", "logs:CreateLogGroup", "arn:x")])
    assert done.operation == "PutRolePolicy"


def test_a_boundary_gets_a_version_and_the_oldest_makes_room() -> None:
    limit = Policy("boundary", LIMIT, document("Allow", "s3:*"), oldest="v2")
    role = with_role(healthy(), "job", boundary=limit).roles["job"]
    gone, made = mend.widen_boundary(role, [Asked("a", "ecs:Poll", "b")])
    assert gone.command == f"aws iam delete-policy-version --policy-arn {LIMIT} --version-id v2"
    assert statements(made)[0] == document("Allow", "s3:*")["Statement"][0] and made.parameters["SetAsDefault"] is True
    own = replace(
        role, boundary=Policy("boundary", "arn:aws:iam::aws:policy/ReadOnlyAccess", document("Allow", "s3:*"))
    )
    (done,) = mend.widen_boundary(own, [Asked("a", "ecs:Poll", "b")])
    assert done.command == "aws iam delete-role-permissions-boundary --role-name job"
    unread = replace(role, boundary=Policy("boundary", LIMIT, None))
    assert mend.widen_boundary(unread, [Asked("a", "ecs:Poll", "b")]) == ()


def test_a_denial_is_taken_out_and_all_else_stays() -> None:
    statement = {"Effect": "Deny", "Action": ["ecs:Poll", "s3:*"], "Resource": "*"}
    both = {**document("Allow", "*"), "Statement": [*document("Allow", "*")["Statement"], statement]}
    role = with_role(healthy(), "job", policies=(Policy("inline", "p", both),)).roles["job"]
    (done,) = mend.deny_no_more(role, "ecs:Poll", "arn:x")
    assert statements(done) == [both["Statement"][0], {**statement, "Action": ["s3:*"]}]
    assert mend.deny_no_more(role, "ecs:StopTask", "arn:x") == ()


def test_a_role_is_made_as_it_was_named() -> None:
    account = healthy()
    made, held = mend.make_role(account, "service role", f"{ROLE}team/batch")
    assert (made.parameters["RoleName"], made.parameters["Path"]) == ("batch", "/team/")
    assert json.loads(made.parameters["AssumeRolePolicyDocument"]) == {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "batch.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    assert held.operation == "AttachRolePolicy"
    (alone,) = mend.make_role(account, "job role", "job2")
    assert "Path" not in alone.parameters


def test_a_trust_policy_keeps_those_it_trusts() -> None:
    role = with_role(healthy(), "job", trust=trust("lambda.amazonaws.com")).roles["job"]
    (done,) = mend.trust(role, "job role")
    assert [each["Principal"]["Service"] for each in statements(done)] == [
        ["lambda.amazonaws.com"],
        "ecs-tasks.amazonaws.com",
    ]


def test_passing_is_allowed_to_that_service_alone() -> None:
    (done,) = mend.allow_passing(f"arn:aws:iam::{NUMBER}:role/ci/deploy", (), [f"{ROLE}a"], "ec2.amazonaws.com")
    assert (done.operation, done.parameters["RoleName"], done.parameters["PolicyName"]) == (
        "PutRolePolicy", "deploy", "pass-roles-to-ec2",
    )  # fmt: skip
    assert statements(done) == [
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": f"{ROLE}a",
         "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}},
    ]  # fmt: skip

"""Doctor on a house in this process: it finds what is broken there by public operations alone, and what it mends, runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from batch_house import POLICY, ROLE, BatchHouse
from batch_room import trust
from in_process import ROOT, InProcessHouse
from longshore.cli.doctor import mend
from longshore.cli.doctor.examine import examine, look
from longshore.cli.doctor.read import CannotLook, Reader, Wanted
from longshore.cli.doctor.show import CANNOT_LOOK, HEALTHY, WRONG, Report

TASKS = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
SERVICE = "arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole"
ACCOUNT_ROLE = "arn:aws:iam::123456789012:role/"
Change = Callable[[BatchHouse], Any]


def reader(house: InProcessHouse, key: str = ROOT.access_key_id, secret: str = ROOT.secret_access_key) -> Reader:
    return Reader({name: house.client(name, key, secret) for name in ("sts", "iam", "batch")}, "us-east-1")


def examined(house: InProcessHouse, wanted: Wanted | None = None, *, fix: bool = False) -> Report:
    return examine(reader(house), wanted or Wanted(), lambda text, command: fix, house.pass_time)


@pytest.fixture
def batch(house: InProcessHouse) -> BatchHouse:
    """The whole chain: with a service role, a job role and an execution role of its own."""
    made = BatchHouse(house)
    made.role("service", service="batch.amazonaws.com", policy=SERVICE)
    made.role("job", service="ecs-tasks.amazonaws.com", policy=None)
    made.role("execution", service="ecs-tasks.amazonaws.com", policy=TASKS)
    made.role()
    made.profile()
    made.environment(serviceRole="service")
    made.queue()
    made.define(container={"jobRoleArn": f"{ACCOUNT_ROLE}job", "executionRoleArn": f"{ACCOUNT_ROLE}execution"})
    return made


def empty_profile(batch: BatchHouse) -> None:
    batch.iam.remove_role_from_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)


def no_profile(batch: BatchHouse) -> None:
    empty_profile(batch)
    batch.iam.delete_instance_profile(InstanceProfileName=ROLE)


def no_profile_and_no_role(batch: BatchHouse) -> None:
    no_profile(batch)
    delete_role(batch, ROLE, POLICY)


def another_role(batch: BatchHouse) -> None:
    empty_profile(batch)
    batch.role("app", policy=None)
    batch.iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName="app")


def detach(role: str, arn: str) -> Change:
    return lambda batch: batch.iam.detach_role_policy(RoleName=role, PolicyArn=arn)


def task_policy(batch: BatchHouse) -> None:
    detach(ROLE, POLICY)(batch)
    batch.iam.attach_role_policy(RoleName=ROLE, PolicyArn=TASKS)


def trusting(role: str, service: str) -> Change:
    return lambda batch: batch.iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust(service))


def boundary(batch: BatchHouse) -> None:
    statement = {
        "Effect": "Allow",
        "Action": ["logs:*", "ecs:Register*", "ecs:Discover*", "ecs:Submit*"],
        "Resource": "*",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    arn = batch.iam.create_policy(PolicyName="limit", PolicyDocument=document)["Policy"]["Arn"]
    batch.iam.put_role_permissions_boundary(RoleName=ROLE, PermissionsBoundary=arn)


def denied(role: str, action: str) -> Change:
    return lambda batch: batch.allow(role, action, effect="Deny", name="no")


def delete_role(batch: BatchHouse, name: str, *policies: str) -> None:
    for arn in policies:
        batch.iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    batch.iam.delete_role(RoleName=name)


MISTAKES: dict[str, tuple[Change, str, str]] = {
    "profile empty": (empty_profile, "profile-empty", ROLE),
    "profile missing": (no_profile, "profile-missing", ROLE),
    "profile and role missing": (no_profile_and_no_role, "profile-missing", ROLE),
    "profile holds another role": (another_role, "profile-holds-another-role", ROLE),
    "instance role without the policy": (detach(ROLE, POLICY), "actions-refused", ROLE),
    "policy of tasks in its place": (task_policy, "actions-refused", ROLE),
    "trust names ecs-tasks": (trusting(ROLE, "ecs-tasks.amazonaws.com"), "trust-wrong", ROLE),
    "a boundary hides an action": (boundary, "boundary-refuses", ROLE),
    "an explicit deny": (denied(ROLE, "ecs:Poll"), "action-denied", ROLE),
    "service role does not trust Batch": (trusting("service", "ec2.amazonaws.com"), "trust-wrong", "service"),
    "service role without its policy": (detach("service", SERVICE), "actions-refused", "service"),
    "service role denied": (denied("service", "ec2:RunInstances"), "action-denied", "service"),
    "service role denied what AWS alone would call":
        (denied("service", "autoscaling:SetDesiredCapacity"), "action-denied", "service"),
    "service role missing": (lambda batch: delete_role(batch, "service", SERVICE), "role-missing", "service"),
    "job role does not trust tasks": (trusting("job", "ec2.amazonaws.com"), "trust-wrong", "job"),
    "job role missing": (lambda batch: delete_role(batch, "job"), "role-missing", "job"),
    "execution role without logs rights": (detach("execution", TASKS), "actions-refused", "execution"),
}  # fmt: skip


def test_a_chain_that_holds_is_healthy(batch: BatchHouse) -> None:
    report = examined(batch.house)
    assert (report.findings, report.account.unread, report.no_simulator) == ((), (), None)
    assert report.exit_code == HEALTHY
    assert batch.ended(batch.submit())["status"] == "SUCCEEDED"


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found_and_mended_and_then_jobs_run(batch: BatchHouse, name: str) -> None:
    breaks, code, role = MISTAKES[name]
    breaks(batch)
    report = examined(batch.house)
    assert report.exit_code == WRONG and report.done == ()
    wrong = [each for each in report.findings if each.level == "wrong"]
    assert [(each.code, each.name) for each in wrong] == [(code, role)], report.findings
    mended = examined(batch.house, fix=True)
    assert mended.exit_code == HEALTHY, mended.findings
    assert mended.done == (mend.line(wrong[0].todo),)
    assert batch.ended(batch.submit(), seconds=60)["status"] == "SUCCEEDED"


def test_several_mistakes_at_once_are_mended_one_after_the_other(batch: BatchHouse) -> None:
    for name in ("profile and role missing", "service role does not trust Batch", "job role missing"):
        MISTAKES[name][0](batch)
    report = examined(batch.house, fix=True)
    assert (report.exit_code, len(report.done), report.failed) == (HEALTHY, 3, ())
    assert batch.ended(batch.submit(), seconds=60)["status"] == "SUCCEEDED"


def test_nothing_is_changed_that_was_not_agreed_to(batch: BatchHouse) -> None:
    trusting("job", "ec2.amazonaws.com")(batch)
    detach(ROLE, POLICY)(batch)
    asked: list[str] = []

    def agrees(text: str, command: str) -> bool:
        asked.append(command)
        return "attach-role-policy" in command

    report = examine(reader(batch.house), Wanted(), agrees, batch.house.pass_time)
    assert len(asked) == 2 and len(report.done) == 1
    assert [each.name for each in report.findings if each.level == "wrong"] == ["job"]


def test_an_environment_that_was_given_up_is_begun_anew() -> None:
    house = InProcessHouse(join_seconds=20)
    try:
        batch = BatchHouse(house).chain()
        batch.iam.detach_role_policy(RoleName=ROLE, PolicyArn=POLICY)
        job_id = batch.submit()
        house.settle(lambda: batch.described()["status"] == "INVALID", seconds=60)
        report = examined(house, fix=True)
        assert [command.split()[2] for command in report.done] == ["attach-role-policy", "update-compute-environment"]
        assert batch.ended(job_id, seconds=30)["status"] == "SUCCEEDED"
    finally:
        house.close()


# --- the caller ---


def user(batch: BatchHouse, *actions: str) -> tuple[str, str]:
    batch.iam.create_user(UserName="ann")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
    batch.iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=json.dumps(document))
    key = batch.iam.create_access_key(UserName="ann")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


LOOKS = ("iam:Get*", "iam:List*", "iam:SimulatePrincipalPolicy", "batch:Describe*")


def test_a_caller_who_may_make_and_not_pass_is_told_what_he_needs(batch: BatchHouse) -> None:
    keys = user(batch, "batch:*", *LOOKS)
    report = look(reader(batch.house, *keys), Wanted())
    wrong = [each for each in report.findings if each.level == "wrong"]
    assert {(each.code, each.name) for each in wrong} == {("pass-role-refused", "ann")}
    assert {each.text.partition(" is allowed ")[2].partition(",")[0] for each in wrong} == {
        "batch:CreateComputeEnvironment", "batch:RegisterJobDefinition",
    }  # fmt: skip
    # The account's own user mends it, and looks with ann's eyes.
    ann = Wanted(caller="arn:aws:iam::123456789012:user/ann")
    assert examined(batch.house, ann, fix=True).exit_code == HEALTHY
    assert look(reader(batch.house, *keys), Wanted()).exit_code == HEALTHY
    batch.house.client("batch", *keys).register_job_definition(
        jobDefinitionName="own", type="container",
        containerProperties={"image": "busybox", "vcpus": 1, "memory": 64, "jobRoleArn": f"{ACCOUNT_ROLE}job"},
    )  # fmt: skip


def test_who_may_not_simulate_has_the_policies_read(batch: BatchHouse) -> None:
    keys = user(batch, "iam:Get*", "iam:List*", "batch:Describe*")
    detach(ROLE, POLICY)(batch)
    report = look(reader(batch.house, *keys), Wanted())
    assert "is not authorized to perform: iam:SimulatePrincipalPolicy" in (report.no_simulator or "")
    assert [each.code for each in report.findings] == ["actions-refused"]


def test_who_may_not_read_is_told_what_he_could_not(batch: BatchHouse) -> None:
    keys = user(batch, "batch:Describe*")
    report = look(reader(batch.house, *keys), Wanted())
    assert report.exit_code == CANNOT_LOOK and report.findings == ()
    assert {"iam:GetRole", "iam:GetInstanceProfile"} <= {each.operation for each in report.account.unread}
    assert all("is not authorized to perform" in each.because for each in report.account.unread)


def test_what_he_may_not_mend_is_told(batch: BatchHouse) -> None:
    keys = user(batch, *LOOKS)
    detach(ROLE, POLICY)(batch)
    report = examine(reader(batch.house, *keys), Wanted(), lambda text, command: True, batch.house.pass_time)
    ((command, because),) = report.failed
    assert (
        command.startswith("aws iam attach-role-policy ")
        and "not authorized to perform: iam:AttachRolePolicy" in because
    )
    assert report.exit_code == WRONG


def test_a_session_is_judged_by_its_role(batch: BatchHouse) -> None:
    batch.iam.create_role(RoleName="ops", AssumeRolePolicyDocument=json.dumps({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}],
    }))  # fmt: skip
    batch.allow("ops", "batch:*", *LOOKS)
    session = Wanted(caller="arn:aws:sts::123456789012:assumed-role/ops/me")
    report = look(reader(batch.house), session)
    assert {each.name for each in report.findings} == {"me"}
    assert all("put-role-policy --role-name ops" in (mend.line(each.todo) or "") for each in report.findings)


def test_a_wrong_key_is_told_at_once(house: InProcessHouse) -> None:
    with pytest.raises(
        CannotLook, match="who asks can't be told: The security token included in the request is invalid"
    ):
        look(reader(house, "AKIANOBODYNOBODYNOBO"), Wanted())

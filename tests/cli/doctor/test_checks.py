"""Each mistake is found, named in plain words, and has the command that mends it; what is right is not called wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from re import findall

import pytest
from msgspec import Struct
from msgspec.structs import replace

from doctor_accounts import (
    ANN,
    CLUSTER,
    INSTANCE,
    NUMBER,
    ROLE,
    SERVICE,
    TASKS,
    attached,
    aws_own,
    document,
    findings,
    healthy,
    profile,
    role,
    trust,
    with_definition,
    with_environment,
    with_profile,
    with_role,
    without_role,
)
from longshore.cli.doctor import asked, checks, mend
from longshore.cli.doctor.account import Account, Answer, Caller, Definition, Environment, Policy, Queue, Unread

PROFILE = f"arn:aws:iam::{NUMBER}:instance-profile/"
TASK_TRUST = trust("ecs-tasks.amazonaws.com")


def test_in_a_healthy_account_nothing_is_found() -> None:
    assert findings(healthy()) == []


class Case(Struct, frozen=True, kw_only=True):
    change: Callable[[Account], Account]
    code: str
    of: str
    name: str
    says: str  # a part of the text
    mend: str | None  # how the command begins; None: there is none


def deny(*actions: str) -> Policy:
    return Policy("inline", "no", document("Deny", *actions))


def held_by(name: str, *more: Policy) -> Callable[[Account], Account]:
    return lambda account: with_role(account, name, policies=(*account.roles[name].policies, *more))


def limited(account: Account) -> Account:
    limit = Policy(
        "boundary", f"arn:aws:iam::{NUMBER}:policy/limit", document("Allow", "ecs:Register*", "ecs:D*", "logs:*")
    )
    return with_role(account, "ecsInstanceRole", boundary=limit)


def held_through_full_access(account: Account) -> Account:
    full = attached("arn:aws:iam::aws:policy/AWSBatchFullAccess")
    return replace(account, caller=Caller(arn=ANN, source=ANN, policies=(full,)))


CASES: dict[str, Case] = {
    # the profile
    "role ARN for the profile": Case(
        change=lambda a: with_environment(a, instance_role=f"{ROLE}ecsInstanceRole"), code="role-for-profile",
        of="instance profile", name="ecsInstanceRole", says="is the ARN of a role, where an instance profile is wanted",
        mend="aws batch update-compute-environment --compute-environment ce --compute-resources instanceRole=ecsInstanceRole"),
    "role ARN, and the profile has another name": Case(
        change=lambda a: replace(with_environment(with_role(a, "app"), instance_role=f"{ROLE}app"),
                                 profiles_of_roles={"app": ("apps",)}),
        code="role-for-profile", of="instance profile", name="app", says="name the profile apps",
        mend="aws batch update-compute-environment --compute-environment ce --compute-resources instanceRole=apps"),
    "profile missing": Case(
        change=lambda a: replace(a, profiles={}), code="profile-missing", of="instance profile", name="ecsInstanceRole",
        says="there is no instance profile ecsInstanceRole",
        mend="aws iam create-instance-profile --instance-profile-name ecsInstanceRole && aws iam"
             " add-role-to-instance-profile --instance-profile-name ecsInstanceRole --role-name ecsInstanceRole"),
    "profile of a different name": Case(
        change=lambda a: replace(a, profiles={}, profiles_of_roles={"ecsInstanceRole": ("other",)}),
        code="profile-missing", of="instance profile", name="ecsInstanceRole",
        says="the role ecsInstanceRole is in the profile other, and a profile is another thing than its role",
        mend="aws iam create-instance-profile "),
    "profile and role missing": Case(
        change=lambda a: replace(without_role(a, "ecsInstanceRole"), profiles={}), code="profile-missing",
        of="instance profile", name="ecsInstanceRole", says="there is no instance profile",
        mend="aws iam create-instance-profile --instance-profile-name ecsInstanceRole && aws iam create-role "),
    "profile at another path": Case(
        change=lambda a: with_environment(a, instance_role=f"{PROFILE}team/ecsInstanceRole"), code="profile-elsewhere",
        of="instance profile", name="ecsInstanceRole", says="its path is another",
        mend=f"aws batch update-compute-environment --compute-environment ce --compute-resources instanceRole={PROFILE}"),
    "profile empty": Case(
        change=lambda a: with_profile(a, "ecsInstanceRole"), code="profile-empty", of="instance profile",
        name="ecsInstanceRole", says="holds no role",
        mend="aws iam add-role-to-instance-profile --instance-profile-name ecsInstanceRole --role-name ecsInstanceRole"),
    "profile holds another role": Case(
        change=lambda a: with_role(with_profile(a, "ecsInstanceRole", "app"), "app"), code="profile-holds-another-role",
        of="instance profile", name="ecsInstanceRole", says="holds the role app, which can't bring an instance into its",
        mend="aws iam remove-role-from-instance-profile --instance-profile-name ecsInstanceRole --role-name app && "),
    "profile holds another role, and there is no better one": Case(
        change=lambda a: without_role(with_role(with_profile(a, "ecsInstanceRole", "app"), "app"), "ecsInstanceRole"),
        code="actions-refused", of="instance role", name="app", says="allows ecs:RegisterContainerInstance, ",
        mend=f"aws iam attach-role-policy --role-name app --policy-arn {INSTANCE}"),
    # the instance role
    "instance role without the policy": Case(
        change=lambda a: with_role(a, "ecsInstanceRole", policies=()), code="actions-refused", of="instance role",
        name="ecsInstanceRole", says="ecs:Poll",
        mend=f"aws iam attach-role-policy --role-name ecsInstanceRole --policy-arn {INSTANCE}"),
    "the policy of tasks in its place": Case(
        change=lambda a: with_role(a, "ecsInstanceRole", policies=(attached(TASKS),)), code="actions-refused",
        of="instance role", name="ecsInstanceRole",
        says="allows ecs:RegisterContainerInstance, ecs:DiscoverPollEndpoint, ecs:Poll, ecs:SubmitContainerStateChange and"
             " ecs:SubmitTaskStateChange",
        mend=f"aws iam attach-role-policy --role-name ecsInstanceRole --policy-arn {INSTANCE}"),
    "a policy of its own that is too narrow": Case(
        change=lambda a: with_role(a, "ecsInstanceRole", policies=(
            Policy("inline", "p", document("Allow", "ecs:Reg*", "ecs:Discover*", "ecs:Submit*", "logs:*")),)),
        code="actions-refused", of="instance role", name="ecsInstanceRole", says="allows ecs:Poll",
        mend=f"aws iam attach-role-policy --role-name ecsInstanceRole --policy-arn {INSTANCE}"),
    "no policy of AWS's to attach": Case(
        change=lambda a: replace(with_role(a, "ecsInstanceRole", policies=()), managed={}), code="actions-refused",
        of="instance role", name="ecsInstanceRole", says="ecs:Poll",
        mend="aws iam put-role-policy --role-name ecsInstanceRole --policy-name allow-instance-role "),
    "another cluster's rights": Case(
        change=lambda a: with_role(a, "ecsInstanceRole", policies=(
            Policy("inline", "p", document("Allow", "ecs:*", resource=[CLUSTER + "0", "*:container-instance/*"])),
            Policy("inline", "q", document("Allow", "ecs:Poll", "ecs:DiscoverPollEndpoint", "logs:*")))),
        code="actions-refused", of="instance role", name="ecsInstanceRole",
        says="allows ecs:RegisterContainerInstance, ecs:SubmitContainerStateChange and ecs:SubmitTaskStateChange",
        mend=f"aws iam attach-role-policy --role-name ecsInstanceRole --policy-arn {INSTANCE}"),
    "instance role trusts ecs-tasks": Case(
        change=lambda a: with_role(a, "ecsInstanceRole", trust=TASK_TRUST), code="trust-wrong", of="instance role",
        name="ecsInstanceRole",
        says="does not let ec2.amazonaws.com take it; it names ecs-tasks.amazonaws.com; ec2.amazonaws.com is needed",
        mend="aws iam update-assume-role-policy --role-name ecsInstanceRole "),
    "a boundary hides an action": Case(
        change=limited, code="boundary-refuses", of="instance role", name="ecsInstanceRole",
        says="the permissions boundary of the instance role ecsInstanceRole does not allow ecs:Poll, ",
        mend=f"aws iam create-policy-version --policy-arn arn:aws:iam::{NUMBER}:policy/limit "),
    "an explicit deny": Case(
        change=held_by("ecsInstanceRole", deny("ecs:Poll", "s3:*")), code="action-denied", of="instance role",
        name="ecsInstanceRole", says="a policy of the instance role ecsInstanceRole denies ecs:Poll",
        mend="aws iam put-role-policy --role-name ecsInstanceRole --policy-name no --policy-document"),
    "a managed policy denies": Case(
        change=held_by("ecsInstanceRole", Policy("attached", "arn:aws:iam::1:policy/no", document("Deny", "ecs:Poll"))),
        code="action-denied", of="instance role", name="ecsInstanceRole", says="denies ecs:Poll",
        mend="aws iam detach-role-policy --role-name ecsInstanceRole --policy-arn arn:aws:iam::1:policy/no"),
    # the service role
    "service role missing": Case(
        change=lambda a: without_role(a, "service"), code="role-missing", of="service role", name="service",
        says=f"there is no role {ROLE}service",
        mend="aws iam create-role --role-name service --assume-role-policy-document "),
    "service role at another path": Case(
        change=lambda a: with_environment(a, service_role=f"{ROLE}team/service"), code="role-elsewhere",
        of="service role", name="service", says="whose path is another", mend=None),
    "service role does not trust Batch": Case(
        change=lambda a: with_role(a, "service", trust=trust("ec2.amazonaws.com")), code="trust-wrong",
        of="service role", name="service", says="batch.amazonaws.com is needed",
        mend="aws iam update-assume-role-policy --role-name service "),
    "service role lacks what it needs": Case(
        change=lambda a: with_role(a, "service", policies=()), code="actions-refused", of="service role", name="service",
        says="ec2:RunInstances", mend=f"aws iam attach-role-policy --role-name service --policy-arn {SERVICE}"),
    "service role may not pass the instance role": Case(
        change=held_by("service", Policy("inline", "no", document("Deny", "iam:PassRole", resource=f"{ROLE}ecs*"))),
        code="action-denied", of="service role", name="service", says="denies iam:PassRole",
        mend="aws iam delete-role-policy --role-name service --policy-name no"),
    "service-linked role missing": Case(
        change=lambda a: with_environment(a, service_role=None), code="role-missing", of="service role",
        name="AWSServiceRoleForBatch", says="which Batch makes with the first compute environment",
        mend="aws iam create-service-linked-role --aws-service-name batch.amazonaws.com"),
    "Spot fleet role trusts another": Case(
        change=lambda a: with_role(with_environment(a, resources="SPOT", spot_fleet_role=f"{ROLE}fleet"), "fleet"),
        code="trust-wrong", of="Spot fleet role", name="fleet", says="spotfleet.amazonaws.com is needed",
        mend="aws iam update-assume-role-policy --role-name fleet "),
    # the job's own
    "job role missing": Case(
        change=lambda a: without_role(a, "job"), code="role-missing", of="job role", name="job",
        says=f"there is no role {ROLE}job", mend="aws iam create-role --role-name job "),
    "job role does not trust ecs-tasks": Case(
        change=lambda a: with_role(a, "job", trust=trust("ec2.amazonaws.com")), code="trust-wrong", of="job role",
        name="job", says="ecs-tasks.amazonaws.com is needed", mend="aws iam update-assume-role-policy --role-name job "),
    "execution role without logs rights": Case(
        change=lambda a: with_role(a, "execution", policies=()), code="actions-refused", of="execution role",
        name="execution", says="logs:CreateLogStream and logs:PutLogEvents",
        mend=f"aws iam attach-role-policy --role-name execution --policy-arn {TASKS}"),
    "execution role that may not read a secret": Case(
        change=lambda a: with_definition(a, secrets=(f"arn:aws:secretsmanager:us-east-1:{NUMBER}:secret:s-abc:key::",)),
        code="actions-refused", of="execution role", name="execution", says="secretsmanager:GetSecretValue",
        mend="aws iam put-role-policy --role-name execution --policy-name allow-execution-role "),
    "no execution role on Fargate": Case(
        change=lambda a: with_definition(a, is_fargate=True, execution_role=None), code="execution-role-unset",
        of="execution role", name="jd:1", says="names no execution role", mend=None),
    # the caller
    "caller without iam:PassRole": Case(
        change=held_through_full_access, code="pass-role-refused", of="caller", name="ann",
        says="is allowed batch:RegisterJobDefinition, but not to hand the execution role execution and job role job to"
             " ecs-tasks.amazonaws.com: no policy allows iam:PassRole",
        mend="aws iam put-user-policy --user-name ann --policy-name pass-roles-to-ecs-tasks "),
    # what roles do not explain
    "an environment that was given up": Case(
        change=lambda a: with_environment(a, status="INVALID", status_reason="none joined"), code="environment-invalid",
        of="compute environment", name="ce", says="compute environment ce is INVALID: none joined",
        mend="aws batch update-compute-environment --compute-environment ce --state ENABLED"),
    "an invalid queue": Case(
        change=lambda a: replace(a, queues=(replace(a.queues[0], status="INVALID", status_reason="x"),)),
        code="queue-invalid", of="job queue", name="q", says="job queue q is INVALID: x", mend=None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_found_and_has_its_mend(name: str) -> None:
    case = CASES[name]
    found = [each for each in findings(case.change(healthy())) if each.level == "wrong"]
    first = next((each for each in found if each.code == case.code and case.says in each.text), None)
    assert first is not None, found
    assert (first.of, first.name) == (case.of, case.name)
    command = mend.line(first.todo)
    assert command == case.mend or (command or "").startswith(case.mend or "nothing"), command
    # Nothing else is called wrong for it, but what hangs on the same role or profile.
    assert {each.name for each in found} == {case.name}


def test_every_code_of_a_mistake_is_tried() -> None:
    """The source is asked: a finding that no test makes is none that can be trusted."""
    tried = {case.code for case in CASES.values()}
    elsewhere = {
        "trust-unsure",
        "actions-unsure",
        "organization-refuses",
        "environment-disabled",
        "queue-disabled",
        "nothing-there",
    }
    assert codes() == tried | elsewhere


def codes() -> set[str]:
    return set(findall(r'"([a-z]+(?:-[a-z]+)+)"', Path(checks.__file__).read_text("utf-8")))


def test_the_page_tells_every_code() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "doctor.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `") and "--" not in line]
    told = {code for row in rows for code in findall(r"`([a-z-]+)`", row)}
    assert told == codes()


def test_what_is_explained_by_a_role_is_not_told_twice() -> None:
    account = with_environment(without_role(healthy(), "service"), status="INVALID", status_reason="no role")
    found = findings(account)
    assert [(each.code, each.level) for each in found] == [("role-missing", "wrong"), ("environment-invalid", "note")]


def test_what_could_not_be_read_is_not_called_missing() -> None:
    unread = (Unread("iam:GetRole", "job", "no"), Unread("iam:GetInstanceProfile", "ecsInstanceRole", "no"))
    account = replace(without_role(healthy(), "job"), profiles={}, unread=unread)
    assert findings(account) == []


def test_a_role_whose_policies_could_not_be_read_is_not_judged() -> None:
    unknown = Policy("attached", "arn:aws:iam::1:policy/p", None)
    assert findings(with_role(healthy(), "ecsInstanceRole", policies=(unknown,))) == []


def test_what_rests_on_the_call_is_not_sure() -> None:
    given = document("Allow", "*", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    account = with_role(healthy(), "ecsInstanceRole", policies=(Policy("inline", "p", given),))
    (found,) = findings(account)
    assert (found.code, found.level, found.todo) == ("actions-unsure", "unsure", ())
    assert "aws:sourceip, which only the call has" in found.text
    condition = {"ArnLike": {"aws:SourceArn": f"arn:aws:ecs:us-east-1:{NUMBER}:*"}}
    (found,) = findings(with_role(healthy(), "job", trust=trust("ecs-tasks.amazonaws.com", Condition=condition)))
    assert (found.code, found.level) == ("trust-unsure", "unsure")


def test_what_is_not_understood_is_not_called_wrong() -> None:
    strange = trust("ec2.amazonaws.com", Condition={"NoSuchOperator": {"a": "b"}})
    (found,) = findings(with_role(healthy(), "job", trust=strange))
    assert (found.code, found.level) == ("trust-unsure", "unsure")
    assert (
        findings(with_role(healthy(), "ecsInstanceRole", policies=(Policy("inline", "p", {"Statement": [{}]}),))) == []
    )


def test_what_a_trust_policy_asks_of_the_account_is_known() -> None:
    ours = trust("ecs-tasks.amazonaws.com", Condition={"StringEquals": {"aws:SourceAccount": NUMBER}})
    assert findings(with_role(healthy(), "job", trust=ours)) == []
    others = trust("ecs-tasks.amazonaws.com", Condition={"StringEquals": {"aws:SourceAccount": "999999999999"}})
    assert [each.code for each in findings(with_role(healthy(), "job", trust=others))] == ["trust-wrong"]


def test_what_the_organization_refuses_no_command_in_the_account_mends() -> None:
    account = healthy()
    (poll,) = [each for each in asked.everything(account) if each.action == "ecs:Poll"]
    for is_explicit in (True, False):
        answers = {poll: Answer(False, "organization", is_explicit)}
        (found,) = checks.check(account, answers)
        assert (found.code, found.name, found.todo) == ("organization-refuses", "ecsInstanceRole", ())
        assert "service control polic" in found.text


def test_a_profile_that_holds_a_role_of_another_name_which_does_is_no_mistake() -> None:
    account = with_role(with_profile(healthy(), "ecsInstanceRole", "nodes"), "nodes", policies=(attached(INSTANCE),))
    assert findings(account) == []


def test_without_an_execution_role_the_instances_role_writes_the_log() -> None:
    only_ecs = (Policy("inline", "p", document("Allow", "ecs:*")),)
    account = with_role(healthy(), "ecsInstanceRole", policies=only_ecs)
    assert findings(account) == []
    (found,) = findings(with_definition(account, execution_role=None))
    assert (found.name, found.actions) == ("ecsInstanceRole", ("logs:CreateLogStream", "logs:PutLogEvents"))
    assert findings(with_definition(account, execution_role=None, log_group=None)) == []


def test_an_image_of_a_registry_of_aws_must_be_readable() -> None:
    image = f"{NUMBER}.dkr.ecr.eu-west-1.amazonaws.com/team/tool:1"
    logs = (Policy("inline", "p", document("Allow", "logs:*")),)
    account = with_definition(with_role(healthy(), "execution", policies=logs), image=image)
    (found,) = findings(account)
    assert found.actions == ("ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
    assert found.resources[1] == f"arn:aws:ecr:eu-west-1:{NUMBER}:repository/team/tool"


def test_who_makes_nothing_need_hand_nothing_over() -> None:
    submits = Policy("inline", "p", document("Allow", "batch:SubmitJob", "batch:Describe*"))
    assert findings(replace(healthy(), caller=Caller(arn=ANN, source=ANN, policies=(submits,)))) == []
    assert findings(replace(healthy(), caller=Caller(arn=f"arn:aws:iam::{NUMBER}:root"))) == []


def test_a_denial_of_passing_has_no_command() -> None:
    policies = (*healthy().caller.policies, Policy("inline", "no", document("Deny", "iam:PassRole")))
    found = findings(replace(healthy(), caller=Caller(arn=ANN, source=ANN, policies=policies)))
    assert {(each.code, each.todo) for each in found} == {("pass-role-refused", ())}
    assert all("a policy denies iam:PassRole" in each.text for each in found)


def test_a_service_linked_role_is_awss_own() -> None:
    linked = replace(
        role("AWSServiceRoleForBatch", "batch.amazonaws.com"),
        arn=f"{ROLE}aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch",
    )
    account = with_environment(replace(healthy(), roles={**healthy().roles, linked.name: linked}), service_role=None)
    assert findings(account) == []


def test_roles_can_be_looked_at_before_anything_names_them() -> None:
    account = replace(healthy(), environments=(Environment(name=None, instance_role=f"{ROLE}ecsInstanceRole"),),
                      definitions=(Definition(name=None, job_role=f"{ROLE}none"),), queues=())  # fmt: skip
    found = findings(account)
    assert [each.code for each in found] == ["role-for-profile", "role-missing"]
    assert found[0].todo == ()  # The profile is there: it need only be named.


def test_nodes_of_kubernetes_are_not_asked_what_instances_of_ecs_are() -> None:
    account = with_role(with_environment(healthy(), is_kubernetes=True), "ecsInstanceRole", policies=())
    assert findings(account) == []
    (found,) = findings(with_role(account, "ecsInstanceRole", trust=TASK_TRUST))
    assert found.code == "trust-wrong"


def test_what_is_disabled_or_not_there_is_said_and_not_wrong() -> None:
    off = replace(with_environment(healthy(), state="DISABLED"),
                  queues=(Queue(name="q", state="DISABLED", status="VALID", status_reason="", environments=()),))  # fmt: skip
    assert [(each.code, each.level) for each in findings(off)] == [
        ("environment-disabled", "note"), ("queue-disabled", "note"),
    ]  # fmt: skip
    empty = replace(healthy(), environments=(), definitions=(), queues=())
    assert [(each.code, each.level) for each in findings(empty)] == [("nothing-there", "note")]


def test_the_policies_of_aws_give_what_is_asked() -> None:
    """Else doctor would call every account sick that follows AWS's own guide."""
    for arn in (INSTANCE, SERVICE, TASKS):
        assert aws_own(arn.rpartition("/")[2])["Statement"]
    assert profile("p").roles == ()
    linked = with_definition(healthy(), image=f"{NUMBER}.dkr.ecr.us-east-1.amazonaws.com/a:1", execution_role=None)
    assert findings(linked) == []

"""Wrong roles bite as in AWS: each is told where a user looks, nothing turns green while it stands, and it heals when mended.

The rows are those of users' reports (pains.md 2a); docs/wrong-roles.md is their page. What mends is the very command that
`longshore explain` proposes. Nothing is restarted: what heals, heals by itself within ten seconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec import Struct

from batch_house import POLICY, ROLE, BatchHouse
from batch_room import trust
from in_process import InProcessHouse
from wrong_roles import ACCOUNT_ROLE, carry_out, console, explained, mend_as_told

HEALS_SECONDS = 10.0
PAGE = Path(__file__).resolve().parents[3] / "docs" / "wrong-roles.md"
HEALTHY = "ComputeEnvironment Healthy"
SERVICE_POLICY = "arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole"
TASKS = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
SERVICE = "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS – Batch service role has a permission issue."
Change = Callable[[BatchHouse], None]


@pytest.fixture
def batch(house: InProcessHouse) -> Iterator[BatchHouse]:
    made = BatchHouse(house)
    yield made
    made.assert_memory_is_the_store()


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(effect: str, *actions: str) -> dict[str, Any]:
    return {"Effect": effect, "Action": list(actions), "Resource": "*"}


def refused(action: str, on: str, because: str, session: str = "ecsInstanceRole/{instance}") -> str:
    who = f"arn:aws:sts::123456789012:assumed-role/{session}"
    return f"User: {who} is not authorized to perform: {action} on resource: {on} {because}"


def silent(action: str, kind: str = "identity-based policy") -> str:
    return f"because no {kind} allows the {action} action"


# --- the instance: a job waits, and is told why ---


class Waits(Struct, frozen=True, kw_only=True):
    """A mistake for which jobs stay RUNNABLE. Texts hold {instance}, {cluster} and {other}, a container instance's ARN.

    `environment` None: as `job`. `console` None: no instance is launched.
    """

    row: str  # the mistake's name on the page
    breaks: Change
    job: str
    environment: str | None = None
    console: str | None = None
    link: tuple[str, str]
    action: str | None = None
    mend: str  # how the command begins


def no_role_inside(batch: BatchHouse) -> None:
    batch.iam.remove_role_from_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)


def no_profile(batch: BatchHouse) -> None:
    no_role_inside(batch)
    batch.iam.delete_instance_profile(InstanceProfileName=ROLE)


def another_role(batch: BatchHouse) -> None:
    no_role_inside(batch)
    batch.role("app", policy="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    batch.iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName="app")


def no_policy(batch: BatchHouse) -> None:
    batch.iam.detach_role_policy(RoleName=ROLE, PolicyArn=POLICY)


def task_policy(batch: BatchHouse) -> None:
    no_policy(batch)
    batch.iam.attach_role_policy(RoleName=ROLE, PolicyArn=TASKS)


def wrong_trust(batch: BatchHouse) -> None:
    batch.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=trust("ecs-tasks.amazonaws.com"))


def boundary(batch: BatchHouse) -> None:
    allowed = statement("Allow", "ec2:*", "logs:*", "ecs:Register*", "ecs:Discover*", "ecs:Submit*", "ecs:Start*")
    arn = batch.iam.create_policy(PolicyName="limit", PolicyDocument=document(allowed))["Policy"]["Arn"]
    batch.iam.put_role_permissions_boundary(RoleName=ROLE, PermissionsBoundary=arn)


def denied(batch: BatchHouse) -> None:
    batch.allow(ROLE, "ecs:Poll", "s3:DeleteBucket", effect="Deny", name="no")


def denied_by_a_managed_policy(batch: BatchHouse) -> None:
    made = batch.iam.create_policy(PolicyName="no-ecs", PolicyDocument=document(statement("Deny", "ecs:*")))
    batch.iam.attach_role_policy(RoleName=ROLE, PolicyArn=made["Policy"]["Arn"])


REGISTER = "ecs:RegisterContainerInstance"
SILENT = "ACTION_REQUIRED - the agent of instance {instance} of compute environment ce is not connected: "
NOT_JOINED = "ACTION_REQUIRED - instance {instance} of compute environment ce has not joined its cluster: "
CANT_LAUNCH = "ACTION_REQUIRED - compute environment ce can't launch instances: "
NO_REGISTER = refused(REGISTER, "{cluster}", silent(REGISTER))
UNREGISTERED = f"Unable to register as a container instance with ECS: AccessDeniedException: {NO_REGISTER}"
EMPTY = 'IAM Instance Profile "arn:aws:iam::123456789012:instance-profile/ecsInstanceRole" has no associated IAM Roles'
NO_SUCH = "Value (ecsInstanceRole) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
NO_TRUST = (
    "EC2 can't take the role ecsInstanceRole in the instance profile: User: ec2.amazonaws.com is not authorized to perform:"
    " sts:AssumeRole on resource: arn:aws:iam::123456789012:role/ecsInstanceRole"
)
OTHER_REGISTER = refused(REGISTER, "{cluster}", silent(REGISTER), "app/{instance}")
NO_POLL = refused("ecs:Poll", "{other}", silent("ecs:Poll", "permissions boundary"))
DENIED = "with an explicit deny in an identity-based policy"

WAITS: list[Waits] = [
    Waits(row="profile holds no role", breaks=no_role_inside, job=CANT_LAUNCH + EMPTY, environment=EMPTY,
          link=("role", "instance role"), mend="aws iam add-role-to-instance-profile "),
    Waits(row="profile deleted later", breaks=no_profile, job=CANT_LAUNCH + NO_SUCH, environment=NO_SUCH,
          link=("profile", "instance profile"), mend="aws iam create-instance-profile "),
    Waits(row="profile holds another role", breaks=another_role, job=NOT_JOINED + OTHER_REGISTER,
          environment=OTHER_REGISTER, console=f"AccessDeniedException: {OTHER_REGISTER}",
          link=("policy", "instance role"), action=REGISTER, mend="aws iam attach-role-policy --role-name app "),
    Waits(row="role without the policy", breaks=no_policy, job=NOT_JOINED + NO_REGISTER, environment=NO_REGISTER,
          console=UNREGISTERED, link=("policy", "instance role"), action=REGISTER,
          mend=f"aws iam attach-role-policy --role-name {ROLE} --policy-arn {POLICY}"),
    Waits(row="policy of tasks in its place", breaks=task_policy, job=NOT_JOINED + NO_REGISTER,
          environment=NO_REGISTER, console=UNREGISTERED, link=("policy", "instance role"), action=REGISTER,
          mend=f"aws iam attach-role-policy --role-name {ROLE} --policy-arn {POLICY}"),
    Waits(row="trust names ecs-tasks", breaks=wrong_trust, job=NOT_JOINED + NO_TRUST, environment=NO_TRUST,
          console="NoCredentialProviders: no valid providers in chain. Deprecated.",
          link=("trust", "instance role"), action="sts:AssumeRole", mend="aws iam update-assume-role-policy "),
    Waits(row="permissions boundary hides an action", breaks=boundary, job=SILENT + NO_POLL, environment=NO_POLL,
          console=f"ACS stream: AccessDeniedException: {NO_POLL}", link=("policy", "instance role"),
          action="ecs:Poll", mend="aws iam create-policy-version "),
    Waits(row="explicit deny", breaks=denied, job=SILENT + refused("ecs:Poll", "{other}", DENIED),
          environment=refused("ecs:Poll", "{other}", DENIED), console=refused("ecs:Poll", "{other}", DENIED),
          link=("policy", "instance role"), action="ecs:Poll", mend="aws iam put-role-policy "),
    Waits(row="explicit deny in a managed policy", breaks=denied_by_a_managed_policy,
          job=NOT_JOINED + refused(REGISTER, "{cluster}", DENIED), environment=refused(REGISTER, "{cluster}", DENIED),
          console=refused(REGISTER, "{cluster}", DENIED), link=("policy", "instance role"), action=REGISTER,
          mend="aws iam detach-role-policy "),
]  # fmt: skip


@pytest.mark.parametrize("case", WAITS, ids=[case.row for case in WAITS])
def test_a_job_waits_for_a_wrong_role_and_runs_when_it_is_mended(batch: BatchHouse, case: Waits) -> None:
    batch.chain()
    case.breaks(batch)
    job_id = batch.submit()
    batch.reason(job_id, "ACTION_REQUIRED", seconds=15)
    batch.house.pass_time(3)
    texts = names(batch)
    # Where a user looks.
    assert batch.job(job_id)["statusReason"].startswith(case.job.format(**texts))
    shown = batch.described()
    assert shown["status"] == "VALID"  # as at AWS, until none has joined for long
    assert shown["statusReason"].startswith(f"CLIENT_ERROR - {(case.environment or case.job).format(**texts)}")
    if case.console is None:
        assert batch.instances() == []
    else:
        assert case.console.format(**texts) in console(batch, texts["instance"])
    answer = explained(batch, job_id)
    first = answer["chain"][0]
    assert (first["link"], first["of"], first["action"]) == (*case.link, case.action)
    assert first["sure"] and first["computeEnvironment"] == "ce"
    assert first["mend"].startswith(case.mend)
    assert answer["reasons"][-1] == f"to mend it: {first['mend']}"
    batch.assert_memory_is_the_store()
    # Nothing turns green while it stands; what else changes in IAM changes nothing of it.
    for _ in disturbed(batch):
        assert batch.job(job_id)["status"] == "RUNNABLE"
        assert batch.described()["statusReason"] != HEALTHY
    # Mended, it runs.
    mend_as_told(batch, job_id)
    ended = batch.ended(job_id, seconds=HEALS_SECONDS)
    assert (ended["status"], ended["statusReason"]) == ("SUCCEEDED", "Essential container in task exited")
    assert len(ended["attempts"]) == 1
    assert (batch.described()["status"], batch.described()["statusReason"]) == ("VALID", HEALTHY)
    assert explained(batch, job_id)["chain"] == []


def disturbed(batch: BatchHouse) -> Iterator[None]:
    """Moments of some minutes in which other roles change, which changes nothing of the mistake."""
    for other in ("a", "b", "c"):
        batch.role(other)
        for seconds in (0.0, 0.01, 0.1, 1.0, *[5.0] * 12):
            batch.house.pass_time(seconds)
            yield


def names(batch: BatchHouse) -> dict[str, str]:
    """What the texts name: the instance there is, if any, and the cluster."""
    instances = batch.instances()
    cluster = str(batch.described()["ecsClusterArn"])
    return {
        "instance": instances[0]["InstanceId"] if instances else "-",
        "cluster": cluster,
        "other": "".join(batch.ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]),
    }


# --- the service role ---


class Serves(Struct, frozen=True, kw_only=True):
    """What the service role lacks when it is needed, and what of the environment says so."""

    row: str
    lacks: str
    mend: str


def service_role(batch: BatchHouse, policy: str | None = SERVICE_POLICY, by: str = "batch.amazonaws.com") -> None:
    batch.role("service", service=by, policy=policy)


SERVES: list[Serves] = [
    Serves(row="service role lacks ec2:RunInstances", lacks="ec2:RunInstances", mend="aws iam delete-role-policy "),
    Serves(row="service role lacks iam:PassRole", lacks="iam:PassRole", mend="aws iam delete-role-policy "),
    Serves(row="service role lacks ecs:StartTask", lacks="ecs:StartTask", mend="aws iam delete-role-policy "),
    Serves(row="service role lacks ecs:RegisterTaskDefinition", lacks="ecs:RegisterTaskDefinition",
           mend="aws iam delete-role-policy "),
    Serves(row="service role lacks what only AWS would call", lacks="autoscaling:SetDesiredCapacity",
           mend="aws iam delete-role-policy "),
]  # fmt: skip


@pytest.mark.parametrize("case", SERVES, ids=[case.row for case in SERVES])
def test_what_is_denied_to_the_service_role_is_named_and_the_job_runs_when_it_is_not(
    batch: BatchHouse, case: Serves
) -> None:
    service_role(batch)
    batch.chain(serviceRole="service")
    batch.allow("service", case.lacks, effect="Deny", name="no")
    job_id = batch.submit()
    batch.reason(job_id, "MISCONFIGURATION", seconds=15)
    text = f"User: arn:aws:sts::123456789012:assumed-role/service/aws-batch is not authorized to perform: {case.lacks}"
    assert batch.job(job_id)["statusReason"].startswith(f"{SERVICE} ce: ")
    answer = explained(batch, job_id)
    first = answer["chain"][0]
    assert (first["link"], first["of"], first["action"]) == ("policy", "service role", case.lacks)
    assert first["mend"].startswith(case.mend)
    for _ in disturbed(batch):
        assert batch.job(job_id)["status"] == "RUNNABLE"
        shown = batch.described()
        assert shown["statusReason"].startswith("CLIENT_ERROR - ") and text in shown["statusReason"], shown
    mend_as_told(batch, job_id)
    ended = batch.ended(job_id, seconds=HEALS_SECONDS)
    assert (ended["status"], len(ended["attempts"])) == ("SUCCEEDED", 1)
    assert batch.described()["statusReason"] == HEALTHY


def test_what_the_service_role_was_never_allowed_its_managed_policy_gives(batch: BatchHouse) -> None:
    service_role(batch, policy=None)
    batch.allow("service", "ecs:*", "iam:*", "logs:*", "autoscaling:*", "ec2:Describe*", "ec2:CreateLaunchTemplate")
    batch.chain(serviceRole="service")
    job_id = batch.submit()
    batch.reason(job_id, "MISCONFIGURATION", seconds=15)
    first = explained(batch, job_id)["chain"][0]
    assert (first["action"], first["allowedBy"]) == ("ec2:RunInstances", SERVICE_POLICY)
    assert mend_as_told(batch, job_id) == [
        f"aws iam attach-role-policy --role-name service --policy-arn {SERVICE_POLICY}"
    ]
    assert batch.ended(job_id, seconds=HEALS_SECONDS)["status"] == "SUCCEEDED"


def test_a_trouble_that_nobody_meets_any_more_ends_with_its_mistake(batch: BatchHouse) -> None:
    """The job that met it is gone: the environment must not be called sick for ever, nor healthy too early."""
    service_role(batch)
    batch.chain(serviceRole="service")
    batch.allow("service", "ec2:RunInstances", effect="Deny", name="no")
    job_id = batch.submit()
    batch.reason(job_id, "MISCONFIGURATION", seconds=15)
    batch.batch.cancel_job(jobId=job_id, reason="enough")
    batch.house.pass_time(100)
    assert "ec2:RunInstances" in batch.described()["statusReason"]
    batch.iam.delete_role_policy(RoleName="service", PolicyName="no")
    batch.house.settle(lambda: batch.described()["statusReason"] == HEALTHY, seconds=HEALS_SECONDS)


NO_BATCH = (
    "User: batch.amazonaws.com is not authorized to perform: sts:AssumeRole on resource: " + f"{ACCOUNT_ROLE}service"
)


def test_a_service_role_that_trusts_batch_no_longer_makes_its_environment_invalid(batch: BatchHouse) -> None:
    service_role(batch)
    batch.chain(serviceRole="service")
    batch.iam.update_assume_role_policy(RoleName="service", PolicyDocument=trust("ec2.amazonaws.com"))
    job_id = batch.submit()
    reason = batch.reason(job_id, "ACTION_REQUIRED", seconds=15)
    assert reason == (
        f"ACTION_REQUIRED - CE(s) associated with the job queue are invalid. ce: CLIENT_ERROR - {NO_BATCH}"
    )
    assert (batch.described()["status"], batch.described()["statusReason"]) == ("INVALID", f"CLIENT_ERROR - {NO_BATCH}")
    first = explained(batch, job_id)["chain"][0]
    assert (first["link"], first["of"], first["principal"]) == ("trust", "service role", "batch.amazonaws.com")
    for _ in disturbed(batch):
        assert (batch.described()["status"], batch.job(job_id)["status"]) == ("INVALID", "RUNNABLE")
    mend_as_told(batch, job_id)
    ended = batch.ended(job_id, seconds=HEALS_SECONDS)
    assert ended["status"] == "SUCCEEDED"
    statements = batch.iam.get_role(RoleName="service")["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert [each["Principal"]["Service"] for each in statements] == ["ec2.amazonaws.com", "batch.amazonaws.com"]


def test_a_service_role_that_was_deleted_is_named_and_made_again(batch: BatchHouse) -> None:
    service_role(batch, policy=None)
    batch.allow("service", "*")
    batch.chain(serviceRole="service")
    batch.iam.delete_role_policy(RoleName="service", PolicyName="p")
    batch.iam.delete_role(RoleName="service")
    job_id = batch.submit()
    assert NO_BATCH in batch.reason(job_id, "ACTION_REQUIRED", seconds=15)
    assert explained(batch, job_id)["chain"][0]["link"] == "role"
    mend_as_told(batch, job_id)
    assert batch.ended(job_id, seconds=HEALS_SECONDS)["status"] == "SUCCEEDED"


# --- what makes an environment INVALID at once ---


class Invalid(Struct, frozen=True, kw_only=True):
    row: str
    breaks: Change
    text: str  # its beginning, behind CLIENT_ERROR -
    mends: Change
    resources: dict[str, Any] = {}


def no_service_trust(batch: BatchHouse) -> None:
    service_role(batch, by="ecs.amazonaws.com")


def lacking(action: str) -> Change:
    def breaks(batch: BatchHouse) -> None:
        service_role(batch)
        batch.allow("service", action, effect="Deny", name="no")

    return breaks


def not_denied(batch: BatchHouse) -> None:
    batch.iam.delete_role_policy(RoleName="service", PolicyName="no")


def lacks(action: str, prefix: str = "") -> str:
    session = "arn:aws:sts::123456789012:assumed-role/service/aws-batch"
    return f"{prefix}User: {session} is not authorized to perform: {action} on resource: "


BY_ARN = "arn:aws:iam::123456789012:instance-profile/later"
NOT_OF_EC2 = "You are not authorized to perform this operation. "
INVALID: list[Invalid] = [
    Invalid(row="profile missing", breaks=lambda batch: None, resources={"instanceRole": "later"},
            text="Invalid IamInstanceProfile: later", mends=lambda batch: batch.profile("later")),
    Invalid(row="profile missing, named by its ARN", breaks=lambda batch: None, resources={"instanceRole": BY_ARN},
            text=f"Instance profile {BY_ARN} does not exist", mends=lambda batch: batch.profile("later")),
    Invalid(row="service role does not trust Batch", breaks=no_service_trust, resources={"serviceRole": "service"},
            text=NO_BATCH, mends=lambda batch: batch.iam.update_assume_role_policy(
                RoleName="service", PolicyDocument=trust("batch.amazonaws.com"))),
    Invalid(row="service role missing", breaks=lambda batch: None, resources={"serviceRole": "service"},
            text=NO_BATCH, mends=service_role),
    Invalid(row="service role lacks iam:GetInstanceProfile", breaks=lacking("iam:GetInstanceProfile"),
            resources={"serviceRole": "service"}, text=lacks("iam:GetInstanceProfile"), mends=not_denied),
    Invalid(row="service role lacks ecs:CreateCluster", breaks=lacking("ecs:CreateCluster"),
            resources={"serviceRole": "service"}, text=lacks("ecs:CreateCluster"), mends=not_denied),
    Invalid(row="service role lacks ec2:CreateLaunchTemplate", breaks=lacking("ec2:CreateLaunchTemplate"),
            resources={"serviceRole": "service"}, text=lacks("ec2:CreateLaunchTemplate", NOT_OF_EC2), mends=not_denied),
    Invalid(row="service role lacks autoscaling:CreateAutoScalingGroup",
            breaks=lacking("autoscaling:CreateAutoScalingGroup"), resources={"serviceRole": "service"},
            text=lacks("autoscaling:CreateAutoScalingGroup"), mends=not_denied),
]  # fmt: skip


@pytest.mark.parametrize("case", INVALID, ids=[case.row for case in INVALID])
def test_an_environment_is_invalid_while_a_mistake_stands_and_valid_when_it_is_mended(
    batch: BatchHouse, case: Invalid
) -> None:
    batch.role()
    batch.profile()
    case.breaks(batch)
    batch.environment(settled=False, **case.resources)
    batch.house.settle(lambda: batch.described()["status"] == "INVALID", seconds=15)
    assert batch.described()["statusReason"].startswith(f"CLIENT_ERROR - {case.text}")
    for _ in disturbed(batch):
        assert batch.described()["status"] == "INVALID"
    with pytest.raises(ClientError) as caught:
        batch.queue()
    assert "Compute Environments must be created and valid" in str(caught.value)
    case.mends(batch)
    batch.house.settle(lambda: batch.described()["status"] == "VALID", seconds=HEALS_SECONDS)
    assert batch.described()["statusReason"] == HEALTHY
    batch.queue()
    batch.define()
    assert batch.ended(batch.submit())["status"] == "SUCCEEDED"


def test_what_only_aws_would_call_is_in_the_trail_when_it_is_refused(batch: BatchHouse) -> None:
    batch.role()
    batch.profile()
    lacking("autoscaling:CreateAutoScalingGroup")(batch)
    batch.environment(settled=False, serviceRole="service")
    batch.house.settle(lambda: batch.described()["status"] == "INVALID", seconds=15)
    batch.house.pass_time(2)
    wanted = [{"AttributeKey": "EventName", "AttributeValue": "CreateAutoScalingGroup"}]
    found = batch.house.client("cloudtrail").lookup_events(LookupAttributes=wanted)["Events"]
    records = [json.loads(each["CloudTrailEvent"]) for each in found]
    assert {(each["eventSource"], each["errorCode"], each["userIdentity"]["arn"]) for each in records} == {
        (
            "autoscaling.amazonaws.com",
            "AccessDenied",
            "arn:aws:sts::123456789012:assumed-role/service/aws-batch",
        )
    }


# --- the job's own roles: the attempt fails, and the next one does not ---


class Fails(Struct, frozen=True, kw_only=True):
    row: str
    definition: dict[str, Any]  # containerProperties
    breaks: Change
    status_reason: str
    reason: str | None = None  # a part of the container's
    link: tuple[str, str]
    action: str
    mend: str


def roles_of_tasks(batch: BatchHouse, job: str = "ecs-tasks", execution: str = "ecs-tasks") -> None:
    batch.role("job", service=f"{job}.amazonaws.com", policy=None)
    batch.role("execution", service=f"{execution}.amazonaws.com", policy=TASKS)


def execution_without_logs(batch: BatchHouse) -> None:
    roles_of_tasks(batch)
    batch.iam.detach_role_policy(RoleName="execution", PolicyArn=TASKS)
    batch.iam.attach_role_policy(
        RoleName="execution", PolicyArn="arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
    )


def instance_without_logs(batch: BatchHouse) -> None:
    no_policy(batch)
    batch.allow(ROLE, "ecs:*")


UNASSUMED = (
    "ECS was unable to assume the role '{role}' that was provided for this task. Please verify that the role being passed"
    " has the proper trust relationship and permissions and that your IAM user has permissions to pass this role."
)
JOB_ROLE, EXECUTION_ROLE = f"{ACCOUNT_ROLE}job", f"{ACCOUNT_ROLE}execution"
NO_STREAM = (
    "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: failed to create Cloudwatch"
    " log stream: "
)
FAILS: list[Fails] = [
    Fails(row="job role does not trust ecs-tasks", definition={"jobRoleArn": JOB_ROLE},
          breaks=lambda batch: roles_of_tasks(batch, job="ec2"), status_reason=UNASSUMED.format(role=JOB_ROLE),
          link=("trust", "job role"), action="sts:AssumeRole", mend="aws iam update-assume-role-policy --role-name job "),
    Fails(row="execution role does not trust ecs-tasks", definition={"executionRoleArn": EXECUTION_ROLE},
          breaks=lambda batch: roles_of_tasks(batch, execution="ec2"),
          status_reason=UNASSUMED.format(role=EXECUTION_ROLE), link=("trust", "execution role"),
          action="sts:AssumeRole", mend="aws iam update-assume-role-policy --role-name execution "),
    Fails(row="execution role without logs rights", definition={"executionRoleArn": EXECUTION_ROLE},
          breaks=execution_without_logs, status_reason="Task failed to start",
          reason=f"{NO_STREAM}AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/execution/",
          link=("policy", "execution role"), action="logs:CreateLogStream",
          mend=f"aws iam attach-role-policy --role-name execution --policy-arn {TASKS}"),
    Fails(row="instance role without logs rights", definition={}, breaks=instance_without_logs,
          status_reason="Task failed to start",
          reason=f"{NO_STREAM}AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/ecsInstanceRole/",
          link=("policy", "instance role"), action="logs:CreateLogStream",
          mend=f"aws iam attach-role-policy --role-name {ROLE} --policy-arn {POLICY}"),
]  # fmt: skip


@pytest.mark.parametrize("case", FAILS, ids=[case.row for case in FAILS])
def test_an_attempt_fails_for_a_wrong_role_and_the_next_job_runs_when_it_is_mended(
    batch: BatchHouse, case: Fails
) -> None:
    batch.chain()
    case.breaks(batch)
    batch.define("own", container=case.definition)
    job_id = batch.submit(definition="own")
    ended = batch.ended(job_id)
    assert (ended["status"], ended["statusReason"]) == ("FAILED", case.status_reason)
    assert "exitCode" not in ended["container"]
    if case.reason is not None:
        # API reference, ContainerDetail, reason: up to 255 characters.
        assert ended["container"]["reason"].startswith(case.reason[:255])
    answer = explained(batch, job_id)
    first = answer["chain"][0]
    assert (first["link"], first["of"], first["action"]) == (*case.link, case.action)
    assert first["mend"].startswith(case.mend)
    again = batch.ended(batch.submit(definition="own"))
    assert again["status"] == "FAILED"  # while it stands
    mend_as_told(batch, job_id)
    assert explained(batch, job_id)["reasons"][-1] == "what it failed for has been mended; submit it again"
    assert batch.ended(batch.submit(definition="own"), seconds=HEALS_SECONDS)["status"] == "SUCCEEDED"


def test_a_job_that_waits_for_its_turn_is_told_beforehand_that_its_role_is_wrong(batch: BatchHouse) -> None:
    batch.chain(maxvCpus=2, instanceTypes=["c6i.large"])
    roles_of_tasks(batch, job="ec2")
    batch.define("own", container={"jobRoleArn": JOB_ROLE})
    first = batch.submit(containerOverrides={"resourceRequirements": [{"type": "VCPU", "value": "2"}]},
                         script={"RUN_SECONDS": "100"})  # fmt: skip
    batch.until(first, "RUNNING")
    job_id = batch.submit(definition="own")
    batch.until(job_id, "RUNNABLE")
    mend_as_told(batch, job_id)
    assert batch.ended(job_id)["status"] == "SUCCEEDED"


def test_a_role_that_batch_may_not_pass_fails_the_job_and_is_named(batch: BatchHouse) -> None:
    service_role(batch)
    batch.chain(serviceRole="service")
    roles_of_tasks(batch)
    batch.iam.put_role_policy(
        RoleName="service", PolicyName="no",
        PolicyDocument=document({"Effect": "Deny", "Action": "iam:PassRole", "Resource": JOB_ROLE}),
    )  # fmt: skip
    batch.define("own", container={"jobRoleArn": JOB_ROLE})
    job_id = batch.submit(definition="own")
    ended = batch.ended(job_id)
    assert ended["status"] == "FAILED"
    assert f"is not authorized to perform: iam:PassRole on resource: {JOB_ROLE}" in ended["statusReason"]
    first = explained(batch, job_id)["chain"][0]
    assert (first["of"], first["action"], first["resource"]) == ("service role", "iam:PassRole", JOB_ROLE)
    carry_out(batch, first["mend"])
    assert batch.ended(batch.submit(definition="own"), seconds=HEALS_SECONDS)["status"] == "SUCCEEDED"


# --- the caller: refused at once ---


def caller(batch: BatchHouse, service: str, *policies: str, allowed: list[dict[str, Any]] | None = None) -> Any:
    """A client of a user who holds these."""
    batch.iam.create_user(UserName="ann")
    for policy in policies:
        batch.iam.attach_user_policy(UserName="ann", PolicyArn=policy)
    if allowed:
        batch.iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=document(*allowed))
    key = batch.iam.create_access_key(UserName="ann")["AccessKey"]
    return batch.house.client(service, key["AccessKeyId"], key["SecretAccessKey"])


def environment_request(batch: BatchHouse, **resources: Any) -> dict[str, Any]:
    network = {
        "subnets": [each["SubnetId"] for each in batch.ec2.describe_subnets()["Subnets"]],
        "securityGroupIds": [each["GroupId"] for each in batch.ec2.describe_security_groups()["SecurityGroups"]],
    }
    sizes = {"type": "EC2", "minvCpus": 0, "maxvCpus": 4, "instanceTypes": ["optimal"]}
    return {
        "computeEnvironmentName": "mine",
        "type": "MANAGED",
        "computeResources": {**sizes, **network, "instanceRole": ROLE, **resources},
    }


FULL = "arn:aws:iam::aws:policy/AWSBatchFullAccess"
NOT_PASSED = (
    "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: iam:PassRole on resource:"
    " arn:aws:iam::123456789012:role/{role} because no identity-based policy allows the iam:PassRole action"
)


def denial(client: Any, operation: str, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**request)
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("AccessDeniedException", 403)
    return str(error["Error"]["Message"])


def test_caller_without_pass_role(batch: BatchHouse) -> None:
    """AWSBatchFullAccess passes the roles that it lists by name, and no other."""
    for name in (ROLE, "otherRole"):
        batch.role(name)
        batch.profile(name, name)
    batch.role("service", service="batch.amazonaws.com", policy=SERVICE_POLICY)
    batch.role("job", service="ecs-tasks.amazonaws.com", policy=None)
    ann = caller(batch, "batch", FULL)
    other = environment_request(batch, instanceRole="otherRole")
    assert denial(ann, "create_compute_environment", **other) == NOT_PASSED.format(role="otherRole")
    served = {**environment_request(batch), "serviceRole": "service"}
    assert denial(ann, "create_compute_environment", **served) == NOT_PASSED.format(role="service")
    container = {
        "image": "busybox:local",
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
        "jobRoleArn": JOB_ROLE,
    }
    defined = {"jobDefinitionName": "own", "type": "container", "containerProperties": container}
    assert denial(ann, "register_job_definition", **defined) == NOT_PASSED.format(role="job")
    assert batch.batch.describe_compute_environments()["computeEnvironments"] == []
    # Mended for that role and that service alone.
    passing = {
        "Effect": "Allow", "Action": "iam:PassRole", "Resource": f"{ACCOUNT_ROLE}*",
        "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    }  # fmt: skip
    batch.iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=document(passing))
    ann.create_compute_environment(**other)
    assert denial(ann, "register_job_definition", **defined) == NOT_PASSED.format(role="job")


NO_PROFILE_ARN = (
    "Error executing request, Exception : The ECS Instance Role should be an ECS Instance Profile ARN., RequestId: "
)


@pytest.mark.parametrize("given", [f"{ACCOUNT_ROLE}{ROLE}", f"{ACCOUNT_ROLE}team/{ROLE}"])
def test_role_arn_for_the_profile(batch: BatchHouse, given: str) -> None:
    batch.role()
    batch.profile()
    with pytest.raises(ClientError) as caught:
        batch.batch.create_compute_environment(**environment_request(batch, instanceRole=given))
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("ClientException", 400)
    text = (
        "Error executing request, Exception : The ECS Instance Role should be an ECS Instance Profile ARN., RequestId: "
    )
    assert error["Error"]["Message"].startswith(text)
    batch.batch.create_compute_environment(**environment_request(batch, instanceRole=ROLE))
    batch.house.settle(lambda: batch.described("mine")["status"] == "VALID", seconds=HEALS_SECONDS)


# --- the page ---


def rows_of_the_page() -> dict[str, str]:
    """Mistake -> what AWS says, as docs/wrong-roles.md has them."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    return {row[0]: row[1].strip("`") for row in rows if len(row) == 3 and row[1].startswith("`")}


def on_the_page(text: str) -> str:
    return text.format(instance="i-…", cluster="CLUSTER", other="CI")


def test_the_page_tells_each_row_and_no_more() -> None:
    told = {
        **{case.row: on_the_page(case.environment or case.job) for case in WAITS},
        **{case.row: lacks(case.lacks).removesuffix(" on resource: ") for case in SERVES},
        **{case.row: case.text for case in INVALID},
        **{case.row: case.reason or case.status_reason for case in FAILS},
        "role ARN for the profile": NO_PROFILE_ARN,
        "caller without iam:PassRole": NOT_PASSED.format(role="otherRole"),
    }
    assert rows_of_the_page() == told


SYSTEM = Path(__file__).resolve().parents[2] / "system"
FILES = {"BY": "test_wrong_roles_by_command.py", "ON": "test_wrong_roles.py"}


def test_the_page_names_tests_that_there_are() -> None:
    named = re.findall(r"`(BY|ON)::(\w+)(?:\[([\w-]+)\])?`", PAGE.read_text("utf-8"))
    assert len(named) > 20
    for file, test, row in named:
        source = (SYSTEM / FILES[file]).read_text("utf-8")
        assert f"def {test}(" in source, test
        assert not row or f'"{row}": ' in source, row

"""Each wrong role of users' reports from end to end: made with the real `aws` command, seen with it in every place where a
user looks, mended by the very line that `longshore explain` prints. A real server; its instances are tasks of its own.

The same on machines of the host: test_wrong_roles.py. Every row on virtual time: tests/services/batch/test_wrong_roles.py.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from msgspec import Struct

from system.chain import EC2_TRUST, INSTANCE_POLICY, TASKS_TRUST
from system.running import LONGSHORE, Server, wait_for
from system.warm_aws import Aws

HEALS_SECONDS = 10.0
HEALTHY = "ComputeEnvironment Healthy"
# On machines of the host these are done with the same command by test_wrong_roles.py.
DONE_THERE = ("policy-of-tasks-in-its-place", "trust-names-ecs-tasks", "profile-deleted-later",
              "execution-role-without-logs-rights")  # fmt: skip
TASK_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
SERVICE_POLICY = "arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole"
ROLE = "arn:aws:iam::123456789012:role/"
BATCH_TRUST = EC2_TRUST.replace("ec2.", "batch.")


def document(effect: str, *actions: str) -> str:
    statement = {"Effect": effect, "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def rows(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.long] if name in DONE_THERE else []) for name in names]


class User:
    """Somebody with a shell."""

    def __init__(self, server: Server, aws: Aws) -> None:
        self.server, self.aws = server, aws
        # The network of every environment.
        (self.subnet, *_) = [each["SubnetId"] for each in aws("ec2 describe-subnets")["Subnets"]]
        (self.group, *_) = [each["GroupId"] for each in aws("ec2 describe-security-groups")["SecurityGroups"]]
        self.define("plain")

    def role(self, name: str, trust: str, *policies: str) -> None:
        self.aws(f"iam create-role --role-name {name} --assume-role-policy-document", trust)
        for arn in policies:
            self.aws(f"iam attach-role-policy --role-name {name} --policy-arn {arn}")

    def instance_role(self, name: str) -> None:
        self.role(name, EC2_TRUST, INSTANCE_POLICY)
        self.aws(f"iam create-instance-profile --instance-profile-name {name}")
        self.aws(f"iam add-role-to-instance-profile --instance-profile-name {name} --role-name {name}")

    def resources(self, instance_role: str) -> str:
        return json.dumps(
            {
                "type": "EC2", "minvCpus": 0, "maxvCpus": 2, "instanceTypes": ["c6i.large"], "subnets": [self.subnet],
                "securityGroupIds": [self.group], "instanceRole": instance_role,
            }
        )  # fmt: skip

    def environment(self, name: str, instance_role: str, status: str = "VALID", more: str = "") -> dict[str, Any]:
        line = f"batch create-compute-environment --compute-environment-name {name} --type MANAGED {more}"
        self.aws(f"{line} --compute-resources", self.resources(instance_role))
        wait_for(lambda: self.described(name)["status"] == status)
        return self.described(name)

    def described(self, name: str) -> dict[str, Any]:
        line = f"batch describe-compute-environments --compute-environments {name}"
        return dict(self.aws(line)["computeEnvironments"][0])

    def queue(self, name: str) -> None:
        line = f"batch create-job-queue --job-queue-name {name} --priority 1"
        self.aws(f"{line} --compute-environment-order order=1,computeEnvironment={name}")
        line = f"batch describe-job-queues --job-queues {name}"
        wait_for(lambda: self.aws(line)["jobQueues"][0]["status"] == "VALID")

    def define(self, name: str, **more: str) -> None:
        self.aws(f"batch register-job-definition --job-definition-name {name} --type container --container-properties",
                 json.dumps({"image": "busybox", "vcpus": 1, "memory": 64, **more}))  # fmt: skip

    def submit(self, queue: str, definition: str = "plain") -> str:
        line = f"batch submit-job --job-name j --job-queue {queue} --job-definition {definition}"
        return str(self.aws(line)["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.aws(f"batch describe-jobs --jobs {job_id}")["jobs"][0])

    def ended(self, job_id: str, seconds: float = 30.0) -> dict[str, Any]:
        wait_for(lambda: self.job(job_id)["status"] in ("SUCCEEDED", "FAILED"), seconds)
        return self.job(job_id)

    def explained(self, job_id: str) -> list[str]:
        """The lines of `longshore explain`."""
        command = [*LONGSHORE, "explain", "--state", str(self.server.state), job_id]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def mend_of(self, job_id: str) -> str:
        """The line that mends it, as explain prints it."""
        before, _, command = self.explained(job_id)[-1].partition("to mend it: ")
        assert before == "- " and command.startswith("aws ")
        return command


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    state = tmp_path_factory.mktemp("by-command") / "state"
    server = Server(state, "--machines", "memory", "--vcpus", "64", "--memory-mib", "262144", command="up")
    aws = Aws(server)
    try:
        yield User(server, aws)
    finally:
        aws.close()
        assert server.end() == 0


# --- the instance's role and its profile ---


class Waits(Struct, frozen=True, kw_only=True):
    """`breaks`: `aws` commands, each with its last word apart. {role} is the row's role, profile, environment and queue.

    Texts hold {role}, {instance}, {cluster} and {container}, a container instance's ARN. `console` None: none is launched.
    """

    breaks: list[tuple[str, ...]]
    job: str  # what the job's statusReason begins with, before the text
    text: str  # in the job's statusReason, in explain, and in the environment's statusReason
    console: str | None = "{text}"
    explained: str
    mend: str  # how the line begins


NO_PROFILE_ROLE = ("iam remove-role-from-instance-profile --instance-profile-name {role} --role-name {role}",)
NO_POLICY = (f"iam detach-role-policy --role-name {{role}} --policy-arn {INSTANCE_POLICY}",)
CANT_LAUNCH = "ACTION_REQUIRED - compute environment {role} can't launch instances: "
NOT_JOINED = "ACTION_REQUIRED - instance {instance} of compute environment {role} has not joined its cluster: "
SILENT = "ACTION_REQUIRED - the agent of instance {instance} of compute environment {role} is not connected: "
SESSION = "User: arn:aws:sts::123456789012:assumed-role/{role}/{instance} is not authorized to perform: "
UNREGISTERED = (
    SESSION + "ecs:RegisterContainerInstance on resource: {cluster} because no identity-based policy allows the"
    " ecs:RegisterContainerInstance action"
)
WAITS: dict[str, Waits] = {
    "profile-holds-no-role": Waits(
        breaks=[NO_PROFILE_ROLE], job=CANT_LAUNCH, console=None,
        text='IAM Instance Profile "arn:aws:iam::123456789012:instance-profile/{role}" has no associated IAM Roles',
        explained="instance profile {role} holds no role",
        mend="aws iam add-role-to-instance-profile --instance-profile-name {role} --role-name {role}",
    ),
    "profile-holds-another-role": Waits(
        breaks=[NO_PROFILE_ROLE,
                ("iam create-role --role-name {role}-other --assume-role-policy-document", EC2_TRUST),
                ("iam add-role-to-instance-profile --instance-profile-name {role} --role-name {role}-other",)],
        job=NOT_JOINED, text=UNREGISTERED.replace("{role}", "{role}-other"), explained="{text}",
        mend=f"aws iam attach-role-policy --role-name {{role}}-other --policy-arn {INSTANCE_POLICY}",
    ),
    "role-without-the-policy": Waits(
        breaks=[NO_POLICY], job=NOT_JOINED, text=UNREGISTERED, explained="{text}",
        mend=f"aws iam attach-role-policy --role-name {{role}} --policy-arn {INSTANCE_POLICY}",
    ),
    "policy-of-tasks-in-its-place": Waits(
        breaks=[NO_POLICY, (f"iam attach-role-policy --role-name {{role}} --policy-arn {TASK_POLICY}",)],
        job=NOT_JOINED, text=UNREGISTERED, explained="{text}",
        mend=f"aws iam attach-role-policy --role-name {{role}} --policy-arn {INSTANCE_POLICY}",
    ),
    "trust-names-ecs-tasks": Waits(
        breaks=[("iam update-assume-role-policy --role-name {role} --policy-document", TASKS_TRUST)], job=NOT_JOINED,
        text="EC2 can't take the role {role} in the instance profile: User: ec2.amazonaws.com is not authorized to"
        " perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/{role}",
        console="NoCredentialProviders: no valid providers in chain", explained="{text}",
        mend="aws iam update-assume-role-policy --role-name {role} ",
    ),
    "boundary-hides-an-action": Waits(
        breaks=[("iam create-policy --policy-name {role} --policy-document",
                 document("Allow", "ec2:*", "logs:*", "ecs:Register*", "ecs:Discover*", "ecs:Submit*", "ecs:Start*")),
                ("iam put-role-permissions-boundary --role-name {role} --permissions-boundary"
                 " arn:aws:iam::123456789012:policy/{role}",)],
        job=SILENT, explained="{text}",
        text=SESSION + "ecs:Poll on resource: {container} because no permissions boundary allows the ecs:Poll action",
        mend="aws iam create-policy-version --policy-arn arn:aws:iam::123456789012:policy/{role} ",
    ),
    "explicit-deny": Waits(
        breaks=[("iam put-role-policy --role-name {role} --policy-name no --policy-document", document("Deny", "ecs:Poll"))],
        job=SILENT, explained="{text}",
        text=SESSION + "ecs:Poll on resource: {container} with an explicit deny in an identity-based policy",
        mend="aws iam delete-role-policy --role-name {role} --policy-name no",
    ),
    "profile-deleted-later": Waits(
        breaks=[NO_PROFILE_ROLE, ("iam delete-instance-profile --instance-profile-name {role}",)],
        job=CANT_LAUNCH, console=None,
        text="Value ({role}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
        explained="instance profile {role} does not exist",
        mend="aws iam create-instance-profile --instance-profile-name {role} && ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", rows(WAITS))
def test_a_job_waits_for_a_wrong_role_and_runs_within_ten_seconds_of_its_mend(user: User, name: str) -> None:
    row = WAITS[name]
    user.instance_role(name)
    user.environment(name, name)
    user.queue(name)
    for line, *last in row.breaks:
        user.aws(line.format(role=name), *last)
    job_id = user.submit(name)
    texts = {"role": name, "cluster": user.described(name)["ecsClusterArn"]}

    def told() -> str | None:
        """The job's statusReason, once it is the one that is expected."""
        texts.update(instance=instance_of(user, name), container=container_of(user, texts["cluster"]))
        texts["text"] = row.text.format(**texts)
        reason: str = user.job(job_id).get("statusReason", "")
        return reason if reason.startswith((row.job + row.text).format(**texts)) else None

    wait_for(told, 20)
    # Every place where a user looks.
    assert user.described(name)["statusReason"].startswith(f"CLIENT_ERROR - {texts['text']}")
    if row.console is not None:
        line = f"ec2 get-console-output --latest --output text --instance-id {texts['instance']}"
        wait_for(lambda: (row.console or "").format(**texts) in user.aws(line))
    lines = user.explained(job_id)
    assert any(row.explained.format(**texts) in line for line in lines), lines
    # Nothing is green while it stands.
    assert (user.job(job_id)["status"], user.described(name)["status"]) == ("RUNNABLE", "VALID")
    mend = user.mend_of(job_id)
    assert mend.startswith(row.mend.format(**texts))
    user.aws.carry_out(mend)
    mended_at = time.monotonic()
    assert user.ended(job_id, 2 * HEALS_SECONDS)["status"] == "SUCCEEDED"
    assert time.monotonic() - mended_at < HEALS_SECONDS
    assert user.described(name)["statusReason"] == HEALTHY


def instance_of(user: User, profile: str) -> str:
    """The instance with the profile; a dash where there is none."""
    line = "ec2 describe-instances --filters Name=instance-state-name,Values=pending,running"
    found = [one for each in user.aws(line)["Reservations"] for one in each["Instances"]]
    ids = [one["InstanceId"] for one in found if one["IamInstanceProfile"]["Arn"].endswith(f"/{profile}")]
    return ids[0] if ids else "-"


def container_of(user: User, cluster: str) -> str:
    return "".join(user.aws(f"ecs list-container-instances --cluster {cluster}")["containerInstanceArns"])


def test_the_policy_is_taken_away_while_a_job_runs(user: User) -> None:
    name = "taken-away"
    user.instance_role(name)
    user.environment(name, name)
    user.queue(name)
    overrides = json.dumps({"environment": [{"name": "LONGSHORE_RUN_SECONDS", "value": "4"}]})
    line = f"batch submit-job --job-name j --job-queue {name} --job-definition plain --container-overrides"
    running = str(user.aws(line, overrides)["jobId"])
    wait_for(lambda: user.job(running)["status"] == "RUNNING", 20)
    user.aws(NO_POLICY[0].format(role=name))
    began = time.monotonic()
    cluster, arn = user.described(name)["ecsClusterArn"], user.job(running)["container"]["containerInstanceArn"]
    shown = f"ecs describe-container-instances --cluster {cluster} --container-instances {arn}"
    wait_for(lambda: not user.aws(shown)["containerInstances"][0]["agentConnected"], 5)
    waiting = user.submit(name)
    wait_for(lambda: "ecs:RegisterContainerInstance" in user.job(waiting).get("statusReason", ""), 20)
    # The container of the first ends meanwhile, which can't be told; the second is not placed, though there is room.
    while time.monotonic() < began + 6:
        assert (user.job(running)["status"], user.job(waiting)["status"]) == ("RUNNING", "RUNNABLE")
    user.aws.carry_out(user.mend_of(waiting))
    mended_at = time.monotonic()
    assert user.ended(waiting, 2 * HEALS_SECONDS)["status"] == "SUCCEEDED"
    ended = user.ended(running)
    assert time.monotonic() - mended_at < HEALS_SECONDS
    assert (ended["status"], ended["container"]["exitCode"], len(ended["attempts"])) == ("SUCCEEDED", 0, 1)


# --- the service role ---


BATCH_SESSION = "User: arn:aws:sts::123456789012:assumed-role/{role}/aws-batch is not authorized to perform: "
SERVES: dict[str, tuple[list[tuple[str, ...]], str, str]] = {
    "service-role-does-not-trust-batch": (
        [("iam update-assume-role-policy --role-name {role} --policy-document", EC2_TRUST)],
        f"User: batch.amazonaws.com is not authorized to perform: sts:AssumeRole on resource: {ROLE}{{role}}",
        "aws iam update-assume-role-policy --role-name {role} ",
    ),
    "service-role-lacks-run-instances": (
        [("iam put-role-policy --role-name {role} --policy-name no --policy-document", document("Deny", "ec2:RunInstances"))],
        BATCH_SESSION + "ec2:RunInstances on resource: ",
        "aws iam delete-role-policy --role-name {role} --policy-name no",
    ),
    "service-role-lacks-what-only-aws-would-call": (
        [("iam put-role-policy --role-name {role} --policy-name no --policy-document",
          document("Deny", "autoscaling:SetDesiredCapacity"))],
        BATCH_SESSION + "autoscaling:SetDesiredCapacity",
        "aws iam delete-role-policy --role-name {role} --policy-name no",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVES)
def test_a_job_waits_for_a_wrong_service_role_and_runs_when_it_is_mended(user: User, name: str) -> None:
    breaks, text, mend = SERVES[name]
    text = text.format(role=name)
    user.role(name, BATCH_TRUST, SERVICE_POLICY)
    user.environment(name, "ecsInstanceRole", more=f"--service-role {name}")
    user.queue(name)
    for line, *last in breaks:
        user.aws(line.format(role=name), *last)
    job_id = user.submit(name)
    wait_for(lambda: text in user.job(job_id).get("statusReason", ""), 20)
    assert text in user.described(name)["statusReason"]
    assert user.described(name)["statusReason"].startswith("CLIENT_ERROR - ")
    assert any(text in line for line in user.explained(job_id))
    assert user.job(job_id)["status"] == "RUNNABLE"
    told = user.mend_of(job_id)
    assert told.startswith(mend.format(role=name))
    user.aws.carry_out(told)
    mended_at = time.monotonic()
    assert user.ended(job_id, 2 * HEALS_SECONDS)["status"] == "SUCCEEDED"
    assert time.monotonic() - mended_at < HEALS_SECONDS
    assert (user.described(name)["status"], user.described(name)["statusReason"]) == ("VALID", HEALTHY)


def test_an_environment_without_its_profile_is_invalid_and_valid_when_there_is_one(user: User) -> None:
    found = user.environment("profile-missing", "profile-missing", status="INVALID")
    assert found["statusReason"] == "CLIENT_ERROR - Invalid IamInstanceProfile: profile-missing"
    user.instance_role("profile-missing")
    wait_for(lambda: user.described("profile-missing")["status"] == "VALID", HEALS_SECONDS)
    user.queue("profile-missing")
    assert user.ended(user.submit("profile-missing"))["status"] == "SUCCEEDED"


# --- the job's own roles ---


UNASSUMED = (
    "ECS was unable to assume the role '{arn}' that was provided for this task. Please verify that the role being passed has"
    " the proper trust relationship and permissions and that your IAM user has permissions to pass this role."
)
NO_STREAM = (
    "failed to create Cloudwatch log stream: AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/"
)
FAILS: dict[str, tuple[str, str, str, str]] = {
    "job-role-does-not-trust-ecs-tasks": (
        EC2_TRUST, "jobRoleArn", UNASSUMED, "aws iam update-assume-role-policy --role-name {role} ",
    ),
    "execution-role-without-logs-rights": (
        TASKS_TRUST, "executionRoleArn", NO_STREAM + "{role}/",
        f"aws iam attach-role-policy --role-name {{role}} --policy-arn {TASK_POLICY}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", rows(FAILS))
def test_an_attempt_fails_for_a_wrong_role_and_the_next_runs_when_it_is_mended(user: User, name: str) -> None:
    trust, member, text, mend = FAILS[name]
    text = text.format(role=name, arn=ROLE + name)
    user.role(name, trust)
    user.define(name, **{member: ROLE + name})
    failed = user.ended(user.submit("default", name))
    assert failed["status"] == "FAILED" and "exitCode" not in failed["container"]
    assert text in f"{failed['statusReason']} {failed['container'].get('reason')}"
    told = user.mend_of(failed["jobId"])
    assert told.startswith(mend.format(role=name))
    user.aws.carry_out(told)
    assert user.ended(user.submit("default", name), HEALS_SECONDS)["status"] == "SUCCEEDED"


# --- the caller ---


def test_what_is_refused_at_once(user: User) -> None:
    user.instance_role("other-role")
    create = "batch create-compute-environment --compute-environment-name refused --type MANAGED --compute-resources"
    said = user.aws.refused(create, user.resources(f"{ROLE}other-role"))
    assert (
        "An error occurred (ClientException) when calling the CreateComputeEnvironment operation: Error executing request,"
        " Exception : The ECS Instance Role should be an ECS Instance Profile ARN., RequestId: " in said
    )
    user.aws("iam create-user --user-name ann")
    user.aws("iam attach-user-policy --user-name ann --policy-arn arn:aws:iam::aws:policy/AWSBatchFullAccess")
    key = user.aws("iam create-access-key --user-name ann")["AccessKey"]
    ann = {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    said = user.aws.refused(create, user.resources("other-role"), **ann)
    assert (
        "(AccessDeniedException) when calling the CreateComputeEnvironment operation: User:"
        " arn:aws:iam::123456789012:user/ann is not authorized to perform: iam:PassRole on resource: "
        f"{ROLE}other-role because no identity-based policy allows the iam:PassRole action" in said
    )
    listed = user.aws("batch describe-compute-environments --compute-environments refused")
    assert listed["computeEnvironments"] == []

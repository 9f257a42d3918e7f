"""Wrong roles on machines of this host, with the real `aws` command: broken by it, seen by it, mended by the very line that
`longshore explain` prints. All rows, fast and on virtual time: tests/services/batch/test_wrong_roles.py."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from system.chain import INSTANCE_POLICY, TASKS_TRUST, Chain
from system.running import Server, wait_for

TASK_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
HEALS_SECONDS = 10.0


def run(chain: Chain, *lines: str) -> str:
    """Lines of a shell; what the last one printed."""
    printed = ""
    for line in lines:
        done = chain.server.shell(line)
        assert done.returncode == 0, (line, done.stderr)
        printed = done.stdout
    return printed


def shown(chain: Chain, line: str) -> Any:
    return json.loads(run(chain, line))


def first_broken(chain: Chain, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = chain.explained(job_id)["chain"][0]
    return found


def heals(chain: Chain, job_id: str, mend: str) -> None:
    """The mend as `explain` prints it; the job that waited runs soon, with nothing restarted by hand."""
    run(chain, mend)
    mended_at = time.monotonic()
    assert chain.ended(job_id, 2 * HEALS_SECONDS)["status"] == "SUCCEEDED"
    assert time.monotonic() - mended_at < HEALS_SECONDS


class Case:
    """A role, a profile, an environment and a queue, all of one name."""

    def __init__(self, chain: Chain, name: str) -> None:
        self.chain, self.name = chain, name
        chain.instance_role(name)

    def submit(self) -> str:
        self.chain.queue(self.name, instance_role=self.name)
        return self.chain.submit(self.chain.define("true"), queue=self.name)

    def status_reason(self) -> str:
        line = f"aws batch describe-compute-environments --compute-environments {self.name}"
        return str(shown(self.chain, line)["computeEnvironments"][0]["statusReason"])


@pytest.fixture
def case(local: Chain, request: pytest.FixtureRequest) -> Iterator[Case]:
    made = Case(local, request.node.name.removeprefix("test_")[:40])
    yield made
    if local.environment(made.name)["status"] != "gone":
        local.delete(made.name)


def test_policy_of_tasks(local: Chain, case: Case) -> None:
    role = case.name
    run(
        local,
        f"aws iam detach-role-policy --role-name {role} --policy-arn {INSTANCE_POLICY}",
        f"aws iam attach-role-policy --role-name {role} --policy-arn {TASK_POLICY}",
    )
    job_id = case.submit()
    job = local.when(job_id, lambda job: "ACTION_REQUIRED" in job.get("statusReason", ""))
    (instance_id,) = [
        one["InstanceId"]
        for each in shown(
            local, "aws ec2 describe-instances --filters Name=instance-state-name,Values=pending,running"
        )["Reservations"]
        for one in each["Instances"]
        if one["IamInstanceProfile"]["Arn"].endswith(f"/{role}")
    ]
    refused = (
        f"User: arn:aws:sts::123456789012:assumed-role/{role}/{instance_id} is not authorized to perform:"
        f" ecs:RegisterContainerInstance on resource: {local.environment(role)['ecsClusterArn']} because no identity-based"
        " policy allows the ecs:RegisterContainerInstance action"
    )
    assert refused in job["statusReason"]
    assert case.status_reason() == f"CLIENT_ERROR - {refused}"
    line = f"aws ec2 get-console-output --instance-id {instance_id} --latest --output text"
    wait_for(lambda: refused in run(local, line), 40)
    assert local.job(job_id)["status"] == "RUNNABLE"
    first = first_broken(local, job_id)
    assert first["mend"] == f"aws iam attach-role-policy --role-name {role} --policy-arn {INSTANCE_POLICY}"
    heals(local, job_id, first["mend"])
    assert case.status_reason() == "ComputeEnvironment Healthy"


def test_trust_names_ecs_tasks(local: Chain, case: Case) -> None:
    """The metadata service says AssumeRoleUnauthorizedAccess, and the agent finds no credentials."""
    role = case.name
    run(
        local,
        shlex.join(["aws", "iam", "update-assume-role-policy", "--role-name", role, "--policy-document", TASKS_TRUST]),
    )
    job_id = case.submit()
    job = local.when(job_id, lambda job: "ACTION_REQUIRED" in job.get("statusReason", ""))
    assert (
        "User: ec2.amazonaws.com is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::"
        in (job["statusReason"])
    )
    instance_id = job["statusReason"].partition("instance ")[2].split()[0]
    line = f"aws ec2 get-console-output --instance-id {instance_id} --latest --output text"
    wait_for(lambda: "AssumeRoleUnauthorizedAccess" in run(local, line), 40)
    assert "NoCredentialProviders: no valid providers in chain" in run(local, line)
    heals(local, job_id, first_broken(local, job_id)["mend"])


def test_profile_deleted(local: Chain, case: Case) -> None:
    job_id = case.submit()
    assert local.ended(job_id)["status"] == "SUCCEEDED"
    role = case.name
    # Whoever has the old profile goes on; the next instance is refused.
    run(
        local,
        f"aws iam remove-role-from-instance-profile --instance-profile-name {role} --role-name {role}",
        f"aws iam delete-instance-profile --instance-profile-name {role}",
    )
    for instance_id, state in local.states().items():
        if state == "running" and instance_id == local.instance_of(local.job(job_id)):
            run(local, f"aws ec2 terminate-instances --instance-ids {instance_id}")
    waiting = local.submit(local.define("true"), queue=role)
    text = f"Value ({role}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
    job = local.when(waiting, lambda job: text in job.get("statusReason", ""))
    assert job["status"] == "RUNNABLE"
    assert case.status_reason() == f"CLIENT_ERROR - {text}"
    heals(local, waiting, first_broken(local, waiting)["mend"])


def test_denied_while_a_job_runs(local: Chain, case: Case) -> None:
    role = case.name
    local.queue(role, instance_role=role)
    running = local.submit(local.define("busybox sleep 8"), queue=role)
    job = local.until(running, "RUNNING")
    cluster = local.environment(role)["ecsClusterArn"]
    arn = job["container"]["containerInstanceArn"]
    deny = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "ecs:*", "Resource": "*"}})
    run(local, f"aws iam put-role-policy --role-name {role} --policy-name no --policy-document '{deny}'")

    def is_connected() -> bool:
        line = f"aws ecs describe-container-instances --cluster {cluster} --container-instances {arn}"
        return bool(shown(local, line)["containerInstances"][0]["agentConnected"])

    wait_for(lambda: not is_connected(), 5)
    waiting = local.submit(local.define("true"), queue=role)
    local.when(waiting, lambda job: "with an explicit deny" in job.get("statusReason", ""))
    time.sleep(8)  # The job's container ends meanwhile; that can't be told.
    assert (local.job(running)["status"], local.job(waiting)["status"]) == ("RUNNING", "RUNNABLE")
    first = first_broken(local, waiting)
    assert first["mend"] == f"aws iam delete-role-policy --role-name {role} --policy-name no"
    heals(local, waiting, first["mend"])
    ended = local.ended(running, HEALS_SECONDS)
    assert (ended["status"], ended["container"]["exitCode"], len(ended["attempts"])) == ("SUCCEEDED", 0, 1)


def test_execution_role_without_logs_rights(local: Chain) -> None:
    arn = local.role("mute", TASKS_TRUST)
    failed = local.run("echo written", executionRoleArn=arn)
    assert (failed["status"], failed["statusReason"]) == ("FAILED", "Task failed to start")
    assert "failed to create Cloudwatch log stream: AccessDeniedException: User: " in failed["container"]["reason"]
    mend = first_broken(local, failed["jobId"])["mend"]
    assert mend == f"aws iam attach-role-policy --role-name mute --policy-arn {TASK_POLICY}"
    run(local, mend)
    assert local.says("echo written", executionRoleArn=arn) == ["written"]


def test_an_environment_none_of_whose_instances_joins_becomes_invalid(tmp_path: Path) -> None:
    server = Server(tmp_path / "state", "--machines", "memory", "--join-seconds", "3", command="up")
    try:

        def aws(line: str) -> Any:
            done = server.shell(line)
            assert done.returncode == 0, (line, done.stderr)
            return json.loads(done.stdout or "{}")

        def environment() -> dict[str, Any]:
            line = "aws batch describe-compute-environments --compute-environments default"
            return dict(aws(line)["computeEnvironments"][0])

        aws(f"aws iam detach-role-policy --role-name ecsInstanceRole --policy-arn {INSTANCE_POLICY}")
        aws(
            "aws batch register-job-definition --job-definition-name jd --type container --container-properties"
            ' \'{"image": "busybox", "vcpus": 1, "memory": 64}\''
        )
        job_id = aws("aws batch submit-job --job-name j --job-queue default --job-definition jd")["jobId"]
        wait_for(lambda: environment()["status"] == "INVALID", 30)
        assert "because none of the instances joined the underlying ECS Cluster" in environment()["statusReason"]
        aws(f"aws iam attach-role-policy --role-name ecsInstanceRole --policy-arn {INSTANCE_POLICY}")
        aws("aws batch update-compute-environment --compute-environment default --state ENABLED")
        line = f"aws batch describe-jobs --jobs {job_id}"
        wait_for(lambda: aws(line)["jobs"][0]["status"] == "SUCCEEDED", HEALS_SECONDS)
        assert environment()["status"] == "VALID"
    finally:
        assert server.end() == 0
